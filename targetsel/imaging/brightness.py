"""How bright a source is on its own cutout: known wherever there is a cutout to predict from.

A calibration depends on it. A magnitude of the catalog would serve as well for one catalog, but
the next one has another, or none.
"""

from __future__ import annotations

import numpy as np

from targetsel.imaging.cutout import Cutouts
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT

MAGNITUDE = "cutout_mag"  # what a scored catalog calls it
FAINTEST = 0.01  # [nanomaggy] of light that a magnitude is given for; less has that of this


def reference_band(bands: tuple[str, ...]) -> str:
    """The band whose light tells how bright a source is: r, or else the middle one."""
    return "r" if "r" in bands else bands[len(bands) // 2]


def central_magnitude(cutouts: Cutouts, band: str) -> np.ndarray:
    """AB magnitude in one band within a quarter of the cutout's side from its centre, shape (N,).

    Pixels without data count as the mean of those with; NaN where there are none.
    """
    flux = cutouts.select_bands((band,)).flux[:, 0]
    height, width = flux.shape[1:]
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    inside = (radius <= cutouts.size / 4).ravel()
    light = np.compress(inside, flux.reshape(len(flux), -1), axis=1)
    share = np.isfinite(light).mean(axis=1)
    total = np.nansum(light, axis=1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.maximum(total / share, FAINTEST)
    return NANOMAGGY_ZERO_POINT - 2.5 * np.log10(whole)
