"""Star-like sources beside the target in a cutout, to which a telescope can point first.

A source is star-like if it is round and narrow where it is above half its peak, in the sum of all
bands, each in units of its sky's noise. A small round galaxy is taken for a star, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.measurements import reference_band
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT

WIDEST = 2.0  # [arcsec] full width at half maximum
ROUNDEST = 0.75  # least ratio of the short to the long axis
NEAREST = 3.0  # [arcsec] from the target
FAINTEST = 10.0  # [sigma of the sky of a pixel] of the peak in the sum of bands
_IN_A_BAND = 3.0  # [sigma] at the peak in each of two bands at least: a cosmic ray is in one
_LEAST = 5  # pixels above half the peak: a hot pixel has fewer
_SMOOTH = 0.8  # [pixel]
METHOD = (
    f"A star-like source has a peak above {FAINTEST:g} times the noise in the sum of bands, is "
    f"{NEAREST:g} arcsec or more from the target and not at the edge, and where it is above half "
    f"its peak no wider than {WIDEST:g} arcsec and round (axes of {ROUNDEST:g} or more). It may be "
    "a small galaxy."
)


@dataclass(frozen=True)
class StarLike:
    """A star-like source of a cutout.

    Attributes
    ----------
    x, y : float
        Its centre [pixel], counted from 0 at the centre of the first pixel.
    width : float
        Full width at half maximum [arcsec].
    magnitude : float
        AB magnitude in `band` within its width of the centre; NaN where it has no light there.
    band : str
    """

    x: float
    y: float
    width: float
    magnitude: float
    band: str


def brightest_star(
    cutouts: Cutouts, row: int, sky_sigma: np.ndarray, target: tuple[float, float]
) -> StarLike | None:
    """The brightest star-like source beside the target of one cutout; None where there is none.

    Parameters
    ----------
    cutouts : Cutouts
    row : int
        Of the cutout.
    sky_sigma : ndarray, shape (B,)
        Noise of a pixel in each band [nanomaggy].
    target : (float, float)
        Its place (x, y) in the cutout [pixel].
    """
    from scipy import ndimage

    flux = np.nan_to_num(cutouts.flux[row].astype(np.float64))
    signal = flux / sky_sigma[:, None, None]
    together = signal.sum(axis=0) / np.sqrt(len(signal))
    smooth = ndimage.gaussian_filter(together, _SMOOTH)
    peaks = (smooth == ndimage.maximum_filter(smooth, size=3)) & (together > FAINTEST)
    scale, (x0, y0) = cutouts.pixel_scale, target
    found: list[tuple[float, StarLike]] = []
    for y, x in np.argwhere(peaks).tolist():
        far = np.hypot(x - x0, y - y0) * scale >= NEAREST
        bands = np.sum(ndimage.maximum_filter(signal, (1, 3, 3))[:, y, x] > _IN_A_BAND)
        if not far or bands < min(2, len(signal)):
            continue
        labels, _ = ndimage.label(smooth > smooth[y, x] / 2)
        region = np.argwhere(labels == labels[y, x])
        star = _star(region, together, flux, cutouts)
        if star is not None:
            found.append((float(smooth[y, x]), star))
    return max(found, key=lambda each: each[0])[1] if found else None


def _star(
    region: np.ndarray, together: np.ndarray, flux: np.ndarray, cutouts: Cutouts
) -> StarLike | None:
    """The source of the pixels (y, x) above half a peak, if it is star-like."""
    height, width = together.shape
    at_edge = (region == 0).any() or (region == (height - 1, width - 1)).any()
    if at_edge or len(region) < _LEAST:
        return None
    size = 2 * np.sqrt(len(region) / np.pi) * cutouts.pixel_scale
    short, long = np.sqrt(np.linalg.eigvalsh(np.cov(region.T.astype(float))) + 1 / 12)
    if size > WIDEST or short / long < ROUNDEST:
        return None
    weight = together[region[:, 0], region[:, 1]]
    y, x = (region * weight[:, None]).sum(axis=0) / weight.sum()
    band = reference_band(cutouts.bands)
    rows, columns = np.indices(together.shape)
    inside = np.hypot(columns - x, rows - y) * cutouts.pixel_scale <= size
    light = float(flux[cutouts.bands.index(band)][inside].sum())
    magnitude = NANOMAGGY_ZERO_POINT - 2.5 * np.log10(light) if light > 0 else np.nan
    return StarLike(float(x), float(y), float(size), float(magnitude), band)
