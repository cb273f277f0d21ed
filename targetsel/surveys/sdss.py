"""SDSS DR17: catalogs through SkyServer's SQL search, spectra from the Science Archive Server.

astroquery knows how to put queries, and where each release and reduction keeps spectra; requests
go through our own `Web`, and answers are checked before they are used.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from astropy.io import fits
from pyarrow import csv

from targetsel.errors import CatalogError, SpectrumError, beginning
from targetsel.spectra.formats.sdss_spec import IncompleteFile, read_sdss
from targetsel.spectra.spectrum import ObservedSpectrum
from targetsel.surveys.archives import (
    Column,
    Cone,
    FluxColumn,
    FluxScale,
    PlainColumn,
    SurveyColumns,
    TooMany,
)
from targetsel.surveys.card import CardBand, SurveyCard
from targetsel.surveys.fetching import NO_SPECTRUM, OK, Reply
from targetsel.surveys.http import Answer, Damaged, Web, ask, body_of
from targetsel.surveys.images import fits_of
from targetsel.surveys.registry import SkySurvey
from targetsel.surveys.spectra import WantedSpectrum

# Medians of seeing, depths of 95 % completeness for point sources, and sky: rounded from SDSS's
# pages on imaging, from memory. Frames are in nanomaggies. Masks are lists, not bits.
CARD = SurveyCard(
    name="sdss",
    about="corrected frames of SDSS imaging",
    bands=(
        CardBand("u", "u_sdss", seeing=1.53, depth=22.15, sky=22.1),
        CardBand("g", "g_sdss", seeing=1.44, depth=23.13, sky=21.8),
        CardBand("r", "r_sdss", seeing=1.32, depth=22.70, sky=20.9),
        CardBand("i", "i_sdss", seeing=1.26, depth=22.20, sky=20.3),
        CardBand("z", "z_sdss", seeing=1.29, depth=20.71, sky=19.1),
    ),
    pixel_scale=0.396,
    zeropoint=22.5,
    unit="nanomaggy",
    cutout_size=48,
    sources=("sdss.org/dr17/imaging/other_info: seeing, depth, sky, rounded, not checked",),
)
RELEASE = 17
SKYSERVER = "https://skyserver.sdss.org"
ARCHIVE = "https://data.sdss.org/sas"
LIMIT = 100_000  # rows of one answer to a cone; SkyServer gives 500 000 at most
LEGACY_RUN = "26"  # the reduction of nearly all spectra of SDSS-I and -II
PHOTOMETRY: tuple[Column, ...] = (
    PlainColumn("objID", "source_id", pa.int64(), "", "meta.id;meta.main", "SDSS objID"),
    PlainColumn("ra", "ra", pa.float64(), "deg", "pos.eq.ra;meta.main"),
    PlainColumn("dec", "dec", pa.float64(), "deg", "pos.eq.dec;meta.main"),
    *(
        FluxColumn(f"petroFlux_{b}", f"petroFluxIvar_{b}", f"flux_{b}_sdss", FluxScale.NANOMAGGY,
             f"Petrosian flux in {b}, SDSS system (AB to 0.04 mag), not corrected for extinction")
        for b in "ugriz"
    ),
    *(
        PlainColumn(f"extinction_{b}", f"extinction_{b}", pa.float32(), "mag",
                    "phys.absorption.gal")
        for b in "gr"
    ),
    PlainColumn("petroR50_r", "half_light_radius", pa.float32(), "arcsec", "phys.angSize",
          "Petrosian, in r", missing=-9999.0),
)  # fmt: skip
SPECTROSCOPY: tuple[Column, ...] = (
    PlainColumn("redshift", "redshift", pa.float64(), "", "src.redshift"),
    PlainColumn("zErr", "redshift_err", pa.float32(), "", "stat.error;src.redshift"),
    PlainColumn("zWarning", "redshift_warning", pa.int64(), "", "meta.code.qual", "0 is good"),
    PlainColumn("plate", "plate", pa.int32()),
    PlainColumn("mjd", "mjd", pa.int32(), "d", "time.epoch", "of the last exposure"),
    PlainColumn("fiberID", "fiber", pa.int32()),
    PlainColumn("run2d", "run2d", pa.string(), "", "meta.version", "reduction of the spectrum"),
)
GALAXIES = SurveyColumns((*PHOTOMETRY, *SPECTROSCOPY))
TYPES = {  # of columns whose type does not follow from the text
    **dict.fromkeys(("objID", "specObjID", "bestObjID"), pa.int64()),
    **dict.fromkeys(("run2d", "run1d", "survey", "instrument"), pa.string()),
}
# Settings of astroquery are those of the whole process.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class SkyServer:
    """SDSS galaxies of the imaging catalog, and queries to all tables.

    Attributes
    ----------
    web : Web
    url : str
        Address of the SkyServer.
    """

    web: Web
    url: str = SKYSERVER
    name: str = "sdss"
    columns: SurveyColumns = SurveyColumns(PHOTOMETRY)  # noqa: RUF009
    largest_cone: float = 0.5
    limit: int = LIMIT

    def cone(self, cone: Cone) -> pa.Table:
        """See `ConeSearch.cone`; the view Galaxy holds primary detections."""
        names, where = ", ".join(self.columns.theirs), cone.sql("ra", "dec")
        query = f"SELECT TOP {self.limit} {names} FROM Galaxy WHERE {where}"
        rows = self.rows(query, self.columns.renamed)
        if rows.num_rows >= self.limit:
            raise TooMany
        return rows

    def query(self, query: str) -> pa.Table:
        """See `QueryService.query`; the query is in SkyServer's SQL."""
        return self.rows(query, GALAXIES.recognised)

    def rows(self, query: str, rename: Callable[[pa.Table], pa.Table]) -> pa.Table:
        """The rows that a query in SQL selects, their columns renamed.

        Raises
        ------
        CatalogError
            If SkyServer does not understand the query.
        Unanswered
            If there is no good answer.
        """
        from astroquery.sdss import SDSSClass, conf

        service = SDSSClass()
        payload = service.query_sql_async(query, data_release=RELEASE, get_query_payload=True)
        with _ONE_AT_A_TIME, conf.set_temp("skyserver_baseurl", self.url):
            url = service._get_query_url(RELEASE)
        return ask(lambda: self.web.get(url, payload), lambda said: rename(self._table(said)))[1]

    def _table(self, answer: Answer) -> pa.Table:
        """The table in an answer: CSV behind a line that names it."""
        text = answer.content
        if b"error_message" in text[:2000]:
            words = " ".join(text.decode("utf-8", "replace").split())
            raise CatalogError(
                f"{self.url}: does not understand the query: {words[:300]}. Correct it."
            )
        title, _, rest = body_of(answer).partition(b"\n")
        if not title.startswith(b"#"):
            raise Damaged(f"no table but {beginning(text)}")
        if not rest.endswith(b"\n"):
            raise Damaged("the table ended too early")
        try:
            rest.partition(b"\n")[0].decode()  # names of columns, which pyarrow does not check
            return csv.read_csv(io.BytesIO(rest), convert_options=csv.ConvertOptions(
                column_types=TYPES, null_values=["", "null", "NULL"]))  # fmt: skip
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise Damaged(f"not a whole table ({str(error)[:80]})") from error


@dataclass(frozen=True)
class SdssSpectra:
    """Spectra in the files `spec-PLATE-MJD-FIBER.fits`.

    Attributes
    ----------
    web : Web
    url : str
        Address of the Science Archive Server.
    """

    web: Web
    url: str = ARCHIVE
    at_once: int = 1

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """See `SpectrumService.columns`."""
        return {
            "plate": ("plate",),
            "mjd": ("mjd",),
            "fiber": ("fiber", "fiberid", "fiber_id"),
            "run2d?": ("run2d",),
        }

    def settings(self) -> Mapping[str, Any]:
        """See `SpectrumService.settings`."""
        return {"service": "sdss", "release": RELEASE, "url": self.url}

    def fetch(self, wanted: Sequence[WantedSpectrum]) -> list[Reply]:
        """See `SpectrumService.fetch`."""
        return [self._fetch(each) for each in wanted]

    def _fetch(self, wanted: WantedSpectrum) -> Reply:
        url = self.address(wanted)
        answer, spectrum = ask(lambda: self.web.get(url), lambda said: _read(said, wanted))
        if isinstance(spectrum, ObservedSpectrum):
            return Reply(OK, spectrum, answer)
        return Reply(spectrum, None, answer)

    def address(self, wanted: WantedSpectrum) -> str:
        """The address of a spectrum's file."""
        from astropy.table import Table
        from astroquery.sdss import SDSSClass, conf

        names = wanted.names
        row = {
            "run2d": str(names.get("run2d") or LEGACY_RUN),
            "plate": int(names["plate"]),
            "mjd": int(names["mjd"]),
            "fiberID": int(names["fiber"]),
        }
        with _ONE_AT_A_TIME, conf.set_temp("sas_baseurl", self.url):
            (file,) = SDSSClass().get_spectra_async(
                matches=Table([row]), data_release=RELEASE, cache=False
            )
        return file._target


def _read(answer: Answer, wanted: WantedSpectrum) -> ObservedSpectrum | str:
    """The spectrum in an answer, or why a whole file holds none that is usable."""
    if answer.status == 404:
        return NO_SPECTRUM
    content = fits_of(answer)
    name = answer.url.rpartition("/")[2]
    try:
        spectrum = read_sdss(content, name, str(wanted.source_id), wanted.redshift)
    except IncompleteFile as error:
        raise Damaged(str(error)) from error
    except SpectrumError as error:
        return str(error)
    try:
        header = fits.Header.fromfile(io.BytesIO(content))
    except Exception as error:  # of astropy, about any card
        raise Damaged(f"a damaged header ({error})") from error
    for key, name in (("PLATEID", "plate"), ("MJD", "mjd"), ("FIBERID", "fiber")):
        if key in header and str(header[key]) != str(wanted.names[name]):
            raise Damaged(f"the file is of {name} {header[key]}, not {wanted.names[name]}")
    return spectrum


SURVEY = SkySurvey(
    name="sdss",
    title="SDSS DR17: galaxies (SkyServer, SQL), spectra by plate, mjd and fiber",
    catalog=SkyServer,
    query=SkyServer,
    spectra=SdssSpectra,
    card=CARD,
)
