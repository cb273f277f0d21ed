"""Statistics of weighted sources, with intervals from resampling the galaxies behind them.

Several sources may be mock images of one real galaxy, so galaxies are drawn with replacement and
each brings all its sources along (Efron & Tibshirani 1993, ch. 8). A resampling is nothing but
other weights, so every statistic here is a function of weights; and statistics under the same
resamplings may be subtracted, which gives the interval of a paired difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve

Statistic = Callable[[np.ndarray], "np.ndarray | float"]


@dataclass(frozen=True)
class Estimate:
    """A statistic, or several in a row, and its values under R resamplings.

    Attributes
    ----------
    value : ndarray, shape (...)
    draws : ndarray, shape (R, ...)
    """

    value: np.ndarray
    draws: np.ndarray

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference; its interval is a paired one if both saw the same resamplings."""
        return Estimate(self.value - other.value, self.draws - other.draws)

    def __getitem__(self, k: int) -> Estimate:
        return Estimate(self.value[k], self.draws[:, k])

    def interval(self, share: float) -> np.ndarray:
        """Lower and upper end of what holds this share of the draws, shape (2, ...)."""
        return np.quantile(self.draws, [0.5 - share / 2, 0.5 + share / 2], axis=0)

    @property
    def excludes_zero(self) -> bool:
        """Whether the 95 % interval of one number does."""
        low, high = self.interval(0.95)
        return bool(low > 0 or high < 0)

    def text(self, digits: int = 3, sign: str = "") -> str:
        """One number with its 68 and 95 % intervals; `sign` "+" is for differences."""
        ends = (
            " ".join(f"{end:{sign}.{digits}f}" for end in self.interval(share))
            for share in (0.68, 0.95)
        )
        return f"{self.value:{sign}.{digits}f} " + " ".join(f"[{each}]" for each in ends)


class Resampling:
    """The same R resamplings of some galaxies for every statistic.

    Parameters
    ----------
    group : ndarray, shape (N,)
        The galaxy behind each source.
    weight : ndarray, shape (N,), optional
        What each source counts for; 1 if not given.
    """

    def __init__(
        self, group: np.ndarray, weight: np.ndarray | None = None, n: int = 1000, seed: int = 0
    ):
        galaxies, self._galaxy = np.unique(group, return_inverse=True)
        self.n_galaxies = len(galaxies)
        self.weight = np.ones(len(group)) if weight is None else np.asarray(weight, dtype=float)
        rng = np.random.default_rng(seed)
        chances = np.full(self.n_galaxies, 1 / self.n_galaxies)
        self._times = rng.multinomial(self.n_galaxies, chances, size=n).astype(np.uint16)

    def estimate(self, statistic: Statistic) -> Estimate:
        """A function of the sources' weights, for the sky as it is and for every resampling."""
        draws = [statistic(self.weight * times[self._galaxy]) for times in self._times]
        return Estimate(np.asarray(statistic(self.weight)), np.array(draws))


def latent_errors(predicted: np.ndarray, labels: np.ndarray) -> Statistic:
    """Errors of predicted latents (N, D): an array of 3 + 2 D numbers.

    Root mean square error over sources and latents; the same with each latent divided by its
    scatter over these very sources; the mean over latents of R2 = 1 - mean square error /
    variance; then each latent's root mean square error, and each latent's R2.
    """
    squares = (predicted - labels) ** 2
    centred = labels - labels.mean(axis=0)

    def statistic(weight: np.ndarray) -> np.ndarray:
        share = weight / weight.sum()
        square = share @ squares
        r2 = 1 - square / (share @ centred**2 - (share @ centred) ** 2)
        whole = [np.sqrt(square.mean()), np.sqrt(1 - r2.mean()), r2.mean()]
        return np.concatenate([whole, np.sqrt(square), r2])

    return statistic


def rank_correlation(x: np.ndarray, y: np.ndarray) -> Statistic:
    """Spearman's rank correlation of sources that have both numbers.

    A source of weight 2 counts as two of equal values.
    """
    known = np.isfinite(x) & np.isfinite(y)
    (_, x_place), (_, y_place) = (np.unique(values, return_inverse=True) for values in (x, y))

    def ranks(place: np.ndarray, weight: np.ndarray) -> np.ndarray:
        counts = np.bincount(place, weight)
        return (np.cumsum(counts) - counts / 2)[place]

    def statistic(weight: np.ndarray) -> float:
        share = weight * known / (weight @ known)
        a, b = (ranks(place, share) for place in (x_place, y_place))
        a, b = a - share @ a, b - share @ b
        return float(share @ (a * b) / np.sqrt((share @ a**2) * (share @ b**2)))

    return statistic


def average_precision(true: np.ndarray, ranking: np.ndarray) -> Statistic:
    """Mean purity of the lists that end at each true source, the highest `ranking` first."""
    return lambda weight: average_precision_score(true, ranking, sample_weight=weight)


def purity_at(completeness: float, true: np.ndarray, ranking: np.ndarray) -> Statistic:
    """Purity of the shortest list that is so complete, and its ratio to that of a random list."""

    def statistic(weight: np.ndarray) -> np.ndarray:
        purity, complete, _ = precision_recall_curve(true, ranking, sample_weight=weight)
        found = purity[np.flatnonzero(complete >= completeness)[-1]]
        return np.array([found, found * weight.sum() / (weight @ true)])

    return statistic


def weighted_quantile(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    """The smallest value at or below which lies at least this share of the weight."""
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(below, share * below[-1])]])


def mean_of(estimates: list[Estimate]) -> Estimate:
    """The mean of numbers that were estimated under the same resamplings."""
    values, draws = [each.value for each in estimates], [each.draws for each in estimates]
    return Estimate(np.mean(values, axis=0), np.mean(draws, axis=0))
