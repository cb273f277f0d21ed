"""Surveys: the record of one survey, and the protocols of what its services offer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from targetsel.surveys.catalog_columns import SurveyColumns
from targetsel.surveys.http import Answer, Unanswered
from targetsel.surveys.tiles import Cone

OK = "ok"
OUTSIDE = "outside the footprint"
NO_DATA = "no data"
NO_SPECTRUM = "no such spectrum"


class TooMany(Exception):
    """An answer that the service cut short; smaller cones give all of it."""


class ConeSearch(Protocol):
    """A catalog that can be searched around a position; threads may share one."""

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def columns(self) -> SurveyColumns: ...

    @property
    def largest_cone(self) -> float:
        """Radius [deg]."""
        ...

    def cone(self, cone: Cone) -> pa.Table:
        """All sources within a cone, and perhaps others, under our column names.

        Raises
        ------
        TooMany
            If there are more than one answer holds.
        Unanswered
            If there is no good answer.
        """
        ...


class QueryService(Protocol):
    """A database that takes queries in ADQL or SQL."""

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    def query(self, query: str) -> pa.Table:
        """The rows that a query selects; known columns are under our names.

        Raises
        ------
        CatalogError
            If the service does not understand the query, or cut the answer short.
        Unanswered
            If there is no good answer.
        """
        ...


class ImageService(Protocol):
    """A source of cutouts; threads may share one."""

    @property
    def bands(self) -> tuple[str, ...]: ...

    @property
    def pixel_scale(self) -> float:
        """[arcsec]"""
        ...

    @property
    def size(self) -> int:
        """Width and height of a cutout [pixel]."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """All that the pixels depend on, apart from the source; plain values for JSON."""
        ...

    def fetch(self, ra: float, dec: float) -> list[Reply]:
        """One reply for each band, in order, with the pixels around (ra, dec) [deg, ICRS].

        Their value is a float32 array of shape (H, W) [nanomaggy], NaN where there is no data.
        """
        ...


@dataclass(frozen=True)
class WantedSpectrum:
    """A spectrum to fetch.

    Attributes
    ----------
    source_id : int or str
    names : mapping
        The service's name of it: plate, mjd, fiber and run2d, or a target id.
    redshift : float or None
        None: take the service's.
    """

    source_id: int | str
    names: Mapping[str, int | str]
    redshift: float | None = None


class SpectrumService(Protocol):
    """A source of spectra; threads may share one."""

    @property
    def at_once(self) -> int:
        """Largest number of spectra in one call."""
        ...

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """Catalog columns that name a spectrum, each with its usual names; "?" marks optional."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """All that the spectra depend on, apart from the sources; plain values for JSON."""
        ...

    def fetch(self, wanted: Sequence[WantedSpectrum]) -> list[Reply]:
        """One reply for each spectrum, in order; their value is an `ObservedSpectrum`."""
        ...


@dataclass(frozen=True)
class Reply:
    """The outcome of one request: its result, or the reason why there is none.

    Attributes
    ----------
    status : str
        "ok", or the reason why there is no value.
    value : ndarray, ObservedSpectrum or None
    final : bool
        False where another run should request it again.
    url : str
    n_bytes : int
        Length of the answer.
    sha256 : str
        Hash of the answer.
    time : float
        Arrival of the answer [Unix time, s].
    troubles : tuple of str
        Failures of the requests before.
    """

    status: str
    value: Any = None
    final: bool = True
    url: str = ""
    n_bytes: int = 0
    sha256: str = ""
    time: float = 0.0
    troubles: tuple[str, ...] = ()

    @classmethod
    def to(cls, answer: Answer, status: str, value: Any = None) -> Reply:
        """The final reply that an answer gives."""
        return cls(
            status,
            value,
            True,
            answer.url,
            len(answer.content),
            hashlib.sha256(answer.content).hexdigest(),
            time.time(),
            answer.troubles,
        )

    @classmethod
    def unanswered(cls, url: str, error: Unanswered) -> Reply:
        """The reply without a good answer, so that another run requests it again."""
        return cls(
            str(error), final=False, url=url, time=time.time(), troubles=tuple(error.troubles)
        )

    def record(self) -> dict[str, Any]:
        """The reply without its value, as a journal and a manifest keep it."""
        return {
            "status": self.status,
            "url": self.url,
            "bytes": self.n_bytes,
            "sha256": self.sha256,
            "time": self.time,
            "troubles": list(self.troubles),
        }


@dataclass(frozen=True)
class SkySurvey:
    """A survey, and the openers of the services it offers.

    An opener takes a `Web` first and its options by keyword; `cutouts` also takes bands and size.
    Parameters without a default are options that a user must give.

    Attributes
    ----------
    name : str
        The word after ``--survey``.
    title : str
        Description in a few words.
    catalog : callable, optional
        ``catalog(web, url=...)`` gives a `ConeSearch`.
    query : callable, optional
        ``query(web, url=...)`` gives a `QueryService`.
    cutouts : callable, optional
        ``cutouts(web, bands, size, ...)`` gives an `ImageService`.
    spectra : callable, optional
        ``spectra(web, url=...)`` gives a `SpectrumService`.
    """

    name: str
    title: str
    catalog: Callable[..., ConeSearch] | None = None
    query: Callable[..., QueryService] | None = None
    cutouts: Callable[..., ImageService] | None = None
    spectra: Callable[..., SpectrumService] | None = None

    @property
    def offers(self) -> list[str]:
        """Names of the services it has."""
        return [kind for kind in ("catalog", "query", "cutouts", "spectra") if getattr(self, kind)]
