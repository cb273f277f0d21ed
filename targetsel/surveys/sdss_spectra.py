"""SDSS spectra by plate, MJD and fiber, from the Science Archive Server.

astroquery knows where each release and reduction keeps them; the files themselves come through
our own door, and are read before they are believed.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astropy.io import fits

from targetsel.errors import SpectrumError
from targetsel.spectra.measured import ObservedSpectrum
from targetsel.spectra.sdss import IncompleteFile, sdss_from_bytes
from targetsel.surveys.http import Answer, Unanswered, Web
from targetsel.surveys.retry import Damaged, ask
from targetsel.surveys.spectrum_service import NO_SPECTRUM, OK, Found, Wanted

RELEASE = 17
ARCHIVE = "https://data.sdss.org/sas"
LEGACY_RUN = "26"  # the reduction of nearly all spectra of SDSS-I and -II
# Settings of astroquery, and which warnings are errors, are those of the whole process.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class SdssSpectra:
    """Files `spec-PLATE-MJD-FIBER.fits`.

    Attributes
    ----------
    web : Web
    url : str
        Of the Science Archive Server.
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

    def fetch(self, wanted: Sequence[Wanted]) -> list[Found]:
        """See `SpectrumService.fetch`."""
        return [self._fetch(each) for each in wanted]

    def _fetch(self, wanted: Wanted) -> Found:
        url = self.address(wanted)
        try:
            answer, spectrum = ask(lambda: self.web.get(url), lambda said: _read(said, wanted))
        except Unanswered as error:
            return Found.unanswered(url, error)
        if isinstance(spectrum, ObservedSpectrum):
            return Found.of(answer, OK, spectrum)
        return Found.of(answer, spectrum)

    def address(self, wanted: Wanted) -> str:
        """Where the file lies."""
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


def _read(answer: Answer, wanted: Wanted) -> ObservedSpectrum | str:
    """The spectrum in an answer, or why a whole file holds none that is usable."""
    if answer.status == 404:
        return NO_SPECTRUM
    if answer.status != 200:
        raise Damaged(f"HTTP {answer.status}")
    if not answer.content.startswith(b"SIMPLE  ="):
        raise Damaged(f"no FITS file but {answer.content[:40]!r}")
    if len(answer.content) % 2880:
        raise Damaged(f"the FITS file ended too early, after {len(answer.content)} bytes")
    name = answer.url.rpartition("/")[2]
    with _ONE_AT_A_TIME:
        try:
            spectrum = sdss_from_bytes(answer.content, name, str(wanted.source_id), wanted.redshift)
        except IncompleteFile as error:
            raise Damaged(str(error)) from error
        except SpectrumError as error:
            return str(error)
        _check_names(answer, wanted)
    return spectrum


def _check_names(answer: Answer, wanted: Wanted) -> None:
    """Raise `Damaged` if the file is of another spectrum."""
    header = fits.Header.fromfile(io.BytesIO(answer.content))
    for key, name in (("PLATEID", "plate"), ("MJD", "mjd"), ("FIBERID", "fiber")):
        if key in header and str(header[key]) != str(wanted.names[name]):
            raise Damaged(f"the file is of {name} {header[key]}, not {wanted.names[name]}")
