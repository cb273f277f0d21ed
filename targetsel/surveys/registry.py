"""The surveys by name, their cards, the services they offer, and the options of these."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from targetsel.errors import CatalogError, CutoutError, SpectrumError, TargetselError, unknown

if TYPE_CHECKING:
    from targetsel.surveys.archives import ConeSearch, QueryService
    from targetsel.surveys.card import SurveyCard
    from targetsel.surveys.cutouts import ImageService
    from targetsel.surveys.http import Web
    from targetsel.surveys.spectra import SpectrumService

# Files of this folder, each of which defines a `SkySurvey` called SURVEY.
MODULES = (
    *("ps1", "sdss", "legacy", "hsc", "kids", "lsst", "euclid"),
    *("desi", "virtual_observatory", "local"),
)

_ERRORS: dict[str, type[TargetselError]] = {
    "catalog": CatalogError,
    "query": CatalogError,
    "cutouts": CutoutError,
    "spectra": SpectrumError,
}
USUAL_BANDS, USUAL_SIZE = tuple("grizy"), 64  # of cutouts from a survey without a card
_GIVEN = ("web", "bands", "size")  # parameters of openers that are not options


@dataclass(frozen=True)
class SkySurvey:
    """A survey, and the openers of the services it offers.

    An opener takes what it needs of `web`, a `Web`, and for cutouts of `bands` and `size`. Its
    other parameters are the options of the service: the command line gives them as text, which is
    converted to the type of the parameter; those without a default must be given. A text among the
    annotations of the type says what the option is, as in ``Annotated[str, "layer"]``.

    Attributes
    ----------
    name : str
        The word after ``--survey``.
    title : str
        Description in a few words.
    catalog : callable, optional
        ``catalog(web=..., url=...)`` gives a `ConeSearch`.
    query : callable, optional
        ``query(web=..., url=...)`` gives a `QueryService`.
    cutouts : callable, optional
        ``cutouts(web=..., bands=..., size=..., ...)`` gives an `ImageService`.
    spectra : callable, optional
        ``spectra(web=..., url=...)`` gives a `SpectrumService`.
    card : SurveyCard, optional
        What is known of its images.
    also : tuple of str
        Other names by which it is found.
    """

    name: str
    title: str
    catalog: Callable[..., ConeSearch] | None = None
    query: Callable[..., QueryService] | None = None
    cutouts: Callable[..., ImageService] | None = None
    spectra: Callable[..., SpectrumService] | None = None
    card: SurveyCard | None = None
    also: tuple[str, ...] = ()

    @property
    def offers(self) -> list[str]:
        """Names of the services it has."""
        return [kind for kind in _ERRORS if getattr(self, kind)]


@cache
def surveys() -> dict[str, SkySurvey]:
    """All surveys by name."""
    found = [import_module(f"targetsel.surveys.{module}").SURVEY for module in MODULES]
    return {survey.name: survey for survey in found}


def find_survey(name: str, kind: str) -> SkySurvey:
    """The survey of this name.

    Raises
    ------
    TargetselError
        If there is none that offers `kind`; names those that do. Its class fits `kind`.
    """
    able = [survey.name for survey in surveys().values() if kind in survey.offers]
    if name in able:
        return surveys()[name]
    if name in surveys():
        raise _ERRORS[kind](f"survey '{name}' has no {kind}; expected one of {', '.join(able)}.")
    raise _ERRORS[kind](unknown("survey", name, able))


def cards() -> dict[str, SurveyCard]:
    """The cards of all surveys that have one, by name."""
    return {name: survey.card for name, survey in surveys().items() if survey.card}


def find_card(name: str, error: type[TargetselError] = CutoutError) -> SurveyCard:
    """The card of a survey, in whatever case, also by another name such as "rubin".

    Raises
    ------
    TargetselError
        Of the class `error`, if there is no survey of this name with a card; it names those that
        have one.
    """
    having = [survey for survey in surveys().values() if survey.card]
    known = {each: survey.card for survey in having for each in (survey.name, *survey.also)}
    card = known.get(str(name).lower())
    if card is None:
        raise error(unknown("survey", str(name), known))
    return card


@dataclass(frozen=True)
class ServiceOption:
    """An option of a service.

    Attributes
    ----------
    type : type
        Annotated by what the value may be.
    default : object
        None where it is required, or where it may be left out.
    required : bool
    """

    type: Any
    default: Any
    required: bool

    @property
    def meaning(self) -> str:
        """The description among the type's annotations."""
        notes = getattr(self.type, "__metadata__", ())
        return next((note for note in notes if isinstance(note, str)), "")


def options_of(opener: Callable[..., Any]) -> dict[str, ServiceOption]:
    """The options of the service that an opener gives, by their names in Python."""
    types = get_type_hints(opener, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(opener).parameters.items():
        if name not in _GIVEN:
            required = parameter.default is parameter.empty
            default = None if required else parameter.default
            found[name] = ServiceOption(types[name], default, required)
    return found


def written(name: str) -> str:
    """The name of an option on the command line."""
    return name.replace("_", "-")


def open_catalog(name: str, web: Web, url: str | None = None) -> ConeSearch:
    """The catalog of a survey, or a mirror of it at `url`.

    Raises
    ------
    CatalogError
        If there is no such survey or it has no catalog, or `url` is no address.
    """
    return _open("catalog", name, {"url": url}, web=web)


def open_query(name: str, web: Web, url: str | None = None) -> QueryService:
    """The database of a survey, or a mirror of it at `url`; errors as in `open_catalog`."""
    return _open("query", name, {"url": url}, web=web)


def open_spectra(name: str, web: Web, url: str | None = None) -> SpectrumService:
    """The spectra of a survey, or a mirror of them at `url`.

    Raises
    ------
    SpectrumError
        If there is no such survey or it has no spectra, or `url` is no address.
    """
    return _open("spectra", name, {"url": url}, web=web)


def open_cutouts(
    name: str, web: Web, bands: tuple[str, ...] | None, size: int | None, **options: Any
) -> ImageService:
    """The images of a survey, as cutouts of `size` pixels in `bands`.

    Parameters
    ----------
    bands : tuple of B strings, optional
        Default: those of the survey's card, or grizy.
    size : int, optional
        Default: that of the card, or 64.
    options
        Those of the survey (see `options_of`), as text or as they are; None stands for no option.

    Raises
    ------
    CutoutError
        If there is no such survey or it has no images, or an option is missing, unknown or has a
        value that cannot be used.
    """
    card = surveys()[name].card if name in surveys() else None
    bands = bands or (card.band_names if card else USUAL_BANDS)
    size = size or (card.cutout_size if card else USUAL_SIZE)
    return _open("cutouts", name, options, web=web, bands=bands, size=size)


def _open(kind: str, name: str, given: Mapping[str, Any], **common: Any) -> Any:
    """The service of a survey, its options checked against what the opener takes."""
    error = _ERRORS[kind]
    opener = getattr(find_survey(name, kind), kind)
    takes = options_of(opener)
    options = {}
    for key, value in given.items():
        if value is None:
            continue
        if key not in takes:
            raise error(f"survey '{name}': {unknown('option', written(key), map(written, takes))}")
        try:
            options[key] = TypeAdapter(takes[key].type).validate_python(value)
        except ValidationError as faults:
            fault = faults.errors()[0]
            said = fault["msg"].removeprefix("Input should be ")
            expected = {"int_parsing": "a whole number", "float_parsing": "a number"}.get(
                fault["type"], said
            )
            raise error(
                f"survey '{name}': {written(key)} is '{value}'; expected {expected}."
            ) from None
    for key, option in takes.items():
        if option.required and key not in options:
            flag = "--url" if key == "url" else f"--option {written(key)}=VALUE"
            what = f", the {option.meaning}" if option.meaning else ""
            raise error(f"survey '{name}' needs {flag}{what}. Give it.")
    if "url" in options:
        address = urlsplit(options["url"])
        if address.scheme not in ("http", "https") or not address.netloc:
            raise error(
                f"--url {options['url']}: expected an address such as https://archive.org/tap."
            )
        options["url"] = options["url"].rstrip("/")
    needed = {key for key in common if key in inspect.signature(opener).parameters}
    return opener(**{key: common[key] for key in needed}, **options)
