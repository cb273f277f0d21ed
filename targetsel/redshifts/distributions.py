"""Redshift distributions from elsewhere, whatever they are given as, as quantiles of each source.

Densities at points are straight lines between them, histograms are flat within a bin, and quantiles
are joined by straight lines of the cumulative probability. What integrates to 1 within 1 % is
scaled to it; what does not is refused, since it is no density of the redshift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from targetsel.errors import SpectrumError

SCORES = np.linspace(-4.0, 4.0, 161)  # normal scores of the quantiles that are kept
LEVELS = ndtr(SCORES)
HIGHEST = 10.0
NEAR_ONE = 0.01  # how far from 1 a probability may be that is scaled to 1
BETWEEN = 8  # steps from one density to the next, between which the probability is a straight line
REACH, STEPS = 6.0, 241  # of each Gaussian of a mixture, in standard deviations, and in points

# The name of a source, of which a fault is told, by its row.
Names = Sequence[object] | np.ndarray


@dataclass(frozen=True)
class RedshiftDistributions:
    """The redshifts of N sources.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
        int64, or text.
    quantiles : ndarray, shape (N, 161)
        At `SCORES`, not decreasing, from 0 to `HIGHEST`; NaN where nothing is known.
    kind : str
        Their form in a word, such as "interp".
    """

    source_id: np.ndarray
    quantiles: np.ndarray
    kind: str

    def __post_init__(self) -> None:
        assert self.quantiles.shape == (len(self.source_id), len(SCORES))

    def __len__(self) -> int:
        return len(self.source_id)

    @property
    def known(self) -> np.ndarray:
        """Whether anything is known of each source, shape (N,)."""
        return np.isfinite(self.quantiles).all(axis=1)


def of_densities(grid: np.ndarray, density: np.ndarray, names: Names) -> np.ndarray:
    """Quantiles of densities at points, as RAIL's and qp's `interp` has them.

    Parameters
    ----------
    grid : ndarray, shape (K,) or (N, K)
        Redshifts, increasing.
    density : ndarray, shape (N, K)
    names : sequence of N ids

    Raises
    ------
    SpectrumError
        If a grid does not increase, or a density is negative or does not integrate to 1.
    """
    grid = np.broadcast_to(np.asarray(grid, float), np.shape(density))
    known = _checked(grid, density, names)
    share = np.arange(BETWEEN) / BETWEEN
    fine = np.concatenate([_between(grid, share), grid[:, -1:]], axis=1)
    tops = np.concatenate([_between(density, share), density[:, -1:]], axis=1)
    mass = (tops[:, 1:] + tops[:, :-1]) / 2 * np.diff(fine, axis=1)
    return _quantiles(fine, mass, known, names)


def of_histogram(bins: np.ndarray, density: np.ndarray, names: Names) -> np.ndarray:
    """Quantiles of histograms: densities (N, K) in bins whose K + 1 edges are given.

    Raises
    ------
    SpectrumError
        As `of_densities`.
    """
    edges = np.broadcast_to(np.asarray(bins, float), (len(density), np.shape(density)[1] + 1))
    known = _checked(edges, density, names)
    return _quantiles(edges, density * np.diff(edges, axis=1), known, names)


def of_quantiles(levels: np.ndarray, values: np.ndarray, names: Names) -> np.ndarray:
    """Quantiles of redshifts (N, K) that are reached with these probabilities, shape (K,).

    Beyond the outermost the cumulative probability goes on as it does between the last two.

    Raises
    ------
    SpectrumError
        If the probabilities or the redshifts do not increase.
    """
    levels = np.asarray(levels, float)
    rises = len(levels) > 1 and bool((np.diff(levels) > 0).all())
    if not (rises and levels[0] >= 0 and levels[-1] <= 1):
        raise SpectrumError(
            "probabilities of quantiles of the redshift do not rise from 0 to 1; expected two or "
            "more that do. Sort them, with their redshifts."
        )
    values = np.asarray(values, float)
    known = np.isfinite(values).all(axis=1)
    falls = known & (np.diff(values, axis=1) < 0).any(axis=1)
    _refuse(falls, names, "its quantiles of the redshift do not rise. Sort them")
    _refuse(known & ~values.any(axis=1), names, "its quantiles of the redshift are all 0. Leave "
            "its row out, or set them to NaN")  # fmt: skip
    first, last = np.diff(levels[:2])[0], np.diff(levels[-2:])[0]
    low = values[:, :1] - levels[0] * (values[:, 1:2] - values[:, :1]) / first
    high = values[:, -1:] + (1 - levels[-1]) * (values[:, -1:] - values[:, -2:-1]) / last
    places = np.concatenate([low, values, high], axis=1)
    mass = np.tile(np.diff(np.concatenate([[0.0], levels, [1.0]])), (len(values), 1))
    return _quantiles(places, mass, known, names)


def of_mixtures(
    weights: np.ndarray, means: np.ndarray, stds: np.ndarray, names: Names
) -> np.ndarray:
    """Quantiles of mixtures of Gaussians, each of shape (N, K).

    Raises
    ------
    SpectrumError
        If a weight is negative, weights do not add up to 1, or a deviation is not positive.
    """
    weights, means, stds = (np.asarray(each, float) for each in (weights, means, stds))
    known = np.isfinite(weights).all(axis=1) & weights.any(axis=1)
    used = np.where(weights > 0, means + stds, 0.0)
    known &= np.isfinite(used).all(axis=1)
    _refuse(known & (weights < 0).any(axis=1), names, "has a Gaussian of negative weight")
    wrong = known & ((weights > 0) & ~(stds > 0)).any(axis=1)
    _refuse(wrong, names, "has a Gaussian whose standard deviation is not positive")
    _refuse_far_from_one(weights.sum(axis=1), known, names, "the weights of its Gaussians add up")
    safe = np.where(weights > 0, stds, 1.0)
    centre = np.where(weights > 0, means, 0.0)
    places = centre[:, :, None] + safe[:, :, None] * np.linspace(-REACH, REACH, STEPS)
    places = np.sort(np.where(weights[:, :, None] > 0, places, places[:, :1]), axis=1)
    places = np.sort(places.reshape(len(weights), -1), axis=1)
    below = np.zeros(places.shape)
    for k in range(weights.shape[1]):
        below += weights[:, k, None] * ndtr((places - centre[:, k, None]) / safe[:, k, None])
    return _quantiles(places, np.diff(below, axis=1), known, names)


def of_values(redshift: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Quantiles of Gaussians; of redshifts without a positive error nothing is known."""
    redshift, error = np.asarray(redshift, float), np.asarray(error, float)
    known = np.isfinite(redshift) & np.isfinite(error) & (error > 0) & (error <= HIGHEST)
    known &= (redshift >= 0) & (redshift <= HIGHEST)
    values = np.clip(redshift[:, None] + error[:, None] * SCORES, 0.0, HIGHEST)
    return np.where(known[:, None], values, np.nan)


def in_parts(n: int, rows: int, part: Callable[[slice], np.ndarray]) -> np.ndarray:
    """Quantiles of N sources, made of some at a time."""
    found = np.full((n, len(SCORES)), np.nan)
    for start in range(0, n, rows):
        found[start : start + rows] = part(slice(start, start + rows))
    return found


def _between(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Values (N, K) at these shares of the way to the next, shape (N, (K - 1) S)."""
    low, step = values[:, :-1, None], np.diff(values, axis=1)[:, :, None]
    return np.asarray(low + share * step).reshape(len(values), -1)


def _checked(grid: np.ndarray, density: np.ndarray, names: Names) -> np.ndarray:
    """Whether each source has densities, which are checked; all 0 or NaN stand for none."""
    known = np.isfinite(density).all(axis=1) & (density != 0).any(axis=1)
    _refuse(known & (density < 0).any(axis=1), names, "has a negative density of the redshift")
    rises = np.isfinite(grid).all(axis=1) & (np.diff(grid, axis=1) > 0).all(axis=1)
    _refuse(known & ~rises, names, "the redshifts of its densities do not rise. Sort them")
    beyond = (grid[:, 0] > HIGHEST) | (grid[:, -1] < 0)
    _refuse(known & beyond, names, f"its densities are of no redshift from 0 to {HIGHEST:g}")
    return np.asarray(known)


def _quantiles(places: np.ndarray, mass: np.ndarray, known: np.ndarray, names: Names) -> np.ndarray:
    """Quantiles of probabilities (N, K - 1) between places (N, K)."""
    total = mass.sum(axis=1)
    _refuse_far_from_one(total, known, names, "its density of the redshift integrates")
    found = np.full((len(places), len(SCORES)), np.nan)
    below = np.zeros(places.shape)
    below[:, 1:] = np.cumsum(mass, axis=1)
    for row in np.flatnonzero(known):
        found[row] = np.interp(LEVELS, below[row] / below[row, -1], places[row])
    return np.asarray(np.clip(found, 0.0, HIGHEST))


def _refuse_far_from_one(total: np.ndarray, known: np.ndarray, names: Names, what: str) -> None:
    far = known & ~(np.abs(total - 1) <= NEAR_ONE)
    if far.any():
        value = total[int(np.argmax(far))]
        _refuse(far, names, f"{what} to {value:.4g}; expected 1 within 1 %. Scale it, or give a "
                "grid that covers it")  # fmt: skip


def _refuse(wrong: np.ndarray, names: Names, why: str) -> None:
    """Name the first source with a fault, and how many there are."""
    if wrong.any():
        more = f" ({int(wrong.sum()):,} sources are so)" if wrong.sum() > 1 else ""
        raise SpectrumError(f"source '{names[int(np.argmax(wrong))]}': {why}{more}.")
