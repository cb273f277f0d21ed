"""Light in a fiber, and signal-to-noise ratio of a line against exposure time and vice versa.

A line of flux F gives S electrons a second; continuum, sky and dark current under it give B; each
readout adds a variance of V. After the time t with n readouts

    S/N = S t / sqrt(S t + B t + n V)

for an extraction that weights by the line's profile p, which sees as much noise as a band of the
width 1 / integral(p^2). There are t / readout readouts, not rounded, and at least one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import j1

from targetsel.observing.spectrograph import Arm, Spectrograph
from targetsel.photometry.flux import NJY, SPEED_OF_LIGHT, flux_of_magnitude

PHOTON = 1.986_445_857e-8  # h c [erg Angstrom]
CM2_PER_M2 = 1e4
SPEED_KM = 2.997_924_58e5  # [km/s]
LINE_SIGMA = 100.0  # velocity dispersion of a galaxy's gas [km/s]
FWHM = 2.354_820  # full width at half maximum of a Gaussian, in sigma
HALF_LIGHT = 1.678347  # half-light radius of an exponential disk, in scale lengths
LONGEST = 1e7  # [s], used where no exposure reaches the S/N
_FARTHEST = 6.0  # seeing removes higher frequencies, in units of 1 / sigma
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


@dataclass(frozen=True)
class Rates:
    """Electrons detected of a line and under it; arrays of one shape.

    Attributes
    ----------
    line, background : ndarray
        [electron/s]; a line in absorption is negative.
    readout : ndarray
        Variance of one readout [electron^2].
    """

    line: np.ndarray
    background: np.ndarray
    readout: np.ndarray


def share_in_fiber(half_light_radius: np.ndarray, aperture: float, seeing: float) -> np.ndarray:
    """Share of the light of exponential disks that falls into a fiber centred on them, shape (N,).

    A disk's transform is (1 + (k h)^2)^(-3/2) for the scale length h and seeing multiplies it by a
    Gaussian, so that the light within R is the integral over k of R J1(k R) times both.

    Parameters
    ----------
    half_light_radius : ndarray, shape (N,)
        Before seeing [arcsec], of a face-on disk; 0 is a point source.
    aperture, seeing : float
        The fiber's diameter, and the FWHM of a point source [arcsec].
    """
    radius, sigma = aperture / 2, seeing / FWHM
    scale = np.asarray(half_light_radius, dtype=np.float64)[..., None] / HALF_LIGHT
    k = _FARTHEST / sigma * (_NODES + 1) / 2
    weights = _FARTHEST / sigma * _WEIGHTS / 2
    blurred = radius * j1(k * radius) * np.exp(-((k * sigma) ** 2) / 2) * weights
    return np.clip((blurred * (1 + (k * scale) ** 2) ** -1.5).sum(axis=-1), 0.0, 1.0)


def effective_width(
    wavelength: np.ndarray, offsets: np.ndarray, shares: np.ndarray, arm: Arm
) -> np.ndarray:
    """The width of sky [Angstrom] whose noise disturbs a line, as `wavelength` in shape.

    The profile is a sum of Gaussians: of the instrument, the pixel and `LINE_SIGMA`.

    Parameters
    ----------
    wavelength : ndarray
        Observed [Angstrom].
    offsets, shares : ndarray, shape (C,)
        The line's components: offsets relative to the wavelength, and shares of the flux.
    """
    instrument = wavelength / arm.resolution(wavelength) / FWHM
    variance = instrument**2 + arm.pixel**2 / 12 + (wavelength * LINE_SIGMA / SPEED_KM) ** 2
    apart = (offsets[:, None] - offsets) * wavelength[..., None, None]
    overlap = np.exp(-(apart**2) / (4 * variance[..., None, None]))
    return 2 * np.sqrt(np.pi * variance) / np.einsum("i,j,...ij", shares, shares, overlap)


def rates(
    flux: np.ndarray,
    continuum: np.ndarray,
    wavelength: np.ndarray,
    width: np.ndarray,
    arm: Arm,
    spectrograph: Spectrograph,
) -> Rates:
    """Electrons that one arm detects of a line and under it.

    Parameters
    ----------
    flux : ndarray
        Flux of the line within the fiber [erg/s/cm2].
    continuum : ndarray
        Flux density within the fiber [erg/s/cm2/Angstrom].
    wavelength : ndarray
        Observed [Angstrom].
    width : ndarray
        From `effective_width` [Angstrom].
    """
    area = spectrograph.area * CM2_PER_M2
    electrons = area * arm.throughput(wavelength) * wavelength / PHOTON  # per erg/cm2
    on_sky = np.pi * (spectrograph.aperture / 2) ** 2  # [arcsec2]
    sky = flux_of_magnitude(spectrograph.sky(wavelength)) * NJY * SPEED_OF_LIGHT / wavelength**2
    pixels = width / arm.pixel * arm.rows
    background = electrons * (continuum + sky * on_sky) * width + arm.dark * pixels
    return Rates(
        flux * electrons, background, np.broadcast_to(arm.read_noise**2 * pixels, width.shape)
    )


def signal_to_noise(rates: Rates, time: float, readout: float) -> np.ndarray:
    """S/N after `time` [s]; negative for a line in absorption."""
    own = np.maximum(rates.line, 0.0)
    variance = (own + rates.background) * time + rates.readout * max(time / readout, 1.0)
    return rates.line * time / np.sqrt(variance)


def exposure_time(rates: Rates, snr: float, readout: float) -> np.ndarray:
    """The time [s] after which a line reaches `snr`; at most `LONGEST`."""
    line = np.maximum(rates.line, 1e-30)  # so that nothing overflows
    noisy = line + rates.background
    many = snr**2 * (noisy + rates.readout / readout) / line**2
    half = snr**2 * noisy / (2 * line**2)
    one = half + np.sqrt(half**2 + snr**2 * rates.readout / line**2)
    return np.minimum(np.where(many >= readout, many, one), LONGEST)
