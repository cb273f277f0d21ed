"""Distances on the sky, and files that are joined by id but disagree about positions."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from targetsel.errors import CutoutError
from targetsel.sky.positions import check_same_places, separation

IDS = np.array([11, 12, 13])
RA, DEC = np.array([0.0, 150.0, 359.9999]), np.array([-20.0, 2.0, 89.9])


def test_separation_is_that_of_astropy():
    other = np.array([0.001, 330.0, 0.0001]), np.array([-20.0, -2.0, 89.9])
    expected = SkyCoord(RA, DEC, unit="deg").separation(SkyCoord(*other, unit="deg"))
    assert separation(RA, DEC, *other) == pytest.approx(expected.to_value(u.deg), abs=1e-6)


def test_positions_that_differ_by_less_than_the_stated_radius_are_of_one_source():
    check_same_places(IDS, (RA, DEC), (RA, DEC + 59 / 3600), "a", "b")
    check_same_places(IDS, (RA, DEC), (np.full(3, np.nan), DEC), "a", "b")


def test_declinations_that_lost_their_sign_are_refused_with_their_number_and_distance():
    message = (
        "^cutouts: 3 of 3 sources are over 60 arcsec from their positions in c.fits; "
        "the largest distance is 180 deg, of source 13"
    )
    with pytest.raises(CutoutError, match=message):
        check_same_places(IDS, (RA, DEC), (RA, -DEC), "cutouts", "c.fits", CutoutError)
