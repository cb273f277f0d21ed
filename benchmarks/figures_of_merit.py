"""Figures of merit that benchmarks compare predictions by, as functions of sources' weights."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve

from targetsel.statistics.resampling import Estimate, Statistic


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


def mean_estimate(estimates: list[Estimate]) -> Estimate:
    """The mean of numbers that were estimated under the same resamplings."""
    return Estimate(np.mean([each.values for each in estimates], axis=0))
