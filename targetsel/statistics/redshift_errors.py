"""Errors of photometric redshifts in the figures of the field, over weighted sources.

All are of dz / (1 + z), with dz the predicted minus the true redshift z: its median is the bias,
its scatter the normalised median absolute deviation (Brammer et al. 2008, ApJ 686, 1503), and
beyond 0.15 a source is an outlier (Ilbert et al. 2006, A&A 457, 841).
"""

from __future__ import annotations

import numpy as np

from targetsel.statistics.resampling import Statistic, mean_of, quantiles

TO_SIGMA = 1.4826  # a Gaussian's standard deviation over its median absolute deviation
OUTLIER = 0.15


def redshift_error_figures(predicted: np.ndarray, true: np.ndarray) -> dict[str, Statistic]:
    """Bias, scatter (NMAD) and share of outliers as functions of the sources' weights (N,).

    Parameters
    ----------
    predicted, true : ndarray, shape (N,)
        Redshifts, finite.
    """
    error = (predicted - true) / (1 + true)

    def nmad(weight: np.ndarray) -> float:
        middle = quantiles(error, [0.5])(weight)[0]
        return TO_SIGMA * float(quantiles(np.abs(error - middle), [0.5])(weight)[0])

    return {
        "bias": lambda weight: float(quantiles(error, [0.5])(weight)[0]),
        "nmad": nmad,
        "outliers": lambda weight: float(mean_of((np.abs(error) > OUTLIER)[:, None])(weight)[0]),
    }
