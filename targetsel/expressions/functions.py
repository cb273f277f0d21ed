"""Functions and operators of expressions, one record each.

NaN stands for *missing*. Undefined results (division by zero, the logarithm of a number that is not
positive) are missing, too, where NumPy gives infinity; an infinity in the data is a value.

To add a function, add its `NumberFunction` to `ARITHMETIC`: the grammar, the checks of units, the
evaluation, P(), the JSON schema and the help all read that record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product

import numpy as np

from targetsel.expressions import units

# Lowest and highest value, broadcast to shape (N,); NaN where the values are not bounded.
Interval = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Function:
    """A function or operator that expressions may use.

    Attributes
    ----------
    name : str
        The name or symbol in expressions.
    help : str
        Description of the result, on one line.
    arguments : (int, int)
        The fewest and the most arguments.
    signature : str
        How it is written, with words for the arguments.
    gives : str
        The result's unit or kind.
    example : str
        A condition with it.
    takes_file : bool
        Whether its first argument is the name of a file.
    words : int
        How many of its first arguments are words or texts in quotes, and not numbers or columns.
    named : mapping of str to bool
        Arguments that may follow under a name, as in ``airmass=1.5``, and whether each is a word.
    """

    name: str
    help: str
    arguments: tuple[int, int]
    signature: str = field(default="", kw_only=True)
    gives: str = field(default="", kw_only=True)
    example: str = field(default="", kw_only=True)
    takes_file: bool = field(default=False, kw_only=True)
    words: int = field(default=0, kw_only=True)
    named: Mapping[str, bool] = field(default_factory=dict, kw_only=True, hash=False)


@dataclass(frozen=True)
class NumberFunction(Function):
    """A function or operator that makes a number of numbers.

    Attributes
    ----------
    compute : callable
        The result from one or two float64 arrays; of more arguments, two at a time.
    unit : callable
        The unit of the result from the arguments, one of the functions of `units`; for
        `units.common` the arguments are brought to one unit first.
    intervals : callable, optional
        The interval of the result from those of the arguments. None for a function that is not
        monotone, or not known to be: P() of it is then evaluated by draws.
    """

    compute: Callable[..., np.ndarray]
    unit: Callable[[Sequence[units.Operand]], units.ResultUnit]
    intervals: Callable[..., Interval] | None = None


# --- arithmetic ----------------------------------------------------------------------------------


def _divide(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left / right; missing where the divisor is zero."""
    return np.where(np.equal(right, 0), np.nan, np.divide(left, right))


def _power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """base ** exponent; missing where it would divide by zero or be complex."""
    undefined = np.equal(base, 0) & np.less(exponent, 0)
    return np.where(undefined, np.nan, np.power(np.asarray(base, dtype=np.float64), exponent))


def _log10(value: np.ndarray) -> np.ndarray:
    """The decimal logarithm; missing where the value is not positive."""
    return np.where(np.greater(value, 0), np.log10(value), np.nan)


# --- intervals -----------------------------------------------------------------------------------


def at_corners(
    compute: Callable[..., np.ndarray], known: Callable[..., np.ndarray] | None = None
) -> Callable[..., Interval]:
    """The behaviour of a function that goes up or down all along each of its arguments.

    Its extremes are at the corners, wherever `known` is true of the arguments' intervals.
    """

    def interval(*parts: Interval) -> Interval:
        corners = [compute(*corner) for corner in product(*parts)]
        low, high = reduce(np.minimum, corners), reduce(np.maximum, corners)
        if known is not None:
            low = np.where(known(*parts), low, np.nan)
        return low, high

    return interval


def _of_abs(part: Interval) -> Interval:
    low, high = at_corners(np.abs)(part)
    return np.where(_spans_zero(part), 0.0, low), high


def _spans_zero(part: Interval) -> np.ndarray:
    return np.less_equal(part[0], 0) & np.greater_equal(part[1], 0)


def _divisor_is_known(_: Interval, divisor: Interval) -> np.ndarray:
    return ~_spans_zero(divisor)


def _base_is_positive(base: Interval, _: Interval) -> np.ndarray:
    return ~np.less_equal(base[0], 0)


# --- records -------------------------------------------------------------------------------------


def _table(*records: NumberFunction) -> dict[str, NumberFunction]:
    return {record.name: record for record in records}


OPERATORS = _table(
    NumberFunction(
        "+", "sum", (2, 2), np.add, units.common, at_corners(np.add),
        signature="x + y", gives="in the unit of x", example="gmag + 0.1 mag < 21 mag",
    ),
    NumberFunction(
        "-", "difference", (2, 2), np.subtract, units.common, at_corners(np.subtract),
        signature="x - y", gives="in the unit of x", example="gmag - rmag > 0.6 mag",
    ),
    NumberFunction(
        "*", "product", (2, 2), np.multiply, units.product, at_corners(np.multiply),
        signature="x * y", gives="in the product of the units", example="2 * flux_g < flux_r",
    ),
    NumberFunction(
        "/", "quotient, missing where the divisor is 0", (2, 2), _divide, units.quotient,
        at_corners(_divide, _divisor_is_known),
        signature="x / y", gives="in the quotient of the units",
        example="P(ew_halpha / ew_hbeta > 3) >= 0.8",
    ),
    NumberFunction(
        "**", "power, missing where it is complex or divides by 0", (2, 2), _power, units.power,
        at_corners(_power, _base_is_positive),
        signature="x ** y", gives="in the power of the unit", example="epistemic ** 2 < 0.1",
    ),
    NumberFunction(
        "negative", "minus", (1, 1), np.negative, units.same, at_corners(np.negative),
        signature="-x", gives="in the unit of x", example="-dec > 10 deg",
    ),
)  # fmt: skip

ARITHMETIC = _table(
    NumberFunction(
        "abs", "absolute value", (1, 1), np.abs, units.same, _of_abs,
        signature="abs(x)", gives="in the unit of x", example="abs(dec) < 30 deg",
    ),
    NumberFunction(
        "sqrt", "square root, missing below 0", (1, 1), np.sqrt, units.root,
        at_corners(np.sqrt),
        signature="sqrt(x)", gives="in the root of the unit", example="sqrt(epistemic) < 0.5",
    ),
    NumberFunction(
        "log10", "decimal logarithm, missing at 0 and below", (1, 1), _log10, units.pure,
        at_corners(_log10),
        signature="log10(x)", gives="a pure number",
        example="P(log10(ew_nii / ew_halpha) < -0.4) >= 0.8",
    ),
    NumberFunction(
        "min", "smallest of several numbers", (2, 16), np.minimum, units.common,
        at_corners(np.minimum),
        signature="min(x, y, ...)", gives="in the unit of x", example="min(gmag, rmag) < 20 mag",
    ),
    NumberFunction(
        "max", "largest of several numbers", (2, 16), np.maximum, units.common,
        at_corners(np.maximum),
        signature="max(x, y, ...)", gives="in the unit of x", example="max(gmag, rmag) < 21 mag",
    ),
)  # fmt: skip


def arithmetic(name: str) -> NumberFunction:
    """The record of an operator or of a function of numbers."""
    return OPERATORS[name] if name in OPERATORS else ARITHMETIC[name]


def apply(name: str, *values: np.ndarray | float) -> np.ndarray:
    """One operation on its values, as float64, without warnings."""
    compute = arithmetic(name).compute
    with np.errstate(all="ignore"):
        result = compute(*values[:2])
        for value in values[2:]:  # min and max take any number of values
            result = compute(result, value)
    return result


def apply_to_intervals(name: str, *parts: Interval) -> Interval:
    """The interval of `apply` for values in these intervals.

    Both ends are NaN where the result may be missing within them, or cannot be bounded.
    """
    interval = arithmetic(name).intervals
    if interval is None:
        nothing = reduce(np.add, (end * np.nan for part in parts for end in part))
        return nothing, nothing
    with np.errstate(all="ignore"):
        low, high = interval(*parts[:2])
        for part in parts[2:]:
            low, high = interval((low, high), part)
    lacking = np.isnan(low) | np.isnan(high)
    return np.where(lacking, np.nan, low), np.where(lacking, np.nan, high)


# --- comparisons ---------------------------------------------------------------------------------

COMPARISONS: Mapping[str, Callable[..., np.ndarray]] = {
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


def always(operator: str, left: Interval, right: Interval) -> np.ndarray:
    """Whether a comparison is true wherever in their intervals both sides lie, shape (N,)."""
    if operator in ("<", "<="):
        left, right = right, left
    return left[0] > right[1]
