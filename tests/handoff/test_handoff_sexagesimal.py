import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.handoff.sexagesimal import degrees, from_sexagesimal, hours


def test_150_degrees_are_ten_hours():
    assert hours(np.array([150.0]), 2) == ["10:00:00.00"]


def test_rounding_never_writes_60_seconds_or_24_hours():
    assert hours(np.array([360 - 1e-9, 14.9999999999]), 2) == ["00:00:00.00", "01:00:00.00"]
    assert degrees(np.array([-0.99999999999]), 1) == ["-01:00:00.0"]


def test_declinations_just_south_of_the_equator_keep_their_sign():
    assert degrees(np.array([-0.5, 0.5]), 1, " ") == ["-00 30 00.0", "+00 30 00.0"]
    assert from_sexagesimal("-00 30 00.0") == -0.5


@given(st.floats(0, 360, exclude_max=True), st.floats(-90, 90))
def test_position_comes_back_within_a_thousandth_of_an_arcsec(ra, dec):
    back = 15 * from_sexagesimal(hours(np.array([ra]))[0])
    assert abs((back - ra + 180) % 360 - 180) * 3600 < 0.0005
    back = from_sexagesimal(degrees(np.array([dec]))[0])
    assert back == pytest.approx(dec, abs=0.0001 / 3600)
