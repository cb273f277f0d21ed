"""The plan of one night: which targets to expose with a single slit, in which order and when.

A night is planned so that the sum of values is large. Every exposure lies in the dark, above the
horizon and below the airmass limit over its whole length. Before each, and after the dark has
begun, an overhead passes: slewing, acquisition and the readout of the exposure before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa

from targetsel.errors import VisibilityError, counted
from targetsel.nights.adding import WithRemarks
from targetsel.nights.ephemeris import mjd_of
from targetsel.nights.listed import DONE, LONGEST, PLANNED, STATUS, ListedSources, seconds_of
from targetsel.nights.schedule import PossibleExposures, begins, most_valuable
from targetsel.nights.visibility import Paths, Visibility, directions_of
from targetsel.tables.any_form import AnyTable
from targetsel.tables.columns import Column

OVERHEAD = "5 min"
_TIME = pa.timestamp("ms", tz="UTC")
_NOT = "the source is not planned"
STATUSES = {
    PLANNED: "it is exposed on this night",
    DONE: "it was planned in a plan given with --done",
    "repeated": "another row is the same source",
    "no position": "the list has no position of it",
    "no exposure": "its exposure time is missing, or is not above 0",
    "no value": "its probability is missing, or its value is not above 0",
    "not up": "it is nowhere above the limits in the dark",
    "too long": "it is not up long enough for its exposure",
    "no time": "others of more value per time take the night",
    "no fiber": "no pointing of the night has a fiber for it",
}
COLUMNS = (
    Column("plan_order", pa.int32(), "", "meta.number", "place in the night, from 1", _NOT),
    Column("plan_start", _TIME, "", "time.start;obs.exposure", "UTC at which it begins", _NOT),
    Column("plan_end", _TIME, "", "time.end;obs.exposure", "UTC at which it ends", _NOT),
    Column(
        "plan_airmass", pa.float32(), "", "obs.airMass",
        "airmass at the middle of the exposure, without refraction", _NOT, range=(1.0, np.inf),
    ),
    Column(
        "plan_exposure", pa.float32(), "s", "time.duration;obs.exposure", "exposure time",
        "it is missing", range=(0.0, np.inf),
    ),
    Column(
        "plan_value", pa.float32(), "", "stat.weight",
        "probability times the weight of the class", "the probability is missing",
    ),
    Column(
        STATUS, pa.string(), "", "meta.code.status",
        "planned, or the reason why it is not: " + ", ".join([*STATUSES][1:]), "never",
    ),
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class NightPlan(WithRemarks):
    """Targets in the order of the night, and after them those that are not planned.

    Attributes
    ----------
    table : pa.Table, N rows
        The list's columns, and those of the plan after them.
    remarks : tuple of str
        When it is dark, what is planned, and why the others are not.
    footer : dict
        That of the list, with what was asked under "night".
    """

    @property
    def planned(self) -> NightPlan:
        """Only the targets that are planned."""
        return self[self[STATUS] == PLANNED]

    def summary(self) -> str:
        """The number of targets, how many are planned, and the remarks."""
        planned = int((self[STATUS] == PLANNED).sum())
        head = f"{counted(len(self), 'target')}, {planned:,} planned"
        return "\n".join([head, *self.remarks])


def plan_night(
    targets: AnyTable,
    asked: Visibility,
    exposure: str,
    *,
    overhead: str = OVERHEAD,
    weights: Mapping[str, float] | None = None,
    done: Iterable[AnyTable] = (),
) -> NightPlan:
    """A plan of one night with a single slit.

    Parameters
    ----------
    targets : str, Path or table
        A list with positions.
    asked : Visibility
        Of one night.
    exposure : str
        A column of exposure times, or one time for all such as "20 min".
    overhead : str
        Time before each exposure.
    weights : mapping of str to float, optional
        The weights of classes; those that are not named weigh 1.
    done : iterable of str, Path or table
        Plans of other nights, whose targets are left out.

    Raises
    ------
    VisibilityError
        If several nights are asked for, a time cannot be understood, or a class is unknown.
    CatalogError
        If the list or a plan cannot be read.
    """
    sources = NightSources.read(
        targets, asked, exposure, instrument="slit", overhead=overhead, weights=weights, done=done
    )
    return sources.plan()


@dataclass(frozen=True)
class NightSources:
    """N sources, those of the same source side by side, with what a plan needs of them.

    Times are seconds since midnight, UTC, of the night's date.

    Attributes
    ----------
    asked : Visibility
        Of one night.
    listed : ListedSources
    seconds, value : ndarray, shape (N,)
        Exposure times, and probabilities times weights of classes; NaN where they are missing.
    is_done : ndarray of bool, shape (N,)
        Whether a plan given with --done has them.
    overhead : float
        Seconds before each exposure.
    settings : mapping
        What was asked, for the footer.
    """

    asked: Visibility
    listed: ListedSources
    seconds: np.ndarray
    value: np.ndarray
    is_done: np.ndarray
    overhead: float
    settings: Mapping[str, Any]

    @classmethod
    def read(
        cls,
        targets: AnyTable,
        asked: Visibility,
        exposure: str,
        *,
        instrument: str,
        overhead: str = OVERHEAD,
        weights: Mapping[str, float] | None = None,
        done: Iterable[AnyTable] = (),
    ) -> Self:
        """The sources of a list; parameters and errors are those of `plan_night`."""
        if len(asked.nights) > 1:
            raise VisibilityError(
                f"{len(asked.nights)} nights are given; expected one. Plan the first, and give its "
                "plan with --done when you plan the next."
            )
        before = seconds_of(overhead, "overhead")
        if not 0 <= before <= LONGEST:
            raise VisibilityError(
                f"overhead is {before:g} s; expected 0 to {LONGEST:g} s. Write it as in '5 min'."
            )
        weights = {} if weights is None else weights
        if not isinstance(weights, Mapping):
            raise VisibilityError(
                f"weight is {str(weights)[:40]!r}; expected numbers by class. Write it as in "
                "{'ELG': 2}."
            )
        listed = ListedSources.read(targets)
        seconds, value = listed.seconds(exposure), listed.values(weights)
        is_done = listed.done_in(done)
        rows = np.lexsort((listed.dec, listed.ra, seconds, -value, listed.key))
        settings = {
            **asked.provenance(), "instrument": instrument, "exposure": exposure,
            "overhead": before, "weights": {name: float(each) for name, each in weights.items()},
            "done": int(is_done.sum()),
        }  # fmt: skip
        found = seconds[rows], value[rows], is_done[rows], before, settings
        return cls(asked, listed.take(rows), *found)

    @property
    def midnight(self) -> float:
        """The night's noon in seconds since midnight."""
        night = self.asked.nights[0]
        return (night.noon - mjd_of(night.date)) * 86_400

    @cached_property
    def paths(self) -> Paths:
        """The paths of the sources; where a position is missing, that of another place."""
        known = np.isfinite(self.listed.ra)
        ra, dec = (np.where(known, each, 0.0) for each in (self.listed.ra, self.listed.dec))
        return Paths.of(self.asked.nights[0], directions_of(ra, dec))

    def plan(self) -> NightPlan:
        """The plan of a single slit."""
        paths = self.paths
        is_up, exposures = possible_exposures(self, paths, self.seconds, self.value)
        status = self.status(is_up, exposures.possible)
        exposures.end[status != "no time"] = -1  # before every begin
        exposures.begin[status != "no time"] = 0
        sequence = most_valuable(exposures)
        start = begins(exposures, sequence, around_transit(self, paths, self.seconds, exposures))
        status[sequence.row] = PLANNED
        order = np.concatenate([sequence.row, not_planned(status)]).astype(np.int64)
        number = np.arange(1, len(sequence.row) + 1)
        table = self.table(order, number, start, self.seconds, status)
        remarks = [*self.asked.remarks(), *told(status, self.value, self.overhead)]
        return NightPlan(table, tuple(remarks), self.footer)

    @property
    def footer(self) -> dict[str, Any]:
        """That of the list, with what was asked under "night"."""
        return {**self.listed.footer, "night": dict(self.settings)}

    def status(self, is_up: np.ndarray, fits: np.ndarray) -> np.ndarray:
        """Why each source cannot be planned, or "no time" where it can, text of shape (N,).

        Parameters
        ----------
        is_up, fits : ndarray of bool, shape (N,)
            Whether a source is up at all, and long enough for its exposure.
        """
        known = np.isfinite(self.listed.ra)
        usable = known & np.isfinite(self.value) & (self.value > 0) & (self.seconds > 0)
        usable &= np.isfinite(self.seconds)
        # Of rows of one source the first that can be used counts, else the first.
        key = self.listed.key
        order = np.lexsort((~usable, key))
        repeated = np.zeros(len(key), bool)
        repeated[order[1:]] = key[order[1:]] == key[order[:-1]]
        repeated &= known | ~np.char.startswith(key, "at ")
        return np.select(
            [
                *(self.is_done, repeated, ~known),
                ~(np.isfinite(self.seconds) & (self.seconds > 0)),
                ~(np.isfinite(self.value) & (self.value > 0)),
                *(~is_up, ~fits),
            ],
            [*STATUSES][1:-2],
            "no time",
        ).astype("U20")

    def table(
        self,
        order: np.ndarray,
        number: np.ndarray,
        start: np.ndarray,
        seconds: np.ndarray,
        status: np.ndarray,
    ) -> pa.Table:
        """The list in the order of the plan, with the columns of `COLUMNS`.

        Parameters
        ----------
        order : ndarray of int, shape (N,)
            Rows, of which the first K are planned.
        number, start : ndarray of int, shape (K,)
            Place in the night, and begin.
        seconds, status : ndarray, shape (N,)
            In the order of the sources.
        """
        n, planned = len(order), len(start)
        none = np.arange(n) >= planned
        midnight = np.datetime64(self.asked.nights[0].date, "ms")
        place, at = np.zeros(n, np.int64), np.full(n, midnight)
        until, seen, lasting = at.copy(), np.ones(n), seconds[order]
        place[:planned] = number
        at[:planned] += (start * 1000).astype("timedelta64[ms]")
        until[:planned] = at[:planned] + np.rint(lasting[:planned] * 1000).astype("timedelta64[ms]")
        middle = (start + lasting[:planned] / 2 - self.midnight) / 3600
        seen[:planned] = airmass_at(self.paths, order[:planned], middle)
        value = self.value[order]
        columns = [
            (place, none),
            (at, none),
            (until, none),
            (seen, none),
            (lasting, np.isnan(lasting)),
            (value, np.isnan(value)),
            (status[order].tolist(), None),
        ]
        table = self.listed.take(order).table
        for column, (found, null) in zip(COLUMNS, columns, strict=True):
            array = pa.array(found, mask=null) if null is not None else pa.array(found, pa.string())
            table = table.append_column(column.field, array.cast(column.type))
        return table


def possible_exposures(
    night: NightSources,
    paths: Paths,
    seconds: np.ndarray,
    value: np.ndarray,
    limit: float | None = None,
) -> tuple[np.ndarray, PossibleExposures]:
    """Whether places are up at all, and when exposures there may begin.

    Parameters
    ----------
    night : NightSources
    paths : Paths
        Of K places.
    seconds, value : ndarray, shape (K,)
        Exposure times, and what the exposures are worth.
    limit : float, optional
        The sine of the altitude that they must be above; by default what was asked.

    Returns
    -------
    is_up : ndarray of bool, shape (K,)
    exposures : PossibleExposures
    """
    limit = night.asked.limit if limit is None else limit
    has_time = (seconds > 0) & (seconds <= LONGEST)
    whole = np.ceil(np.where(has_time, seconds, LONGEST)).astype(np.int64)
    before = math.ceil(night.overhead)
    begin, end, is_up = [], [], np.zeros(len(whole), bool)
    for dark in night.asked.nights[0].dark:
        first, last = (edge * 3600 + night.midnight for edge in dark)
        rises, sets = paths.spans(limit, *dark)
        is_up |= np.isfinite(rises).any(axis=1)
        for up, down in zip(rises.T, sets.T, strict=True):
            never = ~np.isfinite(up)
            up, down = (np.nan_to_num(each) * 3600 + night.midnight for each in (up, down))
            begin.append(np.ceil(np.maximum(up, first + before)).astype(np.int64))
            until = np.floor(np.minimum(down, last)).astype(np.int64) - whole
            end.append(np.where(never, begin[-1] - 1, until))
    worth = np.where(value > 0, value, 0.0)
    return is_up, PossibleExposures(
        np.stack(begin, axis=1), np.stack(end, axis=1), whole + before, worth
    )


def around_transit(
    night: NightSources, paths: Paths, seconds: np.ndarray, exposures: PossibleExposures
) -> np.ndarray:
    """The begins [s] with which the transits of K places are amid their exposures, shape (K,)."""
    day = 86_400 * 2 * np.pi / (24 * paths.rate)
    transit = paths.transit * 3600 + night.midnight
    middle = (exposures.begin.min(axis=1) + exposures.end.max(axis=1)) / 2
    transit = transit + day * np.rint((middle - transit) / day)
    return np.rint(transit - np.nan_to_num(seconds) / 2).astype(np.int64)


def airmass_at(paths: Paths, row: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """Airmasses of the places `row`, shape (K,), each at its hour since the noon."""
    turned = np.cos(paths.rate * (hours - paths.transit[row]))
    return np.asarray(1 / (paths.base[row] + paths.swing[row] * turned))


def not_planned(status: np.ndarray) -> np.ndarray:
    """The rows that are not planned, by their reasons."""
    rank = {name: number for number, name in enumerate(STATUSES)}
    left = np.flatnonzero(status != PLANNED)
    return left[np.argsort([rank[each] for each in status[left]], kind="stable")]


def told(
    status: np.ndarray, value: np.ndarray, overhead: float, exposures: int | None = None
) -> list[str]:
    """What is planned, and how many are not for which reason.

    Parameters
    ----------
    status, value : ndarray, shape (N,)
    overhead : float
        Seconds before each exposure.
    exposures : int, optional
        Their number, where it is not that of the targets.
    """
    planned = status == PLANNED
    n = int(planned.sum()) if exposures is None else exposures
    lines = [
        f"{counted(n, 'exposure')} of value {value[planned].sum():.2f}, with an "
        f"overhead of {overhead:g} s before each"
    ]
    for name, meaning in STATUSES.items():
        if n := int((status == name).sum() if name != PLANNED else 0):
            lines.append(f"{n:,} {name}: {meaning}")
    return lines
