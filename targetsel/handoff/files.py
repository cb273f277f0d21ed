"""Files of tools: FITS tables, text and ECSV.

The same targets give the same bytes, and nothing is half written. FITS tables are read by cfitsio,
which is not their writer, where the package fitsio is installed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.tables.files import written_beside

Card = tuple[str | int | float | bool, str]  # value and comment


def write_fits(
    path: Path,
    columns: Mapping[str, tuple[str, ...]],
    values: Mapping[str, Any],
    extname: str,
    cards: Mapping[str, Card] | None = None,
) -> None:
    """Write one binary table as the first extension, without a date.

    Parameters
    ----------
    path : Path
    columns : mapping
        The table's columns in their order: name to type, unit and comment, of which the last ones
        may be missing. Types are i2, i4, i8, f4, f8, b1, and S for ASCII text, which S12 makes at
        least 12 characters wide.
    values : mapping
        An array of N rows for each column, or one value for all rows.
    extname : str
    cards : mapping, optional
        Further header cards of the extension: keyword to (value, comment).
    """
    n = max(len(each) for each in values.values() if isinstance(each, np.ndarray))
    table = fits.BinTableHDU.from_columns(
        [_fits_column(name, each, values[name], n) for name, each in columns.items()], name=extname
    )
    for place, (_, *about) in enumerate(columns.values(), start=1):
        if len(about) > 1:
            table.header.comments[f"TTYPE{place}"] = about[1]
    for keyword, card in (cards or {}).items():
        value, comment = card
        if isinstance(value, str):
            value = _ascii(value, f"the card {keyword}").decode()
        table.header[keyword] = value, comment
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    with written_beside(path) as beside:
        beside.write_bytes(stream.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 with Unix line ends."""
    with written_beside(path) as beside:
        beside.write_bytes(text.encode("utf-8"))


def write_ecsv(path: Path, table: Table) -> None:
    """Write a table as ECSV (commas between values)."""
    stream = io.StringIO()
    table.write(stream, format="ascii.ecsv", delimiter=",")
    write_text(path, stream.getvalue())


def read_fits(path: Path, extension: int | str = 1) -> tuple[Mapping[str, np.ndarray], str]:
    """The columns of a binary table, and the reader: cfitsio where fitsio is installed.

    Raises
    ------
    HandoffError
        If the file is missing, damaged, or has no such table.
    """
    try:
        import fitsio
    except ImportError:
        return _read_with_astropy(path, extension), f"astropy {version('astropy')}"
    try:
        rows = fitsio.read(str(path), ext=extension)
    except OSError as error:
        raise _unreadable(path, extension, error) from error
    return {name: _native(rows[name]) for name in rows.dtype.names}, f"fitsio {version('fitsio')}"


def _fits_column(name: str, about: tuple[str, ...], values: Any, n: int) -> fits.Column:
    kind, unit = about[0], about[1] if len(about) > 1 else ""
    rows = np.asarray(values)
    if rows.ndim == 0:
        rows = np.full(n, values, dtype=object if kind[0] == "S" else None)
    if kind[0] == "S":
        rows = np.array([_ascii(each, f"the column {name}") for each in rows.tolist()], dtype="S")
        form = f"{max(int(kind[1:] or 1), rows.dtype.itemsize)}A"
    else:
        rows = rows.astype(kind)
        count = "" if rows.ndim == 1 else str(rows.shape[1])
        form = count + {"i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "b1": "L"}[kind]
    return fits.Column(name, form, unit or None, array=rows)


def _ascii(text: str | bytes, place: str) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return str(text).encode("ascii")
    except UnicodeEncodeError:
        raise HandoffError(f"'{text}' in {place}: FITS takes ASCII only.") from None


def _read_with_astropy(path: Path, extension: int | str) -> dict[str, np.ndarray]:
    try:
        with fits.open(path, memmap=False) as hdus:
            rows = hdus[extension].data
            return {name: _native(np.asarray(rows[name])) for name in rows.dtype.names}
    except (OSError, KeyError, IndexError, AttributeError) as error:
        raise _unreadable(path, extension, error) from error


def _native(values: np.ndarray) -> np.ndarray:
    """The array in native byte order; strings as text without trailing blanks."""
    if values.dtype.kind in "SU":
        return np.char.rstrip(values.astype(str))
    return values.astype(values.dtype.newbyteorder("="))


def _unreadable(path: Path, extension: int | str, error: Exception) -> HandoffError:
    if not Path(path).is_file():
        return HandoffError(f"{path}: no such file.")
    reason = " ".join(str(error).split())
    return HandoffError(
        f"{path}: not a FITS file with a table in extension {extension} ({reason})."
    )
