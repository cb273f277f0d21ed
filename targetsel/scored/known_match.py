"""Which sources of a scored catalog have a spectrum already, by files of spectra.

A spectrum belongs to the source of its id, where both files have ids of one kind, and else to the
nearest source within the radius; of sources at the same distance, to that of the smallest id. So
no spectrum makes two sources known. Of several spectra of a source the best counts: one without a
warning, the survey's primary one, the smallest error of redshift, the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, counted
from targetsel.scored.added_columns import AddedColumns, WithAddedColumns
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_columns import COLUMNS, KNOWN, fields
from targetsel.scored.known_spectra import SpectraFile, TakenSpectra
from targetsel.sky.nearest import ARCSEC, Motion, NearestSources
from targetsel.sky.positions import SAME_PLACE, check_same_places
from targetsel.tables.any_form import AnyTable, paths_in
from targetsel.tables.columns import floats, in_unit
from targetsel.tables.files import sha256_of_file
from targetsel.tables.ids import IdIndex

RADIUS = 1.0  # [arcsec]
LARGEST_RADIUS = 60.0  # [arcsec]; beyond it nobody means the same source
_AT_ONCE = 500_000  # spectra of which the best are chosen at a time
_MANY = 20  # matches of which a median tells something
_COUNTS = (
    *("n_by_id", "n_by_position", "n_unmatched"),
    *("n_failed", "n_of_sky", "n_without_position"),
)
_BEST = np.dtype(
    [
        ("row", np.int64),
        ("failed", bool),
        ("second", bool),  # not the survey's primary spectrum
        ("error", np.float64),
        ("sep", np.float64),  # [arcsec]; NaN without a position
        ("redshift", np.float64),
        ("east", np.float32),  # [arcsec]
        ("north", np.float32),
        ("by_id", bool),
    ]
)


@dataclass(frozen=True)
class SpectraCounts:
    """What became of the spectra of one file.

    Attributes
    ----------
    name : str
        The file's name.
    sha256 : str or None
        Of the file; None for a folder or a table in memory.
    n_spectra, n_by_id, n_by_position, n_unmatched : int
        All of them, and those that belong to a source by its id or position, or to none.
    n_failed : int
        With a warning or without a redshift, of those that belong to a source.
    n_of_sky, n_without_position : int
        Not looked for: of the sky between sources, or with neither a position nor a usable id.
    ids : str
        The column of ids that were compared; empty where none were.
    redshifts : str
        The column of redshifts; empty where the file has none.
    note : str
        What to know of how they were matched; else empty.
    """

    name: str
    sha256: str | None
    n_spectra: int
    n_by_id: int = 0
    n_by_position: int = 0
    n_unmatched: int = 0
    n_failed: int = 0
    n_of_sky: int = 0
    n_without_position: int = 0
    ids: str = ""
    redshifts: str = ""
    note: str = ""


@dataclass(frozen=True)
class KnownMatch:
    """The sources of a catalog that have a spectrum already.

    Attributes
    ----------
    files : tuple of SpectraCounts
    radius : float
        [arcsec].
    n_sources, n_known, n_warned : int
        Sources of the catalog, those that are known, and those all of whose spectra failed.
    n_beside : int
        Sources within the radius of a spectrum that belongs to another, nearer one.
    separation : float
        Median of the best spectra from their sources [arcsec]; NaN where there is none.
    east, north : float
        Median offset of these spectra from their sources [arcsec].
    motion : str
        What was done about proper motions; empty where the catalog has none.
    """

    files: tuple[SpectraCounts, ...]
    radius: float
    n_sources: int
    n_known: int
    n_warned: int
    n_beside: int
    separation: float
    east: float
    north: float
    motion: str
    added: AddedColumns = field(repr=False, compare=False)

    @property
    def cautions(self) -> list[str]:
        """Why the matches may be wrong, a sentence each."""
        said = [
            f"none of the {counted(each.n_spectra, 'spectrum', 'spectra')} in {each.name} belong "
            "to a source of the catalog: check that both are of one part of the sky, with right "
            "ascensions in degrees and not in hours"
            for each in self.files
            if not each.n_by_id + each.n_by_position
        ]
        offset = math.hypot(self.east, self.north)
        if offset > self.radius / 4:
            said.append(
                f"known spectra lie {abs(self.east):.2f} arcsec {_side(self.east, 'east', 'west')} "
                f"and {abs(self.north):.2f} arcsec {_side(self.north, 'north', 'south')} of their "
                "sources in the median: check the astrometry and the epochs of both"
            )
        elif self.separation > self.radius / 2:
            said.append(
                f"the median separation of known spectra, {self.separation:.2f} arcsec, is over "
                f"half of the radius of {self.radius:g} arcsec: many may be chance neighbours; "
                "check the positions, or give a smaller --known-radius"
            )
        return said

    @property
    def lines(self) -> list[str]:
        """What was matched, a sentence each."""
        said = []
        for each in self.files:
            by_id = f"{each.n_by_id:,} belong to a source by '{each.ids}', " if each.ids else ""
            by_position = "by position" if each.ids else "belong to a source by position"
            lost = {
                "of the sky": each.n_of_sky,
                "without a position": each.n_without_position,
            }
            rest = "".join(f", {n:,} {what}" for what, n in lost.items() if n)
            said.append(
                f"{each.name}: {counted(each.n_spectra, 'spectrum', 'spectra')}: "
                f"{by_id}{each.n_by_position:,} {by_position}, "
                f"{each.n_unmatched:,} to none{rest}; {each.n_failed:,} of those that belong have "
                "a warning or no redshift"
            )
            if not each.redshifts:
                said[-1] += "; it has no column of redshifts"
            if each.note:
                said.append(f"{each.name}: {each.note}")
        apart = "" if math.isnan(self.separation) else (
            f"; median separation {self.separation:.2f} arcsec"
        )  # fmt: skip
        said.append(
            f"{self.n_known:,} of {counted(self.n_sources, 'source')} are known within "
            f"{self.radius:g} arcsec{apart}; {self.n_warned:,} more have only spectra that failed"
        )
        if self.n_beside:
            said.append(
                f"{counted(self.n_beside, 'source')} within {self.radius:g} arcsec of a spectrum "
                "of a nearer source do not count as known by it; they may be one blend"
            )
        return [*said, *([self.motion] if self.motion else [])]

    @property
    def record(self) -> dict[str, Any]:
        """All counts as plain values, for a footer."""
        rest = {
            name: getattr(self, name)
            for name in ("radius", "n_sources", "n_known", "n_warned", "n_beside", "motion")
        }
        medians = {name: _finite(getattr(self, name)) for name in ("separation", "east", "north")}
        return {"files": [each.__dict__ for each in self.files], **rest, **medians}


def _side(value: float, positive: str, negative: str) -> str:
    return positive if value >= 0 else negative


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


@dataclass(frozen=True)
class KnownSpectra:
    """Files of spectra that were taken, and how near to a source one belongs to it.

    Attributes
    ----------
    files : tuple of Path or table
        SDSS's specObj, DESI's redshift catalogs, or any table of positions or ids.
    radius : float
        [arcsec].

    Raises
    ------
    CatalogError
        If the radius is none.
    """

    files: tuple[AnyTable, ...]
    radius: float = RADIUS

    def __post_init__(self) -> None:
        if not 0 < self.radius <= LARGEST_RADIUS:
            raise CatalogError(
                f"the radius of known spectra is {self.radius:g} arcsec; expected more than 0 and "
                f"up to {LARGEST_RADIUS:g}. Give another --known-radius."
            )

    @classmethod
    def of(cls, known: AnyTable, radius: float = RADIUS) -> KnownSpectra | None:
        """The files in one of the forms in which they are given; None where there are none.

        Parameters
        ----------
        known : KnownSpectra, str, Path, table, or a list of these, optional
        radius : float
            [arcsec].
        """
        if known is None or isinstance(known, cls):
            return known
        files = tuple(known) if isinstance(known, list | tuple) else (known,)
        return cls(files, radius) if files else None

    @property
    def paths(self) -> list[Path]:
        """Those that are files or folders."""
        return paths_in(self.files)

    def match(self, file: ScoredFile) -> KnownMatch:
        """The sources of a scored catalog that have a spectrum in one of the files.

        Positions and ids of the catalog stay in memory, about 100 bytes for each source; the
        spectra are read piece by piece.

        Raises
        ------
        CatalogError
            If a file cannot be read, or its columns are missing or of another kind.
        """
        matching = _Matching(file, self.radius)
        counts = tuple(matching.add(each) for each in self.files)
        return matching.result(counts)


def add_known(file: ScoredFile, known: KnownSpectra | None) -> KnownMatch | None:
    """Give an open scored file the columns `COLUMNS`; returns what was matched, if asked to.

    Without `known` the file stays as it is.

    Raises
    ------
    CatalogError
        As `KnownSpectra.match`, or if the catalog has a column of such a name.
    """
    if known is None:
        return None
    for column in COLUMNS:
        if column.name in file.schema.names:
            raise CatalogError(
                f"{file.path}: has a column '{column.name}' of its own, which --known would add. "
                "Rename or drop it."
            )
    found = known.match(file)
    with_columns(file, found.added)
    return found


def add_nothing_known(file: ScoredFile) -> None:
    """Give an open scored file the columns `COLUMNS` as if no source had a spectrum."""
    if KNOWN.name not in file.schema.names:
        nothing = np.empty(0, dtype=np.int64)
        with_columns(file, _added(np.empty(0, _BEST), nothing, mark=False))


def with_columns(file: ScoredFile, added: AddedColumns) -> None:
    """Let an open scored file have more columns."""
    file._file = WithAddedColumns(file._file, added)  # type: ignore[assignment]
    for each in added.fields:
        file.schema = file.schema.append(each)


def _added(best: np.ndarray, rows: np.ndarray, mark: bool = True) -> AddedColumns:
    known = ~best["failed"]
    values = (
        known,
        np.where(known, best["redshift"], np.nan),
        best["sep"].astype(np.float32),
        best["failed"].copy(),
    )
    return AddedColumns(fields(mark), rows, values, (False, None, None, False))


class _Matching:
    """Matches the spectra of one file after another with the sources of a catalog."""

    def __init__(self, file: ScoredFile, radius: float) -> None:
        self._file, self._radius = file, radius
        names = file.names
        self._moves = {each.lower(): each for each in file.schema.names}
        moving = all(name in self._moves for name in ("pmra", "pmdec"))
        epochs = "ref_epoch" in self._moves
        columns = [*dict.fromkeys(names.values())]
        motion = [self._moves[name] for name in ("pmra", "pmdec", "ref_epoch") if moving and epochs]
        ids, ra, dec, moves = [], [np.empty(0)], [np.empty(0)], [np.empty((3, 0))]
        for table in file.tables([*columns, *motion]):
            ids.append(table[names["source_id"]].to_numpy())
            ra.append(floats(table[names["ra"]]))
            dec.append(floats(table[names["dec"]]))
            if motion:
                moves.append(self._motion(table, motion))
        self._ids = np.concatenate(ids) if ids else np.empty(0, dtype=np.int64)
        self._motion_known = bool(motion)
        self._has_motion = moving
        order = self._ids
        if order.dtype.kind not in "iu":
            order = np.unique(order.astype(str), return_inverse=True)[1]
        moved = Motion(*np.concatenate(moves, axis=1)) if motion else None
        if moved is not None and not ((moved.pmra != 0) | (moved.pmdec != 0)).any():
            moved = None
        self._sources = NearestSources(np.concatenate(ra), np.concatenate(dec), order, moved)
        self._index: IdIndex | None = None
        self._best = np.empty(0, _BEST)
        self._new: list[np.ndarray] = []  # spectra that are not among the best yet
        self._beside: list[np.ndarray] = [np.empty(0, dtype=np.int64)]
        self._without_epoch: list[str] = []

    def _motion(self, table: pa.Table, names: Sequence[str]) -> np.ndarray:
        """Motions [mas/yr] and epochs, shape (3, N)."""
        pm = [
            floats(in_unit(table[name], table.schema.field(name), "mas/yr", self._file.path))
            for name in names[:2]
        ]
        epoch = floats(table[names[2]])
        return np.stack([*map(np.nan_to_num, pm), np.where(epoch > 1800, epoch, np.nan)])

    def add(self, spectra: AnyTable) -> SpectraCounts:
        """Find the source that each spectrum of a file belongs to."""
        file = SpectraFile(spectra, self._file.names["source_id"])
        use_ids, note = self._ids_to_use(file)
        if self._sources.motion is not None and "epoch" not in file.columns:
            self._without_epoch.append(_name(file))
        totals = np.zeros(len(_COUNTS), dtype=np.int64)
        for piece in file.pieces(with_ids=use_ids):
            totals += self._add_piece(piece)
        paths = paths_in([spectra])
        is_file = bool(paths) and paths[0].is_file()
        return SpectraCounts(
            _name(file),
            sha256_of_file(paths[0]) if is_file else None,
            len(file),
            **dict(zip(_COUNTS, totals.tolist(), strict=True)),
            ids=file.columns["id"] if use_ids else "",
            redshifts=file.columns.get("redshift", ""),
            note=note,
        )

    def _ids_to_use(self, file: SpectraFile) -> tuple[bool, str]:
        """Whether the ids of a file are those of the catalog, and what to say where they are not.

        Raises
        ------
        CatalogError
            If ids of one kind are of sources at different places.
        """
        if "id" not in file.columns:
            return False, ""
        if not file.has_positions:
            return True, ""
        n_apart = 0
        for piece in file.pieces():
            assert piece.ids is not None
            rows = self._rows_of(piece.ids)
            there = np.flatnonzero((rows >= 0) & ~np.isnan(piece.ra))
            rows = rows[there]
            ours = self._sources.ra[rows], self._sources.dec[rows]
            theirs = piece.ra[there], piece.dec[there]
            if file.ids_are_generic:
                apart = self._sources.offsets(rows, *theirs)[0]
                n_apart += int((apart > SAME_PLACE).sum())
            else:
                ids = piece.ids[there]
                check_same_places(ids, theirs, ours, file.path, self._file.path)
        if not n_apart:
            return True, ""
        return False, (
            f"its '{file.columns['id']}' numbers other sources than the catalog's ({n_apart:,} "
            f"equal ids are over {SAME_PLACE:g} arcsec apart), so that only positions were compared"
        )

    def _rows_of(self, ids: np.ndarray) -> np.ndarray:
        if self._index is None:
            self._index = IdIndex(self._ids)
        rows = self._index.rows(ids)
        missing = ids < 0 if ids.dtype.kind in "iu" else ids == ""
        return np.where(missing, -1, rows)

    def _add_piece(self, piece: TakenSpectra) -> np.ndarray:
        """Take some spectra into account; returns their counts, named `_COUNTS`."""
        n = len(piece)
        wanted = ~piece.of_sky
        rows = np.full(n, -1, dtype=np.int64)
        if piece.ids is not None:
            rows[wanted] = self._rows_of(piece.ids[wanted])
        by_id = rows >= 0
        placed = ~np.isnan(piece.ra) & wanted
        sep, east, north = np.full((3, n), np.nan)
        for epoch, some in self._by_epoch(piece, np.flatnonzero(placed)):
            near = some[~by_id[some]]
            degrees = self._radius / ARCSEC
            rows[near], beside = self._sources.nearest(
                piece.ra[near], piece.dec[near], degrees, epoch
            )
            self._beside.append(np.unique(beside[beside >= 0]))
            some = some[rows[some] >= 0]
            sep[some], east[some], north[some] = self._sources.offsets(
                rows[some], piece.ra[some], piece.dec[some], epoch
            )
        found = np.flatnonzero(rows >= 0)
        new = np.empty(len(found), _BEST)
        new["row"], new["failed"] = rows[found], piece.failed[found]
        new["second"], new["error"] = ~piece.primary[found], piece.error[found]
        new["redshift"], new["by_id"] = piece.redshift[found], by_id[found]
        new["sep"], new["east"], new["north"] = sep[found], east[found], north[found]
        self._new.append(new)
        if sum(map(len, self._new)) > max(len(self._best), _AT_ONCE):
            self._settle()
        lost = wanted & ~placed & ~by_id
        counts = (
            by_id.sum(),
            len(found) - by_id.sum(),
            (wanted & (rows < 0) & ~lost).sum(),
            new["failed"].sum(),
            piece.of_sky.sum(),
            lost.sum(),
        )
        return np.array(counts, dtype=np.int64)

    def _settle(self) -> None:
        """Choose the best of all spectra that were added."""
        self._best = _best_of(np.concatenate([self._best, *self._new]))
        self._new = []

    def _by_epoch(self, piece: TakenSpectra, rows: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Rows of spectra by their epoch [yr], to half a year; all at once where nothing moves."""
        if self._sources.motion is None:
            return [(np.nan, rows)]
        epochs = np.round(piece.epoch[rows] * 2) / 2
        return [
            (float(each), rows[np.isnan(epochs) if np.isnan(each) else epochs == each])
            for each in np.unique(epochs)
        ]

    def result(self, counts: tuple[SpectraCounts, ...]) -> KnownMatch:
        """What was matched, once all files were added."""
        self._settle()
        best = self._best
        beside = np.setdiff1d(np.concatenate(self._beside), best["row"])
        apart = best[~np.isnan(best["sep"])]
        many = len(apart) >= _MANY
        return KnownMatch(
            counts,
            self._radius,
            len(self._sources),
            int((~best["failed"]).sum()),
            int(best["failed"].sum()),
            len(beside),
            float(np.median(apart["sep"])) if len(apart) else math.nan,
            float(np.median(apart["east"])) if many else 0.0,
            float(np.median(apart["north"])) if many else 0.0,
            self._said_of_motion(),
            _added(best, best["row"].copy()),
        )

    def _said_of_motion(self) -> str:
        if not self._has_motion:
            return ""
        if not self._motion_known:
            return (
                "proper motions were not considered: the catalog has 'pmra' and 'pmdec', but no "
                "'ref_epoch' of its positions"
            )
        if self._without_epoch:
            return (
                "proper motions were not considered for spectra without a 'ref_epoch' of their "
                f"positions, in {', '.join(self._without_epoch)}"
            )
        if self._sources.motion is None:
            return ""
        return "sources were moved to the epochs of the spectra by their proper motions"


def _name(file: SpectraFile) -> str:
    return file.path.name if isinstance(file.path, Path) else str(file.path)


def _best_of(spectra: np.ndarray) -> np.ndarray:
    """The best spectrum of each source, by source."""
    spectra = spectra[np.argsort(spectra["row"], kind="stable")]
    is_first = _firsts(spectra)
    alone = is_first & np.append(is_first[1:], True)[: len(spectra)]
    several = spectra[~alone]
    keys = ("redshift", "by_id", "sep", "error", "second", "failed", "row")  # the last goes first
    several = several[np.lexsort([several[key] for key in keys])]
    best = np.concatenate([spectra[alone], several[_firsts(several)]])
    return best[np.argsort(best["row"], kind="stable")]


def _firsts(spectra: np.ndarray) -> np.ndarray:
    """Whether each is the first of its source, of spectra sorted by source."""
    rows = spectra["row"]
    return np.append(True, rows[1:] != rows[:-1])[: len(rows)]
