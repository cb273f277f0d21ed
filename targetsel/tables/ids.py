"""Ids of sources: joined between files, and hashed into everything that looks random.

Draws, tie-breaks and samples are a hash of the source's id, a seed and a purpose, so that they do
not change with a row's place or its neighbours.
"""

from __future__ import annotations

import hashlib

import numpy as np


def matched(ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The row of each id in `among`, or -1, shape (N,), int64.

    Ids are compared as text where one side has numbers and the other text: 12 is "12", not "012".
    Where `among` repeats an id its first row counts.
    """
    from pandas import Index  # which takes a third of a second to import

    ids, among = np.asarray(ids), np.asarray(among)
    if (ids.dtype.kind in "iu") != (among.dtype.kind in "iu"):
        ids, among = (np.array([str(each) for each in side], dtype=object) for side in (ids, among))
    index = Index(among)
    if index.has_duplicates:
        first = np.flatnonzero(~index.duplicated())
        rows = index.take(first).get_indexer(Index(ids))
        return np.where(rows >= 0, first[rows], -1).astype(np.int64)
    return index.get_indexer(Index(ids)).astype(np.int64)


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
