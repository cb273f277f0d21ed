"""Calibration of the latents' posterior: its shape about the prediction, and its width.

Both are fitted to sources of known latents. First the `Deviations` of true latents from the
members' means, in units of the members' own covariances: skewed, heavy-tailed, and
correlated. Then the *stretch* of each latent as a function of the source's brightness, such that
the central 90 % interval holds 90 %: conformalised quantile regression (Romano et al. 2019,
arXiv:1905.03222) with the score in units of the interval.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, InstanceOf, PlainSerializer
from pydantic.dataclasses import dataclass

from targetsel.calibration.conformal import (
    ARRAYS,
    BinnedCurve,
    Bins,
    conformal_quantile,
)
from targetsel.networks.deviations import Deviations
from targetsel.networks.posterior import LatentPosterior
from targetsel.statistics.resampling import effective_size

INTERVAL = 0.9  # the central interval whose coverage a stretch corrects
N_ROUNDS = 3
SMALLEST_HALF = 1e-9  # least width of an interval, for degenerate posteriors


def _deviations(value: Any) -> Any:
    """Deviations stored in a file."""
    if not isinstance(value, dict):
        return value
    try:
        return Deviations.from_card(value, np.shape(value["offset"])[-1])
    except KeyError as error:
        raise ValueError(f"the deviations lack {error}") from None
    except (TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"the deviations are not arrays of numbers ({error})") from None


@dataclass(frozen=True, eq=False, config=ARRAYS)
class LatentCalibration:
    """Deviations and stretch of a posterior of D latents.

    With a posterior of the redshift, ln(1 + redshift) is the last of the D.

    Attributes
    ----------
    deviations : Deviations
    stretch : BinnedCurve
        Logarithm of the factor of each latent's deviations, by magnitude.

    Raises
    ------
    ValueError
        If the two are of different numbers of latents.
    """

    deviations: Annotated[
        InstanceOf[Deviations], BeforeValidator(_deviations), PlainSerializer(Deviations.to_card)
    ]
    stretch: BinnedCurve

    def __post_init__(self) -> None:
        if self.stretch.values.shape[1] != self.n_latents:
            raise ValueError(f"the stretch is not of {self.n_latents} latents")

    @property
    def n_latents(self) -> int:
        return self.deviations.offset.shape[1]

    def apply(self, posterior: LatentPosterior, magnitude: np.ndarray) -> LatentPosterior:
        """The calibrated posterior of N sources, given their magnitudes (N,).

        A redshift behind the latents that this is not of stays as predicted, given the latents.
        """
        d = posterior.member_mean.shape[2]
        stretch = self.stretch.at(magnitude)
        stretch = np.pad(stretch, ((0, 0), (0, d - stretch.shape[1])))
        stretched = posterior.stretched(np.exp(stretch))
        return replace(stretched, deviations=self.deviations.extended(d))

    @classmethod
    def fit(
        cls,
        posterior: LatentPosterior,
        latents: np.ndarray,
        noise: np.ndarray,
        magnitude: np.ndarray,
        weight: np.ndarray,
    ) -> LatentCalibration:
        """Calibration fitted to N sources of known latents.

        Parameters
        ----------
        posterior : LatentPosterior
            Posterior as predicted by the networks.
        latents, noise : ndarray, shape (N, D)
            True latents, with ln(1 + redshift) where the posterior has a redshift, and the
            standard deviation of their measurement errors.
            The calibrated posterior is that of the latents without such errors, as far as they
            are small beside it.
        magnitude, weight : ndarray, shape (N,)
        """
        noisy, counts = posterior.with_noise(noise), weight * effective_size(weight) / weight.sum()
        centre = noisy.centre[:, : posterior.n_latents]
        deviations = Deviations.fit(noisy.whitened(latents), noisy.log_size, centre, counts)
        skewed = replace(posterior, deviations=deviations)
        return cls(deviations, _stretch(skewed, latents, noise, magnitude, weight))


def _stretch(
    posterior: LatentPosterior,
    latents: np.ndarray,
    noise: np.ndarray,
    magnitude: np.ndarray,
    weight: np.ndarray,
) -> BinnedCurve:
    """Logarithm of the stretch that gives central intervals their coverage.

    Fitted in rounds, since interpolation between bins changes the coverage within a bin.
    """
    bins, noisy = Bins.of(magnitude, weight), posterior.with_noise(noise)
    low, high = (noisy.quantile(p) for p in ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2))
    middle = noisy.centre
    upper = (latents - middle) / np.maximum(high - middle, SMALLEST_HALF)
    lower = (middle - latents) / np.maximum(middle - low, SMALLEST_HALF)
    needed = np.maximum(np.maximum(upper, lower), SMALLEST_HALF)
    curve = BinnedCurve(bins.centres, np.zeros((len(bins.centres), latents.shape[1])))
    for _ in range(N_ROUNDS):
        rest = needed / np.exp(curve.at(magnitude))
        more = [
            [conformal_quantile(each, INTERVAL, weight[rows]) for each in rest[rows].T]
            for rows in bins.rows()
        ]
        curve = replace(curve, values=curve.values + np.log(more))
    return curve
