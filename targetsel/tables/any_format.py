"""One reader for our own tables in whatever format they were written: Parquet or another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, TargetselError
from targetsel.tables.any_form import AnyTable, paths_in, table_of
from targetsel.tables.files import ASTROPY_FORMATS, PARQUET_SUFFIXES
from targetsel.tables.folders import ParquetFiles, files_of
from targetsel.tables.formats import InMemory, open_table
from targetsel.tables.parquet import footer_in, read_footer, says_simulated
from targetsel.tables.reading import ParquetReader

ROWS_PER_GROUP = 65_536


def table_reader(path: Path, error: type[TargetselError] = CatalogError) -> ParquetReader:
    """A Parquet file, open for reading; FITS, VOTable, ECSV and CSV are read as if they were one.

    They are read into memory, which takes about twice the size of the table there.

    Raises
    ------
    TargetselError
        Of class `error`, if the file is missing, damaged or in no format that we read.
    """
    path = Path(path)
    if path.is_dir() or not path.exists() or _ending(path) not in ASTROPY_FORMATS:
        return ParquetReader(path, error)
    try:
        rows = open_table(path)
    except CatalogError as fault:
        raise fault if error is CatalogError else error(str(fault)) from fault
    assert isinstance(rows, InMemory)  # only Parquet is not
    made = pa.BufferOutputStream()
    pq.write_table(rows.table, made, row_group_size=ROWS_PER_GROUP, compression="NONE")
    return ParquetReader(path, error, source=made.getvalue())


def footer_of(path: Path) -> dict[str, Any]:
    """The provenance of a table of ours in whatever format; empty where it has none.

    Raises
    ------
    CatalogError
        As `table_reader`.
    """
    kind = ASTROPY_FORMATS.get(_ending(path))
    if kind is None or kind == "fits":
        return read_footer(path)
    if kind == "ascii.csv":  # which keeps none
        return {}
    with table_reader(path) as file:
        return footer_in(file.footer_entries)


def is_simulated(path: Path) -> bool:
    """Whether a table of targetsel exists and is marked as of simulated images or spectra.

    Of a folder its first file tells.
    """
    return says_simulated(footer_if_any(path))


def footer_if_any(path: Path) -> dict[str, Any]:
    """The provenance of a table of ours, or of the first file of a folder; empty without one."""
    try:
        path = next(iter(files_of(path))) if path.is_dir() else path
        return footer_of(path)
    except CatalogError:
        return {}


def may_hold_lists(path: Path) -> bool:
    """Whether a file's ending is that of a table that can have a list in each row: not CSV."""
    return ASTROPY_FORMATS.get(_ending(path), path.suffix.lower()) in (
        *PARQUET_SUFFIXES, "fits", "votable", "ascii.ecsv"
    )  # fmt: skip


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def opened(thing: AnyTable, called: str) -> tuple[Path | str, ParquetFiles | InMemory]:
    """The rows of a file in any format or of a table in memory, and its place for messages.

    Parameters
    ----------
    thing : str, Path or table
    called : str
        What messages call a table in memory, such as "the catalog".

    Raises
    ------
    CatalogError
        If it cannot be read.
    """
    if paths := paths_in([thing]):
        return paths[0], open_table(paths[0])
    return called, InMemory(table_of(thing, called))
