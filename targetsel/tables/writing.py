"""Tables for other programs: FITS, VOTable, ECSV and CSV, made of a Parquet file.

Units, UCDs and descriptions go along where the format has a place for them, and so does the
provenance, as the keyword TARGSEL of FITS, the INFO `targetsel` of VOTable and the metadata of
ECSV. Beside it (`SCHEMA`) stands the table's Arrow schema, packed, so that our commands read these
files as they read Parquet. Whole numbers stay whole numbers, with nulls as the format has them.
FITS has no null for true and false, nor for text: such columns are written as 1, 0 and null, and
as empty text. Lists of text become text with commas. CSV has no lists of numbers, and no place for
what is said of the table: columns of such lists are left out there.

FITS and CSV are written a piece at a time; VOTable and ECSV need the whole table in memory, about
`MEMORY` times the size of the file.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import OutputError
from targetsel.tables.files import table_format
from targetsel.tables.notes import SCHEMA, packed_schema
from targetsel.tables.streamed_writing import (
    FitsColumn,
    pieces_of,
    write_csv_table,
    write_fits_table,
)
from targetsel.tables.types import held, is_list

if TYPE_CHECKING:
    from astropy.table import Table

WORTH_SAYING = 100_000_000  # bytes of a file whose memory is told
MEMORY = {"votable": 4, "ascii.ecsv": 7}  # times the size of the file


def convert_table(parquet: Path, path: Path, kind: str, footer: Mapping[str, Any]) -> None:
    """Turn a Parquet file into a table of another format, in its place.

    Parameters
    ----------
    parquet : Path
        The file to convert; the result replaces it.
    path : Path
        The name that the file will have, for errors; with .gz behind, the result is compressed.
    kind : str
        astropy's name of the format.
    footer : mapping
        Provenance.

    Raises
    ------
    OutputError
        If the format cannot hold a column.
    """
    schema = pq.read_schema(parquet)
    _check_columns(schema, path, kind, lambda names: pieces_of(parquet, names))
    told = json.dumps(footer, sort_keys=True)
    packed = packed_schema(schema.remove_metadata()) if footer else ""
    beside = parquet.with_name(f"{parquet.name}.{kind}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of units that a format spells in its own way
            if kind == "fits":
                columns = _fits_columns(parquet, schema)
                write_fits_table(
                    parquet, beside, _masked_pieces(parquet, kind), columns, (told, packed)
                )
            elif kind == "ascii.csv":
                names = [each.name for each in schema if not left_out_of_csv(each.type)]
                write_csv_table(pieces_of(parquet), beside, names)
            else:
                table = as_astropy(pq.read_table(parquet), path, kind)
                _write(table, beside, kind, told, packed)
        if path.suffix.lower() == ".gz":
            _compress(beside)
        os.replace(beside, parquet)
    finally:
        beside.unlink(missing_ok=True)


def format_note(path: Path) -> str:
    """A sentence on the limits of a table of this ending; empty where it has none."""
    kind = table_format(path)
    if kind == "ascii.csv":
        return (
            "CSV has no place for lists of numbers, such as posteriors, nor for the provenance: "
            "they are left out, and rules cannot be evaluated on it"
        )
    if kind in MEMORY and path.exists() and path.stat().st_size > WORTH_SAYING:
        name = kind.removeprefix("ascii.")
        return (
            f"{'VOTable' if name == 'votable' else 'ECSV'} was made in memory, of about "
            f"{MEMORY[kind]} times the file's size; FITS and CSV are written piece by piece"
        )
    return ""


def left_out_of_csv(kind: pa.DataType) -> bool:
    """Whether CSV has no place for values of this type."""
    return is_list(kind) and not pa.types.is_string(kind.value_type)


def _compress(path: Path) -> None:
    packed = path.with_name(f"{path.name}.gz")
    try:
        with (
            path.open("rb") as plain,
            packed.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream,
        ):
            shutil.copyfileobj(plain, stream)
        os.replace(packed, path)
    finally:
        packed.unlink(missing_ok=True)


def _check_columns(
    schema: pa.Schema,
    path: Path,
    kind: str,
    pieces: Callable[[list[str]], Iterable[pa.Table]],
) -> None:
    """Refuse columns that the format cannot hold; `pieces` gives the rows of some columns."""
    empty = schema.empty_table()
    seen: dict[str, str] = {
        name: held(schema.field(name).type)
        for name in schema.names
        if _values(empty[name], kind) is None
        and not (kind == "ascii.csv" and left_out_of_csv(schema.field(name).type))
    }
    watched = [
        each.name
        for each in schema
        if (each.type == pa.uint64() and kind != "ascii.csv")
        or (kind == "fits" and _is_text(each.type))
    ]
    for piece in pieces(watched) if watched and not seen else ():
        for name in watched:
            if piece.schema.field(name).type == pa.uint64():
                if _beyond_int64(piece[name]):
                    seen.setdefault(name, "whole numbers of 2^63 or more")
            elif not _is_ascii(piece[name]):
                seen.setdefault(name, "text beyond ASCII")
    for name in schema.names:
        if name in seen:
            raise OutputError(
                f"{path}, column '{name}': holds {seen[name]}, for which "
                f"{kind.removeprefix('ascii.').upper()} has no place. Write Parquet (.parquet), "
                "which holds everything."
            )


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or (
        pa.types.is_list(kind) and pa.types.is_string(kind.value_type)
    )


def _is_ascii(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    text = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    return pc.all(pc.string_is_ascii(text)).as_py() is not False


def _masked_pieces(parquet: Path, kind: str) -> Iterator[dict[str, np.ma.MaskedArray]]:
    """The values of all columns, some rows at a time."""
    for piece in pieces_of(parquet):
        found = {name: _values(piece[name], kind) for name in piece.column_names}
        yield {name: values for name, values in found.items() if values is not None}


def _fits_columns(parquet: Path, schema: pa.Schema) -> dict[str, FitsColumn]:
    """The FITS column of each field, its format found from all values."""
    columns = {each.name: FitsColumn(each.name, words=_keywords(each)) for each in schema}
    empty = schema.empty_table()
    for name, column in columns.items():
        values = _values(empty[name], "fits")
        assert values is not None  # as `_check_columns` saw
        column.see(values)
    nulls: dict[str, set[int]] = {}
    for piece in _masked_pieces(parquet, "fits"):
        for name, values in piece.items():
            columns[name].see(values)
            if values.dtype.kind == "i" and np.ma.getmaskarray(values).any():
                nulls.setdefault(name, set())
    for name in nulls:
        columns[name].null = _free_number(parquet, name, columns[name].kind)
    return columns


def _free_number(parquet: Path, name: str, kind: str) -> int:
    """The lowest number of a type, or the first above it, that is no value of the column."""
    null = int(np.iinfo(kind).min)
    with pq.ParquetFile(parquet) as file:
        low: set[int] = set()
        for batch in file.iter_batches(columns=[name]):
            values = _values(batch[name], "fits")
            assert values is not None
            known = values.compressed()
            low.update(known[known < null + 1_000_000].tolist())
    while null in low:
        null += 1
    return null


def _keywords(field: pa.Field) -> list[tuple[str, str]]:
    notes = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
    words = [("TUNIT", _fits_unit(notes.get("unit", "")))]
    words += [("TUCD", notes.get("ucd", "")), ("TCOMM", notes.get("description", ""))]
    return [(keyword, text) for keyword, text in words if text]


def _fits_unit(unit: str) -> str:
    """A unit as FITS spells it, where it can."""
    if not unit:
        return ""
    from astropy import units

    try:
        return units.Unit(unit).to_string("fits")
    except ValueError:
        return unit


def has_place(column: pa.ChunkedArray) -> bool:
    """Whether astropy has a type for the values of a column."""
    return not _beyond_int64(column) and _values(column.slice(0, 1), "votable") is not None


def as_astropy(rows: pa.Table, path: Path, kind: str) -> Table:
    """Rows as an astropy table that the format `kind` can hold.

    Raises
    ------
    OutputError
        If it cannot hold a column; `path` is where it is from.
    """
    from astropy.table import MaskedColumn, Table

    _check_columns(rows.schema, path, kind, lambda names: [rows.select(names)])
    table = Table()
    for field in rows.schema:
        notes = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        values = _values(rows[field.name].combine_chunks(), kind)
        assert values is not None  # as `_check_columns` saw
        column = MaskedColumn(
            values, unit=notes.get("unit") or None, description=notes.get("description")
        )
        if np.ma.getmaskarray(values).any() and column.dtype.kind == "i":
            column.fill_value = values.fill_value
        column.meta = {"ucd": notes["ucd"]} if "ucd" in notes else {}
        table[field.name] = column
    return table


def _beyond_int64(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return column.type == pa.uint64() and (pc.max(column).as_py() or 0) >= 2**63


def _values(column: pa.Array | pa.ChunkedArray, kind: str) -> np.ma.MaskedArray | None:
    """The values of a column, masked where they are null; None for a type without counterpart."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    missing = np.asarray(column.is_null())
    type_ = column.type
    if pa.types.is_fixed_size_list(type_):
        flat = column.flatten() if not column.null_count else None
        inner = None if flat is None else _values(flat, kind)
        return None if inner is None else inner.reshape(len(column), type_.list_size)
    if pa.types.is_list(type_) and pa.types.is_string(type_.value_type):
        words_of = (None if each is None else ",".join(each) for each in column.to_pylist())
        column = pa.array(list(words_of), pa.string())
        type_ = column.type
    if pa.types.is_boolean(type_):
        if kind == "fits" and missing.any():
            return _values(column.cast(pa.int16()), kind)
        return np.ma.array(np.asarray(column.fill_null(False)), mask=missing)
    if pa.types.is_string(type_) or pa.types.is_date(type_) or pa.types.is_timestamp(type_):
        words = column.cast(pa.string()).fill_null("").to_pylist()
        return np.ma.array(np.array(words, dtype=str), mask=missing & (kind != "fits"))
    if pa.types.is_integer(type_):
        return _whole_numbers(column, missing)
    if pa.types.is_floating(type_):
        width = pa.float64() if type_ == pa.float64() else pa.float32()
        return np.ma.array(np.asarray(column.cast(width).fill_null(np.nan)))
    return None


def _whole_numbers(column: pa.Array, missing: np.ndarray) -> np.ma.MaskedArray:
    """Whole numbers as the narrowest signed type that VOTable and FITS both have.

    Their null is the lowest number of the type, or the first above it that is not a value.
    """
    widths = {pa.int8(): pa.int16(), pa.uint8(): pa.int16(), pa.uint16(): pa.int32()}
    wide = widths.get(column.type, column.type)
    if pa.types.is_unsigned_integer(wide):
        wide = pa.int64()
    values = np.asarray(column.cast(wide).fill_null(0))
    null = int(np.iinfo(values.dtype).min)
    while missing.any() and (values[~missing] == null).any():
        null += 1
    return np.ma.array(values, mask=missing, fill_value=null)


def _write(table: Table, path: Path, kind: str, footer: str, packed: str) -> None:
    if kind == "votable":
        from astropy.io.votable import from_table
        from astropy.io.votable.tree import Info

        document = from_table(table)
        infos = document.get_first_table().infos
        infos.append(Info(name="targetsel", value=footer))
        if packed:
            infos.append(Info(name=SCHEMA, value=packed))
        document.to_xml(str(path))
    else:
        table.meta["targetsel"] = footer
        if packed:
            table.meta[SCHEMA] = packed
        table.write(path, format=kind, overwrite=True)
