"""A target list written for one tool, with its maps beside it, and read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.errors import HandoffError
from targetsel.handoff.prepare import Prepared, Wish, beside, id_map, prepare, priority_map
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import ReadBack, Tool
from targetsel.handoff.writing import write_ecsv
from targetsel.selection.target_list import TargetList

POSITION_TOLERANCE = 0.001  # arcsec


@dataclass(frozen=True)
class Export:
    """What `export` did: the files it wrote, the tool's own first."""

    prepared: Prepared
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Report:
    """What reading a tool's file back has shown; `largest_offset` is in arcsec."""

    reader: str
    n_targets: int
    largest_offset: float
    with_priorities: bool


def export(targets: TargetList, settings: Settings, path: Path, wish: Wish = Wish()) -> Export:
    """Write `targets` to `path` for the tool of `settings`.

    Beside it come ``<file>.priorities.ecsv``, which of the list's priorities became which of the
    tool's, and, where the tool has ids of its own, ``<file>.ids.ecsv``.

    Raises
    ------
    HandoffError
        If the list is not what the tool takes.
    OutputError
        If a file cannot be written.
    """
    tool, path = settings.tool, Path(path)
    prepared = prepare(targets, tool, settings, wish)
    files = tool.write(prepared, settings, path)
    if tool.priorities is not None:
        files.append(beside(path, "priorities"))
        write_ecsv(files[-1], priority_map(prepared))
    if tool.numbers_rows:
        files.append(beside(path, "ids"))
        write_ecsv(files[-1], id_map(prepared))
    return Export(prepared, tuple(files))


def check(prepared: Prepared, path: Path) -> Report:
    """Read a tool's file back and compare it with what was to be written.

    Raises
    ------
    HandoffError
        If ids, positions (to 0.001 arcsec) or priorities differ.
    """
    tool = prepared.tool
    back = tool.read(path)
    rows = _rows_in_file(prepared, back, tool, path)
    offset = separation(prepared.ra, prepared.dec, back.ra[rows], back.dec[rows])
    if not offset.max() <= POSITION_TOLERANCE:
        worst = int(np.nanargmax(offset))
        raise HandoffError(
            f"{path}: target {prepared.id[worst]} is {offset[worst]:.4f} arcsec away from where "
            f"the list has it (read by {back.reader}). Please report this."
        )
    if back.priority is not None and not np.array_equal(back.priority[rows], prepared.priority):
        raise HandoffError(
            f"{path}: priorities differ from those written (read by {back.reader}). "
            "Please report this."
        )
    return Report(back.reader, len(prepared), float(offset.max()), back.priority is not None)


def _rows_in_file(prepared: Prepared, back: ReadBack, tool: Tool, path: Path) -> np.ndarray:
    """Where each target stands in the file, shape (M,)."""
    place = {str(each): row for row, each in enumerate(back.id.tolist())}
    lost = [each for each in prepared.id.tolist() if str(each) not in place]
    if lost or len(back.id) != len(prepared):
        first = f", the first lost is {lost[0]}" if lost else ""
        raise HandoffError(
            f"{path}: {back.reader} finds {len(back.id)} targets where {len(prepared)} were "
            f"written for '{tool.name}'{first}. Please report this."
        )
    return np.array([place[str(each)] for each in prepared.id.tolist()])


def separation(
    ra: np.ndarray, dec: np.ndarray, ra_too: np.ndarray, dec_too: np.ndarray
) -> np.ndarray:
    """Angle between positions that lie close together [deg] in arcsec, shape (M,)."""
    east = (np.asarray(ra_too) - ra + 180.0) % 360.0 - 180.0
    return 3600.0 * np.hypot(east * np.cos(np.radians(dec)), np.asarray(dec_too) - dec)
