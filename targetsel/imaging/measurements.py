"""Numbers measured on cutouts: magnitude, colour and size of the source, and signs of problems.

None of them needs a network or a catalog. Magnitudes are taken from the cutout, as it is there
wherever there is something to predict from, while catalogs differ in theirs. The range of ordinary
values differs between surveys: `novelty` compares with the cutouts of the training.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from targetsel.imaging.cutout import Cutouts
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT

MAGNITUDE = "cutout_mag"  # column of a scored catalog
FAINTEST = 0.01  # [nanomaggy] flux that fainter ones count as
# Numbers that indicate problems, by name.
CHECKS = {
    "masked": "share of pixels without data, in the band that has most of them",
    "masked centre": "the same within an eighth of the side from the centre",
    "saturated": "share of pixels as bright as the brightest one of their band, in the worst band",
    "sky noise": "noise of the sky against the survey's, ln of the ratio, in the oddest band",
    "off centre": "distance of the light from the centre [pixel]",
    "second source": "light that half a turn about the centre does not repeat, share of all",
    "compact": "light within an eighth of the side from the centre, share of that within a quarter",
    "one band": "share of pixels with light in one band only, as satellites leave it",
    "sharp pixel": "largest contrast of a pixel with its neighbours, against its light and the "
    "noise of contrasts, as cosmic rays leave it",
}
# Strange if they are large or small; the others, if they are large.
TWO_SIDED = ("sky noise", "compact")
SIGMA_OF_MAD = 1.4826
AT_ONCE = 16
BRIGHT, DARK = 6.0, 2.5  # [sigma of a 4 x 4 pixel mean] light, and none
SOFT = 0.2  # of a pixel's light that may be contrast: no telescope is sharper
LEAST_CONTRAST = 0.1  # [sigma of a pixel] noise of contrasts, at least
FEWEST_SIGMA = 30.0  # [sigma of a pixel] light that shares are taken of, at least


def quality(flux: np.ndarray, sky_sigma: np.ndarray) -> np.ndarray:
    """The numbers of `CHECKS` for N cutouts, shape (N, 9), in its order.

    Parameters
    ----------
    flux : ndarray, shape (N, B, H, W)
        [nanomaggy]; NaN where there is no data. Each side at least 16 pixels.
    sky_sigma : ndarray, shape (B,)
        The survey's usual noise of a pixel [nanomaggy].
    """
    pieces = [_quality(flux[k : k + AT_ONCE], sky_sigma) for k in range(0, len(flux), AT_ONCE)]
    return np.concatenate(pieces) if pieces else np.zeros((0, len(CHECKS)))


def _quality(flux: np.ndarray, sky_sigma: np.ndarray) -> np.ndarray:
    """`quality` of few cutouts, whose intermediate arrays stay in the processor's cache."""
    gone = np.isnan(flux)
    signal = flux / sky_sigma.astype(np.float32)[:, None, None]
    masked, masked_centre = np.zeros((2, len(flux)))
    near = _radius(flux.shape[2:]) <= min(flux.shape[2:]) / 8
    lacking = np.flatnonzero(gone.any(axis=(1, 2, 3)))  # few sources lack any pixel
    for k in lacking:
        signal[k][gone[k]] = 0
        masked[k] = gone[k].mean(axis=(1, 2)).max()
        masked_centre[k] = gone[k][:, near].mean(axis=1).max()
    together = signal.sum(axis=1) / np.float32(np.sqrt(flux.shape[1]))
    columns = {
        "masked": masked,
        "masked centre": masked_centre,
        "saturated": _saturated(signal),
        "sky noise": _noise(flux, sky_sigma),
        **_shape(together),
        "one band": _one_band(signal),
        "sharp pixel": _sharpest(signal, gone, lacking),
    }
    return np.stack([columns[name] for name in CHECKS], axis=1).astype(np.float64)


def reference_band(bands: tuple[str, ...]) -> str:
    """The band of a source's magnitude: r, or else the middle one."""
    return "r" if "r" in bands else bands[len(bands) // 2]


def central_magnitude(cutouts: Cutouts, band: str) -> np.ndarray:
    """AB magnitude in one band within a quarter of the cutout's side from its centre, shape (N,).

    Pixels without data count as the mean of those with; NaN where there are none.
    """
    flux = cutouts.select_bands((band,)).flux[:, 0]
    inside = (_radius(flux.shape[1:]) <= cutouts.size / 4).ravel()
    light = np.compress(inside, flux.reshape(len(flux), len(inside)), axis=1)
    share = np.isfinite(light).mean(axis=1)
    total = np.nansum(light, axis=1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.maximum(total / share, FAINTEST)
    return NANOMAGGY_ZERO_POINT - 2.5 * np.log10(whole)


def appearance(flux: np.ndarray, bands: tuple[str, ...], magnitude: np.ndarray) -> np.ndarray:
    """Magnitude, colour and size of N cutouts, shape (N, 3).

    Colour [mag] is that of the band before the reference band (r, or the middle one) and itself,
    within an eighth of the side from the centre; or of itself and the band after, where it is the
    first. Size is the radius of half the reference band's light within a quarter of the side
    [share of the side]. NaN where there is no light.

    Parameters
    ----------
    flux : ndarray, shape (N, B, H, W)
        [nanomaggy]
    magnitude : ndarray, shape (N,)
        As `central_magnitude` gives it.
    """
    pieces = [
        _appearance(flux[k : k + AT_ONCE], bands, magnitude[k : k + AT_ONCE])
        for k in range(0, len(flux), AT_ONCE)
    ]
    return np.concatenate(pieces) if pieces else np.zeros((0, 3))


def _appearance(flux: np.ndarray, bands: tuple[str, ...], magnitude: np.ndarray) -> np.ndarray:
    """`appearance` of few cutouts, whose intermediate arrays stay in the processor's cache."""
    at = bands.index(reference_band(bands))
    blue, red = (at - 1, at) if at else (0, min(1, len(bands) - 1))
    side = min(flux.shape[2:])
    rings = np.arange(1, 9) * side / 32
    inside = (_radius(flux.shape[2:]).ravel() <= rings[:, None]).astype(np.float32)
    chosen = flux[:, [blue, red, at]]
    chosen[np.isnan(chosen)] = 0
    light = chosen.reshape(len(flux), 3, inside.shape[1]) @ inside.T
    with np.errstate(divide="ignore", invalid="ignore"):
        colour = -2.5 * np.log10(light[:, 0, 3] / light[:, 1, 3])
        share = light[:, 2] / light[:, 2, -1:]
        above = np.argmax(share >= 0.5, axis=1)
        rows = np.arange(len(flux))
        low = np.where(above > 0, share[rows, above - 1], 0.0)
        size = (above + (0.5 - low) / (share[rows, above] - low)) / 32
    found = np.stack([magnitude, colour, np.where(light[:, 2, -1] > 0, size, np.nan)], axis=1)
    return np.where(np.isfinite(found), found, np.nan)


@cache
def _radius(shape: tuple[int, ...]) -> np.ndarray:
    """Distance of each pixel from the centre [pixel], shape (H, W)."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)


def _noise(flux: np.ndarray, sky_sigma: np.ndarray) -> np.ndarray:
    """ "sky noise" from the upper and lower eighth, shape (N,).

    From differences between pixels two apart, which smooth light does not change, and which are
    less correlated than neighbours.
    """
    rim = max(2, flux.shape[2] // 8)
    edge = np.concatenate([flux[:, :, :rim], flux[:, :, -rim:]], axis=2)
    noise = _deviation(edge[..., 2:] - edge[..., :-2]) / np.sqrt(2)
    with np.errstate(divide="ignore"):
        return _farthest(np.log(noise / sky_sigma))


def _deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation about 0 of the last two axes, by their median; 0 without data."""
    magnitude = np.abs(values.reshape(*values.shape[:2], -1))
    lacking = np.isnan(magnitude).any(axis=(1, 2))
    middle = np.empty(magnitude.shape[:2], magnitude.dtype)
    middle[~lacking] = _median(magnitude[~lacking])
    middle[lacking] = _median_of_known(magnitude[lacking])
    return SIGMA_OF_MAD * middle


def _median(values: np.ndarray) -> np.ndarray:
    """`np.median` of the last axis of numbers, which it puts into another order."""
    half = values.shape[2] // 2
    values.partition(half, axis=2)
    if values.shape[2] % 2:
        return values[..., half]
    return (values[..., :half].max(axis=2) + values[..., half]) / 2


def _median_of_known(values: np.ndarray) -> np.ndarray:
    """The same of those that are not NaN; 0 if none is."""
    gone = np.isnan(values)
    rising = np.sort(np.where(gone, np.inf, values), axis=2)
    n = (~gone).sum(axis=2)
    low, high = (
        np.take_along_axis(rising, place.clip(0, gone.shape[2] - 1)[..., None], axis=2)[..., 0]
        for place in ((n - 1) // 2, n // 2)
    )
    middle = (low + high) / 2  # as `np.median` has it, so that whole neighbours change nothing
    return np.where(n > 0, middle, 0.0)


def _farthest(values: np.ndarray) -> np.ndarray:
    """The value farthest from 0 in each row, bounded, shape (N,)."""
    values = np.nan_to_num(values, posinf=9, neginf=-9)
    return np.take_along_axis(values, np.abs(values).argmax(axis=1)[:, None], axis=1)[:, 0]


def _saturated(signal: np.ndarray) -> np.ndarray:
    """Share of pixels within 0.1 % of the brightest, beyond that one, in the worst band."""
    brightest = signal.max(axis=(2, 3), keepdims=True)
    alike = signal >= np.where(brightest > FEWEST_SIGMA, 0.999 * brightest, np.float32(np.inf))
    return (alike.sum(axis=(2, 3)) - 1).clip(0).max(axis=1) / signal[0, 0].size


def _shape(image: np.ndarray) -> dict[str, np.ndarray]:
    """ "off centre", "second source" and "compact" of images (N, H, W) in units of their noise."""
    radius, side = _radius(image.shape[1:]), min(image.shape[1:])
    inside, core = radius <= side / 4, radius <= side / 8
    y, x = (np.mgrid[: image.shape[1], : image.shape[2]].T - (np.array(image.shape[1:]) - 1) / 2).T
    light = _pixels(image, inside)
    positive = np.maximum(light - 2, 0)
    total = positive.sum(axis=1) + FEWEST_SIGMA
    # Products and sums, not matrix products: these round differently beside other cutouts.
    moments = ((positive * each[inside]).sum(axis=1) for each in (x, y))
    centre = np.hypot(*moments) / total
    turned = np.abs(light - _pixels(image[:, ::-1, ::-1], inside))
    # What noise alone leaves: the mean of the absolute difference of two normals is 2 / sqrt(pi).
    unlike = (turned.sum(axis=1) - 1.128 * inside.sum()) / (2 * total)
    compact = np.maximum(_pixels(image, core) - 2, 0).sum(axis=1) / total
    return {"off centre": centre, "second source": unlike, "compact": compact}


def _pixels(image: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The chosen pixels of images (N, H, W), shape (N, K) and contiguous by image, so that sums
    over them do not depend on N."""
    return np.compress(chosen.ravel(), image.reshape(len(image), -1), axis=1)


def _one_band(signal: np.ndarray) -> np.ndarray:
    """ "one band", on means of 4 x 4 pixels."""
    n, bands, height, width = signal.shape
    if bands < 2:
        return np.zeros(n)
    whole = signal[:, :, : height // 4 * 4, : width // 4 * 4]
    rows = (whole[:, :, ::4] + whole[:, :, 1::4]) + (whole[:, :, 2::4] + whole[:, :, 3::4])
    means = ((rows[..., ::4] + rows[..., 1::4]) + (rows[..., 2::4] + rows[..., 3::4])) / 4
    first, second = means[:, 0], np.full_like(means[:, 0], -np.inf)
    for band in range(1, bands):
        second = np.maximum(second, np.minimum(first, means[:, band]))
        first = np.maximum(first, means[:, band])
    return ((first > BRIGHT) & (second < DARK)).mean(axis=(1, 2))


def _sharpest(signal: np.ndarray, gone: np.ndarray, lacking: np.ndarray) -> np.ndarray:
    """ "sharp pixel": of each pixel against the mean of its four neighbours, all of them known.

    It is in units of what is usual: `SOFT` of the pixel's light, and the noise of contrasts in this
    band of the cutout, which depends on how the noise of neighbouring pixels is correlated. Pixels
    are `gone` in the sources `lacking` alone.

    Rows of pixels are one long row, which takes less time than many short ones. Its neighbours of
    the first and last pixel of a row are none.
    """
    width = signal.shape[3]
    row = signal.reshape(*signal.shape[:2], -1)
    middle = row[..., width:-width]
    contrast = row[..., : -2 * width] + row[..., 2 * width :]
    contrast += row[..., width - 1 : -width - 1]
    contrast += row[..., width + 1 : row.shape[2] - width + 1]
    contrast *= np.float32(-0.25)
    contrast += middle
    inner = contrast.reshape(*signal.shape[:2], -1, width)
    inner[..., [0, -1]] = 0
    for k in lacking:
        beside = gone[k, :, :-2, 1:-1] | gone[k, :, 2:, 1:-1]
        beside |= gone[k, :, 1:-1, :-2] | gone[k, :, 1:-1, 2:] | gone[k, :, 1:-1, 1:-1]
        inner[k, ..., 1:-1][beside] = np.nan
    usual = np.maximum(middle, 0)
    usual *= np.float32(SOFT)
    usual += _noise_of_contrasts(contrast, lacking)[..., None]
    contrast /= usual
    return np.fmax.reduce(contrast, axis=(1, 2), initial=0)


def _noise_of_contrasts(contrast: np.ndarray, lacking: np.ndarray) -> np.ndarray:
    """The standard deviation of Gaussian contrasts (N, B, P) of the same median size, (N, B).

    Contrasts are NaN beside pixels without data, in the sources `lacking` alone.
    """
    sizes = np.abs(contrast)
    median = np.median(sizes, axis=2)
    for k in lacking:
        for band in np.flatnonzero(np.isnan(median[k])):
            known = sizes[k, band][~np.isnan(sizes[k, band])]
            median[k, band] = np.median(known) if len(known) else 0
    return np.maximum(np.float32(SIGMA_OF_MAD) * median, np.float32(LEAST_CONTRAST))
