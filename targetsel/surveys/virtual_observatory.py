"""Image services of the Virtual Observatory: SIA2 for lists of images, SODA for cutouts.

IVOA Recommendations SIA 2.0 (2015), DataLink 1.0 (2015) and SODA 1.0 (2017). pyvo writes the
queries and reads the tables; requests are sent by our own `Web`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units
from astropy.coordinates import angular_separation

from targetsel.errors import beginning
from targetsel.photometry.bands import BANDS
from targetsel.surveys.fetching import OUTSIDE, Reply
from targetsel.surveys.http import Answer, Damaged, ask, body_of
from targetsel.surveys.images import PixelScale, RemoteImages, Zeropoint
from targetsel.surveys.registry import SkySurvey

if TYPE_CHECKING:  # pyvo takes seconds to import
    from pyvo.dal.sia2 import ObsCoreRecord

IMAGES_TRIED = 4  # of a band, where they overlap
NO_IMAGE = "no image of the band"


@dataclass(frozen=True)
class ListedImage:
    """An image in the answer of an SIA2 service.

    Attributes
    ----------
    url : str
        Address of the image, or of a datalink to it.
    form : str
        Media type, which distinguishes the two.
    ra, dec : float
        Centre [deg].
    low, high : float
        Limits of the passband [m].
    level : int
        Calibration level; stacks have 3.
    """

    url: str
    form: str
    ra: float
    dec: float
    low: float
    high: float
    level: int

    @classmethod
    def of(cls, row: ObsCoreRecord) -> ListedImage:
        """The image that a row of ObsCore describes."""
        ra, dec, low, high = (float(row[name]) for name in ("s_ra", "s_dec", "em_min", "em_max"))
        url, form = str(row.access_url), str(row.access_format)
        return cls(url, form, ra, dec, low, high, int(row["calib_level"]))


@dataclass(frozen=True)
class SiaImages(RemoteImages):
    """Cutouts of the images that an SIA2 service lists.

    Images are cut by SODA where the service offers it, else fetched whole.

    Attributes
    ----------
    url : str
        Address of the service's query, perhaps with constraints: "...?COLLECTION=LSST.DP1".
    pixel_scale : float
        [arcsec]; images of other scales are refused, as nothing is resampled.
    zeropoint : float or None
        AB magnitude of one count, for images that do not give it.
    """

    survey = "sia2"
    url: str
    pixel_scale: PixelScale
    zeropoint: Zeropoint = None

    def fetch(self, ra: float, dec: float) -> list[Reply]:
        """See `ImageService.fetch`: one request for the list, and two or three for each image."""
        from pyvo.dal.sia2 import SIA2Query

        waves = [BANDS[band].wavelength * 1e-10 for band in self.bands]
        query = SIA2Query(
            self.url,
            pos=(ra * units.deg, dec * units.deg, 0.5 * units.arcsec),
            band=(min(waves) * units.m, max(waves) * units.m),
            session=self.web.session,
        )
        listing, images = ask(lambda: self.web.get(query.queryurl, dict(query)), self._listed)
        if not images:
            return [Reply(OUTSIDE, None, listing) for _ in self.bands]
        found = {band: _of_band(images, band, ra, dec)[:IMAGES_TRIED] for band in self.bands}

        def cutout(image: ListedImage, band: str) -> Reply:
            return self._image(image, band, ra, dec)

        return self.best_of_each_band(listing, found, cutout, NO_IMAGE)

    def _listed(self, answer: Answer) -> list[ListedImage]:
        """The images in an SIA2 answer."""
        from pyvo.dal.sia2 import SIA2Results

        table = _table(answer)
        infos = [info for resource in table.resources for info in resource.infos]
        if any(info.value == "OVERFLOW" for info in infos):
            raise Damaged("the list was cut short by the service (OVERFLOW)")
        try:
            rows = SIA2Results(table, url=answer.url, session=self.web.session)
            return [ListedImage.of(row) for row in rows if row.dataproduct_type == "image"]
        except Exception as error:  # a service may send any table
            raise Damaged(f"no list of images ({' '.join(str(error).split())[:80]})") from error

    def _image(self, image: ListedImage, band: str, ra: float, dec: float) -> Reply:
        """The cutout from one image."""
        url, query = image.url, dict[str, Any]()
        if "content=datalink" in image.form:
            _, (url, query) = ask(
                lambda: self.web.get(image.url),
                lambda given: self._cutout_query(given, ra, dec),
            )
        place, scale = (ra, dec), self.pixel_scale
        return self.one_band(url, query, band, place, scale, self.zeropoint)

    def _cutout_query(self, answer: Answer, ra: float, dec: float) -> tuple[str, dict[str, Any]]:
        """Address and query of the cutout that datalink offers, or else of the whole image."""
        from pyvo.dal.adhoc import SODA_SYNC_IVOID, DatalinkResults, SodaQuery

        links = DatalinkResults(_table(answer), url=answer.url, session=self.web.session)
        radius = 0.5 * np.hypot(self.size + 2, self.size + 2) * self.pixel_scale / 3600
        circle = [each * units.deg for each in (ra, dec, radius)]
        try:
            this = next((link for link in links if link.semantics == "#this"), None)
            if SODA_SYNC_IVOID not in answer.content.decode("utf-8", "replace"):
                assert this is not None
                return this.access_url, {}
            service = links.get_adhocservice_by_ivoid(SODA_SYNC_IVOID)
            query = SodaQuery.from_resource(this, service, circle=circle)
        except Exception as error:  # a service may send any table
            raise Damaged("datalink offers neither a cutout nor the image") from error
        return query.queryurl, dict(query)


def _table(answer: Answer) -> Any:
    """The VOTable of an answer."""
    from astropy.io.votable import parse

    content = body_of(answer)
    try:
        return parse(io.BytesIO(content), verify="ignore")
    except Exception as error:  # the XML parser, astropy and numpy each have their own
        raise Damaged(f"no VOTable but {beginning(content)}") from error


def _of_band(images: list[ListedImage], band: str, ra: float, dec: float) -> list[ListedImage]:
    """The images of a band: the most processed ones, those centred nearest to the source first."""
    wave = BANDS[band].wavelength * 1e-10
    found = [one for one in images if one.low <= wave <= one.high]
    level = max((one.level for one in found), default=0)
    here = np.radians([ra, dec])

    def order(one: ListedImage) -> tuple[float, str]:
        there = np.radians([one.ra, one.dec])
        return float(angular_separation(*here, *there)), one.url

    return sorted((one for one in found if one.level == level), key=order)


SURVEY = SkySurvey(
    name="sia2",
    title="any SIA2 image service of the Virtual Observatory (--url)",
    cutouts=SiaImages,
)
