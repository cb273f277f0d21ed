"""FITS binary tables and CSV written a piece at a time, from a Parquet file.

What a header must say of all rows, the width of text and the number that stands for null, is found
in a first pass over those columns.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.tasks import tracked

ROWS_AT_ONCE = 16_384
# Of the provenance in FITS, and of the table's Arrow schema.
KEYWORD, SCHEMA_KEYWORD = "TARGSEL", "TARGSCHM"
BLOCK = 2880  # bytes of FITS
_CODES = {
    "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "b1": "L"
}  # fmt: skip


@dataclass
class FitsColumn:
    """One column of a binary table, from its values piece by piece.

    Attributes
    ----------
    name : str
    kind : str
        numpy's kind and size without byte order, such as "f4"; "S" for text.
    width : int
        Of text, in bytes.
    shape : tuple of int
        Of the value of a row.
    null : int or None
        The whole number that stands for null.
    words : list of (str, str)
        Further keywords, such as ("TUNIT", "mag").
    """

    name: str
    kind: str = ""
    width: int = 1
    shape: tuple[int, ...] = ()
    null: int | None = None
    words: list[tuple[str, str]] = field(default_factory=list)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype((f"S{self.width}" if self.kind == "S" else f">{self.kind}", self.shape))

    @property
    def format(self) -> str:
        if self.kind == "S":
            return f"{self.width}A"
        repeat = int(np.prod(self.shape)) if self.shape else 1
        return f"{repeat}{_CODES[self.kind]}" if repeat != 1 else _CODES[self.kind]

    def see(self, values: np.ma.MaskedArray) -> None:
        """Take note of some values of the column."""
        if values.dtype.kind == "U":
            self.kind = "S"
            longest = np.char.str_len(values.data).max(initial=0) if values.size else 0
            self.width = max(self.width, int(longest))
            return
        kind = f"{values.dtype.kind}{values.dtype.itemsize}"
        # Pieces without a null are true and false, others whole numbers: of both, these.
        self.kind = kind if self.kind in ("", "b1") else self.kind
        self.shape = values.shape[1:]

    def bytes_of(self, values: np.ma.MaskedArray) -> np.ndarray:
        """Some values as they stand in the file."""
        if self.kind == "S":
            return values.data.astype(f"S{self.width}")
        plain = values.data
        if self.kind == "b1":
            return np.where(plain, ord("T"), ord("F")).astype("u1").view(">b1")
        if self.null is not None:
            plain = plain.astype(f"i{self.kind[1:]}")
            plain = np.where(np.ma.getmaskarray(values), self.null, plain)
        return plain.astype(self.dtype.base)


def write_fits_table(
    parquet: Path,
    path: Path,
    pieces: Iterable[Mapping[str, np.ma.MaskedArray]],
    columns: Mapping[str, FitsColumn],
    footers: tuple[str, str],
) -> None:
    """Write the rows as the first extension of a FITS file.

    Parameters
    ----------
    parquet : Path
        Where the rows are from; for their number.
    pieces : iterable of mapping
        Values by column, some rows at a time.
    columns : mapping of FitsColumn
        After they have seen all values.
    footers : (str, str)
        Provenance, and the Arrow schema or nothing.
    """
    from astropy.io import fits

    kinds = [(name, each.dtype) for name, each in columns.items()]
    n_rows = pq.read_metadata(parquet).num_rows
    width = sum(kind.itemsize for _, kind in kinds)
    header = fits.Header()
    header["XTENSION"], header["BITPIX"], header["NAXIS"] = "BINTABLE", 8, 2
    header["NAXIS1"], header["NAXIS2"] = width, n_rows
    header["PCOUNT"], header["GCOUNT"], header["TFIELDS"] = 0, 1, len(columns)
    for number, (name, each) in enumerate(columns.items(), start=1):
        header[f"TTYPE{number}"], header[f"TFORM{number}"] = name, each.format
        if each.null is not None:
            header[f"TNULL{number}"] = each.null
        for keyword, text in each.words:
            header[f"{keyword}{number}"] = text.encode("ascii", "replace").decode()
    header[KEYWORD] = footers[0]
    if footers[1]:
        header[SCHEMA_KEYWORD] = footers[1]
    with path.open("wb") as stream:
        stream.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
        stream.write(header.tostring().encode("ascii"))
        for piece in pieces:
            rows = np.empty(len(next(iter(piece.values()))) if piece else 0, dtype=kinds)
            for name, each in columns.items():
                rows[name] = each.bytes_of(piece[name])
            stream.write(rows.tobytes())
        stream.write(b"\0" * (-n_rows * width % BLOCK))


def write_csv_table(pieces: Iterable[pa.Table], path: Path, names: list[str]) -> None:
    """Write rows as CSV; null and numbers that are not known are empty."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        for piece in pieces:
            writer.writerows(zip(*(_words(piece[name]) for name in names), strict=True))


def _words(column: pa.ChunkedArray) -> list[Any]:
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if pa.types.is_list(column.type):
        return [None if each is None else ",".join(each) for each in column.to_pylist()]
    return column.cast(pa.string()).to_pylist()


def pieces_of(parquet: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a Parquet file, some thousands at a time; by default all columns."""
    with pq.ParquetFile(parquet) as file:
        batches = file.iter_batches(ROWS_AT_ONCE, columns=columns)
        for batch in tracked(batches, "converting", file.metadata.num_rows, size=len):
            yield pa.Table.from_batches([batch])
