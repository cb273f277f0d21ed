"""A scored catalog with the cell of each source: found or taken over, counted, and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import CatalogError
from targetsel.feature_cells.centres import Centres
from targetsel.feature_cells.columns import (
    CELL,
    CELL_KNOWN,
    CELL_SOURCES,
    CELL_TARGETS,
    COLUMNS,
    FOOTER,
)
from targetsel.feature_cells.features import Features, Kind
from targetsel.photometry.brightness import with_brightness
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_columns import KNOWN
from targetsel.scored.known_match import KnownMatch, KnownSpectra, refuse_itself
from targetsel.scored.slim import compression
from targetsel.tables.any_form import AnyTable, paths_in
from targetsel.tables.columns import Column, arrow_column, in_one_piece, schema_of
from targetsel.tables.files import check_table_output
from targetsel.tables.ids import exact_ids, uniform
from targetsel.tables.parquet import ParquetSink
from targetsel.tasks import tracked

SAMPLE = 20_000  # sources of which centres are found
MOST = 5_000  # cells
ROWS = 65_536


@dataclass(frozen=True)
class CellCounts:
    """The cells of a catalog, and what is known of each.

    Attributes
    ----------
    centres : Centres
        Of C cells.
    sources, known : ndarray of int64, shape (C,)
        Sources of each cell, and those of them with a spectrum.
    targets : ndarray of int64, shape (C,), or None
        Those of them on a target list, where one was given.
    n_sources : int
        All sources of the catalog.
    match : KnownMatch or None
        Which sources have a spectrum, where files of spectra were given.
    says_known : bool
        Whether the catalog or files of spectra say which sources have a spectrum.
    n_listed : int
        Sources on the target list, in a cell or not.
    """

    centres: Centres
    sources: np.ndarray
    known: np.ndarray
    targets: np.ndarray | None
    n_sources: int
    match: KnownMatch | None
    says_known: bool
    n_listed: int

    @property
    def n_without_cell(self) -> int:
        """Sources that lack one of the features."""
        return self.n_sources - int(self.sources.sum())

    @property
    def n_unknown(self) -> int:
        """Cells without a spectrum."""
        return int((self.known == 0).sum())

    @property
    def share_unknown(self) -> float:
        """The share of the sources with a cell that are in cells without a spectrum."""
        return float(self.sources[self.known == 0].sum() / max(int(self.sources.sum()), 1))

    @property
    def columns(self) -> list[tuple[Column, np.ndarray]]:
        """What is counted of each cell, with its column."""
        found = [(CELL_SOURCES, self.sources), (CELL_KNOWN, self.known)]
        return found if self.targets is None else [*found, (CELL_TARGETS, self.targets)]


def write_cells(
    scored: AnyTable,
    output: Path,
    *,
    cells: int = 200,
    features: Kind = "latents",
    like: Path | None = None,
    known: KnownSpectra | None = None,
    targets: pa.Array | None = None,
    brightness: Sequence[str] = (),
    seed: int = 0,
) -> CellCounts:
    """Write a scored catalog with the columns of its cells; it is read piece by piece, three times.

    Centres are found by k-means on the `SAMPLE` sources of which a hash of id and seed is smallest,
    so that they depend neither on the order of the rows nor on how the catalog is cut.

    Parameters
    ----------
    scored : Path or table
    output : Path
    cells : int
        Number of cells to find.
    features : str
        "latents" or "colours"; see `Features`.
    like : Path, optional
        A file that `write_cells` wrote, whose cells are taken over; `cells`, `features` and `seed`
        then do not matter.
    known : KnownSpectra, optional
        Files of spectra. By default the catalog's own column ``known`` counts, if it has one.
    targets : Array, optional
        Ids of the sources of a target list, which are counted too.
    brightness : sequence of str
        Which column holds which band, for colours (see `photometry.brightness`).
    seed : int

    Returns
    -------
    CellCounts

    Raises
    ------
    CatalogError
        If a file is unusable, has such columns already, or has too few sources with features.
    EnsembleError
        If cells of latents are taken over from a catalog that another ensemble scored.
    OutputError
        If `output` cannot be written.
    """
    others = [*([like] if like else []), *(known.paths if known else [])]
    check_table_output(output, (*paths_in([scored]), *others))
    _check_number(cells)
    with ScoredFile(scored) as file:
        place = file.path if isinstance(file.path, Path) else None
        file.schema = with_brightness(file.schema, brightness, place)
        _check_new(file)
        if known is not None:
            refuse_itself(file, known)
        match = known.match(file) if known else None
        work = (
            _Cells.found(file, features, cells, seed) if like is None else _Cells.like(file, like)
        )
        spectra = _Spectra(file, match)
        counts = work.counted(spectra, match, targets)
        _check_targets(file, targets, counts)
        added = schema_of([CELL, *(column for column, _ in counts.columns)])
        with ParquetSink(
            output,
            pa.schema([*file.schema, *added]),
            compression=compression(file.footer),
        ) as sink:
            record = work.centres.record | {"n_sources": len(file)}
            sink.footer.update(file.footer, **{FOOTER: record})
            if match is not None:
                sink.footer[FOOTER]["known"] = match.record
            pieces = tracked(file.tables(rows=ROWS), "writing cells", len(file), "sources", len)
            for piece in pieces:
                sink.write(work.beside(piece, counts))
        return counts


def _check_number(cells: int) -> None:
    if not 2 <= cells <= MOST:
        raise CatalogError(f"{cells:,} cells; expected 2 to {MOST:,}. Give another --cells.")


def _check_new(file: ScoredFile) -> None:
    for column in COLUMNS:
        if column.name in file.schema.names:
            raise CatalogError(
                f"{file.path}: has a column '{column.name}' already. Take the catalog as it was "
                "before, or drop or rename the column."
            )


def _check_targets(file: ScoredFile, targets: pa.Array | None, counts: CellCounts) -> None:
    if targets is not None and len(targets) and not counts.n_listed:
        raise CatalogError(
            f"{file.path}: none of the {len(targets):,} targets (the first is '{targets[0]}') is a "
            "source of this catalog. Name a list that was chosen from it."
        )


class _Spectra:
    """Which sources have a spectrum: of files that were matched, or by the catalog's own column."""

    def __init__(self, file: ScoredFile, match: KnownMatch | None) -> None:
        self._rows = np.empty(0, dtype=np.int64)
        self.column = ""
        if match is not None:
            added = match.added
            self._rows = added.rows[added.values[added.names.index(KNOWN.name)]]
        elif KNOWN.name in file.schema.names:
            kind = file.schema.field(KNOWN.name).type
            if not pa.types.is_boolean(kind):
                raise CatalogError(
                    f"{file.path}: its column '{KNOWN.name}' holds {kind}; expected true or false. "
                    "Rename it, or name files of spectra with --known."
                )
            self.column = KNOWN.name
        self.are_told = match is not None or bool(self.column)

    def known(self, piece: pa.Table, first: int) -> np.ndarray:
        """Whether each of the rows from number `first` on has a spectrum, shape (N,)."""
        if self.column:
            values = pc.fill_null(in_one_piece(piece[self.column]), False)
            found: np.ndarray = values.to_numpy(zero_copy_only=False)
            return found
        return np.isin(np.arange(first, first + len(piece)), self._rows, assume_unique=True)


@dataclass(frozen=True)
class _Cells:
    """An open scored catalog, its features, and the cells to put its sources in."""

    file: ScoredFile
    features: Features
    centres: Centres

    @classmethod
    def found(cls, file: ScoredFile, kind: Kind, n: int, seed: int) -> _Cells:
        """Those of centres that are found in the catalog itself."""
        features = Features.of(file, kind)
        sample = _sample(file, features, seed)
        if len(sample) < n:
            needs = "predictions (status ok)" if kind == "latents" else "brightness in all bands"
            raise CatalogError(
                f"{file.path}: {len(sample):,} of its {len(file):,} sources have {needs}; expected "
                f"one for each of {n:,} cells. Give a smaller --cells, or a larger catalog."
            )
        return cls(file, features, Centres.fit(kind, features.names, sample, n, seed))

    @classmethod
    def like(cls, file: ScoredFile, other: Path) -> _Cells:
        """Those of the cells of another catalog."""
        with ScoredFile(other) as theirs:
            centres = Centres.of_record(theirs.footer.get(FOOTER), other)
            if centres.kind == "latents":
                file.check_scored_like(theirs)
        kind: Kind = "latents" if centres.kind == "latents" else "colours"
        features = Features.of(file, kind)
        if features.names != centres.names:
            raise CatalogError(
                f"{file.path}: has the features {', '.join(features.names)}, and the cells of "
                f"{other} are of {', '.join(centres.names)}. Give a catalog with the same, or find "
                "cells of its own without --like."
            )
        return cls(file, features, centres)

    def counted(
        self, spectra: _Spectra, match: KnownMatch | None, targets: pa.Array | None
    ) -> CellCounts:
        """The sources of each cell, and those with a spectrum or on a list."""
        sources, known, listed = np.zeros((3, len(self.centres)), dtype=np.int64)
        first = n_listed = 0
        id_name = self.file.names["source_id"]
        columns = [*self.features.columns, *([spectra.column] if spectra.column else [])]
        columns += [] if targets is None else [id_name]
        tables = self.file.tables([*dict.fromkeys(columns)], ROWS)
        for piece in tracked(tables, "counting", len(self.file), "sources", len):
            cell = self.centres.nearest(self.features.values(piece))
            has, inside = spectra.known(piece, first), cell >= 0
            sources += np.bincount(cell[inside], minlength=len(self.centres))
            known += np.bincount(cell[inside & has], minlength=len(self.centres))
            if targets is not None:
                ids = exact_ids(piece[id_name], id_name, self.file.path)
                on_list = pc.is_in(ids, targets.cast(ids.type)).to_numpy(zero_copy_only=False)
                listed += np.bincount(cell[inside & on_list], minlength=len(self.centres))
                n_listed += int(on_list.sum())
            first += len(piece)
        counted = None if targets is None else listed
        return CellCounts(
            self.centres, sources, known, counted, first, match, spectra.are_told, n_listed
        )

    def beside(self, piece: pa.Table, counts: CellCounts) -> pa.Table:
        """The rows with their cells."""
        cell = self.centres.nearest(self.features.values(piece))
        inside = cell >= 0
        counted = [(column, values[cell]) for column, values in counts.columns]
        for column, values in [(CELL, cell), *counted]:
            piece = piece.append_column(column.field, arrow_column(values, column.type, inside))
        return piece


def _sample(file: ScoredFile, features: Features, seed: int) -> np.ndarray:
    """The features of the sources whose hash is smallest, in its order, shape (up to SAMPLE, K)."""
    found = np.empty((0, 1 + len(features.names)))
    for piece in _pieces_with_ids(file, features):
        ids = exact_ids(piece[file.names["source_id"]], file.names["source_id"], file.path)
        values = features.values(piece)
        known = ~np.isnan(values).any(axis=1)
        if not known.any():
            continue
        some = ids.filter(pa.array(known)).to_numpy(zero_copy_only=False)
        hashes = uniform(some, seed, "cells")
        found = np.concatenate([found, np.column_stack([hashes, values[known]])])
        found = found[np.lexsort(found.T[::-1])][:SAMPLE]
    return found[:, 1:]


def _pieces_with_ids(file: ScoredFile, features: Features) -> Iterator[pa.Table]:
    names = [*dict.fromkeys([file.names["source_id"], *features.columns])]
    return tracked(file.tables(names, ROWS), "finding cells", len(file), "sources", len)
