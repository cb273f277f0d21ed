"""A survey's columns under our names, and its brightnesses as fluxes in nanojansky."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pyarrow as pa

from targetsel.photometry.flux import NJY_PER_NANOMAGGY, flux_error, flux_of_magnitude
from targetsel.surveys.retry import Damaged
from targetsel.tables.parquet import described


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
            except pa.ArrowInvalid as error:
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

        m_AB = 31.4 - 2.5 log10(f / nJy). Magnitudes outside -10 to 90, such as -999, stand for
        no measurement, and so does an inverse variance of 0.
        """
        unknown = np.full(len(values), np.nan)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            if self.scale is FluxScale.MAGNITUDE:
                good = (values > -10) & (values < 90)
                flux = np.where(good, flux_of_magnitude(values), np.nan)
                if errors is None:
                    return flux, unknown
                return flux, np.where(errors > 0, flux_error(flux, errors), np.nan)
            flux = values * NJY_PER_NANOMAGGY
            if errors is None:
                return flux, unknown
            seen = errors > 0
            return np.where(seen, flux, np.nan), np.where(
                seen, NJY_PER_NANOMAGGY / np.sqrt(errors), np.nan
            )


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
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Damaged(f"text where numbers were expected ({str(error)[:80]})") from error
    return numbers.to_numpy(zero_copy_only=False).astype(np.float64)
