"""The Legacy Surveys' viewer: a cube of all bands around a place, with its inverse variance.

The viewer writes zero where it has no data; only the inverse variance tells that from an empty
sky. Fluxes are nanomaggies. A band that a layer lacks makes it send all the bands it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from targetsel.errors import CutoutError
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT
from targetsel.surveys.checked_images import check_scale, cut, is_empty, judged, open_image
from targetsel.surveys.http import Answer, Unanswered, Web
from targetsel.surveys.retry import Damaged, ask
from targetsel.surveys.survey import OUTSIDE, BandAnswer, unanswered

URL = "https://www.legacysurvey.org"
LAYER = "ls-dr10"
PIXEL_SCALE = 0.262
LARGEST = 3000  # the viewer clips larger sizes without a word
NOT_IN_LAYER = "band not in the layer"


@dataclass(frozen=True)
class Legacy:
    """Cutouts of one of the viewer's layers; it resamples them to any pixel scale.

    Attributes
    ----------
    web : Web
    bands : tuple of B strings
    size : int
        Width and height [pixel].
    pixel_scale : float
        [arcsec]
    layer : str
    url : str
        Where the viewer is.
    """

    web: Web
    bands: tuple[str, ...]
    size: int
    pixel_scale: float = PIXEL_SCALE
    layer: str = LAYER
    url: str = URL

    def __post_init__(self) -> None:
        if self.size > LARGEST:
            raise CutoutError(
                f"size {self.size}: the viewer sends at most {LARGEST} pixels. Ask for fewer."
            )

    def settings(self) -> Mapping[str, Any]:
        return {
            "survey": "legacy",
            "url": self.url,
            "layer": self.layer,
            "bands": list(self.bands),
            "size": self.size,
            "pixel_scale": self.pixel_scale,
        }

    def fetch(self, ra: float, dec: float) -> list[BandAnswer]:
        """See `Survey.fetch`: one question for all bands."""
        script = f"{self.url}/viewer/fits-cutout"
        query = {
            "ra": f"{ra:.8f}",
            "dec": f"{dec:.8f}",
            "size": self.size,
            "layer": self.layer,
            "pixscale": f"{self.pixel_scale:g}",
            "bands": "".join(self.bands),
            "invvar": "1",
        }
        try:
            answer, planes = ask(
                lambda: self.web.get(script, query), lambda given: self._planes(given, ra, dec)
            )
        except Unanswered as error:
            return [unanswered(band, script, error) for band in self.bands]
        if all(is_empty(plane) for plane in planes.values()):
            return [BandAnswer.of(answer, band, OUTSIDE) for band in self.bands]
        return [
            judged(answer, band, planes[band])
            if band in planes
            else BandAnswer.of(answer, band, NOT_IN_LAYER)
            for band in self.bands
        ]

    def _planes(self, answer: Answer, ra: float, dec: float) -> dict[str, np.ndarray]:
        """The pixels (H, W) of each band that the answer names; none outside the footprint."""
        if answer.content.strip() in (b"no such layer", b"No cutouts enabled"):
            raise CutoutError(
                f"{self.url}: layer '{self.layer}': {answer.content.strip().decode()}. Choose "
                "another with --layer."
            )
        if b"NoOverlapError" in answer.content[:100_000] and answer.status >= 400:
            return {}
        image = open_image(answer, NANOMAGGY_ZERO_POINT)
        if image.flux.shape[1:] != (self.size, self.size):
            found = list(image.flux.shape[1:])
            raise Damaged(f"an image of {found} pixels, expected {self.size} x {self.size}")
        if len(image.bands) != len(image.flux):
            raise Damaged(f"{len(image.flux)} planes that do not name their bands")
        check_scale(image.wcs, self.pixel_scale)
        if not image.masked:
            raise Damaged("no inverse variance, so that missing pixels look like empty sky")
        flux = cut(image.flux, image.wcs, ra, dec, self.size)
        return dict(zip(image.bands, flux, strict=True))
