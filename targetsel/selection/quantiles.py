"""Quantiles of a whole catalog, exact, in a memory that does not grow with it.

The sources are counted in 65,536 bins by the leading bits of the value, in an order-preserving
form of its float64; then again within the bin that holds the quantile, by the next bits, until
the value is found: four passes at most, two where the bin has few sources left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from targetsel.rules import formula as f
from targetsel.selection.evaluation import value
from targetsel.selection.sources import Sources

BITS = 16
FEW = 1 << 18


def catalog_quantiles(
    wanted: Iterable[f.CatalogQuantile], blocks: Callable[[], Iterable[Sources]]
) -> dict[f.Formula, float]:
    """The values of quantiles of a whole catalog.

    A quantile is the smallest value that at least its share of the sources (those where it is
    not missing) does not exceed; NaN where it is missing everywhere.

    Parameters
    ----------
    wanted : iterable of CatalogQuantile
    blocks : callable
        Gives all sources, block by block, as often as it is called.
    """
    searches = {each: Search(partial(_place, each.probability)) for each in wanted}
    while unfinished := [each for each in searches if not searches[each].done]:
        for block in blocks():
            for each in unfinished:
                searches[each].see(value(each.value, block))
        for each in unfinished:
            searches[each].narrow()
    return {each: search.result for each, search in searches.items()}


def _place(probability: float, n: int) -> int:
    # Products such as 0.1 * 30 may end a rounding error above a whole number.
    return max(math.ceil(probability * n - 1e-9), 1)


class Search:
    """The search for the value at one place in ascending order, narrowed pass by pass.

    Parameters
    ----------
    place : callable
        The place, from 1, given how many values there are; less than 1 if none is sought.

    Attributes
    ----------
    done : bool
    result : float
        The value; NaN where there is none.
    """

    def __init__(self, place: Callable[[int], int]) -> None:
        self.done = False
        self.result = math.nan
        self._place_of = place
        self._place = 0  # among the values with the prefix; 0 before the first pass
        self._prefix, self._shift = 0, 64  # keys sought begin so, when so many bits are dropped
        self._few: list[np.ndarray] | None = None  # all keys with the prefix, once few
        self._counts = np.zeros(1 << BITS, dtype=np.int64)

    def see(self, values: np.ndarray) -> None:
        """Count these values; NaN is none."""
        values = np.atleast_1d(values)
        keys = _keys(values[~np.isnan(values)])
        if self._shift < 64:
            keys = keys[keys >> np.uint64(self._shift) == np.uint64(self._prefix)]
        if self._few is not None:
            self._few.append(keys)
            return
        bins = (keys >> np.uint64(self._shift - BITS)) & np.uint64((1 << BITS) - 1)
        self._counts += np.bincount(bins.astype(np.intp), minlength=1 << BITS)

    def narrow(self) -> None:
        """Narrow the search, once all values were seen."""
        if self._few is not None:
            self._finish(int(np.sort(np.concatenate(self._few))[self._place - 1]))
            return
        total = int(self._counts.sum())
        self._place = self._place or (self._place_of(total) if total else 0)
        if self._place < 1:
            self.done = True
            return
        reached = np.cumsum(self._counts)
        bin_ = int(np.searchsorted(reached, self._place))
        self._place -= int(reached[bin_] - self._counts[bin_])
        self._prefix, self._shift = self._prefix << BITS | bin_, self._shift - BITS
        if self._shift == 0:
            self._finish(self._prefix)
        elif self._counts[bin_] <= FEW:
            self._few = []
        self._counts[:] = 0

    def _finish(self, key: int) -> None:
        self.result = _value(key)
        self.done = True


_SIGN = np.uint64(1 << 63)


def _keys(values: np.ndarray) -> np.ndarray:
    """Whole numbers in the order of the values."""
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)  # + 0.0: one zero, not two
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _value(key: int) -> float:
    bits = key ^ (1 << 63) if key >> 63 else key ^ ((1 << 64) - 1)
    return float(np.array(bits, dtype=np.uint64).view(np.float64))
