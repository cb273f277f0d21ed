"""Visibility against astropy's own transformation to altitude and azimuth, and by hand."""

from __future__ import annotations

import datetime
from functools import lru_cache

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body, get_sun
from astropy.time import Time
from astropy.utils import iers

from targetsel.errors import VisibilityError
from targetsel.nights.night import Night
from targetsel.nights.sites import Site
from targetsel.nights.visibility import COLUMNS, Visibility

PLACES = {
    "north": (Site("north", -111.6, 31.96, 2120), "2027-03-14"),
    "south": (Site("south", -70.40, -24.63, 2635), "2026-06-01"),
    "new year": (Site("new year", -17.88, 28.76, 2332), "2026-12-31"),
    "date line": (Site("date line", 180.0, -40.0, 100), "2026-09-20"),
    "just west of it": (Site("just west of it", -179.9, 40.0, 0), "2026-09-20"),
    "polar night": (Site("polar night", 15.6, 78.2, 0), "2026-12-21"),
    "south pole": (Site("south pole", 0.0, -90.0, 2835), "2026-06-21"),
}
STEP = 3.0  # [min]


@pytest.fixture(autouse=True)
def _offline():
    """No table is downloaded for astropy, with which we compare."""
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        yield


def sky(n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Positions all over the sky, with both poles and their surroundings."""
    draw = np.random.default_rng(3)
    ra = np.concatenate([draw.uniform(0, 360, n), [0.0, 123.0, 10.0, 200.0]])
    dec = np.degrees(np.arcsin(draw.uniform(-1, 1, n)))
    return ra, np.concatenate([dec, [90.0, -90.0, 89.5, -89.5]])


class Grid:
    """A night of astropy's altitudes, one every `STEP` minutes."""

    def __init__(self, site: Site, date: str, ra: np.ndarray, dec: np.ndarray) -> None:
        place = EarthLocation(site.longitude * u.deg, site.latitude * u.deg, site.height * u.m)
        noon = Time(f"{date}T12:00:00", scale="utc") - site.longitude / 15 * u.hour
        self.times = noon + np.arange(0, 24 * 60 + STEP, STEP) * u.min
        self.frame = AltAz(obstime=self.times, location=place)
        self.dark = get_sun(self.times).transform_to(self.frame).alt.deg < -18
        self.sources = SkyCoord(ra * u.deg, dec * u.deg)
        self.altitude = self.sources[:, None].transform_to(self.frame[None, :]).alt.deg
        self.utc = self.times.datetime64.astype("datetime64[ms]")

    @property
    def airmass(self) -> np.ndarray:
        up = (self.altitude > 0) & self.dark
        return np.where(up, 1 / np.sin(np.radians(np.where(up, self.altitude, 1))), np.inf)


@lru_cache
def grid_of(name: str) -> Grid:
    return Grid(*PLACES[name], *sky())


def minutes(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.abs((found - expected).astype("timedelta64[ms]").astype(float)) / 60_000


@pytest.mark.parametrize("name", PLACES)
def test_airmass_and_times_are_those_of_astropy(name):
    site, date = PLACES[name]
    ra, dec = sky()
    grid = grid_of(name)
    found = Visibility.of(site, date).columns(ra, dec).to_pandas()
    best = grid.airmass.min(axis=1)
    up = np.isfinite(best)
    near_horizon = np.abs(grid.altitude[:, grid.dark].max(axis=1)) < 0.1
    known = found["airmass_min"].notna().to_numpy()
    assert (known == up)[~near_horizon].all()
    rows = np.flatnonzero(known & (best < 5))
    assert len(rows) > 8
    least = found["airmass_min"].to_numpy()[rows]
    assert (least < best[rows] + 0.002).all()
    when = Time(found["best_time"].dt.tz_localize(None).to_numpy()[rows], scale="utc")
    frame = AltAz(obstime=when, location=grid.frame.location)
    altitude = grid.sources[rows].transform_to(frame).alt.rad
    assert np.abs(least - 1 / np.sin(altitude)).max() < 0.002
    hours = (grid.airmass < 2).sum(axis=1) * STEP / 60
    assert np.abs(found["hours_up"] - hours).max() < 2 * STEP / 60
    rows = np.flatnonzero(hours > 0.1)
    first = grid.utc[(grid.airmass < 2)[rows].argmax(axis=1)]
    last = grid.utc[-1 - (grid.airmass < 2)[rows][:, ::-1].argmax(axis=1)]
    for column, expected in (("up_from", first), ("up_until", last)):
        times = found[column].dt.tz_localize(None).to_numpy()[rows]
        assert minutes(times, expected).max() < STEP + 0.1


@pytest.mark.parametrize("name", ["north", "south", "new year", "date line"])
def test_the_best_time_is_astropy_s_and_so_is_the_moon_then(name):
    site, date = PLACES[name]
    ra, dec = sky()
    grid = grid_of(name)
    found = Visibility.of(site, date).columns(ra, dec).to_pandas()
    rows = np.flatnonzero((grid.airmass.min(axis=1) < 10) & (np.abs(dec) < 85))
    times = found["best_time"].dt.tz_localize(None).to_numpy()[rows].astype("datetime64[ms]")
    assert minutes(times, grid.utc[grid.airmass[rows].argmin(axis=1)]).max() < STEP + 0.1
    when = Time(times, scale="utc")
    place = grid.frame.location
    frame = AltAz(obstime=when, location=place)
    moon = get_body("moon", when, place).transform_to(frame)
    apart = grid.sources[rows].transform_to(frame).separation(moon).deg
    assert np.abs(found["moon_sep"].to_numpy()[rows] - apart).max() < 0.02
    clear = np.abs(moon.alt.deg) > 0.1
    assert (found["moon_up"].to_numpy()[rows] == (moon.alt.deg > 0))[clear].all()


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize(("twilight", "limit"), [("astronomical", -18), ("civil", -6)])
def test_it_is_dark_when_astropy_s_sun_is_below_the_limit(name, twilight, limit):
    site, date = PLACES[name]
    grid = grid_of(name)
    altitude = get_sun(grid.times).transform_to(grid.frame).alt.deg
    night = Night(site, datetime.date.fromisoformat(date), twilight)
    assert np.abs(night.sun_altitudes[:: int(STEP)] - altitude).max() < 0.01
    hours = (altitude < limit)[:-1].sum() * STEP / 60
    assert night.hours_dark == pytest.approx(hours, abs=STEP / 60)


def one(site: Site, date: str, ra: float, dec: float, **limits: float) -> dict[str, object]:
    """The columns of one source."""
    found = Visibility.of(site, date, **limits).columns(np.array([ra]), np.array([dec]))
    return found.to_pylist()[0]


def test_a_source_that_sets_is_best_when_the_night_begins_and_one_that_rises_when_it_ends():
    site, date = PLACES["north"]
    night = Night(site, datetime.date.fromisoformat(date))
    begins, ends = night.dark[0]
    sky = night.ephemeris
    meridian_at = lambda hours: np.degrees(sky.sidereal + sky.rate * hours)  # noqa: E731
    sets = one(site, date, meridian_at(begins) - 30, 10.0)
    rises = one(site, date, meridian_at(ends) + 30, 10.0)
    assert sets["up_from"] == sets["best_time"] < sets["up_until"]
    assert rises["up_from"] < rises["best_time"] == rises["up_until"]
    apart = rises["best_time"] - sets["best_time"]
    assert apart.total_seconds() / 3600 == pytest.approx(ends - begins, abs=1e-3)


def test_the_celestial_pole_stays_where_the_latitude_puts_it():
    found = one(Site("here", 10.0, 50.0), "2027-03-14", 77.0, 90.0)
    assert found["airmass_min"] == pytest.approx(1 / np.sin(np.radians(50)), abs=0.004)
    assert found["hours_up"] == pytest.approx(
        Visibility.of(Site("here", 10.0, 50.0), "2027-03-14").nights[0].hours_dark, abs=1e-4
    )
    south = one(Site("here", 10.0, 50.0), "2027-03-14", 77.0, -90.0)
    assert south["hours_up"] == 0
    assert [south[each.name] for each in COLUMNS if each.name != "hours_up"] == [None] * 7


def test_a_circumpolar_source_is_up_all_through_a_polar_night():
    found = one(Site("near the pole", 0.0, 86.0), "2026-12-21", 40.0, 80.0)
    assert found["hours_up"] == pytest.approx(24.0, abs=1e-3)


def test_a_night_without_darkness_is_one_line_that_names_a_twilight_that_is():
    with pytest.raises(VisibilityError, match=r"it does not get dark.*choose another night"):
        Visibility.of(Site("Tromso", 18.96, 69.65), "2027-06-21")
    with pytest.raises(VisibilityError, match="take nautical twilight, or another night"):
        Visibility.of(Site("Hamburg", 10.0, 53.5), "2027-06-10")


def test_several_nights_add_their_hours_and_keep_the_best_of_all():
    site = PLACES["north"][0]
    each = [one(site, f"2027-03-{day}", 150.0, 20.0) for day in (13, 14, 15)]
    both = one(site, "2027-03-13/2027-03-15", 150.0, 20.0)
    assert both["hours_up"] == pytest.approx(sum(night["hours_up"] for night in each), abs=1e-5)
    assert both["airmass_min"] == min(night["airmass_min"] for night in each)
    assert both["up_from"] == min(night["up_from"] for night in each)


def test_sources_without_a_position_are_null_in_every_column_and_change_no_others():
    site, date = PLACES["north"]
    ra, dec = sky()
    whole = Visibility.of(site, date).columns(ra, dec)
    ra[3], dec[5], dec[7] = np.nan, np.nan, 99.0
    found = Visibility.of(site, date).columns(ra, dec)
    rows = np.arange(len(ra))
    lost = np.isin(rows, [3, 5, 7])
    for name in found.column_names:
        assert found[name].filter(lost).null_count == 3
    assert found.filter(~lost).equals(whole.filter(~lost))


def test_the_answer_does_not_depend_on_order_or_splitting():
    site, date = PLACES["south"]
    draw = np.random.default_rng(5)
    ra, dec = draw.uniform(0, 360, 70_001), draw.uniform(-90, 90, 70_001)
    asked = Visibility.of(site, date)
    whole = asked.columns(ra, dec)
    order = draw.permutation(len(ra))
    assert asked.columns(ra[order], dec[order]).equals(whole.take(order))
    assert asked.columns(ra[:777], dec[:777]).equals(whole[:777])


def test_a_horizon_limit_counts_as_the_airmass_at_that_altitude():
    site, date = PLACES["north"]
    by_horizon = one(site, date, 150.0, 20.0, airmass=40.0, horizon=30.0)
    by_airmass = one(site, date, 150.0, 20.0, airmass=2.0)
    assert by_horizon["hours_up"] == pytest.approx(by_airmass["hours_up"], abs=1e-5)


def test_no_sources_give_no_rows():
    found = Visibility.of("KPNO", "2027-03-14").columns(np.empty(0), np.empty(0))
    assert found.num_rows == 0
    assert found.column_names == [each.name for each in COLUMNS]


def test_nothing_is_asked_of_the_network_and_astropy_stays_as_the_user_set_it(monkeypatch):
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with iers.conf.set_temp("auto_download", True):
        Visibility.of("KPNO", "2049-03-14").columns(np.array([1.0]), np.array([2.0]))
        assert iers.conf.auto_download


def test_a_date_beyond_the_earth_orientation_data_has_a_caution_and_an_accuracy():
    asked = Visibility.of("KPNO", "2037-03-14")
    (caution,) = asked.cautions()
    assert "stale" in caution
    assert "times may be wrong by" in caution
    assert not [*Visibility.of("KPNO", "2025-03-14").cautions()]


def test_limits_may_be_numbers_of_numpy_and_are_refused_where_they_are_none():
    Visibility.of("KPNO", "2027-03-14", airmass=np.float32(1.5), horizon=np.int64(20))
    assert Site("a", np.float32(3.0), np.int64(4)).latitude == 4.0
    for limits in ({"airmass": "1.5"}, {"airmass": True}, {"horizon": None}, {"airmass": np.nan}):
        with pytest.raises(VisibilityError, match="limit is"):
            Visibility.of("KPNO", "2027-03-14", **limits)
    with pytest.raises(VisibilityError, match="unknown twilight"):
        Visibility.of("KPNO", "2027-03-14", twilight=["civil"])
    with pytest.raises(VisibilityError, match="its height is True"):
        Site("a", 3.0, 4.0, True)
