"""The posterior of the latents given a cutout: a mixture of the members' Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri
from scipy.stats import qmc

from targetsel.identity import uniform

N_HALVINGS = 34  # of the interval that a quantile is searched in
WIDEST = 12.0  # that interval's half width [widest standard deviation of a member]


@dataclass(frozen=True)
class LatentPosterior:
    """p(latents given cutout) for each source, as an equal mixture over M members.

    A network gives a Gaussian. A calibration may find that its tails are heavier, and makes it a
    mixture of J Gaussians that differ in scale only, so that the whole stays a Gaussian mixture.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    member_mean : ndarray, shape (N, M, D)
        In standardised latents. NaN for a source without a prediction.
    member_factor : ndarray, shape (N, M, D, D)
        Lower Cholesky factors of the members' covariances.
    novelty : ndarray, shape (N,)
        Share of held-out training sources that look at least as strange; small means novel.
    scale : ndarray, shape (N, J)
        Factors of every standard deviation. One of 1 by default.
    share : ndarray, shape (N, J)
        What part of a member has each scale. They add to 1, and ``share * scale**2`` do, so that
        `member_cov` are covariances whatever the tails.
    magnitude : ndarray, shape (N,)
        Of the cutout's central light (`imaging.brightness`); NaN where it is not known.
    """

    source_id: np.ndarray
    member_mean: np.ndarray
    member_factor: np.ndarray
    novelty: np.ndarray
    scale: np.ndarray = None  # type: ignore[assignment]
    share: np.ndarray = None  # type: ignore[assignment]
    magnitude: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in ("scale", "share"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.ones((len(self.source_id), 1)))
        if self.magnitude is None:
            object.__setattr__(self, "magnitude", np.full(len(self.source_id), np.nan))

    def __len__(self) -> int:
        return len(self.source_id)

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

    # ------------------------------------------------------------------ other posteriors

    def take(self, rows: np.ndarray | slice) -> LatentPosterior:
        """Some of the sources, by mask, indices or slice."""
        return LatentPosterior(**{name: values[rows] for name, values in vars(self).items()})

    def stretched(self, factor: np.ndarray) -> LatentPosterior:
        """The posterior with every deviation from its mean multiplied, latent by latent.

        Members' means move away from the common mean as their covariances grow, so that the
        aleatoric and epistemic parts keep their ratio, and quantiles move in proportion.

        Parameters
        ----------
        factor : ndarray, shape (N, D)
        """
        mean = self.mean[:, None]
        return replace(
            self,
            member_mean=mean + factor[:, None] * (self.member_mean - mean),
            member_factor=factor[:, None, :, None] * self.member_factor,
        )

    def reshaped(self, factor: np.ndarray) -> LatentPosterior:
        """The posterior with deviations from its mean multiplied by a matrix in whitened latents.

        Where whitened deviations had unit covariance, they have ``factor @ factor.T`` afterwards.
        Members' means move with their covariances, as in `stretched`.

        Parameters
        ----------
        factor : ndarray, shape (D, D)
            Lower triangular.
        """
        own = np.linalg.cholesky(self.cov)
        matrix = (own @ factor @ np.linalg.inv(own))[:, None]
        mean = self.mean[:, None]
        moved = matrix @ (self.member_mean - mean)[..., None]
        return replace(
            self,
            member_mean=mean + moved[..., 0],
            member_factor=matrix @ self.member_factor,
        )

    def with_noise(self, noise: np.ndarray) -> LatentPosterior:
        """The posterior of latents that were measured with errors of this scatter, (N, D)."""
        variance = np.eye(noise.shape[1]) * noise[:, None, None, :] ** 2
        return replace(self, member_factor=np.linalg.cholesky(self.member_cov + variance))

    # ------------------------------------------------------------------ numbers

    def probability_below(self, latents: np.ndarray) -> np.ndarray:
        """P(latent < value) of each latent by itself; values and result of shape (N, D)."""
        spread = np.sqrt(np.diagonal(self.member_cov, axis1=2, axis2=3))
        deviation = (latents[:, None] - self.member_mean) / spread
        below = ndtr(deviation[..., None] / self.scale[:, None, None]) * self.share[:, None, None]
        return below.sum(axis=3).mean(axis=1)

    def quantile(self, probability: float) -> np.ndarray:
        """The quantile of each latent by itself at `probability` (0 to 1), shape (N, D)."""
        spread = np.sqrt(np.diagonal(self.member_cov, axis1=2, axis2=3)).max(axis=1)
        reach = WIDEST * spread * self.scale.max(axis=1)[:, None]
        low, high = self.member_mean.min(axis=1) - reach, self.member_mean.max(axis=1) + reach
        for _ in range(N_HALVINGS):
            middle = (low + high) / 2
            above = self.probability_below(middle) < probability
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return (low + high) / 2

    def log_density(self, latents: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density at one point for each source, (N, D) to (N,)."""
        parts = self.log_densities(latents, self.scale)
        with np.errstate(divide="ignore"):
            return logsumexp(parts + np.log(self.share), axis=1)

    def log_densities(self, latents: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The same of the mixture of Gaussians at each of K scales, (N, K) or (K,), shape (N, K).

        Parameters
        ----------
        latents : ndarray, shape (N, D)
        """
        whitened = self.whitened(latents)
        squared = (whitened**2).sum(axis=2)[:, :, None]
        size = np.log(np.diagonal(self.member_factor, axis1=2, axis2=3)).sum(axis=2)[:, :, None]
        scale = np.atleast_2d(scale)[:, None]
        d = latents.shape[1]
        parts = -0.5 * squared / scale**2 - size - d * np.log(scale * np.sqrt(2 * np.pi))
        return logsumexp(parts, axis=1) - np.log(parts.shape[1])

    def whitened(self, latents: np.ndarray) -> np.ndarray:
        """Deviations of a point from each member's mean, in its own units, (N, D) to (N, M, D)."""
        deviation = (latents[:, None] - self.member_mean)[..., None]
        return np.linalg.solve(self.member_factor, deviation)[..., 0]

    # ------------------------------------------------------------------ draws

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
        normals *= self._draw_scales(each, seed)[..., None]
        draws = self.member_mean[:, :, None] + np.einsum(
            "nmij,nmsj->nmsi", self.member_factor, normals
        )
        return draws.reshape(n, m * each, d)

    def _draw_scales(self, each: int, seed: int) -> np.ndarray:
        """The scale of every draw of every member, shape (N, M, S) or, if there is one, (N, 1, 1).

        By one more dimension of the same Sobol sequence.
        """
        if self.scale.shape[1] == 1:
            return self.scale[:, :, None]
        n, m, d = self.member_mean.shape
        shifts = uniform(self.source_id, seed, "scales", m)[:, :, None]
        place = (_sobol(d + 1, each)[:, d] + shifts) % 1.0
        ends = np.cumsum(self.share, axis=1)[:, :-1]
        chosen = (place[..., None] >= ends[:, None, None]).sum(axis=3)
        return np.take_along_axis(self.scale, chosen.reshape(n, -1), axis=1).reshape(n, m, each)


@cache
def _sobol(dimension: int, n: int) -> np.ndarray:
    """The first points of a Sobol sequence, shape (n, dimension)."""
    return qmc.Sobol(dimension, scramble=False).random_base2(int(np.ceil(np.log2(n))))[:n]
