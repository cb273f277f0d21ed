"""Statistics of weighted sources, with intervals from resampling groups of sources.

Several sources may belong to one galaxy or one field, so whole groups are drawn with replacement
(Efron & Tibshirani 1993, ch. 8). A resampling only changes weights, so every statistic here is a
function of weights; and statistics under the same resamplings may be subtracted, which gives the
interval of a paired difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

N_RESAMPLINGS = 400
INTERVAL = 0.95
_AT_ONCE = 16  # resamplings
Statistic = Callable[[np.ndarray], "np.ndarray | float"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A statistic, or an array of them, of the sample and of R resamplings.

    Attributes
    ----------
    values : ndarray, shape (1 + R, ...)
        First the value for the sample itself, then for every resampling.
    """

    values: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """The statistic of the sample itself, shape (...)."""
        return self.values[0]

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference; its interval is a paired one if both used the same resamplings."""
        return Estimate(self.values - other.values)

    def __getitem__(self, k: int) -> Estimate:
        return Estimate(self.values[:, k])

    def interval(self, share: float = INTERVAL) -> np.ndarray:
        """Limits of the central interval with this share of the resampled values, shape (2, ...).

        Resamplings without a finite value are left out; NaN where none has one.
        """
        draws = np.where(np.isfinite(self.values[1:]), self.values[1:], np.nan)
        ends = np.full((2, *draws.shape[1:]), np.nan)
        known = ~np.isnan(draws).all(axis=0)
        levels = [0.5 - share / 2, 0.5 + share / 2]
        ends[:, known] = np.nanquantile(draws[:, known], levels, axis=0)
        return ends

    @property
    def excludes_zero(self) -> bool:
        """Whether the 95 % interval of one number excludes zero."""
        low, high = self.interval()
        return bool(low > 0 or high < 0)

    def text(self, digits: int = 3, sign: str = "") -> str:
        """One number with its 68 and 95 % intervals; `sign` "+" is for differences."""
        ends = (
            " ".join(f"{end:{sign}.{digits}f}" for end in self.interval(share))
            for share in (0.68, 0.95)
        )
        return f"{self.value:{sign}.{digits}f} " + " ".join(f"[{each}]" for each in ends)


class Resampling:
    """The same R resamplings of N sources for every statistic.

    Parameters
    ----------
    group : ndarray, shape (N,)
        Group of each source.
    weight : ndarray, shape (N,), optional
        Number of sources that each one stands for. Default: 1.

    Attributes
    ----------
    n_groups : int
    weight : ndarray, shape (N,)
    """

    def __init__(
        self,
        group: np.ndarray,
        weight: np.ndarray | None = None,
        n: int = N_RESAMPLINGS,
        seed: int = 0,
    ) -> None:
        groups, self._place = np.unique(group, return_inverse=True)
        self.n_groups = len(groups)
        self.weight = np.ones(len(group)) if weight is None else np.asarray(weight, float)
        rng = np.random.default_rng(seed)
        chances = np.full(self.n_groups, 1 / self.n_groups)
        self._times = np.ones((1 + n, self.n_groups), dtype=np.uint8)
        for row in self._times[1:]:
            row[:] = rng.multinomial(self.n_groups, chances)

    def estimate(self, statistic: Statistic, rows: np.ndarray | slice = slice(None)) -> Estimate:
        """Estimate of a function of the weights of all sources, or of `rows` (mask or indices)."""
        weight, place = self.weight[rows], self._place[rows]
        return Estimate(np.array([statistic(weight * times[place]) for times in self._times]))

    def means(self, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Weighted means over some of the sources, shape (1 + R, K), as `Estimate.values`.

        NaN where a resampling leaves no source. Faster than `estimate` for many columns.

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


# ---------------------------------------------------------------------- weighted statistics


def effective_size(weight: np.ndarray) -> float:
    """Effective number of sources of equal weight (Kish 1965)."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def wilson(share: float, n: float) -> tuple[float, float]:
    """Ends of the 95 % interval of a binomial share of n, by Wilson (1927, JASA 22, 209).

    It has a width where the share is 0 or 1, too; NaN where n is 0.
    """
    if not n > 0:
        return float("nan"), float("nan")
    z = 1.959964
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(max(share * (1 - share), 0.0) / n + z**2 / (4 * n**2))
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def mean_of(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Function of weights (N,) that returns the weighted mean of `values` over the first axis."""
    return lambda weight: np.tensordot(weight, values, 1) / weight.sum()


def variance_of(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Function of weights (N,) that returns the weighted variance over the first axis."""

    def variance(weight: np.ndarray) -> np.ndarray:
        return mean_of((values - mean_of(values)(weight)) ** 2)(weight)

    return variance


def rank_correlation(one: np.ndarray, other: np.ndarray) -> Callable[[np.ndarray], float]:
    """Function of weights that returns Spearman's rank correlation of sources with both numbers.

    A source of weight 2 counts as two of equal values.
    """
    known = np.isfinite(one) & np.isfinite(other)
    places = [np.unique(values, return_inverse=True)[1] for values in (one, other)]

    def ranks(place: np.ndarray, share: np.ndarray) -> np.ndarray:
        counts = np.bincount(place, share)
        return (np.cumsum(counts) - counts / 2)[place]

    def correlation(weight: np.ndarray) -> float:
        share = weight * known / (weight @ known)
        a, b = (ranks(place, share) for place in places)
        a, b = a - share @ a, b - share @ b
        return float(share @ (a * b) / np.sqrt((share @ a**2) * (share @ b**2)))

    return correlation


def quantiles(values: np.ndarray, levels: Sequence[float]) -> Callable[[np.ndarray], np.ndarray]:
    """Function of weights (N,) that returns the quantiles of `values` at some levels.

    Each value stands at the middle of its weight; quantiles between two are interpolated.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]

    def at(weight: np.ndarray) -> np.ndarray:
        upto = np.cumsum(weight[order])
        middle = (upto - weight[order] / 2) / upto[-1]
        return np.interp(levels, middle, ordered)

    return at


def half_width(values: np.ndarray) -> Callable[[np.ndarray], float]:
    """Function of weights that returns half the width of the central 68 %.

    It is the standard deviation of Gaussian values.
    """
    ends = quantiles(values, (0.16, 0.84))

    def width(weight: np.ndarray) -> float:
        low, high = ends(weight)
        return float(high - low) / 2

    return width
