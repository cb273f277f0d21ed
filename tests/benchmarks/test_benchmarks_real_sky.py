"""Numbers of the bar of real images, on cases that can be checked by hand."""

import numpy as np
import pytest
from image_numbers import SIGMA, _asymmetry, _gini, _m20, magnitude_and_colour
from real_sky import distance, jackknife


def test_evenly_spread_typicality_is_as_near_to_uniform_as_can_be():
    even = (np.arange(10) + 0.5) / 10
    assert distance(even[None]) == pytest.approx(0.05)
    assert distance(np.array([even, np.zeros(10)])) == pytest.approx((0.05 + 1.0) / 2)


def test_the_error_of_a_mean_is_that_of_independent_values():
    values = np.random.default_rng(0).normal(size=400)
    assert jackknife(400, lambda rows: float(values[rows].mean())) == pytest.approx(
        1 / 20, rel=0.15
    )


def test_gini_is_0_for_even_light_and_1_for_light_in_one_pixel():
    assert _gini(np.ones(50)) == pytest.approx(0)
    assert _gini(np.r_[np.zeros(49), 1.0]) == pytest.approx(1)


def test_m20_is_the_share_of_the_brightest_pixels_in_the_second_moment():
    light, square = np.array([1.0, 1, 1, 1, 1]), np.array([1.0, 2, 3, 4, 10])
    assert _m20(light, square) == pytest.approx(np.log10(1 / 20))


def test_light_that_half_a_turn_repeats_is_not_asymmetric_beyond_the_noise():
    rows, columns = np.indices((33, 33)) - 16.0
    light = 1000 * np.exp(-(rows**2 + 2 * columns**2) / 40)
    inside = np.hypot(rows, columns) < 12
    assert _asymmetry(light, 16, 16, inside) == pytest.approx(
        -1.128 * SIGMA[1] * inside.sum() / light[inside].sum(), rel=0.01
    )
    shifted = np.roll(light, 3, axis=0)
    assert _asymmetry(shifted, 16, 16, inside) > 0.3


def test_magnitude_and_colour_are_those_of_the_light_within_three_arcsec():
    flux = np.zeros((1, 5, 64, 64))
    flux[0, :, 31, 31] = [10.0, 100, 1, 1, 1]
    flux[0, 1, 0, 0] = 1e6
    assert magnitude_and_colour(flux)[0] == pytest.approx([17.5, 2.5])
