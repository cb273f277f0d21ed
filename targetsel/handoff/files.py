"""Files of tools: FITS tables, text and ECSV.

The same targets give the same bytes, and nothing is half written. FITS tables are read by cfitsio,
which is not their writer, where the package fitsio is installed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.tables.files import written_beside

Card = tuple[str | int | float | bool, str]  # value and comment


@dataclass(frozen=True)
class FitsColumn:
    """A FITS column; its format follows from the dtype of `values`: i2 i4 i8 f4 f8 bool S<n>.

    Strings may also be given as Python or NumPy text, if it is ASCII; their width is that of the
    longest unless `width` says otherwise.
    """

    name: str
    values: np.ndarray
    unit: str = ""
    comment: str = ""
    width: int = 0


def write_fits(
    path: Path,
    columns: Sequence[FitsColumn],
    extname: str,
    cards: Mapping[str, Card] | None = None,
) -> None:
    """Write one binary table as the first extension, without a date.

    Parameters
    ----------
    path : Path
    columns : sequence of FitsColumn
    extname : str
    cards : mapping, optional
        Further header cards of the extension: keyword to (value, comment).
    """
    table = fits.BinTableHDU.from_columns([_fits_column(each) for each in columns], name=extname)
    for place, column in enumerate(columns, start=1):
        if column.comment:
            table.header.comments[f"TTYPE{place}"] = column.comment
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
    """The columns of a binary table, and who read them: cfitsio where fitsio is installed.

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


def _fits_column(column: FitsColumn) -> fits.Column:
    values = np.asarray(column.values)
    if values.dtype.kind in "OUS":
        encoded = np.array(
            [_ascii(each, f"the column {column.name}") for each in values.tolist()], dtype="S"
        )
        width = max(column.width, encoded.dtype.itemsize, 1)
        return fits.Column(column.name, f"{width}A", column.unit or None, array=encoded)
    letter = {"i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "b1": "L"}[
        values.dtype.str[1:]
    ]
    count = "" if values.ndim == 1 else str(values.shape[1])
    return fits.Column(column.name, count + letter, column.unit or None, array=values)


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
    """In the machine's byte order; strings as text without trailing blanks."""
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
