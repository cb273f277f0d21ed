"""How reliable probabilities are, and how pure and complete the lists that they rank."""

from __future__ import annotations

import numpy as np

COMPLETENESS = np.arange(0.05, 1.0, 0.05)
N_BINS = 10


def in_bins(probability: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Columns whose means make a reliability diagram, shape (n, 3 `N_BINS`).

    For each of `N_BINS` equal bins of probability: whether a source is in it, its probability
    there, and whether it is also true; 0 elsewhere.
    """
    place = np.minimum((probability * N_BINS).astype(int), N_BINS - 1)
    here = place[:, None] == np.arange(N_BINS)
    return np.hstack([here, here * probability[:, None], here * true[:, None]]).astype(float)


def calibration_error(means: np.ndarray) -> np.ndarray:
    """Expected calibration error, from means of `in_bins`, (..., 3 `N_BINS`) to (...).

    Mean over sources of |mean probability - share of true ones| of their bin (Naeini et al. 2015,
    AAAI 29, 2901). Chance alone makes it larger than zero.
    """
    _, probability, true = np.split(means, 3, axis=-1)
    return np.abs(probability - true).sum(axis=-1)


class RankedList:
    """n sources in the order in which a list takes them, the most probable first.

    Parameters
    ----------
    probability : ndarray, shape (n,)
    true : ndarray of bool, shape (n,)
    """

    def __init__(self, probability: np.ndarray, true: np.ndarray) -> None:
        self._order = np.argsort(-probability, kind="stable")
        self._true = true[self._order]
        in_order = probability[self._order]
        self._ends = np.append(np.flatnonzero(np.diff(in_order)), len(in_order) - 1)

    def figures(self, weight: np.ndarray) -> np.ndarray:
        """Average precision, then the purity at each of `COMPLETENESS`; 1 + C numbers.

        Sources of equal probability are taken together. Average precision is the mean purity of
        the lists that end at each true source; the purity at a completeness is that of the
        shortest list so complete. NaN where nothing is true.
        """
        weight = weight[self._order]
        listed = np.cumsum(weight)[self._ends]
        found = np.cumsum(weight * self._true)[self._ends]
        if not found[-1] > 0:
            return np.full(1 + len(COMPLETENESS), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            purity = np.nan_to_num(found / listed)
        complete = found / found[-1]
        average = np.diff(complete, prepend=0.0) @ purity
        place = np.searchsorted(complete, COMPLETENESS * (1 - 1e-12))
        return np.append(average, purity[np.minimum(place, len(purity) - 1)])
