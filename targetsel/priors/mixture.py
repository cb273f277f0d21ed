"""Mixtures of Gaussians over latents: the prior of one source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from targetsel.networks.posterior import LatentPosterior


@dataclass(frozen=True)
class Mixture:
    """A mixture of K Gaussians of D latents.

    Attributes
    ----------
    weight : ndarray, shape (K,)
        Adds to 1.
    mean : ndarray, shape (K, D)
        In standardised latents.
    factor : ndarray, shape (K, D, D)
        Lower Cholesky factors of the covariances.
    """

    weight: np.ndarray
    mean: np.ndarray
    factor: np.ndarray

    @classmethod
    def of(cls, posterior: LatentPosterior, row: int) -> Mixture:
        """The posterior given the cutout of one source, which is the prior of its spectrum.

        Members are equally likely, and each is as many Gaussians as its deviations have.
        """
        one = posterior.take(slice(row, row + 1))
        d, m = one.member_mean.shape[2], one.member_mean.shape[1]
        return cls(
            np.tile(one.share[0] / m, m),
            one.component_mean.reshape(-1, d),
            one.component_factor.reshape(-1, d, d),
        )

    @property
    def n_latents(self) -> int:
        return self.mean.shape[1]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (D,) and covariance (D, D) of the whole."""
        mean = self.weight @ self.mean
        away = self.mean - mean
        cov = np.einsum("k,kij,klj->il", self.weight, self.factor, self.factor)
        return mean, cov + np.einsum("k,ki,kj->ij", self.weight, away, away)

    def log_density(self, latents: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density at S points, (S, D) to (S,)."""
        away = latents[None] - self.mean[:, None]
        white = np.linalg.solve(self.factor, away.swapaxes(1, 2))
        size = np.log(np.diagonal(self.factor, axis1=1, axis2=2)).sum(axis=1)
        constant = 0.5 * self.n_latents * np.log(2 * np.pi)
        parts = -0.5 * (white**2).sum(axis=1) - (size + constant)[:, None]
        with np.errstate(divide="ignore"):
            return logsumexp(parts + np.log(self.weight)[:, None], axis=0)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of shape (n, D); each Gaussian gives its share of them, to the next draw."""
        places = (np.arange(n) + rng.random()) / n
        chosen = np.searchsorted(np.cumsum(self.weight)[:-1], places)
        normals = rng.standard_normal((n, self.n_latents))
        draws = self.mean[chosen] + np.einsum("nij,nj->ni", self.factor[chosen], normals)
        return draws[rng.permutation(n)]
