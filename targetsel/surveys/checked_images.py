"""Images from a service: looked at before they are believed, and cut around the source."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from targetsel.errors import CutoutError
from targetsel.imaging.image_file import image_of_fits
from targetsel.surveys.http import Answer
from targetsel.surveys.retry import Damaged
from targetsel.surveys.survey import NO_DATA, OK, BandAnswer

# Which warnings are errors is a setting of the whole process: one image is opened at a time.
OPENING = threading.Lock()
FITS_BLOCK = 2880


@dataclass(frozen=True)
class SkyImage:
    """A calibrated image that knows where it is on the sky.

    Attributes
    ----------
    flux : ndarray of float32, shape (B, H, W)
        [nanomaggy]; NaN where there is no data.
    bands : tuple of B strings
        Empty where the image does not say.
    wcs : WCS
        Of the two sky axes.
    masked : bool
        Whether an inverse variance has told which pixels hold data.
    """

    flux: np.ndarray
    bands: tuple[str, ...]
    wcs: WCS
    masked: bool = False


def open_image(answer: Answer, zeropoint: float | None = None) -> SkyImage:
    """The image in an answer.

    Raises
    ------
    Damaged
        If the answer is no whole, calibrated FITS image with a place on the sky.
    """
    content = answer.content
    if answer.status != 200:
        raise Damaged(f"HTTP {answer.status}")
    if not content.startswith(b"SIMPLE  ="):
        raise Damaged(f"no FITS file but {content[:40]!r}")
    if len(content) % FITS_BLOCK:
        raise Damaged(f"the FITS file ended too early, after {len(content)} bytes")
    with OPENING:
        try:
            image = image_of_fits(io.BytesIO(content), "FITS file", zeropoint)
            assert image.header is not None
            wcs = sky_wcs(image.header)
        except (CutoutError, Damaged) as error:
            raise Damaged(str(error)) from error
        except Exception as error:  # a header may hold anything
            raise Damaged(f"no usable FITS image ({type(error).__name__})") from error
    return SkyImage(image.flux, image.bands, wcs, image.masked)


def sky_wcs(header: fits.Header) -> WCS:
    """The celestial part of a header's coordinates.

    Raises
    ------
    Damaged
        If there is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            wcs = WCS(header, naxis=2)
    except Exception as error:  # wcslib's own kinds, and those of header values it cannot take
        raise Damaged(f"unusable sky coordinates ({type(error).__name__})") from error
    if not wcs.has_celestial:
        raise Damaged("no sky coordinates in the header")
    return wcs


def check_scale(wcs: WCS, pixel_scale: float) -> None:
    """Raise `Damaged` unless pixels measure `pixel_scale` [arcsec] within 1 %."""
    found = proj_plane_pixel_scales(wcs) * 3600
    if not np.allclose(found, pixel_scale, rtol=0.01):
        wide, high = found
        raise Damaged(f"pixels of {wide:.4g} x {high:.4g} arcsec, expected {pixel_scale:g}")


def pixel_of(wcs: WCS, ra: float, dec: float) -> tuple[float, float]:
    """Column and row of a place on the sky, counted from 0 at the first pixel's centre.

    NaN for a place that the projection cannot show.
    """
    try:
        x, y = wcs.all_world2pix(ra, dec, 0)
    except Exception:  # no solution
        return np.nan, np.nan
    return float(x), float(y)


def cut(flux: np.ndarray, wcs: WCS, ra: float, dec: float, size: int) -> np.ndarray:
    """The `size` x `size` pixels around a place, shape (..., size, size), without resampling.

    The place lies within half a pixel of the centre. Beyond the image's edge there is NaN.

    Raises
    ------
    Damaged
        If the image does not cover the place.
    """
    x, y = pixel_of(wcs, ra, dec)
    height, width = flux.shape[-2:]
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise Damaged("the image does not cover the source")
    left, top = corner(x, size), corner(y, size)
    made = np.full((*flux.shape[:-2], size, size), np.nan, dtype=np.float32)
    x0, x1, y0, y1 = max(left, 0), min(left + size, width), max(top, 0), min(top + size, height)
    made[..., y0 - top : y1 - top, x0 - left : x1 - left] = flux[..., y0:y1, x0:x1]
    return made


def corner(centre: float, size: int) -> int:
    """The first of `size` pixels whose middle is nearest to `centre`."""
    return int(np.floor(centre - (size - 1) / 2 + 0.5))


def is_empty(flux: np.ndarray) -> bool:
    """Whether no pixel holds data: all NaN, or exactly zero as some surveys mark it."""
    return bool((np.isnan(flux) | (flux == 0)).all())


def judged(answer: Answer, band: str, flux: np.ndarray) -> BandAnswer:
    """The final answer that a good image of a band gives."""
    if is_empty(flux):
        return BandAnswer.of(answer, band, NO_DATA)
    return BandAnswer.of(answer, band, OK, flux)


def least_lost(answers: Iterable[BandAnswer]) -> BandAnswer | None:
    """The first answer that lost no pixel, or else the one that lost fewest; None without any.

    Later answers are not looked at, nor asked for if `answers` asks as it goes.
    """
    best: BandAnswer | None = None
    for answer in answers:
        if best is None or _lost(answer) < _lost(best):
            best = answer
        if _lost(best) == 0:
            break
    return best


def _lost(answer: BandAnswer) -> float:
    """How many pixels hold no data."""
    return np.inf if answer.flux is None else int(np.isnan(answer.flux).sum())
