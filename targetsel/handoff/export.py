"""Export of target lists to one tool, with maps of ids and priorities, and a check of the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.errors import HandoffError
from targetsel.handoff.files import write_ecsv
from targetsel.handoff.prepare import ExportOptions, beside, id_map, prepare, priority_map
from targetsel.handoff.settings import ToolSettings
from targetsel.handoff.tool import Tool, ToolTable, ToolTargets
from targetsel.selection.target_list import TargetList
from targetsel.tables.ids import matched

POSITION_TOLERANCE = 0.001  # arcsec


@dataclass(frozen=True)
class Export:
    """The exported list, and the files written, the tool's own first."""

    targets: ToolTable
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ReadBack:
    """Agreement of a tool's file, read back, with the list; `largest_offset` is in arcsec."""

    reader: str
    n_targets: int
    largest_offset: float
    with_priorities: bool


def export(
    targets: TargetList,
    tool: Tool,
    settings: ToolSettings,
    path: Path,
    options: ExportOptions = ExportOptions(),
) -> Export:
    """Write `targets` to `path` for a tool.

    Beside it come ``<file>.priorities.ecsv``, the map from the list's priorities to the tool's,
    and, where the tool has ids of its own, ``<file>.ids.ecsv``.

    Raises
    ------
    HandoffError
        If the list is not what the tool takes.
    OutputError
        If a file cannot be written.
    """
    path = Path(path)
    prepared = prepare(targets, tool, settings, options)
    files = tool.write(prepared, settings, path)
    if tool.priorities is not None:
        files.append(beside(path, "priorities"))
        write_ecsv(files[-1], priority_map(prepared))
    if tool.numbers_rows:
        files.append(beside(path, "ids"))
        write_ecsv(files[-1], id_map(prepared))
    return Export(prepared, tuple(files))


def check(targets: ToolTable, path: Path) -> ReadBack:
    """Read a tool's file back and compare it with the exported list.

    Raises
    ------
    HandoffError
        If ids, positions (to 0.001 arcsec) or priorities differ.
    """
    tool = targets.tool
    back = tool.read(path)
    rows = _rows_in_file(targets, back, tool, path)
    offset = separation(targets.ra, targets.dec, back.ra[rows], back.dec[rows])
    if not offset.max() <= POSITION_TOLERANCE:
        worst = int(np.nanargmax(offset))
        raise HandoffError(
            f"{path}: target {targets.id[worst]} is {offset[worst]:.4f} arcsec away from where "
            f"the list has it (read by {back.reader}). Please report this."
        )
    if back.priority is not None and not np.array_equal(back.priority[rows], targets.priority):
        raise HandoffError(
            f"{path}: priorities differ from those written (read by {back.reader}). "
            "Please report this."
        )
    return ReadBack(back.reader, len(targets), float(offset.max()), back.priority is not None)


def _rows_in_file(targets: ToolTable, back: ToolTargets, tool: Tool, path: Path) -> np.ndarray:
    """Row of each target in the file, shape (M,)."""
    rows = matched(targets.id, back.id)
    lost = targets.id[rows < 0].tolist()
    if lost or len(back.id) != len(targets):
        first = f", the first lost is {lost[0]}" if lost else ""
        raise HandoffError(
            f"{path}: {back.reader} finds {len(back.id)} targets where {len(targets)} were "
            f"written for '{tool.name}'{first}. Please report this."
        )
    return rows


def separation(
    ra: np.ndarray, dec: np.ndarray, ra_too: np.ndarray, dec_too: np.ndarray
) -> np.ndarray:
    """Angle between positions that lie close together [deg] in arcsec, shape (M,)."""
    east = (np.asarray(ra_too) - ra + 180.0) % 360.0 - 180.0
    return 3600.0 * np.hypot(east * np.cos(np.radians(dec)), np.asarray(dec_too) - dec)
