"""Light profiles as sums of Gaussians, drawn in Fourier space.

A galaxy is a sum of Gaussians (Hogg & Lang 2013, PASP 125, 719) and points: in Fourier space the
PSF and the fiber are products, a shift is a phase, and no pixel is integrated. All transforms are
of unit flux, on the half plane of `Canvas`, flattened to P numbers.

An ellipse is a matrix of second moments, shape (2, 2) [arcsec^2]: R R^T for the linear map R that
takes the unit circle to the isophote through the half-light radius.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.fft import irfft2
from scipy.optimize import nnls
from scipy.special import gammaincinv, j1

FIBER_RADIUS = 1.5  # arcsec
FIBER_SEEING = 1.4  # arcsec
LEAST_FIBER_SHARE = 0.02
CANVAS = 128  # pixels; the margin around a cutout receives the light that wraps around


@cache
def sersic_gaussians(index: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares of light and widths [half-light radius] of Gaussians that add up to a Sersic profile.

    The surface brightness of the Sersic profile, cut off at 8 half-light radii, is fitted without
    negative shares between 0.02 and 8 half-light radii.
    """
    radius = np.geomspace(0.02, 8.0, 200)
    b = gammaincinv(2 * index, 0.5)
    profile = np.exp(-b * (radius ** (1 / index) - 1))
    sigma = np.geomspace(0.02, 4.0, 12)
    surface = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) / (2 * np.pi * sigma**2)
    weight = radius**0.5  # compromise between equal weight per radius and per light
    share, _ = nnls(surface * weight[:, None] / profile[:, None] ** 0.5, weight * profile**0.5)
    used = share > 1e-4 * share.sum()
    share, sigma = share[used] / share[used].sum(), sigma[used]
    light = (1 - np.exp(-0.5 * (radius[:, None] / sigma) ** 2)) @ share
    return share, sigma / np.interp(0.5, light, radius)


class Canvas:
    """A square of pixels and its half plane of spatial frequencies.

    Attributes
    ----------
    pixel_scale : float
        [arcsec]
    u, v : ndarray, shapes (1, C / 2 + 1) and (C, 1)
        Spatial frequencies along x (the last axis) and y [1/arcsec].
    fiber : ndarray, shape (P,)
        Transform of a central fiber with the spectrograph's seeing: its product with another
        transform is the share of light in the fiber (Parseval's theorem).
    """

    def __init__(self, pixel_scale: float) -> None:
        self.pixel_scale = pixel_scale
        u = np.fft.rfftfreq(CANVAS, pixel_scale)[None, :]
        v = np.fft.fftfreq(CANVAS, pixel_scale)[:, None]
        self.u, self.v = u.astype(np.float32), v.astype(np.float32)
        self._uu, self._uv, self._vv = (
            np.broadcast_to(product, (CANVAS, CANVAS // 2 + 1)).ravel().astype(np.float32)
            for product in (u**2, u * v, v**2)
        )
        self.fiber = self._fiber(u, v).astype(np.float32)
        middle = np.exp(-1j * np.pi * pixel_scale * (CANVAS - 1) * (u + v))
        pixel = np.sinc(u * pixel_scale) * np.sinc(v * pixel_scale)
        self._to_pixels = (middle * pixel).ravel().astype(np.complex64)

    def square(self, ellipse: np.ndarray) -> np.ndarray:
        """Exponent -2 pi^2 f^2 of frequencies f in units of the ellipse, shape (P,)."""
        a, b, c = (-2 * np.pi**2 * ellipse[[0, 0, 1], [0, 1, 1]]).astype(np.float32)
        return a * self._uu + (2 * b) * self._uv + c * self._vv

    def gaussian(self, ellipse: np.ndarray) -> np.ndarray:
        """Transform of a Gaussian with these second moments, shape (P,)."""
        return np.exp(self.square(ellipse))

    def sersic(self, index: float, ellipse: np.ndarray) -> np.ndarray:
        """Transform of a Sersic profile with this half-light isophote, shape (P,)."""
        share, sigma = sersic_gaussians(index)
        return mixture(self.square(ellipse), share, sigma)

    def shift(self, x: float, y: float) -> np.ndarray:
        """Phases that move the light by x, y [arcsec], complex, shape (P,)."""
        return (phases(self.v, y) * phases(self.u, x)).ravel()

    def points(self, x: np.ndarray, y: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Transform of points at x, y [arcsec] with shares of light, all (K,); complex, (P,)."""
        rows = phases(self.v, y) * share.astype(np.float32)
        return (rows @ phases(self.u.T, x).T).ravel()

    def images(self, transforms: np.ndarray, size: int) -> np.ndarray:
        """The central `size` x `size` pixels of transforms (B, P), light per pixel, float32."""
        half = (transforms * self._to_pixels).reshape(-1, CANVAS, CANVAS // 2 + 1)
        margin = (CANVAS - size) // 2
        inner = slice(margin, margin + size)
        return irfft2(half, s=(CANVAS, CANVAS), workers=1)[:, inner, inner]

    def _fiber(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        k = 2 * np.pi * np.hypot(u, v)
        disk = 2 * np.pi * FIBER_RADIUS * j1(k * FIBER_RADIUS) / np.where(k > 0, k, 1.0)
        disk[k == 0] = np.pi * FIBER_RADIUS**2
        seeing = np.exp(-0.5 * (k * FIBER_SEEING / 2.3548) ** 2)
        conjugates = np.where((u > 0) & (u < 0.5 / self.pixel_scale), 2.0, 1.0)
        return (disk * seeing * conjugates / (CANVAS * self.pixel_scale) ** 2).ravel()


canvas_of = cache(Canvas)


def mixture(square: np.ndarray, share: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Transform of a sum of Gaussians, widths in units of the ellipse of `square`, shape (P,)."""
    return share.astype(np.float32) @ np.exp(
        np.multiply.outer(sigma.astype(np.float32) ** 2, square)
    )


def phases(frequency: np.ndarray, place: float | np.ndarray) -> np.ndarray:
    """exp(-2 pi i frequency place), complex64; sine and cosine are many times faster than exp."""
    angle = np.multiply(-2 * np.pi * frequency, place, dtype=np.float32)
    turned = np.empty(angle.shape, dtype=np.complex64)
    turned.real, turned.imag = np.cos(angle), np.sin(angle)
    return turned
