"""The services of spectra by name."""

from __future__ import annotations

from urllib.parse import urlsplit

from targetsel.errors import SpectrumError
from targetsel.surveys.http import Web
from targetsel.surveys.sdss_spectra import SdssSpectra
from targetsel.surveys.sparcl import SparclSpectra
from targetsel.surveys.spectrum_service import SpectrumService


def open_service(name: str, web: Web, url: str | None = None) -> SpectrumService:
    """The service called "sdss" or "desi", or a mirror of it at `url`.

    Raises
    ------
    SpectrumError
        If `url` is no address.
    """
    if url is None:
        return SdssSpectra(web) if name == "sdss" else SparclSpectra(web)
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise SpectrumError(f"--url {url}: expected an address such as https://data.sdss.org/sas.")
    return SdssSpectra(web, url) if name == "sdss" else SparclSpectra(web, url)
