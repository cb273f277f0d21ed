"""A list of sources as a night is planned from: its ids, values and exposure times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.documents.models import parse_quantity
from targetsel.errors import CatalogError, VisibilityError, close_or_known, did_you_mean
from targetsel.nights.adding import catalog_of
from targetsel.nights.sites import is_number
from targetsel.sky.catalog import PositionColumns
from targetsel.tables.any_form import AnyTable
from targetsel.tables.columns import column_named, floats, in_unit, numbers_named
from targetsel.tables.ids import exact_ids

PROBABILITY, CLASS, STATUS = "probability", "program", "plan_status"
IDS = ("target_id", "source_id")  # the columns of which the first that is there tells sources apart
PLANNED, DONE = "planned", "done"
LONGEST = 86_400.0  # [s]
_STEPS = 1_000_000  # of a degree: positions that agree so well are one source


@dataclass(frozen=True, eq=False)
class ListedSources:
    """N sources of a list.

    Attributes
    ----------
    place : Path
        Where they are from, for messages.
    table : pa.Table, N rows
    ra, dec : ndarray, shape (N,)
        Positions [deg, ICRS]; NaN where there is none.
    key : ndarray of str, shape (N,)
        The same for rows of the same source.
    footer : mapping
        What the list says of itself.
    """

    place: Path
    table: pa.Table
    ra: np.ndarray
    dec: np.ndarray
    key: np.ndarray
    footer: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, targets: AnyTable) -> ListedSources:
        """The sources of a list on disk or in memory.

        Raises
        ------
        CatalogError
            If it cannot be read, or has no positions.
        VisibilityError
            If it is a plan already.
        """
        place, table, footer = catalog_of(targets)
        if STATUS in table.column_names:
            raise VisibilityError(
                f"{place}: has a column '{STATUS}', so that it is a plan already. Give the target "
                "list, and the plan with --done."
            )
        return cls._of(place, table, footer)

    @classmethod
    def _of(cls, place: Path, table: pa.Table, footer: Mapping[str, Any]) -> ListedSources:
        ra, dec = np.empty(0), np.empty(0)
        if table.num_rows:  # a text file without rows does not tell that positions are numbers
            positions = PositionColumns(place, table.schema)
            ra, dec = positions.degrees(table)
            positions.finish()
        return cls(place, table, ra, dec, _keys(place, table, ra, dec), footer)

    def done_in(self, plans: Iterable[AnyTable]) -> np.ndarray:
        """Whether each source is planned, or done before, in one of the plans; shape (N,).

        Raises
        ------
        VisibilityError
            If a file is no plan.
        CatalogError
            If one cannot be read, or names its sources by another column than this list.
        """
        found = np.zeros(len(self.key), bool)
        for each in plans:
            place, table, footer = catalog_of(each)
            if STATUS not in table.column_names:
                raise VisibilityError(
                    f"{place}: has no column '{STATUS}', so that it is no plan; expected a table "
                    "that 'targetsel night' wrote. Give such a table with --done."
                )
            mine, its = id_column(self.table), id_column(table)
            if mine != its:
                raise CatalogError(
                    f"{place}: tells sources apart by {_told(its)}, and {self.place} by "
                    f"{_told(mine)}. Give plans of the same list, or rename the column."
                )
            status = table[STATUS].to_numpy(zero_copy_only=False).astype(str)
            plan = self._of(place, table, footer)
            found |= np.isin(self.key, plan.key[np.isin(status, (PLANNED, DONE))])
        return found

    def seconds(self, exposure: str) -> np.ndarray:
        """The exposure time of each source [s], shape (N,); NaN where it is unknown.

        Parameters
        ----------
        exposure : str
            A column, in its own unit or in s where it has none, or one time for all.

        Raises
        ------
        VisibilityError
            If it is neither.
        CatalogError
            If the column holds no numbers, or its unit is no time.
        """
        schema = self.table.schema
        if exposure in schema.names:
            column = numbers_named(schema, exposure, self.place, expected="exposure times")
            return floats(in_unit(self.table[exposure], column, "s", self.place))
        return np.full(len(self.key), self._fixed(exposure))

    def _fixed(self, exposure: object) -> float:
        try:
            found = seconds_of(exposure, "exposure")
        except VisibilityError as error:
            word = str(exposure)
            if word[:1].isdigit():
                raise
            hint = did_you_mean(word, self.table.column_names)
            raise VisibilityError(f"{self.place}: no column '{word[:40]}'.{hint} {error}") from None
        if not 0 < found <= LONGEST:
            raise VisibilityError(
                f"exposure is {found:g} s; expected more than 0, up to {LONGEST:g} s. Write it as "
                "in '20 min'."
            )
        return found

    def values(self, weights: Mapping[str, float]) -> np.ndarray:
        """The probability of each source times the weight of its class, shape (N,).

        Without a column of probabilities all are 1.

        Raises
        ------
        VisibilityError
            If a weight is negative, or there is no such class.
        CatalogError
            If there is no column of classes, or that of probabilities holds no numbers.
        """
        names = self.table.column_names
        if PROBABILITY in names:
            numbers_named(self.table.schema, PROBABILITY, self.place, expected="probabilities")
            value = floats(self.table[PROBABILITY])
        else:
            value = np.ones(len(self.key))
        if not weights:
            return value
        column_named(self.table.schema, CLASS, self.place)
        of_class = self.table[CLASS].to_numpy(zero_copy_only=False).astype(str)
        for name, weight in weights.items():
            if not (is_number(weight) and math.isfinite(weight) and weight >= 0):
                raise VisibilityError(
                    f"the weight of class '{name}' is {weight!r}; expected a finite number, 0 or "
                    "more. Give a class that is not wanted the weight 0."
                )
            if len(of_class) and name not in of_class:
                hint = close_or_known(name, sorted(set(of_class.tolist())))
                raise VisibilityError(f"{self.place}: no target is of class '{name}'.{hint}")
        return value * np.array([weights.get(each, 1.0) for each in of_class])

    def take(self, rows: np.ndarray) -> ListedSources:
        """Some of the sources, in the order of `rows`."""
        table = self.table.take(pa.array(rows, pa.int64()))
        return ListedSources(
            *(self.place, table, self.ra[rows], self.dec[rows], self.key[rows], self.footer)
        )


def seconds_of(time: object, what: str) -> float:
    """A time such as "20 min" in seconds.

    Raises
    ------
    VisibilityError
        If it is no time, or has no unit.
    """
    try:
        found = parse_quantity(time, "s", False) if isinstance(time, str) else None
    except ValueError:
        found = None
    if found is None or not math.isfinite(found):
        raise VisibilityError(
            f"{what} is '{str(time)[:40]}'; expected a number and its unit. Write it as in "
            "'20 min' or '900 s'."
        )
    return found


def id_column(table: pa.Table) -> str | None:
    """The column that tells sources apart; None where positions do."""
    return next((name for name in IDS if name in table.column_names), None)


def _told(column: str | None) -> str:
    return f"'{column}'" if column else "positions"


def _keys(place: Path, table: pa.Table, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """One text for each source: its id, or else its position."""
    steps = np.rint(np.stack([np.nan_to_num(ra), np.nan_to_num(dec)], axis=1) * _STEPS)
    steps[:, 0] %= 360 * _STEPS  # of the steps, as what is rounded up to 360 deg is at 0
    at = [f"at {x:.0f} {y:.0f}" for x, y in steps]
    name = id_column(table)
    if name is None:
        return np.array(at, dtype=str)
    ids = exact_ids(table[name], name, place).to_pylist()
    return np.array(
        [where if each is None else f"id {each}" for each, where in zip(ids, at, strict=True)],
        dtype=str,
    )
