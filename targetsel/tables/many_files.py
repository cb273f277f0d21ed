"""Many Parquet files of one table, read by row groups as if they were one file.

The files are found, and their footers read, once (`folders.open_parquet`). Each is opened when its
rows are asked for, and the few that were read last stay open: a catalog in twenty thousand
partitions takes no more memory than its list of row groups.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError
from targetsel.tables.columns import unit_of
from targetsel.tables.folders import ParquetFiles, ParquetPart
from targetsel.tables.reading import ParquetReader

MOST_OPEN = 32  # files that stay open
ENCODED = pa.dictionary(pa.int32(), pa.string())


class ManyFiles:
    """The files of a folder, with the methods by which a `ParquetReader` is read.

    Parameters
    ----------
    files : ParquetFiles
        As `open_parquet` found them.
    footer_entries : mapping of bytes to bytes
        What is said of the whole table.
    encoded : iterable of str
        Columns of text that are read as dictionaries.

    Attributes
    ----------
    schema : pa.Schema
        With the entries as its metadata.
    group_sizes : list of int
        Number of rows of each row group, of one file after the other.

    Raises
    ------
    CatalogError
        By every method, if a file has been damaged or changed; it names the file.
    """

    def __init__(
        self,
        files: ParquetFiles,
        footer_entries: Mapping[bytes, bytes],
        encoded: Iterable[str] = (),
    ) -> None:
        self._files = files
        self._encoded = frozenset(encoded)
        self.footer_entries = footer_entries
        fields = [
            each.with_type(ENCODED) if each.name in self._encoded else each for each in files.schema
        ]
        self.schema = pa.schema(fields, {**footer_entries} or None)
        # An empty row group has no least and largest value, and nothing to read.
        sizes = [part.group_sizes if part.num_rows else () for part in files.parts]
        self.group_sizes = list(itertools.chain.from_iterable(sizes))
        # The number of the first row group of each file; files without any share it with the next.
        self._first = [0, *itertools.accumulate(map(len, sizes))]
        self._open: dict[int, ParquetReader] = {}  # by their numbers, the last used at the end

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.__exit__()
        self._open.clear()

    def again(self, encoded: Iterable[str] = ()) -> ManyFiles:
        """The same files, for another thread, with the columns `encoded` as dictionaries."""
        return ManyFiles(self._files, self.footer_entries, encoded)

    def statistics(self, group: int, column: str) -> pq.Statistics | None:
        """The statistics of a column in a row group, where its file has them in the same unit."""
        number = self._file_of(group)
        part = self._files.parts[number]
        if column not in part.schema.names or column in part.constants:
            return None
        if unit_of(part.schema.field(column)) != unit_of(self.schema.field(column)):
            return None
        return self._reader(number).statistics(group - self._first[number], column)

    def batches(
        self,
        rows: int,
        columns: Iterable[str] | None = None,
        row_groups: Iterable[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Row groups, by default all, in pieces of at most `rows` rows; only these columns."""
        names = self.schema.names if columns is None else list(columns)
        for number, groups in self._by_file(row_groups):
            part = self._files.parts[number]
            own = self._own(part, names)
            for batch in self._reader(number).batches(rows, own, groups):
                yield from self._fitted(part, pa.Table.from_batches([batch]), names)

    def read(
        self, columns: Iterable[str] | None = None, row_groups: Iterable[int] | None = None
    ) -> pa.Table:
        """Row groups, by default all, in memory; only these columns, in this order."""
        names = self.schema.names if columns is None else list(columns)
        found: list[pa.RecordBatch] = []
        for number, groups in self._by_file(row_groups):
            part = self._files.parts[number]
            rows = self._reader(number).read(self._own(part, names), groups)
            found += self._fitted(part, rows, names)
        schema = pa.schema([self.schema.field(name) for name in names], self.schema.metadata)
        return pa.Table.from_batches(found, schema)

    # --- files ---

    def _file_of(self, group: int) -> int:
        return bisect_right(self._first, group) - 1

    def _by_file(self, row_groups: Iterable[int] | None) -> Iterator[tuple[int, list[int]]]:
        """Files one after the other, each with the row groups of it that are asked for."""
        wanted = range(len(self.group_sizes)) if row_groups is None else row_groups
        for number, groups in itertools.groupby(wanted, self._file_of):
            yield number, [group - self._first[number] for group in groups]

    def _reader(self, number: int) -> ParquetReader:
        """A file, open. What is still read of one that was opened long ago stays open with it."""
        file = self._open.pop(number, None)
        if file is None:
            part = self._files.parts[number]
            file = ParquetReader(part.path, encoded=self._encoded & {*part.schema.names})
            if tuple(file.group_sizes) != part.group_sizes:
                raise CatalogError(
                    f"{part.path}: was changed while it was read. Read it again once it is whole."
                )
            if len(self._open) >= MOST_OPEN:
                del self._open[next(iter(self._open))]
        self._open[number] = file
        return file

    # --- columns ---

    @staticmethod
    def _own(part: ParquetPart, names: list[str]) -> list[str]:
        """The columns to be read of a file: where folders name all that are asked for, any."""
        return [name for name in names if name in part.schema.names] or part.schema.names[:1]

    def _fitted(self, part: ParquetPart, rows: pa.Table, names: list[str]) -> list[pa.RecordBatch]:
        """Rows of a file with the columns of the whole, in its types and units."""
        fields = [self.schema.field(name) for name in names]
        columns = [self._column(part, rows, field) for field in fields]
        return pa.table(columns, schema=pa.schema(fields)).combine_chunks().to_batches()

    def _column(
        self, part: ParquetPart, rows: pa.Table, wanted: pa.Field
    ) -> pa.ChunkedArray | pa.Array:
        if wanted.name not in self._encoded:
            return part.column(rows, wanted)
        if wanted.name not in part.constants and rows[wanted.name].type == wanted.type:
            return rows[wanted.name]
        return part.column(rows, self._files.schema.field(wanted.name)).dictionary_encode()
