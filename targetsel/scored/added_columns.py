"""Columns that are added to a scored catalog while it is read, with values for some of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class AddedColumns:
    """Columns of values for K of N rows.

    Attributes
    ----------
    fields : sequence of pa.Field
    rows : ndarray of int64, shape (K,)
        The rows that have values, increasing.
    values : sequence of ndarray, shape (K,)
        One array for each field.
    otherwise : sequence
        The value of all other rows, one for each field; None for null.
    """

    fields: Sequence[pa.Field]
    rows: np.ndarray
    values: Sequence[np.ndarray]
    otherwise: Sequence[Any]

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [each.name for each in self.fields]

    def of_rows(self, name: str, rows: np.ndarray) -> pa.Array:
        """The values of a column in these rows; NaN is null."""
        k = self.names.index(name)
        kind, otherwise = self.fields[k].type, self.otherwise[k]
        values = self.values[k]
        if not len(self.rows):
            return pa.array([otherwise] * len(rows), kind)
        place = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        there = self.rows[place] == rows
        found = values[place]
        if otherwise is None:
            return pa.array(found, kind, mask=~there | np.isnan(found.astype(np.float64)))
        return pa.array(np.where(there, found, otherwise).astype(found.dtype), kind)


class WithAddedColumns:
    """A reader of a scored catalog that has more columns than its file.

    It is read as the reader that it stands on, which may be a `ParquetReader`, `ManyFiles` or a
    `TableReader`.

    Attributes
    ----------
    schema : pa.Schema
        The added columns come last.
    group_sizes : list of int
        Rows of each row group.
    """

    def __init__(self, reader: Any, added: AddedColumns) -> None:
        self._reader, self._added = reader, added
        self.schema = reader.schema
        for each in added.fields:
            self.schema = self.schema.append(each)
        self.group_sizes: list[int] = reader.group_sizes
        self._starts = np.cumsum([0, *self.group_sizes])

    def __exit__(self, *_: object) -> None:
        self._reader.__exit__()

    @property
    def footer_entries(self) -> Mapping[bytes, bytes]:
        """The metadata of the file."""
        entries: Mapping[bytes, bytes] = self._reader.footer_entries
        return entries

    def again(self, encoded: Iterable[str] = ()) -> WithAddedColumns:
        """The same for another thread; see `ParquetReader.again`."""
        return WithAddedColumns(self._reader.again(encoded), self._added)

    def statistics(self, group: int, column: str) -> Any:
        """Statistics of a column in a row group; None for added columns."""
        if column in self._added.names:
            return None
        return self._reader.statistics(group, column)

    def batches(
        self,
        rows: int,
        columns: Iterable[str] | None = None,
        row_groups: Iterable[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The rows in pieces of at most `rows` rows; only these columns."""
        names = self.schema.names if columns is None else list(columns)
        numbers = self._numbers(row_groups)
        own = [name for name in names if name not in self._added.names]
        if not own:
            for start in range(0, len(numbers), rows):
                yield self._joined(names, None, numbers[start : start + rows])
            return
        start = 0
        for batch in self._reader.batches(rows, own, row_groups):
            yield self._joined(names, batch, numbers[start : start + batch.num_rows])
            start += batch.num_rows

    def read(
        self, columns: Iterable[str] | None = None, row_groups: Iterable[int] | None = None
    ) -> pa.Table:
        """The rows; only these columns, in this order."""
        names = self.schema.names if columns is None else list(columns)
        groups = None if row_groups is None else list(row_groups)
        own = [name for name in names if name not in self._added.names]
        found = self._reader.read(own, groups) if own else None
        return pa.table(self._joined(names, found, self._numbers(groups)))

    def _numbers(self, row_groups: Iterable[int] | None) -> np.ndarray:
        """The numbers of the rows in some row groups, in the order of these."""
        groups = range(len(self.group_sizes)) if row_groups is None else row_groups
        parts = [np.arange(self._starts[k], self._starts[k + 1]) for k in groups]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def _joined(self, names: Sequence[str], found: Any, numbers: np.ndarray) -> Any:
        """The columns of that name, from the rows `found` in the file or from those added."""
        arrays = [
            self._added.of_rows(name, numbers) if name in self._added.names else found.column(name)
            for name in names
        ]
        fields = [
            self.schema.field(name) if name in self._added.names else found.schema.field(name)
            for name in names
        ]
        kind = pa.Table if isinstance(found, pa.Table) else pa.RecordBatch
        return kind.from_arrays(arrays, schema=pa.schema(fields))
