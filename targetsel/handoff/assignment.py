"""Results of assignment tools, joined to the list that they were made from.

DESI: ``fba-*.fits`` (FASSIGN, FAVAIL) and the merged ``fiberassign-*.fits`` (FIBERASSIGN,
POTENTIAL_ASSIGNMENTS), as in desihub/fiberassign (79078f2) ``py/fiberassign/assign.py``; its table
FTARGETS may hold only the assigned targets, and is not needed. PFS: ``pfsDesign-*.fits`` (DESIGN),
as in Subaru-PFS/datamodel (355df2a) ``datamodel.txt``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.handoff.files import read_fits
from targetsel.handoff.prepare import check_list
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import separation
from targetsel.tables.files import sha256_of_file
from targetsel.tables.fits import open_fits
from targetsel.tables.ids import matched
from targetsel.tables.reading import reading

DESI_TABLES = {"FASSIGN": "FAVAIL", "FIBERASSIGN": "POTENTIAL_ASSIGNMENTS"}
DESI_SCIENCE = 1  # bit of FA_TYPE
PFS_SCIENCE, PFS_GOOD = 1, 1  # targetType and fiberStatus
SAME_PLACE = 60.0  # arcsec: proper motion may have moved a target, but not further


@dataclass(frozen=True)
class Pointing:
    """The result of a tool for one pointing: the targets that got a fiber.

    Attributes
    ----------
    path : Path
    assigned : ndarray, shape (K,), int64
        Ids of the science targets that got a working fiber.
    ra, dec : ndarray, shape (K,)
        Their positions there [deg].
    in_reach : ndarray of int64, or None
        Ids of the targets that some fiber can reach; None for PFS, whose files do not list them.
    tile : str
        Number of the DESI tile; empty where the file does not give it.
    """

    path: Path
    assigned: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    in_reach: np.ndarray | None
    tile: str = ""

    @classmethod
    def read(cls, path: Path) -> Pointing:
        """Read a file of DESI fiberassign or a PFS design.

        Raises
        ------
        HandoffError
            If the file is missing, damaged, or none of these.
        """
        path = Path(path)
        with open_fits(path, HandoffError) as hdus:
            tables = [hdu.name for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
            tile = next((str(hdu.header["TILEID"]) for hdu in hdus if "TILEID" in hdu.header), "")
        for assigned, reached in DESI_TABLES.items():
            if assigned in tables and reached not in tables:
                raise HandoffError(f"{path}: lacks the table {reached}. Copy or make it again.")
            if assigned in tables:
                return _desi(path, assigned, reached, tile)
        if "DESIGN" in tables:
            return _pfs(path)
        raise HandoffError(
            f"{path}: has the tables {', '.join(tables) or 'none'}; expected FASSIGN or "
            "FIBERASSIGN (DESI), or DESIGN (PFS)."
        )


@dataclass(frozen=True)
class Assignment:
    """A target list with the number of times that each target was assigned.

    Attributes
    ----------
    targets : TargetList
    times : ndarray, shape (M,), int64
        Number of pointings in which the target got a fiber.
    in_reach : ndarray, shape (M,), bool, or None
        Whether any pointing could reach the target; None where the files do not list it.
    files : tuple of Path
    """

    targets: TargetList
    times: np.ndarray
    in_reach: np.ndarray | None
    files: tuple[Path, ...]

    @property
    def assigned(self) -> np.ndarray:
        """Whether the target was assigned at least once, shape (M,)."""
        return self.times > 0

    def left_over(self) -> TargetList:
        """Targets still to be observed: the same list with fewer targets and observations.

        A target leaves once it has been assigned as often as its `n_obs` asks (once, where it is
        null). `left_over_from` in the footer tells which files were taken into account.
        """
        table = self.targets.table
        asked = table["n_obs"].fill_null(1).to_numpy().astype(np.int64)
        still = asked - self.times
        rows = np.flatnonzero(still > 0)
        wanted = pa.array(still, pa.int32(), mask=table["n_obs"].is_null().to_numpy())
        place = table.schema.get_field_index("n_obs")
        left = table.set_column(place, table.schema.field(place), wanted).take(rows)
        footer = dict(self.targets.footer)
        bits = left["target_bits"].to_numpy()
        names: Mapping[str, int] = footer.get("bits", {})
        footer["counts"] = {
            name: int(np.count_nonzero(bits & (1 << bit))) for name, bit in names.items()
        }
        earlier = footer.get("left_over_from", [])
        footer["left_over_from"] = earlier + [
            {"file": path.name, "sha256": sha256_of_file(path)} for path in self.files
        ]
        return replace(self.targets, table=left, footer=footer)

    def summary(self) -> list[ClassAssignment]:
        """Counts per target class and priority, the highest priority first."""
        lines = []
        for program, priority, rows in groups_of(self.targets):
            reach = None if self.in_reach is None else int(self.in_reach[rows].sum())
            assigned = int(self.assigned[rows].sum())
            lines.append(ClassAssignment(program, priority, int(rows.sum()), reach, assigned))
        return lines


@dataclass(frozen=True)
class ClassAssignment:
    """Counts of the targets of one class and priority that got a fiber."""

    program: str
    priority: int
    n_targets: int
    n_in_reach: int | None
    n_assigned: int

    @property
    def fraction(self) -> float:
        """The assigned share of all targets of this class and priority."""
        return self.n_assigned / self.n_targets


def groups_of(targets: TargetList) -> Iterator[tuple[str, int, np.ndarray]]:
    """Class, priority and rows (mask, shape (M,)) of each group, the highest priority first."""
    program = np.array(targets.table["program"].to_pylist(), dtype=object)
    priority = targets.table["priority"].to_numpy()
    for minus, name in sorted(set(zip((-priority).tolist(), program.tolist(), strict=True))):
        yield name, -minus, (program == name) & (priority == -minus)


def join(targets: TargetList, pointings: Iterable[Pointing], ids: Path | None = None) -> Assignment:
    """The list with the number of times each target was assigned.

    Parameters
    ----------
    targets : TargetList
    pointings : iterable of Pointing
    ids : Path, optional
        The map ``<file>.ids.ecsv`` that was written with the export, for tools with their own ids.

    Raises
    ------
    HandoffError
        If the list is empty or not sound; a pointing is given twice; or a file knows none of the
        targets, or knows them at other places.
    """
    pointings = tuple(pointings)
    if len(targets) == 0:
        raise HandoffError("the list has no targets; there is nothing to join to.")
    check_list(targets)
    _check_different(pointings)
    known = _tool_ids(targets, ids)
    times = np.zeros(len(targets), dtype=np.int64)
    in_reach: np.ndarray | None = np.zeros(len(targets), dtype=bool)
    for pointing in pointings:
        rows = np.where(pointing.assigned >= 0, matched(pointing.assigned, known), -1)
        here = np.flatnonzero(rows >= 0)
        found = rows[here]
        _check_places(targets, pointing, found, here)
        np.add.at(times, np.unique(found), 1)
        if pointing.in_reach is None:
            in_reach = None
        elif in_reach is not None:
            in_reach |= np.isin(known, pointing.in_reach[pointing.in_reach >= 0])
    return Assignment(targets, times, in_reach, tuple(each.path for each in pointings))


# --- files ---------------------------------------------------------------------------------------


def _desi(path: Path, assigned: str, reached: str, tile: str) -> Pointing:
    names = ("TARGETID", "TARGET_RA", "TARGET_DEC", "FA_TYPE")
    targetid, ra, dec, kind = _columns(path, assigned, names)
    kept = (targetid >= 0) & ((kind & DESI_SCIENCE) != 0)
    in_reach = np.unique(_columns(path, reached, names[:1])[0])
    return Pointing(path, targetid[kept], ra[kept], dec[kept], in_reach, tile)


def _pfs(path: Path) -> Pointing:
    names = ("objId", "ra", "dec", "targetType", "fiberStatus")
    objid, ra, dec, kind, status = _columns(path, "DESIGN", names)
    kept = (kind == PFS_SCIENCE) & (status == PFS_GOOD)
    return Pointing(path, objid[kept], ra[kept], dec[kept], None)


def _columns(path: Path, table: str, names: tuple[str, ...]) -> list[np.ndarray]:
    """Columns of a table: positions, and others, which must be whole numbers."""
    rows, _ = read_fits(path, table)
    missing = [name for name in names if name not in rows]
    if missing:
        raise HandoffError(f"{path}: the table {table} lacks {', '.join(missing)}.")
    for name in names:
        is_position = name.lower().endswith(("ra", "dec"))
        if rows[name].ndim != 1 or rows[name].dtype.kind not in ("fiu" if is_position else "iu"):
            kind = "numbers" if is_position else "whole numbers"
            raise HandoffError(f"{path}: {name} in the table {table} is no column of {kind}.")
    return [rows[name] for name in names]


# --- join ----------------------------------------------------------------------------------------


def _tool_ids(targets: TargetList, ids: Path | None) -> np.ndarray:
    """The tool's id of each target of the list, shape (M,); -1 for those it was not given."""
    own = targets.table["target_id"].to_numpy()
    if ids is None:
        return own
    with reading(ids, HandoffError, "a map of ids that export wrote"):
        table = Table.read(ids, format="ascii.ecsv")
        target_id, tool_id = (np.asarray(table[name]) for name in ("target_id", "id"))
    if not target_id.dtype.kind == tool_id.dtype.kind == "i":
        raise HandoffError(f"{ids}: not a map of ids that export wrote (no whole numbers).")
    rows = matched(own, target_id)
    return np.where(rows >= 0, tool_id[rows], -1)


def _check_different(pointings: tuple[Pointing, ...]) -> None:
    """Refuse two files of one tile: fba and merged files hold the same assignments."""
    seen: dict[str, Path] = {}
    for pointing in pointings:
        tile = f"tile {pointing.tile}" if pointing.tile else str(pointing.path.resolve())
        if tile in seen:
            raise HandoffError(
                f"{pointing.path}: is of the same pointing as {seen[tile]}. Give one of them."
            )
        seen[tile] = pointing.path


def _check_places(
    targets: TargetList, pointing: Pointing, found: np.ndarray, here: np.ndarray
) -> None:
    if len(found) == 0 and len(pointing.assigned):
        raise HandoffError(
            f"{pointing.path}: none of its {len(pointing.assigned)} science targets is on the "
            "list. Name the list that was exported, and for tools with their own ids --ids."
        )
    ra, dec = (targets.table[name].to_numpy()[found] for name in ("ra", "dec"))
    offset = 3600 * separation(ra, dec, pointing.ra[here], pointing.dec[here])
    if not (offset <= SAME_PLACE).all():
        worst = int(np.nan_to_num(offset, nan=np.inf).argmax())
        raise HandoffError(
            f"{pointing.path}: target {pointing.assigned[here][worst]} is {offset[worst]:.0f} "
            "arcsec away from where the list has it. The file was made from another list."
        )
