"""Ids that readers of targetsel take from damaged files, beside those that are in the files.

Each function says in what the two differ, and nothing where they agree. The files are read here a
second time, as plainly as can be: FITS byte by byte, CSV by Python's own reader, VOTable by a
regular expression. Where that is not possible nothing is said either.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, not an installed one

from targetsel.tables.ids import keys_of

FITS_TYPES = {"L": "?", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


def of_catalog(name: str) -> Callable[[Path], str]:
    def differ(folder: Path) -> str:
        from targetsel.sky.catalog import CatalogFile

        file = CatalogFile.open(folder / name)
        column = file.columns["source_id"]
        taken = [each for piece in file.batches(64) for each in piece.source_id.tolist()]
        return difference(taken, folder / name, column)

    return differ


def of_scored(name: str) -> Callable[[Path], str]:
    def differ(folder: Path) -> str:
        from targetsel.scored.file import ScoredFile

        with ScoredFile(folder / name) as file:
            column = file.names["source_id"]
            taken = [each for piece in file.tables([column]) for each in piece[column].to_pylist()]
        return difference(taken, folder / name, column)

    return differ


def of_targets(name: str) -> Callable[[Path], str]:
    def differ(folder: Path) -> str:
        from targetsel.selection.target_list import TargetList

        table = TargetList.read(folder / name, needs_footer=False).table
        columns = ("source_id", "target_id")
        found = (difference(table[each].to_pylist(), folder / name, each) for each in columns)
        return "".join(found)

    return differ


def of_truth(name: str, scored: str) -> Callable[[Path], str]:
    def differ(folder: Path) -> str:
        from targetsel.scored.file import ScoredFile
        from targetsel.scored.truth import Truth

        with ScoredFile(folder / scored) as file:
            truth = Truth.read(folder / name, file.schema)
        return difference(truth.source_id.tolist(), folder / name, truth.table.column_names[0])

    return differ


def of_excluded(name: str) -> Callable[[Path], str]:
    def differ(folder: Path) -> str:
        from targetsel.sky.external_files import _ids

        taken = _ids(folder / name, "source_id", "source_id", True).keys
        there = read_plainly(folder / name, "source_id")
        if there is None:
            return ""
        whole = [int(each) for each in there if re.fullmatch(r"-?[1-9]\d*|0", each)]
        held = [each for each in whole if -(2**63) <= each < 2**63]
        expected = keys_of(np.array(held, np.int64))
        return "" if set(taken) == set(expected) else f"{len(taken)} keys, not of {there[:9]}"

    return differ


def difference(taken: list[Any], path: Path, column: str) -> str:
    there = read_plainly(path, column)
    if there is None or (ours := [str(each) for each in taken]) == there:
        return ""
    first = next(
        (k for k, (one, other) in enumerate(zip(ours, there, strict=False)) if one != other), -1
    )
    return (
        f"{path.name}, column {column}: {len(ours)} ids taken, {len(there)} there; row {first}: "
        f"{ours[first : first + 3]} taken, {there[first : first + 3]} there"
    )


def read_plainly(path: Path, column: str) -> list[str] | None:
    """The ids in a file as text; None where this reader does not understand it."""
    readers = {".parquet": _parquet, ".fits": _fits, ".xml": _votable}
    with contextlib.suppress(Exception):
        values = readers.get(path.suffix, _csv)(path, column)
        plain = [_plain(each) for each in values]
        return _without_marks([each for each in plain if each is not None])
    return None


def _plain(value: Any) -> str | None:
    """An id as text; whole numbers without a point."""
    if value is None or value != value:
        return None
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return value.strip(" \t\r\n\0")
    return str(int(value)) if value == int(value) else str(value)


def _without_marks(ids: list[str]) -> list[str]:
    """Ids without the b'...' that Python leaves in text files around every one."""
    inside = [re.fullmatch(r"b(['\"])(.*)\1", each) for each in ids]
    return [each[2] for each in inside if each] if all(inside) else ids


def _parquet(path: Path, column: str) -> list[Any]:
    with pq.ParquetFile(path) as file:
        table = file.read()
    return table.column(table.column_names.index(column)).to_pylist()


def _csv(path: Path, column: str) -> Iterator[Any]:
    lines = path.read_text("utf-8-sig").splitlines()
    told = [line for line in lines if line.startswith("#") and "delimiter" in line]
    rows = [line for line in lines if line.strip() and not line.startswith("#")]
    separator = "," if path.suffix == ".csv" or any("','" in line for line in told) else " "
    for row in csv.DictReader(rows, delimiter=separator, skipinitialspace=True):
        yield _number(row[column])


def _votable(path: Path, column: str) -> Iterator[Any]:
    written = path.read_text()
    fields = re.findall(r"<FIELD\s([^>]*)>", written)
    names = [re.search(r'\bname="([^"]*)"', each)[1] for each in fields]  # type: ignore[index]
    at = names.index(column)
    for row in re.findall(r"<TR>(.*?)</TR>", written, re.DOTALL):
        yield _number(re.findall(r"<TD\s*/>|<TD[^>]*>(.*?)</TD>", row, re.DOTALL)[at])


def _number(written: str) -> Any:
    """A number that text means, if it is whole and written with a point or exponent."""
    with contextlib.suppress(InvalidOperation, ValueError, OverflowError):
        if re.fullmatch(r"\s*[-+]?[\d.]+([eE][-+]?\d+)?\s*", written) and "." in written:
            number = Decimal(written.strip())
            return int(number) if number == int(number) else written
    return written.strip() or None


def _fits(path: Path, column: str) -> list[Any]:
    stream = io.BytesIO(path.read_bytes())
    while True:
        header = _header(stream)
        size = abs(header.get("BITPIX", 8)) // 8 if header.get("NAXIS", 0) else 0
        for k in range(1, header.get("NAXIS", 0) + 1):
            size *= header[f"NAXIS{k}"]
        size += header.get("PCOUNT", 0)
        data = stream.read(size)
        stream.seek(-size % 2880, io.SEEK_CUR)
        if header.get("XTENSION", "").strip() == "BINTABLE":
            return _fits_column(header, data, column)


def _header(stream: io.BytesIO) -> dict[str, Any]:
    cards: dict[str, Any] = {}
    while True:
        block = stream.read(2880).decode("ascii")
        if len(block) < 2880:
            raise ValueError("no header")
        for card in (block[k : k + 80] for k in range(0, 2880, 80)):
            if card.rstrip() == "END":
                return cards
            if card[8:10] != "= ":
                continue
            value = card[10:].strip()
            text = re.match(r"'((?:[^']|'')*)'", value)
            value = text[1].rstrip() if text else value.split("/")[0].strip()
            cards[card[:8].strip()] = value if text or value in "TF" else float(value)
            if not text and re.fullmatch(r"[-+]?\d+", value):
                cards[card[:8].strip()] = int(value)


def _fits_column(header: dict[str, Any], data: bytes, column: str) -> list[Any]:
    types = []
    for k in range(1, header["TFIELDS"] + 1):
        count, letter = re.fullmatch(r"(\d*)([LBIJKEDA])", header[f"TFORM{k}"]).groups()  # type: ignore[union-attr]
        count = int(count or 1)
        kind = f"S{count}" if letter == "A" else FITS_TYPES[letter]
        types.append((str(k), kind) if letter == "A" or count == 1 else (str(k), kind, (count,)))
    k = next(k for k in range(1, header["TFIELDS"] + 1) if header[f"TTYPE{k}"] == column)
    rows = np.frombuffer(data, np.dtype(types), header["NAXIS2"])
    values = rows[str(k)].tolist()
    null, scale, zero = (header.get(f"{key}{k}") for key in ("TNULL", "TSCAL", "TZERO"))
    values = [None if each == null else each for each in values]
    if scale is None and zero is None:
        return values
    scale, zero = 1 if scale is None else scale, 0 if zero is None else zero
    return [None if each is None else each * scale + zero for each in values]
