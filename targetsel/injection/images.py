"""Cutouts as they would be of fainter galaxies, in worse seeing, or in noisier images.

The light of a cutout is scaled by f and blurred by a Gaussian whose transform is G(k). What is
left of its noise has the power f^2 G(k)^2 S(k), where S is the power of the noise that the image
had, and n^2 S(k) is due, n being the factor on the noise. So noise of the power
(n^2 - f^2 G(k)^2) S(k) is added, which is never negative: the noise keeps its level and its
texture. S is that of white noise blurred by (e, 1 - 2 e, e) along both axes, as resampling leaves
it. Level and e are measured in each band of each cutout, in a rim of an eighth of its side, from
differences between pixels one and two apart, which smooth light does not change.

Light I adds the share I / sky to the variance of a pixel, where the brightness of the sky is known.
Of that n^2 f is due for the dimmed light, and f^2 g is left, g being the share of such noise that
blurring leaves; the rest is added as well. Where it is not known, bright galaxies that are made
much fainter come out less noisy in their middle than they would be. Neighbours in the cutout are
dimmed and blurred with the source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from targetsel.errors import CutoutError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.measurements import SIGMA_OF_MAD
from targetsel.injection.steps import ImageStep
from targetsel.tables.ids import keys_of

SIGMA_OF_FWHM = 1 / (2 * np.sqrt(2 * np.log(2)))
WIDEST_EDGE = 0.25  # where neighbours correlate by 2/3
FEWEST = 50  # differences of pixels in the rim, for a measurement
RIM = 4  # [pixel] least width of the rim
SMOOTHED = 1.0  # [pixel] before light is taken for what adds noise
MARGIN = 8  # [pixel] drawn beyond images: the noise that is drawn meets itself at the edges


@dataclass(frozen=True)
class Noise:
    """The noise of one cutout, by band.

    Attributes
    ----------
    sigma : ndarray, shape (B,)
        Standard deviation of a pixel [nanomaggy].
    edge : ndarray, shape (B,)
        Weight of either neighbour in the blurring of white noise, 0 to `WIDEST_EDGE`.
    """

    sigma: np.ndarray
    edge: np.ndarray


def measured_noise(flux: np.ndarray, usual: np.ndarray) -> Noise:
    """The noise of one cutout, shape (B, H, W).

    Parameters
    ----------
    usual : ndarray, shape (B,)
        Noise of a pixel where a band has too few pixels with data in its rim; it is then taken to
        be white.
    """
    sigma, edge = np.array(usual, dtype=np.float64), np.zeros(len(flux))
    for band, image in enumerate(np.asarray(flux, dtype=np.float64)):
        one, two = (_deviation(image, apart) for apart in (1, 2))
        if np.isnan(one + two):
            continue
        ratio = (one / two) ** 2 if two else 1.0
        edge[band] = np.interp(-ratio, -_ratio(_EDGES), _EDGES)
        sigma[band] = two / np.sqrt(2 * (1 - _correlation(edge[band])[1]))
    return Noise(sigma, edge)


def changed(
    cutouts: Cutouts, step: ImageStep, usual: np.ndarray, seed: int, sky: np.ndarray | None = None
) -> Cutouts:
    """The cutouts as they would be after a step.

    Pixels and bands without data stay so. The noise added to a source depends on the seed, its id
    and the step alone; in all steps it is made of the same random numbers.

    Parameters
    ----------
    usual : ndarray, shape (B,)
        As of `measured_noise`: the store's noise of a pixel [nanomaggy].
    seed : int
        Not negative.
    sky : ndarray, shape (B,), optional
        Light of the sky in a pixel [nanomaggy], to restore the noise of the sources' own light.
    """
    if not step.changes:
        return cutouts
    flux = np.array(cutouts.flux, dtype=np.float32)
    keys = keys_of(cutouts.source_id)
    for row in np.flatnonzero(cutouts.present):
        noise = measured_noise(flux[row], usual)
        rng = np.random.default_rng([seed, int(keys[row])])
        flux[row] = _changed(flux[row], step, noise, cutouts.pixel_scale, rng, sky)
    return replace(cutouts, flux=flux)


def check_blur(step: ImageStep, pixel_scale: float, size: int) -> None:
    """Refuse a Gaussian wider than a quarter of the cutouts' side.

    Raises
    ------
    CutoutError
    """
    widest = pixel_scale * size / 4
    if step.blur > widest:
        raise CutoutError(
            f"--blur {step.blur:g}: expected at most {widest:g} arcsec, a quarter of the side of "
            f"the ensemble's cutouts. Is it in arcsec, not in pixels of {pixel_scale:g} arcsec?"
        )


def _changed(
    flux: np.ndarray,
    step: ImageStep,
    noise: Noise,
    pixel_scale: float,
    rng: np.random.Generator,
    sky: np.ndarray | None,
) -> np.ndarray:
    """One cutout, shape (B, H, W), after a step."""
    sigma = step.blur * SIGMA_OF_FWHM / pixel_scale  # [pixel]
    height, width = (n + MARGIN for n in flux.shape[1:])
    # Noise is drawn of lost bands too, so that no band's depends on the others.
    grain = np.fft.rfft2(rng.standard_normal((len(flux), height, width)))
    lacking = np.sqrt(step.noisier**2 - (step.factor * _transform(height, width, sigma)) ** 2)
    found = flux.copy()
    for band, image in enumerate(flux.astype(np.float64)):
        gone = np.isnan(image)
        if gone.all() or np.ptp(image[~gone]) == 0:
            continue  # lost
        texture = _texture(height, width, noise.edge[band])
        added = np.fft.irfft2(grain[band] * lacking * texture, s=(height, width))
        if sky is not None:
            kept = _share_kept(height, width, noise.edge[band], sigma)
            due = step.factor * (step.noisier**2 - step.factor * kept)
            own = np.sqrt(due / sky[band]) * _root_of_light(image, sigma)
            white = rng.standard_normal((height, width)) * np.pad(own, (0, MARGIN), "edge")
            added += np.fft.irfft2(np.fft.rfft2(white) * texture, s=(height, width))
        light = step.factor * (_blurred(image, sigma) if sigma else image)
        light += noise.sigma[band] * added[: flux.shape[1], : flux.shape[2]]
        found[band] = np.where(gone, np.nan, light)
    return found


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """An image convolved with a Gaussian; pixels without data have no weight.

    Beyond its edges the image is taken to be its own reflection.
    """
    margin = min(int(np.ceil(4 * sigma)) + 1, min(image.shape) - 1)
    known = ~np.isnan(image)
    light = _convolved(np.where(known, image, 0.0), sigma, margin)
    if known.all():
        return light
    weight = _convolved(known.astype(np.float64), sigma, margin)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, light / weight, np.nan)


def _root_of_light(image: np.ndarray, sigma: float) -> np.ndarray:
    """Square root of the light of an image; smoothed, so that its noise does not count as light."""
    light = _blurred(image, max(sigma, SMOOTHED))
    return np.sqrt(np.maximum(np.nan_to_num(light), 0.0))


def _share_kept(height: int, width: int, edge: float, sigma: float) -> float:
    """Share of the variance of textured noise that blurring leaves."""
    if not sigma:
        return 1.0
    texture = np.fft.irfft2(_texture(height, width, edge) ** 2, s=(height, width))
    blurred = _transform(height, width, sigma) * _texture(height, width, edge)
    return float(np.fft.irfft2(blurred**2, s=(height, width))[0, 0] / texture[0, 0])


def _convolved(image: np.ndarray, sigma: float, margin: int) -> np.ndarray:
    wide = np.pad(image, margin, "reflect")
    found = np.fft.irfft2(np.fft.rfft2(wide) * _transform(*wide.shape, sigma), s=wide.shape)
    return found[margin:-margin, margin:-margin]


def _frequencies(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Along y and x [radian/pixel], as `rfft2` has them; shapes (H, 1) and (W // 2 + 1,)."""
    return 2 * np.pi * np.fft.fftfreq(height)[:, None], 2 * np.pi * np.fft.rfftfreq(width)


@lru_cache(maxsize=16)
def _transform(height: int, width: int, sigma: float) -> np.ndarray:
    """Fourier transform of a Gaussian of this width [pixel] and the sum 1."""
    y, x = _frequencies(height, width)
    return np.exp(-(sigma**2) * (x**2 + y**2) / 2)


def _texture(height: int, width: int, edge: float) -> np.ndarray:
    """Factor on the transform of white noise that gives it its texture and leaves its level."""
    y, x = _frequencies(height, width)
    along, across = (1 - 2 * edge + 2 * edge * np.cos(each) for each in (y, x))
    return along * across / _power(edge)


def _power(edge: Any) -> Any:
    """Share of the variance that blurring white noise along one axis leaves."""
    return 2 * edge**2 + (1 - 2 * edge) ** 2


def _correlation(edge: Any) -> tuple[Any, Any]:
    """Of pixels one and two apart, along an axis."""
    return 2 * edge * (1 - 2 * edge) / _power(edge), edge**2 / _power(edge)


def _ratio(edge: Any) -> Any:
    """Variance of the differences of neighbours over that of pixels two apart; it falls."""
    one, two = _correlation(edge)
    return (1 - one) / (1 - two)


_EDGES = np.linspace(0.0, WIDEST_EDGE, 251)


def _deviation(image: np.ndarray, apart: int) -> float:
    """Standard deviation, by their median, of differences of pixels in the rim; NaN of too few."""
    rim = max(RIM, min(image.shape) // 8)
    rows = np.concatenate([image[:rim], image[-rim:]])
    columns = np.concatenate([image[:, :rim], image[:, -rim:]], axis=1)
    along, across = rows[:, apart:] - rows[:, :-apart], columns[apart:] - columns[:-apart]
    size = np.abs(np.concatenate([along.ravel(), across.ravel()]))
    size = size[~np.isnan(size)]
    return float(SIGMA_OF_MAD * np.median(size)) if len(size) >= FEWEST else np.nan
