"""The plan of one night with a single slit: which targets to expose, in which order and when.

A night is planned so that the sum of values is large. Every exposure lies in the dark, above the
horizon and below the airmass limit over its whole length. Before each, and after the dark has
begun, an overhead passes: slewing, acquisition and the readout of the exposure before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import VisibilityError, counted, unknown
from targetsel.nights.adding import WithRemarks
from targetsel.nights.ephemeris import mjd_of
from targetsel.nights.listed import DONE, LONGEST, PLANNED, STATUS, ListedSources, seconds_of
from targetsel.nights.schedule import PossibleExposures, begins, most_valuable
from targetsel.nights.visibility import Paths, Visibility, directions_of
from targetsel.tables.any_form import AnyTable
from targetsel.tables.columns import Column

INSTRUMENTS = ("slit",)
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
    listed = ListedSources.read(targets)
    seconds, value = listed.seconds(exposure), listed.values(dict(weights or {}))
    is_done = listed.done_in(done)
    rows = np.lexsort((listed.dec, listed.ra, seconds, -value, listed.key))
    chosen = _Night(asked, listed.take(rows), seconds[rows], value[rows], is_done[rows], before)
    settings = {
        **asked.provenance(), "instrument": "slit", "exposure": exposure, "overhead": before,
        "weights": dict(weights or {}), "done": int(is_done.sum()),
    }  # fmt: skip
    return chosen.plan(settings)


@dataclass(frozen=True)
class _Night:
    """N sources, those of the same source side by side, with what a plan needs of them.

    Times are seconds since midnight, UTC, of the night's date.
    """

    asked: Visibility
    listed: ListedSources
    seconds: np.ndarray
    value: np.ndarray
    is_done: np.ndarray
    overhead: float

    @property
    def _midnight(self) -> float:
        """The night's noon in seconds since midnight."""
        night = self.asked.nights[0]
        return (night.noon - mjd_of(night.date)) * 86_400

    def plan(self, settings: Mapping[str, Any]) -> NightPlan:
        known = np.isfinite(self.listed.ra)
        ra, dec = (np.where(known, each, 0.0) for each in (self.listed.ra, self.listed.dec))
        paths = Paths.of(self.asked.nights[0], directions_of(ra, dec))
        is_up, exposures = self._exposures(paths)
        status = self._status(known, is_up, exposures.possible)
        exposures.end[status != "no time"] = -1  # before every begin
        exposures.begin[status != "no time"] = 0
        sequence = most_valuable(exposures)
        day = 86_400 * 2 * np.pi / (24 * paths.rate)
        transit = paths.transit * 3600 + self._midnight
        middle = (exposures.begin.min(axis=1) + exposures.end.max(axis=1)) / 2
        transit = transit + day * np.rint((middle - transit) / day)
        wanted = np.rint(transit - np.nan_to_num(self.seconds) / 2).astype(np.int64)
        start = begins(exposures, sequence, wanted)
        status[sequence.row] = PLANNED
        left = np.setdiff1d(np.arange(len(status)), sequence.row)
        rank = {name: number for number, name in enumerate(STATUSES)}
        left = left[np.argsort([rank[each] for each in status[left]], kind="stable")]
        order = np.concatenate([sequence.row, left]).astype(np.int64)
        airmass = self._airmass(paths, sequence.row, start)
        table = self._table(order, start, airmass, status)
        remarks = [*self.asked.remarks(), *_told(status, self.value, self.overhead)]
        return NightPlan(table, tuple(remarks), {**self.listed.footer, "night": dict(settings)})

    def _exposures(self, paths: Paths) -> tuple[np.ndarray, PossibleExposures]:
        """Whether sources are up at all, and when their exposures may begin."""
        has_time = (self.seconds > 0) & (self.seconds <= LONGEST)
        whole = np.ceil(np.where(has_time, self.seconds, LONGEST)).astype(np.int64)
        before = math.ceil(self.overhead)
        begin, end, is_up = [], [], np.zeros(len(whole), bool)
        for dark in self.asked.nights[0].dark:
            first, last = (edge * 3600 + self._midnight for edge in dark)
            rises, sets = paths.spans(self.asked.limit, *dark)
            is_up |= np.isfinite(rises).any(axis=1)
            for up, down in zip(rises.T, sets.T, strict=True):
                never = ~np.isfinite(up)
                up, down = (np.nan_to_num(each) * 3600 + self._midnight for each in (up, down))
                begin.append(np.ceil(np.maximum(up, first + before)).astype(np.int64))
                until = np.floor(np.minimum(down, last)).astype(np.int64) - whole
                end.append(np.where(never, begin[-1] - 1, until))
        value = np.where(self.value > 0, self.value, 0.0)
        return is_up, PossibleExposures(
            np.stack(begin, axis=1), np.stack(end, axis=1), whole + before, value
        )

    def _status(self, known: np.ndarray, is_up: np.ndarray, fits: np.ndarray) -> np.ndarray:
        """Why each source cannot be planned, or "no time" where it can."""
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
            [*STATUSES][1:-1],
            [*STATUSES][-1],
        ).astype("U20")

    def _airmass(self, paths: Paths, row: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Airmasses at the middle of exposures, shape (K,)."""
        hours = (start + self.seconds[row] / 2 - self._midnight) / 3600
        turned = np.cos(paths.rate * (hours - paths.transit[row]))
        return 1 / (paths.base[row] + paths.swing[row] * turned)

    def _table(
        self, order: np.ndarray, start: np.ndarray, airmass: np.ndarray, status: np.ndarray
    ) -> pa.Table:
        """The list in the order of the plan, with the columns of `COLUMNS`."""
        n, planned = len(order), len(start)
        none = np.arange(n) >= planned
        midnight = np.datetime64(self.asked.nights[0].date, "ms")
        at = np.full(n, midnight)
        until, seen, seconds = at.copy(), np.ones(n), self.seconds[order]
        at[:planned] += (start * 1000).astype("timedelta64[ms]")
        lasting = np.rint(seconds[:planned] * 1000).astype("timedelta64[ms]")
        until[:planned] = at[:planned] + lasting
        seen[:planned] = airmass
        value = self.value[order]
        columns = [
            (np.arange(1, n + 1), none),
            (at, none),
            (until, none),
            (seen, none),
            (seconds, np.isnan(seconds)),
            (value, np.isnan(value)),
            (status[order].tolist(), None),
        ]
        table = self.listed.take(order).table
        for column, (found, null) in zip(COLUMNS, columns, strict=True):
            array = pa.array(found, mask=null) if null is not None else pa.array(found, pa.string())
            table = table.append_column(column.field, array.cast(column.type))
        return table


def check_instrument(name: str) -> None:
    """Refuse an instrument that nights cannot be planned for.

    Raises
    ------
    VisibilityError
    """
    if name not in INSTRUMENTS:
        raise VisibilityError(
            f"{unknown('instrument', name, INSTRUMENTS)} Nights are planned for a single slit. "
            "Use 'targetsel assign' to forecast pointings of fibers."
        )


def _told(status: np.ndarray, value: np.ndarray, overhead: float) -> list[str]:
    """What is planned, and how many are not for which reason."""
    planned = status == PLANNED
    lines = [
        f"{counted(int(planned.sum()), 'exposure')} of value {value[planned].sum():.2f}, with an "
        f"overhead of {overhead:g} s before each"
    ]
    for name, meaning in STATUSES.items():
        if n := int((status == name).sum() if name != PLANNED else 0):
            lines.append(f"{n:,} {name}: {meaning}")
    return lines
