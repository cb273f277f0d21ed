"""Rows of a scored catalog as the arrays that formulas are evaluated on.

Outside P a column has one value per source, shape (N,). Inside P a proxy has S draws from its
posterior, shape (N, S), everything else one value for all draws, shape (N, 1), and arithmetic
broadcasts. NaN stands for missing; magnitudes beyond 50, such as 99 and -999, are missing too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import CatalogError
from targetsel.photometry.columns import without_codes
from targetsel.rules import formula as f
from targetsel.spectra.copula import GROUP, stored_copula
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import (
    CORRELATION,
    FINE,
    FINE_SCORES,
    NORMAL_SCORES,
    QUANTILES,
    ProxyPosterior,
    correlated,
    proxy_names,
)
from targetsel.spectrographs.following import (
    CONTINUUM,
    REDDENING,
    Following,
    of_line,
    stored_following,
)
from targetsel.tables.columns import floats, in_one_piece
from targetsel.tables.text import encoded_text

ROWS_AT_A_TIME = 8192


class Columnar(Protocol):
    """Columns of sources: an Arrow table, or a part of a file whose columns are read on first
    use."""

    @property
    def num_rows(self) -> int: ...
    @property
    def schema(self) -> pa.Schema: ...
    def column(self, name: str, /) -> pa.Array | pa.ChunkedArray: ...


class Sources:
    """Rows of a scored catalog as the arrays that formulas are evaluated on.

    Parameters
    ----------
    table : Columnar
        The scored layout. No column is touched before a formula asks for it.
    rows : ndarray, shape (N,), optional
        Indices of the rows that are meant; without it, all of them.

    Attributes
    ----------
    outcomes : dict of Formula to ndarray of bool, shape (N,)
        Conditions that were already evaluated on these rows.
    """

    def __init__(self, table: Columnar, rows: np.ndarray | None = None) -> None:
        self._whole = table
        self._rows = rows
        # Of the whole table; all who `take` share them.
        self._columns: dict[str, pa.Array] = {}
        self._arrays: dict[tuple[str, str], Any] = {}
        self._words: dict[str, pa.Array] = {}
        self.outcomes: dict[f.Formula, np.ndarray] = {}

    def __len__(self) -> int:
        return self._whole.num_rows if self._rows is None else len(self._rows)

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows of the table."""
        return self._rows is None

    def take(self, rows: np.ndarray) -> Sources:
        """The rows with these indices (or where this mask is true), in that order.

        Nothing is copied until a column is asked for.
        """
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        taken = Sources(self._whole, rows if self._rows is None else self._rows[rows])
        taken._columns, taken._arrays, taken._words = self._columns, self._arrays, self._words
        return taken

    @property
    def table(self) -> pa.Table | pa.RecordBatch:
        """The rows as a table, where they come from one."""
        assert isinstance(self._whole, pa.Table | pa.RecordBatch)
        return self._whole if self._rows is None else self._whole.take(pa.array(self._rows))

    def _array(self, kind: str, name: str, read: Callable[[pa.Array], np.ndarray]) -> np.ndarray:
        """The result of `read` for a column, restricted to these rows."""
        if (kind, name) not in self._arrays:
            if name not in self._columns:
                values = in_one_piece(self._whole.column(name))
                self._columns[name] = without_codes(values, self._whole.schema.field(name))
            self._arrays[kind, name] = read(self._columns[name])
        array = self._arrays[kind, name]
        return array if self._rows is None else array[self._rows]

    def column(self, column: f.ColumnValue) -> np.ndarray:
        """A column as float64, shape (N,), NaN where it is missing."""
        return self._array("number", column.name, floats)

    def stored(self, column: f.ColumnValue) -> np.ndarray:
        """A column of float32 or float64 as it is stored, shape (N,), NaN where it is missing."""
        return self._array("stored", column.name, _as_numpy)

    def integers(self, column: f.ColumnValue) -> tuple[np.ndarray, np.ndarray]:
        """A column of integers, exactly, and whether each is there, both of shape (N,)."""
        known = self._array("known", column.name, lambda values: _as_numpy(values.is_valid()))
        integers = self._array(
            "integer", column.name, lambda values: _as_numpy(pc.fill_null(values, 0))
        )
        return integers, known

    def flags(self, column: f.ColumnValue, value: bool) -> np.ndarray:
        """Whether a column of true and false is `value`, shape (N,); false where missing."""
        return self._array(
            f"is {value}",
            column.name,
            lambda values: _as_numpy(pc.fill_null(pc.equal(values, pa.scalar(value)), False)),
        )

    def text(self, column: f.ColumnValue) -> tuple[np.ndarray, pa.Array]:
        """A column of text: the number of each row's text, shape (N,), -1 where missing; the texts.

        So a comparison looks at each text once, however many rows have it.
        """

        def read(values: pa.Array) -> np.ndarray:
            codes, self._words[column.name] = encoded_text(values)
            return codes

        return self._array("text", column.name, read), self._words[column.name]

    def missing(self, column: f.ColumnValue) -> np.ndarray:
        """Whether a column of any type is missing, shape (N,)."""
        if column.type == "text":
            return self.text(column)[0] < 0

        def read(values: pa.Array) -> np.ndarray:
            if not (pa.types.is_float32(values.type) or pa.types.is_float64(values.type)):
                return _as_numpy(pc.is_null(values, nan_is_null=True))
            key = "stored", column.name
            if key not in self._arrays:
                self._arrays[key] = _as_numpy(values)
            return np.isnan(self._arrays[key])

        return self._array("missing", column.name, read)

    def found(self, lookup: f.Lookup) -> np.ndarray:
        """Whether a finder finds each source, shape (N,)."""
        values = (self._array("stored", each.name, _as_numpy) for each in lookup.of)
        return lookup.finder.found(*values) ^ lookup.negated

    def calculated(self, number: f.Calculated) -> np.ndarray:
        """The number that a calculation gives each source, shape (N,), NaN where it is missing."""
        return number.calculation.values(*map(self.column, number.of))

    def quantile(self, quantile: f.Quantile) -> np.ndarray:
        return self.posterior.quantile(quantile.name, quantile.probability)

    @cached_property
    def posterior(self) -> ProxyPosterior:
        """The joint posterior of the proxies; each proxy's is read when it is asked for."""
        schema = self._whole.schema
        columns = copy.copy(self)  # the posterior of this one, kept in it, would be a circle
        quantiles = {
            name: partial(columns._matrix, name + FINE, len(FINE_SCORES))
            if name + FINE in schema.names
            else partial(columns._matrix, name + QUANTILES, len(NORMAL_SCORES))
            for name in proxy_names(schema)
        }
        correlation = {
            (other, name): partial(columns._matrix, name + CORRELATION, len(others), place)
            for name, others in correlated(schema).items()
            for place, other in enumerate(others)
        }
        copula, group = None, None
        if GROUP in schema.names:
            copula, group = stored_copula(schema.field(GROUP)), columns._group
        return ProxyPosterior(
            tuple(quantiles), _WhenAsked(quantiles), _WhenAsked(correlation), copula, group
        )

    @cached_property
    def following(self) -> Following | None:
        """How quantities of observed lines follow from proxies; None where they do not.

        Only to be asked for with such a quantity: its columns are not read for others.
        """
        return stored_following(self._whole.schema)

    def follows(self, names: Iterable[str]) -> bool:
        """Whether any of some quantities follows from proxies."""
        lines = [name for name in names if of_line(name)]
        return (
            bool(lines) and self.following is not None and any(n in self.following for n in lines)
        )

    def drawn(self, names: Iterable[str]) -> tuple[str, ...]:
        """The proxies of which some names have draws, their own or others that they follow from.

        In the order of the posterior; a redshift that others follow comes first, whose draws are
        the most even ones then.
        """
        names = {*names}
        if not self.follows(names) or self.following is None:
            return tuple(name for name in self.posterior.names if name in names)
        wanted = self.following.drawn(names)
        found = [name for name in self.posterior.names if name in wanted]
        return tuple(sorted(found, key=lambda name: name != PHOTOZ))

    def followed(self, name: str, drawn: Mapping[str, np.ndarray]) -> np.ndarray:
        """A quantity of an observed line, (N, S), from draws of what it follows from, (N, S)."""
        assert self.following is not None
        return self.following.values(name, drawn, *self.light())

    def light(self) -> tuple[np.ndarray, np.ndarray]:
        """Continuum in the fiber [nJy], shape (N, B), and E(B-V) [mag], shape (N,)."""
        assert self.following is not None
        continuum = self._matrix(CONTINUUM, len(self.following.centres)).astype(np.float64)
        continuum = np.where(continuum > 0, continuum, np.nan)
        return continuum, self._array("number", REDDENING, floats)

    def _group(self) -> np.ndarray:
        """The group of each source in the copula, shape (N,); -1 where it is missing."""
        return self._array("integer", GROUP, lambda values: _as_numpy(pc.fill_null(values, -1)))

    def _matrix(self, name: str, width: int, place: int | slice = slice(None)) -> np.ndarray:
        """A column of `width` numbers each, or the one at `place`, NaN where it is missing."""
        return self._array("matrix", name, lambda lists: _matrix(lists, name, width))[:, place]


_Key = TypeVar("_Key")


class _WhenAsked(Mapping[_Key, np.ndarray]):
    """Arrays that `makers` give, computed on first use and then kept."""

    def __init__(self, makers: Mapping[_Key, Callable[[], np.ndarray]]) -> None:
        self._makers = makers
        self._known: dict[_Key, np.ndarray] = {}

    def __getitem__(self, key: _Key) -> np.ndarray:
        if key not in self._known:
            self._known[key] = self._makers[key]()
        return self._known[key]

    def __contains__(self, key: object) -> bool:
        return key in self._makers

    def __iter__(self) -> Iterator[_Key]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def blocks_of(table: pa.Table, rows: int = ROWS_AT_A_TIME) -> Iterator[Sources]:
    """The rows of a table, some at a time; one empty block of an empty table."""
    for start in range(0, max(table.num_rows, 1), rows):
        yield Sources(table.slice(start, rows).combine_chunks())


class DrawnSources:
    """The same rows, with draws of the proxies in place of the proxies' medians."""

    def __init__(self, sources: Sources, draws: dict[str, np.ndarray]) -> None:
        self.sources = sources
        self.draws = draws

    def column(self, column: f.ColumnValue) -> np.ndarray:
        if column.is_drawn:
            return self.draws[column.name]
        return self.sources.column(column)[:, None]

    def integers(self, column: f.ColumnValue) -> tuple[np.ndarray, np.ndarray]:
        values, known = self.sources.integers(column)
        return values[:, None], known[:, None]

    def flags(self, column: f.ColumnValue, value: bool) -> np.ndarray:
        return self.sources.flags(column, value)[:, None]

    def text(self, column: f.ColumnValue) -> tuple[np.ndarray, pa.Array]:
        codes, words = self.sources.text(column)
        return codes[:, None], words

    def missing(self, column: f.ColumnValue) -> np.ndarray:
        if column.is_drawn:
            return np.isnan(self.draws[column.name])
        return self.sources.missing(column)[:, None]

    def found(self, lookup: f.Lookup) -> np.ndarray:
        return self.sources.found(lookup)[:, None]

    def calculated(self, number: f.Calculated) -> np.ndarray:
        return self.sources.calculated(number)[:, None]

    def quantile(self, quantile: f.Quantile) -> np.ndarray:
        return self.sources.quantile(quantile)[:, None]


def _as_numpy(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)


def _matrix(lists: pa.Array, name: str, width: int) -> np.ndarray:
    """A column of lists as a matrix, shape (N, width), NaN where null; a view where it can be.

    Raises
    ------
    CatalogError
        If the lists are not that long.
    """
    flat = _as_numpy(lists.flatten())
    known = len(lists) - lists.null_count
    if flat.size != known * width:
        raise CatalogError(
            f"column '{name}' does not hold {width} numbers per source; score the catalog again "
            "with this version of targetsel"
        )
    if known == len(lists):
        return flat.reshape(-1, width)
    matrix = np.full((len(lists), width), np.nan, dtype=flat.dtype)
    matrix[_as_numpy(lists.is_valid())] = flat.reshape(-1, width)
    return matrix


def columns_read(formula: f.Formula, schema: pa.Schema) -> set[str]:
    """The columns of a scored file that it takes to evaluate a formula, those of posteriors too."""
    read = {column.name for column in f.columns(formula)}
    for part in f.walk(formula):
        if isinstance(part, f.Quantile):
            read |= {
                part.name,
                part.name + QUANTILES,
                part.name + FINE,
            }  # the median says whether it is missing
        elif isinstance(part, f.Probability):
            involved = f.proxies(part)
            lines = any(of_line(name) for name in involved)
            following = stored_following(schema) if lines else None
            if following is not None and any(name in following for name in involved):
                read |= {CONTINUUM, REDDENING, *(name + QUANTILES for name in involved)}
                involved = following.drawn(involved)
            if len(involved) > 1:
                copula = stored_copula(schema.field(GROUP)) if GROUP in schema.names else None
                drawn = involved
                if copula is not None:
                    drawn = {*copula.needed(tuple(involved))}
                    involved = copula.valued(tuple(involved))
                read |= {GROUP, *(name + CORRELATION for name in drawn)}
            read |= {name + end for name in involved for end in (QUANTILES, FINE)}
    return read & {*schema.names}
