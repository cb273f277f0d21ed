"""Representations of data classes that hold arrays: their shapes, and never their numbers."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

C = TypeVar("C", bound=type)
LONGEST = 60


def brief(cls: C) -> C:
    """A data class with a `repr` that gives arrays and tables by type and shape; a decorator."""

    def __repr__(self: Any) -> str:
        shown = [each for each in fields(self) if not each.name.startswith("_")]
        parts = (f"{each.name}={_of(getattr(self, each.name))}" for each in shown)
        return f"{type(self).__name__}({', '.join(parts)})"

    cls.__repr__ = __repr__  # type: ignore[assignment]
    return cls


def _of(value: Any) -> str:
    """A value in a few words: the shape of an array, the size of a table or collection."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{'x'.join(map(str, value.shape)) or 'scalar'} {value.dtype}>"
    if hasattr(value, "num_rows"):
        return f"<table of {value.num_rows:,} rows>"
    text = repr(value) if not isinstance(value, dict | tuple | list) else ""
    if not text and sum(1 for _ in value) <= 8:
        inner = [_of(each) for each in value]
        text = f"({', '.join(inner)})"
    if text and len(text) <= LONGEST:
        return text
    count = f" of {len(value)}" if hasattr(value, "__len__") else ""
    return f"<{type(value).__name__}{count}>"
