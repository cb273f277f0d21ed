"""Arithmetic in which a number without meaning is missing.

NaN stands for *missing*. What NumPy would make infinite for want of a value (division by zero,
the logarithm of zero) is missing too; an infinity that stands in the data is a value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def divide(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left / right; missing where the divisor is zero."""
    return np.where(np.equal(right, 0), np.nan, np.divide(left, right))


def power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """base ** exponent; missing where it would divide by zero or be complex."""
    undefined = np.equal(base, 0) & np.less(exponent, 0)
    return np.where(undefined, np.nan, np.power(np.asarray(base, dtype=np.float64), exponent))


def log10(value: np.ndarray) -> np.ndarray:
    """The decimal logarithm; missing where the value is not positive."""
    return np.where(np.greater(value, 0), np.log10(value), np.nan)


OPERATIONS: dict[str, Callable] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": divide,
    "**": power,
    "negative": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log10": log10,
    "min": np.minimum,
    "max": np.maximum,
}

COMPARISONS: dict[str, Callable] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    # NaN is not unequal to anything: it is not known.
    "!=": lambda left, right: np.less(left, right) | np.greater(left, right),
}

FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def apply(operation: str, *values: np.ndarray | float) -> np.ndarray:
    """One operation on its values, as float64, without warnings."""
    with np.errstate(all="ignore"):
        result = OPERATIONS[operation](*values[:2])
        for value in values[2:]:  # min and max take any number of values
            result = OPERATIONS[operation](result, value)
    return result
