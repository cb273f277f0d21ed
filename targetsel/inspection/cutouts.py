"""Small pictures of cutouts, as a page of inspection carries them: in colour, and band by band."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from targetsel.extras import require
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.picture import composite

COLOUR_SIDE, BAND_SIDE, SMALL_SIDE = (
    96,
    64,
    48,
)  # [pixel] larger cutouts are averaged, so that pages stay small
COLOUR_QUALITY, BAND_QUALITY = 85, 70  # of JPEG


def pictures(cutouts: Cutouts) -> list[dict[str, Any]]:
    """For each of N cutouts its pictures as base64 of JPEG, and where north and east are.

    Returns
    -------
    list of dict
        `colour` is the picture in colour; `bands` the bands from left to right in one picture, in
        the order of their wavelength in `cutouts.bands`; `north` and `east` are unit vectors (x to
        the right, y up), None where they are not known. Empty for a source without a cutout.
    """
    require("plots", "A page of pictures")
    colour = composite(cutouts)
    bands = [composite(cutouts.select_bands((band,)))[..., 0] for band in cutouts.bands]
    lie = cutouts.orientation
    found: list[dict[str, Any]] = []
    for row, present in enumerate(cutouts.present):
        if not present:
            found.append({})
            continue
        strip = np.concatenate([_smaller(each[row], BAND_SIDE) for each in bands], axis=1)
        known = lie is not None and bool(lie.known[row])
        found.append(
            {
                "colour": _jpeg(_smaller(colour[row], COLOUR_SIDE), COLOUR_QUALITY),
                "bands": _jpeg(strip, BAND_QUALITY),
                "north": _vector(lie.north[row]) if lie is not None and known else None,
                "east": _vector(lie.east[row]) if lie is not None and known else None,
            }
        )
    return found


def small_pictures(cutouts: Cutouts) -> list[dict[str, Any]]:
    """For each of N cutouts its `picture` in colour as base64 of JPEG; empty without a cutout."""
    require("plots", "A page of pictures")
    return [
        {"picture": _jpeg(_smaller(each, SMALL_SIDE), BAND_QUALITY)} if present else {}
        for each, present in zip(composite(cutouts), cutouts.present, strict=True)
    ]


def _smaller(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture with row 0 at the top, of at most this many pixels on its longer side."""
    from PIL import Image

    upright = np.ascontiguousarray(pixels[::-1])
    height, width = upright.shape[:2]
    if max(height, width) <= side:
        return upright
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(upright).resize(size, Image.Resampling.BOX))


def _jpeg(pixels: np.ndarray, quality: int) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _vector(xy: np.ndarray) -> list[float]:
    return [round(float(each), 4) + 0.0 for each in xy]
