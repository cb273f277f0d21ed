"""Numbers of cutouts of Pan-STARRS by which real galaxies and simulated ones are told apart.

Sizes and shapes are measured in r on the light of the source in the middle, others taken out.
Needs photutils and scikit-image.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from targetsel.imaging.measurements import CHECKS, quality
from targetsel.mock.camera import PAN_STARRS

SHAPES = ("half-light radius", "concentration", "asymmetry", "clumpiness", "Gini", "M20",
          "ellipticity", "neighbours")  # fmt: skip
SCALE, SIGMA = PAN_STARRS.pixel_scale, PAN_STARRS.sky_sigma
DETECTED, TOUCHING = 2.0, 8  # sigma of a pixel, in this many that touch
ABSOLUTE = 2 / np.sqrt(np.pi)  # mean |a - b| of two normals, in units of their sigma


def numbers(flux: np.ndarray) -> dict[str, np.ndarray]:
    """All numbers of cutouts (N, B, H, W), each (N,); NaN where one cannot be measured."""
    shapes = np.array([shape_of(image) for image in flux[:, 1].astype(np.float64)])
    checks = quality(flux, SIGMA).T
    return {**dict(zip(SHAPES, shapes.T, strict=True)), **colours(flux), **noise(flux),
            **dict(zip(CHECKS, checks, strict=True))}  # fmt: skip


def shape_of(image: np.ndarray) -> np.ndarray:
    """The numbers SHAPES of the source in the middle of one image (H, W).

    Concentration, asymmetry and clumpiness as Conselice (2003, ApJS 147, 1), Gini and M20 as Lotz
    et al. (2004, AJ 128, 163), within the pixels of the source instead of Petrosian radii.
    """
    from photutils.segmentation import SourceFinder

    segments = SourceFinder(TOUCHING, contrast=0.005, progress_bar=False)(
        image, DETECTED * SIGMA[1]
    )
    middle = image.shape[0] // 2
    if segments is None or not (label := segments.data[middle, middle]):
        return np.full(len(SHAPES), np.nan)
    own = segments.data == label
    light = np.where((segments.data > 0) & ~own, 0, image)
    rows, columns = np.indices(image.shape)
    weight = light[own] / light[own].sum()
    y, x = (weight * rows[own]).sum(), (weight * columns[own]).sum()
    radius = np.hypot(rows - y, columns - x)
    reach = 1.5 * np.sqrt(own.sum() / np.pi) + 2
    r20, r50, r80 = _radii(light, radius, reach)
    covariance = np.cov(np.array([rows[own], columns[own]]), aweights=np.maximum(light[own], 0))
    short, long = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0.1))
    return np.array([r50 * SCALE, 5 * np.log10(r80 / r20), _asymmetry(light, x, y, radius < reach),
                     _clumpiness(light, own & (radius > r20)), _gini(np.abs(light[own])),
                     _m20(light[own], radius[own] ** 2), 1 - short / long,
                     segments.n_labels - 1])  # fmt: skip


def _radii(light: np.ndarray, radius: np.ndarray, reach: float) -> np.ndarray:
    """Radii of 20, 50 and 80 % of the light within `reach` [pixel]."""
    order = np.argsort(radius, axis=None)
    order = order[radius.ravel()[order] < reach]
    grown = np.cumsum(light.ravel()[order])
    return np.array([max(radius.ravel()[order][np.argmax(grown >= share * grown[-1])], 0.5)
                     for share in (0.2, 0.5, 0.8)])  # fmt: skip


def _asymmetry(light: np.ndarray, x: float, y: float, inside: np.ndarray) -> float:
    """Light that half a turn does not repeat, share of all, less what noise gives."""
    rows, columns = np.indices(light.shape)
    turned = ndimage.map_coordinates(light, [2 * y - rows, 2 * x - columns], order=1)
    off = np.abs(light - turned)[inside].sum() - ABSOLUTE * SIGMA[1] * inside.sum()
    return float(off / light[inside].sum())


def _clumpiness(light: np.ndarray, inside: np.ndarray) -> float:
    """Light above a smoothed image, share of all."""
    above = np.maximum(light - ndimage.gaussian_filter(light, 3.0), 0)
    return float(above[inside].sum() / max(light[inside].sum(), SIGMA[1]))


def _gini(light: np.ndarray) -> float:
    n, rising = len(light), np.sort(light)
    return float(((2 * np.arange(1, n + 1) - n - 1) * rising).sum() / (rising.mean() * n * (n - 1)))


def _m20(light: np.ndarray, square: np.ndarray) -> float:
    order = np.argsort(-light)
    brightest = order[np.cumsum(light[order]) <= 0.2 * light.sum()]
    moment = (light * square)[brightest].sum() / (light * square).sum()
    return float(np.log10(max(moment, 1e-4)))


def colours(flux: np.ndarray) -> dict[str, np.ndarray]:
    """Colours within 2 arcsec of the centre, and how they change to 2 to 4 arcsec, each (N,)."""
    radius = radius_of(flux)
    inner, outer = (magnitudes(flux, within) for within in
                    (radius < 2, (radius >= 2) & (radius < 4)))  # fmt: skip
    out = {}
    for k, name in enumerate(("g - r", "r - i", "i - z", "z - y")):
        out[name] = inner[:, k] - inner[:, k + 1]
        if k < 2:
            out[f"{name} outwards"] = outer[:, k] - outer[:, k + 1] - out[name]
    return out


def noise(flux: np.ndarray) -> dict[str, np.ndarray]:
    """Noise of the rim in r: its deviation over the survey's, and correlation of neighbours."""
    rim = np.concatenate([flux[:, 1, :8], flux[:, 1, -8:]], axis=1)
    rim = rim - np.median(rim, axis=(1, 2), keepdims=True)
    rim = np.clip(rim, -4 * SIGMA[1], 4 * SIGMA[1])
    variance = (rim**2).mean(axis=(1, 2))
    beside = (rim[..., 1:] * rim[..., :-1]).mean(axis=(1, 2)) / variance
    return {"noise": np.sqrt(variance) / SIGMA[1], "noise of neighbours": beside}


def magnitude_and_colour(flux: np.ndarray) -> np.ndarray:
    """r and g - r within 3 arcsec of the centre, shape (N, 2)."""
    found = magnitudes(flux, radius_of(flux) < 3)
    return np.stack([found[:, 1], found[:, 0] - found[:, 1]], axis=1)


def magnitudes(flux: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Magnitudes of the light in some pixels, (N, B, H, W) to (N, B)."""
    return 22.5 - 2.5 * np.log10(np.maximum(flux[..., inside].sum(axis=-1), 1e-3))


def radius_of(flux: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the centre [arcsec]."""
    side = flux.shape[-1]
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) * SCALE
    return np.hypot(x, y)
