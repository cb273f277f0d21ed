"""Numbers out of pickles, without running them.

A pickle is a small program: Python's own reader imports what it names and calls what it says.
Published weights come as pickles all the same, so they are read here by an interpreter of our own
that imports nothing. Tensors, arrays and plain values become arrays and plain values; an instance
of a class becomes a `Record` of its state; a call of anything but a few known constructors of
numbers is refused with its name. Limits on opcodes, memory, depth and repetition keep small files
from growing into large ones.

Read are plain pickles and PyTorch's two formats: the zip archive, and the older sequence of
pickles with the storages behind them.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.errors import EnsembleError
from targetsel.weights.pickle_machine import Machine, Name, Record, Refusal

__all__ = ["Name", "Record", "read_pickle"]

MAX_FILE = 1 << 30  # [byte]
MAX_ENTRIES = 10_000
MAX_DEPTH = 64
MAX_VALUES = 1_000_000  # with every repetition counted
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
DAMAGE = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, EOFError,
          RuntimeError, OSError, struct.error, zipfile.BadZipFile)  # fmt: skip


def read_pickle(path: Path) -> Any:
    """What a pickle or PyTorch file holds, with nothing in it executed.

    Returns
    -------
    None, bool, int, float, str, bytes, list, tuple, dict, set, ndarray, Name or Record
        Tensors and NumPy arrays become ndarrays (those of tensors read-only), ordered
        dictionaries become dictionaries, instances of other classes records.

    Raises
    ------
    EnsembleError
        If the file is missing, damaged, larger than its numbers, or asks to call something.
    """
    path = Path(path)
    if not path.is_file():
        raise EnsembleError(f"{path}: no such file. Expected a .pth, .pt or .pkl file.")
    if path.stat().st_size > MAX_FILE:
        raise EnsembleError(f"{path}: {path.stat().st_size} bytes; weights have at most {MAX_FILE}")
    try:
        data = path.read_bytes()
        value = _read_zip(data) if data[:2] == b"PK" else _read_stream(data)
        _check_extent(value)
    except Refusal as refusal:
        raise EnsembleError(
            f"{path}: refused: {refusal}. Only tensors, arrays and plain values are read from a "
            "pickle; nothing in it is run."
        ) from None
    except DAMAGE as error:
        raise EnsembleError(
            f"{path}: not a whole pickle or PyTorch file ({error or type(error).__name__}). "
            "Copy the file again."
        ) from None
    return value


# ---------------------------------------------------------------- the three kinds of file


def _read_zip(data: bytes) -> Any:
    """The content of PyTorch's zip archive: `data.pkl` beside one file per storage."""
    if data.count(b"PK\x01\x02") > MAX_ENTRIES:  # each entry of the directory starts so
        raise Refusal(f"an archive of more than {MAX_ENTRIES} files")
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.rsplit("/", 1)[-1] == "data.pkl"]
    if any(name.rsplit("/", 1)[-1] == "constants.pkl" for name in entries):
        raise Refusal("a TorchScript program, not a file of weights")
    if len(pickles) != 1:
        raise Refusal(f"a zip archive with {len(pickles)} files 'data.pkl', expected one")
    root = pickles[0].removesuffix("data.pkl")
    total = 0

    def content(name: str) -> bytes:
        nonlocal total
        entry = entries[root + name]
        total += entry.file_size
        if entry.compress_type != zipfile.ZIP_STORED or total > len(data):
            raise Refusal(f"'{entry.filename}' is compressed, which PyTorch never does")
        return archive.read(entry)

    if root + "byteorder" in entries and content("byteorder") != b"little":
        raise Refusal("numbers in big-endian order")
    machine = Machine(len(data), lambda key, kind, n: np.frombuffer(content(f"data/{key}"), kind))
    return machine.run(io.BytesIO(content("data.pkl")))


def _read_stream(data: bytes) -> Any:
    """The content of a plain pickle, or of PyTorch's older format, told apart by its first value.

    The older format is five pickles (a magic number, a version, a description of the machine, the
    content, the storages' keys) and then, for each key, a 64-bit count and the numbers.
    """
    stream = io.BytesIO(data)
    first = Machine(len(data)).run(stream)
    if not isinstance(first, int) or first != LEGACY_MAGIC:
        return first
    Machine(len(data)).run(stream)
    system = Machine(len(data)).run(stream)
    if not system["little_endian"]:
        raise Refusal("numbers in big-endian order")
    storages: dict[str, np.ndarray] = {}
    claimed = 0

    def promised(key: str, kind: str, n: int) -> np.ndarray:
        nonlocal claimed
        claimed += n * np.dtype(kind).itemsize
        if claimed > len(data):
            raise Refusal(f"storages of {claimed} bytes in a file of {len(data)}")
        storages[key] = np.empty(n, kind)
        return storages[key]

    value = Machine(len(data), promised).run(stream)
    for key in Machine(len(data)).run(stream):
        storage = storages.pop(key)
        (count,) = struct.unpack("<q", stream.read(8))
        raw = stream.read(storage.nbytes)
        if count != len(storage) or len(raw) != storage.nbytes:
            raise EOFError(f"storage {key} has {count} of {len(storage)} numbers, or is cut off")
        storage.view("u1")[:] = np.frombuffer(raw, "u1")
    if storages:
        raise EOFError(f"storage {next(iter(storages))} is not in the file")
    return value


_END = object()


def _check_extent(value: Any) -> None:
    """Refuse what is too deep, holds itself, or repeats itself into an endless size."""
    extents: dict[int, int] = {}
    open_ids: set[int] = set()
    stack: list[tuple[Any, Iterator[Any]]] = [(value, _children(value))]
    while stack:
        owner, children = stack[-1]
        open_ids.add(id(owner))
        child = next(children, _END)
        if child is _END:
            stack.pop()
            open_ids.discard(id(owner))
            extents[id(owner)] = 1 + sum(extents.get(id(c), 1) for c in _children(owner))
            if extents[id(owner)] > MAX_VALUES:
                raise Refusal(f"more than {MAX_VALUES} values, most of them repetitions")
        elif id(child) in open_ids:
            raise Refusal("a value that holds itself")
        elif isinstance(child, list | tuple | dict | set | Record) and id(child) not in extents:
            if len(stack) >= MAX_DEPTH:
                raise Refusal(f"values nested more than {MAX_DEPTH} deep")
            stack.append((child, _children(child)))


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple | set):
        yield from value
    elif isinstance(value, Record):
        yield from value.arguments
        yield from value.items
        for part in (value.attributes, value.entries):
            yield from part.values()
