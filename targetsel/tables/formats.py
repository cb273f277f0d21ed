"""Tables in the formats astronomers keep catalogs in, as Arrow.

Units, UCDs and descriptions come along as Arrow field metadata under ``unit``, ``ucd`` and
``description``, whatever the format calls them. Parquet is streamed; FITS, VOTable, ECSV and CSV
are read whole, also compressed by gzip. VOTable and FITS files hold one table: of several, nobody
can say which is meant.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, absent
from targetsel.tables.files import ASTROPY_FORMATS, PARQUET_SUFFIXES
from targetsel.tables.fits import open_fits, plain_stream
from targetsel.tables.fits_tables import FitsRows, binary_table, has_masks, text_table
from targetsel.tables.folders import ParquetFiles, open_parquet, several_columns, unit_name
from targetsel.tables.notes import SCHEMA
from targetsel.tables.parquet import described, plain_schema
from targetsel.tables.reading import reading, reason
from targetsel.tables.restoring import with_provenance
from targetsel.tables.streamed_writing import KEYWORD, SCHEMA_KEYWORD

if TYPE_CHECKING:  # astropy is imported where it is used: Parquet files do without it
    from astropy.io.votable.tree import TableElement, VOTableFile
    from astropy.table import Column, Table

_OLD_VOTABLE = re.compile(rb"(<(?:\w+:)?VOTABLE\b[^>]*?\sversion\s*=\s*[\"'])1\.[0-2]")
_UNDERSCORED = re.compile(rb"<(?:\w+:)?TD[^>]*>[^<]*[0-9]_[0-9]")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
# Words for missing numbers in text; among words of other kinds they stay words.
MISSING = ("nan", "null", "none", "na", "n/a", "--")
# Frames of positions that are ICRS to a few hundredths of an arcsecond, or say nothing.
AS_ICRS = ("ICRS", "FK5", "EQ_FK5", "GAPPT", "BARYCENTRIC", "UNKNOWN")
_WHOLE = r"^[+-]?(0|[1-9][0-9]*)$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity)$"
_PADDED = r"^[+-]?(0[0-9]+|[0-9]{16,})$"  # numbers that floats would change: 007, long ids


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
        If there is nothing at `path`, it is damaged or in no format we read, or it holds several
        tables.
    """
    path = Path(path)
    if not path.exists():
        raise CatalogError(absent(path))
    packed = path.name.lower().endswith(".gz")
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if path.is_dir() or (suffix in PARQUET_SUFFIXES and not packed):
        return open_parquet(path)
    read = _READERS.get("parquet" if packed and suffix in PARQUET_SUFFIXES else suffix)
    if read is None:
        known = ", ".join((*PARQUET_SUFFIXES[:1], *ASTROPY_FORMATS))
        raise CatalogError(
            f"{path}: ends in '{path.suffix}'; expected {known}, or a folder of Parquet files. "
            "Convert the table, or correct the ending."
        )
    table = read(path)
    if len(set(table.schema.names)) < len(table.schema.names):
        raise several_columns(
            path, next(n for n in table.schema.names if table.schema.names.count(n) > 1)
        )
    return InMemory(table)


def fits_tables_in(path: Path) -> list[str]:
    """The names of the extensions of a FITS file that hold tables; none of another file.

    Raises
    ------
    CatalogError
        If it is damaged.
    """
    path = Path(path)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if not path.is_file() or ASTROPY_FORMATS.get(suffix) != "fits":
        return []
    with open_fits(path) as hdus:
        return [_name_of(number, hdu) for number, hdu in _tables_of(hdus).items()]


def open_columns(path: Path, extension: str = "") -> ParquetFiles | InMemory | FitsRows:
    """As `open_table`, for who needs few columns of a long table: FITS is not read whole.

    That holds for a binary table that is not compressed and has no masks of astropy's.

    Parameters
    ----------
    path : Path
    extension : str
        Of a FITS file with several tables, the one that is meant (see `fits_tables_in`).

    Raises
    ------
    CatalogError
        As `open_table`.
    """
    path = Path(path)
    if not path.is_file() or ASTROPY_FORMATS.get(path.suffix.lower()) != "fits":
        return InMemory(_fits(path, extension)) if extension else open_table(path)
    with open_fits(path) as hdus:
        hdu = _only_table(path, hdus, extension)
        with open(path, "rb") as file:
            is_plain = file.read(2) == b"SI"  # and not compressed under this ending
        if isinstance(hdu, _text_kind()) or has_masks(hdu) or not is_plain:
            return InMemory(_fits(path, extension)) if extension else open_table(path)
        rows = FitsRows(hdu, path)
        frame = _frame_of(hdu)
    framed = with_frames(rows.schema.empty_table(), [frame] * len(rows.schema))
    rows.schema = framed.schema
    names = rows.schema.names
    if len(set(names)) < len(names):
        raise several_columns(path, next(n for n in names if names.count(n) > 1))
    return rows


def _contents(path: Path, expected: str) -> bytes:
    """The bytes of a file, decompressed where they are compressed by gzip."""
    with reading(path, CatalogError, expected), plain_stream(path, path, CatalogError) as stream:
        return stream.read()


def _packed_parquet(path: Path) -> pa.Table:
    contents = _contents(path, "a Parquet file")
    with reading(path, CatalogError, "a Parquet file"):
        table = pq.read_table(io.BytesIO(contents))
        table.validate(full=True)
    return table.cast(plain_schema(table.schema))


# --- formats that astropy reads -------------------------------------------------------------------


def _fits(path: Path, extension: str = "") -> pa.Table:
    with open_fits(path) as hdus:
        hdu = _only_table(path, hdus, extension)
        is_text = isinstance(hdu, _text_kind())
        table = text_table(hdu, path) if is_text else binary_table(hdu, path)
        told, packed = hdu.header.get(KEYWORD), hdu.header.get(SCHEMA_KEYWORD)
        framed = with_frames(table, [_frame_of(hdu)] * len(table.columns))
        return with_provenance(framed, told, packed)


def _tables_of(hdus: Any) -> dict[int, Any]:
    """The extensions of a FITS file that hold tables, by their number."""
    from astropy.io import fits

    kinds = (fits.BinTableHDU, fits.TableHDU)
    return {
        number: hdu
        for number, hdu in enumerate(hdus)
        if isinstance(hdu, kinds) and not isinstance(hdu, fits.CompImageHDU)
    }


def _name_of(number: int, hdu: Any) -> str:
    return hdu.name or f"extension {number}"


def _only_table(path: Path, hdus: Any, extension: str = "") -> Any:
    """The table of a FITS file, or that of this name.

    Raises
    ------
    CatalogError
        If it does not hold exactly one.
    """
    tables = _tables_of(hdus)
    named = {_name_of(number, hdu): hdu for number, hdu in tables.items()}
    if extension in named:
        return named[extension]
    _check_one(path, [_name_of(number, hdu) for number, hdu in tables.items()])
    return next(iter(tables.values()))


def _text_kind() -> type:
    from astropy.io import fits

    kind: type = fits.TableHDU
    return kind


def _frame_of(hdu: Any) -> Any:
    """The frame that a header declares for positions."""
    return hdu.header.get("RADESYS") or hdu.header.get("RADECSYS")


def _votable(path: Path) -> pa.Table:
    from astropy.io import votable

    contents = _contents(path, "a VOTable")
    # Empty cells are missing whole numbers since version 1.3; astropy reads 0 in older files.
    contents = _OLD_VOTABLE.sub(rb"\g<1>1.3", contents[:4096], count=1) + contents[4096:]
    with reading(path, CatalogError, "a VOTable"), _no_value_changed(path):
        document = votable.parse(io.BytesIO(contents), verify="warn")
        tables = list(document.iter_tables())
        _check_numbers_of_votable(path, contents, tables)
    _check_status(path, document)
    _check_one(path, [each.name or each.ID or f"table {k}" for k, each in enumerate(tables, 1)])
    names = [field.name for field in tables[0].fields]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise several_columns(path, twice)
    with reading(path, CatalogError, "a VOTable"):
        table = tables[0].to_table(use_names_over_ids=True)
        systems = {each.ID: each.system or each.refframe for each in document.iter_coosys()}
        frames = [systems.get(field.ref) for field in tables[0].fields]
        told = {each.name: each.value for each in tables[0].infos}
    arrow = with_frames(to_arrow(table, path), frames)
    return with_provenance(arrow, told.get("targetsel"), told.get(SCHEMA))


@contextlib.contextmanager
def _no_value_changed(path: Path) -> Iterator[None]:
    """Refuse a VOTable where astropy, with a warning, puts another value in place of one of it."""
    from astropy.io.votable import exceptions as faults

    changes = (faults.W18, faults.W30, faults.W36, faults.W39, faults.W46, faults.W49, faults.W51)
    with warnings.catch_warnings():
        for each in (*changes, faults.E02):
            warnings.simplefilter("error", each)
        try:
            yield
        except (*changes, faults.E02) as fault:
            said = re.match(r"[^:]*:([0-9?]+):[0-9?]+: [WE][0-9]+: (.*)", reason(fault))
            line, why = said.groups() if said else ("?", reason(fault))
            raise CatalogError(
                f"{path}, line {line}: {why}. Correct the value, or what the FIELD or "
                "TABLE declares."
            ) from fault


def _check_numbers_of_votable(path: Path, contents: bytes, tables: Sequence[TableElement]) -> None:
    """Refuse numbers with underscores, which Python passes over: 1_000 came out as 1000."""
    if not tables or not _UNDERSCORED.search(contents):
        return
    from xml.etree import ElementTree  # which rules and Parquet files do without

    words = {"char", "unicodeChar", "boolean"}
    elements = (each for _, each in ElementTree.iterparse(io.BytesIO(contents)))
    rows = (each for each in elements if each.tag.rpartition("}")[2] == "TR")
    for number, row in enumerate(rows, start=1):
        for field, cell in zip(tables[0].fields, row, strict=False):
            said = cell.text or ""
            if field.datatype not in words and "_" in said:
                raise CatalogError(
                    f"{path}, row {number}: column '{field.name}' holds '{said[:40]}'; "
                    "expected a number without underscores."
                )


def _check_status(path: Path, document: VOTableFile) -> None:
    """Refuse the answer of a service that failed, or that has more rows than it sent."""
    for resource in document.resources:
        for info in resource.infos:
            status = info.value.upper() if info.name == "QUERY_STATUS" else ""
            if status == "ERROR":
                raise CatalogError(
                    f"{path}: is the error of a service ({(info.content or '').strip()[:200]}). "
                    "Query again."
                )
            if status == "OVERFLOW":
                raise CatalogError(
                    f"{path}: is cut short by the service (QUERY_STATUS is OVERFLOW); expected all "
                    "rows. Query again with a larger limit of rows (MAXREC), or in parts."
                )


def _check_one(path: Path, names: list[str]) -> None:
    """Refuse a file that does not hold exactly one table."""
    if not names:
        raise CatalogError(f"{path}: holds no table. Name the file of a table.")
    if len(names) > 1:
        raise CatalogError(
            f"{path}: holds {len(names)} tables ({', '.join(names[:8])}); expected one. Write the "
            "one that you mean to a file of its own."
        )


def _ecsv(path: Path) -> pa.Table:
    from astropy.table import Table

    text = _text(path)
    with reading(path, CatalogError, "an ECSV table"):
        _check_names_of_ecsv(path, text)
        table = Table.read(text.splitlines(), format="ascii.ecsv")
        _check_numbers_of_ecsv(path, text, table)
    told = table.meta.get("targetsel"), table.meta.get(SCHEMA)
    return with_provenance(to_arrow(table, path), *told)


def _lines_of_ecsv(text: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line of an ECSV table; the names come first."""
    lines = text.splitlines()
    commas = any(re.match(r"#\s*delimiter:\s*['\"]?,", line) for line in lines if line[:1] == "#")
    for number, line in enumerate(lines, start=1):
        if line.strip() and line[:1] != "#":
            yield number, next(csv.reader([line], delimiter="," if commas else " "), [])


def _check_names_of_ecsv(path: Path, text: str) -> None:
    """Refuse a repeated name, to which astropy gives another."""
    _, names = next(_lines_of_ecsv(text), (0, []))
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise several_columns(path, twice)


def _check_numbers_of_ecsv(path: Path, text: str, table: Table) -> None:
    """Refuse numbers with underscores, which Python passes over: 1_000 came out as 1000."""
    if "_" not in text:
        return
    numeric = {
        name
        for name, column in table.columns.items()
        if getattr(column, "dtype", np.dtype(object)).kind in "iuf"
    }
    (_, names), *rows = _lines_of_ecsv(text)
    for number, cells in rows:
        for name, cell in zip(names, cells, strict=False):
            if "_" in cell and name in numeric:
                raise CatalogError(
                    f"{path}, line {number}: column '{name}' holds '{cell[:40]}'; expected a "
                    "number without underscores."
                )


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
                f"({reason(error)}). Remove it, or store it as plain columns."
            ) from error
        # astropy leaves the UCDs and comments of a FITS table in the header.
        ucd = column.meta.get("ucd") or table.meta.get(f"TUCD{number}")
        description = column.description or table.meta.get(f"TCOMM{number}")
        kind, unit = arrays[-1].type, unit_name(column.unit)
        fields.append(described(name, kind, unit, str(ucd or ""), str(description or "")))
    return pa.table(arrays, schema=pa.schema(fields))


def with_frames(table: pa.Table, frames: Sequence[Any]) -> pa.Table:
    """A table whose fields say as metadata ``frame`` where they are in one that is not ICRS."""
    fields = []
    for field, frame in zip(table.schema, frames, strict=True):
        if frame and str(frame).upper() not in AS_ICRS:
            field = field.with_metadata({**(field.metadata or {}), b"frame": str(frame).encode()})
        fields.append(field)
    return table.cast(pa.schema(fields, table.schema.metadata))


def _to_array(column: Column) -> pa.Array:
    """One column of an astropy table; the axes after the first become fixed-size lists."""
    values = np.ma.asarray(column)
    mask = np.ma.getmaskarray(values).ravel()
    flat = np.ma.getdata(values).ravel()
    if flat.dtype.kind == "c":
        raise TypeError("complex numbers")
    if flat.dtype.kind == "S":
        try:
            flat = np.char.decode(flat, "utf-8")
        except UnicodeDecodeError:
            flat = np.char.decode(flat, "latin-1")
    if flat.dtype.kind == "O" and any(isinstance(each, np.ndarray) for each in flat):
        array = _lists(flat, mask)
    elif flat.dtype.kind in "biuf":
        flat = flat.astype(flat.dtype.newbyteorder("="))
        array = pa.array(flat, mask=mask)
    else:
        # As in FITS (see `tables.text`); VOTables have text of a fixed width, too.
        words = [v.rstrip(" ") or None if isinstance(v, str) else v for v in flat]
        array = pa.array([None if hidden else v for v, hidden in zip(words, mask, strict=True)])
        if pa.types.is_null(array.type):
            array = array.cast(pa.string())
    for width in reversed(column.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, width)
    return array


def _lists(rows: np.ndarray, mask: np.ndarray) -> pa.Array:
    """Arrays of any length as lists, masked values within them null."""
    arrays = [np.ma.asarray(each) for each in rows]
    kinds = {each.dtype for each in arrays if each.size and each.dtype.kind != "O"}
    if any(kind.kind == "c" for kind in kinds):
        raise TypeError("complex numbers")
    lists = [None if hidden else a.tolist() for a, hidden in zip(arrays, mask, strict=True)]
    if len(kinds) == 1 and all(each.ndim == 1 for each in arrays):
        kind = kinds.pop().newbyteorder("=")
        return pa.array(lists, pa.list_(pa.from_numpy_dtype(kind)))
    return pa.array(lists)


# --- CSV ------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark."""
    contents = _contents(path, "a text file")
    if contents.startswith(UTF_16) or b"\0" in contents[:4096]:
        raise CatalogError(f"{path}: is not UTF-8 text, perhaps UTF-16. Save it as UTF-8.")
    try:
        return contents.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = contents[: fault.start].count(b"\n") + 1
        raise CatalogError(
            f"{path}, line {line}: is not UTF-8 text, perhaps Latin-1. Save it as UTF-8."
        ) from None


def _csv(path: Path) -> pa.Table:
    """A table of text with commas, each column of the narrowest type that changes no value."""
    from pyarrow import csv as arrow_csv

    text = _text(path)
    if text.startswith("# %ECSV"):  # as the Gaia archive names its files
        return _ecsv(path)
    if not text.strip():
        raise CatalogError(f"{path}: is empty; expected a line of names and lines of values.")
    _check_first_line(path, text)
    _check_comments(path, text)
    with reading(path, CatalogError, "a CSV table"):
        names = [name.strip() for name in next(csv.reader(io.StringIO(text, newline=None)))]
        rows = arrow_csv.read_csv(
            io.BytesIO(text.encode()),
            arrow_csv.ReadOptions(column_names=[str(k) for k in range(len(names))], skip_rows=1),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types={str(k): pa.string() for k in range(len(names))},
                strings_can_be_null=False,
            ),
        )
    return pa.table([_typed(column) for column in rows.columns], names=names)


def _check_first_line(path: Path, text: str) -> None:
    """Refuse what is no table with commas below a line of names, by its first lines."""
    first, second = (*text.lstrip()[:100_000].splitlines(), "")[:2]
    if first.startswith("<"):
        raise CatalogError(
            f"{path}: is HTML or XML, perhaps a service's message; expected a CSV table. Read it, "
            "and fetch the table again."
        )
    if first.startswith("#"):
        raise CatalogError(
            f"{path}, line 1: begins with '#' ({first[:40]!r}); expected the names of the columns. "
            "Remove comments above them, and a '#' before them."
        )
    for name, mark in {"semicolons": ";", "tabs": "\t", "bars": "|"}.items():
        if "," not in first and mark in first:
            raise CatalogError(
                f"{path}, line 1: its columns are parted by {name}; expected commas. Write the "
                "table with commas."
            )
    if "," not in first and len(first.split()) == len(second.split()) > 1:
        raise CatalogError(
            f"{path}, line 1: its columns are parted by blanks ({first[:40]!r}); expected commas. "
            "Write the table with commas."
        )
    names = [name.strip(" \"'") for name in first.split(",")]
    if all(re.fullmatch(_NUMBER, name) for name in names):
        raise CatalogError(
            f"{path}, line 1: holds numbers ({first[:40]!r}); expected the names of the columns. "
            "Write a line of names above it, such as source_id,ra,dec."
        )


def _check_comments(path: Path, text: str) -> None:
    """Refuse comments between the rows; within quotes such lines are values."""
    if not re.search(r"[\r\n]#", text):
        return
    rows = csv.reader(io.StringIO(text, newline=None))
    with reading(path, CatalogError, "a CSV table"):
        line = next((rows.line_num for row in rows if row and row[0].startswith("#")), None)
    if line is not None:
        raise CatalogError(
            f"{path}, line {line}: begins with '#'; expected a row. Remove comments between rows."
        )


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Words as whole numbers, numbers, true and false, or text; empty ones are null.

    Numbers with leading zeros, and whole numbers beyond int64 or among fractions that floats
    cannot hold, stay text: they are ids.
    """
    import pyarrow.compute as pc

    words = pc.utf8_trim_whitespace(column)
    text = _nulled(words, pc.equal(words, ""))
    lower = pc.utf8_lower(words)
    numbers = _nulled(text, pc.is_in(lower, pa.array(MISSING)))
    known = numbers.drop_null()
    if not len(known):
        return text
    if pc.all(pc.is_in(pc.utf8_lower(known), pa.array(["true", "false"]))).as_py():
        return pc.equal(pc.utf8_lower(numbers), "true")
    if pc.all(pc.match_substring_regex(known, _WHOLE)).as_py():
        try:
            return pc.utf8_ltrim(numbers, "+").cast(pa.int64())
        except pa.ArrowInvalid:  # beyond int64
            return text
    padded = pc.any(pc.match_substring_regex(known, _PADDED)).as_py()
    if padded or not pc.all(pc.match_substring_regex(known, _NUMBER)).as_py():
        return text
    return pc.utf8_ltrim(numbers, "+").cast(pa.float64())


def _nulled(values: pa.ChunkedArray, where: Any) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.if_else(pc.fill_null(where, True), pa.scalar(None, values.type), values)


_READERS = {
    "parquet": _packed_parquet,
    **{ending: {"fits": _fits, "votable": _votable, "ascii.ecsv": _ecsv, "ascii.csv": _csv}[kind]
       for ending, kind in ASTROPY_FORMATS.items()},
}  # fmt: skip
