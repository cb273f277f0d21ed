"""SDSS catalogs, through SkyServer's SQL search."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import csv

from targetsel.errors import CatalogError
from targetsel.surveys.archive import TooMany
from targetsel.surveys.catalog_columns import Column, Columns, Flux, Plain, Scale
from targetsel.surveys.http import Answer, Web
from targetsel.surveys.region import Cone
from targetsel.surveys.retry import Damaged, ask
from targetsel.surveys.sql import in_box

RELEASE = 17
LIMIT = 100_000  # rows of one answer to a cone; SkyServer gives 500 000 at most
SKYSERVER = "https://skyserver.sdss.org"
PHOTOMETRY: tuple[Column, ...] = (
    Plain("objID", "source_id", pa.int64(), "", "meta.id;meta.main", "SDSS objID"),
    Plain("ra", "ra", pa.float64(), "deg", "pos.eq.ra;meta.main"),
    Plain("dec", "dec", pa.float64(), "deg", "pos.eq.dec;meta.main"),
    *(
        Flux(f"petroFlux_{b}", f"petroFluxIvar_{b}", f"flux_{b}_sdss", Scale.NANOMAGGY,
             f"Petrosian flux in {b}, SDSS system (AB to 0.04 mag), not corrected for extinction")
        for b in "ugriz"
    ),
    *(
        Plain(f"extinction_{b}", f"extinction_{b}", pa.float32(), "mag", "phys.absorption.gal")
        for b in "gr"
    ),
    Plain("petroR50_r", "half_light_radius", pa.float32(), "arcsec", "phys.angSize",
          "Petrosian, in r", missing=-9999.0),
)  # fmt: skip
SPECTROSCOPY: tuple[Column, ...] = (
    Plain("redshift", "redshift", pa.float64(), "", "src.redshift"),
    Plain("zErr", "redshift_err", pa.float32(), "", "stat.error;src.redshift"),
    Plain("zWarning", "redshift_warning", pa.int64(), "", "meta.code.qual", "0 is good"),
    Plain("plate", "plate", pa.int32()),
    Plain("mjd", "mjd", pa.int32(), "d", "time.epoch", "of the last exposure"),
    Plain("fiberID", "fiber", pa.int32()),
    Plain("run2d", "run2d", pa.string(), "", "meta.version", "reduction of the spectrum"),
)
GALAXIES = Columns((*PHOTOMETRY, *SPECTROSCOPY))
TYPES = {  # of columns whose type the text alone does not tell
    **dict.fromkeys(("objID", "specObjID", "bestObjID"), pa.int64()),
    **dict.fromkeys(("run2d", "run1d", "survey", "instrument"), pa.string()),
}


@dataclass(frozen=True)
class SkyServer:
    """SDSS galaxies of the imaging catalog.

    Attributes
    ----------
    web : Web
    url : str
        Of the SkyServer.
    """

    web: Web
    url: str = SKYSERVER
    name: str = "sdss"
    columns: Columns = Columns(PHOTOMETRY)  # noqa: RUF009
    largest_cone: float = 0.5
    limit: int = LIMIT

    def cone(self, cone: Cone) -> pa.Table:
        """See `Archive.cone`; the view Galaxy holds primary detections."""
        wanted = ", ".join(self.columns.theirs)
        where = in_box(cone, "ra", "dec")
        question = f"SELECT TOP {self.limit} {wanted} FROM Galaxy WHERE {where}"
        rows = self.rows(question, self.columns.renamed)
        if rows.num_rows >= self.limit:
            raise TooMany
        return rows

    def query(self, question: str) -> pa.Table:
        """See `Archive.query`; the question is in SkyServer's SQL."""
        return self.rows(question, GALAXIES.recognised)

    def rows(self, question: str, rename: Callable[[pa.Table], pa.Table]) -> pa.Table:
        """The answer to a question in SQL, its columns renamed.

        Raises
        ------
        CatalogError
            If SkyServer does not understand the question.
        Unanswered
            If there is no good answer.
        """
        return ask(self._sender(question), lambda said: rename(self._table(said)))[1]

    def _sender(self, question: str) -> Callable[[], Answer]:
        """A question, as astroquery puts it to SkyServer."""
        from astroquery.sdss import SDSSClass, conf

        asking = SDSSClass()
        payload = asking.query_sql_async(question, data_release=RELEASE, get_query_payload=True)
        with conf.set_temp("skyserver_baseurl", self.url):
            url = asking._get_query_url(RELEASE)
        return lambda: self.web.get(url, payload)

    def _table(self, answer: Answer) -> pa.Table:
        """The table in an answer: CSV behind a line that names it."""
        text = answer.content
        if b"error_message" in text[:2000]:
            words = " ".join(text.decode("utf-8", "replace").split())
            raise CatalogError(f"{self.url}: does not understand the question: {words[:300]}")
        if answer.status != 200:
            raise Damaged(f"HTTP {answer.status}")
        title, _, rest = text.partition(b"\n")
        if not title.startswith(b"#"):
            raise Damaged(f"no table but {text[:40]!r}")
        if not rest.endswith(b"\n"):
            raise Damaged("the table ended too early")
        try:
            return csv.read_csv(io.BytesIO(rest), convert_options=csv.ConvertOptions(
                column_types=TYPES, null_values=["", "null", "NULL"]))  # fmt: skip
        except pa.ArrowException as error:
            raise Damaged(f"not a whole table ({str(error)[:80]})") from error
