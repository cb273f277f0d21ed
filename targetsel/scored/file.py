"""The one reader of scored files: it opens, checks and reads them in parts."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, EnsembleError
from targetsel.scored.columns import column_names, scored_kind
from targetsel.tables.parquet import read_footer

ROWS_PER_READ = 65_536


class ScoredFile:
    """A scored Parquet file, open for reading until it is closed or its `with` block ends.

    What is wrong with the file is a `CatalogError` from the method that reads it, so that errors
    of other files and of the caller keep their own names inside the block.

    Parameters
    ----------
    path : Path
    columns : iterable of str
        Columns that it must have, beside those that every scored file has from its catalog.

    Attributes
    ----------
    path : Path
    schema : pa.Schema
        With the file metadata.
    footer : dict
        Provenance, as `score` wrote it.
    names : dict
        The names in the file of the columns `source_id`, `ra` and `dec`.
    group_sizes : list of int
        Number of rows of each row group.

    Raises
    ------
    CatalogError
        If the file is missing, damaged or not a scored file, or lacks one of the columns.
    """

    def __init__(self, path: Path, columns: Iterable[str] = ()) -> None:
        self.path = Path(path)
        self.footer = read_footer(self.path)
        with self._reading():
            self._file = pq.ParquetFile(self.path, pre_buffer=False)
        self.schema = self._file.schema_arrow
        self.names = column_names(self.schema)
        metadata = self._file.metadata
        self.group_sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
        self._place = {metadata.schema.column(k).path: k for k in range(metadata.num_columns)}
        for name, count in Counter(self.schema.names).items():
            if count > 1:
                raise CatalogError(f"{path}: has several columns '{name}'. Rename or drop one.")
        scored_kind(self.schema).check(self.schema, path)
        for name in columns:
            if name not in self.schema.names:
                raise CatalogError(
                    f"{path}: no column '{name}', so it is not a scored file of this version. "
                    "Score the catalog again."
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return sum(self.group_sizes)

    @contextlib.contextmanager
    def again(self) -> Iterator[Self]:
        """The same file opened once more, to be read by another thread at the same time."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        with self._reading():
            other._file = pq.ParquetFile(self.path, metadata=self._file.metadata, pre_buffer=False)
        with other:
            yield other

    def check_scored_by(self, name: str, sha256: str) -> None:
        """Refuse a file that was scored by another ensemble than the one of this name and hash.

        Raises
        ------
        EnsembleError
            Names both ensembles.
        """
        found = self.footer.get("ensemble")
        scored_by = found if isinstance(found, dict) else {}
        if scored_by.get("sha256") != sha256:
            raise EnsembleError(
                f"{self.path}: scored by the ensemble '{scored_by.get('name', 'unknown')}' "
                f"({str(scored_by.get('sha256'))[:12]}), not by '{name}' ({sha256[:12]}). Name the "
                "one that scored it with --ensemble."
            )

    # --- rows ---

    def tables(
        self,
        columns: Sequence[str] | None = None,
        rows: int = ROWS_PER_READ,
        groups: Iterable[int] | None = None,
    ) -> Iterator[pa.Table]:
        """The rows in their order, in tables of at most `rows` rows each.

        Parameters
        ----------
        columns : sequence of str, optional
            The columns to read, in this order. Default: all.
        groups : iterable of int, optional
            The row groups to read. Default: all.
        """
        names = self.schema.names if columns is None else list(columns)
        layout = self.layout(names)
        # A reader of many row groups would keep all of their buffers in memory.
        for span in self.spans(range(len(self.group_sizes)) if groups is None else groups):
            batches = self._file.iter_batches(rows, span, names, use_threads=False)
            while True:
                with self._reading():
                    batch = next(batches, None)
                    if batch is None:
                        break
                    table = pa.Table.from_batches([batch]).select(names)
                    table = table.cast(layout).combine_chunks()
                yield table

    def column(self, name: str, groups: Sequence[int]) -> pa.Array:
        """One column of some row groups, in one piece."""
        kind = self.schema.field(name).type
        with self._reading():
            column = self._file.read_row_groups(groups, [name], use_threads=False).column(name)
            column = column if column.type == kind else column.cast(kind)
            return column.combine_chunks()

    def row_of(self, source_id: str) -> pa.Table:
        """The row of the source with this id, written as text, with all columns.

        Raises
        ------
        CatalogError
            If there is none.
        """
        first, column = 0, self.names["source_id"]
        for table in self.tables([column]):
            place = pc.index(table.column(0).cast(pa.string()), pa.scalar(source_id)).as_py()
            if place >= 0:
                return self._row(first + place)
            first += table.num_rows
        raise CatalogError(f"{self.path}: no source has the {column} '{source_id}'")

    def _row(self, row: int) -> pa.Table:
        group = 0
        while row >= self.group_sizes[group]:
            row, group = row - self.group_sizes[group], group + 1
        with self._reading():
            table = self._file.read_row_group(group).slice(row, 1)
            return table.cast(self.layout(table.column_names)).combine_chunks()

    def layout(self, names: Sequence[str]) -> pa.Schema:
        """The schema of some of the columns, with the file metadata."""
        return pa.schema([self.schema.field(name) for name in names], self.schema.metadata)

    # --- row groups ---

    def spans(self, groups: Iterable[int]) -> Iterator[list[int]]:
        """Row groups in lists of about `ROWS_PER_READ` rows."""
        span: list[int] = []
        rows = 0
        for group in groups:
            more = self.group_sizes[group]
            if span and rows + more > ROWS_PER_READ:
                yield span
                span, rows = [], 0
            span.append(group)
            rows += more
        if span:
            yield span

    def ends(self, group: int, column: str, nullable: bool = True) -> tuple | None:
        """The least and the largest value of a column of numbers in a row group.

        None where they are unknown, and, unless `nullable`, where values may be null.
        """
        place = self._place.get(column)
        if place is None:
            return None
        statistics = self._file.metadata.row_group(group).column(place).statistics
        if statistics is None or not statistics.has_min_max:
            return None
        if not nullable and (not statistics.has_null_count or statistics.null_count):
            return None
        ends = (statistics.min, statistics.max)
        usable = all(isinstance(end, int | float) and end == end for end in ends)
        return ends if usable and not isinstance(ends[0], bool) else None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Tell errors of the file's data as such."""
        try:
            yield
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CatalogError(
                f"{self.path}: damaged ({reason}). Score the catalog again."
            ) from error
