"""The interpreter behind `weights.pickles`: pickle's steps, of which none imports or calls.

A global becomes its name; a call is made only of the constructors listed here, which are our own
and give arrays and plain values; an instance of a class becomes a record of its state.
"""

from __future__ import annotations

import _compat_pickle
import io
import math
import pickletools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_OPCODES = 100_000
MAX_INTEGER_BITS = 128
STORAGES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "?",
}
HARMLESS = frozenset(
    """builtins.object builtins.dict builtins.list builtins.tuple builtins.set builtins.int
    builtins.float builtins.bool builtins.str builtins.bytes collections.OrderedDict
    collections.defaultdict _codecs.encode copyreg._reconstructor""".split()  # noqa: SIM905
)


class Refusal(Exception):
    """Something that a file of numbers has no need of."""


@dataclass(frozen=True)
class Name:
    """The name of a class or function; the thing itself is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """An instance of a class that is not available: its class's name and what it held."""

    kind: Name
    arguments: tuple[Any, ...] = ()
    attributes: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<record of {self.kind}>"


# ---------------------------------------------------------------- the interpreter


def _no_storage(key: str, kind: str, n: int) -> np.ndarray:
    raise Refusal("a persistent id outside a PyTorch file")


@dataclass(eq=False)
class _Dtype:
    """A NumPy number type under construction."""

    code: str
    order: str = "<"

    def numpy(self) -> np.dtype:
        kind = np.dtype(self.code)
        if kind.kind not in "biufSU" or kind.itemsize > 1024:
            raise Refusal(f"an array of type '{self.code}'")
        return kind.newbyteorder(">" if self.order == ">" else "<")


class Machine:
    """One run over one pickle: a stack, marks and a memo, as the pickle format asks for."""

    def __init__(
        self, size: int, storage: Callable[[str, str, int], np.ndarray] = _no_storage
    ) -> None:
        self.storage = storage
        self.storages: dict[str, np.ndarray] = {}
        self.budget = 4 * size + (1 << 16)  # bytes that constructors may copy or show
        self.entries = 0  # that states have given to instances
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        """The value of the pickle that starts here; the stream is left behind its end."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count >= MAX_OPCODES:
                raise Refusal(f"a pickle of more than {MAX_OPCODES} steps")
            if opcode.name == "STOP":
                break
            if opcode.name in _PUSHED:
                self.stack.append(_plain(argument))
            else:
                step = _STEPS.get(opcode.name)
                if step is None:
                    raise Refusal(f"the pickle opcode {opcode.name}")
                step(self, argument)
        (value,) = self.stack
        return value

    def spend(self, n_bytes: int) -> None:
        """Account for memory that a constructor takes."""
        self.budget -= n_bytes
        if self.budget < 0:
            raise Refusal("arrays much larger than the file they come from")

    # ------------------------------------------------------------ stack and memo

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        """Everything above the latest mark."""
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def drop_mark(self, _: Any) -> None:
        self.pop_mark()

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def pop(self, _: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def remember(self, key: int | None) -> None:
        self.memo[len(self.memo) if key is None else key] = self.stack[-1]

    def recall(self, key: int) -> None:
        self.stack.append(self.memo[key])

    def take(self, n: int) -> tuple[Any, ...]:
        """The top `n` values, in the order in which they were pushed."""
        if len(self.stack) < n:
            raise IndexError("stack is too short")
        taken = tuple(self.stack[len(self.stack) - n :])
        del self.stack[len(self.stack) - n :]
        return taken

    # ------------------------------------------------------------ containers

    def extend(self, values: list[Any]) -> None:
        owner = self.stack[-1]
        if isinstance(owner, set):
            owner.update(_key(value) for value in values)
        else:
            (owner.items if isinstance(owner, Record) else owner).extend(values)

    def update(self, values: list[Any]) -> None:
        owner = self.stack[-1]
        entries = owner.entries if isinstance(owner, Record) else owner
        entries.update(_pairs(values))

    # ------------------------------------------------------------ names, instances and calls

    def name(self, module: str, name: str) -> None:
        """A global's name, in the spelling of today's Python and NumPy."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refusal("a global that is not named by strings")
        module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        if module.startswith("numpy.core."):
            module = "numpy._core." + module.removeprefix("numpy.core.")
        found = Name(module, name)
        if module.split(".")[0] in sys.stdlib_module_names and str(found) not in HARMLESS:
            raise Refusal(f"asks for {str(found)[:100]}")
        if module.split(".")[0] == "joblib":
            raise Refusal("written by joblib; write it again with pickle.dump")
        self.push(found)

    def instance(self, kind: Any, arguments: Any) -> None:
        """An empty record of a class; nothing is called."""
        if not isinstance(kind, Name) or not isinstance(arguments, tuple):
            raise Refusal("an instance of something that is no class")
        made = _CONSTRUCTORS.get(str(kind))
        self.push(made(self, *arguments) if made else Record(kind, arguments))

    def instance_above_mark(self, _: Any) -> None:
        kind, *arguments = self.pop_mark()
        self.instance(kind, tuple(arguments))

    def instance_by_name(self, module_and_name: str) -> None:
        arguments = tuple(self.pop_mark())
        self.name(*module_and_name.split(" ", 1))
        (kind,) = self.take(1)
        self.instance(kind, arguments)

    def call(self, _: Any) -> None:
        function, arguments = self.take(2)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Refusal("a call of something that has no name")
        constructor = _CONSTRUCTORS.get(str(function))
        if constructor is None:
            raise Refusal(f"asks to call {str(function)[:100]}")
        self.push(constructor(self, *arguments))

    def build(self, _: Any) -> None:
        """Give the value below the top its state."""
        (state,) = self.take(1)
        owner = self.stack[-1]
        if isinstance(owner, Record):
            for part in state if isinstance(state, tuple) else (state,):
                if isinstance(part, dict):
                    self.entries += len(part)
                    if self.entries > MAX_OPCODES:  # each took a step to write
                        raise Refusal("one state given to very many instances")
                    owner.attributes.update(part)
                elif part is not None:
                    owner.attributes["state"] = state
        elif isinstance(owner, np.ndarray):
            self._fill(owner, state)
        elif isinstance(owner, _Dtype):
            if state[2:5] != (None, None, None):
                raise Refusal("an array of structures")
            owner.order = state[1]
        elif not isinstance(owner, dict):  # an ordered dictionary's own attributes do not matter
            raise Refusal(f"a state for a {type(owner).__name__}")

    def _fill(self, array: np.ndarray, state: Any) -> None:
        """Put shape, type and numbers into the empty array that `_reconstruct` gave."""
        _, shape, kind, by_columns, raw = state
        if not isinstance(kind, _Dtype):
            raise Refusal("an array without a type")
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        if not isinstance(raw, bytes) or not isinstance(by_columns, bool | int):
            raise Refusal(f"an array of type '{kind.code}' that is not made of bytes")
        self.spend(len(raw))
        array.__setstate__((1, _shape(shape, len(raw)), kind.numpy(), bool(by_columns), raw))  # type: ignore[arg-type]

    def persistent(self, _: Any) -> None:
        """A PyTorch storage, or the class of a module beside its source (which is dropped)."""
        (note,) = self.take(1)
        if isinstance(note, tuple) and note[:1] == ("module",) and isinstance(note[1], Name):
            self.push(note[1])
            return
        if not isinstance(note, tuple) or len(note) < 5 or note[0] != "storage":
            raise Refusal("a persistent id that is no tensor storage")
        _, kind, key, _, count = note[:5]
        if not isinstance(kind, Name) or str(kind) not in STORAGES:
            raise Refusal(f"a storage of kind {kind if isinstance(kind, Name) else type(kind)}")
        if not isinstance(key, str) or not isinstance(count, int) or count < 0:
            raise Refusal("a storage without key or size")
        if note[5:] not in ((), (None,)):
            raise Refusal("a storage that is a view of another")
        if key not in self.storages:
            self.storages[key] = self.storage(key, STORAGES[str(kind)], count)
        storage = self.storages[key]
        if len(storage) != count or storage.dtype != np.dtype(STORAGES[str(kind)]):
            raise EOFError(f"storage {key} does not hold the {count} numbers it should")
        self.push(storage)


def _plain(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise Refusal(f"an integer of {value.bit_length()} bits")
    return bytes(value) if isinstance(value, bytearray) else value


def _key(value: Any) -> Any:
    """A key whose hash is cheap; nested tuples and chosen collisions could stall us."""
    small = isinstance(value, int) and value.bit_length() <= 32
    if small or value is None or isinstance(value, str | bytes | Name):
        return value
    raise Refusal(f"a dictionary key or set member of type {type(value).__name__}")


def _pairs(values: list[Any]) -> dict[Any, Any]:
    return {_key(k): value for k, value in zip(values[::2], values[1::2], strict=True)}


def _shape(shape: Any, limit: int) -> tuple[int, ...]:
    """A shape of at most `limit` numbers."""
    fits = isinstance(shape, tuple) and len(shape) <= 32
    if not fits or not all(isinstance(n, int) and 0 <= n < 1 << 31 for n in shape):
        raise Refusal("an array of impossible shape")
    if math.prod(shape) > limit:
        raise Refusal("an array larger than its numbers")
    return shape


# ---------------------------------------------------------------- constructors that are allowed


def _tensor(machine: Machine, storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Any:
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
    machine.spend(math.prod(shape) * storage.itemsize)  # the same numbers, time and again
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def _dictionary(machine: Machine, *arguments: Any) -> dict[Any, Any]:
    """An ordered or default dictionary; the default's factory is dropped."""
    if arguments and not isinstance(arguments[0], Name):
        pairs = [value for pair in arguments[0] for value in (pair[0], pair[1])]
        machine.spend(16 * len(pairs))
        return _pairs(pairs)
    return {}


def _set(machine: Machine, values: Any = ()) -> set[Any]:
    machine.spend(64 * len(values))
    return {_key(value) for value in values}


def _size(machine: Machine, values: Any = ()) -> tuple[Any, ...]:
    machine.spend(8 * len(values))
    return tuple(values)


def _encoded(machine: Machine, text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise Refusal(f"bytes in the encoding {encoding[:40]!r}")
    machine.spend(len(text))
    return text.encode("latin-1")


def _reconstructor(machine: Machine, kind: Any, *_: Any) -> Record:
    """An instance as protocols 0 and 1 make it."""
    if not isinstance(kind, Name):
        raise Refusal("an instance of something that is no class")
    return Record(kind)


def _empty_array(machine: Machine, *_: Any) -> np.ndarray:
    return np.empty(0, "u1")


def _dtype(machine: Machine, code: str, *_: Any) -> _Dtype:
    if not isinstance(code, str) or len(code) > 8:
        raise Refusal("an array of structures")
    return _Dtype(code)


def _scalar(machine: Machine, kind: _Dtype, raw: Any) -> Any:
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw
    (value,) = np.frombuffer(raw, kind.numpy())
    return value.item()


def _frombuffer(machine: Machine, raw: bytes, kind: _Dtype, shape: Any, order: str) -> np.ndarray:
    """An array as protocol 5 makes it."""
    flat = np.frombuffer(raw, kind.numpy())
    return flat.reshape(_shape(shape, len(flat)), order="F" if order == "F" else "C")


_CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": lambda machine, data, *rest: data,
    "torch.Size": _size,
    "torch.device": lambda machine, name, *rest: name,
    # modules saved before PyTorch 1.3, the published autoencoder among them, name their backend
    "torch.nn.backends.thnn._get_thnn_function_backend": lambda machine: None,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _dictionary,
    "builtins.set": _set,
    "builtins.bytes": lambda machine: b"",  # how protocols below 3 spell an empty one
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _reconstructor,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "numpy.dtype": _dtype,
}


# ---------------------------------------------------------------- opcodes

_PUSHED = frozenset(
    """INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8
    BYTEARRAY8""".split()  # noqa: SIM905
)
_STEPS: dict[str, Callable[[Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, a: None),
    "NONE": lambda m, a: m.push(None),
    "NEWTRUE": lambda m, a: m.push(True),
    "NEWFALSE": lambda m, a: m.push(False),
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": Machine.drop_mark,
    "DUP": lambda m, a: m.push(m.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine.recall),
    "EMPTY_LIST": lambda m, a: m.push([]),
    "EMPTY_TUPLE": lambda m, a: m.push(()),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "EMPTY_SET": lambda m, a: m.push(set()),
    "LIST": lambda m, a: m.push(m.pop_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.pop_mark())),
    "DICT": lambda m, a: m.push(_pairs(m.pop_mark())),
    "FROZENSET": lambda m, a: m.push({_key(value) for value in m.pop_mark()}),
    "TUPLE1": lambda m, a: m.push(m.take(1)),
    "TUPLE2": lambda m, a: m.push(m.take(2)),
    "TUPLE3": lambda m, a: m.push(m.take(3)),
    "APPEND": lambda m, a: m.extend(list(m.take(1))),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda m, a: m.extend(m.pop_mark())),
    "SETITEM": lambda m, a: m.update(list(m.take(2))),
    "SETITEMS": lambda m, a: m.update(m.pop_mark()),
    "GLOBAL": lambda m, a: m.name(*a.split(" ", 1)),
    "STACK_GLOBAL": lambda m, a: m.name(*m.take(2)),
    "REDUCE": Machine.call,
    "BUILD": Machine.build,
    "NEWOBJ": lambda m, a: m.instance(*m.take(2)),
    "OBJ": Machine.instance_above_mark,
    "INST": Machine.instance_by_name,
    "BINPERSID": Machine.persistent,
}
