"""Keck: object lists for DEIMOS (SMDT, DSIMULATOR) and target lists for MOSFIRE (MAGMA).

Both have blanks between columns, and right ascension in hours. DEIMOS: name, position, equinox,
magnitude, passband, priority code. The code is a weight: larger is more wanted, 0 would never be
milled, -1 is a guide star and -2 an alignment star, both of which must be appended to the file.
Names have 16 characters at most, fewer than many catalogs' ids, so that targets are numbered.

MOSFIRE: name, priority, magnitude, position, epoch, equinox, without plus signs as in MAGMA's help.
MAGMA seeks the largest sum of priorities; -1 marks alignment stars, which must be appended.
"""

from __future__ import annotations

from pathlib import Path

from targetsel.handoff.settings import Text
from targetsel.handoff.text_lists import MagnitudeSettings, read_lines, write_lines
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, ToolTargets

REDDEST_FIRST = ("k", "h", "j", "y", "z", "i", "r", "g", "u")


class MosfireSettings(MagnitudeSettings):
    filter: Text | None = None
    """filter of the magnitude, such as j_2mass; by default the first the list has of k h j y z i
    r g u"""


def write_deimos(targets: ToolTable, settings: MagnitudeSettings, path: Path) -> list[Path]:
    """Write the object list."""
    line = "{id:<16d} {ra} {dec} 2000.0 {mag:5.2f} {band} {priority}"
    return write_lines(targets, settings, path, line, ["# name RA[h] Dec equinox mag band pcode"])


def read_deimos(path: Path) -> ToolTargets:
    """The targets of an object list, guide and alignment stars and the field's center left out."""
    lines = (line.split("#")[0] for line in path.read_text("utf-8").splitlines())
    rows = [line.split() for line in lines if line.strip() and "PA=" not in line]
    rows = [row for row in rows if int(float(row[6])) > 0]
    return read_lines(rows, id=0, ra=1, dec=2, priority=6, is_number=True)


def write_mosfire(targets: ToolTable, settings: MosfireSettings, path: Path) -> list[Path]:
    """Write the target list."""
    line = "{id} {priority}.0 {mag:.2f} {ra} {dec} {epoch:.4f} 2000.0"
    return write_lines(targets, settings, path, line, bands=REDDEST_FIRST, plus="")


def read_mosfire(path: Path) -> ToolTargets:
    """The targets of a target list, alignment stars left out."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    rows = [row for row in (line.split() for line in lines) if row and float(row[1]) > 0]
    return read_lines(rows, id=0, ra=3, dec=4, priority=1)


TOOLS = (
    Tool(
        name="deimos",
        title="Keck DEIMOS object list (SMDT, DSIMULATOR)",
        source="SMDT's targs.py; ucolick.org/~phillips/deimos_ref/masks.html",
        suffix=".txt",
        write=write_deimos,
        read=read_deimos,
        priorities=PriorityScale(best=9999, worst=1, kept=True),
        ids="row",
        settings=MagnitudeSettings,
    ),
    Tool(
        name="mosfire",
        title="Keck MOSFIRE MAGMA target list",
        source="MAGMA 1.1's help, 'Target Lists' (www2.keck.hawaii.edu/inst/mosfire/magma_1.1.zip)",
        suffix=".coords",
        write=write_mosfire,
        read=read_mosfire,
        priorities=PriorityScale(best=999_999, worst=1, kept=True),
        ids="name",
        names=r"[!\"$-~][!-~]*",
        names_are="printable ASCII characters without blanks, not beginning with #",
        settings=MosfireSettings,
    ),
)
