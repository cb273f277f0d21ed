"""Bins of magnitude, size and redshift: the subsets that every figure is repeated for."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from targetsel.calibration.known_sources import KnownSources
from targetsel.report.figures import ALL
from targetsel.report.photometry import (
    REDSHIFTS,
    SIZES,
    first_of,
    magnitudes,
    numbers,
    red_magnitude,
)

FEWEST_PER_BIN = 300
MOST_BINS = 5


@dataclass(frozen=True)
class Subset:
    """Some of the sources, and how they are called.

    Attributes
    ----------
    name : str
        Such as ``rmag 15.1 to 16.8``.
    by : str
        What parts it from others; empty for all sources.
    middle : float
        Median of that.
    rows : ndarray of bool, shape (N,)
    """

    name: str
    by: str
    middle: float
    rows: np.ndarray


def subsets(known: KnownSources) -> list[Subset]:
    """All sources, then bins of magnitude, size and redshift, as far as these are known.

    Columns of the scored file go before those of the truth.
    """
    found = [Subset(ALL, "", np.nan, np.ones(len(known), dtype=bool))]
    for table in (known.scored, known.truth.table):
        if (name := red_magnitude(table)) is not None:
            found += _bins(name, magnitudes(table)[name])
            break
    for names in (SIZES, REDSHIFTS):
        for table in (known.scored, known.truth.table):
            if (name := first_of(table, names)) is not None:
                found += _bins(name, numbers(table, name))
                break
    return found


def _bins(name: str, values: np.ndarray) -> list[Subset]:
    """Bins of equal numbers, of at least `FEWEST_PER_BIN`; none where there would be only one."""
    known = values[np.isfinite(values)]
    wanted = min(len(known) // FEWEST_PER_BIN, MOST_BINS)
    if wanted < 2:
        return []
    edges = np.unique(np.quantile(known, np.linspace(0, 1, wanted + 1)))
    if len(edges) < 3:
        return []
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    place = np.where(np.isfinite(values), place, -1)
    found = []
    for k, (low, high) in enumerate(itertools.pairwise(edges)):
        rows = place == k
        middle = float(np.median(values[rows]))
        found.append(Subset(f"{name} {low:.4g} to {high:.4g}", name, middle, rows))
    return found
