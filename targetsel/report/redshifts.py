"""Figures of predicted redshifts: bias, scatter and outliers of dz / (1 + z)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from targetsel.report.distributions import MarginalScores
from targetsel.report.figures import Figure, Subset
from targetsel.spectra.photoz import PHOTOZ
from targetsel.statistics.redshift_errors import OUTLIER, redshift_error_figures
from targetsel.statistics.resampling import Resampling

BIAS, NMAD, OUTLIERS = "bias of dz/(1+z)", "NMAD of dz/(1+z)", f"outliers beyond {OUTLIER:g}"
NAMES = {"bias": BIAS, "nmad": NMAD, "outliers": OUTLIERS}
TERMS = {
    "dz/(1+z)": "median predicted redshift less the true one, over 1 plus the true one. Its NMAD "
    "is 1.4826 times its median distance from its median (for a Gaussian the standard deviation)",
}


def redshift_figures(
    scores: Sequence[MarginalScores], parts: Sequence[Subset], resampling: Resampling
) -> Iterator[Figure]:
    """Bias, NMAD and share of outliers in every subset; none where no redshift is known.

    Parameters
    ----------
    scores : sequence of MarginalScores
        Of all that is predicted; those of `photoz` count.
    """
    for each in scores:
        if each.name != PHOTOZ:
            continue
        for part in parts:
            rows = part.rows & each.known
            if rows.any():
                yield from _figures(each, part.name, rows, resampling)


def _figures(
    each: MarginalScores, subset: str, rows: np.ndarray, resampling: Resampling
) -> Iterator[Figure]:
    true, n, weight = each.true[rows], int(rows.sum()), resampling.weight[rows]
    for name, statistic in redshift_error_figures(true + each.error[rows], true).items():
        about = NAMES[name], PHOTOZ, subset, resampling.estimate(statistic, rows).values, n
        yield Figure.of_share(*about, weight) if name == "outliers" else Figure.of_values(*about)
