"""Visibility against astroplan, which plans observations by astropy's own altitudes.

Times of astroplan are interpolated on a grid, here of one a minute. Of two events within its 24 h
from a time on, as a source has whose event lies in the first four minutes, it gives the second,
one sidereal day later.
"""

from __future__ import annotations

import socket
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from targetsel.nights.night import Night
from targetsel.nights.sites import Site
from targetsel.nights.visibility import Paths, Visibility, directions_of

Observer = pytest.importorskip("astroplan").Observer
PLACES = {
    "north": ("KPNO", "2027-03-14"),
    "south": ("Paranal", "2026-06-01"),
    "far east": ("AAT", "2027-09-10"),
    "high latitude": ("lat=69.65 lon=18.96 height=100", "2026-12-21"),
    "pole": ("lat=-90 lon=0 height=2835", "2026-06-21"),
}
GRID = 1441
SIDEREAL_DAY = 23.9345  # [h]


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """Nothing is downloaded: neither by us, nor by astroplan for its comparison."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of sources that never rise or set
        yield


def observer(site: Site):
    place = EarthLocation(site.longitude * u.deg, site.latitude * u.deg, site.height * u.m)
    return Observer(location=place)


def sky(n: int = 14) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(8)
    ra = np.concatenate([draw.uniform(0, 360, n), [0.0, 10.0]])
    return ra, np.concatenate([np.degrees(np.arcsin(draw.uniform(-1, 1, n))), [90.0, -89.0]])


def hours(time: Time, night: Night) -> np.ndarray:
    """Hours since the noon; NaN where there is no such time."""
    return (np.ma.filled(np.ma.asarray(time.mjd, dtype=float), np.nan) - night.noon) * 24


def asked_of(name: str) -> tuple[Visibility, Night, object]:
    site, date = PLACES[name]
    asked = Visibility.of(site, date)
    return asked, asked.nights[0], observer(asked.site)


@pytest.mark.parametrize("name", PLACES)
def test_the_airmass_at_the_best_time_is_that_of_astroplan(name):
    asked, _, theirs = asked_of(name)
    ra, dec = sky()
    found = asked.columns(ra, dec).to_pandas()
    rows = np.flatnonzero((found["airmass_min"] < 10).to_numpy())
    assert len(rows) >= 5
    when = Time(found["best_time"].dt.tz_localize(None).to_numpy()[rows], scale="utc")
    sources = SkyCoord(ra[rows] * u.deg, dec[rows] * u.deg)
    airmass = theirs.altaz(when, sources).secz.value
    assert found["airmass_min"].to_numpy()[rows] == pytest.approx(airmass, abs=0.01)


@pytest.mark.parametrize("name", PLACES)
def test_sources_come_up_when_astroplan_s_rise_and_go_down_when_they_set(name):
    asked, night, theirs = asked_of(name)
    ra, dec = sky()
    sources, (begin, end) = SkyCoord(ra * u.deg, dec * u.deg), night.dark[0]
    found = asked.columns(ra, dec).to_pandas()
    limit = 30 * u.deg  # airmass 2
    dark = Time(night.noon + begin / 24, format="mjd")
    risen, gone = (
        hours(event(dark, sources, which="next", horizon=limit, n_grid_points=GRID), night)
        for event in (theirs.target_rise_time, theirs.target_set_time)
    )
    up_first, up_last = (
        theirs.altaz(Time(night.noon + each / 24, format="mjd"), sources).alt > limit
        for each in (begin, end)
    )
    compared = 0
    for row, (rises, sets) in enumerate(zip(risen, gone, strict=True)):
        up = [found[each].dt.tz_localize(None).to_numpy()[row] for each in ("up_from", "up_until")]
        is_up = up_first[row] or rises < end
        assert np.isnat(up[0]) == (not is_up), row
        if not is_up:
            continue
        mine = hours(Time(np.array(up), scale="utc"), night)
        assert mine[0] * 60 == pytest.approx(60 * (begin if up_first[row] else rises), abs=2)
        last = end if up_last[row] else sets if sets > mine[0] else sets + SIDEREAL_DAY
        assert mine[1] * 60 == pytest.approx(60 * last, abs=2)
        compared += (not up_first[row]) + (not up_last[row])
    assert compared >= (0 if name == "pole" else 3)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize(("twilight", "limit"), [("astronomical", -18), ("civil", -6)])
def test_the_dark_begins_and_ends_as_in_astroplan(name, twilight, limit):
    site, date = PLACES[name]
    night = Visibility.of(site, date, twilight=twilight).nights[0]
    theirs = observer(night.site)
    noon = Time(night.noon, format="mjd")
    ends = [
        float(hours(event(noon, which="next", horizon=limit * u.deg, n_grid_points=GRID), night))
        for event in (theirs.sun_set_time, theirs.sun_rise_time)
    ]
    if np.isnan(ends).all():
        assert night.hours_dark == pytest.approx(24)
        return
    assert len(night.dark) == 1
    assert np.array(night.dark[0]) * 60 == pytest.approx(np.array(ends) * 60, abs=2)


@pytest.mark.parametrize("name", ["north", "south", "far east", "high latitude"])
def test_transits_are_those_of_astroplan(name):
    _, night, theirs = asked_of(name)
    ra, dec = (each[:-2] for each in sky())
    sources, noon = SkyCoord(ra * u.deg, dec * u.deg), Time(night.noon, format="mjd")
    when = theirs.target_meridian_transit_time(noon, sources, which="next", n_grid_points=GRID)
    mine = Paths.of(night, directions_of(ra, dec)).transit
    apart = (hours(when, night) - mine + SIDEREAL_DAY / 2) % SIDEREAL_DAY - SIDEREAL_DAY / 2
    assert np.abs(apart * 60).max() < 2


def test_of_two_risings_within_a_day_ours_is_the_first_which_astroplan_gives_from_earlier_on():
    _, night, theirs = asked_of("north")
    ra, dec = np.array([45.4]), np.array([-1.4])  # rises above 30 deg 2.5 min after the noon
    rises, _ = Paths.of(night, directions_of(ra, dec)).spans(0.5, 0.0, 24.0)
    first = float(np.nanmin(rises[rises > 0]))
    assert 0 < first < 24 - SIDEREAL_DAY
    source = SkyCoord(ra * u.deg, dec * u.deg)
    earlier = Time(night.noon - 1 / 24, format="mjd")
    when = theirs.target_rise_time(
        earlier, source, which="next", horizon=30 * u.deg, n_grid_points=GRID
    )
    assert float(np.ravel(hours(when, night))[0]) * 60 == pytest.approx(first * 60, abs=2)
