"""The surveys by name, and the services they offer."""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import urlsplit

from targetsel.errors import (
    CatalogError,
    CutoutError,
    SpectrumError,
    TargetselError,
    did_you_mean,
)
from targetsel.surveys import desi, legacy, local, ps1, sdss, virtual_observatory
from targetsel.surveys.http import Web
from targetsel.surveys.service import (
    ConeSearch,
    ImageService,
    QueryService,
    SkySurvey,
    SpectrumService,
)

_MODULES = (ps1, sdss, legacy, desi, virtual_observatory, local)
SURVEYS: dict[str, SkySurvey] = {each.SURVEY.name: each.SURVEY for each in _MODULES}

_ERRORS: dict[str, type[TargetselError]] = {
    "catalog": CatalogError,
    "query": CatalogError,
    "cutouts": CutoutError,
    "spectra": SpectrumError,
}


def open_catalog(name: str, web: Web, url: str | None = None) -> ConeSearch:
    """The catalog of a survey, or a mirror of it at `url`.

    Raises
    ------
    CatalogError
        If there is no such survey or it has no catalog, or `url` is no address.
    """
    return _open("catalog", name, web, url=url)


def open_query(name: str, web: Web, url: str | None = None) -> QueryService:
    """The database of a survey, or a mirror of it at `url`; errors as in `open_catalog`."""
    return _open("query", name, web, url=url)


def open_spectra(name: str, web: Web, url: str | None = None) -> SpectrumService:
    """The spectra of a survey, or a mirror of them at `url`.

    Raises
    ------
    SpectrumError
        If there is no such survey or it has no spectra, or `url` is no address.
    """
    return _open("spectra", name, web, url=url)


def open_cutouts(
    name: str, web: Web, bands: tuple[str, ...], size: int, **options: Any
) -> ImageService:
    """The images of a survey, as cutouts of `size` pixels in `bands`.

    Parameters
    ----------
    options
        See the survey's own class: url, pixel_scale, layer, tiles, zeropoint; None is no option.

    Raises
    ------
    CutoutError
        If there is no such survey or it has no images, or an option is missing, useless or
        senseless.
    """
    return _open("cutouts", name, web, bands=bands, size=size, **options)


def find_survey(name: str, kind: str) -> SkySurvey:
    """The survey of this name.

    Raises
    ------
    TargetselError
        If there is none that offers `kind`; names those that do. Its class fits `kind`.
    """
    able = [each.name for each in SURVEYS.values() if kind in each.offers]
    if name in able:
        return SURVEYS[name]
    reason = f"has no {kind}" if name in SURVEYS else "no such survey"
    hint = "" if name in SURVEYS else did_you_mean(name, able)
    raise _ERRORS[kind](f"--survey {name}: {reason}.{hint} Known for {kind}: {', '.join(able)}.")


def _open(kind: str, name: str, web: Web, **given: Any) -> Any:
    """The service of a survey, its options checked against what the opener takes."""
    error = _ERRORS[kind]
    opener = getattr(find_survey(name, kind), kind)
    options = {key: value for key, value in given.items() if value is not None}
    takes = dict(list(inspect.signature(opener).parameters.items())[1:])
    for key in options:
        if key not in takes:
            raise error(f"--survey {name}: has no use for {_option(key)}. Leave it out.")
    for key, parameter in takes.items():
        if parameter.default is parameter.empty and key not in options:
            raise error(f"--survey {name}: needs {_option(key)}.")
    if "url" in options:
        address = urlsplit(options["url"])
        if address.scheme not in ("http", "https") or not address.netloc:
            raise error(
                f"--url {options['url']}: expected an address such as https://archive.org/tap."
            )
        options["url"] = options["url"].rstrip("/")
    if not 0.001 <= options.get("pixel_scale", 1.0) <= 100:
        raise error(f"--pixel-scale {options['pixel_scale']:g}: expected 0.001 to 100 arcsec.")
    return opener(web, **options)


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")
