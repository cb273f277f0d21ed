"""Quantiles of each pixel of a source's spectrum, from the mixture of its latents.

The same even points, a scrambled Sobol sequence, serve all sources: they choose the Gaussian, the
place in it, and how far the residual of a pixel departs. A pixel by itself is Gaussian about the
decoded one, so that one number stands for all directions of the residual. The bands follow from
the latents alone, whatever the id, the seed and the other sources; `benchmarks/priors_files.py`
compares them with random draws.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from targetsel.priors.spectral_model import SpectralModel
from targetsel.spectra.copula import independent_normals
from targetsel.statistics.gaussian_mixture import GaussianMixture

N_POINTS = 256


def pixel_values(latents: GaussianMixture, model: SpectralModel) -> np.ndarray:
    """Equally likely values of each pixel, in increasing order.

    They are of each pixel by itself; for spectra, whose pixels go together, see `Prior.draw`.

    Returns
    -------
    ndarray, shape (1000, S)
        Relative flux density, rest frame, float32; S is `N_POINTS`.
    """
    choice, *normals, departure = independent_normals(latents.n_features + 2, N_POINTS)
    chosen = np.searchsorted(np.cumsum(latents.weight)[:-1], ndtr(choice))
    within = np.einsum("sij,js->si", latents.factor[chosen], np.array(normals))
    decoded = model.decoder.decode((latents.mean[chosen] + within)[None]).flux[0]
    ranges = model.residual.range_of(decoded)
    # Offset and deviation of each point's range, as one matrix product.
    marginals = model.residual.marginals.astype(np.float32)
    share = np.zeros((N_POINTS, *marginals.shape[:2]), np.float32)
    share[np.arange(N_POINTS), ranges] = np.stack([np.ones(N_POINTS), departure], axis=1)
    residual = share.reshape(N_POINTS, -1) @ marginals.reshape(-1, marginals.shape[2])
    values = np.ascontiguousarray((decoded + residual).T, dtype=np.float32)
    values.sort(axis=1)
    return values


def quantiles(values: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Quantiles of pixels from their values in increasing order, (1000, S) to (levels, 1000)."""
    place = np.clip(np.array(levels) * values.shape[1] - 0.5, 0, values.shape[1] - 1)
    low = np.minimum(place.astype(np.intp), values.shape[1] - 2)
    part = (place - low)[:, None]
    return (1 - part) * values[:, low].T + part * values[:, low + 1].T
