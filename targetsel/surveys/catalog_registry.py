"""The archives by name."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from targetsel.errors import CatalogError
from targetsel.surveys.archive import Archive
from targetsel.surveys.http import Web
from targetsel.surveys.legacy_catalogs import desi, legacy
from targetsel.surveys.ps1_catalogs import PanStarrs
from targetsel.surveys.sdss_catalogs import SkyServer


def open_archive(name: str, web: Web, url: str | None = None, for_query: bool = False) -> Archive:
    """The archive called "ps1", "sdss", "legacy" or "desi".

    Parameters
    ----------
    url : str, optional
        Of a mirror.
    for_query : bool
        Whether `query` will be called, which Pan-STARRS answers at another address than `cone`.

    Raises
    ------
    CatalogError
        If `url` is no address.
    """
    if url is not None and (
        urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc
    ):
        raise CatalogError(f"--url {url}: expected an address such as https://archive.org/tap.")
    if name == "ps1":
        if url is None:
            return PanStarrs(web)
        return PanStarrs(web, tap_url=url) if for_query else PanStarrs(web, url)
    made: dict[str, Callable[..., Archive]] = {"sdss": SkyServer, "legacy": legacy, "desi": desi}
    return made[name](web) if url is None else made[name](web, url)
