"""A restricted unpickler: pickles become inert records, and nothing in them is imported or called.

`unpickle` reads in two steps. First the opcodes are checked without executing them: their number,
the lengths they claim, the memo's size, and that dictionary keys are plain (the standard
library's reader hashes nested tuples by recursion in C). Then a subclass of `pickle.Unpickler`
builds the value, in which every class, function and call is an `Inert` object that only stores its
arguments and state. `pickles` turns these objects into arrays and plain values.
"""

from __future__ import annotations

import _compat_pickle
import io
import pickle
import pickletools
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

MAX_OPCODES = 100_000
MAX_INTEGER_BITS = 128
MAX_KEY_BITS = 32  # bound on integer keys: larger ones can be chosen so that their hashes collide
MAX_NAMES = 1_000  # most different classes and functions
HARMLESS = frozenset(
    """builtins.object builtins.dict builtins.list builtins.tuple builtins.set builtins.int
    builtins.float builtins.bool builtins.str builtins.bytes collections.OrderedDict
    collections.defaultdict _codecs.encode copyreg._reconstructor""".split()  # noqa: SIM905
)


class Refusal(Exception):
    """Content that a file of numbers does not need."""


@dataclass(frozen=True)
class GlobalName:
    """The name of a class or function, which is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


# ---------------------------------------------------------------- inert objects


class InertType(type):
    """The type of classes and functions in a pickle: a call only records its arguments."""

    kind: GlobalName

    def __call__(cls, *arguments: Any) -> Inert:
        made: Inert = cls.__new__(cls, *arguments)  # type: ignore[arg-type]
        made.called = True
        return made


class Inert(metaclass=InertType):
    """An instance of a named class, or the result of a call of a named function.

    Attributes
    ----------
    kind : GlobalName
        The class or function.
    arguments : tuple
        Arguments of the call or of `__new__`.
    called : bool
        True for a call, False for an instance made by `__new__`.
    items, entries : list, dict
        Appended and set values.
    state : object
        The argument of the last BUILD, or None.
    """

    __slots__ = ("arguments", "called", "entries", "items", "state")
    kind: GlobalName
    arguments: tuple[Any, ...]
    called: bool
    items: list[Any]
    entries: dict[Any, Any]
    state: Any

    def __new__(cls, *arguments: Any) -> Inert:
        made = object.__new__(cls)
        made.arguments, made.called, made.state = arguments, False, None
        made.items, made.entries = [], {}
        return made

    def __call__(self, *arguments: Any) -> NoReturn:
        raise Refusal("a call of something that has no name")

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def extend(self, values: list[Any]) -> None:
        self.items.extend(values)


class InertStorage:
    """A tensor's storage, named by a persistent id.

    Attributes
    ----------
    key : str
    kind : GlobalName
        Type of the storage, such as `torch.FloatStorage`.
    count : int
        Number of elements.
    """

    __slots__ = ("count", "key", "kind")

    def __init__(self, key: str, kind: GlobalName, count: int) -> None:
        self.key, self.kind, self.count = key, kind, count

    def __setstate__(self, state: Any) -> NoReturn:
        raise Refusal("a state for a tensor's storage")


# ---------------------------------------------------------------- the unpickler


def unpickle(data: bytes, start: int = 0) -> tuple[Any, dict[str, InertStorage], int]:
    """The inert value of the pickle that begins at `start`, its storages, and its end.

    Raises
    ------
    Refusal
        If it holds something that a file of numbers does not need.
    Exception
        One of `pickles.DAMAGE`, if it is not a whole pickle.
    """
    end = _check_opcodes(data, start)
    unpickler = _Unpickler(io.BytesIO(memoryview(data)[start:end]), encoding="latin1")
    return unpickler.load(), unpickler.storages, end


class _Unpickler(pickle.Unpickler):
    """Reads classes, functions and storages as inert objects."""

    def __init__(self, file: io.BytesIO, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.storages: dict[str, InertStorage] = {}
        self.names: dict[tuple[str, str], InertType] = {}

    def find_class(self, module: str, name: str) -> InertType:
        """An inert class, under its name in current Python and NumPy."""
        if (module, name) not in self.names:
            if len(self.names) >= MAX_NAMES:
                raise Refusal(f"more than {MAX_NAMES} different classes and functions")
            kind = _modern_name(module, name)
            self.names[module, name] = InertType("Inert", (Inert,), {"__slots__": (), "kind": kind})
        return self.names[module, name]

    def persistent_load(self, note: Any) -> Any:
        """A PyTorch storage, or the class of a module beside its source (which is dropped)."""
        if not isinstance(note, tuple) or len(note) < 2:
            raise Refusal("a persistent id that is no tensor storage")
        if note[0] == "module" and isinstance(note[1], InertType):
            return note[1]
        if note[0] != "storage" or len(note) < 5:
            raise Refusal("a persistent id that is no tensor storage")
        _, kind, key, _, count = note[:5]
        if not isinstance(kind, InertType):
            raise Refusal(f"a storage of kind {type(kind).__name__}")
        if not isinstance(key, str) or not isinstance(count, int) or count < 0:
            raise Refusal("a storage without key or size")
        if note[5:] not in ((), (None,)):
            raise Refusal("a storage that is a view of another")
        known = self.storages.setdefault(key, InertStorage(key, kind.kind, count))
        if (known.kind, known.count) != (kind.kind, count):
            raise Refusal(f"storage {key} with two sizes or kinds")
        return known


def _modern_name(module: str, name: str) -> GlobalName:
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    if module.startswith("numpy.core."):
        module = "numpy._core." + module.removeprefix("numpy.core.")
    found = GlobalName(module, name)
    if not str(found).isprintable():
        raise Refusal("a class whose name cannot be printed")
    if module.split(".")[0] in sys.stdlib_module_names and str(found) not in HARMLESS:
        raise Refusal(f"asks for {str(found)[:100]}")
    return found


# ---------------------------------------------------------------- opcodes

_PLAIN = frozenset(
    """NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING
    SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES
    BINBYTES8 GLOBAL STACK_GLOBAL""".split()  # noqa: SIM905
)
_OTHERS = frozenset(
    """PROTO FRAME STOP MARK POP POP_MARK DUP FLOAT BINFLOAT BYTEARRAY8 PUT BINPUT LONG_BINPUT
    MEMOIZE GET BINGET LONG_BINGET EMPTY_LIST EMPTY_TUPLE EMPTY_DICT EMPTY_SET LIST TUPLE DICT
    FROZENSET TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS ADDITEMS SETITEM SETITEMS REDUCE BUILD NEWOBJ
    OBJ INST PERSID BINPERSID""".split()  # noqa: SIM905
)
_STORES = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_RECALLS = ("GET", "BINGET", "LONG_BINGET")


def _check_opcodes(data: bytes, start: int) -> int:
    """The end of a pickle that is safe to read with the standard library.

    The stack, its marks and the memo are followed as `pickletools.dis` does, with True in place
    of each value that may be a dictionary key.
    """
    stream = io.BytesIO(data)
    stream.seek(start)
    stack: list[bool] = []
    marks: list[int] = []
    memo: dict[int, bool] = {}
    argument: Any
    for count, (opcode, argument, place) in enumerate(pickletools.genops(stream)):
        name = opcode.name
        if count >= MAX_OPCODES:
            raise Refusal(f"a pickle of more than {MAX_OPCODES} steps")
        if name not in _PLAIN and name not in _OTHERS:
            raise Refusal(f"the pickle opcode {name}")
        bits = argument.bit_length() if isinstance(argument, int) else 0
        if isinstance(argument, str) and argument.startswith("joblib."):
            raise Refusal("written by joblib; write it again with pickle.dump")
        if bits > MAX_INTEGER_BITS:
            raise Refusal(f"an integer of {bits} bits")
        if name == "FRAME" and argument > len(data) - (place or 0):
            raise EOFError("a frame reaches beyond the end of the file")
        if name == "STOP":
            break
        floor = marks[-1] if marks else 0
        if name == "POP" and marks and floor == len(stack):
            marks.pop()
            continue
        n_taken = len(opcode.stack_before)
        if pickletools.markobject in opcode.stack_before:
            n_taken = opcode.stack_before.index(pickletools.markobject)
            above = stack[marks.pop() :]
            del stack[len(stack) - len(above) :]
            floor = marks[-1] if marks else 0
            keys = above[::2] if name in ("SETITEMS", "DICT") else above
        else:
            keys = stack[-2:-1]
        if n_taken > len(stack) - floor:
            raise IndexError("stack is too short")
        if name in ("SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET") and not all(keys):
            raise Refusal("a dictionary key or set member that is no text or small number")
        if name in _STORES:
            index = len(memo) if argument is None else argument
            if not 0 <= index <= MAX_OPCODES:
                raise Refusal(f"a memo of {index} entries")
            memo[index] = stack[-1]
        elif name in _RECALLS:
            stack.append(memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "MARK":
            marks.append(len(stack))
        else:
            del stack[len(stack) - n_taken :]
            is_key = name in _PLAIN and bits <= MAX_KEY_BITS
            stack.extend([is_key] * len(opcode.stack_after))
    if len(stack) != 1 or marks:
        raise ValueError(f"leaves {len(stack)} values, expected one")
    return stream.tell()
