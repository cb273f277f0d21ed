"""MMT Hectospec: a catalog for xfitfibs.

A "starbase" table: values between single tabs, one line of column names, one of dashes. Right
ascension in hours. Rank 1 is observed first. xfitfibs also wants guide stars (type guide, no rank)
in the same astrometric frame; append them to the file.
"""

from __future__ import annotations

from pathlib import Path

from targetsel.handoff.text_lists import MagnitudeSettings, read_lines, write_lines
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, ToolTargets

COLUMNS = ("ra", "dec", "object", "rank", "type", "mag")


def write(targets: ToolTable, settings: MagnitudeSettings, path: Path) -> list[Path]:
    """Write the catalog."""
    header = ["\t".join(COLUMNS), "\t".join("-" * len(name) for name in COLUMNS)]
    line = "{ra}\t{dec}\t{id}\t{priority}\tTARGET\t{mag:.2f}"
    return write_lines(targets, settings, path, line, header)


def read(path: Path) -> ToolTargets:
    """The targets of a catalog, guide stars and sky left out."""
    names, _, *rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    ra, dec, name, rank, kind = (names.index(each) for each in COLUMNS[:5])
    rows = [row for row in rows if row[kind] == "TARGET"]
    return read_lines(rows, id=name, ra=ra, dec=dec, priority=rank)


TOOLS = (
    Tool(
        name="hectospec",
        title="MMT Hectospec xfitfibs catalog",
        source="cfa-www.harvard.edu/jroll/hecto/guidestars-form; "
        "mips.as.arizona.edu hectospec.html",
        suffix=".cat",
        write=write,
        read=read,
        priorities=PriorityScale(best=1, worst=99),
        ids="name",
        names=r"[!-~]+",
        names_are="printable ASCII characters without blanks",
        settings=MagnitudeSettings,
        experimental=True,
    ),
)
