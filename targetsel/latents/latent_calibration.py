"""Calibration of the latents' posterior: its shape, how heavy its tails are, and how wide it is.

Three things are learnt from sources of known latents. First the *shape*: whitened by the posterior,
deviations of true latents should have unit covariance; where they have another, deviations are
multiplied by a factor of it. Then the *tails*: one temperature cannot mend a posterior of which too
many true values lie in the core and too many far out, so every Gaussian becomes a mixture of
Gaussians of several scales, whose shares maximise the likelihood (Kiefer & Wolfowitz 1956). Last
the *stretch* of each latent as a function of the source's brightness, such that the central 90 %
interval holds 90 %: conformalised quantile regression (Romano et al. 2019, arXiv:1905.03222) with
the score in units of the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from targetsel.latents.conformal import Bins, Curve, conformal_quantile
from targetsel.latents.posterior import LatentPosterior

INTERVAL = 0.9  # the central interval that a stretch is made right for
SCALES = 2.0 ** np.arange(-2, 3.1, 0.5)  # that tails are made of, before they are normalised
N_STEPS = 300
N_ROUNDS = 3
SMALLEST_SHARE = 1e-3
SMALLEST_HALF = 1e-9  # of an interval, so that a degenerate posterior does not divide by zero


@dataclass(frozen=True)
class LatentCalibration:
    """Shape, tails and stretch of a posterior of D latents.

    Attributes
    ----------
    shape : ndarray, shape (D, D)
        Lower triangular; see `LatentPosterior.reshaped`.
    scale, share : ndarray, shape (J,)
        See `LatentPosterior`.
    stretch : Curve
        Logarithm of the factor of each latent's deviations, by magnitude.
    """

    shape: np.ndarray
    scale: np.ndarray
    share: np.ndarray
    stretch: Curve

    def apply(self, posterior: LatentPosterior, magnitude: np.ndarray) -> LatentPosterior:
        """The calibrated posterior of N sources, given their magnitudes (N,)."""
        reshaped = posterior.reshaped(self.shape)
        size = (len(posterior), len(self.scale))
        return replace(
            reshaped.stretched(np.exp(self.stretch.at(magnitude))),
            scale=np.broadcast_to(self.scale, size).copy(),
            share=np.broadcast_to(self.share, size).copy(),
        )

    @classmethod
    def fit(
        cls,
        posterior: LatentPosterior,
        latents: np.ndarray,
        noise: np.ndarray,
        magnitude: np.ndarray,
        weight: np.ndarray,
    ) -> LatentCalibration:
        """The calibration that N sources of known latents ask for.

        Parameters
        ----------
        posterior : LatentPosterior
            As the networks predict it.
        latents, noise : ndarray, shape (N, D)
            True latents, and the standard deviation of the errors that they were measured with.
            The calibrated posterior is that of the latents without such errors, as far as they
            are small beside it.
        magnitude, weight : ndarray, shape (N,)
        """
        level = Curve(np.zeros(1), np.zeros((1, latents.shape[1])))
        shape = _shape(posterior.with_noise(noise), latents, weight)
        first = cls(shape, np.ones(1), np.ones(1), level).apply(posterior, magnitude)
        scale, share = tails(first.with_noise(noise), latents, weight)
        heavy = cls(shape, scale, share, level).apply(posterior, magnitude)
        stretch = _stretch(heavy, latents, noise, magnitude, weight)
        return cls(shape, scale, share, stretch)

    def to_card(self) -> dict[str, Any]:
        return {
            "shape": self.shape.tolist(),
            "scale": self.scale.tolist(),
            "share": self.share.tolist(),
            "stretch": self.stretch.to_card(),
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any], n_latents: int) -> LatentCalibration:
        """The calibration of a card.

        Raises
        ------
        ValueError, KeyError
            If it is none of so many latents.
        """
        names = ("shape", "scale", "share")
        shape, scale, share = (np.asarray(card[name], float) for name in names)
        if shape.shape != (n_latents, n_latents) or not (np.diagonal(shape) > 0).all():
            raise ValueError(f"the shape is no factor of a covariance of {n_latents} latents")
        if scale.ndim != 1 or scale.shape != share.shape or not (scale > 0).all():
            raise ValueError("scales and shares of the tails do not fit")
        if abs(share.sum() - 1) > 1e-6 or not (share >= 0).all():
            raise ValueError("shares of the tails do not add to 1")
        return cls(shape, scale, share, Curve.from_card(card["stretch"], n_latents))


def _shape(posterior: LatentPosterior, latents: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Lower factor of the covariance that whitened deviations from the mean have, (D, D)."""
    own = np.linalg.cholesky(posterior.cov)
    deviation = np.linalg.solve(own, (latents - posterior.mean)[..., None])[..., 0]
    return np.linalg.cholesky((deviation.T * weight) @ deviation / weight.sum())


def tails(
    posterior: LatentPosterior, latents: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scales and shares under which the latents are most likely, each of shape (J,).

    By expectation and maximisation over fixed scales, where nothing but the one maximum can be
    found; then scales of no share are dropped, and all are divided by their quadratic mean.
    """
    logs = posterior.log_densities(latents, SCALES)
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
    share = np.full(len(SCALES), 1 / len(SCALES))
    for _ in range(N_STEPS):
        belongs = likelihood * share
        belongs /= belongs.sum(axis=1, keepdims=True)
        share = weight @ belongs / weight.sum()
    kept = share > SMALLEST_SHARE
    share = share[kept] / share[kept].sum()
    return SCALES[kept] / np.sqrt(share @ SCALES[kept] ** 2), share


def _stretch(
    posterior: LatentPosterior,
    latents: np.ndarray,
    noise: np.ndarray,
    magnitude: np.ndarray,
    weight: np.ndarray,
) -> Curve:
    """The stretch, in logarithm, with which central intervals hold what they should.

    In rounds: what a curve leaves to be corrected within a bin changes the bin's quantile.
    """
    bins, noisy = Bins.of(magnitude, weight), posterior.with_noise(noise)
    low, high = (noisy.quantile(p) for p in ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2))
    middle = noisy.mean
    upper = (latents - middle) / np.maximum(high - middle, SMALLEST_HALF)
    lower = (middle - latents) / np.maximum(middle - low, SMALLEST_HALF)
    needed = np.maximum(np.maximum(upper, lower), SMALLEST_HALF)
    curve = Curve(bins.centres, np.zeros((len(bins.centres), latents.shape[1])))
    for _ in range(N_ROUNDS):
        rest = needed / np.exp(curve.at(magnitude))
        more = [
            [conformal_quantile(each, INTERVAL, weight[rows]) for each in rest[rows].T]
            for rows in bins.rows()
        ]
        curve = replace(curve, values=curve.values + np.log(more))
    return curve
