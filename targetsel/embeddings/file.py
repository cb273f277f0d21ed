"""Files of embeddings: a table with an id and a vector in each row, read by id.

The table may be Parquet, a folder of Parquet files such as a HATS catalog, FITS or another format
that holds lists. Its vectors are copied once into a scratch file on disk, where each is found by
its row: whoever asks for sources in the order of the sky needs them in another order than they lie
in the table, and memory does not grow with their number.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from targetsel.embeddings.numbered import as_lists, field_of, numbered_columns
from targetsel.embeddings.vectors import Vectors
from targetsel.errors import CatalogError, counted, did_you_mean
from targetsel.sky.catalog import find_column
from targetsel.tables.any_form import AnyTable, is_path
from targetsel.tables.any_format import opened
from targetsel.tables.columns import matrix
from targetsel.tables.files import PARQUET_SUFFIXES
from targetsel.tables.folders import ParquetFiles, files_of
from targetsel.tables.formats import InMemory
from targetsel.tables.hats_properties import position_columns
from targetsel.tables.ids import IdIndex, exact_ids
from targetsel.tables.parquet import footer_in, says_simulated
from targetsel.tables.reading import ParquetReader
from targetsel.tables.types import held, is_list, is_number

NUMBERS_AT_ONCE = 1 << 22  # read together, whatever the length of a vector
SHORTEST = 2  # numbers; of fewer there is no need for a list
MOST_NAMED = 12  # columns that a message names
MODEL = "model"  # entry of a footer, or of a schema's or a column's metadata
# Endings of files of arrays, some of which hold pickles.
ARRAYS = (".npy", ".npz", ".h5", ".hdf5", ".safetensors", ".pt", ".pth", ".pkl", ".pickle")
EXPECTED = "expected a column with a list of numbers in each row, all of one length"
_FIRST_BYTES = 1 << 256


@dataclass(frozen=True)
class _VectorColumn:
    """The column of vectors in a table, and the names that the table gives it.

    Attributes
    ----------
    field : pa.Field
    model : str
        The model that the vectors are of, if the table states it; else empty.
    simulated : bool
    parts : tuple of str
        The columns of its numbers, where each number has one; else empty.
    """

    field: pa.Field
    model: str
    simulated: bool
    parts: tuple[str, ...] = ()


class Embeddings:
    """The vectors of a table, found by the ids of their sources.

    Attributes
    ----------
    path : Path or str
        The file; for a table in memory a name for errors.
    column : str
    length : int
        Numbers of each vector.
    model : str
        The model that the vectors are of, if the file states it; else empty.
    simulated : bool
        Whether the file says that they are of simulated images.
    """

    def __init__(
        self, path: Path | str, found: _VectorColumn, ids: np.ndarray, vectors: np.ndarray
    ) -> None:
        self.path, self.column = path, found.field.name
        self.model, self.simulated = found.model, found.simulated
        self.length = vectors.shape[1]
        self._vectors, self._ids, self._index = vectors, ids, IdIndex(ids)

    @classmethod
    def open(cls, table: AnyTable, column: str | None = None) -> Embeddings:
        """The embeddings in a file or a table in memory.

        Parameters
        ----------
        table : str, Path or table of astropy, pandas, polars, Arrow or numpy
            With a column of ids, called `source_id` or by another usual name, and lists of
            numbers. A list that is null or empty stands for a source without a vector. Columns of
            one number each will do that are called alike and numbered, such as ``feat_0`` on.
        column : str, optional
            Column of the vectors, or what stands before the numbers of such columns; by default the
            only one that may hold them.

        Raises
        ------
        CatalogError
            If it cannot be read, has no such column, its lists differ in length, or an id is
            missing or has two different vectors.
        """
        if isinstance(table, Embeddings):
            return table
        _check_is_table(table)
        path, rows = opened(table, "the embeddings")
        if not rows.num_rows:
            raise CatalogError(
                f"{path}: has no rows; expected a vector for each source. Write it again."
            )
        name = position_columns(path).get("source_id")
        id_column = find_column(path, rows.schema.names, "source_id", given=name)
        found = _column_of(path, rows.schema, id_column, column)
        ids, vectors = _copied(path, rows, id_column, found)
        return cls(path, found, *_each_once(path, id_column, ids, vectors))

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        of = f" of {self.model}" if self.model else ""
        return f"Embeddings{of}: {len(self):,} vectors of {self.length} numbers, {self.described}"

    @property
    def described(self) -> str:
        """File and column, as messages name them."""
        return f"{self.path}, column '{self.column}'"

    def source_ids(self, first: int | None = None) -> np.ndarray:
        """The ids of all sources, or of the `first` ones, in the order of the file, shape (N,)."""
        return self._ids[:first]

    def has(self, source_ids: np.ndarray) -> np.ndarray:
        """Whether there is a row for each source, boolean, shape (N,)."""
        return self._index.rows(source_ids) >= 0

    def read(self, source_ids: np.ndarray) -> Vectors:
        """The vectors of these sources, in this order; NaN where there is none."""
        ids = np.asarray(source_ids)
        rows = self._index.rows(ids)
        known = np.flatnonzero(rows >= 0)
        values = np.full((len(ids), self.length), np.nan)
        values[known] = self._vectors[rows[known]]
        # A row without a vector is kept as NaN from end to end, which no model writes.
        present = np.zeros(len(ids), dtype=bool)
        present[known] = ~np.isnan(values[known]).all(axis=1)
        return Vectors(ids, values, present)

    @cached_property
    def sha256(self) -> str:
        """A hash of column, model, ids and vectors, whatever the rows' order."""
        total = 0
        for row, source_id in enumerate(self._ids.tolist()):
            content = str(source_id).encode() + b"\0" + self._vectors[row].tobytes()
            total += int.from_bytes(hashlib.sha256(content).digest())
        about = f"{self.column}\n{self.model}\n{self.length}\n{len(self)}\n{total % _FIRST_BYTES}"
        return hashlib.sha256(about.encode()).hexdigest()


def _check_is_table(table: AnyTable) -> None:
    """Tell how to convert a file of arrays, in which vectors are often kept."""
    if is_path(table) and Path(str(table)).suffix.lower() in ARRAYS:
        raise CatalogError(
            f"{table}: is a file of arrays, expected a table with an id beside each vector. Write "
            "it in Python from ids (N) and vectors (N, E): pandas.DataFrame({'source_id': ids, "
            "'embedding': list(vectors)}).to_parquet('vectors.parquet')."
        )


# ---------------------------------------------------------------------- finding the column


def _storage(kind: pa.DataType) -> pa.DataType:
    """The lists that a column of tensors is stored as; any other type as it is."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _first(names: list[str]) -> str:
    """The first names of columns, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _may_hold_vectors(kind: pa.DataType) -> bool:
    kind = _storage(kind)
    return is_list(kind) and is_number(kind.value_type)


def _column_of(
    path: Path | str, schema: pa.Schema, id_column: str, name: str | None
) -> _VectorColumn:
    """The column of vectors: the one named, or the only one."""
    names = [each.name for each in schema if _may_hold_vectors(each.type)]
    numbered = numbered_columns(schema.remove(schema.get_field_index(id_column)))
    if not names or name in numbered:
        names += numbered
    known = f"Its vectors are in {_first(names)}." if names else "It has no vectors."
    if name is None:
        if not names:
            others = [
                f"{each.name} ({held(_storage(each.type))})"
                for each in schema
                if each.name != id_column
            ]
            raise CatalogError(
                f"{path}: no column of vectors among {_first(others) or 'its columns'}; "
                f"{EXPECTED}, or a column for each number, such as feat_0, feat_1 and on. Write "
                "them so."
            )
        if len(names) > 1:
            raise CatalogError(
                f"{path}: has several columns of vectors: {_first(names)}. Name the one to use "
                "with --embedding-col."
            )
        name = names[0]
    about = _metadata(path, schema)
    if name in numbered and name not in schema.names:
        parts = numbered[name]
        field = field_of(name, schema, parts)
        return _VectorColumn(
            field, _model_of(about, field), says_simulated(footer_in(about)), parts
        )
    if name not in schema.names:
        raise CatalogError(
            f"{path}: no column '{name}'.{did_you_mean(name, names)} {known} Give the column of "
            "the same model this name, or name another with --embedding-col."
        )
    if name not in names:
        raise CatalogError(
            f"{path}, column '{name}': holds {held(schema.field(name).type)}; expected lists of "
            f"numbers. {known} Name a column of vectors with --embedding-col."
        )
    field = schema.field(name)
    return _VectorColumn(field, _model_of(about, field), says_simulated(footer_in(about)))


def _metadata(path: Path | str, schema: pa.Schema) -> Mapping[bytes, bytes]:
    """What a table says of itself; that of a folder, what its first file says."""
    if isinstance(path, Path) and path.exists():
        first = next(iter(files_of(path))) if path.is_dir() else path
        if first.suffix.lower() in PARQUET_SUFFIXES:
            with ParquetReader(first) as file:
                return dict(file.footer_entries)
    return schema.metadata or {}


def _model_of(about: Mapping[bytes, bytes], field: pa.Field) -> str:
    """The model that a table says its vectors are of; empty if it does not say."""
    said = footer_in(about).get(MODEL)
    if isinstance(said, str):
        return said
    for metadata in (field.metadata or {}, about):
        for key, value in metadata.items():
            if key.decode(errors="replace").lower() in (MODEL, f"{MODEL}_name"):
                return str(value.decode(errors="replace")).strip()
    return ""


# ---------------------------------------------------------------------- copying the vectors


def _copied(
    path: Path | str, rows: ParquetFiles | InMemory, id_column: str, column: _VectorColumn
) -> tuple[np.ndarray, np.ndarray]:
    """Ids (N,), and vectors (N, E) in a scratch file that nobody else sees; NaN where null."""
    field = column.field
    kind = _type_of_copies(field.type)
    length = 0
    ids: list[np.ndarray] = []
    with tempfile.TemporaryFile() as scratch:
        for source_ids, lists in _pieces(path, rows, id_column, column):
            values = _matrix(path, field.name, lists)
            if values.shape[1] and length and values.shape[1] != length:
                raise _ragged(path, field.name, length, values.shape[1])
            if values.shape[1] and not length:
                length = values.shape[1]
                scratch.write(np.full((sum(map(len, ids)), length), np.nan, kind).tobytes())
            if length:
                whole = values if values.shape[1] else np.full((len(values), length), np.nan)
                scratch.write(whole.astype(kind).tobytes())
            ids.append(source_ids)
        if length < SHORTEST:
            what = f"lists of {counted(length, 'number')}" if length else "no vector in any row"
            raise CatalogError(
                f"{path}, column '{field.name}': holds {what}; {EXPECTED}. "
                "Write the vectors again, or name another column with --embedding-col."
            )
        found = np.concatenate(ids)
        return found, _mapped(scratch, kind, (len(found), length))


def _mapped(scratch: IO[bytes], kind: np.dtype, shape: tuple[int, int]) -> np.ndarray:
    """The numbers in a scratch file, which is gone with the array."""
    scratch.flush()
    return np.memmap(scratch, dtype=kind, mode="r", shape=shape)


def _type_of_copies(kind: pa.DataType) -> np.dtype:
    """Single precision where the table has no more; else double."""
    value = _storage(kind).value_type
    single = pa.types.is_float16(value) or pa.types.is_float32(value)
    return np.dtype(np.float32 if single else np.float64)


def _pieces(
    path: Path | str, rows: ParquetFiles | InMemory, id_column: str, column: _VectorColumn
) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """Ids and lists of some rows."""
    kind = _storage(column.field.type)
    length = kind.list_size if pa.types.is_fixed_size_list(kind) else 1024
    at_once = max(64, NUMBERS_AT_ONCE // max(length, 1))
    for table in rows.batches(at_once, [id_column, *(column.parts or (column.field.name,))]):
        ids = exact_ids(table[id_column], id_column, path)
        if ids.null_count:
            raise CatalogError(
                f"{path}, column '{id_column}': no id in {counted(ids.null_count, 'row')}; "
                "expected one for each vector. Remove these rows."
            )
        if column.parts:
            lists = as_lists(table, column.parts, kind)
            yield ids.to_numpy(zero_copy_only=False), lists
            continue
        lists = table[column.field.name].combine_chunks()
        if isinstance(lists, pa.ChunkedArray):
            lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], kind)
        if isinstance(lists.type, pa.BaseExtensionType):
            lists = lists.storage
        yield ids.to_numpy(zero_copy_only=False), lists


def _matrix(path: Path | str, name: str, lists: pa.Array) -> np.ndarray:
    """Lists as (n, E) float64; NaN for a list that is null or empty, (n, 0) if all are."""
    import pyarrow.compute as pc

    if not pa.types.is_fixed_size_list(lists.type):
        empty = pc.equal(pc.fill_null(pc.list_value_length(lists), 0), 0)
        lists = pc.if_else(empty, pa.scalar(None, lists.type), lists)
    try:
        return matrix(lists)
    except ValueError as error:
        raise CatalogError(
            f"{path}, column '{name}': holds {error}; expected vectors of one length. Leave out "
            "or correct the rows that differ."
        ) from None


def _ragged(path: Path | str, name: str, one: int, other: int) -> CatalogError:
    return CatalogError(
        f"{path}, column '{name}': holds lists of {one} and of {other} numbers; expected vectors "
        "of one length. Leave out or correct the rows that differ."
    )


def _each_once(
    path: Path | str, id_column: str, ids: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The ids and vectors of each source once, where it is repeated with the same vector."""
    first = IdIndex(ids).rows(ids)
    again = np.flatnonzero(first != np.arange(len(ids)))
    for row in again:
        if not np.array_equal(vectors[row], vectors[first[row]], equal_nan=True):
            raise CatalogError(
                f"{path}, column '{id_column}': '{ids[row]}' has two different vectors (rows "
                f"{first[row]} and {row}, counted from 0); expected one for each source. Keep one."
            )
    if not len(again):
        return ids, vectors
    kept = np.flatnonzero(first == np.arange(len(ids)))
    with tempfile.TemporaryFile() as scratch:
        for row in kept:
            scratch.write(vectors[row].tobytes())
        return ids[kept], _mapped(scratch, vectors.dtype, (len(kept), vectors.shape[1]))
