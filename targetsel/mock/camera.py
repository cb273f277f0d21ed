"""Cameras and skies of mock images, and the noise, errors and losses that they add.

Rates and sizes of errors and losses were set by hand to be like Pan-STARRS stacks; every camera
gets the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from targetsel.errors import MockError
from targetsel.photometry.bands import Band
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT
from targetsel.surveys.card import (
    MEASURED_CORRELATION,
    MEASURED_WINGS,
    Correlation,
    SurveyCard,
    Wings,
)
from targetsel.surveys.registry import find_card

# Stacks are resampled, which correlates the noise of neighbours: white noise is blurred by
# (EDGE, 1 - 2 EDGE, EDGE) along both axes. Set by hand; neighbours then correlate by 0.24.
EDGE = 0.1
# Ends of the spectra that bands may see [Angstrom], observed: the ultraviolet's of a galaxy at
# redshift 0.6, the farthest, and the infrared's.
BLUEST, REDDEST = 2960.0, 25_000.0


@dataclass(frozen=True)
class Camera:
    """A survey's bands, seeing, depth and sky, as its card has them or varied.

    Attributes
    ----------
    name : str
    passbands : tuple of B Band
    bands : tuple of B strings
    pixel_scale : float
        [arcsec]
    seeing : ndarray, shape (B,)
        Median full width at half maximum [arcsec].
    depth : ndarray, shape (B,)
        Magnitude of a point source at 5 sigma.
    sky : ndarray, shape (B,)
        Sky brightness [mag / arcsec^2]; sets how much noise a source's own light adds.
    size : int
        Width and height of cutouts [pixel].
    wings : Wings
    correlation : Correlation
    """

    name: str
    passbands: tuple[Band, ...]
    bands: tuple[str, ...]
    pixel_scale: float
    seeing: np.ndarray
    depth: np.ndarray
    sky: np.ndarray
    size: int = 64
    wings: Wings = MEASURED_WINGS
    correlation: Correlation = MEASURED_CORRELATION

    @classmethod
    def of(cls, card: SurveyCard) -> Camera:
        """The camera that a survey's card describes.

        Raises
        ------
        MockError
            If a band lies beyond the mock's spectra.
        """
        for band in card.bands:
            blue, red = band.curve.reach
            if blue < BLUEST or red > REDDEST:
                raise MockError(
                    f"survey '{card.name}': band '{band.name}' reaches from {blue:,.0f} to "
                    f"{red:,.0f} Angstrom, but spectra are simulated from {BLUEST:,.0f} to "
                    f"{REDDEST:,.0f}. Take the band out of the card."
                )
        return cls(
            name=card.name,
            passbands=card.passbands,
            bands=card.band_names,
            pixel_scale=card.pixel_scale,
            seeing=card.column("seeing"),
            depth=card.column("depth"),
            sky=card.column("sky"),
            size=card.cutout_size,
            wings=card.wings,
            correlation=card.correlation,
        )

    @cached_property
    def white_sigma(self) -> np.ndarray:
        """Noise of one pixel before it is blurred [nanomaggy], shape (B,).

        From the depth: a point source's flux is measured through a Gaussian PSF of variance s^2
        pixels, whose power keeps exp(-m^2 / 4 s^2) of the noise's correlation at lag m.
        """
        variance = (self.seeing / 2.3548 / self.pixel_scale) ** 2
        correlation = np.correlate(_KERNEL, _KERNEL, "full")[2:]
        lags = np.exp(-(np.arange(3)[:, None] ** 2) / (4 * variance))
        kept = correlation @ (np.array([1.0, 2.0, 2.0])[:, None] * lags)  # power share per axis
        five_sigma = 10 ** (-0.4 * (self.depth - NANOMAGGY_ZERO_POINT))
        return five_sigma / 5 / np.sqrt(4 * np.pi * variance) / kept

    @cached_property
    def sky_sigma(self) -> np.ndarray:
        """Noise of one pixel [nanomaggy], shape (B,)."""
        return self.white_sigma * (_KERNEL**2).sum()

    @property
    def sky_flux(self) -> np.ndarray:
        """Sky light in one pixel [nanomaggy], shape (B,)."""
        return 10 ** (-0.4 * (self.sky - NANOMAGGY_ZERO_POINT)) * self.pixel_scale**2

    @property
    def wavelength(self) -> np.ndarray:
        """Effective wavelength of each band [Angstrom], shape (B,)."""
        return np.array([band.wavelength for band in self.passbands])


_KERNEL = np.array([EDGE, 1 - 2 * EDGE, EDGE])


@dataclass(frozen=True)
class Texture:
    """How noise and sky of one source depart from the survey's.

    Attributes
    ----------
    edge : ndarray, shape (B,)
        Weight of either neighbour in the blurring of white noise, in place of `EDGE`. A pixel's
        noise stays the same.
    contrast : ndarray, shape (B, H + 2, W + 2)
        Factor on the noise at each pixel.
    residual : ndarray, shape (B, H, W)
        Sky light left over, beyond the plain camera's [sigma of a pixel].
    """

    edge: np.ndarray
    contrast: np.ndarray
    residual: np.ndarray


def find_camera(name: str) -> Camera:
    """The camera of a survey that has a card, such as "ps1".

    Raises
    ------
    MockError
        If there is no card of this name (it lists those there are), or it has a band beyond the
        mock's spectra.
    """
    return Camera.of(find_card(name, MockError))


PAN_STARRS = find_camera("ps1")


ZERO_POINT = 0.012  # mag, independent in each band
REDDENING = 0.015  # residual E(B-V) [mag] after the correction for Galactic dust
SEEING = (0.07, 0.03)  # scatter of ln(FWHM): common to the bands, and of each band
SHEAR = 0.02  # ellipticity of the PSF, each component, common to the bands
DEPTH = (0.08, 0.06)  # scatter of ln(noise), likewise
BACKGROUND = (0.08, 0.05)  # left over, [sigma of a pixel]: an offset, and at the edge a slope's
SPOTTED, GAPPED, LOST = (
    0.03,
    0.015,
    0.003,
)  # shares of sources with masked spots, a gap, a lost band


def draw_seeing(survey: Camera, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float]]:
    """FWHM in each band [arcsec], shape (B,), and shear of the PSF at one source."""
    common, own = SEEING
    scatter = common * rng.normal() + own * rng.standard_normal(len(survey.bands))
    return survey.seeing * np.exp(scatter), (SHEAR * rng.normal(), SHEAR * rng.normal())


def expose(
    image: np.ndarray,
    survey: Camera,
    zero_point: np.ndarray,
    rng: np.random.Generator,
    texture: Texture | None = None,
) -> np.ndarray:
    """Image of one source by the camera, float32, shape (B, H, W) [nanomaggy]; NaN where lost.

    Parameters
    ----------
    image : ndarray, shape (B, H + 2, W + 2)
        Image without noise, with a margin of one pixel for blurring the noise.
    zero_point : ndarray, shape (B,)
        Error of the zero point [mag]; positive makes every source too faint.
    texture : Texture, optional
        Default: the survey's noise and a plane of left sky.
    """
    bands = len(image)
    error = zero_point + ZERO_POINT * rng.standard_normal(bands)
    error += REDDENING * rng.normal() * extinction(survey.wavelength)
    seen = image * (10 ** (-0.4 * error)).astype(np.float32)[:, None, None]
    noise = np.exp(DEPTH[0] * rng.normal() + DEPTH[1] * rng.standard_normal(bands))
    noisy = seen[:, 1:-1, 1:-1] + add_noise(seen, survey, noise, rng, texture)
    noisy += _background(survey, noisy.shape[1:], rng)
    if texture is not None:
        noisy += texture.residual * survey.sky_sigma.astype(np.float32)[:, None, None]
    return _with_losses(noisy, rng)


def extinction(wavelength: np.ndarray) -> np.ndarray:
    """Galactic extinction per E(B-V) [mag].

    A power law through 2.27 at 6170 Angstrom, within 8 % of the Pan-STARRS coefficients of
    Schlafly & Finkbeiner (2011, ApJ 737, 103), table 6, at R_V = 3.1.
    """
    return 2.27 * (wavelength / 6170.0) ** -1.55


def add_noise(
    image: np.ndarray,
    survey: Camera,
    factor: np.ndarray,
    rng: np.random.Generator,
    texture: Texture | None = None,
) -> np.ndarray:
    """Noise of sky and source, correlated between neighbours, float32, shape (B, H, W).

    Parameters
    ----------
    image : ndarray, shape (B, H + 2, W + 2)
    factor : ndarray, shape (B,)
        Factor on the noise that follows from the survey's depth.
    texture : Texture, optional
        Its correlation and variation; default: that of `EDGE`, and none.
    """
    edge = np.full(len(image), EDGE) if texture is None else texture.edge
    kept = _power(EDGE) / _power(edge)  # so that the noise of a pixel stays `sky_sigma`
    sigma = (survey.white_sigma * factor * kept).astype(np.float32)[:, None, None]
    sky = survey.sky_flux.astype(np.float32)[:, None, None]
    white = rng.standard_normal(image.shape, dtype=np.float32)
    white *= sigma * np.sqrt(1 + np.maximum(image, 0) / sky)
    if texture is not None:
        white *= texture.contrast
    in_middle, at_side = (each.astype(np.float32)[:, None, None] for each in (1 - 2 * edge, edge))
    for _ in range(2):  # blurred along one axis, then along the other
        middle, sides = white[:, 1:-1], white[:, :-2] + white[:, 2:]
        white = np.swapaxes(in_middle * middle + at_side * sides, 1, 2)
    return white


def _power(edge: Any) -> Any:
    """Share of the variance that blurring leaves."""
    return 2 * edge**2 + (1 - 2 * edge) ** 2


def _background(survey: Camera, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Sky light that was subtracted wrongly: an offset and a slope in each band."""
    offset, slope = BACKGROUND
    normals = rng.standard_normal((3, len(survey.bands), 1, 1), dtype=np.float32)
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    plane = offset * normals[0] + slope * (normals[1] * x + normals[2] * y[:, None])
    return plane * survey.sky_sigma.astype(np.float32)[:, None, None]


def _with_losses(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with NaN in lost pixels: spots in all bands, a gap in one, or one whole band."""
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
