import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import HandoffError
from targetsel.handoff.prepare import prepare
from targetsel.handoff.text_lists import degrees, from_sexagesimal, hours, known_bands
from targetsel.photometry.bands import Band
from tests.handoff.lists_by_hand import settings, target_list
from tests.handoff.test_handoff_prepare import tool


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


def table(tool_name: str):
    targets = target_list()
    return prepare(targets, tool(name=tool_name), settings(tool()))


def test_bands_that_the_list_has_come_in_the_order_wanted():
    r, i, g = Band("r", "sdss"), Band("i", "sdss"), Band("g", "sdss")
    assert known_bands(table("thing"), [r, i, g]) == [r, g]


def test_no_flux_in_any_band_is_an_error_that_names_both_sides():
    with pytest.raises(
        HandoffError,
        match=r"no flux in any filter that 'thing' knows: it has flux_g_sdss, flux_r_sdss, "
        r"expected one of flux_z_ps1 \[nJy\]\.$",
    ):
        known_bands(table("thing"), [Band("z", "ps1")])
