"""A catalog of any kind with the columns of its sources' visibility added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from targetsel.errors import VisibilityError
from targetsel.nights.visibility import COLUMNS, Visibility
from targetsel.sky.catalog import PositionColumns
from targetsel.tables.any_form import AnyTable, paths_in, table_of
from targetsel.tables.any_format import footer_if_any
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import footer_in
from targetsel.tables.rows import Rows
from targetsel.tasks import tracked

ROWS = 1_048_576


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


@dataclass(frozen=True, eq=False, repr=False)
class VisibleSources(WithRemarks):
    """Sources of a catalog with the columns of their visibility.

    Attributes
    ----------
    table : pa.Table, N rows
        The catalog's columns, and those of the visibility after them.
    remarks : tuple of str
        When it is dark, and what to be careful about.
    footer : dict
        That of the catalog, with what was asked under "visibility".
    """

    def summary(self) -> str:
        """The number of sources, how many are up, and the remarks."""
        up = int((self["hours_up"] > 0).sum())
        return "\n".join([f"{len(self):,} sources, {up:,} of them up", *self.remarks])


def with_visibility(catalog: AnyTable, asked: Visibility) -> VisibleSources:
    """The sources of a catalog with the columns of `COLUMNS` after their own.

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
    place, table, told = catalog_of(catalog)
    for each in COLUMNS:
        if each.name in table.column_names:
            raise VisibilityError(
                f"{place}: already has a column '{each.name}'. Rename or drop it, or take the "
                "catalog as it was."
            )
    added = asked.columns(np.empty(0), np.empty(0))
    if table.num_rows:  # a text file without rows does not tell that positions are numbers
        positions = PositionColumns(place, table.schema)
        pieces = (table.slice(start, ROWS) for start in range(0, table.num_rows, ROWS))
        saying = ("calculating when sources are up", table.num_rows, "sources", len)
        added = pa.concat_tables(
            asked.columns(*positions.degrees(piece)) for piece in tracked(pieces, *saying)
        )
        positions.finish()
    footer = {**told, "visibility": asked.provenance()}
    for each in COLUMNS:
        table = table.append_column(each.field, added[each.name])
    return VisibleSources(table, tuple(asked.remarks()), footer)


def catalog_of(catalog: AnyTable) -> tuple[Path, pa.Table, Mapping[str, Any]]:
    """Where a catalog is from, for messages, the whole of it, and its footer.

    Raises
    ------
    CatalogError
        If it cannot be read.
    """
    paths = paths_in([catalog])
    if paths:
        return paths[0], _whole(paths[0]), footer_if_any(paths[0])
    place = Path("the catalog")
    table = table_of(catalog, str(place))
    return place, table, footer_in(table.schema.metadata)


def _whole(path: Path) -> pa.Table:
    """A whole table."""
    opened = open_table(path)
    pieces = [*opened.batches(ROWS, opened.schema.names)]
    return pa.concat_tables(pieces) if pieces else opened.schema.empty_table()
