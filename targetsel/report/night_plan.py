"""What a page says of a night and its plan: times, the Moon, and the exposures in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.coordinates import Angle

from targetsel.errors import visible
from targetsel.nights.listed import CLASS, id_column
from targetsel.nights.night import TWILIGHTS, Night, clock
from targetsel.nights.plan import NightPlan
from targetsel.nights.visibility import Paths, Visibility, directions_of, moon_from
from targetsel.sky.catalog import PositionColumns
from targetsel.tables.columns import floats
from targetsel.tables.ids import exact_ids
from targetsel.tables.parquet import says_simulated

RISES = -0.833  # altitude [deg] of the Sun's centre at which its upper edge rises, with refraction
HEADINGS = ("", "target", "class", "begins", "ends", "exposure", "airmass", "Moon", "value", "ra",
            "dec")  # fmt: skip
_MJD_OF_UNIX = 40_587


@dataclass(frozen=True)
class PlannedExposures:
    """The K exposures of a plan, in their order, and their night.

    Attributes
    ----------
    asked : Visibility
        Of one night.
    plan : NightPlan
        Of all targets.
    planned : NightPlan
        Of the K that are exposed.
    ids : tuple of K strings
        Names of the targets.
    ra, dec : ndarray, shape (K,)
        Positions [deg, ICRS].
    start, end : ndarray, shape (K,)
        Hours since the noon before the night.
    """

    asked: Visibility
    plan: NightPlan
    planned: NightPlan
    ids: tuple[str, ...]
    ra: np.ndarray
    dec: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @classmethod
    def of(cls, plan: NightPlan, asked: Visibility) -> PlannedExposures:
        """The exposures of a plan, and what was asked for it."""
        planned = plan.planned
        table, place = planned.table, Path("the plan")
        ra, dec = np.empty(0), np.empty(0)
        if len(planned):
            ra, dec = PositionColumns(place, table.schema).degrees(table)
        named = id_column(table)
        names = exact_ids(table[named], named, place).to_pylist() if named else [None] * len(ra)
        noon = (asked.nights[0].noon - _MJD_OF_UNIX) * 24
        start, end = (
            floats(table[each].cast("timestamp[ms]").cast("int64")) / 3_600_000 - noon
            for each in ("plan_start", "plan_end")
        )
        ids = tuple("" if each is None else visible(str(each)) for each in names)
        return cls(asked, plan, planned, ids, ra % 360, dec, start, end)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def night(self) -> Night:
        return self.asked.nights[0]

    @property
    def paths(self) -> Paths:
        """The paths of the targets across the sky."""
        return Paths.of(self.night, directions_of(self.ra, self.dec))

    @property
    def title(self) -> str:
        return f"Night of {self.night.date} at {visible(str(self.night.site))}"

    @property
    def positions(self) -> list[tuple[str, str]]:
        """Right ascensions [h] and declinations [deg], sexagesimal."""
        ra = Angle(self.ra, "deg").to_string("hour", sep=":", precision=2, pad=True)
        dec = Angle(self.dec, "deg").to_string("deg", sep=":", precision=1, pad=True,
                                               alwayssign=True)  # fmt: skip
        return [*zip(np.atleast_1d(ra).tolist(), np.atleast_1d(dec).tolist(), strict=True)]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The exposures in words, under `HEADINGS`."""
        if not len(self):
            return []
        table = self.planned.table
        classes = table[CLASS].to_pylist() if CLASS in table.column_names else [None] * len(self)
        apart, is_up, _ = moon_from(self.night, self.paths, (self.start + self.end) / 2)
        seconds, airmass, value = (
            floats(table[f"plan_{each}"]) for each in ("exposure", "airmass", "value")
        )
        begins, ends = (self.night.time(each) for each in (self.start, self.end))
        return [
            (
                *(f"{k + 1}", self.ids[k], "" if classes[k] is None else visible(str(classes[k]))),
                *(_second(begins[k]), _second(ends[k]), _duration(seconds[k])),
                *(f"{airmass[k]:.2f}", f"{apart[k]:.0f}°" + " down" * (not is_up[k])),
                *(f"{value[k]:.3f}", *position),
            )
            for k, position in enumerate(self.positions)
        ]

    def facts(self) -> Iterator[str]:
        """Sentences about the site, the Moon and the plan."""
        site = self.night.site
        yield (
            f"{visible(site.title or str(site))}: longitude {site.longitude:.4f}°, latitude "
            f"{site.latitude:+.4f}°, {site.height:g} m. Times are UTC; positions are ICRS."
        )
        first, last = self.night.dark[0][0], self.night.dark[-1][1]
        hours, lit = self.night.ephemeris.hours, self.night.ephemeris.illumination
        waxes = np.interp(last, hours, lit) > np.interp(first, hours, lit)
        yield (
            f"Dark for {self.night.hours_dark:.1f} h ({self.night.twilight} twilight); Moon "
            f"{self.night.moon_lit:.0%} lit, {'waxing' if waxes else 'waning'}."
        )
        if says_simulated(self.plan.footer):
            yield "The images or spectra by which the targets were chosen are SIMULATED."
        for line in self.plan.summary().splitlines():
            if line != self.night.summary():
                yield f"{line[0].upper()}{line[1:]}."

    def times(self) -> list[tuple[str, str]]:
        """When it is how dark, and when the Moon is up."""
        named = [(f"Sun below {limit:g}°, {name}", limit) for name, limit in TWILIGHTS.items()]
        spans = [("Sun set", self.night.sun_below(RISES))]
        spans += [(name, self.night.sun_below(limit)) for name, limit in reversed(named)]
        spans.append(("Moon above the horizon", self.night.moon_above))
        return [(name, self._span(found)) for name, found in spans]

    def _span(self, found: Sequence[tuple[float, float]]) -> str:
        last = float(self.night.ephemeris.hours[-1])
        if not found:
            return "never"
        if found == ((0.0, last),):
            return "from noon to noon"
        return ", ".join(
            f"{'noon' if start == 0 else clock(self.night.time(start))} to "
            f"{'noon' if end == last else clock(self.night.time(end))}"
            for start, end in found
        )


def _second(time: np.ndarray) -> str:
    nearest = (time + np.timedelta64(500, "ms")).astype("datetime64[s]")
    return str(nearest)[5:].replace("T", " ")


def _duration(seconds: float) -> str:
    minutes = f"{seconds / 60:.1f}".removesuffix(".0")
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min"
