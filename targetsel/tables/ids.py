"""Ids of sources: joined between files, and hashed into everything that looks random.

Draws, tie-breaks and samples are a hash of the source's id, a seed and a purpose, so that they do
not change with a row's place or its neighbours.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, TargetselError
from targetsel.tables.types import held, is_bytes, is_text

if TYPE_CHECKING:
    from pandas import Index


# From here on floats skip whole numbers.
EXACT_IN_FLOATS = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}


def exact_id_type(
    column: pa.Field, place: Path | str, error: type[TargetselError] = CatalogError
) -> pa.DataType:
    """The type that `exact_ids` gives a column: int64 or string.

    Raises
    ------
    TargetselError
        Of class `error`, if the column can hold no ids.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    whole = pa.types.is_decimal(kind) and kind.scale == 0
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or whole:
        return pa.int64()
    if is_text(kind) or is_bytes(kind):
        return pa.string()
    raise error(
        f"{place}, column '{column.name}': holds {held(column.type)}; expected ids, whole "
        "numbers or text. Name another column."
    )


def exact_ids(
    values: pa.ChunkedArray | pa.Array,
    name: str,
    place: Path | str,
    error: type[TargetselError] = CatalogError,
) -> pa.Array:
    """Ids as they are meant, whatever the file kept them in: int64 or string, nulls kept.

    Bytes become text; blanks and NULs around text go, as do ``b'...'`` around every id, which
    Python leaves in text files. Floats become whole numbers where they hold them exactly, and
    null where they are NaN, which stands for a missing whole number there.

    Parameters
    ----------
    values : Arrow array
    name : str
        Name of the column, for errors.
    place : Path or str
        Name of the file, for errors.
    error : type
        Class of the errors.

    Raises
    ------
    TargetselError
        If an id is a fraction, infinite, beyond the whole numbers that its floats hold exactly,
        2^63 or more, not UTF-8, or the column can hold no ids.
    """
    kind = exact_id_type(pa.field(name, values.type), place, error)
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], values.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind == pa.string():
        return _text_ids(array, name, place, error)
    if pa.types.is_floating(array.type):
        import pyarrow.compute as pc

        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
        _check_exact(array, name, place, error)
    try:
        return array.cast(pa.int64())
    except pa.ArrowInvalid as fault:
        raise error(
            f"{place}, column '{name}': has ids of 2^63 or more ({fault}). Store them as text."
        ) from fault


def _check_exact(
    array: pa.Array, name: str, place: Path | str, error: type[TargetselError]
) -> None:
    """Refuse floats that cannot be ids."""
    numbers = array.drop_null().cast(pa.float64()).to_numpy()
    largest = EXACT_IN_FLOATS[array.type]
    fractions = ~np.isfinite(numbers) | (numbers != np.floor(numbers))
    for wrong, why in (
        (fractions, "is no whole number"),
        (np.abs(numbers) >= largest, f"is beyond {largest}, where floats lose digits of ids"),
    ):
        if wrong.any():
            raise error(
                f"{place}, column '{name}': ids are floats ({array.type}), and "
                f"{float(numbers[wrong][0])!r} {why}. Store the ids as int64 or text."
            )


def _text_ids(
    array: pa.Array, name: str, place: Path | str, error: type[TargetselError]
) -> pa.Array:
    """Bytes or text as text without what surrounds the ids."""
    import pyarrow.compute as pc

    try:
        text = array.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowInvalid as fault:
        raise error(
            f"{place}, column '{name}': ids are bytes that are not UTF-8 text. Store them as text."
        ) from fault
    text = pc.utf8_trim(text, " \t\r\n\0")
    known = text.drop_null()
    if len(known) and pc.all(pc.match_substring_regex(known, "^b(['\"]).*['\"]$")).as_py():
        return pc.utf8_trim(pc.utf8_slice_codeunits(text, 2, -1), " \0")
    return text


def id_type(ids: Iterable[int | str]) -> pa.DataType:
    """The type of a column of these ids: int64 if all are whole numbers and there are some."""
    kinds = {isinstance(each, str) for each in ids}
    return pa.int64() if kinds == {False} else pa.string()


def as_id(value: int | str, kind: pa.DataType) -> int | str | None:
    """An id in a column of `kind`, int64 or string; None if it cannot be in it."""
    if kind == pa.string():
        return str(value)
    return None if isinstance(value, str) else value


class IdIndex:
    """Finds ids among others; made once, it serves many batches.

    Ids are compared as text where one side has numbers and the other text: 12 is "12", not "012".

    Parameters
    ----------
    among : ndarray, shape (N,)
        Whole numbers or text; where an id is repeated its first row counts.
    """

    def __init__(self, among: np.ndarray) -> None:
        self._among = np.asarray(among)
        self._indices: dict[bool, tuple[Index, np.ndarray | None]] = {}

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """The row of each id, or -1, shape of `ids`, int64."""
        from pandas import Index  # which takes a third of a second to import

        ids = np.asarray(ids)
        as_text = (ids.dtype.kind in "iu") != (self._among.dtype.kind in "iu")
        if as_text not in self._indices:
            self._indices[as_text] = self._index(_as_text(self._among) if as_text else self._among)
        index, first = self._indices[as_text]
        rows = index.get_indexer(Index(_as_text(ids) if as_text else ids)).astype(np.int64)
        return rows if first is None else np.where(rows >= 0, first[rows], -1)

    @staticmethod
    def _index(among: np.ndarray) -> tuple[Index, np.ndarray | None]:
        """The ids, each once; and their first rows, where some are repeated."""
        from pandas import Index

        index = Index(among)
        if not index.has_duplicates:
            return index, None
        first = np.flatnonzero(~index.duplicated())
        return index.take(first), first


def _as_text(ids: np.ndarray) -> np.ndarray:
    return np.array([str(each) for each in ids], dtype=object)


def matched(ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The row of each id in `among`, or -1, shape (N,), int64; compared as `IdIndex` does."""
    return IdIndex(among).rows(ids)


def joined(
    ids: np.ndarray,
    among: np.ndarray,
    place: Path | str,
    other: Path | str,
    error: type[TargetselError] = CatalogError,
) -> np.ndarray:
    """The row of each id in `among`, or -1, as `matched`; at least one must be found.

    Parameters
    ----------
    ids, among : ndarray of whole numbers or text
    place, other : Path or str
        Names of the two files, for errors.

    Raises
    ------
    TargetselError
        Of class `error`, if both have ids and none is in both.
    """
    rows = matched(ids, among)
    if len(rows) and len(among) and not (rows >= 0).any():
        raise error(
            f"{place}: none of its {len(ids):,} ids is among the {len(among):,} of {other} (such "
            f"as '{ids[0]}' and '{among[0]}'). Name the files, or the columns of ids, that belong "
            "together."
        )
    return rows


ROWS_IN_MEMORY = 1 << 19  # keys of ids that are compared at a time


def repeated_ids(pieces: Callable[[], Iterable[pa.Array]], n: int) -> list[int | str]:
    """The ids that are there more than once, among them at least the first, in bounded memory.

    Parameters
    ----------
    pieces : callable
        Gives the ids, as `exact_ids` does, in pieces; called again unless they ascend, and where
        some may be repeated.
    n : int
        Their number.
    """
    if _ascend(pieces()):
        return []
    shift = np.uint64(64 - min((n // ROWS_IN_MEMORY).bit_length(), 8))
    shares = 1 << 64 - int(shift)
    suspects = [np.empty(0, dtype=np.uint64)]
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(shares)]
        for ids in pieces():
            keys = np.sort(quick_keys(ids))
            ends = np.searchsorted(keys >> shift if shares > 1 else keys * 0, np.arange(1, shares))
            for file, part in zip(files, np.split(keys, ends), strict=True):
                file.write(part.tobytes())
        for file in files:
            file.seek(0)
            keys = np.sort(np.frombuffer(file.read(), dtype=np.uint64))
            suspects.append(np.unique(keys[1:][keys[1:] == keys[:-1]]))
    return _there_twice(pieces(), np.concatenate(suspects)[:1000])


def _ascend(pieces: Iterable[pa.Array]) -> bool:
    """Whether these are whole numbers, each above the one before, as where ids follow the sky."""
    last = None
    for ids in pieces:
        if not pa.types.is_integer(ids.type):
            return False
        numbers = ids.to_numpy()
        if last is not None:
            numbers = np.concatenate([last, numbers])
        if (numbers[1:] <= numbers[:-1]).any():
            return False
        last = numbers[-1:]
    return True


def _there_twice(pieces: Iterable[pa.Array], suspects: np.ndarray) -> list[int | str]:
    """The ids that have one of these keys and are there more than once."""
    if not len(suspects):
        return []
    count: dict[int | str, int] = {}
    for ids in pieces:
        for row in np.flatnonzero(np.isin(quick_keys(ids), suspects)).tolist():
            value = ids[row].as_py()
            count[value] = count.get(value, 0) + 1
    return [value for value, number in count.items() if number > 1]


def quick_keys(ids: pa.Array) -> np.ndarray:
    """Numbers, equal for equal ids and hardly ever otherwise, shape (N,) of uint64."""
    if pa.types.is_integer(ids.type):
        return _mix(ids.cast(pa.int64()).to_numpy().view(np.uint64))
    _, ends, letters = ids.buffers()
    ends = np.frombuffer(ends, dtype=np.int32)[ids.offset : ids.offset + len(ids) + 1]
    first = int(ends[0]) if len(ends) else 0
    text = np.frombuffer(letters or b"", dtype=np.uint8)[first : int(ends[-1])]
    starts, lengths = ends[:-1] - first, np.diff(ends)
    place = np.arange(len(text)) - np.repeat(starts, lengths)
    terms = _mix(place.astype(np.uint64) << np.uint64(8) | text)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(terms, dtype=np.uint64)])
    return _mix(total[ends[1:] - first] - total[starts] + lengths.astype(np.uint64))


def keys_of(source_id: np.ndarray) -> np.ndarray:
    """A 64-bit key for each id, shape (N,) of uint64: an integer itself, or a string's BLAKE2b."""
    source_id = np.asarray(source_id)
    if source_id.dtype.kind in "iu":
        return source_id.astype(np.int64).view(np.uint64)
    digests = (hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in source_id)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def uniform(source_id: np.ndarray, seed: int, purpose: str, n: int = 1) -> np.ndarray:
    """Uniform numbers in [0, 1), shape (N, n): a hash of id, seed and purpose.

    SplitMix64 (Steele, Lea & Flood 2014) at the counter that the three give; 53 bits are kept.
    """
    label = hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest()
    start = _mix(keys_of(source_id) ^ np.frombuffer(label, dtype="<u8")[0])
    steps = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (_mix(start[:, None] + steps) >> np.uint64(11)) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
