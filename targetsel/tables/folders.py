"""Parquet files that hold one table together: files of a folder, hive columns, HATS catalogs.

What a folder holds is one table, read in the order of its files' names, and a HATS catalog in the
order of its pixels on the sky:

- names that begin with ``_`` or ``.`` are left out, of files and of folders: unfinished, hidden,
  metadata; links to folders are followed;
- folders such as ``band=g`` are columns (hive); a column of that name in the files must agree;
- of a HATS collection the primary catalog is read, of a HATS catalog the rows below ``Norder=``;
  margins, indexes and maps repeat rows of others, and are refused, as is a catalog that has lost
  rows (``hats_nrows``);
- a column has one type in all files; numbers in another unit than the first file's are converted.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.tables.columns import in_unit, unit_of
from targetsel.tables.files import PARQUET_SUFFIXES, sha256_of_file
from targetsel.tables.hats_pixels import in_order_of_the_sky
from targetsel.tables.hats_properties import (
    OF_HATS,
    check_rows_of_hats,
    files_of_one_catalog,
    primary_of,
)
from targetsel.tables.notes import with_notes
from targetsel.tables.parquet import described, plain_schema
from targetsel.tables.reading import ParquetReader
from targetsel.tables.types import is_number
from targetsel.tasks import tracked

if TYPE_CHECKING:
    from astropy.units import UnitBase

VOTABLE_KEY = b"IVOA.VOTable-Parquet.content"
OF_FORMATS = ("PARQUET:", "ARROW:")  # prefixes of metadata that the formats write on fields
NULL = "__HIVE_DEFAULT_PARTITION__"
_SIZES = re.compile(rb' arraysize="[^"]*"')


@dataclass(frozen=True)
class ParquetPart:
    """One file of a table: its own columns, and the values of those that its folders name.

    Attributes
    ----------
    path : Path
    schema : pa.Schema
    group_sizes : tuple of int
        Number of rows of each row group.
    constants : mapping of str to str or None
    """

    path: Path
    schema: pa.Schema
    group_sizes: tuple[int, ...]
    constants: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        return sum(self.group_sizes)

    def column(self, own: pa.Table, wanted: pa.Field) -> pa.ChunkedArray | pa.Array:
        """A column of some of the rows, of the type and in the unit that is wanted."""
        if wanted.name not in self.schema.names:
            value = pa.scalar(self.constants[wanted.name], pa.string())
            return pa.repeat(value, own.num_rows).cast(wanted.type)
        values, mine = own[wanted.name], self.schema.field(wanted.name)
        if wanted.name in self.constants:
            self._check_constant(wanted.name, values)
        if unit_of(mine) != unit_of(wanted):
            values = in_unit(values, mine, unit_of(wanted), self.path)
        return values.cast(wanted.type)

    def _check_constant(self, name: str, values: pa.ChunkedArray) -> None:
        """Refuse a column of the file that differs from what the folder's name says of it."""
        said = self.constants[name]
        for value in values.unique().to_pylist():
            if not _same(value, said):
                raise CatalogError(
                    f"{self.path}, column '{name}': holds {value} in a folder of {name}={said}. "
                    "Rename the column or the folder."
                )


@dataclass(frozen=True)
class ParquetFiles:
    """One table in one or more Parquet files, read piece by piece.

    Attributes
    ----------
    parts : sequence of ParquetPart
        In the order of their rows.
    schema : pa.Schema
    num_rows : int
    """

    parts: Sequence[ParquetPart]
    schema: pa.Schema
    num_rows: int

    def with_notes(self, told: pa.Schema) -> ParquetFiles:
        """The same files, with the metadata of another schema's columns of the same names."""
        noted = {id(part.schema): with_notes(part.schema, told) for part in self.parts}
        parts = [replace(part, schema=noted[id(part.schema)]) for part in self.parts]
        return replace(self, parts=parts, schema=with_notes(self.schema, told))

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The table in pieces of at most `rows` rows, with the columns asked for."""
        name = self.parts[0].path.name if len(self.parts) == 1 else f"{len(self.parts):,} files"
        yield from tracked(self._pieces(rows, columns), f"reading {name}", self.num_rows, size=len)

    def _pieces(self, rows: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        schema = pa.schema([self.schema.field(name) for name in columns])
        for part in self.parts:
            own = [name for name in columns if name in part.schema.names] or part.schema.names[:1]
            with ParquetReader(part.path) as file:
                for batch in file.batches(rows, own):
                    piece = pa.Table.from_batches([batch])
                    yield pa.table([part.column(piece, each) for each in schema], schema=schema)


def open_parquet(
    path: Path, see: Callable[[Path, Mapping[bytes, bytes]], None] | None = None
) -> ParquetFiles:
    """The table in a Parquet file, or in the files of a folder; only their footers are read.

    Parameters
    ----------
    path : Path
    see : function of a Path and a mapping, optional
        Is called with each file and the key-value metadata of its footer, which is not kept.

    Raises
    ------
    CatalogError
        If a file is damaged, or the files do not hold one table.
    """
    constants = files_of(path) if path.is_dir() else {path: {}}
    parts: list[ParquetPart] = []
    schemas = _Schemas()
    for each, found in constants.items():
        part = _part(each, found, schemas, see)
        first = parts[0] if parts else part
        if part.schema is not first.schema and part.schema.equals(first.schema, True):
            part = replace(part, schema=first.schema)  # one for all: there may be many files
        if (difference := _difference(first, part)) is not None:
            raise CatalogError(
                f"{part.path}: {difference}, unlike {first.path.name}. "
                "The files of a folder must have the same columns."
            )
        parts.append(part)
    first = parts[0]
    check_rows_of_hats(path, first.path, sum(part.num_rows for part in parts))
    hive = [name for name in first.constants if name not in first.schema.names]
    fields = [pa.field(name, _hive_type([part.constants[name] for part in parts])) for name in hive]
    schema = pa.schema([*first.schema, *fields], first.schema.metadata)
    return ParquetFiles(parts, schema, sum(part.num_rows for part in parts))


def _part(
    path: Path,
    constants: Mapping[str, str | None],
    schemas: _Schemas,
    see: Callable[[Path, Mapping[bytes, bytes]], None] | None,
) -> ParquetPart:
    with ParquetReader(path) as file:
        schema = schemas.of(file)
        sizes = tuple(file.group_sizes)
        if see is not None:
            see(path, file.footer_entries)
    if len(set(schema.names)) < len(schema.names):
        twice = next(name for name in schema.names if schema.names.count(name) > 1)
        raise several_columns(path, twice)
    return ParquetPart(path, schema, sizes, constants)


class _Schemas:
    """The plain schemas of files with their meanings; that of the last file serves its like."""

    def __init__(self) -> None:
        self._last: tuple[pa.Schema, bytes, pa.Schema] | None = None

    def of(self, file: ParquetReader) -> pa.Schema:
        own = file.schema.remove_metadata()
        # The headers of files of one table differ in the lengths of their texts.
        header = _SIZES.sub(b"", file.footer_entries.get(VOTABLE_KEY, b""))
        if self._last is not None:
            like, its_header, schema = self._last
            if header == its_header and own.equals(like, check_metadata=True):
                return schema
        schema = _with_meanings(plain_schema(own), header)
        self._last = own, header, schema
        return schema


def several_columns(path: Path, name: str) -> CatalogError:
    """The error for a table that has a name twice."""
    return CatalogError(f"{path}: has several columns '{name}'. Rename or drop one.")


def _difference(first: ParquetPart, other: ParquetPart) -> str | None:
    """The first difference of another file's columns, whatever their order; None if none."""
    found = None if other.schema is first.schema else _difference_of_own(first, other)
    if found is None and list(first.constants) != list(other.constants):
        theirs, ours = (" and ".join(part.constants) or "no column" for part in (other, first))
        return f"its folders name {theirs}, not {ours}"
    return found


def _difference_of_own(first: ParquetPart, other: ParquetPart) -> str | None:
    for mine in first.schema:
        if mine.name not in other.schema.names:
            return f"has no column '{mine.name}'"
        its = other.schema.field(mine.name)
        if its.type != mine.type:
            return f"column '{mine.name}' is of type {its.type}, not {mine.type}"
        here, there = unit_of(mine), unit_of(its)
        if here != there:
            if not (here and there and is_number(mine.type)) or pa.types.is_integer(mine.type):
                written = [f"in '{unit}'" if unit else "without a unit" for unit in (there, here)]
                return f"column '{mine.name}' is {written[0]}, not {written[1]}"
            in_unit(pa.chunked_array([[]], mine.type), its, here, other.path)
    if extra := [name for name in other.schema.names if name not in first.schema.names]:
        return f"has a column '{extra[0]}'"
    return None


def _same(value: Any, said: str | None) -> bool:
    """Whether a value is the one that the name of a folder has in words."""
    if value is None or said is None:
        return value is said
    if isinstance(value, int | float):
        try:
            return float(value) == float(said)
        except ValueError:
            return str(value).casefold() == said.casefold()
    return str(value) == said


def _hive_type(values: Sequence[str | None]) -> pa.DataType:
    """Whole numbers where all values are, else text."""
    whole = [re.fullmatch(r"-?(0|[1-9]\d{0,17})", each) for each in values if each is not None]
    return pa.int64() if whole and all(whole) else pa.string()


# --- the files of a folder ------------------------------------------------------------------------


def sha256_of_table(path: Path) -> str:
    """The hash of a file; of a table in a folder, that of its files' hashes in their order."""
    if not path.is_dir():
        return sha256_of_file(path)
    hashes = map(sha256_of_file, files_of(path))
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def files_of(folder: Path) -> dict[Path, dict[str, str | None]]:
    """The Parquet files of a folder's table, in order, each with the values its folders name.

    Raises
    ------
    CatalogError
        If there is none, or they are of several tables.
    """
    folder = primary_of(folder)
    paths = sorted(_visible(folder, ()))
    if not paths:
        raise CatalogError(
            f"{folder}: no Parquet file in this folder; expected some that end in .parquet."
        )
    paths = in_order_of_the_sky(files_of_one_catalog(folder, paths))
    return {path: _constants(path.relative_to(folder)) for path in paths}


def _visible(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """The Parquet files below a folder, except hidden and unfinished ones; links are followed."""
    here = os.path.realpath(folder)
    if here in above:  # a link leads back
        return
    for each in folder.iterdir():
        if each.name.startswith((".", "_")):
            continue
        if each.is_dir():
            yield from _visible(each, (*above, here))
        elif each.suffix.lower() in PARQUET_SUFFIXES:
            yield each


def _constants(path: Path) -> dict[str, str | None]:
    pairs = (part.partition("=") for part in path.parts[:-1] if "=" in part)
    return {
        unquote(key): None if value == NULL else unquote(value)
        for key, _, value in pairs
        if key and key not in OF_HATS
    }


# --- units, UCDs and descriptions -----------------------------------------------------------------


def _with_meanings(schema: pa.Schema, header: bytes) -> pa.Schema:
    """The schema with unit, UCD and description from the fields or else the VOParquet header.

    Other field metadata stays, such as that of stored posteriors; that of the formats does not.
    """
    known = _meanings_of_votable(header) if header else {}
    fields = []
    for each in schema:
        own = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in (each.metadata or {}).items()
        }
        meaning = known.get(each.name, {}) | own
        chosen = {key: meaning.get(key, "") for key in ("unit", "ucd", "description")}
        plain = described(each.name, each.type, **chosen, nullable=each.nullable)
        notes = {
            key: value
            for key, value in own.items()
            if key not in chosen and not key.startswith(OF_FORMATS)
        }
        fields.append(plain.with_metadata({**(plain.metadata or {}), **notes}))
    return pa.schema(fields)


@lru_cache(maxsize=8)  # the files of a folder have one header
def _meanings_of_votable(header: bytes) -> dict[str, dict[str, str]]:
    """Unit, UCD and description by column name; nothing where the header cannot be read."""
    from astropy.io import votable

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fields = votable.parse(io.BytesIO(header)).get_first_table().fields
        except Exception:  # a header that cannot be read says nothing
            return {}
    return {
        each.name: {
            "unit": unit_name(each.unit),
            "ucd": each.ucd or "",
            "description": each.description or "",
        }
        for each in fields
    }


def unit_name(unit: UnitBase | None) -> str:
    """The unit as VOTable spells it, or as it was given where VOTable has no word for it."""
    if unit is None:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return unit.to_string("vounit")
        except (ValueError, TypeError):
            return str(unit)
