"""Keck DEIMOS: an object list for the Slitmask Design Tool (SMDT) or DSIMULATOR.

Blanks between columns: name, right ascension in hours, declination, equinox, magnitude, passband,
priority code. The code is a weight: larger is more wanted, 0 would never be milled, -1 is a guide
star and -2 an alignment star, both of which must be appended to the file. Names have 16 characters
at most, fewer than many catalogs' ids, so that targets are numbered.
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


def write(prepared: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the object list."""
    band, magnitude = one_magnitude(prepared, settings)
    lines = ["# name RA[h] Dec equinox mag band pcode"]
    for number, ra, dec, mag, code in zip(
        prepared.id.tolist(),
        hours(prepared.ra),
        degrees(prepared.dec),
        magnitude.tolist(),
        prepared.priority.tolist(),
        strict=True,
    ):
        lines.append(f"{number:<16d} {ra} {dec} 2000.0 {mag:5.2f} {band.name[0].upper()} {code}")
    write_text(path, "\n".join(lines) + "\n")
    return [path]


def read(path: Path) -> ReadBack:
    """The targets of an object list, guide and alignment stars and the field's center left out."""
    lines = (line.split("#")[0] for line in path.read_text("utf-8").splitlines())
    rows = [line.split() for line in lines if line.strip() and "PA=" not in line]
    rows = [row for row in rows if int(float(row[6])) > 0]
    return ReadBack(
        np.array([int(row[0]) for row in rows]),
        np.array([15 * from_sexagesimal(row[1]) for row in rows]),
        np.array([from_sexagesimal(row[2]) for row in rows]),
        np.array([int(float(row[6])) for row in rows]),
        "targetsel, line by line",
    )


TOOL = Tool(
    name="deimos",
    title="Keck DEIMOS object list (SMDT, DSIMULATOR)",
    source="SMDT's targs.py; ucolick.org/~phillips/deimos_ref/masks.html",
    suffix=".txt",
    write=write,
    read=read,
    priorities=PriorityScale(best=9999, worst=1, kept=True),
    ids="row",
    epoch="config",
    settings={"filter": FILTER},
)
