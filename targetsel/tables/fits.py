"""FITS files, whose headers are checked before a library reads them.

A header says how many bytes follow it. Where those figures are wrong, readers take other bytes for
data, ask for more memory than there is, or never end. So every header's figures are held against
the file's length first (FITS standard 4.0, section 4.4.1 and appendix A).
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from targetsel.errors import CatalogError, TargetselError
from targetsel.tables.reading import reading

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

BLOCK = 2880  # bytes
CARD = 80  # characters
BITPIX = (8, 16, 32, 64, -32, -64)
# Far above real files: the longest headers are those of processing histories.
MOST_BLOCKS_OF_HEADER = 4000
MOST_EXTENSIONS = 100_000
# A file that is packed more tightly than any real one is made to fill memory.
MOST_PACKED = 100  # bytes of contents per byte of the file
ALWAYS_UNPACKED = 256 * 1024**2  # bytes
LARGEST_IMAGE = 4 * 1024**3  # bytes
_NUMBER = re.compile(r"\s*([+-]?\d+)\s*(?:/.*)?")
COLUMN_FORMAT = re.compile(r"\s*(\d*)\s*([LXBIJKAEDCMPQ])")
_BYTES = dict(zip("LBIJKAEDCMPQ", (1, 1, 2, 4, 8, 1, 4, 8, 8, 16, 8, 16), strict=True))


@contextlib.contextmanager
def open_fits(
    source: Path | bytes,
    error: type[TargetselError] = CatalogError,
    place: Path | str | None = None,
) -> Iterator[HDUList]:
    """A FITS file, compressed by gzip or not, whose headers agree with its length.

    Parameters
    ----------
    source : Path or bytes
        A file, or its contents.
    error : type
        Class of the errors.
    place : Path or str, optional
        Name of the file in errors; needed for contents.

    Yields
    ------
    HDUList
        Not mapped into memory. What astropy raises while it reads a unit's data is for the
        caller to convert, with `reading`.

    Raises
    ------
    TargetselError
        Of class `error`, if the file is missing, or its headers are damaged or tell of more than
        there is.
    """
    from astropy.io import fits

    named = place if place is not None else source if isinstance(source, Path) else "FITS data"
    with contextlib.ExitStack() as opened:
        with reading(named, error, "a FITS file"):
            stream = plain_stream(source, named, error)
            opened.callback(stream.close)
            check_headers(stream, named, error)
            stream.seek(0)
            hdus = opened.enter_context(
                fits.open(stream, memmap=False, lazy_load_hdus=False, ignore_missing_simple=False)
            )
        yield hdus


def plain_stream(source: Path | bytes, place: Path | str, error: type[TargetselError]) -> IO[bytes]:
    """The bytes of a file, or of contents, decompressed where they are compressed by gzip.

    Raises
    ------
    TargetselError
        Of class `error`, if they would take far more memory than the file's size lets expect.
    """
    if isinstance(source, bytes):
        stream: IO[bytes] = io.BytesIO(source)
    else:
        stream = open(source, "rb")  # noqa: SIM115  (closed by `open_fits`)
    start = stream.read(2)
    stream.seek(0)
    if start != b"\x1f\x8b":
        return stream
    most = most_unpacked(stream.seek(0, io.SEEK_END))
    stream.seek(0)
    with stream, gzip.GzipFile(fileobj=stream) as packed:
        contents = packed.read(most + 1)
    if len(contents) > most:
        raise packed_too_tightly(place, error)
    return io.BytesIO(contents)


def most_unpacked(size: int) -> int:
    """Bytes that a compressed file of this size [bytes] may hold."""
    return max(ALWAYS_UNPACKED, MOST_PACKED * size)


def packed_too_tightly(place: Path | str, error: type[TargetselError]) -> TargetselError:
    """The error for a file that holds more than `most_unpacked`."""
    return error(
        f"{place}: holds over {MOST_PACKED} times its size when decompressed, which no real table "
        "or image does. Decompress it yourself if it is what you mean."
    )


def check_headers(stream: IO[bytes], place: Path | str, error: type[TargetselError]) -> None:
    """Refuse a FITS file one of whose headers is damaged, or tells of more data than there is.

    Parameters
    ----------
    stream : binary file
        Read from its start.
    place : Path or str
        Name in errors.

    Raises
    ------
    TargetselError
        Of class `error`, with the extension and its keyword.
    """
    length = stream.seek(0, io.SEEK_END)
    start = 0
    for number in range(MOST_EXTENSIONS):
        stream.seek(start)
        where = f"{place}, extension {number}"
        first = stream.read(8)
        if number and first != b"XTENSION":
            return  # special records or padding may follow the last extension
        if not number and not first.startswith(b"SIMPLE"):
            raise error(f"{place}: not a FITS file; expected one that begins with SIMPLE.")
        stream.seek(start)
        values, end_of_header = _header(stream, where, error)
        n_bytes = _data_bytes(values, where, error)
        if end_of_header + n_bytes > length:
            raise error(
                f"{where}: its header tells of {n_bytes} bytes of data, but the file has "
                f"{max(length - end_of_header, 0)}. It is damaged or cut short; copy it again."
            )
        _check_table(values, where, error)
        start = end_of_header + math.ceil(n_bytes / BLOCK) * BLOCK
        if start >= length:
            return
    raise error(
        f"{place}: has more than {MOST_EXTENSIONS} extensions. It is damaged; copy it again."
    )


def _header(
    stream: IO[bytes], where: str, error: type[TargetselError]
) -> tuple[dict[str, str], int]:
    """The values of one header's cards as text, and the place of the first byte after it."""
    values: dict[str, str] = {}
    for _ in range(MOST_BLOCKS_OF_HEADER):
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise error(f"{where}: its header is cut short. Copy the file again.")
        for at in range(0, BLOCK, CARD):
            card = block[at : at + CARD].decode("latin-1")
            keyword = card[:8].rstrip()
            if keyword == "END":
                return values, stream.tell()
            if card[8:9] == "=":
                values.setdefault(keyword, card[9:])
    raise error(f"{where}: its header does not end. The file is damaged; copy it again.")


def _whole(
    values: dict[str, str], keyword: str, where: str, error: type[TargetselError], least: int = 0
) -> int:
    """The whole number of a card, not below `least`."""
    found = _NUMBER.fullmatch(values.get(keyword, ""))
    if found is None or int(found[1]) < least:
        value = values.get(keyword, "missing").split("/")[0].strip()
        raise error(
            f"{where}: {keyword} is {value}; expected a whole number of {least} or more. "
            "The file is damaged; copy it again."
        )
    return int(found[1])


def _data_bytes(values: dict[str, str], where: str, error: type[TargetselError]) -> int:
    """Bytes of data that a header tells of: equation 2 of the FITS standard."""
    bitpix = _whole(values, "BITPIX", where, error, least=-64)
    if bitpix not in BITPIX:
        raise error(f"{where}: BITPIX is {bitpix}; expected one of {', '.join(map(str, BITPIX))}.")
    naxis = _whole(values, "NAXIS", where, error)
    if naxis > 999:
        raise error(f"{where}: NAXIS is {naxis}; expected at most 999.")
    if not naxis:
        return 0
    axes = [_whole(values, f"NAXIS{n}", where, error) for n in range(1, naxis + 1)]
    groups = axes[0] == 0 and values.get("GROUPS", "").strip().startswith("T")
    size = math.prod(axes[1:] if groups else axes)
    pcount = _whole(values, "PCOUNT", where, error) if "PCOUNT" in values else 0
    gcount = _whole(values, "GCOUNT", where, error) if "GCOUNT" in values else 1
    return abs(bitpix) // 8 * gcount * (pcount + size)


def _check_table(values: dict[str, str], where: str, error: type[TargetselError]) -> None:
    """Refuse a binary table whose columns do not fill its rows, and too large a packed image."""
    if "BINTABLE" not in values.get("XTENSION", ""):
        return
    if values.get("ZTABLE", "").strip().startswith("T"):
        raise error(f"{where}: is a table compressed by fpack. Decompress the file with funpack.")
    n_columns = _whole(values, "TFIELDS", where, error)
    if n_columns > 999:
        raise error(f"{where}: TFIELDS is {n_columns}; expected at most 999.")
    width = 0
    for n in range(1, n_columns + 1):
        written = values.get(f"TFORM{n}", "").strip().strip("'")
        found = COLUMN_FORMAT.match(written)
        if found is None:
            raise error(
                f"{where}: TFORM{n} is '{written.strip()}', which is no column format. Write the "
                "table again with a program that follows the FITS standard."
            )
        repeat = int(found[1] or 1)
        width += math.ceil(repeat / 8) if found[2] == "X" else repeat * _BYTES[found[2]]
    if width != _whole(values, "NAXIS1", where, error):
        raise error(
            f"{where}: its columns take {width} bytes a row, not NAXIS1 = "
            f"{values['NAXIS1'].split('/')[0].strip()}. The file is damaged; copy it again."
        )
    if values.get("ZIMAGE", "").strip().startswith("T"):
        naxis = min(_whole(values, "ZNAXIS", where, error), 999)
        axes = [_whole(values, f"ZNAXIS{n}", where, error) for n in range(1, naxis + 1)]
        n_bytes = abs(_whole(values, "ZBITPIX", where, error, least=-64)) // 8 * math.prod(axes)
        if n_bytes > LARGEST_IMAGE:
            raise error(
                f"{where}: its image would take {n_bytes} bytes of memory, expected at most "
                f"{LARGEST_IMAGE}."
            )
