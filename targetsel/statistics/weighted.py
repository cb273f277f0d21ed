"""Weighted figures of merit, with intervals from resampling whole groups of sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

N_RESAMPLED = 200
DIGITS = 4


class Resampled:
    """Weights of N sources as they are, and in many samples of as many groups, drawn anew.

    Attributes
    ----------
    weights : ndarray, shape (1 + R, N)
        The first row as given.
    """

    def __init__(self, group: np.ndarray, weight: np.ndarray, seed: int = 0) -> None:
        _, number = np.unique(group.astype(str), return_inverse=True)
        n_groups = int(number.max()) + 1
        share = np.full(n_groups, 1 / n_groups)
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(n_groups, share, size=N_RESAMPLED)
        self.weights = np.concatenate([weight[None], weight * counts[:, number]])

    def figure(self, statistic: Callable[[np.ndarray], Any]) -> dict[str, Any]:
        """Value and 68 % interval of a statistic of weights (N,), a number or several."""
        values = np.array([statistic(weight) for weight in self.weights], dtype=np.float64)
        low, high = np.nanquantile(values[1:], (0.16, 0.84), axis=0)
        parts = {"value": values[0], "low": low, "high": high}
        return {name: np.round(part, DIGITS).tolist() for name, part in parts.items()}


def mean_of(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The weighted mean over the first axis."""
    return lambda weight: np.tensordot(weight, values, 1) / weight.sum()


def variance(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weighted variance over the first axis."""
    centred = values - mean_of(values)(weight)
    return mean_of(centred**2)(weight)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> Callable[[np.ndarray], float]:
    """Spearman's correlation, a source counting as often as its weight says."""
    orders = [np.argsort(each, kind="stable") for each in (one, other)]

    def correlation(weight: np.ndarray) -> float:
        ranks = np.empty((len(weight), 2))
        for column, order in enumerate(orders):
            upto = np.cumsum(weight[order])
            ranks[order, column] = upto - weight[order] / 2
        centred = ranks - mean_of(ranks)(weight)
        covariance = (weight * centred.T) @ centred
        return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))

    return correlation


def half_width(values: np.ndarray) -> Callable[[np.ndarray], float]:
    """Half of what the central 68 % span: the standard deviation, if they are Gaussian."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]

    def width(weight: np.ndarray) -> float:
        upto = np.cumsum(weight[order])
        middle = (upto - weight[order] / 2) / upto[-1]
        low, high = np.interp((0.16, 0.84), middle, ordered)
        return float(high - low) / 2

    return width
