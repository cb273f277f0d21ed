"""Calibration of the proxies' posterior: draws are shifted so that probabilities match frequencies.

A proxy's true value lies at some normal score of its predicted distribution. If these scores are
not standard normal over many sources, their quantiles give the score at which the distribution
should be read instead (Kuleshov et al. 2018, arXiv:1807.00263), first by the predicted value, then
by brightness. Draws keep their ranks, and so the correlations between proxies; all later numbers of
a source come from the shifted draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from pydantic.dataclasses import dataclass
from scipy.special import ndtr, ndtri

from targetsel.calibration.conformal import (
    ARRAYS,
    SMALLEST_STEP,
    BinnedCurve,
    Bins,
    conformal_quantile,
)
from targetsel.spectra.proxies import NORMAL_SCORES, Proxies, ProxyPosterior

MOST_BY_PREDICTION = 40  # bins: fine enough for rules that ask for the strongest few percent
FARTHEST = 8.0  # normal score of a true value that the posterior excludes
MIDDLE = len(NORMAL_SCORES) // 2
LEVELS = np.linspace(NORMAL_SCORES[0], NORMAL_SCORES[-1], 51)
HATS = np.stack([np.interp(LEVELS, NORMAL_SCORES, hat) for hat in np.eye(len(NORMAL_SCORES))], 1)


@dataclass(frozen=True, eq=False, config=ARRAYS)
class ScoreMap:
    """Map from a normal score to the one at which a predicted distribution should be read.

    Attributes
    ----------
    by_prediction, by_magnitude : BinnedCurve
        Scores for `NORMAL_SCORES`, by the predicted median and by magnitude; the former is
        applied to the result of the latter.
    """

    by_prediction: BinnedCurve
    by_magnitude: BinnedCurve

    def __post_init__(self) -> None:
        for curve in (self.by_prediction, self.by_magnitude):
            if curve.values.shape[1] != len(NORMAL_SCORES):
                raise ValueError(f"a map of scores has not {len(NORMAL_SCORES)} of them")

    @classmethod
    def fit(
        cls, knots: np.ndarray, true: np.ndarray, magnitude: np.ndarray, weight: np.ndarray
    ) -> ScoreMap:
        """Map fitted to N sources of known proxies.

        Parameters
        ----------
        knots : ndarray, shape (N, L)
            Predicted quantiles at `NORMAL_SCORES`; finite.
        true, magnitude, weight : ndarray, shape (N,)
        """
        by_prediction = _curve(
            _scores(true, knots), Bins.of(knots[:, MIDDLE], weight, MOST_BY_PREDICTION), weight
        )
        rest = _scores(_scores(true, knots), by_prediction.at(knots[:, MIDDLE]))
        return cls(by_prediction, _curve(rest, Bins.of(magnitude, weight), weight))

    def __call__(self, scores: np.ndarray, median: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
        """Normal scores at which to read the distributions of N sources, given scores (N, S)."""
        return _read(_read(scores, self.by_magnitude.at(magnitude)), self.by_prediction.at(median))


def calibrated(proxies: Proxies, maps: Mapping[str, ScoreMap], magnitude: np.ndarray) -> Proxies:
    """Draws of N sources, each moved by its proxy's map.

    Draws that could not be measured stay NaN, and proxies without a map as they are.

    Parameters
    ----------
    magnitude : ndarray, shape (N,)
        Magnitude of the cutout's central light [mag]."""
    places = [k for k, name in enumerate(proxies.names) if name in maps]
    if not places:
        return proxies
    values = proxies.values.astype(np.float64)
    drawn = np.moveaxis(values[..., places], 2, 0)  # (P, N, S)
    order = np.argsort(drawn, axis=2)  # unmeasured draws come last
    count = np.isfinite(drawn).sum(axis=2, keepdims=True)
    rising = np.take_along_axis(drawn, order, axis=2)
    counts, which = np.unique(count[..., 0], return_inverse=True)
    shares = (np.arange(drawn.shape[2]) + 0.5) / np.maximum(counts, 1)[:, None]
    scores = ndtri(np.clip(shares, 1e-9, 1 - 1e-9))[which.reshape(count.shape[:2])]
    for k, place in enumerate(places):
        knots = _knots(rising[k], count[k])
        read = maps[proxies.names[place]](scores[k], knots[:, MIDDLE], magnitude)
        moved = np.where(np.isfinite(rising[k]), _read(read, knots), rising[k])
        np.put_along_axis(drawn[k], order[k], moved, axis=1)
        values[..., place] = drawn[k]
    return replace(proxies, values=values)


def _knots(rising: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Quantiles at `NORMAL_SCORES` (N, L) of sorted draws (N, S), the first `count` (N, 1).

    As `ProxyPosterior.from_draws` has them (Hazen's), where all draws could be measured.
    """
    place = np.clip(ndtr(NORMAL_SCORES) * count - 0.5, 0, np.maximum(count - 1, 0))
    low = place.astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    below, above = (np.take_along_axis(rising, each, axis=1) for each in (low, high))
    return below + (place - low) * (above - below)


def _curve(scores: np.ndarray, bins: Bins, weight: np.ndarray) -> BinnedCurve:
    """Score at which to read the distribution, as a curve in each bin.

    A piecewise linear fit to quantiles at many levels: a curve through the quantiles at the knots
    alone would miss the others where tails are heavy.
    """
    levels, pieces = ndtr(LEVELS), np.linalg.pinv(HATS)
    values = [
        pieces @ [conformal_quantile(scores[rows], p, weight[rows]) for p in levels]
        for rows in bins.rows()
    ]
    rising = np.maximum.accumulate(values, axis=1) + SMALLEST_STEP * np.arange(len(NORMAL_SCORES))
    return BinnedCurve(bins.centres, rising)


def _scores(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """The normal scores at which distributions (N, L) reach their values (N,), within bounds."""
    scores = ProxyPosterior(("value",), {"value": knots}, {}).score("value", values)
    return np.clip(scores, -FARTHEST, FARTHEST)


def _read(scores: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """The values of distributions (N, L) at normal scores (N, S)."""
    return ProxyPosterior(("value",), {"value": knots}, {}).value("value", scores)
