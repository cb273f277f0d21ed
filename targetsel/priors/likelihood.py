"""The likelihood of a spectrum given latents and redshift, marginalised over linear parameters.

A spectrum is (amplitude x decoded + residual) x (1 + a T1 + b T2) + noise, with T the Chebyshev
polynomials of log wavelength over the spectrum. Amplitude, the polynomial's coefficients and the
residual's directions are linear and have Gaussian priors, so they are integrated out exactly (a
Gaussian process with a low-rank covariance; Rasmussen & Williams 2006, eqs. 2.30 and A.9). The
residual is multiplied by the estimated amplitude, and not by the polynomial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targetsel.errors import SpectrumError, counted
from targetsel.priors.spectral_model import FINENESS, SpectralModel
from targetsel.spectra.grid import LOG_START, LOG_STEP, N_PIXELS
from targetsel.spectra.spectrum import ObservedSpectrum

FEWEST = 50
AT_ONCE = 64
AMPLITUDES = 10.0  # prior standard deviation of the amplitude, in units of its estimate
SMALLEST_AMPLITUDE = 0.05  # in the same units: a galaxy's amplitude is positive
N_TILTS = 2
MEAN_PIXEL = N_PIXELS**-0.5  # typical pixel of a decoded spectrum


@dataclass(frozen=True)
class ObservedPixels:
    """Unmasked pixels of a measured spectrum, at least about as broad as the decoder's.

    Attributes
    ----------
    place : str
        Origin of the spectrum, for messages.
    log_wavelength : ndarray, shape (L,)
        log10 of the observed-frame vacuum wavelength [Angstrom].
    flux, ivar : ndarray, shape (L,)
        Flux density per unit wavelength in units of its own weighted mean modulus, and its
        inverse variance.
    unit : float
        That mean, in the unit of the spectrum.
    """

    place: str
    log_wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    unit: float

    @classmethod
    def of(cls, spectrum: ObservedSpectrum, redshift_range: tuple[float, float]) -> ObservedPixels:
        """The pixels of a spectrum that lie on the decoder's grid at every redshift of a range.

        Evidence at different redshifts can only be compared for the same pixels. Narrow pixels are
        combined, as many as come closest to a pixel of the decoder, weighted by their inverse
        variance.

        Raises
        ------
        SpectrumError
            If fewer than 50 are left.
        """
        place, flux, ivar = _together(spectrum)
        low, high = np.log10(1 + np.array(redshift_range))
        first, last = LOG_START + high, LOG_START + LOG_STEP * (N_PIXELS - 1) + low
        used = (ivar > 0) & (place > first + LOG_STEP) & (place < last - LOG_STEP)
        if used.sum() < FEWEST:
            raise SpectrumError(
                f"{spectrum.place}: has {counted(int(used.sum()), 'pixel')} within the decoder's "
                f"range at every redshift from {redshift_range[0]:.4g} to {redshift_range[1]:.4g} "
                f"({10**first:.0f} to {10**last:.0f} Angstrom), expected at least {FEWEST}. "
                "Narrow the range of redshifts."
            )
        place, flux, ivar = place[used], flux[used], ivar[used]
        unit = float((ivar * flux).sum() / ivar.sum())
        if not unit > 0:
            raise SpectrumError(
                f"{spectrum.place}: its weighted mean flux is {unit:.3g}, expected more than 0. "
                "Check its sky subtraction."
            )
        return cls(spectrum.place, place, flux / unit, ivar * unit**2, unit)


def _together(spectrum: ObservedSpectrum) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log10 wavelength, flux and inverse variance, with narrow pixels combined."""
    place = np.log10(spectrum.wavelength)
    step = np.median(np.diff(place))
    each = max(1, int(np.floor(LOG_STEP / step + 0.5)))
    n = len(place) // each
    weight = spectrum.ivar[: n * each].reshape(n, each)
    total = weight.sum(axis=1)
    divisor = np.where(total > 0, total, 1.0)
    flux = np.where(weight > 0, spectrum.flux[: n * each].reshape(n, each), 0.0)

    def mean(values: np.ndarray) -> np.ndarray:
        return (weight * values).sum(axis=1) / divisor

    return mean(place[: n * each].reshape(n, each)), mean(flux), total


@dataclass(frozen=True)
class Linear:
    """The linear model at S points: flux = columns @ coefficients + noise of `variance`.

    Attributes
    ----------
    columns : ndarray, shape (S, L, C)
        Columns of the amplitude, the two polynomials and the residual's directions, scaled so that
        their coefficients have standard normal priors.
    variance : ndarray, shape (S, L)
    precision : ndarray, shape (S, C, C)
        Posterior precision of the coefficients.
    mean : ndarray, shape (S, C)
        Posterior mean of the coefficients.
    log : ndarray, shape (S,)
        Natural logarithm of the likelihood, marginalised over the coefficients.
    flux : ndarray, shape (S, 1000)
        Mean rest-frame spectra.
    ranges : ndarray, shape (S,)
    """

    columns: np.ndarray
    variance: np.ndarray
    precision: np.ndarray
    mean: np.ndarray
    log: np.ndarray
    flux: np.ndarray
    ranges: np.ndarray


class Likelihood:
    """p(spectrum given latents, redshift).

    Parameters
    ----------
    calibration : float
        Standard deviation of each of the polynomial's coefficients: the flux calibration's error.
    """

    def __init__(self, model: SpectralModel, pixels: ObservedPixels, calibration: float):
        self.model, self.pixels = model, pixels
        # The weighted mean flux is 1 in these pixels' unit.
        self.amplitude = 1 / MEAN_PIXEL
        middle = (pixels.log_wavelength[0] + pixels.log_wavelength[-1]) / 2
        x = (pixels.log_wavelength - middle) / (pixels.log_wavelength[-1] - middle)
        self.tilts = calibration * np.stack([x, 2 * x**2 - 1], axis=1)

    def log(self, latents: np.ndarray, stretch: np.ndarray) -> np.ndarray:
        """Natural logarithm of the likelihood at latents (S, D) and log10(1 + redshift) (S,)."""
        parts = [
            self.linear(latents[k : k + AT_ONCE], stretch[k : k + AT_ONCE]).log
            for k in range(0, len(latents), AT_ONCE)
        ]
        return np.concatenate(parts)

    def linear(self, latents: np.ndarray, stretch: np.ndarray) -> Linear:
        """The linear model at S points."""
        flux, ranges = self.model.decode(latents)
        place = self.place(stretch)
        residual = self.model.fine[ranges[:, None], np.rint(place * FINENESS).astype(np.intp)]
        light = interpolated(flux, place)[..., None] * self.amplitude
        columns = np.concatenate(
            [AMPLITUDES * light, light * self.tilts, self.amplitude * residual[..., :-1]], axis=2
        )
        variance = 1 / self.pixels.ivar + self.amplitude**2 * residual[..., -1]
        solved = solve(columns, variance, self.pixels.flux)
        return Linear(columns, variance, *solved, flux, ranges)

    def place(self, stretch: np.ndarray) -> np.ndarray:
        """Positions of the pixels on the decoder's grid [its pixels], (S,) to (S, L)."""
        rest = self.pixels.log_wavelength - stretch[:, None] - LOG_START
        return np.clip(rest / LOG_STEP, 0, N_PIXELS - 1)

    def draw_spectra(
        self, latents: np.ndarray, stretch: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A rest-frame spectrum for each point, given the measured one, and its amplitude.

        Amplitude, polynomial and directions are drawn from their posterior; the independent
        residual of each pixel is drawn from its prior.

        Returns
        -------
        flux : ndarray, shape (S, 1000)
        amplitude : ndarray, shape (S,)
            In the unit of the measured spectrum.
        """
        spectra, amplitudes = np.empty((len(latents), N_PIXELS)), np.empty(len(latents))
        for start in range(0, len(latents), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            linear = self.linear(latents[rows], stretch[rows])
            upper = np.linalg.cholesky(linear.precision).swapaxes(1, 2)
            normals = rng.standard_normal((*linear.mean.shape, 1))
            drawn = linear.mean + np.linalg.solve(upper, normals)[..., 0]
            amplitude = np.maximum(AMPLITUDES * drawn[:, :1], SMALLEST_AMPLITUDE)
            spectra[rows] = self.model.complete(
                linear.flux, linear.ranges, drawn[:, 1 + N_TILTS :] / amplitude, rng
            )
            amplitudes[rows] = amplitude[:, 0] * self.amplitude * self.pixels.unit
        return spectra, amplitudes


def solve(
    columns: np.ndarray, variance: np.ndarray, flux: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and mean of standard-normal coefficients given a flux, and its log likelihood.

    Parameters
    ----------
    columns : ndarray, shape (S, L, C)
    variance : ndarray, shape (S, L)
    flux : ndarray, shape (L,)

    Returns
    -------
    precision, mean, log : ndarray, shapes (S, C, C), (S, C) and (S,)
    """
    weighted = columns / variance[..., None]
    precision = weighted.swapaxes(1, 2) @ columns + np.eye(columns.shape[2])
    right = flux @ weighted
    mean = np.linalg.solve(precision, right[..., None])[..., 0]
    chi2 = (flux**2 / variance).sum(axis=1) - (mean * right).sum(axis=1)
    size = np.log(variance).sum(axis=1) + np.linalg.slogdet(precision)[1]
    return precision, mean, -0.5 * (chi2 + size + len(flux) * np.log(2 * np.pi))


def interpolated(flux: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Spectra (S, 1000) interpolated at positions (S, L), cubic through the four nearest pixels."""
    first = np.clip(place.astype(np.intp), 1, N_PIXELS - 3)
    t = place - first
    flat = flux.ravel()
    first += np.arange(len(flux))[:, None] * N_PIXELS
    weights = (
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    )
    found = weights[0] * flat[first - 1]
    for k in (1, 2, 3):
        found += weights[k] * flat[first + k - 1]
    return found
