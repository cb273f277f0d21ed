"""Intervals from resampling the groups that sources come in.

Several sources may be of one galaxy or one field, so groups are drawn with replacement and each
brings all its sources along (Efron & Tibshirani 1993, ch. 8). A resampling is nothing but other
weights; figures under the same resamplings may be subtracted, which gives paired differences.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

N_RESAMPLINGS = 400
INTERVAL = 0.95
_AT_ONCE = 16  # resamplings


class Resampling:
    """The same R resamplings of N sources for every figure.

    Parameters
    ----------
    group, weight : ndarray, shape (N,)

    Attributes
    ----------
    n_groups : int
    weight : ndarray, shape (N,)
    """

    def __init__(
        self, group: np.ndarray, weight: np.ndarray, n: int = N_RESAMPLINGS, seed: int = 0
    ) -> None:
        groups, self._place = np.unique(group, return_inverse=True)
        self.n_groups, self.weight = len(groups), weight
        rng = np.random.default_rng(seed)
        self._times = np.ones((1 + n, self.n_groups), dtype=np.uint8)
        for row in self._times[1:]:
            drawn = rng.integers(0, self.n_groups, self.n_groups)
            row[:] = np.bincount(drawn, minlength=self.n_groups)

    def means(self, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Weighted means over some of the sources, shape (1 + R, K).

        First of the sources as they are, then of every resampling; NaN where none is left.

        Parameters
        ----------
        columns : ndarray, shape (N, K)
            Finite in `rows`.
        rows : ndarray of bool, shape (N,)
        """
        chosen, place = columns[rows], self._place[rows]
        ours, place = np.unique(place, return_inverse=True)
        weighted = np.column_stack([np.ones(len(chosen)), chosen]) * self.weight[rows, None]
        order = np.argsort(place, kind="stable")
        starts = np.searchsorted(place[order], np.arange(len(ours)))
        sums = np.add.reduceat(weighted[order], starts, axis=0) if len(ours) else weighted[:0]
        totals = np.concatenate(
            [
                self._times[start : start + _AT_ONCE, ours].astype(np.float64) @ sums
                for start in range(0, len(self._times), _AT_ONCE)
            ]
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return totals[:, 1:] / totals[:, :1]

    def each(self, statistic: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
        """A function of the weights of some of the sources, shape (1 + R, ...), as `means`."""
        weight, place = self.weight[rows], self._place[rows]
        return np.array([statistic(weight * times[place]) for times in self._times])


def with_interval(values: np.ndarray) -> tuple[float, float, float]:
    """One figure, from its values (1 + R,): as it is, and the ends of its `INTERVAL`."""
    ends = [0.5 - INTERVAL / 2, 0.5 + INTERVAL / 2]
    known = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(known, ends) if len(known) else (np.nan, np.nan)
    return float(values[0]), float(low), float(high)
