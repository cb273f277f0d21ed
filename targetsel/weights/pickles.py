"""Numbers read from pickles, without executing them.

A pickle is a small program: Python's own reader imports and calls the functions that it names.
Published weights are nevertheless distributed as pickles. `unpickling` reads them into inert
objects, and this module converts these to values: tensors and arrays to arrays, an instance of a
class to a `Record` of its state. A call of anything but a few constructors of numbers is refused by
name. Limits on memory, depth and repetition keep small files from growing into large ones.

Plain pickles and both of PyTorch's formats are read: the zip archive, and the older sequence of
pickles with the storages behind them.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.errors import EnsembleError
from targetsel.tables.files import note_input
from targetsel.tables.reading import reason
from targetsel.weights.unpickling import (
    MAX_KEY_BITS,
    GlobalName,
    Inert,
    InertStorage,
    InertType,
    Refusal,
    unpickle,
)

MAX_FILE = 1 << 30  # [byte]
MAX_ENTRIES = 10_000  # files in a zip archive
MAX_DEPTH = 100
MAX_VALUES = 1_000_000  # counting every repetition
MAX_TENSORS = 10_000
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
DAMAGE = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, EOFError,
          RuntimeError, OSError, struct.error, zipfile.BadZipFile, pickle.PickleError)  # fmt: skip
BESIDE_MODEL = {"opt", "optimizer"}  # entries of fastai's files besides the weights
STORAGES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": "<u2",  # the upper half of a float32
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "?",
}


@dataclass(eq=False)
class Record:
    """An instance of a class that is not imported: the class's name and the instance's state."""

    kind: GlobalName
    arguments: tuple[Any, ...] = ()
    attributes: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<record of {self.kind}>"


def read_pickle(path: Path) -> Any:
    """The content of a pickle or PyTorch file, with nothing in it executed.

    Returns
    -------
    None, bool, int, float, str, bytes, list, tuple, dict, set, ndarray, dtype, GlobalName, Record
        Tensors and NumPy arrays become ndarrays (read-only), ordered dictionaries become
        dictionaries, instances of other classes records.

    Raises
    ------
    EnsembleError
        If the file is missing, damaged, expands beyond its size, or calls a function that is
        not allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise EnsembleError(f"{path}: no such file. Expected a .pth, .pt or .pkl file.")
    if path.stat().st_size > MAX_FILE:
        raise EnsembleError(
            f"{path}: has {path.stat().st_size:,} bytes; weights have at most {MAX_FILE:,}."
        )
    note_input(path)
    try:
        data = path.read_bytes()
        return _read_zip(data) if data[:2] == b"PK" else _read_stream(data)
    except Refusal as refusal:
        raise EnsembleError(
            f"{path}: refused: {refusal}. Only tensors, arrays and plain values are read from a "
            "pickle, and nothing in it is run. Save the network's state dict alone."
        ) from None
    except DAMAGE as error:
        raise EnsembleError(
            f"{path}: not a pickle or PyTorch file, or damaged or cut short{_cause(error)}. "
            "Copy it again."
        ) from None


# ---------------------------------------------------------------- the three kinds of file


def _cause(error: BaseException) -> str:
    """The message of a fault, in brackets; none of look-ups, which have only a number."""
    return "" if isinstance(error, LookupError) else f" ({reason(error)})"


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
    value, storages, _ = unpickle(content("data.pkl"))
    arrays = {key: _numbers(each, content(f"data/{key}")) for key, each in storages.items()}
    return _Values(len(data), arrays).of(value)


def _read_stream(data: bytes) -> Any:
    """The content of a plain pickle, or of PyTorch's older format, told apart by its first value.

    The older format is five pickles (a magic number, a version, a description of the machine, the
    content, the storages' keys) and then, for each key, a 64-bit count and the numbers.
    """
    first, storages, end = unpickle(data)
    if not isinstance(first, int) or first != LEGACY_MAGIC:
        if storages:
            raise Refusal("a persistent id outside a PyTorch file")
        return _Values(len(data), {}).of(first)
    _, _, end = unpickle(data, end)
    system, _, end = unpickle(data, end)
    if not system["little_endian"]:
        raise Refusal("numbers in big-endian order")
    value, storages, end = unpickle(data, end)
    keys, _, end = unpickle(data, end)
    arrays: dict[str, np.ndarray] = {}
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack_from("<q", data, end)
        start, end = end + 8, end + 8 + storage.count * _dtype_of(storage).itemsize
        if count != storage.count or end > len(data):
            raise EOFError(f"storage {key} has {count} of {storage.count} numbers, or is cut off")
        arrays[key] = _numbers(storage, memoryview(data)[start:end])
    if missing := [key for key in storages if key not in arrays]:
        raise EOFError(f"storage {missing[0]} is not in the file")
    return _Values(len(data), arrays).of(value)


def _dtype_of(storage: InertStorage) -> np.dtype:
    if str(storage.kind) not in STORAGES:
        raise Refusal(f"a storage of kind {str(storage.kind)[:100]}")
    return np.dtype(STORAGES[str(storage.kind)])


def _numbers(storage: InertStorage, raw: bytes | memoryview) -> np.ndarray:
    """The read-only numbers of a storage, shape (count,)."""
    array = np.frombuffer(raw, _dtype_of(storage))
    if len(array) != storage.count:
        raise EOFError(f"storage {storage.key} does not hold the {storage.count} numbers it should")
    if str(storage.kind) == "torch.BFloat16Storage":
        array = (array.astype("<u4") << 16).view("<f4")
        array.flags.writeable = False
    return array


# ---------------------------------------------------------------- inert objects to values


class _Values:
    """Turns inert objects into values, each once, however often it is referred to.

    Parameters
    ----------
    size : int
        Size of the file [byte]; arrays may share or copy about four times as much.
    storages : dict of ndarray
        Numbers of each tensor storage by its key.
    """

    def __init__(self, size: int, storages: dict[str, np.ndarray]) -> None:
        self.storages = storages
        self.budget = 4 * size + (1 << 16)
        self.done: dict[int, Any] = {}
        self.extents: dict[int, int] = {}  # values inside, with every repetition counted
        self.open: set[int] = set()

    def of(self, raw: Any) -> Any:
        """The value of an inert object.

        Raises
        ------
        Refusal
            If it is nested too deeply, contains itself, grows too large by repetition, or calls a
            function.
        """
        if isinstance(raw, bytearray):
            return bytes(raw)
        if isinstance(raw, InertType):
            return raw.kind
        if not isinstance(raw, list | tuple | dict | set | frozenset | Inert | InertStorage):
            return raw
        key = id(raw)
        if key in self.done:
            return self.done[key]
        if key in self.open:
            raise Refusal("a value that holds itself")
        if len(self.open) >= MAX_DEPTH:
            raise Refusal(f"values nested more than {MAX_DEPTH} deep")
        self.open.add(key)
        self.done[key] = self._made(raw)
        self.open.discard(key)
        self.extents[key] = 1 + sum(self.extents.get(id(child), 1) for child in _children(raw))
        if self.extents[key] > MAX_VALUES:
            raise Refusal(f"more than {MAX_VALUES} values, most of them repetitions")
        return self.done[key]

    def _made(self, raw: Any) -> Any:
        if isinstance(raw, InertStorage):
            return self.storages[raw.key]
        if isinstance(raw, dict):
            return {self.of(key): self.of(value) for key, value in raw.items()}
        if isinstance(raw, set | frozenset):
            return {self.of(each) for each in raw}
        if isinstance(raw, list | tuple):
            values = [self.of(each) for each in raw]
            return values if isinstance(raw, list) else tuple(values)
        return self._of_inert(raw)

    def _of_inert(self, raw: Inert) -> Any:
        kind, arguments = raw.kind, tuple(self.of(each) for each in raw.arguments)
        entries = {self.of(key): self.of(value) for key, value in raw.entries.items()}
        if (constructor := _CONSTRUCTORS.get(str(kind))) is not None:
            made = constructor(self, *arguments)
            if raw.state is not None:
                made = self._with_state(made, self.of(raw.state))
            if isinstance(made, _EmptyArray):
                raise Refusal("an array without its numbers")
            if raw.items or (entries and not isinstance(made, dict)):
                raise Refusal(f"items of a {type(made).__name__}")
            return made | entries if entries else made
        if str(kind) == "copyreg._reconstructor":  # instances as protocols 0 and 1 write them
            kind, arguments = arguments[0], ()
            if not isinstance(kind, GlobalName):
                raise Refusal("an instance of something that is no class")
        elif raw.called:
            raise Refusal(f"asks to call {str(kind)[:100]}")
        items = [self.of(each) for each in raw.items]
        return Record(kind, arguments, self._attributes(raw.state), items, entries)

    def _with_state(self, made: Any, state: Any) -> Any:
        """A constructor's result, completed by the argument of BUILD."""
        if isinstance(made, _EmptyArray):
            return _array(self, state)
        if isinstance(made, np.dtype):
            if state[2:5] != (None, None, None):
                raise Refusal("an array of structures")
            return made.newbyteorder(">" if state[1] == ">" else "<")
        if isinstance(made, dict):  # an ordered dictionary's own attributes are ignored
            return made
        raise Refusal(f"a state for a {type(made).__name__}")

    def _attributes(self, raw: Any) -> dict[Any, Any]:
        """Attributes in an instance's state: a dictionary, or a pair of it and one of slots."""
        state = self.of(raw)
        parts = state if isinstance(state, tuple) else (state,)
        found = [part for part in parts if part is not None]
        if len(found) == 1 and isinstance(found[0], dict):
            return found[0]
        if not all(isinstance(part, dict) for part in found):
            return {"state": state}
        self.spend(sum(100 * len(part) for part in found))
        return {key: value for part in found for key, value in part.items()}

    def spend(self, n_bytes: int) -> None:
        """Account for memory that a constructor takes."""
        self.budget -= n_bytes
        if self.budget < 0:
            raise Refusal("arrays much larger than the file they come from")


def _children(raw: Any) -> Iterator[Any]:
    if isinstance(raw, dict):
        yield from raw.values()
    elif isinstance(raw, Inert):
        yield from (*raw.arguments, raw.state, *raw.items, *raw.entries.values())
    elif not isinstance(raw, InertStorage):
        yield from raw


# ---------------------------------------------------------------- constructors that are allowed


class _EmptyArray:
    """An array that `_reconstruct` made; BUILD gives its shape, type and numbers."""


def _shape(shape: Any, limit: int) -> tuple[int, ...]:
    """A shape of at most `limit` numbers."""
    fits = isinstance(shape, tuple) and len(shape) <= 32
    if not fits or not all(isinstance(n, int) and 0 <= n < 1 << 31 for n in shape):
        raise Refusal("an array of impossible shape")
    if math.prod(shape) > limit:
        raise Refusal("an array larger than its numbers")
    return shape


def _tensor(values: _Values, storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Any:
    """A tensor as a read-only view of its storage."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or not isinstance(offset, int):
        raise Refusal("a tensor without a storage")
    shape = _shape(shape, len(storage))
    if math.prod(shape) == 0:
        return np.empty(shape, storage.dtype)
    if not isinstance(stride, tuple) or len(stride) != len(shape):
        raise Refusal("a tensor of impossible strides")
    if not all(isinstance(step, int) and 0 <= step <= len(storage) for step in stride):
        raise Refusal("a tensor of impossible strides")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if offset < 0 or last >= len(storage):
        raise Refusal("a tensor that reaches beyond its storage")
    values.spend(math.prod(shape) * storage.itemsize)  # repetitions of the same numbers
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def _dtype(values: _Values, code: Any, *_: Any) -> np.dtype:
    """A NumPy type of plain numbers or text."""
    if not isinstance(code, str) or len(code) > 8:
        raise Refusal("an array of structures")
    found = np.dtype(code)
    if found.kind not in "biufSU" or found.itemsize > 1024:
        raise Refusal(f"an array of type '{code}'")
    return found


def _array(values: _Values, state: Any) -> np.ndarray:
    """The array in the state of protocols 0 to 4."""
    _, shape, dtype, by_columns, raw = state
    return _frombuffer(values, raw, dtype, shape, "F" if by_columns else "C")


def _frombuffer(values: _Values, raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """The array in the arguments of protocol 5, read-only."""
    if not isinstance(dtype, np.dtype):
        raise Refusal("an array without a type")
    raw = _encoded(values, raw) if isinstance(raw, str) else raw
    if not isinstance(raw, bytes):
        raise Refusal(f"an array of type '{dtype}' that is not made of bytes")
    flat = np.frombuffer(raw, dtype) if dtype.itemsize else np.empty(0, dtype)
    return flat.reshape(_shape(shape, len(flat)), order="F" if order == "F" else "C")


def _scalar(values: _Values, dtype: Any, raw: Any) -> Any:
    return _frombuffer(values, raw, dtype, (1,), "C").item()


def _encoded(values: _Values, text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise Refusal(f"bytes in the encoding {encoding[:40]!r}")
    values.spend(len(text))
    return text.encode("latin-1")


def _dictionary(values: _Values, *arguments: Any) -> dict[Any, Any]:
    """An ordered or default dictionary; the default's factory is dropped."""
    if not arguments or isinstance(arguments[0], GlobalName):
        return {}
    pairs = [(_key(pair[0]), pair[1]) for pair in arguments[0]]
    values.spend(32 * len(pairs))
    return dict(pairs)


def _set(values: _Values, members: Any = ()) -> set[Any]:
    values.spend(64 * len(members))
    return {_key(each) for each in members}


def _key(value: Any) -> Any:
    """A key whose hash is cheap; nested tuples and chosen collisions could stall the reader."""
    small = isinstance(value, int) and value.bit_length() <= MAX_KEY_BITS
    if small or value is None or isinstance(value, str | bytes | GlobalName):
        return value
    raise Refusal(f"a dictionary key or set member of type {type(value).__name__}")


def _size(values: _Values, lengths: Any = ()) -> tuple[Any, ...]:
    values.spend(8 * len(lengths))
    return tuple(lengths)


_CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": lambda values, data, *rest: data,
    "torch.Size": _size,
    "torch.device": lambda values, name, *rest: name,
    # modules saved before PyTorch 1.3, the published autoencoder among them, name their backend
    "torch.nn.backends.thnn._get_thnn_function_backend": lambda values: None,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _dictionary,
    "builtins.set": _set,
    "builtins.bytes": lambda values: b"",  # an empty one in protocols below 3
    "_codecs.encode": _encoded,
    "numpy._core.multiarray._reconstruct": lambda values, *rest: _EmptyArray(),
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "numpy.dtype": _dtype,
}


# ---------------------------------------------------------------- state dicts


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Tensors by name, in the order in which the network's layers were created.

    Raises
    ------
    EnsembleError
        If the file is no readable pickle, or holds other content than named tensors.
    """
    content = read_pickle(path)
    if isinstance(content, dict) and "model" in content:
        if unknown := [key for key in content if key not in BESIDE_MODEL | {"model"}]:
            raise EnsembleError(
                f"{path}: entry '{str(unknown[0])[:60]}' beside 'model' is not known. "
                "Expected a state dict, alone or with its optimiser's state under 'opt'."
            )
        content = content["model"]
    found: dict[str, np.ndarray] = {}
    entries = _of_module(content) if isinstance(content, Record) else _of_dict(content, path)
    for name, tensor in entries:
        if len(found) >= MAX_TENSORS:
            raise EnsembleError(
                f"{path}: more than {MAX_TENSORS} tensors; expected the weights of one network"
            )
        if not isinstance(tensor, np.ndarray):
            kind = str(tensor.kind) if isinstance(tensor, Record) else type(tensor).__name__
            raise EnsembleError(f"{path}: '{name[:60]}' is of type {kind}, expected a tensor")
        if tensor.dtype.kind not in "biuf":
            raise EnsembleError(f"{path}: '{name[:60]}' holds {tensor.dtype}, expected numbers")
        if not np.isfinite(tensor).all():
            raise EnsembleError(
                f"{path}: tensor '{name}' holds NaN or infinity: a failed training. Take the "
                "weights of an earlier epoch, or train again."
            )
        found[name] = tensor
    if not found:
        raise EnsembleError(f"{path}: holds no tensors. Expected a network's weights.")
    return found


def _of_dict(content: Any, path: Path) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise EnsembleError(
            f"{path}: holds a {type(content).__name__} that is no state dict. "
            "Expected tensors by name, or a whole module."
        )
    yield from content.items()


def _of_module(module: Record, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and tensors, as in the `state_dict` of a torch module."""
    for group in ("_parameters", "_buffers"):
        for name, tensor in _table(module, group):
            if tensor is not None:
                yield f"{prefix}{name}", tensor
    for name, child in _table(module, "_modules"):
        if isinstance(child, Record):
            yield from _of_module(child, f"{prefix}{name}.")


def _table(module: Record, group: str) -> Iterator[tuple[Any, Any]]:
    table = module.attributes.get(group)
    if isinstance(table, dict):
        yield from table.items()
