"""Keck MOSFIRE: a target list for MAGMA.

Blanks between columns: name, priority, magnitude, right ascension in hours, declination, epoch,
equinox, without plus signs as in its help. MAGMA seeks the largest sum of priorities; -1 marks
alignment stars, which must be appended to the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from targetsel.handoff.brightness import one_magnitude
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.settings import Settings
from targetsel.handoff.sexagesimal import degrees, from_sexagesimal, hours
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.handoff.writing import write_text

BANDS = ("k", "h", "j", "y", "z", "i", "r", "g", "u")


def write(prepared: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the target list."""
    _, magnitude = one_magnitude(prepared, settings, BANDS)
    lines = []
    for name, priority, mag, ra, dec, epoch in zip(
        prepared.id.tolist(),
        prepared.priority.tolist(),
        magnitude.tolist(),
        hours(prepared.ra),
        degrees(prepared.dec, plus=""),
        prepared.epoch.tolist(),
        strict=True,
    ):
        lines.append(f"{name} {priority}.0 {mag:.2f} {ra} {dec} {epoch:.4f} 2000.0")
    write_text(path, "\n".join(lines) + "\n")
    return [path]


def read(path: Path) -> ReadBack:
    """The targets of a target list, alignment stars left out."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    rows = [row for row in (line.split() for line in lines) if row and float(row[1]) > 0]
    return ReadBack(
        np.array([row[0] for row in rows], dtype=object),
        np.array([15 * from_sexagesimal(row[3]) for row in rows]),
        np.array([from_sexagesimal(row[4]) for row in rows]),
        np.array([int(float(row[1])) for row in rows]),
        "targetsel, line by line",
    )


TOOL = Tool(
    name="mosfire",
    title="Keck MOSFIRE MAGMA target list",
    source="MAGMA 1.1's help, 'Target Lists' (www2.keck.hawaii.edu/inst/mosfire/magma_1.1.zip)",
    suffix=".coords",
    write=write,
    read=read,
    priorities=PriorityScale(best=999_999, worst=1, kept=True),
    ids="name",
    epoch="config",
    names=r"[!\"$-~][!-~]*",
    names_are="printable ASCII characters without blanks, not beginning with #",
    settings={
        "filter": "filter of the magnitude, such as j_2mass; by default the first the list has of "
        "k h j y z i r g u"
    },
)
