"""Arithmetic on intervals: between which values a number lies whose parts lie between values.

An end is NaN where the number may be missing within the interval, or cannot be bounded: then
nothing is said of it.
"""

from __future__ import annotations

from functools import reduce
from itertools import product

import numpy as np

from targetsel.rules.functions import apply

Interval = tuple[np.ndarray, np.ndarray]  # lowest and highest value, broadcast to shape (N,)


def apply_to_intervals(operation: str, *parts: Interval) -> Interval:
    """The interval of `functions.apply` for values in these intervals.

    Every operation goes up or down all along each of its values, or is said to below, so that its
    extremes are at the corners.
    """
    if len(parts) > 2:  # min and max take any number of values
        return reduce(lambda one, other: apply_to_intervals(operation, one, other), parts)
    corners = [apply(operation, *corner) for corner in product(*parts)]
    low, high = reduce(np.minimum, corners), reduce(np.maximum, corners)
    if operation == "abs":
        low = np.where(_spans_zero(parts[0]), 0.0, low)
    elif operation == "/":
        low = np.where(_spans_zero(parts[1]), np.nan, low)
    elif operation == "**":
        low = np.where(np.less_equal(parts[0][0], 0), np.nan, low)
    return low, np.where(np.isnan(low), np.nan, high)


def always(operator: str, left: Interval, right: Interval) -> np.ndarray:
    """Whether a comparison is true wherever in their intervals both sides lie, shape (N,)."""
    if operator in ("<", "<="):
        left, right = right, left
    return left[0] > right[1]


def _spans_zero(interval: Interval) -> np.ndarray:
    return np.less_equal(interval[0], 0) & np.greater_equal(interval[1], 0)
