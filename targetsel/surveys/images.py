"""Images from surveys: checked before they are used, and cut around the source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from targetsel.documents.models import Quantity
from targetsel.errors import CutoutError, beginning
from targetsel.imaging.image_file import ZEROPOINTS, Image, read_fits
from targetsel.imaging.orientation import Lie, is_equatorial, lie_at
from targetsel.surveys.fetching import NO_DATA, OK, Reply, unanswered
from targetsel.surveys.http import Answer, Damaged, Unanswered, Web, ask, body_of

PixelScale = Annotated[float, Quantity("arcsec", 0.001, 100), "width of a pixel in arcsec"]
Zeropoint = Annotated[
    Annotated[float, Quantity("mag", *ZEROPOINTS)] | None,
    "AB magnitude of one count, for images that do not give it",
]
FITS_BLOCK = 2880


@dataclass(frozen=True)
class RemoteImages:
    """The common part of image services on the web.

    Attributes
    ----------
    web : Web
    bands : tuple of B strings
    size : int
        Width and height of a cutout [pixel].
    """

    survey: ClassVar[str]
    web: Web
    bands: tuple[str, ...]
    size: int

    def settings(self) -> Mapping[str, Any]:
        """See `ImageService.settings`."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "web"}
        return {"survey": self.survey, **own, "bands": list(self.bands)}

    def best_of_each_band(
        self,
        listing: Answer,
        found: Mapping[str, Sequence[Any]],
        cutout: Callable[[Any, str], Reply],
        missing: str,
    ) -> list[Reply]:
        """One reply for each band, from the image that lost fewest pixels.

        Parameters
        ----------
        listing : Answer
            The list of images.
        found : mapping
            The images of each band.
        cutout : callable
            ``cutout(image, band)`` gives the image's `Reply`.
        missing : str
            Status of a band without images.
        """
        replies = []
        for band in self.bands:
            try:
                best = least_lost(cutout(each, band) for each in dict.fromkeys(found[band]))
            except Unanswered as error:
                best = unanswered(error)
            replies.append(best or Reply(missing, None, replace(listing, troubles=())))
        first = replies[0].answer
        first = replace(first, troubles=listing.troubles + first.troubles)
        return [replace(replies[0], answer=first), *replies[1:]]

    def one_band(
        self,
        url: str,
        query: Mapping[str, Any],
        band: str,
        place: tuple[float, float],
        pixel_scale: float,
        zeropoint: float | None = None,
        expected: int | None = None,
    ) -> Reply:
        """The cutout from one image of a band.

        Parameters
        ----------
        place : (float, float)
            Right ascension and declination [deg, ICRS].
        pixel_scale : float
            Scale that the image must have [arcsec].
        zeropoint : float, optional
            AB magnitude of one count, for an image that does not give it.
        expected : int, optional
            Width and height that the image must have [pixel].

        Raises
        ------
        Unanswered
            If there is no good answer.
        """

        def pixels(answer: Answer) -> tuple[np.ndarray, Lie]:
            image, wcs = open_image(answer, zeropoint)
            n_planes, *shape = image.flux.shape
            if n_planes != 1:
                raise Damaged(f"an image of {n_planes} planes, expected one")
            if expected is not None and shape != [expected, expected]:
                raise Damaged(f"an image of {shape} pixels, expected {expected} x {expected}")
            if image.bands not in ((), (band,)):
                raise Damaged(f"band {image.bands[0]}, expected {band}")
            check_scale(wcs, pixel_scale)
            lie = lie_at(wcs, *pixel_of(wcs, *place))
            return cut(image.flux[0], wcs, *place, self.size), lie

        answer, found = ask(lambda: self.web.get(url, query), pixels)
        return reply_of_pixels(answer, *found)


def fits_of(answer: Answer) -> bytes:
    """The content of an answer that is a FITS file of whole blocks.

    Raises
    ------
    Damaged
        If it is an error or another document, or ends too early.
    """
    content = body_of(answer)
    if not content.startswith(b"SIMPLE  ="):
        raise Damaged(f"no FITS file but {beginning(content)}")
    if len(content) % FITS_BLOCK:
        raise Damaged(f"the FITS file ended too early, after {len(content)} bytes")
    return content


def open_image(answer: Answer, zeropoint: float | None = None) -> tuple[Image, WCS]:
    """The calibrated image in an answer, and its coordinates on the sky.

    Raises
    ------
    Damaged
        If the answer is no whole, calibrated FITS image with sky coordinates.
    """
    try:
        image = read_fits(fits_of(answer), "FITS file", zeropoint)
    except CutoutError as error:
        raise Damaged(str(error)) from error
    if image.wcs is None:
        raise Damaged("no usable sky coordinates in the header")
    return image, image.wcs


def check_scale(wcs: WCS, pixel_scale: float) -> None:
    """Raise `Damaged` unless pixels measure `pixel_scale` [arcsec] within 1 %."""
    found = proj_plane_pixel_scales(wcs) * 3600
    if not np.allclose(found, pixel_scale, rtol=0.01):
        wide, high = found
        raise Damaged(f"pixels of {wide:.4g} x {high:.4g} arcsec, expected {pixel_scale:g}")


def pixel_of(wcs: WCS, ra: float, dec: float) -> tuple[float, float]:
    """Column and row of a position [deg, ICRS], counted from 0 at the first pixel's centre.

    NaN for a position that the projection cannot show.
    """
    try:
        if is_equatorial(wcs):
            x, y = wcs.all_world2pix(ra, dec, 0)
        else:
            x, y = wcs.world_to_pixel(SkyCoord(ra, dec, unit="deg"))
    except Exception:  # no solution, or a frame that astropy does not know
        return np.nan, np.nan
    return float(x), float(y)


def window(
    wcs: WCS, shape: Sequence[int], ra: float, dec: float, size: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of an image, and of a `size` x `size` cutout around a position in it.

    The position lies within half a pixel of the cutout's centre.

    Raises
    ------
    Damaged
        If the image, of shape (..., H, W), does not cover the position.
    """
    x, y = pixel_of(wcs, ra, dec)
    height, width = shape[-2:]
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise Damaged("the image does not cover the source")
    left, top = corner(x, size), corner(y, size)
    x0, x1, y0, y1 = max(left, 0), min(left + size, width), max(top, 0), min(top + size, height)
    inside = slice(y0, y1), slice(x0, x1)
    return inside, (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def cut(flux: np.ndarray, wcs: WCS, ra: float, dec: float, size: int) -> np.ndarray:
    """The pixels around a position, shape (..., size, size), without resampling.

    NaN beyond the image's edge; see `window`.
    """
    inside, made_of = window(wcs, flux.shape, ra, dec, size)
    made = np.full((*flux.shape[:-2], size, size), np.nan, dtype=np.float32)
    made[(..., *made_of)] = flux[(..., *inside)]
    return made


def corner(centre: float, size: int) -> int:
    """The first of `size` pixels whose middle is nearest to `centre`."""
    return int(np.floor(centre - (size - 1) / 2 + 0.5))


def is_empty(flux: np.ndarray) -> bool:
    """Whether no pixel holds data: all NaN, or exactly zero as some surveys mark it."""
    return bool((np.isnan(flux) | (flux == 0)).all())


def reply_of_pixels(answer: Answer, flux: np.ndarray, lie: Lie) -> Reply:
    """The final reply that a good image of a band gives."""
    return Reply(NO_DATA, None, answer) if is_empty(flux) else Reply(OK, flux, answer, lie=lie)


def least_lost(replies: Iterable[Reply]) -> Reply | None:
    """The first reply that lost no pixel, or else the one that lost fewest; None without any.

    Later replies are not read, nor requested if `replies` is lazy.
    """
    best: Reply | None = None
    for reply in replies:
        if best is None or _lost(reply) < _lost(best):
            best = reply
        if _lost(best) == 0:
            break
    return best


def _lost(reply: Reply) -> float:
    """Number of pixels without data."""
    return np.inf if reply.value is None else int(np.isnan(reply.value).sum())
