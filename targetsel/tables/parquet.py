"""Parquet files whose columns carry unit, UCD and description.

Units, UCDs and descriptions are written twice, because readers look in two places: as Arrow field
metadata (pyarrow) and as the VOTable header of the IVOA Note "VOParquet" 1.0 (TOPCAT, STILTS, and
astropy's ``Table.read(path, format="parquet.votable")``).

astropy 8.0 reads nulls as NaN in float columns, as NaN in a *float* column for integers, so that
ids beyond 2^53 lose digits, and as the word ``None`` in strings. Columns of ids should therefore be
``nullable=False``. Columns of true and false with nulls are declared as boolean arrays of any
size, which gives objects True, False and None; as plain booleans they would be an error. A null in
a column of fixed-size lists would be an error too, so `ParquetSink` writes it as a list of nulls,
which every reader takes (astropy and NumPy see NaN). Columns of dates or structs have no
counterpart in VOTable: astropy reads a file that has them with ``format="parquet"`` only, without
units.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import re
from collections.abc import Container, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.tables.files import table_format, written_beside
from targetsel.tables.fits import open_fits
from targetsel.tables.reading import ParquetReader
from targetsel.tables.streamed_writing import KEYWORD
from targetsel.tables.writing import convert_table

FOOTER_KEY = b"targetsel"
# Entry of a footer: hash of the file of the decoder whose latents the file holds.
DECODER_KEY = "decoder_sha256"
SIMULATED = {"images": "simulated"}  # marks a footer, also that of simulated spectra
VOTABLE_NAMESPACE = "http://www.ivoa.net/xml/VOTable/v1.3"
_LISTS = (
    *(pa.types.is_list, pa.types.is_large_list),
    *(pa.types.is_list_view, pa.types.is_large_list_view),
)
# VOTable has no signed byte and no unsigned short or int: the next wider type holds them. It has
# nothing wider than a long, which only describes what uint64 columns hold in practice.
VOTABLE_TYPES = {
    pa.bool_(): "boolean",
    pa.int8(): "short",
    pa.uint8(): "unsignedByte",
    pa.int16(): "short",
    pa.uint16(): "int",
    pa.int32(): "int",
    pa.uint32(): "long",
    pa.int64(): "long",
    pa.uint64(): "long",
    pa.float16(): "float",
    pa.float32(): "float",
    pa.float64(): "double",
}


def described(
    name: str,
    type: pa.DataType,
    unit: str = "",
    ucd: str = "",
    description: str = "",
    nullable: bool = True,
) -> pa.Field:
    """An Arrow field that carries its unit, UCD and description, where they are not empty."""
    meaning = {"unit": unit, "ucd": ucd, "description": description}
    metadata = {key: value for key, value in meaning.items() if value}
    return pa.field(name, type, nullable=nullable, metadata=metadata or None)


class ParquetSink:
    """A table that is written piece by piece and appears whole, or not at all.

    It is a Parquet file, or what the file's ending says (see `files.table_format`): then the
    Parquet file is converted in memory at the end.

    The same rows give the same bytes however they were cut into pieces. Dictionary columns are
    written as their values. The schema's own (file-level) metadata is not kept: it describes the
    file it was read from.

    Columns are encoded for what they hold: measured numbers byte by byte, so that those bytes
    that are alike come together, whole numbers by their differences. Snappy then reads twice as
    fast as zstd would, for nearly the same size.

    Attributes
    ----------
    schema : pa.Schema
        Schema of the file; pieces are cast to it, by name.
    footer : dict
        Provenance, written as JSON under the key ``targetsel``; may be filled until the end.
    compression : str
        Of the columns; zstd is for numbers that were rounded.

    Raises
    ------
    OutputError
        If the folder is missing, not writable or full, or the ending is that of no format known.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        row_group_size: int = 65_536,
        compression: str = "snappy",
    ) -> None:
        self.path = Path(path)
        self._format = table_format(self.path)
        self.schema = plain_schema(schema)
        self.footer: dict[str, Any] = {}
        self.compression = compression
        self._row_group_size = row_group_size
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0
        self._strings = {
            field.name: _Longest() for field in self.schema if pa.types.is_string(field.type)
        }
        self._unknown: set[str] = set()  # columns of true and false that have nulls
        self._file = contextlib.ExitStack()

    def __enter__(self) -> ParquetSink:
        self._beside = beside = self._file.enter_context(written_beside(self.path))
        try:
            # The Arrow schema is stored at the end, when the lengths of the strings are known.
            self._writer = pq.ParquetWriter(
                beside,
                self.schema,
                compression=self.compression,
                use_dictionary=list(self._strings),
                column_encoding=_encodings(self.schema),
                write_statistics=[f.name for f in self.schema if not pa.types.is_nested(f.type)],
                store_schema=False,
            )
        except BaseException as error:
            self._file.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if error is not None:
                with contextlib.suppress(OSError):
                    self._writer.close()
                raise error
            self._finish()
            if self._format != "parquet":
                convert_table(self._beside, self.path, self._format, self.footer)

    def write(self, piece: pa.Table | pa.RecordBatch) -> None:
        """Append the rows of `piece`, which has at least the columns of the schema."""
        if isinstance(piece, pa.RecordBatch):
            piece = pa.Table.from_batches([piece])
        self._waiting.append(_fitted(piece, self.schema))
        self._n_waiting += piece.num_rows
        if self._n_waiting < self._row_group_size:
            return
        rows = pa.concat_tables(self._waiting)
        n_full = rows.num_rows - rows.num_rows % self._row_group_size
        for start in range(0, n_full, self._row_group_size):
            self._write_row_group(rows.slice(start, self._row_group_size))
        self._waiting = [rows.slice(n_full)]
        self._n_waiting = rows.num_rows - n_full

    def _finish(self) -> None:
        """Write the last rows and everything known only now, and close."""
        try:
            if self._n_waiting:
                self._write_row_group(pa.concat_tables(self._waiting))
            notes = {
                FOOTER_KEY.decode(): json.dumps(self.footer, sort_keys=True, allow_nan=False),
                "IVOA.VOTable-Parquet.version": "1.0",
                "IVOA.VOTable-Parquet.content": _votable_header(
                    self.schema, self._strings, self._unknown
                ),
            }
            # With the lengths of strings astropy need not measure them, and stumble over nulls.
            notes |= {f"table::len::{name}": str(s.n) for name, s in self._strings.items()}
            notes["ARROW:schema"] = _arrow_header(self.schema.with_metadata(notes))
            self._writer.add_key_value_metadata(notes)
        finally:
            self._writer.close()

    def _write_row_group(self, rows: pa.Table) -> None:
        rows = rows.combine_chunks()
        for name, longest in self._strings.items():
            longest.see(rows[name])
        self._unknown |= {
            field.name
            for field in self.schema
            if pa.types.is_boolean(field.type) and rows[field.name].null_count
        }
        self._writer.write_table(rows, row_group_size=self._row_group_size)


def write_table(table: pa.Table, path: Path, footer: Mapping[str, Any] | None = None) -> None:
    """Write a whole table through a `ParquetSink`."""
    with ParquetSink(path, table.schema) as sink:
        sink.footer.update(footer or {})
        sink.write(table)


def read_footer(path: Path) -> dict[str, Any]:
    """The JSON footer of a Parquet file, or of a table of ours in FITS; empty where it has none.

    Raises
    ------
    CatalogError
        If there is no such file, or it is not a whole Parquet file.
    """
    path = Path(path)
    if Path(path.name.lower().removesuffix(".gz")).suffix in (".fits", ".fit"):
        return _footer_of_fits(path)
    with ParquetReader(path) as file:
        return footer_in(file.footer_entries)


def _footer_of_fits(path: Path) -> dict[str, Any]:
    with open_fits(path) as hdus:
        told = (hdu.header.get(KEYWORD) for hdu in hdus[1:2])
        return footer_in({FOOTER_KEY: str(next(told, None) or "{}").encode()})


def _finite(written: str) -> float | None:
    number = float(written)
    return number if math.isfinite(number) else None


def footer_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """The JSON footer of targetsel in a file's or a schema's metadata; empty if there is none.

    Its `columns`, the names of the columns of ids and positions, are left out unless they are
    names. Numbers that are not finite, which only damage puts there, become None.
    """
    try:
        footer = json.loads(
            (metadata or {}).get(FOOTER_KEY, b"{}"),
            parse_float=_finite,
            parse_constant=lambda _: None,
        )
    except (ValueError, RecursionError):
        return {}
    if not isinstance(footer, dict):
        return {}
    columns = footer.get("columns", {})
    named = isinstance(columns, dict) and all(isinstance(each, str) for each in columns.values())
    return footer if named else {key: each for key, each in footer.items() if key != "columns"}


def says_simulated(footer: Mapping[str, Any]) -> bool:
    """Whether a footer of targetsel marks its images or spectra as simulated (`SIMULATED`)."""
    return str(footer.get("images", "")).startswith("simulated")


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The columns as they are written: no dictionaries, one kind of string, no file metadata."""
    return pa.schema([_plain_field(field) for field in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without dictionaries, views and large offsets, also within lists and structs."""
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    if any(is_kind(kind) for is_kind in _LISTS):
        return pa.list_(_plain_field(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(kind.field(k)) for k in range(kind.num_fields)])
    return kind


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain_type(field.type))


class _Longest:
    """The longest value seen in a string column, in characters."""

    def __init__(self) -> None:
        # Readers refuse strings of no length, so that an all-empty column counts as one.
        self.n = 1
        self.ascii = True

    def see(self, column: pa.ChunkedArray) -> None:
        import pyarrow.compute as pc

        longest = pc.max(pc.utf8_length(column)).as_py() or 0
        self.n = max(self.n, longest, len("None") if column.null_count else 0)
        self.ascii &= pc.all(pc.string_is_ascii(column)).as_py() is not False


def _encodings(schema: pa.Schema) -> dict[str, str]:
    """The encodings of columns of numbers and of lists of numbers."""
    encodings = {}
    for field in schema:
        is_list = pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)
        kind = field.type.value_type if is_list else field.type
        name = f"{field.name}.list.element" if is_list else field.name
        if pa.types.is_float32(kind) or pa.types.is_float64(kind):
            encodings[name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_integer(kind):
            encodings[name] = "DELTA_BINARY_PACKED"
    return encodings


def _fitted(piece: pa.Table, schema: pa.Schema) -> pa.Table:
    """The piece with the columns of the schema, in its order, and no null fixed-size lists."""
    piece = piece.select(schema.names).cast(schema)
    for place, field in enumerate(schema):
        if pa.types.is_fixed_size_list(field.type) and piece[field.name].null_count:
            column = _lists_of_nulls(piece[field.name].combine_chunks())
            piece = piece.set_column(place, field, column)
    return piece


def _lists_of_nulls(lists: pa.FixedSizeListArray) -> pa.FixedSizeListArray:
    """The same lists, each null list replaced by a list of nulls."""
    import pyarrow.compute as pc

    width = lists.type.list_size
    missing = pa.array(np.repeat(lists.is_null().to_numpy(zero_copy_only=False), width))
    values = lists.values.slice(lists.offset * width, len(lists) * width)
    nothing = pa.scalar(None, lists.type.value_type)
    return pa.FixedSizeListArray.from_arrays(pc.if_else(missing, nothing, values), type=lists.type)


def _arrow_header(schema: pa.Schema) -> str:
    """The Arrow schema as Arrow's own writer would store it."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")


def _votable_header(
    schema: pa.Schema, strings: Mapping[str, _Longest], unknown: Container[str]
) -> str:
    """The VOTable document of VOParquet 1.0: everything about the table, without a DATA element."""
    from xml.etree import ElementTree

    document = ElementTree.Element("VOTABLE", version="1.4", xmlns=VOTABLE_NAMESPACE)
    resource = ElementTree.SubElement(document, "RESOURCE", type="results")
    table = ElementTree.SubElement(resource, "TABLE")
    for field in schema:
        attributes = {"name": field.name, **_votable_type(field, strings)}
        if field.name in unknown:
            attributes["arraysize"] = "*"
        meaning = _meaning(field)
        attributes |= {key: meaning[key] for key in ("ucd", "unit") if key in meaning}
        element = ElementTree.SubElement(table, "FIELD", attributes)
        if "description" in meaning:
            ElementTree.SubElement(element, "DESCRIPTION").text = meaning["description"]
    return ElementTree.tostring(document, encoding="unicode")


def _votable_type(field: pa.Field, strings: Mapping[str, _Longest]) -> dict[str, str]:
    """The `datatype` and `arraysize` of a FIELD.

    Strings get a fixed size: astropy cannot join a header of open-ended strings to its rows.
    A type unknown to VOTable (a date, a struct) is called an open-ended string.
    """
    if field.name in strings:
        longest = strings[field.name]
        kind = "char" if longest.ascii else "unicodeChar"
        return {"datatype": kind, "arraysize": str(longest.n)}
    item, size = field.type, None
    if pa.types.is_fixed_size_list(item):
        item, size = item.value_type, str(item.list_size)
    elif pa.types.is_list(item) or pa.types.is_large_list(item):
        item, size = item.value_type, "*"
    if item not in VOTABLE_TYPES:
        return {"datatype": "char", "arraysize": "*"}
    datatype = {"datatype": VOTABLE_TYPES[item]}
    return datatype if size is None else datatype | {"arraysize": size}


def _meaning(field: pa.Field) -> dict[str, str]:
    """Unit, UCD and description of a field, without the characters that XML cannot hold."""
    metadata = field.metadata or {}
    unknown = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
    return {
        key.decode(): unknown.sub("", value.decode(errors="replace"))
        for key, value in metadata.items()
        if key in (b"unit", b"ucd", b"description")
    }
