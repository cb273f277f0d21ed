"""The spectral prior of one source: the distribution of its spectrum given its image.

`update` combines it with a measured spectrum; `files` writes and reads files of priors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from targetsel.documents.brief import brief
from targetsel.errors import SpectrumError
from targetsel.extras import require
from targetsel.priors.bands import pixel_values, quantiles
from targetsel.priors.columns import LEVELS
from targetsel.priors.spectral_model import SpectralModel
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.tables.ids import uniform

HIGHEST = 10.0  # redshift
REACH = 4.0  # standard deviations of a Gaussian prior of the redshift to either side
N_KNOTS = 513


@dataclass(frozen=True)
class RedshiftPrior:
    """A density of the redshift, piecewise linear between knots and zero beyond them.

    Attributes
    ----------
    redshift : ndarray, shape (Z,)
        Knots, increasing.
    density : ndarray, shape (Z,)
        Density per unit redshift; its integral is scaled to 1.
    """

    redshift: np.ndarray
    density: np.ndarray

    def __post_init__(self) -> None:
        z, density = self.redshift, self.density
        if z.ndim != 1 or len(z) < 2 or z.shape != density.shape:
            raise SpectrumError(
                f"redshift prior: redshifts of shape {z.shape} and densities of shape "
                f"{density.shape}, expected at least two of each"
            )
        if not (np.isfinite(z).all() and (np.diff(z) > 0).all()):
            raise SpectrumError("redshift prior: its redshifts do not increase; sort them")
        if z[0] < 0 or z[-1] > HIGHEST:
            raise SpectrumError(
                f"redshift prior: runs from {z[0]:.6g} to {z[-1]:.6g}, expected 0 to {HIGHEST:g}"
            )
        if not (np.isfinite(density).all() and (density >= 0).all() and density.any()):
            raise SpectrumError(
                "redshift prior: expected densities of at least 0, and one that is more"
            )
        object.__setattr__(self, "density", density / np.trapezoid(density, z))

    @classmethod
    def flat(cls, low: float, high: float) -> RedshiftPrior:
        """A uniform density between two redshifts."""
        return cls(np.array([low, high], float), np.ones(2))

    @classmethod
    def gaussian(cls, redshift: float, error: float) -> RedshiftPrior:
        """A Gaussian, cut off at 4 standard deviations and at 0.

        Raises
        ------
        SpectrumError
            If the redshift is missing, negative or too large, or the error is not positive.
        """
        if not 0 <= redshift <= HIGHEST:
            raise SpectrumError(f"redshift is {redshift:.6g}, expected 0 to {HIGHEST:g}")
        if not 0 < error <= HIGHEST:
            raise SpectrumError(f"error of the redshift is {error:.6g}, expected more than 0")
        low, high = redshift - REACH * error, redshift + REACH * error
        z = np.linspace(max(low, 0.0), min(high, HIGHEST), N_KNOTS)
        return cls(z, np.exp(-0.5 * ((z - redshift) / error) ** 2))

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest redshift."""
        return float(self.redshift[0]), float(self.redshift[-1])

    def log_density(self, stretch: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density of log10(1 + redshift), at values of any shape."""
        z = 10**stretch - 1
        density = np.interp(z, self.redshift, self.density, left=0.0, right=0.0)
        with np.errstate(divide="ignore"):
            return np.log(density * (1 + z) * np.log(10))


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


@brief
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
    position : tuple of two floats
        ra, dec [deg, ICRS]; NaN where they are not known.
    """

    source_id: int | str
    latents: GaussianMixture
    model: SpectralModel
    redshift: float | None = None
    redshift_error: float | None = None
    position: tuple[float, float] = (np.nan, np.nan)

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
        return self._values.mean(axis=1, dtype=np.float64) * self._dimming

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
        return quantiles(self._values, levels) * self._dimming

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
        return replace(self, redshift=redshift)

    def redshift_prior(self) -> RedshiftPrior | None:
        """Gaussian prior of the redshift, or None without redshift and error."""
        if self.redshift is None or self.redshift_error is None:
            return None
        return RedshiftPrior.gaussian(self.redshift, self.redshift_error)

    def to_specutils(self) -> Any:
        """The mean as a `specutils.Spectrum` with standard deviations.

        Raises
        ------
        ExtraError
            If the package specutils is missing.
        """
        require("specutils", "to_specutils")
        import specutils
        from astropy import units
        from astropy.nddata import StdDevUncertainty

        return specutils.Spectrum(
            flux=self.mean * units.dimensionless_unscaled,
            spectral_axis=self.wavelength * units.AA,
            uncertainty=StdDevUncertainty(self._values.std(axis=1) * self._dimming),
        )

    @property
    def _dimming(self) -> float:
        return 1 / (1 + (self.redshift or 0.0))

    @cached_property
    def _values(self) -> np.ndarray:
        return pixel_values(self.latents, self.model)


def generator(source_id: int | str, seed: int, purpose: str = "prior") -> np.random.Generator:
    """Random generator determined by a source's id, a seed and a purpose."""
    numbers = uniform(np.array([source_id]), seed, purpose, 2)[0] * 2**53
    return np.random.default_rng([int(each) for each in numbers])
