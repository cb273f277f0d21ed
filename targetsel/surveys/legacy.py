"""The Legacy Surveys: Tractor sources of DR10 (Data Lab), and cutouts from their viewer.

The viewer sends a cube of all bands around a position, with its inverse variance. It writes zero
where it has no data; only the inverse variance tells that from an empty sky. Fluxes are
nanomaggies. A band that a layer lacks makes it send all the bands it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa

from targetsel.errors import CutoutError
from targetsel.imaging.orientation import UNKNOWN, Lie
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT
from targetsel.surveys.archives import (
    DATA_LAB,
    FluxColumn,
    FluxScale,
    PlainColumn,
    SurveyColumns,
    TapCatalog,
)
from targetsel.surveys.card import CardBand, SurveyCard
from targetsel.surveys.fetching import OUTSIDE, Reply
from targetsel.surveys.http import Answer, Damaged, Web, ask
from targetsel.surveys.images import (
    PixelScale,
    RemoteImages,
    check_scale,
    cut,
    is_empty,
    open_image,
    reply_of_pixels,
)
from targetsel.surveys.registry import SkySurvey

VIEWER = "https://www.legacysurvey.org"
LAYER = "ls-dr10"
# DECam Legacy Survey at three visits, rounded from Dey et al. (2019, AJ 157, 168). Bits of maskbits
# as legacysurvey.org/dr10/bitmasks has them; others tell of what is near, and spoil no pixel.
CARD = SurveyCard(
    name="legacy",
    about="DECam coadds of the Legacy Surveys, three visits",
    bands=(
        CardBand("g", "g_decam_noatm", seeing=1.29, depth=24.8, sky=22.0),
        CardBand("r", "r_decam_noatm", seeing=1.18, depth=24.2, sky=20.9),
        CardBand("z", "z_decam_noatm", seeing=1.11, depth=23.3, sky=18.7),
    ),
    pixel_scale=0.262,
    zeropoint=NANOMAGGY_ZERO_POINT,
    unit="nanomaggy",
    binning=2,
    mask_bits={
        "SATUR_G": 2, "SATUR_R": 3, "SATUR_Z": 4, "ALLMASK_G": 5, "ALLMASK_R": 6, "ALLMASK_Z": 7,
    },
    sources=(
        "Dey et al. (2019, AJ 157, 168): seeing, depth, sky, rounded",
        "legacysurvey.org/dr10/bitmasks: bits of maskbits",
    ),
)  # fmt: skip
PIXEL_SCALE = CARD.pixel_scale
LARGEST = 3000  # the viewer clips larger sizes without a word
NOT_IN_LAYER = "band not in the layer"
TRACTOR = SurveyColumns(
    (
        PlainColumn("ls_id", "source_id", pa.int64(), "", "meta.id;meta.main",
                    "Legacy Surveys ls_id"),
        PlainColumn("ra", "ra", pa.float64(), "deg", "pos.eq.ra;meta.main"),
        PlainColumn("dec", "dec", pa.float64(), "deg", "pos.eq.dec;meta.main"),
        *(
            FluxColumn(f"flux_{b}", f"flux_ivar_{b}", f"flux_{b}_ls", FluxScale.NANOMAGGY,
                       f"model flux in {b}, not corrected for extinction")
            for b in ("g", "r", "i", "z", "w1", "w2")
        ),
        PlainColumn("type", "morphology", pa.string(), "", "src.morph.type",
                    "PSF, REX, EXP, DEV or SER"),
        PlainColumn("shape_r", "half_light_radius", pa.float32(), "arcsec", "phys.angSize"),
        PlainColumn("ebv", "ebv", pa.float32(), "mag", "phot.color.excess", "E(B-V), SFD98"),
        PlainColumn("maskbits", "maskbits", pa.int32(), "", "meta.code.qual"),
    )
)  # fmt: skip


def tractor(web: Web, url: str = DATA_LAB) -> TapCatalog:
    """Tractor sources of the Legacy Surveys DR10, each once."""
    return TapCatalog(web, url, "legacy", TRACTOR, "ls_dr10.tractor", "brick_primary = 1")


@dataclass(frozen=True)
class LegacyImages(RemoteImages):
    """Cutouts of one of the viewer's layers, which it resamples to any pixel scale.

    Attributes
    ----------
    pixel_scale : float
        [arcsec]
    layer : str
    url : str
        Address of the viewer.
    """

    survey = "legacy"
    pixel_scale: PixelScale = PIXEL_SCALE
    layer: Annotated[str, "layer of the viewer"] = LAYER
    url: str = VIEWER

    def __post_init__(self) -> None:
        if self.size > LARGEST:
            raise CutoutError(
                f"size {self.size}: the viewer sends at most {LARGEST} pixels. Ask for fewer."
            )

    def fetch(self, ra: float, dec: float) -> list[Reply]:
        """See `ImageService.fetch`: one request for all bands."""
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
        answer, found = ask(
            lambda: self.web.get(script, query), lambda given: self._planes(given, ra, dec)
        )
        planes, lie = found
        if all(is_empty(plane) for plane in planes.values()):
            return [Reply(OUTSIDE, None, answer) for _ in self.bands]
        return [
            reply_of_pixels(answer, planes[band], lie)
            if band in planes
            else Reply(NOT_IN_LAYER, None, answer)
            for band in self.bands
        ]

    def _planes(self, answer: Answer, ra: float, dec: float) -> tuple[dict[str, np.ndarray], Lie]:
        """The pixels (H, W) of each band that the answer names, and how they lie on the sky.

        Nothing outside the footprint.
        """
        if answer.content.strip() in (b"no such layer", b"No cutouts enabled"):
            raise CutoutError(
                f"{self.url}: layer '{self.layer}': {answer.content.strip().decode()}. Choose "
                "another with --option layer=..."
            )
        if b"NoOverlapError" in answer.content[:100_000] and answer.status >= 400:
            return {}, UNKNOWN
        image, wcs = open_image(answer, NANOMAGGY_ZERO_POINT)
        if image.flux.shape[1:] != (self.size, self.size):
            found = list(image.flux.shape[1:])
            raise Damaged(f"an image of {found} pixels, expected {self.size} x {self.size}")
        if len(image.bands) != len(image.flux):
            raise Damaged(f"{len(image.flux)} planes that do not name their bands")
        check_scale(wcs, self.pixel_scale)
        if not image.masked:
            raise Damaged("no inverse variance, so that missing pixels look like empty sky")
        flux = cut(image.flux, wcs, ra, dec, self.size)
        return dict(zip(image.bands, flux, strict=True)), image.lie


SURVEY = SkySurvey(
    name="legacy",
    title="Legacy Surveys DR10: Tractor sources (Data Lab), images of the viewer",
    catalog=tractor,
    query=tractor,
    cutouts=LegacyImages,
    card=CARD,
)
