"""The posterior of the latents given a cutout: a mixture of the members' Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from targetsel.identity import uniform


@dataclass(frozen=True)
class LatentPosterior:
    """p(latents given cutout) for each source, as an equal mixture over M members.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    member_mean : ndarray, shape (N, M, D)
        In standardised latents. NaN for a source without a prediction.
    member_factor : ndarray, shape (N, M, D, D)
        Lower Cholesky factors of the members' covariances.
    novelty : ndarray, shape (N,)
        Share of held-out training sources that look at least as strange; small means novel.
    """

    source_id: np.ndarray
    member_mean: np.ndarray
    member_factor: np.ndarray
    novelty: np.ndarray

    @property
    def member_cov(self) -> np.ndarray:
        """The members' covariances, shape (N, M, D, D)."""
        return self.member_factor @ self.member_factor.swapaxes(-1, -2)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the mixture, shape (N, D)."""
        return self.member_mean.mean(axis=1)

    @property
    def cov(self) -> np.ndarray:
        """Covariance of the mixture, shape (N, D, D): aleatoric plus epistemic part.

        Lakshminarayanan et al. (2017, arXiv:1612.01474), section 2.4, with full covariances.
        """
        return self.member_cov.mean(axis=1) + self.epistemic_cov

    @property
    def epistemic_cov(self) -> np.ndarray:
        """Covariance of the members' means, shape (N, D, D)."""
        delta = self.member_mean - self.mean[:, None]
        return np.einsum("nmi,nmj->nij", delta, delta) / delta.shape[1]

    @property
    def epistemic(self) -> np.ndarray:
        """The members' disagreement, shape (N,): root mean square over latents of the scatter of
        their means, in units of the training spectra's own scatter."""
        return np.sqrt(np.trace(self.epistemic_cov, axis1=1, axis2=2) / self.mean.shape[1])

    def draw(self, n_draws: int, seed: int = 0) -> np.ndarray:
        """Draws of the latents, shape (N, S, D) with S the multiple of M next to `n_draws`.

        Each member gives the same number of draws, from a Sobol sequence of normals that a hash
        of the source's id and the seed shifts (Cranley & Patterson 1976): reproducible for a
        source whatever its batch, and evener than random draws.
        """
        n, m, d = self.member_mean.shape
        each = -(-n_draws // m)
        shifts = uniform(self.source_id, seed, "latents", m * d).reshape(n, m, 1, d)
        points = (_sobol(d, each) + shifts) % 1.0
        normals = ndtri(np.clip(points, 1e-9, 1 - 1e-9))
        draws = self.member_mean[:, :, None] + np.einsum(
            "nmij,nmsj->nmsi", self.member_factor, normals
        )
        return draws.reshape(n, m * each, d)


@cache
def _sobol(dimension: int, n: int) -> np.ndarray:
    """The first points of a Sobol sequence, shape (n, dimension)."""
    return qmc.Sobol(dimension, scramble=False).random_base2(int(np.ceil(np.log2(n))))[:n]
