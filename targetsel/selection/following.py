"""Bounds on probabilities of quantities that follow from proxies, such as a line's S/N.

Their draws are calculated from those of redshift and width, which takes some time. Most sources
need none: the quantiles that `observe` wrote say between which two of the probabilities there the
sought one lies. They are from other draws of the same posterior, hence a margin. Between two
quantiles nothing is assumed: that is where a line may leave the spectrograph's range.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy  # whose `special` is imported when it is first used

from targetsel.selection.sources import Sources
from targetsel.spectra.proxies import NORMAL_SCORES

MARGIN = 0.01


def has_quantiles(name: str, sources: Sources) -> bool:
    """Whether a quantity has quantiles in the catalog."""
    return name in sources.posterior.names


def bounds_by_quantiles(
    name: str, operator: str, limit: np.ndarray, sources: Sources
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most that the probability of a comparison can be, shape (N,).

    Parameters
    ----------
    name : str
        A quantity with quantiles.
    operator : str
        One of <, <=, > and >=.
    limit : ndarray, shape (N,) or ()
    """
    knots = np.asarray(sources.posterior.knots(name), dtype=np.float64)
    limit = np.broadcast_to(limit, (len(knots),))[:, None]
    levels = scipy.special.ndtr(NORMAL_SCORES)
    # P(x < c), or for <= and > P(x <= c).
    below = knots < limit if operator in ("<", ">=") else knots <= limit
    reached = np.concatenate([[0.0], levels])[below.sum(axis=1)]
    passed = np.concatenate([levels, [1.0]])[below.sum(axis=1)]
    low, high = np.maximum(reached - MARGIN, 0.0), np.minimum(passed + MARGIN, 1.0)
    return (low, high) if operator in ("<", "<=") else (1 - high, 1 - low)


def without_light(names: Iterable[str], sources: Sources) -> np.ndarray:
    """Whether a source lacks the light or the dust that some of these names need, shape (N,)."""
    names = {*names}
    following = sources.following if sources.follows(names) else None
    if following is None or not any(n in following and following.needs_light(n) for n in names):
        return np.zeros(len(sources), dtype=bool)
    continuum, reddening = sources.light()
    return ~np.isfinite(continuum).any(axis=1) | ~np.isfinite(reddening)
