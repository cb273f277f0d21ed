"""Any image service that speaks SIA2, and SODA behind it for cutouts.

IVOA Recommendations SIA 2.0 (2015), DataLink 1.0 (2015) and SODA 1.0 (2017). pyvo writes the
questions and reads the tables; the questions are sent by our own `Web`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy import units
from astropy.coordinates import angular_separation
from astropy.io.votable import parse
from pyvo.dal.adhoc import SODA_SYNC_IVOID, DatalinkResults, SodaQuery
from pyvo.dal.sia2 import ObsCoreRecord, SIA2Query, SIA2Results

from targetsel.photometry.bands import BANDS
from targetsel.surveys.checked_images import (
    OPENING,
    SkyImage,
    check_scale,
    cut,
    judged,
    least_lost,
    open_image,
)
from targetsel.surveys.http import Answer, Unanswered, Web
from targetsel.surveys.retry import Damaged, ask
from targetsel.surveys.survey import OUTSIDE, BandAnswer, unanswered

IMAGES_TRIED = 4  # of a band, where they overlap
NO_IMAGE = "no image of the band"


@dataclass(frozen=True)
class Listed:
    """An image of the list.

    Attributes
    ----------
    url, form : str
        Where it is, or a datalink to it; and which of the two.
    ra, dec : float
        Its centre [deg].
    low, high : float
        Wavelengths between which light was let in [m].
    level : int
        How far it is processed; stacks have 3.
    """

    url: str
    form: str
    ra: float
    dec: float
    low: float
    high: float
    level: int

    @classmethod
    def of(cls, row: ObsCoreRecord) -> Listed:
        """The image that a row of ObsCore describes."""
        ra, dec, low, high = (float(row[name]) for name in ("s_ra", "s_dec", "em_min", "em_max"))
        url, form = str(row.access_url), str(row.access_format)
        return cls(url, form, ra, dec, low, high, int(row["calib_level"]))


@dataclass(frozen=True)
class VirtualObservatory:
    """Cutouts of the images that an SIA2 service lists.

    Images are cut by SODA where the service offers it, else fetched whole.

    Attributes
    ----------
    web : Web
    bands : tuple of B strings
    size : int
        Width and height [pixel].
    pixel_scale : float
        [arcsec]; images of other scales are refused, as nothing is resampled.
    url : str
        Of the service's query, perhaps with constraints such as "...?COLLECTION=LSST.DP1".
    zeropoint : float or None
        AB magnitude of one count, where images do not tell.
    """

    web: Web
    bands: tuple[str, ...]
    size: int
    pixel_scale: float
    url: str
    zeropoint: float | None = None

    def settings(self) -> Mapping[str, Any]:
        return {
            "survey": "sia2",
            "url": self.url,
            "bands": list(self.bands),
            "size": self.size,
            "pixel_scale": self.pixel_scale,
            "zeropoint": self.zeropoint,
        }

    def fetch(self, ra: float, dec: float) -> list[BandAnswer]:
        """See `Survey.fetch`: one question for the list, and two or three for each image."""
        waves = [BANDS[band].wavelength * 1e-10 for band in self.bands]
        query = SIA2Query(
            self.url,
            pos=(ra * units.deg, dec * units.deg, 0.5 * units.arcsec),
            band=(min(waves) * units.m, max(waves) * units.m),
            session=self.web.session,
        )
        try:
            listing, images = ask(lambda: self.web.get(query.queryurl, dict(query)), self._listed)
        except Unanswered as error:
            return [unanswered(band, self.url, error) for band in self.bands]
        if not images:
            return [BandAnswer.of(listing, band, OUTSIDE) for band in self.bands]
        answers = [self._band(listing, images, band, ra, dec) for band in self.bands]
        answers[0] = replace(answers[0], troubles=listing.troubles + answers[0].troubles)
        return answers

    def _listed(self, answer: Answer) -> list[Listed]:
        """The images in an SIA2 answer."""
        table = _table(answer)
        infos = [info for resource in table.resources for info in resource.infos]
        if any(info.value == "OVERFLOW" for info in infos):
            raise Damaged("the list was cut short by the service (OVERFLOW)")
        try:
            rows = SIA2Results(table, url=answer.url, session=self.web.session)
            return [Listed.of(row) for row in rows if row.dataproduct_type == "image"]
        except Exception as error:  # a service may send any table
            raise Damaged(f"no list of images ({' '.join(str(error).split())[:80]})") from error

    def _band(
        self, listing: Answer, images: list[Listed], band: str, ra: float, dec: float
    ) -> BandAnswer:
        """The cutout from the image that has lost fewest pixels."""
        some = _of_band(images, band, ra, dec)[:IMAGES_TRIED]
        try:
            best = least_lost(self._image(image, band, ra, dec) for image in some)
        except Unanswered as error:
            return unanswered(band, self.url, error)
        return best or BandAnswer.of(replace(listing, troubles=()), band, NO_IMAGE)

    def _image(self, image: Listed, band: str, ra: float, dec: float) -> BandAnswer:
        """The cutout from one image."""
        url, query = image.url, dict[str, Any]()
        if "content=datalink" in image.form:
            _, (url, query) = ask(
                lambda: self.web.get(image.url),
                lambda given: self._cutout_query(given, ra, dec),
            )
        answer, flux = ask(
            lambda: self.web.get(url, query), lambda given: self._pixels(given, band, ra, dec)
        )
        return judged(answer, band, flux)

    def _cutout_query(self, answer: Answer, ra: float, dec: float) -> tuple[str, dict[str, Any]]:
        """Where datalink says that a cutout can be had, or else the whole image."""
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

    def _pixels(self, answer: Answer, band: str, ra: float, dec: float) -> np.ndarray:
        """The pixels (H, W) of an image or cutout."""
        image: SkyImage = open_image(answer, self.zeropoint)
        if len(image.flux) != 1:
            raise Damaged(f"an image of {len(image.flux)} planes, expected one")
        if image.bands not in ((), (band,)):
            raise Damaged(f"band {image.bands[0]}, expected {band}")
        check_scale(image.wcs, self.pixel_scale)
        return cut(image.flux[0], image.wcs, ra, dec, self.size)


def _table(answer: Answer) -> Any:
    """The VOTable of an answer."""
    if answer.status != 200:
        raise Damaged(f"HTTP {answer.status}")
    with OPENING:
        try:
            return parse(io.BytesIO(answer.content), verify="ignore")
        except Exception as error:  # the XML parser, astropy and numpy each have their own
            raise Damaged(f"no VOTable but {answer.content[:40]!r}") from error


def _of_band(images: list[Listed], band: str, ra: float, dec: float) -> list[Listed]:
    """The images of a band: the most processed ones, those centred nearest to the source first."""
    wave = BANDS[band].wavelength * 1e-10
    found = [one for one in images if one.low <= wave <= one.high]
    level = max((one.level for one in found), default=0)
    here = np.radians([ra, dec])

    def order(one: Listed) -> tuple[float, str]:
        there = np.radians([one.ra, one.dec])
        return float(angular_separation(*here, *there)), one.url

    return sorted((one for one in found if one.level == level), key=order)
