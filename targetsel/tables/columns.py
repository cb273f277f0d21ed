"""Columns declared once: what each kind of file holds, and one reader that checks it.

A kind of file is a `FileKind`: a list of `Column`s with type, unit, UCD, meaning and when a value
is null. Writers take their schema from it, `FileKind.read` checks files against it, and help and
documentation list it. Rooms declare the kinds of file they write.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.documents.units import exact_factor, steps
from targetsel.errors import CatalogError, TargetselError, did_you_mean
from targetsel.tables.ids import exact_id_type, exact_ids
from targetsel.tables.parquet import described
from targetsel.tables.reading import ParquetReader
from targetsel.tables.types import PLURAL, held, is_number, is_text, nature

NEVER = "never"
ANYTHING = (-math.inf, math.inf)  # the range of a column of any numbers
ID = pa.null()  # declared type of ids: whole numbers or text


@dataclass(frozen=True)
class Column:
    """One column of a kind of file.

    Attributes
    ----------
    name : str
    type : pa.DataType
        As written. A file that is read may have any type of the same nature: any number for a
        number, lists of any kind for lists of the same length, dictionaries for text. `ID` stands
        for whole numbers or text.
    unit, ucd, meaning : str
        As VOTable spells them; written into every file.
    null_when : str
        When a value is missing, as half a sentence; "never" for columns without nulls.
    required : bool
        Whether a file of this kind must have it.
    notes : mapping of str
        Further Arrow field metadata.
    range : (float, float)
        The least and the largest value that can be; infinite where there is none.
    """

    name: str
    type: pa.DataType
    unit: str = ""
    ucd: str = ""
    meaning: str = ""
    null_when: str = "it is not known"
    required: bool = True
    notes: Mapping[str, str] = field(default_factory=dict)
    range: tuple[float, float] = ANYTHING

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with unit, UCD, meaning and notes as metadata."""
        kind = pa.int64() if self.type == ID else self.type
        nullable = self.null_when != NEVER
        plain = described(self.name, kind, self.unit, self.ucd, self.meaning, nullable)
        if not self.notes:
            return plain
        notes = {key.encode(): value.encode() for key, value in self.notes.items()}
        return plain.with_metadata({**(plain.metadata or {}), **notes})

    def refusal(self, found: pa.Field) -> str | None:
        """The reason that a file's column cannot serve as this one; None where it can."""
        expected = nature(self.type)
        if nature(found.type) not in _SERVES[expected]:
            wanted = "ids, whole numbers or text" if self.type == ID else held(self.type)
            return f"holds {held(found.type)}; expected {wanted}"
        width = getattr(self.type, "list_size", None)
        own = getattr(found.type, "list_size", None)
        if width is not None and own is not None and own != width:
            return f"has lists of {own} numbers; expected {width}"
        return None


@dataclass(frozen=True)
class FileKind:
    """One kind of table: its columns, and how a user gets a file of it.

    Attributes
    ----------
    name : str
        Name in errors: "a truth file".
    columns : tuple of Column
    made_by : str
        The next step for someone whose file is not of this kind.
    error : type
        The exception that `read` raises.
    """

    name: str
    columns: tuple[Column, ...]
    made_by: str = ""
    error: type[TargetselError] = CatalogError

    @property
    def schema(self) -> pa.Schema:
        return schema_of(self.columns)

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def check(self, schema: pa.Schema, place: Path | str) -> None:
        """Refuse a schema without the required columns, or with columns of another nature.

        Raises
        ------
        TargetselError
            With the place, the column, and what was expected; of the kind's own class.
        """
        for column in self.columns:
            if schema.names.count(column.name) > 1:
                raise self.error(
                    f"{place}: has several columns '{column.name}'; expected one.{self._next}"
                )
            if column.name in schema.names:
                refusal = column.refusal(schema.field(column.name))
                if refusal:
                    raise self.error(f"{place}, column '{column.name}': {refusal}.{self._next}")
            elif column.required:
                hint = did_you_mean(column.name, schema.names)
                raise self.error(
                    f"{place}: no column '{column.name}', so it is not {self.name}.{hint}"
                    f"{self._next}"
                )

    def read(self, path: Path | ParquetReader, names: Iterable[str] | None = None) -> pa.Table:
        """The declared columns that a table has, checked, in their declared units.

        Parameters
        ----------
        path : Path or ParquetReader
            A Parquet file, or a table that is open already, of whatever format (see
            `any_format.table_reader`).
        names : iterable of str, optional
            Only these of the declared columns; each must be there.

        Raises
        ------
        TargetselError
            If the file cannot be read, is not of this kind, or a unit cannot be converted.

        Notes
        -----
        Text of every encoding comes as plain strings, and ids as `exact_ids` gives them.
        """
        if not isinstance(path, ParquetReader):
            with ParquetReader(path, self.error) as file:
                return self.read(file, names)
        file, path = path, path.path
        schema = self._with_exact_ids(file.schema, path)
        self.check(schema, path)
        wanted = [each.name for each in self.columns if each.name in schema.names]
        if names is not None:
            wanted = list(names)
            for name in wanted:
                if name not in schema.names:
                    raise self.error(f"{path}: no column '{name}'.{self._next}")
        table = file.read(wanted)
        for place, name in enumerate(wanted):
            values = table[name]
            if self[name].type == ID:
                values = pa.chunked_array([exact_ids(values, name, path, self.error)])
            elif is_text(values.type):
                values = values.cast(pa.string())  # dictionaries and views have fewer functions
            column = in_unit(values, schema.field(name), self[name].unit, path, self.error)
            if column is not table[name]:
                table = table.set_column(place, self[name].field.with_type(column.type), column)
        return table

    def _with_exact_ids(self, schema: pa.Schema, path: Path) -> pa.Schema:
        """A file's schema with the types that its ids will have."""
        for each in self.columns:
            if each.type == ID and schema.names.count(each.name) == 1:
                place, found = schema.get_field_index(each.name), schema.field(each.name)
                kind = exact_id_type(found, path, self.error)
                schema = schema.set(place, found.with_type(kind))
        return schema

    @property
    def _next(self) -> str:
        return f" {self.made_by}" if self.made_by else ""


def schema_of(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of declared columns."""
    return pa.schema([column.field for column in columns])


def table_of_records(records: Iterable[object], columns: Sequence[Column]) -> pa.Table:
    """Records as a table; each column holds the attribute of its name, null for NaN."""
    found = list(records)
    arrays = [
        pa.array([getattr(each, column.name) for each in found], column.type, from_pandas=True)
        for column in columns
    ]
    return pa.table(arrays, schema=schema_of(columns))


def unit_of(column: pa.Field) -> str:
    """The unit that a column declares; empty where it declares none."""
    return (column.metadata or {}).get(b"unit", b"").decode(errors="replace")


def in_unit(
    values: pa.ChunkedArray,
    column: pa.Field,
    unit: str,
    place: Path | str,
    error: type[TargetselError] = CatalogError,
) -> pa.ChunkedArray:
    """A column of numbers in `unit`, converted from the unit that it declares.

    A column without a unit is taken to be in `unit` already; so is every column where `unit` is
    empty.

    Raises
    ------
    TargetselError
        If the column's unit cannot be converted to `unit`; of class `error`.
    """
    own = unit_of(column)
    if not unit or not own or own == unit:
        return values
    from astropy import units

    # Spellings of files that astropy does not know stay unknown, and are refused below.
    there, here = (units.Unit(each, parse_strict="silent") for each in (own, unit))
    if there == here:
        return values
    try:
        if not is_number(values.type):
            raise ValueError(column.type)
        factor = exact_factor(there, here)
    except (units.UnitConversionError, ValueError, TypeError):
        raise error(
            f"{place}, column '{column.name}': is in '{own}'; expected '{unit}'. Convert it, or "
            "correct the unit that the file declares."
        ) from None
    import pyarrow.compute as pc

    values = values.cast(pa.float64(), safe=False)
    for sign, number in steps(factor):
        values = (pc.multiply if sign == "*" else pc.divide)(values, number)
    return values


def in_one_piece(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column without chunks; nothing is copied where it is one chunk."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 0:
        return pa.array([], column.type)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def floats(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column of numbers as float64, shape (N,); NaN where it is null."""
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def serves_as_truth(kind: pa.DataType) -> bool:
    """Whether values of this type may stand for true and false; see `true_or_false`."""
    return pa.types.is_boolean(kind) or is_text(kind) or is_number(kind)


def true_or_false(
    column: pa.Array,
    name: str,
    place: Path | str,
    error: type[TargetselError] = CatalogError,
) -> pa.Array:
    """A column as true and false, nulls kept.

    Programs without nulls among true and false write them as 1, 0 and NaN, or as words.

    Raises
    ------
    TargetselError
        Of class `error`, if a value is something else.
    """
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type):
        return column
    if is_text(column.type):
        values = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
        known: dict[object, bool | None] = {"true": True, "false": False, "t": True, "f": False}
        known |= {"1": True, "0": False, "": None, "nan": None, "none": None}
    else:
        values = column.cast(pa.float64(), safe=False)
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        known = {1.0: True, 0.0: False}
    found = values.to_pylist()
    wrong = next((each for each in found if each is not None and each not in known), None)
    if wrong is not None:
        raise error(
            f"{place}, column '{name}': has {wrong!r}; expected true or false. Convert the column, "
            "such as to 1 and 0."
        )
    return pa.array([known.get(each) for each in found], pa.bool_())


def matrix(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column of lists of K numbers as float64, shape (N, K); NaN where a list or number is null.

    Raises
    ------
    ValueError
        If lists differ in length.
    """
    import pyarrow.compute as pc

    lists = in_one_piece(column)
    if pa.types.is_fixed_size_list(lists.type):
        width = lists.type.list_size
    else:
        lengths = pc.unique(pc.list_value_length(lists).drop_null()).to_pylist()
        if len(lengths) > 1:
            raise ValueError(f"lists of {lengths[0]} and of {lengths[1]} numbers")
        width = lengths[0] if lengths else 0
    values = np.full((len(lists), width), np.nan)
    known = lists.is_valid().to_numpy(zero_copy_only=False)
    flat = lists.drop_null().flatten().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values[known] = flat.reshape(int(known.sum()), width)
    return values


def list_column(
    values: np.ndarray, kind: pa.DataType | None = None, good: np.ndarray | None = None
) -> pa.FixedSizeListArray:
    """A matrix (N, K) as a column of fixed-size lists; lists of nulls where not `good`.

    Parameters
    ----------
    values : ndarray, shape (N, K)
    kind : pa.DataType, optional
        By default lists of K float32.
    good : ndarray of bool, shape (N,), optional
        By default every row.
    """
    values = np.asarray(values)
    kind = kind or pa.list_(pa.float32(), values.shape[1])
    mask = None
    if good is not None:
        mask = np.broadcast_to(~good[:, None], values.shape).ravel()
    flat = pa.array(values.ravel().astype(kind.value_type.to_pandas_dtype()), mask=mask)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def arrow_column(values: np.ndarray, kind: pa.DataType, good: np.ndarray | None = None) -> pa.Array:
    """Values as a column of a declared type; null where not `good`, and numbers where not finite.

    Parameters
    ----------
    values : ndarray, shape (N,), or (N, K) for lists of K numbers
        Numbers are rounded to the type; NaN within lists stays.
    good : ndarray of bool, shape (N,), optional
        By default every row.
    """
    if pa.types.is_fixed_size_list(kind):
        return list_column(values, kind, good)
    missing = np.zeros(len(values), dtype=bool) if good is None else ~good
    if pa.types.is_floating(kind):
        values = values.astype(kind.to_pandas_dtype())
        return pa.array(values, mask=missing | ~np.isfinite(values))
    return pa.array(values.astype(object), kind, mask=missing)


def column_named(
    schema: pa.Schema, name: str, place: Path | str, error: type[TargetselError] = CatalogError
) -> pa.Field:
    """The column of a name that a user gave.

    Raises
    ------
    TargetselError
        Of class `error`, if the table at `place` has none of it; suggests a close name.
    """
    if name not in schema.names:
        raise error(f"{place}: no column '{name}'.{did_you_mean(name, schema.names)}")
    return schema.field(name)


def numbers_named(
    schema: pa.Schema,
    name: str,
    place: Path | str,
    error: type[TargetselError] = CatalogError,
    expected: str = "numbers",
) -> pa.Field:
    """The column of numbers of a name that a user gave; `expected` says what they are.

    Raises
    ------
    TargetselError
        Of class `error`, if there is none of it, or it holds no numbers.
    """
    field = column_named(schema, name, place, error)
    if not is_number(field.type):
        raise error(
            f"{place}, column '{name}': holds {held(field.type)}; expected {expected}. Make the "
            "column one of numbers, or name another."
        )
    return field


def weights_of(table: pa.Table, place: Path | str = "the catalog") -> np.ndarray | None:
    """Number of sources that each of a catalog stands for, shape (N,); None without `weight`.

    Raises
    ------
    CatalogError
        If they are not numbers from 0 up, or none is above 0.
    """
    if "weight" not in table.column_names:
        return None
    numbers_named(table.schema, "weight", place)
    weight = floats(table["weight"])
    if not (np.isfinite(weight) & (weight >= 0)).all() or not weight.any():
        raise CatalogError(f"{place}, column 'weight': expected numbers from 0 up, some above 0.")
    return weight


# The natures of a file's column that can serve as one of a declared nature.
_SERVES = {nature: (nature,) for nature in PLURAL} | {
    "a number": ("a number", "a whole number"),
    "an id, a whole number or text": ("a whole number", "text"),
}
