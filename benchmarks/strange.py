"""Strange sources, unlike any in a training set, made from ordinary mock ones.

Each function takes ordinary cutouts (N, B, H, W) [nanomaggy] and gives as many strange ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from astropy.cosmology import FlatLambdaCDM

from targetsel.mock.camera import PAN_STARRS, Camera, draw_seeing, expose
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.images import blackbody, canvas_of, point_spread
from targetsel.mock.sky import observe

SIGMA = PAN_STARRS.sky_sigma
SEED = 5
BEYOND = (0.7, 1.0)  # redshifts; no galaxy of the mock sky has more than 0.6
COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3)


def stars(flux: np.ndarray) -> np.ndarray:
    """Point sources of 14 < r < 20 and 3200 to 9000 K, seen by the same camera."""
    canvas, size = canvas_of(PAN_STARRS.pixel_scale), flux.shape[-1]
    seen = []
    for number in range(len(flux)):
        rng = np.random.default_rng([SEED, number])
        light = 10 ** (0.4 * (22.5 - rng.uniform(14, 20)))
        colours = blackbody(PAN_STARRS.wavelength, rng.uniform(3200, 9000))
        psf = point_spread(canvas, *draw_seeing(PAN_STARRS, rng))
        place = canvas.shift(*(0.12 * rng.normal(size=2)))
        image = canvas.images((light * colours)[:, None] * place * psf, size + 2)
        seen.append(expose(image, PAN_STARRS, np.zeros(len(SIGMA)), rng))
    return np.array(seen)


def trails(flux: np.ndarray) -> np.ndarray:
    """A satellite's trail of 20 to 200 sigma in one band, 3 to 6 pixels wide, anywhere."""
    flux, (height, width) = flux.copy(), flux.shape[2:]
    y, x = np.mgrid[:height, :width]
    for number in range(len(flux)):
        rng = np.random.default_rng([SEED, number])
        band, angle = rng.integers(len(SIGMA)), rng.uniform(0, np.pi)
        away = rng.uniform(-width / 3, width / 3)
        distance = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle) - away
        brightness = SIGMA[band] * 10 ** rng.uniform(np.log10(20), np.log10(200))
        flux[number, band] += brightness * np.exp(-0.5 * (distance / rng.uniform(1.5, 3)) ** 2)
    return flux


def cosmic_rays(flux: np.ndarray) -> np.ndarray:
    """A track of 2 to 8 pixels in one band, each of 20 to 300 sigma."""
    flux, (height, width) = flux.copy(), flux.shape[2:]
    for number in range(len(flux)):
        rng = np.random.default_rng([SEED, number])
        band, angle, length = rng.integers(len(SIGMA)), rng.uniform(0, np.pi), rng.integers(2, 9)
        along = np.arange(length)
        y = (rng.uniform(4, height - 12) + along * np.sin(angle)).astype(int)
        x = (rng.uniform(12, width - 12) + along * np.cos(angle)).astype(int)
        flux[number, band, y, x] += SIGMA[band] * 10 ** rng.uniform(1.3, 2.5)
    return flux


def empty_band(flux: np.ndarray) -> np.ndarray:
    """A band that holds sky and no source; one that is NaN is refused before any network."""
    flux = flux.copy()
    for number in range(len(flux)):
        rng = np.random.default_rng([SEED, number])
        band = rng.integers(len(SIGMA))
        flux[number, band] = SIGMA[band] * rng.normal(size=flux.shape[2:])
    return flux


def zero_point(flux: np.ndarray, magnitudes: float) -> np.ndarray:
    """The same sources in units of another zero point."""
    return flux * np.float32(10 ** (-0.4 * magnitudes))


def doubled(flux: np.ndarray) -> np.ndarray:
    """Another source of the sky, made as bright or half as bright, 1.5 to 4 arcsec away."""
    flux, bands = np.nan_to_num(flux), PAN_STARRS.bands
    others = np.roll(flux, 1, axis=0)
    doubled = flux.copy()
    inner = slice(flux.shape[2] // 4, -flux.shape[2] // 4)
    light = flux[:, bands.index("r"), inner, inner].sum(axis=(1, 2))
    for number in range(len(flux)):
        rng = np.random.default_rng([SEED, number])
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 4) / PAN_STARRS.pixel_scale
        step = np.round(distance * np.array([np.sin(angle), np.cos(angle)])).astype(int)
        bright = rng.uniform(0.5, 1) * light[number] / light[number - 1]
        doubled[number] += bright * np.roll(others[number], tuple(step), axis=(1, 2))
    return doubled


def pixel_scale(galaxies: Galaxies, arcsec: float) -> np.ndarray:
    """The same galaxies by a camera of other pixels."""
    return _seen(galaxies, replace(PAN_STARRS, pixel_scale=arcsec))


def far_away(galaxies: Galaxies) -> np.ndarray:
    """The same galaxies at redshifts of `BEYOND`, fainter and smaller by their distance."""
    low, high = BEYOND
    redshift = low + (high - low) * np.random.default_rng(SEED).random(len(galaxies))
    near, far = (COSMOLOGY.luminosity_distance(z).value for z in (galaxies.redshift, redshift))
    flux = galaxies.flux * ((near / far) ** 2)[:, None]
    return _seen(replace(galaxies, redshift=redshift, flux=flux), PAN_STARRS)


def _seen(galaxies: Galaxies, survey: Camera) -> np.ndarray:
    return np.concatenate([each.flux for each in observe(galaxies, SEED, survey)])


CHANGED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "star": stars,
    "satellite trail": trails,
    "cosmic ray": cosmic_rays,
    "band without light": empty_band,
    "zero point 25": lambda flux: zero_point(flux, -2.5),
    "zero point off by 0.5": lambda flux: zero_point(flux, 0.5),
    "doubled": doubled,
}
SEEN_ANEW: dict[str, Callable[[Galaxies], np.ndarray]] = {
    "pixels of 0.17 arcsec": lambda galaxies: pixel_scale(galaxies, 0.168),
    "pixels of 0.4 arcsec": lambda galaxies: pixel_scale(galaxies, 0.396),
    "redshift 0.7 to 1": far_away,
}
