"""Proxies: numbers measured on decoded spectra, and their posterior in a compact form.

`Proxies` holds every draw. `ProxyPosterior` keeps what a catalog can afford to store of them and
a rule needs: each proxy's quantiles, and the rank correlations between proxies (a Gaussian
copula). All probabilities of rules come from a `ProxyPosterior`, whether it was just made or read
back from a scored file, so that both give the same targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import qmc, rankdata

# Quantiles are kept at equal steps of the standard normal, so that -1, 0 and 1 are the 16th,
# 50th and 84th percentiles, a Gaussian marginal is exactly a straight line between the knots,
# and the outermost slopes continue it as Gaussian tails.
NORMAL_SCORES = np.arange(-2.5, 2.51, 0.5)
MOST_UNMEASURED = 0.05


@dataclass(frozen=True)
class Proxies:
    """Every draw of every proxy.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    names : tuple of P strings
    values : ndarray, shape (N, S, P)
        In the units of `spectra.lines.UNITS`; NaN where a proxy cannot be measured.
    """

    source_id: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        """All draws of one proxy, shape (N, S)."""
        return self.values[..., self.names.index(name)]


@dataclass(frozen=True)
class ProxyPosterior:
    """The joint distribution of K proxies for each of N sources.

    A proxy's marginal is the piecewise linear map from a standard normal through its quantiles;
    the normals of different proxies are correlated (Gaussian copula; Sklar 1959).

    Attributes
    ----------
    names : tuple of K strings
    quantiles : ndarray, shape (N, K, L)
        Values at `NORMAL_SCORES`, not decreasing along the last axis. NaN: no posterior.
    correlation : ndarray, shape (N, K, K)
        Correlation of the normal scores.
    """

    names: tuple[str, ...]
    quantiles: np.ndarray
    correlation: np.ndarray

    @classmethod
    def from_draws(cls, proxies: Proxies, names: tuple[str, ...]) -> ProxyPosterior:
        """The posterior that the draws of the proxies `names` describe.

        A draw in which a proxy cannot be measured counts as that proxy's median; a proxy with
        more than `MOST_UNMEASURED` of such draws has no posterior.
        """
        values = np.stack([proxies[name] for name in names], axis=1).astype(np.float64)
        levels = ndtr(NORMAL_SCORES)
        measured = np.isfinite(values)
        usable = measured.mean(axis=2, keepdims=True) >= 1 - MOST_UNMEASURED
        middle = np.nanmedian(np.where(usable, values, 0.0), axis=2, keepdims=True)
        filled = np.where(measured & usable, values, middle)
        quantiles = np.moveaxis(np.quantile(filled, levels, axis=2, method="hazen"), 0, 2)
        quantiles = np.where(usable, quantiles, np.nan)
        scores = ndtri((rankdata(filled, axis=2) - 0.5) / values.shape[2])
        scores /= np.maximum(np.sqrt((scores**2).mean(axis=2, keepdims=True)), 1e-12)
        correlation = scores @ scores.transpose(0, 2, 1) / values.shape[2]
        return cls(tuple(names), quantiles, np.clip(correlation, -1.0, 1.0))

    def __len__(self) -> int:
        return len(self.quantiles)

    def quantile(self, name: str, probability: float) -> np.ndarray:
        """The quantile of one proxy at `probability` (0 to 1), shape (N,)."""
        score = np.full(len(self), ndtri(probability))
        return _interpolate(score, self.quantiles[:, self.names.index(name)])

    def std(self, name: str) -> np.ndarray:
        """Standard deviation of one proxy, shape (N,)."""
        return self.draw((name,), 1024)[name].std(axis=1)

    def probability_below(self, name: str, threshold: np.ndarray | float) -> np.ndarray:
        """P(proxy < threshold) for each source, shape (N,); NaN where there is no posterior."""
        knots = self.quantiles[:, self.names.index(name)]
        threshold = np.broadcast_to(np.asarray(threshold, dtype=np.float64), (len(knots),))
        return ndtr(_invert(threshold, knots))

    def draw(self, names: tuple[str, ...], n_draws: int = 1024) -> dict[str, np.ndarray]:
        """Draws of some proxies from their joint distribution, each of shape (N, S).

        The same quasi-random normals serve every source, so that nothing but the posterior
        decides the answer: not the row's place, its neighbours or a seed.
        """
        chosen = [self.names.index(name) for name in names]
        factor = _cholesky(self.correlation[:, chosen][:, :, chosen])
        scores = np.einsum("nij,js->nis", factor, _normals(len(chosen), n_draws))
        return {
            name: _interpolate(scores[:, row], self.quantiles[:, k])
            for row, (name, k) in enumerate(zip(names, chosen, strict=True))
        }


@cache
def _normals(dimension: int, n_draws: int) -> np.ndarray:
    """Fixed scrambled-Sobol standard normals, shape (dimension, n_draws)."""
    sobol = qmc.Sobol(dimension, scramble=True, rng=20200912)
    return ndtri(np.clip(sobol.random(n_draws), 1e-9, 1 - 1e-9)).T


def _cholesky(correlation: np.ndarray) -> np.ndarray:
    """Cholesky factors that also exist for a singular correlation, shape (N, K, K)."""
    k = correlation.shape[-1]
    usable = np.isfinite(correlation).all(axis=(1, 2), keepdims=True)
    safe = np.where(usable, correlation, np.eye(k))
    return np.linalg.cholesky(safe * (1 - 1e-6) + 1e-6 * np.eye(k))


def _interpolate(scores: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Values at normal `scores` (N,) or (N, S), from each source's `knots` (N, L)."""
    step = NORMAL_SCORES[1] - NORMAL_SCORES[0]
    position = (scores - NORMAL_SCORES[0]) / step
    cell = np.clip(np.floor(position), 0, len(NORMAL_SCORES) - 2).astype(np.intp)
    flat = cell.reshape(len(knots), -1)
    low = np.take_along_axis(knots, flat, axis=1).reshape(cell.shape)
    high = np.take_along_axis(knots, flat + 1, axis=1).reshape(cell.shape)
    return low + (position - cell) * (high - low)


def _invert(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """The normal score at which each source's marginal reaches its value, shape (N,)."""
    step = NORMAL_SCORES[1] - NORMAL_SCORES[0]
    cell = np.clip((knots <= values[:, None]).sum(axis=1) - 1, 0, len(NORMAL_SCORES) - 2)
    rows = np.arange(len(knots))
    low, high = knots[rows, cell], knots[rows, cell + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        within = (values - low) / (high - low)
    # A flat piece is a step of the distribution: everything at or above it lies below.
    flat = np.where(values >= low, np.inf, -np.inf)
    within = np.where(high > low, within, flat)
    score = NORMAL_SCORES[cell] + step * within
    return np.where(np.isnan(low) | np.isnan(high) | np.isnan(values), np.nan, score)
