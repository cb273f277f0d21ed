"""The joint posterior of line strengths and redshift, once more is known of the redshift.

What an image says of a source's lines at each redshift stays: p(lines, z) becomes p(lines | z)
times the new density of z (Jeffrey 1965, The Logic of Decision, ch. 11). That density is the one
from elsewhere, or its product with the image's own, for which both must rest on other data, and on
flat priors.

Under the normal copula the score of a line is u = r v + e, with v the score of the redshift, r
their correlation, and e independent of v. A new density makes v some other number, at most 2.5
either way: beyond its outermost quantiles a prediction says nothing. The distribution of u is then
the mean over v of Gaussians, exactly; correlations are those of u, which are the ones of its normal
scores to first order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from targetsel.redshifts.distributions import LEVELS, SCORES
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import (
    FINE_SCORES,
    NORMAL_SCORES,
    ProxyPosterior,
    interpolate,
    invert,
)

N_POINTS = 64  # even quantiles of the new redshift
EVEN = ndtri((np.arange(N_POINTS) + 0.5) / N_POINTS)
EVEN /= np.sqrt((EVEN**2).mean())  # which are narrower by what they lack of the tails
GRID = np.linspace(-6.0, 6.0, 97)  # of scores of a line
LEAST_REST = 1e-3  # of the variance of a line's score that does not follow the redshift
DISAGREE = 1e-3  # Bhattacharyya coefficient below which two densities have nothing in common
STORED = np.searchsorted(SCORES, NORMAL_SCORES - 1e-9)  # places of the quantiles of scored files
FINELY = np.searchsorted(SCORES, FINE_SCORES - 1e-9)
IMAGE, ELSEWHERE, BOTH, DISAGREEING = "image", "elsewhere", "both", "disagree"


@dataclass(frozen=True)
class JointPosterior:
    """The posterior of N sources after an update.

    Attributes
    ----------
    posterior : ProxyPosterior
        Of the proxies of before, and of the redshift, which is the last of its names.
    fine : ndarray, shape (N, 101)
        Quantiles of the redshift at `FINE_SCORES`.
    origin : ndarray of str or None, shape (N,)
        What the redshift is from; None where nothing is known of it.
    """

    posterior: ProxyPosterior
    fine: np.ndarray
    origin: np.ndarray


def updated(posterior: ProxyPosterior, given: np.ndarray, combine: bool = False) -> JointPosterior:
    """The posterior with redshifts of these quantiles at `SCORES`, shape (N, 161).

    Sources of which they tell nothing (NaN) stay as they are.
    """
    lines = tuple(name for name in posterior.names if name != PHOTOZ)
    known, own = np.isfinite(given).all(axis=1), np.full((len(given), len(NORMAL_SCORES)), np.nan)
    if PHOTOZ in posterior.names:
        own = np.asarray(posterior.knots(PHOTOZ), dtype=np.float64)
    there = np.isfinite(own).all(axis=1)
    origin = np.full(len(given), None, dtype=object)
    origin[there], origin[known] = IMAGE, ELSEWHERE
    new = given
    if combine and (both := known & there).any():
        new = given.copy()
        new[both] = product(given[both], own[both])
        agree = np.isfinite(new).all(axis=1)
        origin[both] = np.where(agree[both], BOTH, DISAGREEING)
    change = np.isfinite(new).all(axis=1) & there
    redshift = np.where(known[:, None], new[:, STORED], own)
    quantiles = {name: np.array(posterior.knots(name), dtype=np.float64) for name in lines}
    correlation = {
        (one, two): between(posterior, one, two) for k, two in enumerate(lines) for one in lines[:k]
    }
    if PHOTOZ in posterior.names:
        with_redshift = {name: between(posterior, name, PHOTOZ) for name in lines}
        _condition(quantiles, correlation, with_redshift, own, new, np.flatnonzero(change))
    else:
        with_redshift = {name: np.where(known, 0.0, np.nan) for name in lines}
    correlation |= {(name, PHOTOZ): values for name, values in with_redshift.items()}
    result = ProxyPosterior((*lines, PHOTOZ), {**quantiles, PHOTOZ: redshift}, correlation)
    fine = interpolate(np.tile(FINE_SCORES, (len(own), 1)), own)
    return JointPosterior(result, np.where(known[:, None], new[:, FINELY], fine), origin)


def between(posterior: ProxyPosterior, one: str, two: str) -> np.ndarray:
    """The stored correlation of two different quantities, shape (N,); a copy."""
    pair = (one, two) if (one, two) in posterior.correlation else (two, one)
    return np.array(posterior.correlation[pair], dtype=np.float64)


def _condition(
    quantiles: dict[str, np.ndarray],
    correlation: dict[tuple[str, str], np.ndarray],
    with_redshift: dict[str, np.ndarray],
    own: np.ndarray,
    new: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Change lines and correlations of these rows to those at the new redshift, in place."""
    if not len(rows):
        return
    score = _scores_in(own[rows], _at(new[rows], EVEN))
    mean = score.mean(axis=1)
    variance = (score**2).mean(axis=1) - mean**2  # 1 where nothing has changed
    along = (score * EVEN).mean(axis=1)
    before = {name: values[rows] for name, values in with_redshift.items()}
    size = {name: np.sqrt(1 - r**2 * (1 - variance)) for name, r in before.items()}
    for (one, two), values in correlation.items():
        changed = values[rows] - before[one] * before[two] * (1 - variance)
        values[rows] = np.clip(changed / (size[one] * size[two]), -1.0, 1.0)
    for name, r in before.items():
        with_redshift[name][rows] = np.clip(r * along / size[name], -1.0, 1.0)
        usable = np.isfinite(r)
        moved = _moved(np.where(usable, r, 0.0), score, mean)
        quantiles[name][rows] = interpolate(moved, quantiles[name][rows])


def _moved(r: np.ndarray, score: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The scores of a line that its new quantiles have in its old distribution, shape (N, L)."""
    rest = np.sqrt(np.maximum(1 - r**2, LEAST_REST))
    places = r[:, None] * mean[:, None] + GRID
    below = np.zeros(places.shape)
    for k in range(N_POINTS):  # point by point: a matrix product rounds differently beside others
        below += ndtr((places - r[:, None] * score[:, k, None]) / rest[:, None])
    reached = ndtri(np.clip(below / N_POINTS, 1e-12, 1 - 1e-12))
    return np.stack(
        [np.interp(NORMAL_SCORES, own, at) for own, at in zip(reached, places, strict=True)]
    )


def product(given: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Quantiles at `SCORES` of the product of two densities; NaN where they have none in common.

    Parameters
    ----------
    given : ndarray, shape (N, 161)
        Quantiles at `SCORES`.
    own : ndarray, shape (N, L)
        Quantiles at `NORMAL_SCORES`.
    """
    fine = np.maximum(interpolate(np.tile(SCORES, (len(own), 1)), own), 0.0)
    found = np.full(given.shape, np.nan)
    for row, (one, two) in enumerate(zip(given, fine, strict=True)):
        places = np.unique(np.concatenate([one, two]))
        if len(places) < 2:
            continue
        masses = [np.diff(_below(places, each)) for each in (one, two)]
        if np.sqrt(masses[0] * masses[1]).sum() < DISAGREE:
            continue
        mass = masses[0] * masses[1] / np.diff(places)
        below = np.concatenate([[0.0], np.cumsum(mass)])
        found[row] = np.interp(LEVELS, below / below[-1], places)
    return found


def _below(places: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """The probability below some places, of increasing quantiles at `SCORES`."""
    at, first = np.unique(quantiles, return_index=True)
    if len(at) < 2:
        return (places >= at[0]).astype(float)
    return np.asarray(ndtr(np.interp(places, at, SCORES[first], left=-np.inf, right=np.inf)))


def _at(quantiles: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Values at scores, shape (S,), between quantiles at `SCORES`, shape (N, S)."""
    place = (scores - SCORES[0]) / (SCORES[1] - SCORES[0])
    cell = np.clip(place.astype(int), 0, len(SCORES) - 2)
    low = quantiles[:, cell]
    return np.asarray(low + (place - cell) * (quantiles[:, cell + 1] - low))


def _scores_in(knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The scores of values in a distribution, at most its outermost ones, shape (N, S)."""
    found = invert(values, knots)
    return np.asarray(np.clip(found, NORMAL_SCORES[0], NORMAL_SCORES[-1]))
