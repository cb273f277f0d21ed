"""Images of mock galaxies: a bulge and a disk, each with its own light, through PSF and noise.

All profiles are sums of Gaussians (Hogg & Lang 2013, PASP 125, 719), so that a galaxy is drawn in
Fourier space, where the PSF is a product and no pixel is integrated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.fft import irfft2
from scipy.optimize import nnls
from scipy.special import gammaincinv

from targetsel.mock.survey import Survey

CANVAS = 96  # pixels; the margin around a cutout takes the light that wraps around
FIBER_RADIUS = 1.5  # arcsec
FIBER_SEEING = 1.4  # arcsec
# The PSF is two Gaussians: (share of the light, width relative to the core's).
PSF_WINGS = ((0.85, 1.0), (0.15, 2.0))


@dataclass(frozen=True)
class Shapes:
    """Shapes of bulge and disk, each an array of shape (N,).

    Attributes
    ----------
    bulge_radius, disk_radius : half-light radii along the major axis [arcsec]
    bulge_axis_ratio, disk_axis_ratio : minor over major axis
    bulge_angle, disk_angle : position angles of the major axis [rad]
    x, y : offset of the source from the cutout's centre [arcsec]
    """

    bulge_radius: np.ndarray
    disk_radius: np.ndarray
    bulge_axis_ratio: np.ndarray
    disk_axis_ratio: np.ndarray
    bulge_angle: np.ndarray
    disk_angle: np.ndarray
    x: np.ndarray
    y: np.ndarray


@cache
def sersic_gaussians(index: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares of light and widths [half-light radius] of the Gaussians that make up a profile.

    The surface brightness of the Sersic profile, cut off at 8 half-light radii, is fitted without
    negative shares between 0.02 and 8 half-light radii.
    """
    radius = np.geomspace(0.02, 8.0, 200)
    b = gammaincinv(2 * index, 0.5)
    profile = np.exp(-b * (radius ** (1 / index) - 1))
    sigma = np.geomspace(0.02, 4.0, 12)
    surface = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) / (2 * np.pi * sigma**2)
    weight = radius**0.5  # between equal care per radius and per light
    share, _ = nnls(surface * weight[:, None] / profile[:, None] ** 0.5, weight * profile**0.5)
    used = share > 1e-4 * share.sum()
    share, sigma = share[used] / share[used].sum(), sigma[used]
    half = np.interp(0.5, _light_within(radius, share, sigma), radius)
    return share, sigma / half


def _light_within(radius: np.ndarray, share: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    return (1 - np.exp(-0.5 * (radius[:, None] / sigma) ** 2)) @ share


def fiber_share(radius: np.ndarray, axis_ratio: np.ndarray, index: float) -> np.ndarray:
    """Share of a component's light that falls into the fiber, shape (N,), at least 0.02.

    Each Gaussian, blurred by the seeing, is taken as round with the same area.
    """
    share, sigma = sersic_gaussians(index)
    blur = (FIBER_SEEING / 2.3548) ** 2
    major = (radius[:, None] * sigma) ** 2 + blur
    minor = (radius[:, None] * axis_ratio[:, None] * sigma) ** 2 + blur
    inside = 1 - np.exp(-0.5 * FIBER_RADIUS**2 / np.sqrt(major * minor))
    return np.maximum(inside @ share, 0.02)


def draw_images(
    bulge_flux: np.ndarray, disk_flux: np.ndarray, shapes: Shapes, survey: Survey, size: int
) -> np.ndarray:
    """Noise-free images, shape (N, B, size, size) [nanomaggy per pixel].

    Parameters
    ----------
    bulge_flux, disk_flux : ndarray, shape (N, B)
        Total flux in each band [nanomaggy].
    """
    n, n_bands = bulge_flux.shape
    images = np.empty((n, n_bands, size, size), dtype=np.float32)
    psf = _psf(survey)
    u, v = _frequencies(survey.pixel_scale)
    margin = (CANVAS - size) // 2
    for k in range(n):
        bulge = _component(4.0, shapes.bulge_radius[k], shapes.bulge_axis_ratio[k],
                           shapes.bulge_angle[k], u, v)  # fmt: skip
        disk = _component(1.0, shapes.disk_radius[k], shapes.disk_axis_ratio[k],
                          shapes.disk_angle[k], u, v)  # fmt: skip
        phase = np.exp(-2j * np.pi * (u * shapes.x[k] + v * shapes.y[k])).astype(np.complex64)
        light = bulge_flux[k, :, None, None] * bulge + disk_flux[k, :, None, None] * disk
        canvas = irfft2((light * psf) * (phase * _centring()), s=(CANVAS, CANVAS), workers=1)
        images[k] = canvas[:, margin : margin + size, margin : margin + size]
    return images


def add_noise(images: np.ndarray, survey: Survey, rngs: list[np.random.Generator]) -> np.ndarray:
    """Images with sky and photon noise, independent from pixel to pixel, float32."""
    sigma, sky = survey.sky_sigma[:, None, None], survey.sky_flux[:, None, None]
    noisy = np.empty_like(images)
    for k, rng in enumerate(rngs):
        spread = sigma * np.sqrt(1 + np.maximum(images[k], 0.0) / sky)
        noise = rng.standard_normal(images[k].shape, dtype=np.float32)
        noisy[k] = images[k] + spread.astype(np.float32) * noise
    return noisy


@cache
def _frequencies(pixel_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Spatial frequencies of the canvas [1/arcsec], along x (last axis) and y."""
    u = np.fft.rfftfreq(CANVAS, pixel_scale)[None, :]
    v = np.fft.fftfreq(CANVAS, pixel_scale)[:, None]
    return u.astype(np.float32), v.astype(np.float32)


@cache
def _centring() -> np.ndarray:
    """Phase that puts the origin between the four middle pixels."""
    shift = (CANVAS - 1) / 2 / CANVAS
    u, v = np.fft.rfftfreq(CANVAS, 1 / CANVAS)[None], np.fft.fftfreq(CANVAS, 1 / CANVAS)[:, None]
    return np.exp(-2j * np.pi * shift * (u + v)).astype(np.complex64)


def _psf(survey: Survey) -> np.ndarray:
    """Fourier transform of each band's PSF, pixel included, shape (B, canvas, canvas // 2 + 1)."""
    u, v = _frequencies(survey.pixel_scale)
    square = (u**2 + v**2)[None]
    core = (survey.seeing / 2.3548)[:, None, None]
    psf = sum(
        share * np.exp(-2 * np.pi**2 * (width * core) ** 2 * square) for share, width in PSF_WINGS
    )
    pixel = np.sinc(u * survey.pixel_scale) * np.sinc(v * survey.pixel_scale)
    return np.asarray(psf * pixel, dtype=np.float32)


def _component(
    index: float, radius: float, axis_ratio: float, angle: float, u: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Fourier transform of one Sersic component of unit flux."""
    share, sigma = sersic_gaussians(index)
    along = (u * np.cos(angle) + v * np.sin(angle)) ** 2
    across = (v * np.cos(angle) - u * np.sin(angle)) ** 2
    ellipse = -2 * np.pi**2 * radius**2 * (along + axis_ratio**2 * across)
    transform = np.zeros_like(ellipse)
    for weight, width in zip(share.astype(np.float32), sigma, strict=True):
        transform += weight * np.exp(np.float32(width**2) * ellipse)
    return transform
