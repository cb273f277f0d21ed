"""What an update proposes its points from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln, logsumexp

from targetsel.calibration.conformal import effective_size
from targetsel.priors.search import Landscape, Peaks
from targetsel.spectra.grid import LOG_STEP
from targetsel.statistics.gaussian_mixture import GaussianMixture

FREEDOM = 4.0  # degrees of freedom of the Student-t peaks
WIDER = 1.1  # than the Gaussian that was found
DEFENSE = 0.2  # share that is drawn from the prior itself (Hesterberg 1995)
LEAST_MASS = 0.01  # of the weight that makes a peak worth keeping
FEWEST = 20.0  # effective draws that a peak is refitted from
FLOOR = 100.0  # effective draws that all peaks together are refitted from
RIDGE = 1e-6


@dataclass(frozen=True)
class Proposal:
    """Student-t peaks, and the prior's latents at redshifts that the landscape favours.

    Points are latents, and log10(1 + redshift) in pixels.

    Attributes
    ----------
    weight : ndarray, shape (B,)
        Of the peaks among themselves.
    mean : ndarray, shape (B, D + 1)
    factor : ndarray, shape (B, D + 1, D + 1)
        Lower Cholesky factors of the t distributions' scale matrices.
    prior : GaussianMixture
    edges, chance : ndarray, shapes (Z + 1,) and (Z,)
        Cells of log10(1 + redshift) in pixels, and the probability of each.
    """

    weight: np.ndarray
    mean: np.ndarray
    factor: np.ndarray
    prior: GaussianMixture
    edges: np.ndarray
    chance: np.ndarray

    @classmethod
    def of(cls, prior: GaussianMixture, peaks: Peaks, found: Landscape) -> Proposal:
        """Peaks by the square root of their mass, since the Gaussians are only about right."""
        weight = np.exp((peaks.log_height - peaks.log_height.max()) / 2)
        middle = (found.stretch[1:] + found.stretch[:-1]) / 2
        edges = np.concatenate([found.stretch[:1], middle, found.stretch[-1:]]) / LOG_STEP
        mass = np.exp((found.log_posterior - found.log_posterior.max()) / 2) * np.diff(edges)
        chance = 0.9 * mass / mass.sum() + 0.1 * np.diff(edges) / (edges[-1] - edges[0])
        factor = WIDER * np.linalg.cholesky(peaks.cov)
        return cls(weight / weight.sum(), peaks.mean, factor, prior, edges, chance)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Points of shape (n, D + 1)."""
        n_prior = round(DEFENSE * n)
        places = (np.arange(n - n_prior) + rng.random()) / (n - n_prior)
        chosen = np.searchsorted(np.cumsum(self.weight)[:-1], places)
        normals = rng.standard_normal((len(chosen), self.mean.shape[1]))
        normals /= np.sqrt(rng.chisquare(FREEDOM, (len(chosen), 1)) / FREEDOM)
        near = self.mean[chosen] + np.einsum("nij,nj->ni", self.factor[chosen], normals)
        cells = np.searchsorted(np.cumsum(self.chance)[:-1], rng.random(n_prior))
        width = np.diff(self.edges)[cells]
        place = self.edges[cells] + rng.random(n_prior) * width
        far = np.concatenate([self.prior.draw(n_prior, rng), place[:, None]], axis=1)
        return np.concatenate([near, far])

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density at points (n, D + 1), shape (n,)."""
        with np.errstate(divide="ignore"):
            near = logsumexp(self._of_peaks(points) + np.log(self.weight)[:, None], axis=0)
            far = self.prior.log_density(points[:, :-1]) + np.log(self._of_place(points[:, -1]))
        return np.logaddexp(near + np.log(1 - DEFENSE), far + np.log(DEFENSE))

    def _of_peaks(self, points: np.ndarray) -> np.ndarray:
        """Natural logarithms of the peaks' densities, shape (B, n)."""
        d = points.shape[1]
        away = points[None] - self.mean[:, None]
        white = np.linalg.solve(self.factor, away.swapaxes(1, 2))
        size = np.log(np.diagonal(self.factor, axis1=1, axis2=2)).sum(axis=1)
        constant = (
            gammaln((FREEDOM + d) / 2) - gammaln(FREEDOM / 2) - d / 2 * np.log(FREEDOM * np.pi)
        )
        shape = -(FREEDOM + d) / 2 * np.log1p((white**2).sum(axis=1) / FREEDOM)
        return constant - size[:, None] + shape

    def _of_place(self, place: np.ndarray) -> np.ndarray:
        cell = np.clip(
            np.searchsorted(self.edges, place, side="right") - 1, 0, len(self.chance) - 1
        )
        inside = (place >= self.edges[0]) & (place <= self.edges[-1])
        return np.where(inside, self.chance[cell] / np.diff(self.edges)[cell], 0.0)


def refitted(proposal: Proposal, points: np.ndarray, log_weight: np.ndarray) -> Proposal:
    """The proposal with peaks where the weighted points are.

    Weights that rest on few points are flattened first. Every point counts for the peaks by the
    shares that they have in the density there. A peak that too few points speak for keeps its
    shape.
    """
    log_weight = flattened(log_weight)
    with np.errstate(divide="ignore"):
        parts = proposal._of_peaks(points) + np.log(proposal.weight)[:, None]
    share = np.exp(parts - logsumexp(parts, axis=0))
    weight = share * np.exp(log_weight - logsumexp(log_weight))
    mass = weight.sum(axis=1)
    mean, factor = proposal.mean.copy(), proposal.factor.copy()
    for k in np.flatnonzero(mass > LEAST_MASS):
        normed = weight[k] / mass[k]
        if 1 / (normed**2).sum() < FEWEST:
            continue
        mean[k] = normed @ points
        away = points - mean[k]
        cov = (normed[:, None] * away).T @ away
        cov[np.diag_indices_from(cov)] *= 1 + RIDGE
        factor[k] = WIDER * np.linalg.cholesky(cov)
    kept = np.maximum(mass, LEAST_MASS / len(mass))
    return replace(proposal, weight=kept / kept.sum(), mean=mean, factor=factor)


def flattened(log_weight: np.ndarray) -> np.ndarray:
    """Weights to the highest power up to 1 at which they are worth 100 draws, as logarithms.

    Peaks fitted to a few heavy points would be too narrow, and draws from them would never find
    the rest (Koblents & Miguez 2015, Stat. Comput. 25, 407, who transform weights to that end).
    """
    low, high = 1e-6, 1.0
    if worth(log_weight) >= FLOOR:
        return log_weight
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(middle * log_weight) >= FLOOR else (low, middle)
    return low * log_weight


def worth(log_weight: np.ndarray) -> float:
    """Of how many equal draws weighted ones are worth, by the logarithms of their weights."""
    return effective_size(np.exp(log_weight - log_weight.max()))
