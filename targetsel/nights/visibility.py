"""Which sources are up at a site in the dark of one or several nights, for any number of sources.

A source moves about the pole at the sidereal rate. So its altitude h at the local sidereal time t
follows from its apparent place (right ascension a, declination d) and the latitude f:

    sin h = sin f sin d + cos f cos d cos(t - a)

The airmass is 1 / sin h, of plane parallel layers and without refraction. It is least at the
transit or, if that is not in the dark, at the start of the dark for a source that sets and at its
end for one that rises. The hour angle at which h reaches a limit has a closed form, too; no times
are sampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa

from targetsel.errors import VisibilityError
from targetsel.nights.night import GivenNights, Night, dates_of
from targetsel.nights.sites import Site, is_number
from targetsel.tables.columns import Column, schema_of

AIRMASS = 2.0  # the limit unless another is given
LARGEST_AIRMASS = 40.0
PIECE = 32_768  # sources at a time, whose arrays stay in the cache
_FULL = 2 * np.pi
_UP = "the source is not above the horizon limit in the dark, or has no position"
_TIME = pa.timestamp("ms", tz="UTC")

COLUMNS = (
    Column(
        "airmass_min", pa.float32(), "", "obs.airMass;stat.min",
        "least airmass in the dark, without refraction", _UP, range=(1.0, np.inf),
    ),
    Column(
        "hours_up", pa.float32(), "h", "time.duration;obs",
        "hours in the dark with the airmass below the limit, of all nights together",
        "the source has no position", range=(0.0, np.inf),
    ),
    Column("up_from", _TIME, "", "time.start", "UTC at which these hours begin", "they are 0"),
    Column("up_until", _TIME, "", "time.end", "UTC at which these hours end", "they are 0"),
    Column("best_time", _TIME, "", "time.epoch", "UTC of the least airmass in the dark", _UP),
    Column(
        "moon_sep", pa.float32(), "deg", "pos.angDistance",
        "angle to the Moon at best_time, from the site", _UP, range=(0.0, 180.0),
    ),
    Column("moon_up", pa.bool_(), "", "meta.code", "whether the Moon is up at best_time", _UP),
    Column(
        "moon_illumination", pa.float32(), "", "phys.angArea;arith.ratio",
        "share of the Moon's disk that is lit at best_time", _UP, range=(0.0, 1.0),
    ),
)  # fmt: skip
SCHEMA = schema_of(COLUMNS)


@dataclass(frozen=True)
class Visibility:
    """What is asked of the sky: a site, nights, and limits.

    Attributes
    ----------
    site : Site
    nights : tuple of Night
        In the order of their dates.
    airmass : float
        A source is up while its airmass is below.
    horizon : float
        Altitude [deg] that it must be above, too.
    """

    site: Site
    nights: tuple[Night, ...]
    airmass: float = AIRMASS
    horizon: float = 0.0

    @classmethod
    def of(
        cls,
        site: str | Site,
        night: GivenNights,
        *,
        airmass: float = AIRMASS,
        horizon: float = 0.0,
        twilight: str = "astronomical",
    ) -> Visibility:
        """The same from names, dates and numbers, checked.

        Raises
        ------
        VisibilityError
            If a site, a date or a limit cannot be understood, or it is dark on none of the nights.
        """
        place = Site.find(site)
        check_airmass(airmass)
        check_horizon(horizon)
        nights = tuple(Night(place, date, twilight) for date in dates_of(night))
        found = cls(place, nights, float(airmass), float(horizon))
        if not found.dark_nights:
            raise VisibilityError(nights[0].without_darkness())
        return found

    @classmethod
    def asked(
        cls,
        site: str | Site | None,
        night: GivenNights | None,
        *,
        airmass: float = AIRMASS,
        horizon: float = 0.0,
        twilight: str = "astronomical",
    ) -> Visibility | None:
        """What was asked where it need not be: None without a site and a night.

        Raises
        ------
        VisibilityError
            As of `of`, and if a site or a night is given without the other, or limits without both.
        """
        has_night = night is not None and night != "" and not (_is_sized(night) and not len(night))
        if site and has_night and night is not None:
            return cls.of(site, night, airmass=airmass, horizon=horizon, twilight=twilight)
        if site or has_night:
            given, lacking = ("--site", "--night") if site else ("--night", "--site")
            raise VisibilityError(f"{given} is given without {lacking}. Give both, or neither.")
        limits = {"--airmass": airmass != AIRMASS, "--horizon": horizon != 0}
        limits["--twilight"] = twilight != "astronomical"
        for name, is_given in limits.items():
            if is_given:
                raise VisibilityError(f"{name} is given without --site and --night. Add both.")
        return None

    @cached_property
    def dark_nights(self) -> tuple[Night, ...]:
        """The nights on which it gets dark."""
        return tuple(night for night in self.nights if night.dark)

    @property
    def key(self) -> str:
        """All that is asked, as text."""
        place = self.site
        dates = ",".join(str(night.date) for night in self.nights)
        return (
            f"{place.longitude!r},{place.latitude!r},{place.height!r};{dates};"
            f"{self.nights[0].twilight};{self.airmass!r};{self.horizon!r}"
        )

    def remarks(self) -> Iterator[str]:
        """Sentences about the nights: when it is dark, and what to be careful about."""
        shown = self.dark_nights if len(self.dark_nights) <= 3 else ()
        for night in shown:
            yield night.summary()
        if not shown:
            hours = sum(night.hours_dark for night in self.dark_nights)
            yield (
                f"{len(self.dark_nights)} nights at {self.site}, {self.nights[0].date} to "
                f"{self.nights[-1].date}: {hours:.1f} h dark"
            )
        for caution in self.cautions():
            yield f"caution: {caution}"

    def cautions(self) -> Iterator[str]:
        """What to be careful about: nights without darkness, and stale data."""
        light = [night for night in self.nights if not night.dark]
        if light:
            yield (
                f"it does not get dark on {len(light)} of {len(self.nights)} nights, the first is "
                f"{light[0].date}; they add no hours"
            )
        if self.nights[-1].caution:
            yield self.nights[-1].caution

    def provenance(self) -> dict[str, Any]:
        """What is said of it in a footer."""
        return {
            "site": self.site.name,
            "longitude": self.site.longitude,
            "latitude": self.site.latitude,
            "height": self.site.height,
            "nights": [str(night.date) for night in self.nights],
            "twilight": self.nights[0].twilight,
            "airmass": self.airmass,
            "horizon": self.horizon,
            "cautions": [*self.cautions()],
        }

    @property
    def limit(self) -> float:
        """The sine of altitude that a source must be above."""
        return max(1 / self.airmass, float(np.sin(np.radians(self.horizon))))

    def columns(self, ra: np.ndarray, dec: np.ndarray) -> pa.Table:
        """The columns of `COLUMNS` for N sources.

        Parameters
        ----------
        ra, dec : ndarray, shape (N,)
            Positions [deg, ICRS]; NaN where there is none.

        Returns
        -------
        pa.Table, N rows
        """
        pieces = [
            self._piece(ra[start : start + PIECE], dec[start : start + PIECE])
            for start in range(0, max(len(ra), 1), PIECE)
        ]
        return pa.concat_tables(pieces).combine_chunks()

    def _piece(self, ra: np.ndarray, dec: np.ndarray) -> pa.Table:
        ra, dec = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
        known = np.isfinite(ra) & (np.abs(dec) <= 90)
        directions = directions_of(np.where(known, ra, 0.0), np.where(known, dec, 0.0))
        lowest = np.sin(np.radians(self.horizon))
        best = _Best.none(len(ra))
        hours = np.zeros(len(ra))
        nothing = np.full(len(ra), np.datetime64("NaT", "ms"))
        first, last = nothing, nothing.copy()
        for night in self.dark_nights:
            paths = Paths.of(night, directions)
            best.improve(night, paths)
            for start, end in night.dark:
                up, begins, ends = paths.above(self.limit, start, end)
                hours += up
                begins, ends = night.time(begins), night.time(ends)
                first = np.where(np.isnat(first), begins, first)
                last = np.where(np.isnat(ends), last, ends)
        seen = known & (best.height > lowest)
        none = ~known | (hours == 0)
        with np.errstate(divide="ignore"):
            airmass = 1 / best.height
        values = {
            "airmass_min": (airmass.astype(np.float32), ~seen),
            "hours_up": (hours.astype(np.float32), ~known),
            "up_from": (first, none),
            "up_until": (last, none),
            "best_time": (best.time, ~seen),
            "moon_sep": (best.moon_sep.astype(np.float32), ~seen),
            "moon_up": (best.moon_up, ~seen),
            "moon_illumination": (best.illumination.astype(np.float32), ~seen),
        }
        arrays = [
            pa.array(found, each.type, mask=null)
            for each, (found, null) in zip(COLUMNS, values.values(), strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)


def check_airmass(limit: object) -> None:
    """Refuse a limit below which no airmass is, or one near the horizon, where 1 / sin h fails.

    Raises
    ------
    VisibilityError
    """
    if not is_number(limit) or not 1 < float(limit) <= LARGEST_AIRMASS:  # type: ignore[arg-type]
        raise VisibilityError(
            f"the airmass limit is {limit!r}; expected more than 1, and up to {LARGEST_AIRMASS:g}."
        )


def check_horizon(limit: object) -> None:
    """Refuse an altitude [deg] that nothing is above, or that is below the horizon.

    Raises
    ------
    VisibilityError
    """
    if not is_number(limit) or not 0 <= float(limit) < 90:  # type: ignore[arg-type]
        raise VisibilityError(
            f"the horizon limit is {limit!r}; expected an altitude of 0 or more, below 90 deg."
        )


def _is_sized(value: object) -> TypeGuard[Sized]:
    return isinstance(value, Sized) and not isinstance(value, str)


def directions_of(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors, as three arrays of shape (N,)."""
    ra, dec = np.radians(ra), np.radians(dec)
    across = np.cos(dec)
    return across * np.cos(ra), across * np.sin(ra), np.sin(dec)


@dataclass(frozen=True)
class Paths:
    """The paths of N sources across the sky of one night.

    Attributes
    ----------
    x, y, z : ndarray, shape (N,)
        Apparent places, as unit vectors.
    base, swing : ndarray, shape (N,)
        The sine of the altitude is base + swing cos(hour angle).
    transit : ndarray, shape (N,)
        Hours from the noon to the first transit.
    rate : float
        Of the hour angle [rad/h].
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    base: np.ndarray
    swing: np.ndarray
    transit: np.ndarray
    rate: float

    @classmethod
    def of(cls, night: Night, directions: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Paths:
        sky = night.ephemeris
        a, b, c = (each + shift for each, shift in zip(directions, sky.velocity, strict=True))
        size = np.sqrt(a * a + b * b + c * c)
        x, y, z = ((row[0] * a + row[1] * b + row[2] * c) / size for row in sky.matrix)
        base = np.sin(sky.latitude) * z
        swing = np.cos(sky.latitude) * np.sqrt(x * x + y * y)
        transit = np.mod(np.arctan2(y, x) - sky.sidereal, _FULL) / sky.rate
        return cls(x, y, z, base, swing, transit, sky.rate)

    def height(self, hours: float) -> np.ndarray:
        """Sines of the altitudes at hours since the noon."""
        return self.base + self.swing * np.cos(self.rate * (hours - self.transit))

    def highest(self, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """The largest sines of altitudes from `start` to `end`, and the hours of these."""
        day = _FULL / self.rate
        transit = self.transit + day * np.ceil((start - self.transit) / day)
        at_start, at_end = self.height(start), self.height(end)
        edge = np.where(at_end > at_start, end, start)
        crosses = transit <= end
        height = np.where(crosses, self.base + self.swing, np.maximum(at_start, at_end))
        return height, np.where(crosses, transit, edge)

    def above(
        self, limit: float, start: float, end: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hours with a sine of altitude above `limit` from `start` to `end`, and when these begin
        and end, NaN where there are none."""
        total = np.zeros(len(self.base))
        begins, ends = np.full(len(total), np.inf), np.full(len(total), -np.inf)
        for rises, sets in self._turns(limit, start, end):
            is_up = sets > rises
            total += np.where(is_up, sets - rises, 0.0)
            begins = np.where(is_up & (rises < begins), rises, begins)
            ends = np.where(is_up & (sets > ends), sets, ends)
        none = total == 0
        return total, np.where(none, np.nan, begins), np.where(none, np.nan, ends)

    def spans(self, limit: float, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Hours at which a source comes up and goes down again from `start` to `end`, (N, 3).

        It is up with a sine of altitude above `limit`; NaN where it is up less than three times.
        """
        turns = [*self._turns(limit, start, end)]
        begins, ends = (np.stack(each, axis=1) for each in zip(*turns, strict=True))
        never = ~(ends > begins)
        begins[never] = ends[never] = np.nan
        always = self.base - self.swing > limit  # whose turns touch
        begins[always], ends[always] = (start, np.nan, np.nan), (end, np.nan, np.nan)
        return begins, ends

    def _turns(
        self, limit: float, start: float, end: float
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """When sources rise and set around each transit, within `start` and `end`."""
        cosine = (limit - self.base) / np.maximum(self.swing, 1e-300)
        half = np.arccos(np.clip(cosine, -1, 1)) / self.rate
        day = _FULL / self.rate
        for turn in (-day, 0.0, day):
            rises = np.maximum(self.transit + (turn - half), start)
            sets = np.minimum(self.transit + (turn + half), end)
            yield rises, sets


@dataclass
class _Best:
    """The largest sine of altitude of each source in the dark so far, and the Moon at that time."""

    height: np.ndarray
    time: np.ndarray
    moon_sep: np.ndarray
    moon_up: np.ndarray
    illumination: np.ndarray

    @classmethod
    def none(cls, n: int) -> _Best:
        height, time = np.full(n, -np.inf), np.full(n, np.datetime64("NaT", "ms"))
        return cls(height, time, np.zeros(n), np.zeros(n, bool), np.zeros(n))

    def improve(self, night: Night, paths: Paths) -> None:
        """Take a night into account where a source gets higher than on those before."""
        height, hours = paths.highest(*night.dark[0])
        for start, end in night.dark[1:]:
            other, then = paths.highest(start, end)
            hours = np.where(other > height, then, hours)
            height = np.maximum(other, height)
        better = height > self.height
        separation, is_up, lit = moon_from(night, paths, hours)
        self.height = np.where(better, height, self.height)
        self.time = np.where(better, night.time(hours), self.time)
        self.moon_sep = np.where(better, separation, self.moon_sep)
        self.moon_up = np.where(better, is_up, self.moon_up)
        self.illumination = np.where(better, lit, self.illumination)


def moon_from(
    night: Night, paths: Paths, hours: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles to the Moon [deg], whether it is up, and the share that is lit, at given hours."""
    sky = night.ephemeris
    step = sky.hours[1] - sky.hours[0]
    place = np.minimum((hours / step).astype(np.intp), len(sky.hours) - 2)
    share = hours / step - place
    known = np.column_stack([sky.moon, sky.sine_of_altitude(sky.moon, sky.hours), sky.illumination])
    x, y, z, height, lit = (
        column[place] + share * (column[place + 1] - column[place]) for column in known.T.copy()
    )
    chord = np.sqrt((x - paths.x) ** 2 + (y - paths.y) ** 2 + (z - paths.z) ** 2)
    return 2 * np.degrees(np.arcsin(np.minimum(chord / 2, 1.0))), height > 0, lit
