"""A catalog sorted on the sky and cut into chunks, on disk.

Whatever the order of a catalog's rows, its format or the way it is split into files, the chunks
are the same bytes. Everything that happens per chunk afterwards is then the same as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, OutputError
from targetsel.sky.catalog import HEALPIX, ROWS_PER_READ, Catalog, CatalogFile
from targetsel.sky.footprint import Footprint
from targetsel.tables.parquet import plain_schema, write_table

# Each run is one open file, and systems grant some thousand of them.
MOST_RUNS = 500


@dataclass(frozen=True)
class Chunks:
    """A sorted catalog on disk, in chunks.

    Attributes
    ----------
    paths : tuple of Path
    n_rows : int
    schema : pa.Schema
        Schema of every chunk.
    sha256 : str
        Fingerprint of the sorted ids and positions, whatever file they came from.
    """

    paths: tuple[Path, ...]
    n_rows: int
    schema: pa.Schema
    sha256: str

    @property
    def n_chunks(self) -> int:
        return len(self.paths)


def sorted_chunks(
    file: CatalogFile, folder: Path, rows_per_chunk: int, footprint: Footprint | None = None
) -> Chunks:
    """Sort a catalog by (HEALPix pixel, id) into Parquet files of `rows_per_chunk` rows.

    In memory it holds what `sorted_rows` does, and a chunk. `CatalogFile.check` comes first, with
    its 8 bytes per row.

    Parameters
    ----------
    file : CatalogFile
    folder : Path
        Made if missing. Gets ``chunk-00000.parquet`` and so on, which replace older chunks; the
        last is shorter. They have the catalog's columns and `_healpix_29`, and their footer
        names the columns of ids and positions.
    rows_per_chunk : int
    footprint : Footprint, optional
        Only sources inside are kept.

    Raises
    ------
    CatalogError
        If the catalog cannot be used (see `CatalogFile.check`), or has no source inside.
    OutputError
        If the folder cannot be written, or the disk is full.
    """
    folder = Path(folder)
    schema = schema_of_chunks(file)
    footer = {"columns": dict(file.columns)}
    paths: list[Path] = []
    fingerprint = _Fingerprint()
    file.check()
    with _emptied(folder) as spill:
        for chunk in _regrouped(sorted_rows(file, spill, footprint), rows_per_chunk):
            paths.append(folder / f"chunk-{len(paths):05d}.parquet")
            write_table(chunk, paths[-1], footer)
            fingerprint.add(Catalog(chunk, file.columns))
    if not paths:
        raise CatalogError(
            f"{file.path}: none of the {file.num_rows} sources lies inside the footprint. "
            "Name a catalog of that part of the sky, or change the footprint."
        )
    return Chunks(tuple(paths), fingerprint.n_rows, schema, fingerprint.hexdigest())


def sorted_rows(
    file: CatalogFile, spill: Path, footprint: Footprint | None = None
) -> Iterator[pa.Table]:
    """The rows of a catalog in the order of (HEALPix pixel, id), merged while they are read.

    An external merge sort (Knuth, TAOCP 3, 5.4): sorted runs are spilled into a folder, taking
    about the catalog's size in memory there, and merged. In memory it holds a few times 262 144
    rows; for a catalog beyond 131 million rows, runs grow so that they stay below 500.

    Parameters
    ----------
    file : CatalogFile
    spill : Path
        An empty folder, which the caller removes afterwards.
    footprint : Footprint, optional
        Only sources inside are kept.

    Returns
    -------
    iterator of pa.Table
        Pieces of any length, of the schema of `schema_of_chunks`.

    Raises
    ------
    CatalogError
        If the catalog cannot be used (see `CatalogFile.check`).
    """
    schema = schema_of_chunks(file)
    runs = _spilled_runs(file, footprint or Footprint.everywhere(), spill, schema)
    return _merged(runs, file.columns)


@contextlib.contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A place for runs in a folder freed of older chunks; the runs are gone afterwards."""
    spill = folder / ".runs"
    try:
        folder.mkdir(exist_ok=True)
        shutil.rmtree(spill, ignore_errors=True)
        spill.mkdir()
        for old in folder.glob("chunk-*.parquet"):
            old.unlink()
        yield spill
    except OSError as error:
        raise OutputError(
            f"{folder}: could not be written: {error.strerror or error}. "
            "Free some space or choose another place."
        ) from error
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def schema_of_chunks(file: CatalogFile) -> pa.Schema:
    """The catalog's columns and the HEALPix pixel, which replaces one that was there."""
    own = [field for field in file.schema if field.name != HEALPIX.name]
    return plain_schema(pa.schema([*own, HEALPIX]))


def _spilled_runs(
    file: CatalogFile, footprint: Footprint, folder: Path, schema: pa.Schema
) -> list[pa.Table]:
    """Sorted parts of the catalog, each in a memory-mapped Arrow file."""
    runs: list[pa.Table] = []
    for piece in file.batches(max(ROWS_PER_READ, -(-file.num_rows // MOST_RUNS))):
        inside = footprint.select(piece)
        if not len(inside):
            continue
        table = _sorted(with_pixels(inside, schema), file.columns).combine_chunks()
        path = folder / f"run-{len(runs):05d}.arrow"
        with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, schema) as writer:
            writer.write_table(table)
        with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
            runs.append(reader.read_all())
    return runs


def with_pixels(rows: Catalog, schema: pa.Schema) -> pa.Table:
    """Rows of a catalog as chunks have them, in the schema of `schema_of_chunks`."""
    table = rows.table
    if HEALPIX.name in table.column_names:
        table = table.drop_columns(HEALPIX.name)
    return table.append_column(HEALPIX, pa.array(rows.healpix)).cast(schema)


def _sorted(table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    return table.sort_by([(HEALPIX.name, "ascending"), (columns["source_id"], "ascending")])


def _merged(runs: Sequence[pa.Table], columns: Mapping[str, str]) -> Iterator[pa.Table]:
    """The rows of all runs in order, in pieces.

    A window of rows of every run is held in memory. All rows up to the smallest last row of a
    window come before every row outside of the windows.
    """
    pixels = [run[HEALPIX.name].to_numpy() for run in runs]
    ids = [run[columns["source_id"]] for run in runs]
    window = max(64, ROWS_PER_READ // max(len(runs), 1))
    place = [0] * len(runs)
    open_runs = [k for k, run in enumerate(runs) if run.num_rows]
    while open_runs:
        stop = {k: min(place[k] + window, runs[k].num_rows) for k in open_runs}
        bound = min((pixels[k][stop[k] - 1], ids[k][stop[k] - 1].as_py()) for k in open_runs)
        piece = []
        for k in open_runs:
            n_rows = _rows_up_to(bound, pixels[k][place[k] : stop[k]], ids[k].slice(place[k]))
            piece.append(runs[k].slice(place[k], n_rows))
            place[k] += n_rows
        yield _sorted(pa.concat_tables(piece), columns)
        open_runs = [k for k in open_runs if place[k] < runs[k].num_rows]


def _rows_up_to(bound: tuple[int, int | str], pixels: np.ndarray, ids: pa.ChunkedArray) -> int:
    """Number of leading rows of a sorted window up to and including `bound`."""
    first = int(np.searchsorted(pixels, bound[0], side="left"))
    last = int(np.searchsorted(pixels, bound[0], side="right"))
    same_pixel = ids.slice(first, last - first).to_numpy()
    return first + int(np.searchsorted(same_pixel, bound[1], side="right"))


def _regrouped(pieces: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `rows` rows; the last may be shorter."""
    waiting: list[pa.Table] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(table.num_rows for table in waiting) < rows:
            continue
        table = pa.concat_tables(waiting)
        n_full = table.num_rows - table.num_rows % rows
        for start in range(0, n_full, rows):
            yield table.slice(start, rows)
        waiting = [table.slice(n_full)]
    rest = pa.concat_tables(waiting) if waiting else None
    if rest is not None and rest.num_rows:
        yield rest


class _Fingerprint:
    """SHA-256 of ids, right ascensions and declinations, each in one stream of its own.

    Separate streams make it independent of how the rows were cut into pieces.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        self._streams = [hashlib.sha256() for _ in range(3)]

    def add(self, piece: Catalog) -> None:
        ids = piece.source_id
        if ids.dtype == np.int64:
            self._streams[0].update(ids.astype("<i8").tobytes())
        else:
            self._streams[0].update("\0".join([*ids, ""]).encode())
        self._streams[1].update(piece.ra.astype("<f8").tobytes())
        self._streams[2].update(piece.dec.astype("<f8").tobytes())
        self.n_rows += len(piece)

    def hexdigest(self) -> str:
        return hashlib.sha256(b"".join(s.digest() for s in self._streams)).hexdigest()
