"""What a camera adds to mock images: noise, calibration errors, and pixels that are lost.

Rates and sizes were set by hand to be like Pan-STARRS stacks; every survey gets the same ones.
"""

from __future__ import annotations

import numpy as np

from targetsel.mock.survey import EDGE, Survey

ZERO_POINT = 0.012  # mag, independent in each band
REDDENING = 0.015  # E(B-V) [mag] left over after the correction for Galactic dust
SEEING = (0.07, 0.03)  # scatter of ln(FWHM): common to the bands, and of each band
SHEAR = 0.02  # ellipticity of the PSF, each component, common to the bands
DEPTH = (0.08, 0.06)  # scatter of ln(noise), likewise
BACKGROUND = (0.08, 0.05)  # left over, [sigma of a pixel]: an offset, and at the edge a slope's
SPOTTED, GAPPED, LOST = (
    0.03,
    0.015,
    0.003,
)  # shares of sources with masked spots, a gap, a lost band


def draw_seeing(survey: Survey, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float]]:
    """FWHM in each band [arcsec], shape (B,), and shear of the PSF at one source."""
    common, own = SEEING
    scatter = common * rng.normal() + own * rng.standard_normal(len(survey.bands))
    return survey.seeing * np.exp(scatter), (SHEAR * rng.normal(), SHEAR * rng.normal())


def expose(
    image: np.ndarray, survey: Survey, zero_point: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One source as the camera sees it, float32, shape (B, H, W) [nanomaggy]; NaN where lost.

    Parameters
    ----------
    image : ndarray, shape (B, H + 2, W + 2)
        Without noise, with a margin of one pixel that blurring the noise uses up.
    zero_point : ndarray, shape (B,)
        By how many magnitudes every source comes out too faint.
    """
    bands = len(image)
    error = zero_point + ZERO_POINT * rng.standard_normal(bands)
    error += REDDENING * rng.normal() * extinction(survey.wavelength)
    seen = image * (10 ** (-0.4 * error)).astype(np.float32)[:, None, None]
    noise = np.exp(DEPTH[0] * rng.normal() + DEPTH[1] * rng.standard_normal(bands))
    noisy = seen[:, 1:-1, 1:-1] + add_noise(seen, survey, noise, rng)
    noisy += _background(survey, noisy.shape[1:], rng)
    return _with_losses(noisy, rng)


def extinction(wavelength: np.ndarray) -> np.ndarray:
    """Galactic extinction per E(B-V) [mag].

    A power law through 2.27 at 6170 Angstrom, within 8 % of the Pan-STARRS coefficients of
    Schlafly & Finkbeiner (2011, ApJ 737, 103), table 6, at R_V = 3.1.
    """
    return 2.27 * (wavelength / 6170.0) ** -1.55


def add_noise(
    image: np.ndarray, survey: Survey, factor: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Noise of sky and source, correlated between neighbours, float32, shape (B, H, W).

    Parameters
    ----------
    image : ndarray, shape (B, H + 2, W + 2)
    factor : ndarray, shape (B,)
        How much noisier than the survey's depth.
    """
    sigma = (survey.white_sigma * factor).astype(np.float32)[:, None, None]
    sky = survey.sky_flux.astype(np.float32)[:, None, None]
    white = rng.standard_normal(image.shape, dtype=np.float32)
    white *= sigma * np.sqrt(1 + np.maximum(image, 0) / sky)
    for _ in range(2):  # blurred along one axis, then along the other
        middle, sides = white[:, 1:-1], white[:, :-2] + white[:, 2:]
        white = np.swapaxes((1 - 2 * EDGE) * middle + EDGE * sides, 1, 2)
    return white


def _background(survey: Survey, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Sky light that was subtracted wrongly: an offset and a slope in each band."""
    offset, slope = BACKGROUND
    normals = rng.standard_normal((3, len(survey.bands), 1, 1), dtype=np.float32)
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    plane = offset * normals[0] + slope * (normals[1] * x + normals[2] * y[:, None])
    return plane * survey.sky_sigma.astype(np.float32)[:, None, None]


def _with_losses(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixels without data are NaN: spots in all bands, a chip gap in one, or one band's all."""
    bands, height, width = image.shape
    spotted, gapped, lost = rng.random(3)
    if spotted < SPOTTED:
        y, x = np.ogrid[:height, :width]
        for _ in range(rng.integers(1, 4)):
            place, radius = rng.uniform(0, [height, width]), rng.uniform(1.0, 3.5)
            image[:, (y - place[0]) ** 2 + (x - place[1]) ** 2 < radius**2] = np.nan
    if gapped < GAPPED:
        band, thick = rng.integers(bands), rng.integers(3, 13)
        start = rng.integers(-2, max(height, width))
        strip = slice(max(start, 0), start + thick)
        image[band, :, strip] = np.nan
    if lost < LOST:
        image[rng.integers(bands)] = np.nan
    return image
