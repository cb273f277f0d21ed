"""Formulas: indices that are calculated from other indices, as a line table writes them."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from targetsel.errors import SpectrumError, did_you_mean

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"log10": np.log10, "sqrt": np.sqrt}
MAX_CHARACTERS = 500


@dataclass(frozen=True)
class Formula:
    """Numbers, names, + - * / **, log10 and sqrt.

    Attributes
    ----------
    text : str
        As it was written; checked by `parse`.
    """

    text: str

    @classmethod
    def parse(cls, text: str, known: Mapping[str, object], place: str) -> Formula:
        """A formula of the names in `known`; `place` is where it was written, for messages.

        Raises
        ------
        SpectrumError
        """
        try:
            if len(text) > MAX_CHARACTERS:
                raise ValueError(f"longer than {MAX_CHARACTERS} characters")
            names = _names(ast.parse(text.strip(), mode="eval").body)
            if not names:
                raise ValueError("no index in it")
            for name in sorted(names):
                if name not in known:
                    hint = did_you_mean(name, known) or " Define it further up."
                    raise SpectrumError(f"{place}: formula has the unknown name '{name}'.{hint}")
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            cause = str(error).split("\n")[0]
            raise SpectrumError(
                f"{place}: formula '{text[:60]}' cannot be read ({cause}); expected numbers, names "
                "of indices, + - * / **, log10() and sqrt()"
            ) from None
        return cls(text.strip())

    @property
    def names(self) -> set[str]:
        """The indices that it is calculated from."""
        return _names(self._tree)

    def __call__(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The index from others' values of one shape; NaN where it is not a finite number."""
        with np.errstate(all="ignore"):
            found = np.asarray(_value(self._tree, values))
        return np.where(np.isfinite(found), found, np.nan)

    @property
    def _tree(self) -> ast.expr:
        return ast.parse(self.text, mode="eval").body


def _names(node: ast.expr) -> set[str]:
    """The names in a formula; ValueError for what formulas do not hold."""
    match node:
        case ast.Name(id=name):
            return {name}
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            float(value)
            return set()
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _names(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _names(left) | _names(right)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _names(argument)
    raise ValueError(f"'{ast.unparse(node)[:40]}' is not allowed")


def _value(node: ast.expr, values: Mapping[str, np.ndarray]) -> Any:
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=value):
            return np.float64(value)  # type: ignore[arg-type]
        case ast.UnaryOp(operand=operand):
            return -_value(operand, values)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return _FUNCTIONS[name](_value(argument, values))
    raise AssertionError(ast.dump(node))
