"""Nights: when it is dark at a site, and what the Moon does meanwhile.

A night has the date of the evening on which it begins, in local time by the site's longitude:
2027-03-14 lasts from the mean noon of that date to the next. It is dark while the Sun's centre is
below the altitude that a kind of twilight names; refraction is left out.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from targetsel.errors import VisibilityError, close_or_known
from targetsel.nights.ephemeris import FIRST, LAST, Ephemeris, last_known_day, mjd_of
from targetsel.nights.sites import Site

TWILIGHTS = {"astronomical": -18.0, "nautical": -12.0, "civil": -6.0}  # altitudes [deg]
MOST_NIGHTS = 366
SECONDS_A_YEAR = 1.0  # by which UT1 - UTC drifts at most
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_EXPECTED = "expected the date of its evening, such as 2027-03-14, or 2027-03-14/2027-03-20"

GivenNights = str | datetime.date | Iterable[str | datetime.date]


def dates_of(nights: GivenNights) -> tuple[datetime.date, ...]:
    """The dates of nights, in their order, each once.

    Parameters
    ----------
    nights : str, date, or several of them
        A date such as "2027-03-14", or the first and the last of a run, "2027-03-14/2027-03-20".

    Raises
    ------
    VisibilityError
        If a date is malformed, not in the calendar, or out of range, or if they are too many.
    """
    given = (
        list(nights) if isinstance(nights, Iterable) and not isinstance(nights, str) else [nights]
    )
    found = {date: None for each in given for date in _run(each)}
    if not found:
        raise VisibilityError(f"no night is given; {_EXPECTED}.")
    if len(found) > MOST_NIGHTS:
        raise VisibilityError(
            f"{len(found):,} nights are given; expected at most {MOST_NIGHTS}. Ask for fewer."
        )
    return tuple(sorted(found))


def _run(given: str | datetime.date) -> list[datetime.date]:
    if isinstance(given, datetime.date):
        text = given.isoformat()[:10]
    elif isinstance(given, str):
        text = given.strip()
    else:
        raise VisibilityError(
            f"night {given!r} is of type {type(given).__name__}; {_EXPECTED}, as text."
        )
    first, slash, last = text.partition("/")
    start = _date(first, text)
    end = _date(last, text) if slash else start
    if end < start:
        raise VisibilityError(f"nights '{text}' end before they begin; put the first date first.")
    count = (end - start).days + 1
    return [start + datetime.timedelta(days=k) for k in range(min(count, MOST_NIGHTS + 1))]


def _date(written: str, text: str) -> datetime.date:
    if not _DATE.fullmatch(written):
        raise VisibilityError(f"night '{text}' is no date; {_EXPECTED}.")
    try:
        date = datetime.date.fromisoformat(written)
    except ValueError:
        raise VisibilityError(f"night '{text}': there is no {written}; {_EXPECTED}.") from None
    if not FIRST <= date <= LAST:
        raise VisibilityError(
            f"night '{text}' is out of range; expected a date from {FIRST} to {LAST}."
        )
    return date


def altitude_of(twilight: str) -> float:
    """The Sun's altitude [deg] below which it is dark.

    Raises
    ------
    VisibilityError
        If there is no such twilight.
    """
    if twilight not in [*TWILIGHTS]:  # a list, as what is asked may be no text
        raise VisibilityError(
            f"unknown twilight '{twilight}'.{close_or_known(str(twilight), TWILIGHTS)} The Sun is "
            "then 18, 12 or 6 deg below the horizon; write one of these."
        )
    return TWILIGHTS[twilight]


@dataclass(frozen=True)
class Night:
    """One night at one site.

    Attributes
    ----------
    site : Site
    date : date
        Of the evening, at the site.
    twilight : str
        A key of `TWILIGHTS`.
    """

    site: Site
    date: datetime.date
    twilight: str = "astronomical"

    def __str__(self) -> str:
        return f"{self.date} at {self.site}"

    @property
    def noon(self) -> float:
        """The mean local noon with which the night's day begins [MJD, UTC]."""
        return mjd_of(self.date) + 0.5 - self.site.longitude / 360

    @cached_property
    def ephemeris(self) -> Ephemeris:
        site = self.site
        return _ephemeris(self.noon, site.longitude, site.latitude, site.height)

    @cached_property
    def sun_altitudes(self) -> np.ndarray:
        """Altitudes of the Sun [deg], shape (T,), at the hours of the ephemeris."""
        return self._altitudes(self.ephemeris.sun)

    @cached_property
    def moon_altitudes(self) -> np.ndarray:
        """Altitudes of the Moon [deg], as those of the Sun."""
        return self._altitudes(self.ephemeris.moon)

    def _altitudes(self, directions: np.ndarray) -> np.ndarray:
        sky = self.ephemeris
        sine = sky.sine_of_altitude(directions, sky.hours)
        return np.degrees(np.arcsin(np.clip(sine, -1, 1)))

    @cached_property
    def dark(self) -> tuple[tuple[float, float], ...]:
        """When it is dark: starts and ends, in hours since the noon; mostly one pair."""
        return self.sun_below(altitude_of(self.twilight))

    def sun_below(self, altitude: float) -> tuple[tuple[float, float], ...]:
        """When the Sun is below an altitude [deg]: starts and ends, in hours since the noon."""
        return _below(self.sun_altitudes - altitude, self.ephemeris.hours)

    @property
    def moon_above(self) -> tuple[tuple[float, float], ...]:
        """When the Moon is above the horizon: starts and ends, in hours since the noon."""
        return _below(-self.moon_altitudes, self.ephemeris.hours)

    @property
    def hours_dark(self) -> float:
        return sum(end - start for start, end in self.dark)

    @property
    def moon_lit(self) -> float:
        """The share of the Moon's disk that is lit in the middle of the dark."""
        middle = (self.dark[0][0] + self.dark[-1][1]) / 2
        return float(np.interp(middle, self.ephemeris.hours, self.ephemeris.illumination))

    def time(self, hours: np.ndarray | float) -> np.ndarray:
        """UTC, to the millisecond, at hours since the noon; NaT for NaN."""
        hours = np.asarray(hours, dtype=np.float64)
        known = np.isfinite(hours)
        start = round(self.noon * 86_400_000)
        since = np.rint(np.where(known, hours, 0) * 3_600_000).astype(np.int64)
        found = np.datetime64("1858-11-17", "ms") + (start + since).astype("timedelta64[ms]")
        return np.where(known, found, np.datetime64("NaT", "ms"))

    def without_darkness(self) -> str:
        """The reason why there is nothing to see on this night, and the next step."""
        lowest = float(self.sun_altitudes.min())
        darker = [name for name, limit in TWILIGHTS.items() if lowest < limit]
        step = f"take {darker[0]} twilight, or another night" if darker else "choose another night"
        return (
            f"night of {self}: it does not get dark. The Sun stays above "
            f"{altitude_of(self.twilight):g} deg ({self.twilight} twilight; at its lowest "
            f"{lowest:.1f} deg); {step}."
        )

    def summary(self) -> str:
        """When it is dark, and how much of the Moon is lit, on one line."""
        spans = " and ".join(
            f"{clock(self.time(start))} to {clock(self.time(end))}" for start, end in self.dark
        )
        return (
            f"night of {self}: dark {spans} UTC ({self.hours_dark:.1f} h, {self.twilight} "
            f"twilight), Moon {self.moon_lit:.0%} lit"
        )

    @property
    def caution(self) -> str:
        """What to know where the Earth's rotation is not predicted so far; empty elsewhere."""
        last = last_known_day()
        if self.date <= last:
            return ""
        years = (self.date - last).days / 365.25
        seconds = max(round(SECONDS_A_YEAR * years), 1)
        return (
            f"the Earth orientation data of astropy-iers-data are stale on {self.date}: they end "
            f"on {last}. UT1 - UTC is extrapolated, so that times may be wrong by {seconds} s; "
            "a newer astropy-iers-data reaches farther"
        )


def _below(values: np.ndarray, hours: np.ndarray) -> tuple[tuple[float, float], ...]:
    """When values, one at each of `hours`, are below zero: starts and ends."""
    is_below = values < 0
    change = np.flatnonzero(np.diff(is_below.astype(int)))
    share = values[change] / (values[change] - values[change + 1])
    edges = [float(each) for each in hours[change] + share * (hours[1] - hours[0])]
    if is_below[0]:
        edges.insert(0, 0.0)
    if is_below[-1]:
        edges.append(float(hours[-1]))
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def clock(time: np.ndarray) -> str:
    """A time to the nearest minute, such as "2027-03-15 02:55"."""
    nearest = (time + np.timedelta64(30, "s")).astype("datetime64[m]")
    return str(nearest).replace("T", " ")


@lru_cache(maxsize=64)
def _ephemeris(start: float, longitude: float, latitude: float, height: float) -> Ephemeris:
    return Ephemeris.of_day(start, longitude, latitude, height)
