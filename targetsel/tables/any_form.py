"""Tables in any form: files, and tables of astropy, pandas, polars, Arrow and numpy in memory.

Whoever asks for a table takes a path or one of these. A table in memory is named in errors by what
it is asked for as, such as "the catalog". polars and others are read through the Arrow PyCapsule
interface, so that nothing of them is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, TargetselError
from targetsel.tables.notes import with_notes
from targetsel.tables.parquet import plain_schema
from targetsel.tables.reading import reading

# A path, or a table of astropy, pandas, polars, Arrow (or any with __arrow_c_stream__), numpy
# (structured), or a mapping of names to columns. Most have no types of their own.
AnyTable: TypeAlias = Any
NOTES = "targetsel"  # entry of `DataFrame.attrs` that keeps units and footers
FORMS = "a path, or a table of astropy, pandas, polars, Arrow or numpy"


def is_path(thing: object) -> bool:
    """Whether a thing names a file."""
    return isinstance(thing, str | os.PathLike)


def paths_in(things: Iterable[object]) -> list[Path]:
    """The files among some things: paths, and results of ours that were read from a file."""
    found = []
    for each in things:
        path = Path(each) if isinstance(each, str | os.PathLike) else getattr(each, "path", None)
        found += [path] if isinstance(path, Path) else []
    return found


def table_of(thing: AnyTable, name: str, error: type[TargetselError] = CatalogError) -> pa.Table:
    """A table in memory, of any form, as Arrow; units and metadata come along.

    Parameters
    ----------
    thing : table of astropy, pandas, polars, Arrow or numpy, or mapping of names to columns
    name : str
        What it is asked for as, for errors: "the catalog".
    error : type
        Class of the errors.

    Raises
    ------
    TargetselError
        Of class `error`, if it is no table, or a column holds neither numbers nor text.
    """
    thing = getattr(thing, "table", thing) if _is_ours(thing) else thing
    module = type(thing).__module__.partition(".")[0]
    is_array = isinstance(thing, np.ndarray) and thing.dtype.names
    if module == "astropy" or is_array or isinstance(thing, Mapping):
        return _of_astropy(thing, name)
    with reading(name, error, "a table", "Check its columns."):
        if _is_data_frame(thing):
            table = _of_pandas(thing)
        elif isinstance(thing, pa.RecordBatch):
            table = pa.Table.from_batches([thing])
        elif isinstance(thing, pa.Table) or hasattr(thing, "__arrow_c_stream__"):
            table = thing if isinstance(thing, pa.Table) else pa.table(thing)
        else:
            raise error(f"{name}: is of type {type(thing).__name__}; expected {FORMS}.")
        names = table.column_names
        if twice := next((each for each in names if names.count(each) > 1), None):
            raise error(f"{name}: has several columns '{twice}'. Rename or drop one.")
        return table.cast(plain_schema(table.schema).with_metadata(table.schema.metadata))


def _is_ours(thing: object) -> bool:
    return type(thing).__module__.partition(".")[0] == "targetsel"


def _is_data_frame(thing: object) -> bool:
    """Whether a thing is a frame of pandas, or of a class made of it, such as those of LSDB."""
    modules = (each.__module__.partition(".")[0] for each in type(thing).__mro__)
    return "pandas" in modules and hasattr(thing, "columns")


def _of_astropy(thing: Any, name: str) -> pa.Table:
    from astropy.table import Table

    from targetsel.tables.formats import to_arrow

    with reading(name, CatalogError, "a table", "Check its columns."):
        table = Table(thing, copy=False)  # quantities become columns with units
    return to_arrow(table, name)


def _of_pandas(frame: Any) -> pa.Table:
    """A data frame as Arrow; an index with a name is a column, one without is not."""
    import pandas as pd

    named = any(each is not None for each in frame.index.names)
    if named:
        frame = frame.reset_index()
    swapped = {
        name: frame[name].dtype.newbyteorder("=")
        for name in frame.columns
        if isinstance(frame[name].dtype, np.dtype) and not frame[name].dtype.isnative
    }
    table = pa.Table.from_pandas(
        pd.DataFrame(frame.astype(swapped) if swapped else frame), preserve_index=False
    )
    table = table.replace_schema_metadata(None)
    if NOTES not in frame.attrs:
        return table
    told = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(frame.attrs[NOTES])))
    return table.cast(with_notes(table.schema, told).with_metadata(told.metadata))


class TableReader:
    """A table in memory, with the methods by which a `ParquetReader` is read.

    Parameters
    ----------
    table : pa.Table

    Attributes
    ----------
    schema : pa.Schema
    group_sizes : list of int
        The table is one row group.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema = table.schema
        self.group_sizes = [table.num_rows]

    def __exit__(self, *_: object) -> None:
        """Nothing needs to be closed."""

    @property
    def footer_entries(self) -> Mapping[bytes, bytes]:
        """The metadata of the table's schema."""
        return self.schema.metadata or {}

    def again(self, encoded: Iterable[str] = ()) -> TableReader:
        """The same table, for another thread."""
        return self

    def statistics(self, group: int, column: str) -> None:
        """Nothing is known of the values before they are read."""

    def batches(
        self,
        rows: int,
        columns: Iterable[str] | None = None,
        row_groups: Iterable[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The rows in pieces of at most `rows` rows; only these columns."""
        yield from self.read(columns, row_groups).to_batches(rows)

    def read(
        self, columns: Iterable[str] | None = None, row_groups: Iterable[int] | None = None
    ) -> pa.Table:
        """The rows; only these columns, in this order."""
        table = self._table if columns is None else self._table.select(list(columns))
        return table if row_groups is None or 0 in row_groups else table.slice(0, 0)
