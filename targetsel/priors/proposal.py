"""Proposals of latents and redshift: Student-t distributions about the peaks of the posterior.

The peaks are searched for in the redshift alone first: with the prior's spectra as a Gaussian,
everything but the redshift is linear, and the evidence is computed on a fine grid. Then latents and
redshift together are optimised from the highest peaks by damped Gauss-Newton steps (Levenberg 1944;
Marquardt 1963).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import gammaln, logsumexp

from targetsel.priors.likelihood import AMPLITUDES, N_TILTS, Likelihood, interpolated, solve
from targetsel.priors.prior import RedshiftPrior
from targetsel.priors.spectral_model import FINENESS
from targetsel.spectra.grid import LOG_STEP, N_PIXELS
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.statistics.resampling import effective_size

STEP = LOG_STEP / 2  # step of the grid of log10(1 + redshift)
N_DIRECTIONS = 16
N_STARTS = 12  # initial latents tried at each peak
N_PEAKS = 10
APART = 3  # least separation of peaks [grid step]
LOWEST = 25.0  # lowest peak kept: natural logarithm below the highest
N_STEPS = 8
AT_ONCE = 64
BREADTH = 20.0  # standard deviation of the redshift about its peak that keeps a step finite [pixel]
NUDGE = 0.05  # step of the numerical derivative by redshift [pixel]
FREEDOM = 4.0  # degrees of freedom of the Student-t peaks
WIDER = 1.1  # width of the Student-t peaks over that of the fitted Gaussians
DEFENSE = 0.2  # share drawn from the prior itself (Hesterberg 1995)
LEAST_MASS = 0.01  # least share of the weight of a peak that is kept
FEWEST = 20.0  # effective draws that a peak is refitted from
FLOOR = 100.0  # effective draws that all peaks together are refitted from
RIDGE = 1e-6


@dataclass(frozen=True)
class Landscape:
    """Posterior of the redshift on a grid of log10(1 + redshift).

    Attributes
    ----------
    stretch : ndarray, shape (Z,)
        log10(1 + redshift).
    log_posterior : ndarray, shape (Z,)
        Natural logarithm of evidence times prior, up to a constant.
    """

    stretch: np.ndarray
    log_posterior: np.ndarray

    def peaks(self) -> np.ndarray:
        """Indices of the highest peaks on the grid, highest first."""
        left = self.log_posterior.copy()
        found: list[int] = []
        while len(found) < N_PEAKS:
            k = int(np.argmax(left))
            if found and not left[k] > self.log_posterior[found[0]] - LOWEST:
                break
            found.append(k)
            left[max(k - APART, 0) : k + APART + 1] = -np.inf
        return np.array(found)


@dataclass(frozen=True)
class Peaks:
    """Peaks of the posterior, each approximated by a Gaussian.

    Attributes
    ----------
    log_height : ndarray, shape (B,)
        Natural logarithm of the integral under the Gaussian, up to a constant.
    mean : ndarray, shape (B, D + 1)
        Latents, and log10(1 + redshift) in pixels.
    cov : ndarray, shape (B, D + 1, D + 1)
    """

    log_height: np.ndarray
    mean: np.ndarray
    cov: np.ndarray


def landscape(likelihood: Likelihood, spectra: np.ndarray, redshift: RedshiftPrior) -> Landscape:
    """Posterior of each redshift, with the prior's spectra (n, 1000) as a Gaussian."""
    low, high = np.log10(1 + np.array(redshift.range))
    n = max(2, int(np.ceil((high - low) / STEP)) + 1)
    stretch = np.linspace(low, high, n)
    mean = spectra.mean(axis=0)
    _, size, directions = np.linalg.svd((spectra - mean) / len(spectra) ** 0.5, full_matrices=False)
    linear = directions[:N_DIRECTIONS] * size[:N_DIRECTIONS, None]
    points = np.arange((N_PIXELS - 1) * FINENESS + 1) / FINENESS
    fine = CubicSpline(np.arange(N_PIXELS), np.vstack([mean, linear]), axis=1)(points).T
    rest = np.maximum(spectra.var(axis=0) - (linear**2).sum(axis=0), 1e-12)
    rest = np.interp(points, np.arange(N_PIXELS), rest)
    log = np.empty(n)
    for start in range(0, n, AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        place = np.rint(likelihood.place(stretch[rows]) * FINENESS).astype(np.intp)
        light = likelihood.amplitude * fine[place]
        tilts = light[..., :1] * likelihood.tilts
        columns = np.concatenate([AMPLITUDES * light[..., :1], tilts, light[..., 1:]], axis=2)
        variance = 1 / likelihood.pixels.ivar + likelihood.amplitude**2 * rest[place]
        log[rows] = solve(columns, variance, likelihood.pixels.flux)[2]
    inside = np.clip(stretch, low + 1e-12, high - 1e-12)
    return Landscape(stretch, log + np.maximum(redshift.log_density(inside), -1e3))


def climb(
    likelihood: Likelihood, prior: GaussianMixture, found: Landscape, starts: np.ndarray
) -> Peaks:
    """The peaks of the posterior near those of the landscape.

    Parameters
    ----------
    starts : ndarray, shape (n, D)
        Candidates for the initial latents; the best one is used at each peak.
    """
    stretch = found.stretch[found.peaks()]
    mean, cov = prior.moments()
    ascent = _Ascent(likelihood, mean, np.linalg.inv(cov))
    return ascent.climb(_best(likelihood, starts, stretch), stretch)


def _best(likelihood: Likelihood, starts: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    n, b = len(starts), len(stretch)
    log = likelihood.log(np.tile(starts, (b, 1)), np.repeat(stretch, n)).reshape(b, n)
    return starts[log.argmax(axis=1)]


@dataclass(frozen=True)
class _Ascent:
    """Gauss-Newton steps of latents, redshift and linear parameters together."""

    likelihood: Likelihood
    mean: np.ndarray
    precision: np.ndarray

    def climb(self, latents: np.ndarray, stretch: np.ndarray) -> Peaks:
        d = latents.shape[1]
        point = np.concatenate([latents, stretch[:, None] / LOG_STEP], axis=1)
        damping = np.full(len(point), 1e-2)
        height, inner, slope = self._look(point)
        for _ in range(N_STEPS):
            damped = inner.copy()
            damped[:, range(d + 1), range(d + 1)] *= 1 + damping[:, None]
            step = np.linalg.solve(damped, slope[..., None])[:, : d + 1, 0]
            step[:, d] = np.clip(step[:, d], -1, 1)
            tried = self._look(point + step)
            better = tried[0] > height
            point = np.where(better[:, None], point + step, point)
            height = np.where(better, tried[0], height)
            inner = np.where(better[:, None, None], tried[1], inner)
            slope = np.where(better[:, None], tried[2], slope)
            damping = np.where(better, damping / 5, damping * 5)
        cov = np.linalg.inv(inner)[:, : d + 1, : d + 1]
        return Peaks(height + 0.5 * np.linalg.slogdet(cov)[1], point, cov)

    def _look(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log posterior, Hessian and gradient, in the point and the linear coefficients."""
        d = point.shape[1] - 1
        latents, stretch = point[:, :d], point[:, d] * LOG_STEP
        linear = self.likelihood.linear(latents, stretch)
        place = self.likelihood.place(stretch)
        tilt = linear.mean[:, 1 : 1 + N_TILTS] @ self.likelihood.tilts.T
        size = self.likelihood.amplitude * (AMPLITUDES * linear.mean[:, :1] + tilt)
        by_latent = self.likelihood.model.decoder.jacobian(latents)
        along = [interpolated(by_latent[..., k], place) for k in range(d)]
        ahead, behind = (interpolated(linear.flux, place + s * NUDGE) for s in (-1, 1))
        along.append((ahead - behind) / (2 * NUDGE))
        design = np.concatenate([size[..., None] * np.stack(along, axis=2), linear.columns], axis=2)
        rest = self.likelihood.pixels.flux - (linear.columns @ linear.mean[..., None])[..., 0]
        weighted = design / linear.variance[..., None]
        inner = weighted.swapaxes(1, 2) @ design
        inner[:, :d, :d] += self.precision
        inner[:, d, d] += BREADTH**-2
        coefficients = np.arange(d + 1, inner.shape[1])
        inner[:, coefficients, coefficients] += 1
        away = latents - self.mean
        slope = (rest[:, None] @ weighted)[:, 0]
        slope[:, :d] -= away @ self.precision
        slope[:, d + 1 :] -= linear.mean
        height = linear.log - 0.5 * ((away @ self.precision) * away).sum(axis=1)
        return height, inner, slope


@dataclass(frozen=True)
class Proposal:
    """Proposal density: Student-t peaks, and the prior's latents at redshifts of the landscape.

    Points are latents, and log10(1 + redshift) in pixels.

    Attributes
    ----------
    weight : ndarray, shape (B,)
        Weights of the peaks, which add to 1.
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
        """Proposal with peaks weighted by the square root of their approximate mass."""
        weight = np.exp((peaks.log_height - peaks.log_height.max()) / 2)
        middle = (found.stretch[1:] + found.stretch[:-1]) / 2
        edges = np.concatenate([found.stretch[:1], middle, found.stretch[-1:]]) / LOG_STEP
        mass = np.exp((found.log_posterior - found.log_posterior.max()) / 2) * np.diff(edges)
        chance = 0.9 * mass / mass.sum() + 0.1 * np.diff(edges) / (edges[-1] - edges[0])
        factor = WIDER * np.linalg.cholesky(peaks.cov)
        return cls(weight / weight.sum(), peaks.mean, factor, prior, edges, chance)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of points, shape (n, D + 1)."""
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
    """The proposal with peaks refitted to the weighted points.

    Weights concentrated on few points are flattened first. Every point is shared among the peaks
    in proportion to their densities there. A peak with too few effective points keeps its shape.
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
    """Log weights raised to the highest power up to 1 that gives 100 effective draws.

    Peaks fitted to a few heavy points would be too narrow, and draws from them would miss the
    rest (Koblents & Miguez 2015, Stat. Comput. 25, 407, who transform weights to that end).
    """
    low, high = 1e-6, 1.0
    if worth(log_weight) >= FLOOR:
        return log_weight
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(middle * log_weight) >= FLOOR else (low, middle)
    return low * log_weight


def worth(log_weight: np.ndarray) -> float:
    """Effective number of weighted draws, from the logarithms of their weights."""
    return effective_size(np.exp(log_weight - log_weight.max()))
