"""Ids of sources: joined between files, and hashed into everything that looks random.

Draws, tie-breaks and samples are a hash of the source's id, a seed and a purpose, so that they do
not change with a row's place or its neighbours.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pandas import Index


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
