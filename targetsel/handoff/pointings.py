"""The plan of one night with a fiber instrument: where to point, when, and whom fibers reach.

Pointings are found one after another among the targets that are left, each where the best targets
that there are fibers for are of most value per time (`handoff.densest`), with fibers as the
simulation gives them (`handoff.simulation`): the most valuable target first. Of many such pointings
a sequence of high value is chosen (`nights.schedule`). Then its pointings get their fibers anew, as
the pointings that were not chosen have set their targets free. The whole field is above the limits
over the whole exposure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import VisibilityError, counted, unknown
from targetsel.handoff.densest import DensestSearch
from targetsel.handoff.simulation import INSTRUMENTS, Instrument, TargetsInOrder, forecast_at
from targetsel.nights.listed import CLASS, IDS, PLANNED, STATUS
from targetsel.nights.plan import (
    OVERHEAD,
    NightPlan,
    NightSources,
    airmass_at,
    around_transit,
    not_planned,
    possible_exposures,
    told,
)
from targetsel.nights.schedule import PossibleExposures, begins, most_valuable
from targetsel.nights.sites import Site
from targetsel.nights.visibility import Paths, Visibility, directions_of
from targetsel.tables.any_form import AnyTable
from targetsel.tables.columns import Column, schema_of
from targetsel.tables.parquet import write_table

SLIT = "slit"
NEARBY = 0.1  # between sites of one observatory [deg]
MOST_FOUND = 400  # pointings to choose from
TIMES_THE_NIGHT = 3  # as many are found as fill so many nights
SHARES_SERVED = (
    1.0,
    0.9,
    0.75,
    0.5,
)  # of the targets, whose exposures a pointing is long enough for
_TIME = pa.timestamp("ms", tz="UTC")
COLUMNS = (
    Column("plan_order", pa.int32(), "", "meta.number", "place in the night, from 1", "never"),
    Column("ra", pa.float64(), "deg", "pos.eq.ra", "centre of the field, ICRS", "never"),
    Column("dec", pa.float64(), "deg", "pos.eq.dec", "centre of the field, ICRS", "never"),
    Column("plan_start", _TIME, "", "time.start;obs.exposure", "UTC at which it begins", "never"),
    Column("plan_end", _TIME, "", "time.end;obs.exposure", "UTC at which it ends", "never"),
    Column(
        "plan_airmass", pa.float32(), "", "obs.airMass",
        "airmass of the centre at the middle of the exposure, without refraction", "never",
        range=(1.0, np.inf),
    ),
    Column(
        "plan_exposure", pa.float32(), "s", "time.duration;obs.exposure", "exposure time", "never",
        range=(0.0, np.inf),
    ),
    Column("plan_targets", pa.int32(), "", "meta.number", "targets with a fiber", "never"),
    Column(
        "plan_value", pa.float32(), "", "stat.weight",
        "sum of their probabilities times the weights of their classes", "never",
    ),
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class PointingPlan(NightPlan):
    """Targets by pointing, and after them those that are not planned.

    Attributes
    ----------
    table : pa.Table, N rows
        The list's columns, and those of the plan after them; targets of one pointing have the same
        ``plan_order``, ``plan_start`` and ``plan_end``.
    remarks : tuple of str
        When it is dark, what is planned, why the others are not, and how fibers were given.
    footer : dict
        That of the list, with what was asked under "night".
    pointings : pa.Table, K rows
        The pointings, with the columns of `COLUMNS`.
    """

    pointings: pa.Table = field(default_factory=lambda: schema_of(COLUMNS).empty_table())

    def _of(self, table: pa.Table) -> PointingPlan:
        return PointingPlan(table, self.remarks, self.footer, self.pointings)

    @property
    def exposures(self) -> NightPlan:
        """The pointings as the exposures of a plan, for its page."""
        table, n = self.pointings, self.pointings.num_rows
        takes = [counted(each, "target") for each in table["plan_targets"].to_pylist()]
        named = {
            IDS[0]: [f"pointing {k + 1}" for k in range(n)],
            CLASS: takes,
            STATUS: [PLANNED] * n,
        }
        for name, values in named.items():
            table = table.append_column(name, pa.array(values, pa.string()))
        return _PointingsAsPlan(table, tuple(self.summary().splitlines()), self._notes())

    def write_pointings(self, path: Path) -> None:
        """Write the pointings in the format of the path's ending.

        Raises
        ------
        OutputError
            If the format is unknown, or the place cannot be written.
        """
        write_table(self.pointings, path, self._notes())

    def summary(self) -> str:
        """The numbers of pointings and of targets with a fiber, and the remarks."""
        head = counted(self.pointings.num_rows, "pointing")
        return "\n".join([head, super().summary()])


class _PointingsAsPlan(NightPlan):
    """Pointings as exposures; the remarks are all that is said of the plan."""

    def summary(self) -> str:
        return "\n".join(self.remarks)


def find_instrument(name: str) -> Instrument | None:
    """The fiber instrument of this name, or None for a single slit.

    Raises
    ------
    VisibilityError
        If there is none; it suggests a close name, or lists them all.
    """
    if name == SLIT:
        return None
    if name not in [*INSTRUMENTS]:  # a list, as what is asked may be no text
        raise VisibilityError(unknown("instrument", str(name), [SLIT, *INSTRUMENTS]))
    return INSTRUMENTS[name]


def plan_pointings(
    targets: AnyTable,
    asked: Visibility,
    exposure: str,
    instrument: Instrument,
    *,
    overhead: str = OVERHEAD,
    weights: Mapping[str, float] | None = None,
    done: Iterable[AnyTable] = (),
) -> PointingPlan:
    """A plan of one night with a fiber instrument.

    Parameters
    ----------
    targets, asked, overhead, weights, done
        As for `plan_night`.
    exposure : str
        One time for all pointings, or a column of exposure times. A pointing is then as long as
        the exposures of all, 90 %, 75 % or half of the targets, whichever brings most value per
        time, and targets that need more get no fiber in it.
    instrument : Instrument

    Raises
    ------
    VisibilityError, CatalogError
        As of `plan_night`.
    """
    sources = NightSources.read(
        targets, asked, exposure,
        instrument=instrument.name, overhead=overhead, weights=weights, done=done,
    )  # fmt: skip
    return _PointingNight(sources, instrument).plan()


@dataclass(frozen=True)
class _Fields:
    """K pointings: their centres [deg], exposure times [s] and values."""

    ra: np.ndarray
    dec: np.ndarray
    seconds: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.ra)

    def take(self, rows: np.ndarray) -> _Fields:
        return _Fields(self.ra[rows], self.dec[rows], self.seconds[rows], self.value[rows])


@dataclass(frozen=True)
class _PointingNight:
    """What pointings are planned from."""

    night: NightSources
    instrument: Instrument

    @cached_property
    def limit(self) -> float:
        """The sine of the altitude that centres must be above, so that the whole field is.

        Above 1 where no field is.
        """
        lowest = np.degrees(np.arcsin(self.night.asked.limit)) + self.instrument.diameter / 2
        return float(np.sin(np.radians(lowest))) if lowest < 90 else 2.0

    @cached_property
    def sources(self) -> TargetsInOrder:
        """The targets in the order of their values; equal ones in that of the night's sources."""
        value, listed = np.nan_to_num(self.night.value), self.night.listed
        rank = np.empty(len(value), dtype=int)
        rank[np.argsort(-value, kind="stable")] = np.arange(len(value))
        return TargetsInOrder(np.nan_to_num(listed.ra), np.nan_to_num(listed.dec), rank)

    def plan(self) -> PointingPlan:
        night = self.night
        given = night, night.paths, night.seconds, night.value
        is_up, at_all = possible_exposures(*given)
        status = night.status(is_up, at_all.possible)
        usable = status == "no time"
        _, amid = possible_exposures(*given, self.limit)
        status[usable] = "no fiber"
        found = self._found(usable & amid.possible)
        paths, exposures = self._exposures(found)
        sequence = most_valuable(exposures)
        wanted = around_transit(night, paths, found.seconds, exposures)
        start = begins(exposures, sequence, wanted)
        chosen = found.take(sequence.row)
        takes = self._taken(chosen, usable)
        in_plan = np.flatnonzero(takes >= 0)
        status[in_plan] = PLANNED
        seconds = night.seconds.copy()
        seconds[in_plan] = chosen.seconds[takes[in_plan]]
        ordered = in_plan[np.lexsort((self.sources.rank[in_plan], takes[in_plan]))]
        of = takes[ordered]
        order = np.concatenate([ordered, not_planned(status)]).astype(np.int64)
        table = night.table(order, of + 1, start[of] if len(of) else of, seconds, status)
        middle = (start + chosen.seconds / 2 - night.midnight) / 3600
        airmass = airmass_at(paths, sequence.row, middle)
        pointings = self._table(chosen, start, airmass, takes)
        remarks = [*night.asked.remarks(), *self._told(pointings, status)]
        return PointingPlan(table, tuple(remarks), night.footer, pointings)

    def _durations(self, usable: np.ndarray) -> np.ndarray:
        """The exposure times that pointings may have [s], the longest first."""
        seconds = self.night.seconds[usable]
        return np.unique(np.quantile(seconds, SHARES_SERVED, method="higher"))[::-1]

    def _found(self, usable: np.ndarray) -> _Fields:
        """Pointings among the targets that are usable, none of which gets a fiber twice."""
        left, kept = usable.copy(), []
        if usable.any():
            durations = self._durations(usable)
            hours = self.night.asked.nights[0].hours_dark
            shortest = durations[-1] + self.night.overhead
            n = int(min(MOST_FOUND, TIMES_THE_NIGHT * hours * 3600 / shortest + 8))
            searches = {each: self._search(left, each) for each in durations.tolist()}
            for _ in range(n):
                best = self._best(searches, left)
                if best is None:
                    break
                ra, dec, seconds, value, assigned = best
                kept.append((ra, dec, seconds, value))
                left &= ~assigned
                for each, search in searches.items():
                    search.recount(left & (self.night.seconds <= each), ra, dec)
        return _Fields(*np.array(kept, dtype=float).reshape(-1, 4).T)

    def _search(self, left: np.ndarray, seconds: float) -> DensestSearch:
        rows = left & (self.night.seconds <= seconds)
        return DensestSearch(self.sources, self.instrument, np.nan_to_num(self.night.value), rows)

    def _best(
        self, searches: Mapping[float, DensestSearch], left: np.ndarray
    ) -> tuple[float, float, float, float, np.ndarray] | None:
        """The pointing of most value per time, and whom its fibers reach; None without any."""
        best, most = None, 0.0
        for seconds, search in searches.items():
            ra, dec = search.best()
            wanted = left & (self.night.seconds <= seconds)
            assigned = forecast_at(self.sources, self.instrument, ra, dec, wanted).assigned
            value = float(np.sort(self.night.value[assigned]).sum())
            if value / (seconds + self.night.overhead) > most:
                most = value / (seconds + self.night.overhead)
                best = ra, dec, seconds, value, assigned
        return best

    def _exposures(self, found: _Fields) -> tuple[Paths, PossibleExposures]:
        """The paths of centres, and when their exposures may begin."""
        paths = Paths.of(self.night.asked.nights[0], directions_of(found.ra, found.dec))
        given = self.night, paths, found.seconds, found.value
        return paths, possible_exposures(*given, self.limit)[1]

    def _taken(self, chosen: _Fields, usable: np.ndarray) -> np.ndarray:
        """The pointing in which each target has a fiber, from 0, or -1 for none, shape (N,).

        Pointings take fibers in the order of their values.
        """
        takes = np.full(len(usable), -1)
        for k in np.argsort(-chosen.value, kind="stable").tolist():
            left = usable & (takes < 0) & (self.night.seconds <= chosen.seconds[k])
            at = chosen.ra[k], chosen.dec[k]
            takes[forecast_at(self.sources, self.instrument, *at, left).assigned] = k
        return takes

    def _table(
        self, chosen: _Fields, start: np.ndarray, airmass: np.ndarray, takes: np.ndarray
    ) -> pa.Table:
        """The pointings, with the columns of `COLUMNS`."""
        n = len(chosen)
        at = np.datetime64(self.night.asked.nights[0].date, "ms")
        begin = at + (start * 1000).astype("timedelta64[ms]")
        value = [np.sort(self.night.value[takes == k]).sum() for k in range(n)]
        columns = [
            *(np.arange(1, n + 1), chosen.ra, chosen.dec, begin),
            begin + np.rint(chosen.seconds * 1000).astype("timedelta64[ms]"),
            *(airmass, chosen.seconds, np.bincount(takes[takes >= 0], minlength=n), value),
        ]
        arrays = [
            pa.array(np.asarray(values)).cast(each.type)
            for each, values in zip(COLUMNS, columns, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=schema_of(COLUMNS))

    @property
    def _elsewhere(self) -> str:
        """A sentence where the instrument is at another place than the night's site; else empty."""
        if not self.instrument.site:
            return ""
        site, home = self.night.asked.site, Site.find(self.instrument.site)
        if math.hypot(site.longitude - home.longitude, site.latitude - home.latitude) < NEARBY:
            return ""
        return (
            f"{self.instrument.title} is at {home.title}, and the night is that of {site}; give "
            f"--site {home.name} for its own"
        )

    def _told(self, pointings: pa.Table, status: np.ndarray) -> list[str]:
        instrument = self.instrument
        elsewhere = self._elsewhere
        return [
            *([elsewhere] if elsewhere else []),
            *told(status, self.night.value, self.night.overhead, pointings.num_rows),
            f"fibers of {instrument.title} are simulated plainly, {instrument.n_fibers:,} for "
            f"targets in each pointing; {instrument.real_tool} decides on real ones",
        ]
