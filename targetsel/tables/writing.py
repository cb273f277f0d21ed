"""Tables for other programs: FITS, VOTable, ECSV and CSV, made of a Parquet file.

Units, UCDs and descriptions go along where the format has a place for them, and so does the
provenance, as the keyword TARGSEL of FITS, the INFO `targetsel` of VOTable and the metadata of
ECSV. Whole numbers stay whole numbers, with nulls as the format has them. FITS has no null for
true and false, nor for text: such columns are written as 1, 0 and null, and as empty text. Lists
of text become text with commas; CSV has no lists of numbers.
"""

from __future__ import annotations

import gzip
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import OutputError
from targetsel.tables.types import held

if TYPE_CHECKING:
    from astropy.table import Table

KEYWORD = "TARGSEL"  # of the provenance in FITS


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
    table = as_astropy(pq.read_table(parquet), path, kind)
    beside = parquet.with_name(f"{parquet.name}.{kind}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of units that a format spells in its own way
            _write(table, beside, kind, json.dumps(footer, sort_keys=True))
        if path.suffix.lower() == ".gz":
            beside.write_bytes(gzip.compress(beside.read_bytes(), mtime=0))
        os.replace(beside, parquet)
    finally:
        beside.unlink(missing_ok=True)


def as_astropy(rows: pa.Table, path: Path, kind: str) -> Table:
    """Rows as an astropy table that the format `kind` can hold.

    Raises
    ------
    OutputError
        If it cannot hold a column; `path` is where it is from.
    """
    from astropy.table import MaskedColumn, Table

    table = Table()
    for field in rows.schema:
        notes = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        huge = _beyond_int64(rows[field.name])
        values = None if huge else _values(rows[field.name].combine_chunks(), kind)
        what = ""
        if huge:
            what = "whole numbers of 2^63 or more"
        elif values is None or (kind == "ascii.csv" and values.ndim > 1):
            what = held(field.type)
        elif kind == "fits" and values.dtype.kind == "U" and not "".join(values.data).isascii():
            what = "text beyond ASCII"
        if what or values is None:
            raise OutputError(
                f"{path}, column '{field.name}': holds {what}, for which "
                f"{kind.removeprefix('ascii.').upper()} has no place. Write Parquet (.parquet), "
                "which holds everything."
            )
        column = MaskedColumn(
            values, unit=notes.get("unit") or None, description=notes.get("description")
        )
        if np.ma.getmaskarray(values).any() and values.dtype.kind == "i":
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
        column = pa.array([None if each is None else ",".join(each) for each in column.to_pylist()])
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


def _write(table: Table, path: Path, kind: str, footer: str) -> None:
    if kind == "fits":
        from astropy.io import fits

        hdu = fits.table_to_hdu(table)
        for number, name in enumerate(table.colnames, start=1):
            column = table[name]
            for keyword, text in (("TUCD", column.meta.get("ucd")), ("TCOMM", column.description)):
                if text:
                    hdu.header[f"{keyword}{number}"] = text.encode("ascii", "replace").decode()
        hdu.header[KEYWORD] = footer
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, output_verify="fix")
    elif kind == "votable":
        from astropy.io.votable import from_table
        from astropy.io.votable.tree import Info

        document = from_table(table)
        document.get_first_table().infos.append(Info(name="targetsel", value=footer))
        document.to_xml(str(path))
    else:
        if kind == "ascii.ecsv":
            table.meta["targetsel"] = footer
        table.write(path, format=kind, overwrite=True)
