"""The magnitude of the light in the middle of a cutout."""

import numpy as np
import pytest

from targetsel.imaging.brightness import central_magnitude, reference_band
from targetsel.imaging.cutout import Cutouts


def cutouts(flux):
    return Cutouts(np.arange(len(flux)), np.asarray(flux, np.float32), ("g", "r"), 0.25)


def test_a_hundred_nanomaggies_in_the_middle_are_of_magnitude_seventeen_and_a_half():
    flux = np.zeros((1, 2, 16, 16))
    flux[0, 1, 7:9, 7:9] = 25.0
    assert central_magnitude(cutouts(flux), "r") == pytest.approx(17.5)


def test_light_beyond_a_quarter_of_the_side_and_in_other_bands_does_not_count():
    flux = np.zeros((1, 2, 16, 16))
    flux[0, 1, 7:9, 7:9] = 25.0
    flux[0, 1, 0, 0] = flux[0, 1, 3, 8] = flux[0, 0, 8, 8] = 1000.0
    assert central_magnitude(cutouts(flux), "r") == pytest.approx(17.5)


def test_pixels_without_data_count_as_the_mean_of_the_others():
    flux = np.ones((2, 2, 16, 16))
    flux[1, 1, 8, 6:10] = np.nan
    whole, holed = central_magnitude(cutouts(flux), "r")
    assert holed == pytest.approx(whole, abs=1e-6)


def test_no_light_has_the_faintest_magnitude_and_no_data_none():
    flux = np.stack([np.full((2, 16, 16), -1.0), np.full((2, 16, 16), np.nan)])
    faint, nothing = central_magnitude(cutouts(flux), "r")
    assert faint == pytest.approx(27.5)
    assert np.isnan(nothing)


def test_the_reference_is_r_or_else_the_middle_band():
    assert reference_band(("g", "r", "i", "z", "y")) == "r"
    assert reference_band(("y", "j", "h")) == "j"
