"""Real galaxies, brought to another survey's pixel scale, seeing, depth and noise.

They are those of the part of a KiDS+VIKING mosaic (ESO public surveys; package ProFound) that lies
in `real_images` of the folder that the environment variable TARGETSEL_DATA names. PSFs and noise
are measured on it (`real_images`). `Brought` brings sources of any `Field`; `real_blends` reads
others. Needs photutils and scikit-image.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import real_images
from real_images import HALF, PIXEL
from scipy.ndimage import map_coordinates
from scipy.special import gamma, kv

from targetsel.mock.camera import DEPTH, Camera, add_noise, draw_seeing
from targetsel.mock.morphology import MISCENTRING
from targetsel.mock.noise import draw_texture
from targetsel.mock.optics import draw_optics

DETECTED = 3.0  # [sigma of a pixel], in this many pixels that touch:
TOUCHING = 8
PSF_STARS = (15.5, 19.5)  # r of stars that the PSF is measured on
BRIGHT_STAR, BESIDE = 17.0, 15.0  # r, and arcsec within which such a star spoils a galaxy
SATURATED = 15.5  # r; brighter sources are stars whose cores are lost, as their images show
# Half-light radius of the smallest galaxy over that of stars. Seen by eye at r < 20.8: all 42
# sources beyond it are galaxies; of six between 1.2 and it, three or four are stars beside others.
EXTENDED = 1.5
HALF_PIECE = 27.0  # arcsec around a source that are brought, for the wings of its convolution
EDGE = 10.0  # arcsec; nearer to the edge of the mosaic, a cutout would leave it


@dataclass(frozen=True)
class Moffat:
    """A profile (1 + r^2 / a^2)^-beta: its full width at half maximum [arcsec], and beta."""

    width: float
    beta: float

    @property
    def radius(self) -> float:
        return self.width / 2 / np.sqrt(2 ** (1 / self.beta) - 1)

    def transform(self, frequency: np.ndarray) -> np.ndarray:
        """Its Fourier transform at spatial frequencies [1/arcsec], 1 at 0, within 1e-4."""
        some = np.linspace(1e-9, frequency.max(), 1000)  # as Bessel functions take long
        x = 2 * np.pi * self.radius * some
        order = self.beta - 1
        return np.interp(frequency, some, 2 ** (1 - order) / gamma(order) * x**order * kv(order, x))


@dataclass(frozen=True)
class Sources:
    """Detections in r: x, y [pixel], r magnitude within Kron apertures, half-light radius [arcsec],
    whether each is extended and whether no bright star is beside it; each of shape (N,)."""

    x: np.ndarray
    y: np.ndarray
    magnitude: np.ndarray
    radius: np.ndarray
    is_extended: np.ndarray
    is_clear: np.ndarray

    def take(self, rows: np.ndarray) -> Sources:
        return Sources(**{name: values[rows] for name, values in vars(self).items()})

    def __len__(self) -> int:
        return len(self.x)


class Field(Protocol):
    """Registered images: flux, shape (B, H, W) [nanomaggy], less the background; noise of a pixel
    and PSF in each band; side of a pixel [arcsec]; its galaxies."""

    @property
    def flux(self) -> np.ndarray: ...
    @property
    def sigma(self) -> np.ndarray: ...
    @property
    def psf(self) -> tuple[Moffat, ...]: ...
    @property
    def pixel(self) -> float: ...
    def galaxies(self, faintest: float) -> Sources: ...


@dataclass(frozen=True)
class Mosaic:
    """The mosaic of KiDS and VIKING, whatever its number of columns."""

    flux: np.ndarray
    pixel: float = PIXEL

    @classmethod
    def read(cls) -> Mosaic:
        return cls(real_images.read_mosaic(folder_of_images()))

    @cached_property
    def sigma(self) -> np.ndarray:
        """Noise of a pixel, shape (B,)."""
        return np.array([real_images.scatter(each) for each in self.flux])

    @cached_property
    def sources(self) -> Sources:
        """All that is detected in r, the brightest first."""
        from photutils.segmentation import SourceCatalog, SourceFinder

        r = self.flux[1]
        finder = SourceFinder(TOUCHING, contrast=0.005, progress_bar=False)
        found = SourceCatalog(r, finder(r, DETECTED * self.sigma[1]))
        magnitude = 22.5 - 2.5 * np.log10(np.maximum(np.nan_to_num(found.kron_flux), 1e-4))
        radius = np.nan_to_num(found.flux_radius(0.5).value) * PIXEL
        x, y = found.x_centroid, found.y_centroid
        point = np.median(radius[(magnitude > PSF_STARS[0]) & (magnitude < 18) & (radius > 0)])
        extended = (radius > EXTENDED * point) & (magnitude > SATURATED)
        stars = (magnitude < BRIGHT_STAR) & ~extended
        apart = np.hypot(x[:, None] - x[stars], y[:, None] - y[stars]) * PIXEL
        clear = ~(apart < BESIDE).any(axis=1)
        order = np.argsort(magnitude, kind="stable")
        return Sources(x, y, magnitude, radius, extended, clear).take(order)

    @cached_property
    def psf(self) -> tuple[Moffat, ...]:
        """The median of Moffat profiles that are fitted to its stars, for each band."""
        stars = self.sources.take(
            ~self.sources.is_extended
            & (self.sources.magnitude > PSF_STARS[0])
            & (self.sources.magnitude < PSF_STARS[1])
        )
        stars = stars.take(stars.radius < 1.2 * np.median(stars.radius))
        return tuple(self._psf(band, stars) for band in self.flux)

    def _psf(self, image: np.ndarray, stars: Sources) -> Moffat:
        places = np.round([stars.x, stars.y]).astype(int).T
        inside = (places > HALF).all(axis=1) & (
            places < np.array(image.shape[::-1]) - HALF - 1
        ).all(axis=1)
        fitted = [real_images.fit_moffat(image, x, y) for x, y in places[inside]]
        width, beta = np.median(fitted, axis=0)[3:5]
        return Moffat(float(width) * PIXEL, float(beta))

    def galaxies(self, faintest: float) -> Sources:
        """Extended sources brighter than this r, far enough from the edges."""
        s, (height, width), margin = self.sources, self.flux.shape[1:], EDGE / self.pixel
        inside = (s.x > margin) & (s.x < width - margin) & (s.y > margin) & (s.y < height - margin)
        return s.take(s.is_extended & inside & (s.magnitude < faintest))


def folder_of_images() -> Path:
    """The folder `real_images`; SystemExit where TARGETSEL_DATA does not name it."""
    folder = Path(os.environ.get("TARGETSEL_DATA", "")) / "real_images"
    if not os.environ.get("TARGETSEL_DATA") or not folder.is_dir():
        raise SystemExit("TARGETSEL_DATA: names no folder with real_images; set it to one.")
    return folder


# --- bringing -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """Light of a source at a camera, shape (B, size + 2, size + 2), and the noise that is to be
    added to each pixel, shape (B,); both [nanomaggy]."""

    light: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True)
class Brought:
    """How a real source is brought to a camera, in cutouts of `size` pixels."""

    camera: Camera
    size: int = 64

    def cutout(self, field: Field, x: float, y: float, rng: np.random.Generator) -> np.ndarray:
        """Image of the source at x, y [pixel], float32, shape (B, size, size) [nanomaggy]."""
        return self.expose(self.see(field, x, y, rng), rng)

    def see(self, field: Field, x: float, y: float, rng: np.random.Generator) -> Seen:
        """The source at x, y [pixel], before noise is added.

        Bands are convolved to Moffat profiles whose widths and exponents scatter as a mock sky's
        with `realism`, but none is sharpened: one whose own seeing is worse keeps it. The camera's
        noise and the centre scatter from source to source as there. Beyond the field's edges there
        is its noise alone.
        """
        camera, scale = self.camera, field.pixel
        x, y = (each + MISCENTRING / scale * rng.normal() for each in (x, y))
        half = round(HALF_PIECE / scale)
        corner = round(float(x)) - half, round(float(y)) - half
        piece = _piece(field, corner, 2 * half, rng)
        k = np.fft.fftfreq(2 * half, scale)
        frequency = np.hypot(k[:, None], k)
        optics = draw_optics(*draw_seeing(camera, rng), 1.0, rng)
        steps = (np.arange(self.size + 2) - (self.size + 1) / 2) * camera.pixel_scale / scale
        places = np.meshgrid(y - corner[1] + steps, x - corner[0] + steps, indexing="ij")
        area = (camera.pixel_scale / scale) ** 2
        seen, left = [], []
        profiles = zip(optics.seeing, optics.beta, strict=True)
        for own, (width, beta), image in zip(field.psf, profiles, piece, strict=True):
            target = Moffat(max(float(width), own.width), float(beta)).transform(frequency)
            share = np.minimum(target / np.maximum(own.transform(frequency), 1e-4), 1)
            smooth = np.fft.ifft2(np.fft.fft2(image) * share).real
            seen.append(map_coordinates(smooth, places, order=5, mode="nearest") * area)
            left.append(np.sqrt((share**2).mean()) * area)
        wanted = DEPTH[0] * rng.normal() + DEPTH[1] * rng.standard_normal(len(seen))
        wanted = camera.sky_sigma * np.exp(wanted)
        noise = np.sqrt(np.maximum(wanted**2 - (field.sigma * left) ** 2, 0))
        return Seen(np.array(seen), noise)

    def expose(
        self,
        seen: Seen,
        rng: np.random.Generator,
        correlation: tuple[float, float, float] = (0.1, 0.8, 0.1),
    ) -> np.ndarray:
        """The cutout, with white noise blurred by a kernel along both axes.

        The kernel (0, 1, 0) leaves it white; by default it is the mock's.
        """
        kernel, image = np.array(correlation), seen.light
        white = rng.standard_normal(image.shape) * (seen.noise / (kernel**2).sum())[:, None, None]
        white *= np.sqrt(1 + np.maximum(image, 0) / self.camera.sky_flux[:, None, None])
        for _ in range(2):
            blurred = sum(
                weight * white[:, k : white.shape[1] - 2 + k] for k, weight in enumerate(kernel)
            )
            white = np.swapaxes(blurred, 1, 2)
        return (image[:, 1:-1, 1:-1] + white).astype(np.float32)

    def expose_with_texture(self, seen: Seen, rng: np.random.Generator) -> np.ndarray:
        """The cutout with noise and left sky as the mock sky's with `realism`, drawn anew."""
        camera, light = self.camera, seen.light.astype(np.float32)
        texture = draw_texture(camera, self.size, 1.0, rng)
        noise = add_noise(light, camera, seen.noise / camera.sky_sigma, rng, texture)
        left = texture.residual * camera.sky_sigma[:, None, None]
        return (light[:, 1:-1, 1:-1] + noise + left).astype(np.float32)


def _piece(
    field: Field, corner: tuple[int, int], side: int, rng: np.random.Generator
) -> np.ndarray:
    """The square of a field that begins at corner (x, y); noise where it leaves the field."""
    out = rng.standard_normal((len(field.flux), side, side)) * field.sigma[:, None, None]
    height, width = field.flux.shape[1:]
    (left, right), (low, high) = (
        (max(start, 0), min(start + side, end))
        for start, end in zip(corner, (width, height), strict=True)
    )
    inside = np.s_[:, low - corner[1] : high - corner[1], left - corner[0] : right - corner[0]]
    out[inside] = field.flux[:, low:high, left:right]
    return out
