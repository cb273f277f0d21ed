"""A catalog of any kind with the columns of its sources' visibility added."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from targetsel.errors import VisibilityError
from targetsel.nights.visibility import COLUMNS, SCHEMA, Visibility
from targetsel.sky.catalog import PositionColumns
from targetsel.tables.any_form import AnyTable, paths_in, table_of
from targetsel.tables.any_format import footer_if_any
from targetsel.tables.columns import floats
from targetsel.tables.folders import ParquetFiles
from targetsel.tables.formats import InMemory, open_table
from targetsel.tables.parquet import ParquetSink, footer_in
from targetsel.tables.rows import Rows
from targetsel.tasks import tracked

ROWS = 65_536  # at a time


@dataclass(frozen=True, eq=False, repr=False)
class WithRemarks(Rows):
    """Sources with columns about nights added, and what is to be said of them.

    Attributes
    ----------
    table : pa.Table, N rows
        Their own columns, and those that were added after them.
    remarks : tuple of str
        When it is dark, what was found, and what to be careful about.
    footer : dict
        That of their file, with what was asked.
    """

    table: pa.Table
    remarks: tuple[str, ...] = ()
    footer: Mapping[str, Any] = field(default_factory=dict)

    def _of(self, table: pa.Table) -> Self:
        return type(self)(table, self.remarks, self.footer)

    def _notes(self) -> Mapping[str, Any]:
        return self.footer


class VisibleSources(Rows):
    """N sources of a catalog with the columns of their visibility.

    What was written to a file is calculated again, into memory, when its rows are asked for.

    Attributes
    ----------
    table : pa.Table, N rows
        The catalog's columns, and those of the visibility after them.
    n_up : int
        Number of sources that are up.
    remarks : tuple of str
        When it is dark, and what to be careful about.
    footer : dict
        That of the catalog, with what was asked under "visibility".
    """

    def __init__(
        self,
        read: Callable[[], pa.Table],
        counts: tuple[int, int],
        remarks: tuple[str, ...],
        footer: Mapping[str, Any],
    ) -> None:
        self._read = read
        self._n, self.n_up = counts
        self.remarks, self.footer = remarks, footer

    @cached_property
    def table(self) -> pa.Table:
        return self._read()

    def __len__(self) -> int:
        return self._n

    def _of(self, table: pa.Table) -> Self:
        return type(self)(lambda: table, _counts(table), self.remarks, self.footer)

    def _notes(self) -> Mapping[str, Any]:
        return self.footer

    def summary(self) -> str:
        """The number of sources, how many are up, and the remarks."""
        return "\n".join([f"{len(self):,} sources, {self.n_up:,} of them up", *self.remarks])


def with_visibility(catalog: AnyTable, asked: Visibility) -> VisibleSources:
    """The sources of a catalog with the columns of `COLUMNS` after their own, in memory.

    Parameters
    ----------
    catalog : str, Path or table
        With positions; sources without one have nulls.
    asked : Visibility

    Raises
    ------
    CatalogError
        If the catalog cannot be read, or has no positions.
    VisibilityError
        If it has one of the columns already.
    """
    adding = _Adding.to(catalog, asked)
    table = adding.whole()
    return adding.found(lambda: table, _counts(table))


def write_visibility(catalog: AnyTable, asked: Visibility, output: Path) -> VisibleSources:
    """Write what `with_visibility` gives; a Parquet catalog is read and written by pieces.

    Parameters
    ----------
    catalog, asked
        As for `with_visibility`.
    output : Path

    Raises
    ------
    CatalogError, VisibilityError
        As of `with_visibility`.
    OutputError
        If the table cannot be written.
    """
    adding = _Adding.to(catalog, asked)
    n = n_up = 0
    with ParquetSink(output, adding.schema) as sink:
        sink.footer.update(adding.footer)
        for piece in adding.pieces():
            sink.write(piece)
            more, more_up = _counts(piece)
            n, n_up = n + more, n_up + more_up
    return adding.found(adding.whole, (n, n_up))


@dataclass(frozen=True, eq=False)
class _Adding:
    """A catalog that is opened, and what is asked for its sources."""

    place: Path
    opened: ParquetFiles | InMemory
    told: Mapping[str, Any]
    asked: Visibility

    @classmethod
    def to(cls, catalog: AnyTable, asked: Visibility) -> _Adding:
        place, opened, told = _opened(catalog)
        for each in COLUMNS:
            if each.name in opened.schema.names:
                raise VisibilityError(
                    f"{place}: already has a column '{each.name}'. Rename or drop it, or take the "
                    "catalog as it was."
                )
        return cls(place, opened, told, asked)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([*self.opened.schema, *SCHEMA], self.opened.schema.metadata)

    @property
    def footer(self) -> dict[str, Any]:
        return {**self.told, "visibility": self.asked.provenance()}

    def pieces(self) -> Iterator[pa.Table]:
        """The sources with their new columns, some at a time, in the order of the catalog."""
        if not self.opened.num_rows:
            return  # a text file without rows does not tell that positions are numbers
        positions = PositionColumns(self.place, self.opened.schema)
        pieces = self.opened.batches(ROWS, self.opened.schema.names)
        saying = ("calculating when sources are up", self.opened.num_rows, "sources", len)
        for piece in tracked(pieces, *saying):
            added = self.asked.columns(*positions.degrees(piece))
            for each in COLUMNS:
                piece = piece.append_column(each.field, added[each.name])
            yield piece
        positions.finish()

    def whole(self) -> pa.Table:
        pieces = [*self.pieces()]
        return pa.concat_tables(pieces) if pieces else self.schema.empty_table()

    def found(self, read: Callable[[], pa.Table], counts: tuple[int, int]) -> VisibleSources:
        return VisibleSources(read, counts, tuple(self.asked.remarks()), self.footer)


def _counts(table: pa.Table) -> tuple[int, int]:
    """The number of sources, and how many are up."""
    return table.num_rows, int((floats(table["hours_up"]) > 0).sum())


def _opened(catalog: AnyTable) -> tuple[Path, ParquetFiles | InMemory, Mapping[str, Any]]:
    """Where a catalog is from, for messages, its rows, and its footer."""
    paths = paths_in([catalog])
    if paths:
        return paths[0], open_table(paths[0]), footer_if_any(paths[0])
    place = Path("the catalog")
    table = table_of(catalog, str(place))
    return place, InMemory(table), footer_in(table.schema.metadata)


def catalog_of(catalog: AnyTable) -> tuple[Path, pa.Table, Mapping[str, Any]]:
    """Where a catalog is from, for messages, the whole of it, and its footer.

    Raises
    ------
    CatalogError
        If it cannot be read.
    """
    place, opened, told = _opened(catalog)
    pieces = [*opened.batches(ROWS, opened.schema.names)]
    return place, pa.concat_tables(pieces) if pieces else opened.schema.empty_table(), told
