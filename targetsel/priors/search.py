"""Search for the peaks of the posterior of latents and redshift.

First the redshift alone: with the prior's spectra as a Gaussian, everything but the redshift is
linear, and the evidence is computed on a fine grid. Then latents and redshift together are
optimised from the highest peaks by damped Gauss-Newton steps (Levenberg 1944; Marquardt 1963).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from targetsel.priors.likelihood import AMPLITUDES, N_TILTS, Likelihood, interpolated, solve
from targetsel.priors.redshift_prior import RedshiftPrior
from targetsel.priors.spectral_model import FINENESS
from targetsel.spectra.grid import LOG_STEP, N_PIXELS
from targetsel.statistics.gaussian_mixture import GaussianMixture

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
