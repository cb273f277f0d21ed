"""Files of NumPy, .npz and .npy, whose arrays are held against the file before they are read.

A header says how large an array is, and a compressed file may hold far more than its size tells.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from targetsel.errors import CatalogError, TargetselError
from targetsel.tables.fits import most_unpacked, packed_too_tightly
from targetsel.tables.reading import reading


def names_in_npz(
    path: Path, error: type[TargetselError] = CatalogError, expected: str = "an .npz file"
) -> list[str]:
    """The names of the arrays in an .npz file.

    Raises
    ------
    TargetselError
        Of class `error`, if it is damaged, or another file.
    """
    with reading(path, error, expected), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_npz(
    path: Path,
    names: Iterable[str],
    error: type[TargetselError] = CatalogError,
    expected: str = "an .npz file",
    next_step: str = "Copy or make it again.",
) -> dict[str, np.ndarray]:
    """Some of the arrays in an .npz file, by name.

    Raises
    ------
    TargetselError
        Of class `error`, if it is damaged, another file, lacks one of the arrays, or they would
        take far more memory than its size lets expect.
    """
    names = list(names)
    with reading(path, error, expected, next_step):
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            if missing := [name for name in names if name not in members]:
                raise KeyError(f"without the array {missing[0]!r}"[:200])
            claimed = sum(_claimed(archive, members[name]) for name in names)
        if claimed > most_unpacked(path.stat().st_size):
            raise packed_too_tightly(path, error)
        with _opened(path) as file:
            return {name: np.asarray(file[name]) for name in names}


def read_npy(path: Path, error: type[TargetselError], expected: str) -> np.ndarray:
    """The array in an .npy file, which is left on disk until it is used.

    Raises
    ------
    TargetselError
        Of class `error`, if it is damaged, another file, or its header tells of more than it has.
    """
    with reading(path, error, expected, "Write it again with np.save."):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array.close()
            raise ValueError("it holds several arrays")
        return array


def _claimed(archive: zipfile.ZipFile, member: str) -> int:
    """Bytes of the array in one member of an .npz file, by the headers of both."""
    with archive.open(member) as stream:
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(stream)]
        shape, _, dtype = read_header(stream)
        begin = stream.tell()
    if dtype.hasobject:
        raise ValueError("Object arrays are not read, as they may run programs")
    n_bytes = math.prod(shape) * dtype.itemsize
    if begin + n_bytes != archive.getinfo(member).file_size:
        raise ValueError(f"{member[:80]} tells of {n_bytes} bytes that are not there")
    return n_bytes


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        yield file
