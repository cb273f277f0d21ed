"""Tables in the formats astronomers keep catalogs in, as Arrow.

Units, UCDs and descriptions come along as Arrow field metadata under ``unit``, ``ucd`` and
``description``, whatever the format calls them. Parquet is streamed; FITS, VOTable, ECSV and CSV
are read by astropy and held in memory.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, did_you_mean
from targetsel.tables.parquet import described, plain_schema

if TYPE_CHECKING:  # astropy is imported where it is used: Parquet files do without it
    from astropy.table import Column, Table
    from astropy.units import UnitBase

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
ASTROPY_FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
}
VOTABLE_KEY = b"IVOA.VOTable-Parquet.content"
OF_FORMATS = ("PARQUET:", "ARROW:")  # prefixes of metadata that the formats write on fields


@dataclass(frozen=True)
class ParquetFiles:
    """One table in one or more Parquet files, read piece by piece.

    Attributes
    ----------
    paths : sequence of Path
        In the order of their rows.
    schema : pa.Schema
    num_rows : int
    """

    paths: Sequence[Path]
    schema: pa.Schema
    num_rows: int

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The table in pieces of at most `rows` rows, with the columns asked for."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        for path in self.paths:
            with _readable(path), pq.ParquetFile(path) as file:
                for batch in file.iter_batches(rows, columns=list(columns)):
                    piece = pa.Table.from_batches([batch]).select(list(columns))
                    yield piece.cast(schema)


@dataclass(frozen=True)
class InMemory:
    """One table in memory, with the methods of `ParquetFiles`."""

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def num_rows(self) -> int:
        return self.table.num_rows

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The table in pieces of at most `rows` rows, with the columns asked for."""
        chosen = self.table.select(list(columns))
        for start in range(0, self.num_rows, rows):
            yield chosen.slice(start, rows)


def open_table(path: Path) -> ParquetFiles | InMemory:
    """The table at `path`, its format by the file's ending; a folder holds Parquet files.

    Raises
    ------
    CatalogError
        If there is nothing at `path`, or it is damaged or in no format we read.
    """
    path = Path(path)
    if not path.exists():
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise CatalogError(f"{path}: no such file or folder.{did_you_mean(path.name, near)}")
    if path.is_dir():
        return _open_parquet(_files_of(path))
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in PARQUET_SUFFIXES:
        return _open_parquet([path])
    if suffix in ASTROPY_FORMATS:
        return InMemory(_read_with_astropy(path, ASTROPY_FORMATS[suffix]))
    known = ", ".join((*PARQUET_SUFFIXES[:1], *ASTROPY_FORMATS))
    raise CatalogError(
        f"{path}: '{path.suffix}' is not a table format we know. Known are {known}, "
        "and a folder of Parquet files; convert the table or correct the file's ending."
    )


def _files_of(folder: Path) -> list[Path]:
    """The Parquet files below a folder, in the order of their names."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PARQUET_SUFFIXES)
    paths = [p for p in paths if not p.name.startswith((".", "_"))]
    # A HATS catalog keeps its rows below Norder=*/, beside a thumbnail that repeats some of them.
    of_hats = [p for p in paths if any(part.startswith("Norder=") for part in p.parts)]
    if not paths:
        raise CatalogError(f"{folder}: no Parquet file (.parquet) in this folder.")
    return of_hats or paths


def _open_parquet(paths: Sequence[Path]) -> ParquetFiles:
    """Open Parquet files that hold one table, reading only their footers."""
    num_rows = 0
    schema: pa.Schema | None = None
    for path in paths:
        with _readable(path), pq.ParquetFile(path) as file:
            num_rows += file.metadata.num_rows
            own = plain_schema(file.schema_arrow)
            header = (file.metadata.metadata or {}).get(VOTABLE_KEY)
        if len(set(own.names)) < len(own.names):
            twice = next(name for name in own.names if own.names.count(name) > 1)
            raise CatalogError(f"{path}: has two columns named '{twice}'. Rename or drop one.")
        if schema is None:
            schema = _with_meanings(own, header)
        elif (difference := _difference(schema, own)) is not None:
            raise CatalogError(
                f"{path}: {difference}, unlike {paths[0].name}. "
                "The files of a folder must have the same columns."
            )
    assert schema is not None
    return ParquetFiles(paths, schema, num_rows)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert errors of reading a Parquet file to `CatalogError`."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(
            f"{path}: not a Parquet file, or damaged or cut short ({_first_line(error)}). "
            "Copy or make it again."
        ) from error


def _difference(schema: pa.Schema, other: pa.Schema) -> str | None:
    """The first difference of another schema's columns, whatever their order; None if none."""
    for name in schema.names:
        if name not in other.names:
            return f"has no column '{name}'"
        if other.field(name).type != schema.field(name).type:
            return f"column '{name}' is {other.field(name).type}, not {schema.field(name).type}"
    extra = [name for name in other.names if name not in schema.names]
    return f"has a column '{extra[0]}'" if extra else None


def _with_meanings(schema: pa.Schema, header: bytes | None) -> pa.Schema:
    """The schema with unit, UCD and description from the fields or else the VOParquet header.

    Other field metadata stays, such as that of stored posteriors; that of the formats does not.
    """
    known = _meanings_of_votable(header) if header else {}
    fields = []
    for field in schema:
        own = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in (field.metadata or {}).items()
        }
        meaning = known.get(field.name, {}) | own
        chosen = {key: meaning.get(key, "") for key in ("unit", "ucd", "description")}
        plain = described(field.name, field.type, **chosen, nullable=field.nullable)
        notes = {
            key: value
            for key, value in own.items()
            if key not in chosen and not key.startswith(OF_FORMATS)
        }
        fields.append(plain.with_metadata({**(plain.metadata or {}), **notes}))
    return pa.schema(fields)


def _meanings_of_votable(header: bytes) -> dict[str, dict[str, str]]:
    """Unit, UCD and description by column name; nothing where the header cannot be read."""
    from astropy.io import votable

    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        fields = votable.parse(io.BytesIO(header)).get_first_table().fields
        return {
            field.name: {
                "unit": _unit_name(field.unit),
                "ucd": field.ucd or "",
                "description": field.description or "",
            }
            for field in fields
        }
    return {}


def _read_with_astropy(path: Path, kind: str) -> pa.Table:
    """A whole table through astropy's readers."""
    from astropy.table import Table

    try:
        with warnings.catch_warnings():
            # Odd units and overlong comments are no reason to stop, or to fill the screen.
            warnings.simplefilter("ignore")
            table = Table.read(path, format=kind)
    except Exception as error:  # the readers raise nearly anything on a damaged file
        name = kind.removeprefix("ascii.").upper()
        raise CatalogError(
            f"{path}: could not be read as {name}: {_first_line(error)}. "
            "Check that the file is whole and of the format its ending says."
        ) from error
    return to_arrow(table, path)


def to_arrow(table: Table, path: Path | str) -> pa.Table:
    """An astropy table as Arrow: masked values become null, arrays become fixed-size lists.

    Raises
    ------
    CatalogError
        If a column holds neither numbers nor text.
    """
    from astropy.table import Column

    arrays, fields = [], []
    for number, (name, column) in enumerate(table.columns.items(), start=1):
        try:
            if not isinstance(column, Column):
                raise TypeError(type(column).__name__)
            arrays.append(_to_array(column))
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise CatalogError(
                f"{path}: column '{name}' holds neither numbers nor text "
                f"({_first_line(error)}). Remove it, or store it as plain columns."
            ) from error
        # astropy leaves the UCDs and comments of a FITS table in the header.
        ucd = column.meta.get("ucd") or table.meta.get(f"TUCD{number}")
        description = column.description or table.meta.get(f"TCOMM{number}")
        kind, unit = arrays[-1].type, _unit_name(column.unit)
        fields.append(described(name, kind, unit, str(ucd or ""), str(description or "")))
    return pa.table(arrays, schema=pa.schema(fields))


def _to_array(column: Column) -> pa.Array:
    """One column of an astropy table; the axes after the first become fixed-size lists."""
    values = np.ma.asarray(column)
    mask = np.ma.getmaskarray(values).ravel()
    flat = np.ma.getdata(values).ravel()
    if flat.dtype.kind == "S":
        flat = np.char.decode(flat, "utf-8", "replace")
    if flat.dtype.kind in "biuf":
        flat = flat.astype(flat.dtype.newbyteorder("="))
        array = pa.array(flat, mask=mask)
    else:
        array = pa.array([None if hidden else v for v, hidden in zip(flat, mask, strict=True)])
        if pa.types.is_null(array.type):
            array = array.cast(pa.string())
    for width in reversed(column.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, width)
    return array


def _unit_name(unit: UnitBase | None) -> str:
    """The unit as VOTable spells it, or as it was given where VOTable has no word for it."""
    if unit is None:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return unit.to_string("vounit")
        except (ValueError, TypeError):
            return str(unit)


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0]
    return re.sub(r"[.\s]+$", "", line) or type(error).__name__
