"""Rows of a table as notebooks hold them: sliced, shown briefly, given to other libraries."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, unknown
from targetsel.tables.any_form import NOTES
from targetsel.tables.columns import matrix, unit_of
from targetsel.tables.parquet import FOOTER_KEY, write_table
from targetsel.tables.types import is_list

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table

ROWS_SHOWN, COLUMNS_SHOWN = 8, 10


class Rows:
    """Rows of a table with their provenance; a base of what is read, scored and selected.

    A subclass has `table`, a `pa.Table`, and makes itself of other rows by `_of`.
    """

    if TYPE_CHECKING:

        @property
        def table(self) -> pa.Table: ...

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def colnames(self) -> list[str]:
        """The names of all columns, as an astropy Table calls them."""
        return list(self.table.column_names)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say where a column is that was asked for as in pandas."""
            hint = ""
            if name == "columns":
                hint = "; the names of columns are in `colnames`"
            elif not name.startswith("_") and name != "table" and name in self.table.column_names:
                hint = f"; columns are given as in rows['{name}']"
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'{hint}")

    @property
    def columns_shown(self) -> Sequence[str]:
        """The columns that a notebook shows first."""
        return [each.name for each in self.table.schema if not is_list(each.type)]

    def summary(self) -> str:
        """A summary in one to four lines."""
        return f"{type(self).__name__} of {len(self):,} rows"

    @overload
    def __getitem__(self, which: str) -> np.ndarray: ...
    @overload
    def __getitem__(self, which: list[str]) -> Table: ...
    @overload
    def __getitem__(self, which: int | slice | Sequence[int] | np.ndarray) -> Self: ...
    def __getitem__(
        self, which: str | int | slice | Sequence[str] | Sequence[int] | np.ndarray
    ) -> np.ndarray | Table | Self:
        """Columns by their names, or some of the rows, by slice, mask or numbers.

        Parameters
        ----------
        which : str, sequence of str, slice, ndarray of bool of shape (N,), or sequence of int

        Returns
        -------
        ndarray for a name, astropy Table for several, or the same kind of rows

        Raises
        ------
        CatalogError
            If there is no such column, or a mask is not of N rows.
        """
        if isinstance(which, str):
            return self._column(which)
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            return self._of(self.table.take(pa.array(np.arange(start, stop, step))))
        if isinstance(which, list) and which and all(isinstance(each, str) for each in which):
            return self.to_astropy(which)
        rows = np.asarray(getattr(which, "to_numpy", lambda: which)())
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise CatalogError(
                    f"a mask of shape {rows.shape}; expected ({len(self)},), one value for each "
                    "row. Make it from a column of the same rows."
                )
            rows = np.flatnonzero(rows)
        rows = np.atleast_1d(rows).astype(np.int64)
        if len(rows) and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"row {rows[np.argmax(np.abs(rows))]} of {len(self)} rows")
        return self._of(self.table.take(pa.array(np.where(rows < 0, rows + len(self), rows))))

    def _of(self, table: pa.Table) -> Self:
        raise NotImplementedError

    def _column(self, name: str) -> np.ndarray:
        if name not in self.table.column_names:
            raise CatalogError(unknown("column", name, self.table.column_names))
        column = self.table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # of no rows
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([])
        if pa.types.is_fixed_size_list(column.type):
            return matrix(column)
        return np.asarray(column.to_numpy(zero_copy_only=False))

    # --- to other libraries and files ---

    def _notes(self) -> Mapping[str, Any]:
        """The footer of the rows, for files and Arrow tables."""
        return {}

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table: units as field metadata, the footer as schema metadata."""
        notes = {FOOTER_KEY: json.dumps(self._notes(), sort_keys=True).encode()}
        return self.table.replace_schema_metadata({**(self.table.schema.metadata or {}), **notes})

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame, which keeps units and footer in its `attrs`.

        So selected rows of it can be given back to any function of targetsel.
        """
        table = self.to_arrow()
        frame = table.replace_schema_metadata(None).to_pandas()
        frame.attrs[NOTES] = table.schema.serialize().to_pybytes().hex()
        return frame

    def to_astropy(self, columns: Sequence[str] | None = None) -> Table:
        """The rows as an astropy Table, whose columns have units and are masked where missing.

        `QTable(rows.to_astropy())` makes quantities of them.

        Parameters
        ----------
        columns : sequence of str, optional
            Only these; by default all that astropy has a type for.

        Raises
        ------
        CatalogError
            If there is no such column.
        """
        from targetsel.tables.writing import as_astropy, has_place

        for name in columns or ():
            if name not in self.table.column_names:
                raise CatalogError(unknown("column", name, self.table.column_names))
        known = columns or [name for name in self.table.column_names if has_place(self.table[name])]
        table = as_astropy(self.table.select(known), Path("the table"), "votable")
        for column in table.columns.values():
            if column.dtype.kind == "f" and column.ndim == 1:
                column.mask = column.mask | np.isnan(
                    column.data.data
                )  # as FITS has missing numbers
        return table

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the rows in the format of the path's ending; the file appears whole or not at all.

        Parameters
        ----------
        path : str or Path
            Ends in .parquet, .fits, .vot, .ecsv or .csv.

        Raises
        ------
        OutputError
            If the format is unknown or cannot hold a column, or the place cannot be written.
        """
        write_table(self.table, Path(path), self._notes())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows for polars, DuckDB and others that read the Arrow PyCapsule interface."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    # --- for people ---

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return html_of(self.table, self.summary(), self.columns_shown)


def html_of(table: pa.Table, title: str, columns: Sequence[str]) -> str:
    """The first rows and some columns of a table, with units, as HTML."""
    shown = [name for name in columns if name in table.column_names][:COLUMNS_SHOWN]
    part = table.select(shown).slice(0, ROWS_SHOWN)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in shown)
    units = [html.escape(unit_of(table.schema.field(name))) for name in shown]
    lines = [f"<tr>{head}</tr>"]
    if any(units):
        cells = "".join(f'<td style="color:gray">{unit}</td>' for unit in units)
        lines.append(f"<tr>{cells}</tr>")
    for row in part.to_pylist():
        cells = "".join(f"<td>{html.escape(_short(row[name]))}</td>" for name in shown)
        lines.append(f"<tr>{cells}</tr>")
    left = table.num_rows - part.num_rows, len(table.column_names) - len(shown)
    more = f"<p>{left[0]:,} more rows, {left[1]:,} more columns</p>" if any(left) else ""
    above = "<br>".join(map(html.escape, title.splitlines()))
    return f"<p>{above}</p><table>{''.join(lines)}</table>{more}"


def _short(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, float):
        return f"{value:.5f}".rstrip("0").rstrip(".") if 1e-3 < abs(value) < 1e6 else f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
