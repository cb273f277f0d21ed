"""Dates of nights, twilights, and the Earth's rotation."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from targetsel.errors import VisibilityError
from targetsel.nights.ephemeris import last_known_day, mjd_of, ut1_minus_utc
from targetsel.nights.night import Night, altitude_of, dates_of
from targetsel.nights.sites import Site

DAY = datetime.date(2027, 3, 14)


def test_a_night_is_that_of_the_evening_at_the_site():
    east, west = Site("east", 180.0, 0.0), Site("west", -179.999, 0.0)
    assert str(Night(east, DAY).time(0)) == "2027-03-14T00:00:00.000"
    assert str(Night(west, DAY).time(0))[:16] == "2027-03-14T23:59"
    assert str(Night(Site("greenwich", 0.0, 50.0), DAY).time(0)) == "2027-03-14T12:00:00.000"


def test_a_longitude_of_360_less_is_the_same_night():
    assert Night(Site("a", 248.4, 31.0), DAY).noon == pytest.approx(
        Night(Site("a", -111.6, 31.0), DAY).noon
    )


def test_runs_and_repeated_dates_are_each_taken_once_and_in_order():
    given = ["2027-01-01", "2026-12-30/2027-01-02", DAY]
    assert [str(each) for each in dates_of(given)] == [
        "2026-12-30", "2026-12-31", "2027-01-01", "2027-01-02", "2027-03-14"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("2027-3-14", "is no date; expected the date of its evening"),
        ("14.03.2027", "is no date"),
        ("2027-02-30", "there is no 2027-02-30"),
        ("1969-07-20", "is out of range; expected a date from 1973-01-03 to 2050-12-31"),
        ("2051-01-01", "is out of range"),
        ("2027-03-14/2027-03-10", "end before they begin"),
        ("2027-03-14/", "is no date"),
        ("2020-01-01/2040-01-01", "expected at most 366"),
        ("", "is no date"),
        ([], "no night is given"),
        (20270314, "is of type int"),
        ([None], "is of type NoneType"),
        ("tonight", "is no date"),
    ],
)
def test_what_is_no_night_is_refused_in_one_line(given, message):
    with pytest.raises(VisibilityError, match=message):
        dates_of(given)


def test_an_unknown_twilight_has_a_suggestion():
    with pytest.raises(VisibilityError, match=r"twilight 'nautic'\. Did you mean 'nautical'"):
        altitude_of("nautic")


def test_ut1_minus_utc_is_that_of_the_iers_and_its_last_value_beyond():
    assert ut1_minus_utc(mjd_of(datetime.date(2020, 1, 1))) == pytest.approx(-0.177, abs=0.002)
    last = last_known_day()
    beyond = mjd_of(last) + 1000
    assert ut1_minus_utc(beyond) == ut1_minus_utc(mjd_of(last))


def test_hours_that_are_not_known_are_no_time():
    assert np.isnat(Night(Site("a", 0.0, 0.0), DAY).time(np.array([np.nan])))[0]


def test_the_summary_says_when_it_is_dark():
    said = Night(Site("here", 0.0, 0.0), DAY).summary()
    assert said.startswith("night of 2027-03-14 at here: dark 2027-03-14 19:")
    assert "Moon" in said
