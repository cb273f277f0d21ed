"""Results of assignment tools, joined to the list that they were made from.

DESI: ``fba-*.fits`` (FASSIGN, FAVAIL) and the merged ``fiberassign-*.fits`` (FIBERASSIGN,
POTENTIAL_ASSIGNMENTS), as in desihub/fiberassign (79078f2) ``py/fiberassign/assign.py``; its table
FTARGETS may hold only the assigned targets, and is not needed. Bits of FIBERSTATUS are those of
desispec's ``fibermask``.

PFS: ``pfsDesign-*.fits`` (DESIGN) and ``pfsConfig-*.fits`` (CONFIG), as in Subaru-PFS/datamodel
(355df2a) ``datamodel.txt``. Its objIds are unique together with catId only, and a design may be
shared with other programs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.table import Table

from targetsel.documents.text_table import number, text_table
from targetsel.errors import HandoffError
from targetsel.handoff.files import read_fits
from targetsel.handoff.prepare import checked
from targetsel.handoff.tool import names_of
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import SAME_PLACE, separation
from targetsel.tables.files import sha256_of_file
from targetsel.tables.fits import open_fits
from targetsel.tables.ids import exact_ids, matched
from targetsel.tables.reading import reading
from targetsel.tasks import tracked

DESI_TABLES = {"FASSIGN": "FAVAIL", "FIBERASSIGN": "POTENTIAL_ASSIGNMENTS"}
PFS_TABLES = ("DESIGN", "CONFIG")  # planned, and as it was observed
DESI_SCIENCE = 1  # bit of FA_TYPE
# Bits of FIBERSTATUS with which a fiber is not on its target: unassigned, stuck, broken, at an
# unknown or wrong position, unusable. A restricted reach (bit 3) or little light (bit 12) is none.
DESI_FAILED = sum(1 << bit for bit in (0, 1, 2, 8, 9, 16))
PFS_SCIENCE, PFS_GOOD = 1, 1  # targetType and fiberStatus
AS_WRITTEN = "Give the file as the tool wrote it."
NAMES_OF_POINTINGS = {"TILEID": "tile", "W_PFDSGN": "design", "W_VISIT": "visit"}


@dataclass(frozen=True)
class Pointing:
    """The result of a tool for one pointing: K fibers on science targets.

    Attributes
    ----------
    path : Path
    id : ndarray, shape (K,), int64
    ra, dec : ndarray, shape (K,)
        Positions of the fibers' targets [deg].
    works : ndarray of bool, shape (K,)
        Whether the fiber works, so that it can observe its target.
    in_reach : ndarray of int64, or None
        Ids of the targets that some fiber can reach; None for PFS, whose files do not list them.
    tile : str
        The DESI tile, or the PFS design and visit, in words; empty where the file does not say.
    code, owner : ndarray of str, shape (K,), or None
        The obCode of each target of PFS, and its catId and proposalId in words.
    """

    path: Path
    id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    works: np.ndarray
    in_reach: np.ndarray | None = None
    tile: str = ""
    code: np.ndarray | None = None
    owner: np.ndarray | None = None

    @classmethod
    def read(cls, path: Path) -> Pointing:
        """Read a file of DESI fiberassign or a PFS design.

        Raises
        ------
        HandoffError
            If the file is missing, damaged, or none of these.
        """
        path = Path(path)
        with open_fits(path, HandoffError) as hdus, reading(path, HandoffError, "a FITS file"):
            tables = [hdu.name for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
            tile = _name_of_pointing([hdu.header for hdu in hdus])
        for assigned, reached in DESI_TABLES.items():
            if assigned in tables and reached not in tables:
                raise HandoffError(f"{path}: lacks the table {reached}. Copy or make it again.")
            if assigned in tables:
                return _desi(path, assigned, reached, tile)
        for table in PFS_TABLES:
            if table in tables:
                return _pfs(path, table, tile)
        raise HandoffError(
            f"{path}: has {'the tables ' + ', '.join(tables) if tables else 'no table'}; expected "
            "FASSIGN or FIBERASSIGN (DESI), or DESIGN or CONFIG (PFS)."
        )


@dataclass(frozen=True)
class Match:
    """The science fibers of one pointing, matched to a list.

    Attributes
    ----------
    path : Path
    n_fibers, n_on_list, n_failed : int
        All of them; those on targets of the list; those of the latter that do not work.
    others : mapping of str to int
        Other programs, in words, with ids of the list, and the number of their fibers.
    """

    path: Path
    n_fibers: int
    n_on_list: int
    n_failed: int
    others: Mapping[str, int]


@dataclass(frozen=True, repr=False)
class Assignment:
    """A target list with the number of times that each target was assigned.

    Attributes
    ----------
    targets : TargetList
    times : ndarray, shape (M,), int64
        Number of pointings in which the target got a working fiber.
    in_reach : ndarray, shape (M,), bool, or None
        Whether any pointing could reach the target; None where the files do not list it.
    matches : tuple of Match
        How each pointing was matched to the list.
    """

    targets: TargetList
    times: np.ndarray
    in_reach: np.ndarray | None
    matches: tuple[Match, ...]

    headings = ("class", "priority", "targets", "in reach", "assigned", "share")

    def __repr__(self) -> str:
        left = f"{(self.times == 0).sum():,} of {len(self.targets):,} targets have no fiber yet"
        rows = [each.cells for each in self.summary()]
        return "\n".join((*text_table(self.headings, rows), left))

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
            {"file": each.path.name, "sha256": sha256_of_file(each.path)} for each in self.matches
        ]
        return TargetList(left, footer)

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

    @property
    def cells(self) -> tuple[str, ...]:
        """The counts as a line of a table, under `Assignment.headings`."""
        return (
            self.program,
            str(self.priority),
            f"{self.n_targets:,}",
            number(self.n_in_reach, ","),
            f"{self.n_assigned:,}",
            f"{self.fraction:.0%}",
        )


def groups_of(targets: TargetList) -> Iterator[tuple[str, int, np.ndarray]]:
    """Class, priority and rows (mask, shape (M,)) of each group, the highest priority first."""
    program = np.array(targets.table["program"].to_pylist(), dtype=object)
    priority = targets.table["priority"].to_numpy()
    for minus, name in sorted(set(zip((-priority).tolist(), program.tolist(), strict=True))):
        yield name, -minus, (program == name) & (priority == -minus)


def join(
    targets: TargetList,
    pointings: Iterable[Pointing],
    ids: Path | None = None,
    proposals: Sequence[str] = (),
) -> Assignment:
    """The list with the number of times each target was assigned.

    Parameters
    ----------
    targets : TargetList
    pointings : iterable of Pointing
    ids : Path, optional
        The map ``<file>.ids.ecsv`` that was written with the export, for tools with their own ids.
    proposals : sequence of str, optional
        The catIds or proposalIds of the list's targets, for designs that several programs share.

    Raises
    ------
    HandoffError
        If the list is empty or not sound; a pointing is given twice; or a file knows none of the
        targets, knows them at other places, or has them in several programs without `proposals`.
    """
    pointings = tuple(pointings)
    if len(targets) == 0:
        raise HandoffError(
            "the list has no targets, so there is nothing to join to. Name another list."
        )
    targets = checked(targets)
    _check_different(pointings)
    known = _ids_of_tool(targets, ids)
    times = np.zeros(len(targets), dtype=np.int64)
    in_reach: np.ndarray | None = np.zeros(len(targets), dtype=bool)
    matches = []
    for pointing in tracked(pointings, "matching", len(pointings), "pointings"):
        rows, match = _match(targets, pointing, known, proposals)
        times[np.unique(rows[(rows >= 0) & pointing.works])] += 1
        matches.append(match)
        if pointing.in_reach is None or known.dtype.kind != "i":
            in_reach = None
        elif in_reach is not None:
            in_reach |= np.isin(known, pointing.in_reach[pointing.in_reach >= 0])
    return Assignment(targets, times, in_reach, tuple(matches))


# --- files ---------------------------------------------------------------------------------------


def _name_of_pointing(headers: Sequence[fits.Header]) -> str:
    found = {key: h[key] for h in reversed(headers) for key in NAMES_OF_POINTINGS if key in h}
    return ", ".join(f"{NAMES_OF_POINTINGS[key]} {found[key]}" for key in sorted(found))


def _desi(path: Path, assigned: str, reached: str, tile: str) -> Pointing:
    rows, _ = read_fits(path, assigned)
    targetid = _whole(path, assigned, rows, "TARGETID")
    ra, dec = (_position(path, assigned, rows, name) for name in ("TARGET_RA", "TARGET_DEC"))
    kind, status = (_whole(path, assigned, rows, name) for name in ("FA_TYPE", "FIBERSTATUS"))
    kept = (targetid >= 0) & ((kind & DESI_SCIENCE) != 0)
    works = (status & DESI_FAILED) == 0
    in_reach = np.unique(_whole(path, reached, read_fits(path, reached)[0], "TARGETID"))
    return Pointing(path, targetid[kept], ra[kept], dec[kept], works[kept], in_reach, tile)


def _pfs(path: Path, table: str, tile: str) -> Pointing:
    rows, _ = read_fits(path, table)
    objid, kind, status = (
        _whole(path, table, rows, name) for name in ("objId", "targetType", "fiberStatus")
    )
    ra, dec = (_position(path, table, rows, name) for name in ("ra", "dec"))
    kept = kind == PFS_SCIENCE
    named = [name for name in ("catId", "proposalId") if name in rows]
    columns = [[f"{name} {each}" for each in rows[name].tolist()] for name in named]
    owner = np.array([", ".join(each) for each in zip(*columns, strict=True)], dtype=object)
    return Pointing(
        path,
        objid[kept],
        ra[kept],
        dec[kept],
        (status == PFS_GOOD)[kept],
        tile=tile,
        code=rows["obCode"][kept] if "obCode" in rows else None,
        owner=owner[kept] if named else None,
    )


def _whole(path: Path, table: str, rows: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A column of whole numbers, which may be kept as floats or text; -1 where it is unknown."""
    place = f"{path}, table {table}"
    values = exact_ids(pa.array(_column(path, table, rows, name)), name, place, HandoffError)
    if values.type != pa.int64():
        try:
            values = values.cast(pa.int64())
        except pa.ArrowInvalid:
            raise HandoffError(
                f"{path}: {name} in the table {table} is no column of whole numbers. {AS_WRITTEN}"
            ) from None
    return values.fill_null(-1).to_numpy(zero_copy_only=False)


def _position(path: Path, table: str, rows: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    values = _column(path, table, rows, name)
    if values.dtype.kind not in "fiu":
        raise HandoffError(
            f"{path}: {name} in the table {table} is no column of numbers. {AS_WRITTEN}"
        )
    return values.astype(np.float64)


def _column(path: Path, table: str, rows: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in rows:
        raise HandoffError(f"{path}: the table {table} lacks {name}. {AS_WRITTEN}")
    if rows[name].ndim != 1:
        raise HandoffError(
            f"{path}: {name} in the table {table} has several values in a row. {AS_WRITTEN}"
        )
    if rows[name].dtype.kind == "c":
        raise HandoffError(
            f"{path}: {name} in the table {table} holds complex numbers. {AS_WRITTEN}"
        )
    return rows[name]


# --- join ----------------------------------------------------------------------------------------


def _ids_of_tool(targets: TargetList, ids: Path | None) -> np.ndarray:
    """The tool's id of each target, shape (M,): numbers, or text for the obCodes of PFS.

    It is -1 or empty for targets that the map does not have.
    """
    own = targets.table["target_id"].to_numpy()
    if ids is None:
        return own
    with reading(ids, HandoffError, "a map of ids that export wrote"):
        table = Table.read(ids, format="ascii.ecsv")
        target_id, tool_id = (np.asarray(table[name]) for name in ("target_id", "id"))
    if target_id.dtype.kind != "i" or tool_id.dtype.kind not in "iU":
        raise HandoffError(
            f"{ids}: not a map of ids that export wrote (no whole numbers). Name the .ids.ecsv "
            "beside the exported list."
        )
    rows = matched(own, target_id)
    if not (rows >= 0).any():
        raise HandoffError(
            f"{ids}: none of its {len(target_id):,} targets is on the list. Name the map that was "
            "written when this list was exported."
        )
    return np.where(rows >= 0, tool_id[rows], -1 if tool_id.dtype.kind == "i" else "")


def _check_different(pointings: tuple[Pointing, ...]) -> None:
    """Refuse two files of one pointing: fba and merged ones, or a design and what came of it."""
    seen: dict[str, Path] = {}
    for pointing in pointings:
        name = pointing.tile or str(pointing.path.resolve())
        for other, path in seen.items():
            if f"{name},".startswith(f"{other},") or f"{other},".startswith(f"{name},"):
                raise HandoffError(
                    f"{pointing.path}: is of the same pointing as {path}. Give one of them."
                )
        seen[name] = pointing.path


def _match(
    targets: TargetList, pointing: Pointing, known: np.ndarray, proposals: Sequence[str]
) -> tuple[np.ndarray, Match]:
    """The row of each fiber's target in the list, or -1, shape (K,), and a count of them."""
    rows = np.full(len(pointing.id), -1)
    named, offset = np.zeros(len(rows), dtype=bool), np.full(len(rows), np.nan)
    for found in _candidates(targets, pointing, known):
        new = (found >= 0) & (rows < 0)
        apart = _offset(targets, pointing, found)
        offset[new & ~named] = apart[new & ~named]
        named |= new
        rows[new & (apart <= SAME_PLACE)] = found[new & (apart <= SAME_PLACE)]
    others: Counter[str] = Counter()
    if pointing.owner is not None:
        ours = _of_proposals(pointing, rows >= 0, proposals)
        others = Counter(pointing.owner[named & ~ours].tolist())
        rows, named = np.where(ours, rows, -1), named & ours
    elif proposals:
        raise HandoffError(
            f"{pointing.path}: is of DESI, whose files name no proposals; leave out --proposal."
        )
    if len(rows) and not named.any():
        raise HandoffError(
            f"{pointing.path}: none of its {len(rows):,} science targets is on the list. Name the "
            "list that was exported, and for tools with their own ids --ids."
        )
    lost = np.flatnonzero(named & (rows < 0))
    if len(lost):
        worst = lost[np.nan_to_num(offset[lost], nan=np.inf).argmax()]
        far = f"{offset[worst]:.0f} arcsec away from where the list has it"
        raise HandoffError(
            f"{pointing.path}: target {pointing.id[worst]} "
            f"{f'is {far}' if np.isfinite(offset[worst]) else 'has no position'}, the worst of "
            f"{len(lost):,} of {int(named.sum()):,}. The file was made from another list: name "
            "that one."
        )
    on_list = rows >= 0
    failed = int((on_list & ~pointing.works).sum())
    return rows, Match(pointing.path, len(rows), int(on_list.sum()), failed, others)


def _candidates(targets: TargetList, pointing: Pointing, known: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of the list by id, and then by obCode; shape (K,) each, -1 where there is none."""
    if known.dtype.kind == "i":
        yield np.where(pointing.id >= 0, matched(pointing.id, known), -1)
        codes = names_of(targets.table)
    else:
        codes = known
    if pointing.code is not None:
        yield np.where(pointing.code != "", matched(pointing.code.astype(object), codes), -1)


def _offset(targets: TargetList, pointing: Pointing, rows: np.ndarray) -> np.ndarray:
    """Angles between fibers' targets and rows of the list [arcsec], shape (K,)."""
    ra, dec = (targets.table[name].to_numpy()[rows] for name in ("ra", "dec"))
    return 3600 * separation(ra, dec, pointing.ra, pointing.dec)


def _of_proposals(pointing: Pointing, on_list: np.ndarray, proposals: Sequence[str]) -> np.ndarray:
    """Whether each fiber of a PFS design is of the list's own proposal, shape (K,).

    Where none is given it is the only one with targets of the list.
    """
    assert pointing.owner is not None
    owners = pointing.owner.astype(str)
    if proposals:
        words = [set(each.replace(",", "").split()[1::2]) for each in owners.tolist()]
        ours = np.array([not each.isdisjoint(proposals) for each in words], dtype=bool)
        if len(ours) and not ours.any():
            raise HandoffError(
                f"{pointing.path}: has no science targets of {', '.join(proposals)}; it has those "
                f"of {'; '.join(np.unique(owners).tolist())}. Name one of these with --proposal."
            )
        return ours
    with_targets = np.unique(owners[on_list]).tolist()
    if len(with_targets) > 1:
        raise HandoffError(
            f"{pointing.path}: several programs have targets of the list: "
            f"{'; '.join(with_targets)}. Name the catId or proposalId of yours with --proposal."
        )
    return np.isin(owners, with_targets) | (not with_targets)
