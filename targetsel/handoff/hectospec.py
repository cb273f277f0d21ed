"""MMT Hectospec: a catalog for xfitfibs.

A "starbase" table: values between single tabs, one line of column names, one of dashes. Right
ascension in hours. Rank 1 is observed first. xfitfibs also wants guide stars (type guide, no rank)
in the same astrometric frame; append them to the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from targetsel.handoff.brightness import FILTER, one_magnitude
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.settings import Settings
from targetsel.handoff.sexagesimal import degrees, from_sexagesimal, hours
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.handoff.writing import write_text

COLUMNS = ("ra", "dec", "object", "rank", "type", "mag")


def write(prepared: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the catalog."""
    _, magnitude = one_magnitude(prepared, settings)
    rows = zip(
        hours(prepared.ra),
        degrees(prepared.dec),
        prepared.id.tolist(),
        [str(each) for each in prepared.priority.tolist()],
        ["TARGET"] * len(prepared),
        [f"{each:.2f}" for each in magnitude.tolist()],
        strict=True,
    )
    table = [COLUMNS, tuple("-" * len(name) for name in COLUMNS), *rows]
    write_text(path, "".join("\t".join(row) + "\n" for row in table))
    return [path]


def read(path: Path) -> ReadBack:
    """The targets of a catalog, guide stars and sky left out."""
    names, _, *rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    target = np.array(columns["type"]) == "TARGET"
    return ReadBack(
        np.array(columns["object"], dtype=object)[target],
        np.array([15 * from_sexagesimal(each) for each in columns["ra"]])[target],
        np.array([from_sexagesimal(each) for each in columns["dec"]])[target],
        np.array([int(each or 0) for each in columns["rank"]])[target],
        "targetsel, line by line",
    )


TOOL = Tool(
    name="hectospec",
    title="MMT Hectospec xfitfibs catalog",
    source="cfa-www.harvard.edu/jroll/hecto/guidestars-form; mips.as.arizona.edu hectospec.html",
    suffix=".cat",
    write=write,
    read=read,
    priorities=PriorityScale(best=1, worst=99),
    ids="name",
    epoch="config",
    names=r"[!-~]+",
    names_are="printable ASCII characters without blanks",
    settings={"filter": FILTER},
    experimental=True,
)
