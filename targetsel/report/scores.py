"""How good predicted distributions were, source by source.

Everything here is one number per source, so that a mean over any of the sources, under any
weights, is a figure.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2


def inside(pit: np.ndarray, level: float) -> np.ndarray:
    """Whether each true value lies in the central interval that claims to hold `level` of them.

    Parameters
    ----------
    pit : ndarray
        The predicted probability of a smaller value (probability integral transform).
    """
    return np.abs(pit - 0.5) <= level / 2


def crps(values: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of S equally probable values, shape (N,).

    Twice the mean pinball loss at the levels (i - 1/2) / S, which is the integral of (F - step)^2
    for the distribution F that jumps at every value (Laio & Tamea 2007, HESS 11, 1267, eq. 5).

    Parameters
    ----------
    values : ndarray, shape (N, S)
    true : ndarray, shape (N,)
    """
    values = np.sort(values, axis=1)
    levels = (np.arange(values.shape[1]) + 0.5) / values.shape[1]
    above = values > true[:, None]
    return 2 * ((values - true[:, None]) * (above - levels)).mean(axis=1)


def energy_score(draws: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Energy score, the CRPS of vectors: E|X - y| - E|X - X'| / 2, shape (N,).

    Gneiting & Raftery (2007, JASA 102, 359), eq. 22, with draws for expectations.

    Parameters
    ----------
    draws : ndarray, shape (N, S, D)
    true : ndarray, shape (N, D)
    """
    away = np.linalg.norm(draws - true[:, None], axis=2).mean(axis=1)
    apart = np.empty(len(draws))
    for row, each in enumerate(draws):  # all pairs of one source still fit in the cache
        centred = each - each.mean(axis=0)
        size = (centred**2).sum(axis=1)
        squared = size[:, None] + size - 2 * centred @ centred.T
        apart[row] = np.sqrt(np.maximum(squared, 0.0)).mean()
    return away - apart / 2


def mahalanobis_pit(mean: np.ndarray, cov: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Share of a Gaussian that lies nearer to its mean than the true vector, shape (N,).

    Uniform where the posteriors are Gaussians and right; a mixture of them is taken as the one
    Gaussian of its mean and covariance.

    Parameters
    ----------
    mean, true : ndarray, shape (N, D)
    cov : ndarray, shape (N, D, D)
    """
    deviation = true - mean
    whitened = np.linalg.solve(cov, deviation[..., None])[..., 0]
    return chi2.cdf((deviation * whitened).sum(axis=1), df=true.shape[1])


def tarp(draws: np.ndarray, true: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Share of the draws that lie nearer to a reference point than the true vector, shape (N,).

    Uniform, whatever the reference, if and only if the posterior is right for all of them: Lemos
    et al. (2023, arXiv:2302.03026), algorithm 2. Of S draws, k give (k + 1/2) / (S + 1).

    Parameters
    ----------
    draws : ndarray, shape (N, S, D)
    true, reference : ndarray, shape (N, D)
    """
    away = np.linalg.norm(draws - reference[:, None], axis=2)
    nearer = (away < np.linalg.norm(true - reference, axis=1)[:, None]).sum(axis=1)
    return (nearer + 0.5) / (draws.shape[1] + 1)
