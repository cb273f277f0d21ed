"""The spectral prior of one source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from targetsel.errors import SpectrumError
from targetsel.priors.redshift_prior import HIGHEST, RedshiftPrior
from targetsel.priors.spectral_model import SpectralModel
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.tables.ids import uniform

LEVELS = (0.16, 0.50, 0.84)
N_DRAWS = 512  # behind mean and bands


@dataclass(frozen=True)
class Covariance:
    """A covariance of pixels: `factor @ factor.T`, and `variance` on the diagonal.

    Attributes
    ----------
    factor : ndarray, shape (1000, R)
        The decoder's derivative times the latents' scatter, and the directions of its residual.
    variance : ndarray, shape (1000,)
        Variance of the residual that is independent from pixel to pixel.
    """

    factor: np.ndarray
    variance: np.ndarray

    def log_density(self, away: np.ndarray) -> np.ndarray:
        """Log density of the zero-mean Gaussian at S deviations, (S, 1000) to (S,)."""
        weighted = self.factor / self.variance[:, None]
        inner = np.eye(self.factor.shape[1]) + self.factor.T @ weighted
        along = away @ weighted
        chi2 = (away**2 / self.variance).sum(axis=1)
        chi2 -= (along * np.linalg.solve(inner, along.T).T).sum(axis=1)
        size = np.log(self.variance).sum() + np.linalg.slogdet(inner)[1]
        return -0.5 * (chi2 + size + away.shape[1] * np.log(2 * np.pi))


@dataclass(frozen=True)
class Prior:
    """The distribution of a source's spectrum given its image.

    Spectra are in units where their sum of squares is about 1, like decoded ones: shape only.
    Given a redshift, wavelengths are in the observed frame, and flux densities per unit wavelength
    are divided by 1 + redshift, which conserves the flux.

    Attributes
    ----------
    source_id : int or str
    latents : GaussianMixture
    model : SpectralModel
    redshift : float or None
    redshift_error : float or None
        Standard deviation of the redshift; an update takes it as its prior.
    """

    source_id: int | str
    latents: GaussianMixture
    model: SpectralModel
    redshift: float | None = None
    redshift_error: float | None = None

    def __post_init__(self) -> None:
        if self.redshift is not None and not 0 <= self.redshift <= HIGHEST:
            raise SpectrumError(
                f"source {self.source_id}: redshift is {self.redshift:.6g}, "
                f"expected 0 to {HIGHEST:g}"
            )

    @property
    def wavelength(self) -> np.ndarray:
        """Vacuum wavelength [Angstrom], shape (1000,)."""
        return wavelengths() * (1 + (self.redshift or 0.0))

    @property
    def mean(self) -> np.ndarray:
        """Mean spectrum, shape (1000,)."""
        return self._draws.mean(axis=0)

    @property
    def cov(self) -> Covariance:
        """Covariance of the pixels, to first order about the mixture's mean."""
        mean, cov = self.latents.moments()
        _, ranges = self.model.decode(mean[None])
        along = self.model.decoder.jacobian(mean[None])[0] @ np.linalg.cholesky(cov)
        residual = self.model.residual
        factor = np.concatenate([along, residual.factor[ranges[0]]], axis=1)
        dimming = self._dimming
        return Covariance(factor * dimming, residual.variance[ranges[0]] * dimming**2)

    def bands(self, levels: tuple[float, ...] = LEVELS) -> np.ndarray:
        """Marginal quantiles of each pixel, shape (levels, 1000)."""
        return np.quantile(self._draws, levels, axis=0)

    def draw(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws of the spectrum, shape (n, 1000), determined by the id and the seed."""
        rng = generator(self.source_id, seed)
        return self.model.draw(self.latents.draw(n, rng), rng) * self._dimming

    def log_prob(self, flux: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density of spectra (S, 1000), as a Gaussian of mean and `cov`.

        For the exact density given noise, amplitude and redshift see `update`; for that of latents
        `latents.log_density`.

        Raises
        ------
        SpectrumError
            If spectra have another number of pixels.
        """
        flux = np.atleast_2d(flux)
        if flux.shape[1] != N_PIXELS:
            raise SpectrumError(f"spectra of shape {flux.shape}, expected (S, {N_PIXELS})")
        return self.cov.log_density(flux - self.mean)

    def observed(self, redshift: float) -> Prior:
        """The same prior in the observed frame at a redshift."""
        return Prior(self.source_id, self.latents, self.model, redshift, self.redshift_error)

    def redshift_prior(self) -> RedshiftPrior | None:
        """Gaussian prior of the redshift, or None without redshift and error."""
        if self.redshift is None or self.redshift_error is None:
            return None
        return RedshiftPrior.gaussian(self.redshift, self.redshift_error)

    def to_specutils(self) -> Any:
        """The mean as a `specutils.Spectrum` with standard deviations.

        Raises
        ------
        SpectrumError
            If the package specutils is missing.
        """
        try:
            import specutils
        except ImportError:
            raise SpectrumError(
                "specutils is not installed, which `to_specutils` needs: pip install specutils"
            ) from None
        from astropy import units
        from astropy.nddata import StdDevUncertainty

        return specutils.Spectrum(
            flux=self.mean * units.dimensionless_unscaled,
            spectral_axis=self.wavelength * units.AA,
            uncertainty=StdDevUncertainty(self._draws.std(axis=0)),
        )

    @property
    def _dimming(self) -> float:
        return 1 / (1 + (self.redshift or 0.0))

    @cached_property
    def _draws(self) -> np.ndarray:
        return self.draw(N_DRAWS)


def generator(source_id: int | str, seed: int, purpose: str = "prior") -> np.random.Generator:
    """Random generator determined by a source's id, a seed and a purpose."""
    numbers = uniform(np.array([source_id]), seed, purpose, 2)[0] * 2**53
    return np.random.default_rng([int(each) for each in numbers])
