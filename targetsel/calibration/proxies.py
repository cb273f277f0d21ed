"""Calibration of what is predicted of spectra: draws of the proxies, and classes by line ratios.

The decoder residual is added to the draws, then each proxy's draws are moved so that probabilities
match frequencies, and last the shares of draws in each class become probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Protocol

import numpy as np
from pydantic.dataclasses import dataclass
from scipy.optimize import minimize
from scipy.special import log_softmax, ndtr, ndtri
from scipy.stats import qmc

from targetsel.calibration.conformal import (
    ARRAYS,
    SMALLEST_STEP,
    BinnedCurve,
    Bins,
    FiniteArray,
    conformal_quantile,
)
from targetsel.spectra.proxies import MIDDLE, NORMAL_SCORES, Proxies, ProxyPosterior
from targetsel.tables.ids import uniform

# From normal scores (N, S), medians (N,) and magnitudes (N,) to normal scores.
Map = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

SEED = 20200912  # of the fixed points that a source's id shifts
INDEPENDENT = 1e-6  # share of every correlation that is taken away
MOST_BY_PREDICTION = 40  # bins: fine enough for rules that ask for the strongest few percent
FARTHEST = 8.0  # normal score of a true value that the posterior excludes
LEVELS = np.linspace(NORMAL_SCORES[0], NORMAL_SCORES[-1], 51)
HATS = np.stack([np.interp(LEVELS, NORMAL_SCORES, hat) for hat in np.eye(len(NORMAL_SCORES))], 1)
FLOOR = 0.005  # added to a share of draws: a class without a draw is not impossible
DEGREE = 3  # highest power of a log share
FEWEST_MEMBERS = 30  # sources of a class; with fewer its probability is not fitted


# ---------------------------------------------------------------------- what decoding leaves out


@dataclass(frozen=True, eq=False, config=ARRAYS)
class DecoderResidual:
    """The distribution of true minus decoded proxies, as functions of the decoded ones.

    A decoder of six latents smooths weak lines and clips strong ones. Its error grows with the line
    and is not Gaussian, so it is stored as quantiles by bins of the decoded proxy; the residuals of
    different proxies are correlated, as lines of one spectrum are.

    Attributes
    ----------
    names : sequence of str
        The P proxies, in the order of `factor`.
    quantiles : dict of BinnedCurve
        The residual of each proxy at `NORMAL_SCORES`, by the decoded proxy.
    factor : ndarray, shape (P, P)
        Lower Cholesky factor of the correlations of their normal scores.

    Raises
    ------
    ValueError
        If they do not fit together.
    """

    names: Sequence[str]
    quantiles: dict[str, BinnedCurve]
    factor: FiniteArray

    def __post_init__(self) -> None:
        fits = sorted(self.names) == sorted(self.quantiles)
        if not fits or self.factor.shape != (len(self.names), len(self.names)):
            raise ValueError("the correlations of the decoder's residual do not fit its proxies")
        if any(each.values.shape[1] != len(NORMAL_SCORES) for each in self.quantiles.values()):
            raise ValueError(f"the decoder's residual has not {len(NORMAL_SCORES)} quantiles")

    @classmethod
    def fit(
        cls, decoded: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray], weight: np.ndarray
    ) -> DecoderResidual:
        """Residual estimated from N sources, each array of shape (N,).

        Parameters
        ----------
        decoded : mapping of P arrays
            Proxies measured on the spectra decoded from the true latents; finite.
        true : mapping of P arrays
            Proxies measured on the true spectra; finite.
        """
        names = tuple(true)
        quantiles = {}
        scores = np.empty((len(names), len(weight)))
        for k, name in enumerate(names):
            bins, rest = Bins.of(decoded[name], weight), true[name] - decoded[name]
            values = [quantiles_of(rest[rows], weight[rows]) for rows in bins.rows()]
            quantiles[name] = BinnedCurve(bins.centres, np.array(values))
            knots = quantiles[name].at(decoded[name])
            scores[k] = [np.interp(r, q, NORMAL_SCORES) for r, q in zip(rest, knots, strict=True)]
        return cls(names, quantiles, np.linalg.cholesky(_correlation(scores, weight)))

    def add(self, proxies: Proxies, seed: int) -> Proxies:
        """The same draws with a draw of the residual added to each of these proxies."""
        s = proxies.values.shape[1]
        shift = uniform(proxies.source_id, seed, "residual", len(self.names))
        points = (_points(len(self.names), s) + shift[:, None]) % 1.0
        scores = ndtri(np.clip(points, 1e-9, 1 - 1e-9)) @ self.factor.T
        values = proxies.values.astype(np.float64)
        for k, name in enumerate(self.names):
            place = proxies.names.index(name)
            values[..., place] += self._residual(name, values[..., place], scores[..., k])
        return replace(proxies, values=values)

    def _residual(self, name: str, decoded: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Residuals at normal scores of draws, all of shape (N, S); NaN where decoded is."""
        curve = self.quantiles[name]
        last_bin, last_knot = (n - 1 for n in curve.values.shape)
        place = np.interp(decoded, curve.centres, np.arange(last_bin + 1))
        step = NORMAL_SCORES[1] - NORMAL_SCORES[0]
        level = np.clip((scores - NORMAL_SCORES[0]) / step, 0, last_knot)
        low = np.where(np.isnan(place), 0, place).astype(np.intp)
        knot = np.minimum(level, last_knot - 1).astype(np.intp)
        level -= knot
        at, next_bin = low * (last_knot + 1) + knot, (low < last_bin) * (last_knot + 1)
        table = curve.values.ravel()
        here = table[at] * (1 - level) + table[at + 1] * level
        at += next_bin
        beyond = table[at] * (1 - level) + table[at + 1] * level
        return here + (place - low) * (beyond - here)


def quantiles_of(values: np.ndarray, weight: np.ndarray) -> list[float]:
    """Conformal quantiles at `NORMAL_SCORES`, increasing."""
    found = [conformal_quantile(values, p, weight) for p in ndtr(NORMAL_SCORES)]
    rising = np.maximum.accumulate(found) + SMALLEST_STEP * np.arange(len(found))
    return [float(each) for each in rising]


def _correlation(scores: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Correlations of P rows of normal scores (P, N), shrunk so that all can be inverted."""
    rest = scores - np.average(scores, axis=1, weights=weight)[:, None]
    spread = np.sqrt(np.average(rest**2, axis=1, weights=weight))
    rest /= np.maximum(spread, SMALLEST_STEP)[:, None]
    matrix = (rest * weight) @ rest.T / weight.sum()
    return (1 - INDEPENDENT) * matrix + np.diag(1 - (1 - INDEPENDENT) * np.diagonal(matrix))


@cache
def _points(dimension: int, n: int) -> np.ndarray:
    """Fixed points of the unit cube, shape (n, dimension), out of step with the latents' draws."""
    rng = np.random.default_rng(SEED)
    points = qmc.Sobol(dimension, scramble=True, rng=rng).random_base2(int(np.ceil(np.log2(n))))
    return points[rng.permutation(len(points))[:n]]


# ---------------------------------------------------------------------- scores of single proxies


@dataclass(frozen=True, eq=False, config=ARRAYS)
class ScoreMap:
    """Map from a normal score to the one at which a predicted distribution should be read.

    A proxy's true value lies at some normal score of its predicted distribution. If these scores
    are not standard normal over many sources, their quantiles give the score at which the
    distribution should be read instead (Kuleshov et al. 2018, arXiv:1807.00263), first by the
    predicted value, then by brightness.

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
            scores_of(true, knots), Bins.of(knots[:, MIDDLE], weight, MOST_BY_PREDICTION), weight
        )
        rest = scores_of(scores_of(true, knots), by_prediction.at(knots[:, MIDDLE]))
        return cls(by_prediction, _curve(rest, Bins.of(magnitude, weight), weight))

    def __call__(self, scores: np.ndarray, median: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
        """Normal scores at which to read the distributions of N sources, given scores (N, S)."""
        even = read_at(scores, self.by_magnitude.at(magnitude))
        return read_at(even, self.by_prediction.at(median))


class Localised(Protocol):
    """Corrections of normal scores by the quantiles of all proxies (see `local`)."""

    def maps(self, knots: Mapping[str, np.ndarray], magnitude: np.ndarray) -> Mapping[str, Map]: ...


def calibrated(
    proxies: Proxies,
    maps: Mapping[str, ScoreMap],
    magnitude: np.ndarray,
    local: Localised | None = None,
) -> Proxies:
    """Draws of N sources, each moved by its proxy's map.

    Draws keep their ranks, and so the correlations between proxies. Draws that could not be
    measured stay NaN, and proxies without a map as they are.

    Parameters
    ----------
    magnitude : ndarray, shape (N,)
        Magnitude of the cutout's central light [mag].
    local : Localised, optional
        Its maps are applied to the results of `maps`, whose quantiles it is given.
    """
    names = [name for name in proxies.names if name in maps]
    if not names:
        return proxies
    places = [proxies.names.index(name) for name in names]
    values = proxies.values.astype(np.float64)
    drawn = np.moveaxis(values[..., places], 2, 0)  # (P, N, S)
    order = np.argsort(drawn, axis=2)  # unmeasured draws come last
    count = np.isfinite(drawn).sum(axis=2, keepdims=True)
    rising = np.take_along_axis(drawn, order, axis=2)
    counts, which = np.unique(count[..., 0], return_inverse=True)
    shares = (np.arange(drawn.shape[2]) + 0.5) / np.maximum(counts, 1)[:, None]
    scores = ndtri(np.clip(shares, 1e-9, 1 - 1e-9))[which.reshape(count.shape[:2])]
    knots = {name: _knots(rising[k], count[k]) for k, name in enumerate(names)}
    after = {} if local is None else local.maps(mapped(knots, maps, magnitude), magnitude)
    for k, name in enumerate(names):
        about, read = (knots[name][:, MIDDLE], magnitude), scores[k]
        if name in after:
            read = after[name](read, *about)
        read = maps[name](read, *about)
        moved = np.where(np.isfinite(rising[k]), read_at(read, knots[name]), rising[k])
        np.put_along_axis(drawn[k], order[k], moved, axis=1)
        values[..., places[k]] = drawn[k]
    return replace(proxies, values=values)


def mapped(
    knots: Mapping[str, np.ndarray], maps: Mapping[str, ScoreMap], magnitude: np.ndarray
) -> dict[str, np.ndarray]:
    """Quantiles (N, L) of the proxies that have a map, after it."""
    return {
        name: read_at(
            each(
                np.broadcast_to(NORMAL_SCORES, knots[name].shape),
                knots[name][:, MIDDLE],
                magnitude,
            ),
            knots[name],
        )
        for name, each in maps.items()
        if name in knots
    }


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


def scores_of(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """The normal scores at which distributions (N, L) reach their values (N,), within bounds."""
    scores = ProxyPosterior(("value",), {"value": knots}, {}).score("value", values)
    return np.clip(scores, -FARTHEST, FARTHEST)


def read_at(scores: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """The values of distributions (N, L) at normal scores (N, S)."""
    return ProxyPosterior(("value",), {"value": knots}, {}).value("value", scores)


# ---------------------------------------------------------------------- classes


@dataclass(frozen=True, eq=False, config=ARRAYS)
class ClassMap:
    """Map from shares of draws to probabilities of K classes that exclude one another.

    Classes by line ratios depend on the correlated errors of several lines, which maps of single
    lines do not correct. Their shares among the draws are therefore corrected once more, by a
    multinomial logistic regression on powers of their logarithms (Platt 1999; Guo et al. 2017,
    arXiv:1706.04599): with the first power alone, high probabilities of rare classes came out too
    low.

    Attributes
    ----------
    coefficients : dict of ndarray, shape (4,)
        Coefficients of the powers of each class's log share, from the zeroth to the third.

    Raises
    ------
    ValueError
        If a class has another number of coefficients.
    """

    coefficients: dict[str, FiniteArray]

    def __post_init__(self) -> None:
        if any(each.shape != (DEGREE + 1,) for each in self.coefficients.values()):
            raise ValueError(f"a class has not {DEGREE + 1} coefficients")

    @classmethod
    def fit(
        cls, shares: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray], weight: np.ndarray
    ) -> ClassMap | None:
        """Maximum-likelihood map of N sources with known classes.

        Parameters
        ----------
        shares, true : mapping of class to ndarray, shape (N,)
            Predicted shares; and 1 for a source's true class, else 0. Sources with NaN are left
            out.
        weight : ndarray, shape (N,)
            Number of sources that each one stands for.

        Returns
        -------
        ClassMap or None
            None where some class has too few members.
        """
        names = tuple(shares)
        predicted, member = (np.stack([each[n] for n in names], 1) for each in (shares, true))
        good = np.isfinite(predicted + member).all(axis=1)
        if (member[good].sum(axis=0) < FEWEST_MEMBERS).any():
            return None
        powers, member = _powers(predicted[good]), member[good]
        weight = weight[good] / weight[good].sum()

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            log_probability = _log_probability(powers, flat.reshape(-1, len(names)))
            excess = weight[:, None] * (np.exp(log_probability) - member)
            gradient = np.einsum("nk,qnk->qk", excess, powers)
            return -float(weight @ (member * log_probability).sum(axis=1)), gradient.ravel()

        start = np.zeros((DEGREE + 1, len(names)))
        start[1] = 1.0
        found = minimize(loss, start.ravel(), jac=True).x.reshape(start.shape)
        found[0] -= found[0].mean()
        return cls(dict(zip(names, found.T, strict=True)))

    def __call__(self, shares: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Probabilities of the same classes, which add to one; NaN where shares are."""
        powers = _powers(np.stack(list(shares.values()), axis=1))
        coefficients = np.stack([self.coefficients[name] for name in shares], axis=1)
        found = np.exp(_log_probability(powers, coefficients))
        return dict(zip(shares, found.T, strict=True))


def _powers(shares: np.ndarray) -> np.ndarray:
    """Powers of the logarithms of shares (N, K), shape (4, N, K)."""
    return np.log(shares + FLOOR) ** np.arange(DEGREE + 1)[:, None, None]


def _log_probability(powers: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Log probability of each class, shape (N, K)."""
    return log_softmax((powers * coefficients[:, None]).sum(axis=0), axis=1)
