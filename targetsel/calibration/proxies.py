"""Calibration of what is predicted of spectra: posteriors of proxies, and classes by line ratios.

The decoder residual is added to the draws, then each proxy's quantiles are moved so that
probabilities match frequencies, and last the shares of draws in each class become probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from scipy.optimize import minimize
from scipy.special import log_softmax, ndtr, ndtri

from targetsel.calibration.conformal import (
    ARRAYS,
    SMALLEST_STEP,
    BinnedCurve,
    Bins,
    FiniteArray,
    conformal_quantile,
)
from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.proxies import MIDDLE, NORMAL_SCORES, ProxyPosterior
from targetsel.statistics.even_points import sliced_points
from targetsel.tables.ids import uniform

# From normal scores (N, S), medians (N,) and magnitudes (N,) to normal scores.
Map = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

REPEATS = 3  # residuals for each decoded draw, which cost less than one more draw
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

    def add(self, draws: ProxyDraws, seed: int) -> ProxyDraws:
        """Draws with draws of the residual added to each of these proxies, `REPEATS` to one.

        Draws (N, S) become (N, `REPEATS` S). All sources share the residual's normal scores; a hash
        of a source's id and the seed chooses which draw takes which.
        """
        size, device = REPEATS * draws.values.shape[2], draws.values.device
        shift = uniform(draws.source_id, seed, "residual")[:, 0]
        turned = (np.arange(size) + (shift[:, None] * size).astype(np.intp)) % size
        place = torch.from_numpy(turned).to(device)
        values = draws.values.repeat(1, 1, REPEATS)
        for name, table in _tables(self, size, seed, values.dtype, device).items():
            k = draws.names.index(name)
            values[k] += self._residual(name, draws.values[k], table, place)
        return replace(draws, values=values)

    def _residual(
        self, name: str, decoded: torch.Tensor, table: torch.Tensor, place: torch.Tensor
    ) -> torch.Tensor:
        """Residuals (N, size) of decoded draws (N, S); NaN where these are.

        Parameters
        ----------
        table : Tensor, shape (B, size)
        place : Tensor of int, shape (N, size)
            The column of the table for each draw.
        """
        n, s = decoded.shape
        centres = torch.from_numpy(self.quantiles[name].centres).to(table)
        if len(centres) == 1:
            return table[0][place] + 0 * decoded.repeat(1, REPEATS)
        left = torch.zeros(n, s, dtype=torch.int64, device=decoded.device)
        for centre in centres[1:-1]:  # of a dozen bins this finds the place sooner than bisection
            left += decoded > centre
        start = centres[left]
        share = ((decoded - start) / (centres[left + 1] - start)).clip_(0, 1)
        at = (left * table.shape[1])[:, None] + place.reshape(n, REPEATS, s)
        here = torch.take(table, at)
        at += table.shape[1]
        return (here + share[:, None] * (torch.take(table, at) - here)).reshape(n, -1)


@lru_cache(maxsize=4)
def _tables(
    residual: DecoderResidual, size: int, seed: int, dtype: torch.dtype, device: torch.device
) -> dict[str, torch.Tensor]:
    """The residual of each proxy in its B bins at the normal scores of all draws, (B, size)."""
    points = sliced_points(size // REPEATS, REPEATS, len(residual.names), seed)
    scores = ndtri(points.reshape(size, -1))
    scores = np.clip(scores @ residual.factor.T, NORMAL_SCORES[0], NORMAL_SCORES[-1])
    tables = {}
    for name, each in zip(residual.names, scores.T, strict=True):
        knots = residual.quantiles[name].values
        table = read_at(np.tile(each, (len(knots), 1)), knots)
        tables[name] = torch.from_numpy(table).to(device, dtype)
    return tables


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
    posterior: ProxyPosterior,
    maps: Mapping[str, ScoreMap],
    magnitude: np.ndarray,
    local: Localised | None = None,
) -> ProxyPosterior:
    """The posterior of N sources, each proxy read at the scores of its map.

    Correlations of normal scores stay, and so do proxies without a map.

    Parameters
    ----------
    magnitude : ndarray, shape (N,)
        Magnitude of the cutout's central light [mag].
    local : Localised, optional
        Its maps are applied to the results of `maps`, whose quantiles it is given.
    """
    knots = dict(posterior.quantiles)
    after = {} if local is None else local.maps(mapped(knots, maps, magnitude), magnitude)
    moved = {
        name: _moved(knots[name], magnitude, *([after[name]] if name in after else []), each)
        for name, each in maps.items()
        if name in knots
    }
    return replace(posterior, quantiles=knots | moved)


def mapped(
    knots: Mapping[str, np.ndarray], maps: Mapping[str, ScoreMap], magnitude: np.ndarray
) -> dict[str, np.ndarray]:
    """Quantiles (N, L) of the proxies that have a map, after it."""
    return {
        name: _moved(knots[name], magnitude, each) for name, each in maps.items() if name in knots
    }


def _moved(knots: np.ndarray, magnitude: np.ndarray, *maps: Map) -> np.ndarray:
    """Quantiles (N, L) read at the scores that maps give, one after the other."""
    scores: np.ndarray = np.tile(NORMAL_SCORES, (len(knots), 1))
    for each in maps:
        scores = each(scores, knots[:, MIDDLE], magnitude)
    return read_at(scores, knots)


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
