"""Decoder residual: true minus decoded value of each proxy, as a function of the decoded one.

A decoder of six latents smooths weak lines and clips strong ones. Its error grows with the line
and is not Gaussian, so it is stored as quantiles by bins of the decoded proxy; the residuals of
different proxies are correlated, as lines of one spectrum are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from pydantic.dataclasses import dataclass
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from targetsel.calibration.conformal import (
    ARRAYS,
    SMALLEST_STEP,
    BinnedCurve,
    Bins,
    FiniteArray,
    conformal_quantile,
)
from targetsel.spectra.proxies import NORMAL_SCORES, Proxies
from targetsel.tables.ids import uniform

SEED = 20200912  # of the fixed points that a source's id shifts
INDEPENDENT = 1e-6  # share of every correlation that is taken away


@dataclass(frozen=True, eq=False, config=ARRAYS)
class DecoderResidual:
    """The distribution of true minus decoded proxies.

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
