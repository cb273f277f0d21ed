"""Trends of counts with a map of the sky: in bins of the map, with errors from patches of the sky.

The density in a bin is relative to the mean. Its errors, and their correlations, come from leaving
out patches of the sky, so that they hold Poisson noise and clustering that does not reach from one
patch to the next; where it does, they are too small. That
the density is the same in all bins is tested by Hotelling's T2 (1931), which takes into account
that the covariance is estimated from as many patches as there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_BINS, FEWEST_BINS = 10, 3
PATCHES_PER_BIN = 6  # a covariance from fewer patches says too little
ENDS = (0.05, 0.95)  # quantiles of the map between which a slope is told


@dataclass(frozen=True)
class CountTrend:
    """Relative densities in bins of a map.

    Attributes
    ----------
    centres : ndarray, shape (B,)
        Mean of the map in each bin.
    density, error : ndarray, shape (B,)
        Relative to the mean, and its standard error.
    chi2 : float
        Of a density that is the same in all bins.
    dof : int
    p : float
        Probability of a larger chi2 where it is the same.
    slope, slope_error : float
        Change of the relative density from the 5th to the 95th percentile of the map, of a straight
        line.
    """

    centres: np.ndarray
    density: np.ndarray
    error: np.ndarray
    chi2: float
    dof: int
    p: float
    slope: float
    slope_error: float


def trend(
    values: np.ndarray, counts: np.ndarray, areas: np.ndarray, patch: np.ndarray
) -> CountTrend:
    """The trend of counts with a map.

    Parameters
    ----------
    values : ndarray, shape (K,)
        The map in each cell.
    counts, areas : ndarray, shape (K,)
        Counts may be weighted.
    patch : ndarray of int64, shape (K,)
        The patch of the sky that each cell lies in.
    """
    n_patches = len(np.unique(patch))
    n_bins = int(np.clip(n_patches // PATCHES_PER_BIN, FEWEST_BINS, N_BINS))
    bins = quantile_bins(values, areas, n_bins)
    area = np.bincount(bins, areas)
    density = np.bincount(bins, counts) / area * areas.sum() / counts.sum()
    covariance = _covariance(bins, counts, areas, patch)
    chi2, p = _even_test(density, covariance, n_patches)
    slope, slope_error = _slope(values, counts, areas, patch)
    return CountTrend(
        np.bincount(bins, areas * values) / area,
        density,
        np.sqrt(np.diag(covariance)),
        chi2,
        len(density) - 1,
        p,
        slope,
        slope_error,
    )


def quantile_bins(values: np.ndarray, areas: np.ndarray, n_bins: int) -> np.ndarray:
    """The bin of each cell, from 0, of nearly equal areas; equal values share a bin, shape (K,)."""
    place = np.unique(values, return_inverse=True)[1]
    area = np.bincount(place, areas)
    middle = (np.cumsum(area) - area / 2) / area.sum()
    bins = np.minimum((middle * n_bins).astype(np.int64), n_bins - 1)
    return np.asarray(np.unique(bins, return_inverse=True)[1][place])


def weighted_quantiles(
    values: np.ndarray, areas: np.ndarray, levels: tuple[float, ...]
) -> np.ndarray:
    """Quantiles of a map over the area, shape (len(levels),)."""
    order = np.argsort(values, kind="stable")
    middle = (np.cumsum(areas[order]) - areas[order] / 2) / areas.sum()
    return np.interp(levels, middle, values[order])


def _covariance(
    bins: np.ndarray, counts: np.ndarray, areas: np.ndarray, patch: np.ndarray
) -> np.ndarray:
    """Covariance of the relative densities in B bins, shape (B, B).

    From leaving out one patch after the other (jackknife; Quenouille 1956). Of bins that lie in
    few patches, whose scatter is not known, at least Poisson's.
    """
    n_bins, n_patches = int(bins.max()) + 1, int(patch.max()) + 1
    place = patch * n_bins + bins
    n, a = (
        np.bincount(place, each, n_bins * n_patches).reshape(n_patches, n_bins)
        for each in (counts, areas)
    )
    there = a.sum(axis=1) > 0
    n, a = n[there], a[there]
    mean, area = n.sum() / a.sum(), a.sum(axis=0)
    found = _jackknife(_densities(n.sum(axis=0) - n, area - a))
    poisson = n.sum(axis=0) / area / mean / np.maximum(mean * area, 1e-300)
    few = (a > 0).sum(axis=0) < PATCHES_PER_BIN
    found[np.diag_indices(n_bins)] += np.where(few, np.maximum(poisson - np.diag(found), 0), 0)
    return found


def _densities(n: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Densities in bins relative to the mean, shape (R, B); 1 in a bin without area."""
    mean = n.sum(axis=1) / areas.sum(axis=1)
    return np.where(areas > 0, n / np.where(areas > 0, areas, 1.0) / mean[:, None], 1.0)


def _jackknife(values: np.ndarray) -> np.ndarray:
    """Covariance of statistics, from their values without each of R patches, shape (R, B)."""
    apart = values - values.mean(axis=0)
    return np.asarray(apart.T @ apart * ((len(values) - 1) / len(values)))


def _even_test(density: np.ndarray, covariance: np.ndarray, n_patches: int) -> tuple[float, float]:
    """Hotelling's T2 of the bins but the last, which follows from the others, and its p."""
    from scipy.stats import f as f_distribution

    dof = len(density) - 1
    if dof < 1:
        return 0.0, 1.0
    apart = density[:-1] - 1
    chi2 = float(apart @ np.linalg.pinv(covariance[:-1, :-1], hermitian=True) @ apart)
    left = n_patches - 1 - dof
    if left < 1:
        return chi2, float("nan")
    return chi2, float(f_distribution.sf(chi2 * left / (dof * (n_patches - 1)), dof, left))


def _slope(
    values: np.ndarray, counts: np.ndarray, areas: np.ndarray, patch: np.ndarray
) -> tuple[float, float]:
    """Change of the relative density between `ENDS` of the map, and its error from patches."""
    low, high = weighted_quantiles(values, areas, ENDS)
    x = (values - np.average(values, weights=areas)) / (high - low if high > low else 1.0)
    parts = np.stack(
        [np.bincount(patch, each) for each in (counts, areas, x * counts, x * areas, x**2 * areas)]
    )
    parts = parts[:, parts[1] > 0]
    total = parts.sum(axis=1, keepdims=True)
    without = _steepness(total - parts)
    error = np.sqrt(_jackknife(without[:, None])[0, 0])
    return float(_steepness(total)[0]), float(error)


def _steepness(sums: np.ndarray) -> np.ndarray:
    """Slope of the relative density, from sums of counts, areas and their products with a map."""
    n, area, xn, xa, xxa = sums
    return np.asarray((xn - xa / area * n) / (n / area * (xxa - xa**2 / area)))
