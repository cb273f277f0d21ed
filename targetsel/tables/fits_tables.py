"""Binary tables of FITS as Arrow, each value as the FITS standard 4.0, section 7.3, means it.

Values come from the bytes of the rows: astropy's tables look for nulls after scaling, read unsigned
and scaled whole numbers as floats, and take undefined logical values for false.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.tables.fits import ALWAYS_UNPACKED, COLUMN_FORMAT
from targetsel.tables.folders import unit_name
from targetsel.tables.parquet import described
from targetsel.tables.reading import reading
from targetsel.tables.text import text_of_bytes

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU, Header, TableHDU

WHOLE = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8"}
_ITEMS = {**WHOLE, "L": "u1", "X": "u1", "A": "u1", "E": ">f4", "D": ">f8"}
_DESCRIPTORS = {"P": ">i4", "Q": ">i8"}  # of lists of any length: their length and place
_COMPLEX = {"C": ">c8", "M": ">c16"}
# Whole numbers that FITS stores shifted, because it has no such type: by format and TZERO.
_SHIFTED = {
    ("B", -(2**7)): np.int8,
    ("I", 2**15): np.uint16,
    ("J", 2**31): np.uint32,
    ("K", 2**63): np.uint64,
}
_PER_COLUMN = (
    "TTYPE",
    "TFORM",
    "TUNIT",
    "TNULL",
    "TSCAL",
    "TZERO",
    "TDIM",
    "TBCOL",
    "TUCD",
    "TCOMM",
)
COPY = "Copy the file again, or make it again."
_MIXINS = "--BEGIN-ASTROPY-SERIALIZED-COLUMNS--"  # comment of tables that astropy wrote


@dataclass(frozen=True)
class _Column:
    """The keywords of one column in a header.

    Attributes
    ----------
    place : Path
        The file.
    keywords : mapping
        Values of the column's keywords by name without its number, such as "TUNIT".
    """

    place: Path
    number: int
    keywords: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.keywords.get("TTYPE", "")).strip() or f"col{self.number}"

    @property
    def format(self) -> tuple[int, str, str]:
        """The number of items in a row, their code, and of lists of any length the items' code."""
        written = str(self.keywords.get("TFORM", ""))
        found = COLUMN_FORMAT.match(written)
        if found is None:
            self.refuse(f"its TFORM{self.number} is {written!r}, which is no format", COPY)
        inner = written[found.end() :].strip()[:1].upper() if found[2] in _DESCRIPTORS else ""
        return int(found[1] or 1), found[2], inner

    @property
    def dtype(self) -> np.dtype:
        """The bytes of a row."""
        repeat, code, _ = self.format
        if code in _DESCRIPTORS:
            return np.dtype((_DESCRIPTORS[code], (repeat, 2)))
        n = math.ceil(repeat / 8) if code == "X" else repeat
        return np.dtype((({**_ITEMS, **_COMPLEX})[code], (n,)))

    @property
    def field(self) -> pa.Field:
        """Name, unit, UCD and comment; of the type null."""
        from astropy import units

        written = str(self.keywords.get("TUNIT", "")).strip()
        with reading(self.place, CatalogError, "a FITS table"):
            unit = units.Unit(written, format="fits", parse_strict="silent") if written else None
        ucd, comment = (str(self.keywords.get(key, "")) for key in ("TUCD", "TCOMM"))
        return described(self.name, pa.null(), unit_name(unit), ucd, comment)

    def number_of(self, keyword: str, default: float | None) -> Any:
        """The number of a keyword, a Python int where it is whole."""
        value = self.keywords.get(keyword, default)
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\s*", value):
            value = int(value)
        wrong = isinstance(value, (bool, str))
        if wrong or (value is not None and not abs(value) < 1e300):
            self.refuse(f"its {keyword}{self.number} is {value!r}; expected a number")
        return int(value) if value is not None and value == int(value) else value

    def shape(self, repeat: int) -> tuple[int, ...]:
        """The axes of a row's items, slowest first, by TDIM if that fits; none of a single item."""
        written = str(self.keywords.get("TDIM", ""))
        if re.fullmatch(r"\s*\(\s*\d+\s*(,\s*\d+\s*)*\)\s*", written):
            shape = tuple(int(each) for each in reversed(re.findall(r"\d+", written)))
            if 0 < math.prod(shape) <= repeat:
                return shape
        return () if repeat == 1 else (repeat,)

    def refuse(self, why: str, next_step: str = "Correct the file.") -> NoReturn:
        raise CatalogError(f"{self.place}, column '{self.name}': {why}. {next_step}")


def binary_table(hdu: BinTableHDU, place: Path) -> pa.Table:
    """The rows of a binary table.

    Undefined values, NaN and empty text become null, columns of several items in a row lists.

    Raises
    ------
    CatalogError
        If the table is damaged, or a column holds complex numbers.
    """
    with reading(place, CatalogError, "a FITS table"):
        header = hdu.header
        columns = [_Column(place, n, _keywords(header, n)) for n in range(1, header["TFIELDS"] + 1)]
        n_rows, width = header["NAXIS2"], header["NAXIS1"]
        start_of_heap = header.get("THEAP", n_rows * width)
        from_mixins = has_masks(hdu)
        where = hdu.fileinfo()
        where["file"].seek(where["datLoc"])
        contents = where["file"].read(n_rows * width + header.get("PCOUNT", 0))
    if not (isinstance(start_of_heap, int) and n_rows * width <= start_of_heap <= len(contents)):
        raise CatalogError(
            f"{place}: its THEAP is {start_of_heap!r}, outside the {len(contents)} bytes of its "
            "table. The file is damaged; copy it again."
        )
    kinds = [(f"{each.number}", each.dtype) for each in columns]
    if np.dtype(kinds).itemsize != width:
        raise CatalogError(f"{place}: its columns do not fill its rows. It is damaged. {COPY}")
    rows = np.frombuffer(contents, np.dtype(kinds), count=n_rows if width else 0)
    heap = memoryview(contents)[start_of_heap:]
    arrays = [_column(each, rows[f"{each.number}"], heap) for each in columns]
    fields = [each.field.with_type(a.type) for each, a in zip(columns, arrays, strict=True)]
    table = pa.table(arrays, schema=pa.schema(fields))
    return _masked(table) if from_mixins else table


class FitsRows:
    """The rows of a binary table of an uncompressed file, read piece by piece.

    Its columns of lists of any length are left out. The methods are those of
    `folders.ParquetFiles`.

    Parameters
    ----------
    hdu : BinTableHDU
    path : Path

    Attributes
    ----------
    schema : pa.Schema
        Types are those of the first rows; whole numbers that are scaled may come in another.
    num_rows : int

    Raises
    ------
    CatalogError
        If the table is damaged.
    """

    def __init__(self, hdu: BinTableHDU, path: Path) -> None:
        self._path = path
        with reading(path, CatalogError, "a FITS table"):
            header = hdu.header
            columns = [
                _Column(path, n, _keywords(header, n)) for n in range(1, header["TFIELDS"] + 1)
            ]
            self.num_rows, width = int(header["NAXIS2"]), header["NAXIS1"]
            self._start = int(hdu.fileinfo()["datLoc"])
        self._dtype = np.dtype([(f"{each.number}", each.dtype) for each in columns])
        if self._dtype.itemsize != width:
            raise CatalogError(f"{path}: its columns do not fill its rows. It is damaged. {COPY}")
        plain = [each for each in columns if each.format[1] not in (*_DESCRIPTORS, *_COMPLEX)]
        self._columns = {each.name: each for each in plain}
        first = self._read(0, min(self.num_rows, 1000), list(self._columns))
        self.schema = first.schema

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The table in pieces of at most `rows` rows, with the columns asked for."""
        for start in range(0, self.num_rows, rows):
            yield self._read(start, min(rows, self.num_rows - start), columns)

    def _read(self, start: int, n: int, names: Sequence[str]) -> pa.Table:
        with reading(self._path, CatalogError, "a FITS table"), open(self._path, "rb") as file:
            file.seek(self._start + start * self._dtype.itemsize)
            contents = file.read(n * self._dtype.itemsize)
        if len(contents) < n * self._dtype.itemsize:
            raise CatalogError(f"{self._path}: ends before its last row; it is cut short. {COPY}")
        rows = np.frombuffer(contents, self._dtype, count=n)
        wanted = [self._columns[name] for name in names]
        arrays = [_column(each, rows[f"{each.number}"], memoryview(b"")) for each in wanted]
        fields = [each.field.with_type(a.type) for each, a in zip(wanted, arrays, strict=True)]
        return pa.table(arrays, schema=pa.schema(fields))


def has_masks(hdu: BinTableHDU) -> bool:
    """Whether columns of a table that astropy wrote are masks of others."""
    return any(_MIXINS in str(each) for each in hdu.header.get("COMMENT", ()))


def text_table(hdu: TableHDU, place: Path) -> pa.Table:
    """The rows of an ASCII table; blank fields and those equal to TNULL become null.

    Raises
    ------
    CatalogError
        If the table is damaged.
    """
    with reading(place, CatalogError, "a FITS table"):
        header = hdu.header
        columns = [_Column(place, n, _keywords(header, n)) for n in range(1, header["TFIELDS"] + 1)]
        n_rows, width = header["NAXIS2"], header["NAXIS1"]
        where = hdu.fileinfo()
        where["file"].seek(where["datLoc"])
        contents = where["file"].read(n_rows * width)
    rows = np.frombuffer(contents, "u1").reshape(n_rows, width)
    arrays = [_words(each, rows) for each in columns]
    fields = [each.field.with_type(a.type) for each, a in zip(columns, arrays, strict=True)]
    return pa.table(arrays, schema=pa.schema(fields))


def _words(column: _Column, rows: np.ndarray) -> pa.Array:
    """The values of one column of an ASCII table, from the bytes of its rows, shape (N, width)."""
    found = re.match(r"\s*([AIFED])(\d+)", str(column.keywords.get("TFORM", "")))
    start = column.number_of("TBCOL", None)
    if found is None or not isinstance(start, int):
        column.refuse("has no TFORM or TBCOL that is one", COPY)
    code, end = found[1], start - 1 + int(found[2])
    if not 0 < start <= end <= rows.shape[1]:
        column.refuse("lies outside its rows", COPY)
    width = end - start + 1
    fields = np.ascontiguousarray(rows[:, start - 1 : end]).view(f"S{width}").ravel()
    words = text_of_bytes(fields.tolist())
    if code == "A":
        return words
    null = str(column.keywords.get("TNULL", "")).strip()
    plain = ["" if each is None else each.strip() for each in words.to_pylist()]
    parse = int if code == "I" else _float
    values: list[Any] = []
    for row, word in enumerate(plain):
        try:
            values.append(None if word in ("", null) else parse(word))
        except ValueError:
            column.refuse(f"has {word!r} in row {row} (counted from 0); expected a number")
    scale, zero = column.number_of("TSCAL", 1), column.number_of("TZERO", 0)
    scaled = [None if each is None else each * scale + zero for each in values]
    if all(each is None or isinstance(each, int) for each in scaled) and code == "I":
        kind = pa.int64() if all(abs(each or 0) < 2**63 for each in scaled) else pa.uint64()
        try:
            return pa.array(scaled, kind)
        except (OverflowError, pa.ArrowInvalid):
            column.refuse("has whole numbers beyond 64 bits", "Store it as text.")
    return pa.array([None if each is None or each != each else float(each) for each in scaled])


def _float(word: str) -> float:
    return float(word.upper().replace("D", "E"))


def _keywords(header: Header, number: int) -> dict[str, Any]:
    """The values of one column's keywords that have one."""
    values = {each: header.get(f"{each}{number}") for each in _PER_COLUMN}
    return {each: value for each, value in values.items() if isinstance(value, (str, int, float))}


def _column(column: _Column, raw: np.ndarray, heap: memoryview) -> pa.Array:
    """The values of one column, from its items in each row, shape (N, n)."""
    repeat, code, inner = column.format
    if code in _COMPLEX or inner in _COMPLEX:
        column.refuse("holds complex numbers; expected numbers or text", "Remove the column.")
    if code in _DESCRIPTORS:
        return _lists(column, raw, heap)
    if not repeat:
        return pa.nulls(len(raw), pa.string() if code == "A" else _flat(column, code, raw).type)
    if code == "X":
        raw = np.unpackbits(np.ascontiguousarray(raw), axis=1)
    shape = column.shape(repeat)
    if code == "A":
        length = shape[-1] if shape else 1
        shape = shape[:-1]
        letters = np.ascontiguousarray(raw[:, : math.prod(shape) * length])
        array = text_of_bytes(letters.ravel().view(f"S{length}").tolist())
    else:
        array = _flat(column, code, raw[:, : math.prod(shape)].ravel())
    for width in reversed(shape):
        array = pa.FixedSizeListArray.from_arrays(array, width)
    return array


def _lists(column: _Column, descriptors: np.ndarray, heap: memoryview) -> pa.Array:
    """Lists of any length, or text, from the lengths and places of their items in the heap."""
    repeat, _, code = column.format
    if code not in _ITEMS or code == "X":
        column.refuse(f"is of the format {column.keywords['TFORM']!r}, lists of bits or of an "
                      "unknown kind; expected numbers or text", "Remove the column.")  # fmt: skip
    if not repeat:
        return pa.nulls(len(descriptors))
    lengths, starts = descriptors[:, 0, :].astype(np.int64).T
    n_bytes = lengths * np.dtype(_ITEMS[code]).itemsize
    starts = np.where(lengths == 0, 0, starts)
    wrong = (lengths < 0) | (starts < 0) | (n_bytes > len(heap) - starts)
    if wrong.any():
        column.refuse(f"the list of row {wrong.argmax()} (counted from 0) lies outside the file; "
                      "the file is damaged or cut short", COPY)  # fmt: skip
    if n_bytes.sum() > max(len(heap), ALWAYS_UNPACKED):
        column.refuse("its lists overlap, and take far more memory than the file has bytes")
    pieces = [heap[a : a + n] for a, n in zip(starts.tolist(), n_bytes.tolist(), strict=True)]
    if code == "A":
        return text_of_bytes([bytes(each) for each in pieces])
    items = _flat(column, code, np.frombuffer(b"".join(pieces), _ITEMS[code]))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if ends[-1] < 2**31:
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items)
    return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), items)


def _flat(column: _Column, code: str, items: np.ndarray) -> pa.Array:
    """Items that are no text, one after another, shape (n,)."""
    if code == "X":
        return pa.array(items.astype(bool))
    if code == "L":
        return _truths(column, items)
    scale, zero = column.number_of("TSCAL", 1), column.number_of("TZERO", 0)
    if scale == 0:
        column.refuse(f"its TSCAL{column.number} is 0, which makes all its values equal")
    values = items.astype(items.dtype.newbyteorder("="))
    if code in WHOLE:
        return _whole(column, code, values, scale, zero)
    if (scale, zero) != (1, 0):
        values = _scaled(values, scale, zero)
    return pa.array(values, mask=np.isnan(values))


def _truths(column: _Column, items: np.ndarray) -> pa.Array:
    wrong = ~np.isin(items, (ord("T"), ord("F"), 0))
    if wrong.any():
        column.refuse(f"has the byte {bytes(items[wrong][:1])!r} for true or false; expected 'T', "
                      "'F', or the byte 0 where it is not known")  # fmt: skip
    return pa.array(items == ord("T"), mask=items == 0)


def _whole(column: _Column, code: str, values: np.ndarray, scale: Any, zero: Any) -> pa.Array:
    """Whole numbers, null where they are TNULL before scaling; exact if scale and zero are whole.

    Numbers that then fit no type of 64 bits, and scaled ones, become floats.
    """
    null = column.number_of("TNULL", None)
    hidden = np.zeros(len(values), dtype=bool) if null is None else values == null
    if (scale, zero) == (1, 0):
        return pa.array(values, mask=hidden)
    if isinstance(column.keywords.get("TZERO"), float) and math.isclose(zero, 2**63, rel_tol=1e-12):
        zero = 2**63  # as writers round it
    known = values[~hidden]
    if isinstance(scale, int) and isinstance(zero, int):
        extremes = (known.min(), known.max()) if len(known) else ()
        ends = [int(each) * scale + zero for each in extremes]
        kind = _SHIFTED.get((code, zero)) if scale == 1 else None
        kinds: list[Any] = [kind] if kind else [np.int64, np.uint64]
        for each in kinds:
            if all(np.iinfo(each).min <= end <= np.iinfo(each).max for end in ends):
                # Modulo 2^64, where only the results must fit.
                bits = values.astype(np.int64).view(np.uint64)
                bits = bits * np.uint64(scale % 2**64) + np.uint64(zero % 2**64)
                return pa.array(bits.astype(each), mask=hidden)
    return pa.array(_scaled(values, scale, zero), mask=hidden)


def _scaled(values: np.ndarray, scale: float, zero: float) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float64) * float(scale) + float(zero)


def _masked(table: pa.Table) -> pa.Table:
    """A table of astropy's whose masks, columns of their own there, became nulls."""
    import pyarrow.compute as pc

    for name in list(table.column_names):
        mask = f"{name}.mask"
        if table.column_names.count(mask) != 1 or table.column_names.count(name) != 1:
            continue
        if not pa.types.is_boolean(table.schema.field(mask).type):
            continue
        place, field = table.schema.get_field_index(name), table.schema.field(name)
        values = pc.if_else(table[mask], pa.scalar(None, field.type), table[name])
        table = table.set_column(place, field, values).drop_columns([mask])
    return table
