"""Catalogs of archives: questions to them, columns under our names, and TAP.

Brightnesses become fluxes in nanojansky. IVOA's Table Access Protocol serves several surveys.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.photometry.flux import (
    NJY_PER_NANOMAGGY,
    flux_error,
    flux_of_magnitude,
    known_magnitudes,
)
from targetsel.surveys.http import Damaged, Unanswered, Web, in_words, repeated
from targetsel.tables.formats import to_arrow
from targetsel.tables.parquet import described

DATA_LAB = "https://datalab.noirlab.edu/tap"  # of NOIRLab's Astro Data Lab
LIMIT = 100_000  # rows of one answer to a cone
LARGEST_ANSWER = 2_000_000  # rows of an answer to a query
Rename = Callable[[pa.Table], pa.Table]


class FluxScale(Enum):
    """Units of a survey's brightness and of its uncertainty."""

    MAGNITUDE = "AB magnitude and its error"
    NANOMAGGY = "nanomaggy and its inverse variance"


@dataclass(frozen=True)
class PlainColumn:
    """A column that changes its name only; `missing` stands for no value."""

    theirs: str
    ours: str
    type: pa.DataType
    unit: str = ""
    ucd: str = ""
    description: str = ""
    missing: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.theirs,)

    def converted(
        self, columns: Mapping[str, pa.ChunkedArray]
    ) -> Iterable[tuple[pa.Field, object]]:
        """The column's field and values."""
        key = self.ours == "source_id"
        field = described(
            self.ours, self.type, self.unit, self.ucd, self.description, nullable=not key
        )
        values = columns[self.theirs]
        if pa.types.is_floating(self.type):
            yield field, self._floats(_floats(values))
        else:
            try:
                yield field, values.cast(self.type)
            except pa.ArrowException as error:
                raise Damaged(f"column '{self.theirs}' holds no {self.type}") from error

    def _floats(self, values: np.ndarray) -> pa.Array:
        if self.ours == "ra":
            values = np.mod(values, 360.0)  # some archives give -0.2 for 359.8
        if self.missing is not None:
            values = np.where(values == self.missing, np.nan, values)
        return pa.array(values, self.type, from_pandas=True)


@dataclass(frozen=True)
class FluxColumn:
    """A brightness with its uncertainty, which become a flux and its standard deviation [nJy]."""

    theirs: str
    error: str
    ours: str
    scale: FluxScale
    description: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return self.theirs, self.error

    def converted(
        self, columns: Mapping[str, pa.ChunkedArray]
    ) -> Iterable[tuple[pa.Field, object]]:
        """Fields and values of flux and error; of the flux alone where there is no error."""
        values = _floats(columns[self.theirs])
        known = self.error in columns
        flux, error = self.in_njy(values, _floats(columns[self.error]) if known else None)
        field = described(self.ours, pa.float32(), "nJy", "phot.flux.density", self.description)
        yield field, pa.array(flux, pa.float32(), from_pandas=True)
        if known:
            about = f"standard deviation of {self.ours}"
            ucd = "stat.error;phot.flux.density"
            field = described(f"{self.ours}_err", pa.float32(), "nJy", ucd, about)
            yield field, pa.array(error, pa.float32(), from_pandas=True)

    def in_njy(
        self, values: np.ndarray, errors: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Flux and standard deviation [nJy], shapes (N,); NaN where not measured.

        m_AB = 31.4 - 2.5 log10(f / nJy). Codes for magnitudes, such as -999, stand for no
        measurement, and so does an inverse variance of 0.
        """
        unknown = np.full(len(values), np.nan)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            if self.scale is FluxScale.MAGNITUDE:
                flux = flux_of_magnitude(known_magnitudes(values))
                error = unknown if errors is None else flux_error(flux, errors)
            else:
                flux = values * NJY_PER_NANOMAGGY
                error = unknown if errors is None else NJY_PER_NANOMAGGY / np.sqrt(errors)
                flux = flux if errors is None else np.where(errors > 0, flux, np.nan)
        return flux, error if errors is None else np.where(errors > 0, error, np.nan)


Column = PlainColumn | FluxColumn


@dataclass(frozen=True)
class SurveyColumns:
    """The columns to request from a survey."""

    columns: tuple[Column, ...]

    @property
    def theirs(self) -> list[str]:
        """All names to request."""
        return [name for column in self.columns for name in column.names]

    @property
    def schema(self) -> pa.Schema:
        """The schema of a table under our names."""
        nothing = pa.table({name: pa.array([], pa.float64()) for name in self.theirs})
        return self.renamed(nothing).schema

    def their_name(self, ours: str) -> str:
        """The survey's name of one of our columns."""
        return next(column.theirs for column in self.columns if column.ours == ours)

    def renamed(self, table: pa.Table) -> pa.Table:
        """A table under our names.

        Raises
        ------
        Damaged
            If a column is missing: some archives silently leave out columns they do not know.
        """
        has = {name.lower() for name in table.column_names}
        if missing := [name for name in self.theirs if name.lower() not in has]:
            raise Damaged(f"columns {', '.join(missing[:5])} are missing from the answer")
        return self.recognised(table, others=False)

    def recognised(self, table: pa.Table, others: bool = True) -> pa.Table:
        """A table with the known columns under our names, and perhaps the `others` as they are."""
        named = {name.lower(): name for name in table.column_names}
        made: dict[str, tuple[pa.Field, object]] = {}
        used: set[str] = set()
        for column in self.columns:
            present = {n: table[named[n.lower()]] for n in column.names if n.lower() in named}
            if column.theirs not in present:
                continue
            used |= {named[name.lower()] for name in present}
            made |= {field.name: (field, values) for field, values in column.converted(present)}
        for name in table.column_names if others else ():
            if name not in used and name not in made:
                made[name] = (table.schema.field(name), table[name])
        fields, arrays = zip(*made.values(), strict=True)
        return pa.table(list(arrays), schema=pa.schema(fields))


def _floats(values: pa.ChunkedArray) -> np.ndarray:
    """Values in double precision, NaN where null; shape (N,)."""
    try:
        numbers = values.cast(pa.float64())
    except pa.ArrowException as error:
        raise Damaged(f"text where numbers were expected ({str(error)[:80]})") from error
    return numbers.to_numpy(zero_copy_only=False).astype(np.float64)


@dataclass(frozen=True)
class Cone:
    """A position [deg, ICRS] and a radius [deg]."""

    ra: float
    dec: float
    radius: float

    def sql(self, ra: str, dec: str) -> str:
        """The condition that the columns `ra` and `dec` [deg] lie in the box around the cone.

        Some archives know ADQL's geometry in name only; every dialect of SQL understands a box.
        Sources outside the cone must be dropped afterwards.
        """
        south, north = max(self.dec - self.radius, -90.0), min(self.dec + self.radius, 90.0)
        between = f"{dec} BETWEEN {south:.9f} AND {north:.9f}"
        if south == -90 or north == 90:
            return between
        # Where meridians touch the cone: sin(width) = sin(radius) / cos(dec).
        sine = np.sin(np.radians(self.radius)) / np.cos(np.radians(self.dec))
        width = np.degrees(np.arcsin(sine))
        west, east = (self.ra - width) % 360, (self.ra + width) % 360
        if west <= east:
            return f"{between} AND {ra} BETWEEN {west:.9f} AND {east:.9f}"
        return f"{between} AND ({ra} >= {west:.9f} OR {ra} <= {east:.9f})"


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


@dataclass(frozen=True)
class TapCatalog:
    """Sources in one table of a TAP service, and queries to all of its tables.

    Attributes
    ----------
    web : Web
    url : str
        Address of the service.
    name : str
    columns : SurveyColumns
    table : str
        The table's name there.
    condition : str
        Condition on the rows to take; empty for all.
    largest_cone : float
        Radius [deg].
    limit : int
        Rows of one answer to a cone.
    """

    web: Web
    url: str
    name: str
    columns: SurveyColumns
    table: str
    condition: str = ""
    largest_cone: float = 0.5
    limit: int = LIMIT

    def cone(self, cone: Cone) -> pa.Table:
        """See `ConeSearch.cone`."""
        ra, dec = self.columns.their_name("ra"), self.columns.their_name("dec")
        where = " AND ".join(filter(None, [cone.sql(ra, dec), self.condition]))
        query = f"SELECT {', '.join(self.columns.theirs)} FROM {self.table} WHERE {where}"
        rows, whole = self._asked(query, self.limit, self.columns.renamed)
        if not whole:
            raise TooMany
        return rows

    def query(self, query: str) -> pa.Table:
        """See `QueryService.query`."""
        rows, whole = self._asked(query, LARGEST_ANSWER, self.columns.recognised)
        if not whole:
            raise CatalogError(
                f"{self.url}: cut the answer short after {rows.num_rows} rows. Ask for a part of "
                "the sky with --cone or --moc, which is asked for in pieces."
            )
        return rows

    def _asked(self, query: str, limit: int, rename: Rename) -> tuple[pa.Table, bool]:
        """The answer, and whether it is whole; asked again while it is damaged."""
        from pyvo.dal import TAPService

        def attempt() -> tuple[pa.Table, bool]:
            with self._errors_of_pyvo(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # overflow, and headers that bend the standard
                service = TAPService(self.url, session=self.web.session)
                result = service.run_sync(query, maxrec=limit)
                table = to_arrow(result.to_table(), self.url)
            whole = result.query_status != "OVERFLOW" and table.num_rows < limit
            return rename(table), whole

        return repeated(attempt, [], self.url)

    @contextlib.contextmanager
    def _errors_of_pyvo(self) -> Iterator[None]:
        """Convert exceptions of pyvo to `CatalogError`, `Unanswered` or `Damaged`."""
        from pyvo.dal.exceptions import DALAccessError, DALQueryError, DALServiceError

        try:
            yield
        except DALQueryError as error:
            raise CatalogError(
                f"{self.url}: does not understand the query: {_one_line(error)}. Correct it"
            ) from error
        except DALAccessError as error:
            cause = error.__cause__ or error.__context__
            words = in_words(cause) if cause else _one_line(error)
            if isinstance(error, DALServiceError) and error.code != 500:
                raise Unanswered(words, self.url) from error  # was repeated already
            raise Damaged(words) from error
        except Exception as error:  # an answer may be anything
            raise Damaged(f"no table in the answer ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
