"""Which sources of a scored catalog have a spectrum already, by files of spectra.

A spectrum belongs to the source of its id, where both files have ids of one kind, and else to the
nearest source within the radius; of sources at the same distance, to that of the smallest id. So
no spectrum makes two sources known. Of several spectra of a source the best counts: one without a
warning, the survey's primary one, the smallest error of redshift, the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, counted
from targetsel.scored.added_columns import AddedColumns, WithAddedColumns
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_columns import COLUMNS, KNOWN, fields
from targetsel.scored.known_search import HeldSpectra, Passing
from targetsel.scored.known_spectra import LEAST_QUALITY, SpectraFile
from targetsel.sky.nearest import Motion, Moving
from targetsel.sky.positions import SAME_PLACE, apart_error
from targetsel.tables.any_form import AnyTable, paths_in
from targetsel.tables.columns import floats, in_one_piece, in_unit
from targetsel.tables.files import sha256_of_file

RADIUS = 1.0  # [arcsec]
LARGEST_RADIUS = 60.0  # [arcsec]; beyond it nobody means the same source
_MANY = 20  # matches of which a median tells something
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
    ],
    align=True,
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
    quality : str
        The column of marks of quality that was read; empty where there is none.
    unread : str
        A column that may mark bad redshifts and was not read; else empty.
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
    quality: str = ""
    unread: str = ""


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
        said += [
            f"all {counted(n, 'spectrum', 'spectra')} in {each.name} that belong to a source have "
            "a warning or no redshift, so that none makes it known: check the columns of "
            "redshifts and warnings"
            for each in self.files
            if (n := each.n_by_id + each.n_by_position) and each.n_failed == n
        ]
        said += [
            f"{each.name}: its column '{each.unread}' may mark bad redshifts, and was not read: "
            "cut the table to good ones first if it does"
            for each in self.files
            if each.unread
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
            if each.quality:
                said[-1] += f", or '{each.quality}' below {LEAST_QUALITY}"
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
            A file that is there twice counts once.
        radius : float
            [arcsec].
        """
        if known is None or isinstance(known, cls):
            return known
        given = tuple(known) if isinstance(known, list | tuple) else (known,)
        files: list[AnyTable] = []
        seen: set[Path] = set()
        for each in given:
            place = {path.resolve() for path in paths_in([each])}
            if not place & seen:
                files.append(each)
            seen |= place
        return cls(tuple(files), radius) if files else None

    @property
    def paths(self) -> list[Path]:
        """Those that are files or folders."""
        return paths_in(self.files)

    def match(self, file: ScoredFile) -> KnownMatch:
        """The sources of a scored catalog that have a spectrum in one of the files.

        The catalog is read once, piece by piece; what stays in memory of it are the sources that
        are near a spectrum. The spectra stay, about 100 bytes each.

        Raises
        ------
        CatalogError
            If a file cannot be read, or its columns are missing or of another kind.
        """
        return _Matching(file, self).result()


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
    refuse_itself(file, known)
    for column in COLUMNS:
        if column.name in file.schema.names:
            raise CatalogError(
                f"{file.path}: has a column '{column.name}' of its own, which --known would add. "
                "Rename or drop it."
            )
    found = known.match(file)
    with_columns(file, found.added)
    return found


def refuse_itself(file: ScoredFile, known: KnownSpectra) -> None:
    """Refuse spectra that are the catalog itself.

    Raises
    ------
    CatalogError
    """
    ours = {path.resolve() for path in paths_in([file.opened_from])}
    if ours & {path.resolve() for path in known.paths}:
        raise CatalogError(
            f"{file.path}: is the catalog itself, all of whose sources --known would take for "
            "known. Name a table of spectra that were taken."
        )


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
    """Matches the spectra of files with the sources of a catalog, which is read once."""

    def __init__(self, file: ScoredFile, known: KnownSpectra) -> None:
        self._file, self._radius = file, known.radius
        self._named = {each.lower(): each for each in file.schema.names}
        self._has_motion = "pmra" in self._named and "pmdec" in self._named
        self._follows = self._has_motion and "ref_epoch" in self._named
        self._moves = False  # whether any source does
        kind = file.schema.field(file.names["source_id"]).type
        self._spectra = [
            HeldSpectra(
                SpectraFile(each, file.names["source_id"]), known.radius, kind, self._follows
            )
            for each in known.files
        ]
        self._sha256 = [_sha256(each) for each in known.files]

    def result(self) -> KnownMatch:
        """What was matched, once the catalog was read."""
        for sources in self._passing():
            for each in self._spectra:
                each.pass_by(sources)
        outcomes = [
            self._outcome(spectra, sha256)
            for spectra, sha256 in zip(self._spectra, self._sha256, strict=True)
        ]
        best = _best_of(np.concatenate([np.empty(0, _BEST), *(each.found for each in outcomes)]))
        beside = np.unique(np.concatenate([np.empty(0, int), *(each.beside for each in outcomes)]))
        apart = best[~np.isnan(best["sep"])]
        many = len(apart) >= _MANY
        return KnownMatch(
            tuple(each.counts for each in outcomes),
            self._radius,
            len(self._file),
            int((~best["failed"]).sum()),
            int(best["failed"].sum()),
            int((~np.isin(beside, best["row"])).sum()),
            float(np.median(apart["sep"])) if len(apart) else math.nan,
            float(np.median(apart["east"])) if many else 0.0,
            float(np.median(apart["north"])) if many else 0.0,
            self._said_of_motion(),
            _added(best, best["row"].copy()),
        )

    def _passing(self) -> Iterator[Passing]:
        """The sources of the catalog, some at a time."""
        names = self._file.names
        motion = [self._named[each] for each in ("pmra", "pmdec", "ref_epoch") if self._follows]
        first = 0
        for table in self._file.tables([*dict.fromkeys([*names.values(), *motion])]):
            ra, dec = floats(table[names["ra"]]), floats(table[names["dec"]])
            moves = self._motion(table, motion) if motion else None
            ids = in_one_piece(table[names["source_id"]])
            yield Passing(first, ids, Moving(ra, dec, moves))
            first += len(table)

    def _motion(self, table: pa.Table, names: Sequence[str]) -> Motion | None:
        """Motions of sources, where any of them moves."""
        pmra, pmdec = (
            np.nan_to_num(
                floats(in_unit(table[name], table.schema.field(name), "mas/yr", self._file.path))
            )
            for name in names[:2]
        )
        epoch = floats(table[names[2]])
        moves = bool(((pmra != 0) | (pmdec != 0)).any())
        self._moves |= moves
        return Motion(pmra, pmdec, np.where(epoch > 1800, epoch, np.nan)) if moves else None

    def _outcome(self, spectra: HeldSpectra, sha256: str | None) -> _Outcome:
        """What became of the spectra of a file."""
        file, by_id = spectra.file, spectra.by_id()
        n_apart = int((by_id["sep"] > SAME_PLACE).sum())
        if n_apart and not file.ids_are_generic:
            worst = by_id[np.nanargmax(by_id["sep"])]
            (wrong,) = self._ids_of(worst["source"].reshape(1))
            raise apart_error(
                n_apart, len(by_id), float(worst["sep"]), wrong, file.path, self._file.path
            )
        note = ""
        if n_apart:
            note = (
                f"its '{file.columns['id']}' numbers other sources than the catalog's ({n_apart:,} "
                f"equal ids are over {SAME_PLACE:g} arcsec apart), so that only positions were "
                "compared"
            )
            by_id = by_id[:0]
        near = spectra.by_position(self._ids_of)
        near = near[~np.isin(near["place"], by_id["place"])]
        nearest = np.append(True, near["place"][1:] != near["place"][:-1])[: len(near)]
        matched = np.concatenate([by_id, near[nearest]])
        found = np.empty(len(matched), _BEST)
        for name in ("sep", "east", "north", "by_id"):
            found[name] = matched[name]
        found["row"], places = matched["source"], matched["place"]
        for name in ("failed", "error", "redshift"):
            found[name] = spectra.of(name, places)
        found["second"] = ~spectra.of("primary", places)
        n_lost = len(spectra) - spectra.n_placed - int((~spectra.has_place(by_id["place"])).sum())
        counts = SpectraCounts(
            _name(file),
            sha256,
            len(file),
            n_by_id=len(by_id),
            n_by_position=int(nearest.sum()),
            n_unmatched=len(spectra) - len(matched) - n_lost,
            n_failed=int(found["failed"].sum()),
            n_of_sky=spectra.n_of_sky,
            n_without_position=n_lost,
            ids=file.columns["id"] if "id" in file.columns and not n_apart else "",
            redshifts=file.columns.get("redshift", ""),
            note=note,
            quality=file.columns.get("quality", ""),
            unread=file.unread,
        )
        return _Outcome(counts, found, near["source"][~nearest])

    def _ids_of(self, rows: np.ndarray) -> list[int | str]:
        """The ids of sources in these rows of the catalog, increasing."""
        found: list[int | str] = []
        first, column = 0, self._file.names["source_id"]
        for table in self._file.tables([column]):
            start, stop = np.searchsorted(rows, [first, first + len(table)])
            here = pa.array(rows[start:stop] - first)
            found += in_one_piece(table[column]).take(here).to_pylist()
            first += len(table)
        return found

    def _said_of_motion(self) -> str:
        if not self._has_motion:
            return ""
        if not self._follows:
            return (
                "proper motions were not considered: the catalog has 'pmra' and 'pmdec', but no "
                "'ref_epoch' of its positions"
            )
        if not self._moves:
            return ""
        files = [each.file for each in self._spectra]
        if without := [_name(each) for each in files if "epoch" not in each.columns]:
            return (
                "proper motions were not considered for spectra without a 'ref_epoch' of their "
                f"positions, in {', '.join(without)}"
            )
        return "sources were moved to the epochs of the spectra by their proper motions"


@dataclass(frozen=True)
class _Outcome:
    """What became of the spectra of a file.

    Attributes
    ----------
    counts : SpectraCounts
    found : ndarray of `_BEST`
        Each spectrum that belongs to a source.
    beside : ndarray
        Rows of sources that are the next nearest to a spectrum.
    """

    counts: SpectraCounts
    found: np.ndarray
    beside: np.ndarray


def _sha256(spectra: AnyTable) -> str | None:
    """The hash of a file; None for a folder or a table in memory."""
    paths = paths_in([spectra])
    return sha256_of_file(paths[0]) if paths and paths[0].is_file() else None


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
