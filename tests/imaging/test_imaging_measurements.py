"""The magnitude, appearance and quality of cutouts, one fault at a time."""

import numpy as np
import pytest
from scipy.ndimage import convolve1d

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.measurements import (
    CHECKS,
    appearance,
    central_magnitude,
    quality,
    reference_band,
)

SIDE, SIGMA = 64, np.array([0.02, 0.02, 0.04])
Y, X = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2


def blob(x=0.0, y=0.0, width=5.0, light=100.0):
    """A Gaussian source [nanomaggy]."""
    shape = np.exp(-0.5 * ((X - x) ** 2 + (Y - y) ** 2) / width**2)
    return light * shape / (2 * np.pi * width**2)


def cutout(image=None, seed=0):
    """One source in three bands with noise, (1, 3, 64, 64)."""
    image = blob() if image is None else image
    noise = np.random.default_rng(seed).normal(size=(1, 3, SIDE, SIDE))
    return (image + SIGMA[:, None, None] * noise).astype(np.float32)


def check(name, flux):
    return quality(flux, SIGMA)[0, list(CHECKS).index(name)]


def test_a_plain_source_shows_nothing():
    assert check("masked", cutout()) == 0
    assert check("masked centre", cutout()) == 0
    assert check("saturated", cutout()) == 0
    assert check("one band", cutout()) == 0
    assert check("off centre", cutout()) < 0.5
    assert check("second source", cutout()) < 0.05
    assert abs(check("sky noise", cutout())) < 0.15


def test_masked_is_the_share_in_the_worst_band():
    flux = cutout()
    flux[0, 1, :16] = np.nan
    flux[0, 2, :4] = np.nan
    assert check("masked", flux) == pytest.approx(0.25)
    assert check("masked centre", flux) == 0
    flux[0, 0, 30:34, 30:34] = np.nan
    assert check("masked centre", flux) == pytest.approx(16 / (np.hypot(X, Y) <= 8).sum())


def test_saturated_counts_pixels_as_bright_as_the_brightest():
    flux = cutout()
    flux[0, 1, 30:34, 30:34] = 50.0
    assert check("saturated", flux) == pytest.approx(15 / SIDE**2)


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, 10.0])
def test_another_zero_point_shows_in_the_noise_of_the_sky(factor):
    assert check("sky noise", cutout() * factor) == pytest.approx(np.log(factor), abs=0.15)


def test_sky_noise_is_that_of_the_oddest_band():
    flux = cutout()
    flux[0, 2] *= 0.25
    assert check("sky noise", flux) == pytest.approx(np.log(0.25), abs=0.15)


def test_off_centre_is_a_distance_in_pixels():
    assert check("off centre", cutout(blob(3.0, 4.0, 3.0))) == pytest.approx(5, abs=0.7)


def test_a_second_source_is_light_that_half_a_turn_does_not_repeat():
    assert check("second source", cutout(blob(width=2) + blob(9, 0, 2))) > 0.3
    assert check("second source", cutout(blob(-7, 0, 2) + blob(7, 0, 2))) < 0.05


def test_a_star_is_more_compact_than_a_galaxy():
    assert check("compact", cutout(blob(width=1.9))) > 0.9
    assert check("compact", cutout(blob(width=7))) < 0.7


def test_a_trail_is_light_in_one_band_only():
    flux = cutout()
    flux[0, 1, 8:12] += 30 * SIGMA[1]
    assert check("one band", flux) == pytest.approx(4 * SIDE / SIDE**2)
    flux[0, :, 8:12] += 30 * SIGMA[:, None, None]
    assert check("one band", flux) == 0


def test_a_cosmic_ray_is_a_sharp_pixel_but_a_star_is_not():
    flux = cutout()
    flux[0, 2, 10, 50] += 100 * SIGMA[2]
    ordinary = check("sharp pixel", cutout())
    assert check("sharp pixel", flux) > ordinary + 1
    assert check("sharp pixel", cutout(blob(width=1.9, light=1000.0))) < ordinary + 0.3


def test_noise_is_as_sharp_however_its_pixels_correlate():
    found = []
    for kernel in ([0.0, 1.0, 0.0], [0.1, 0.8, 0.1], [0.22, 0.56, 0.22]):
        noise = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE))
        for axis in (2, 3):
            noise = convolve1d(noise, kernel, axis=axis, mode="wrap")
        found.append(check("sharp pixel", (SIGMA[:, None, None] * noise).astype(np.float32)))
    assert max(found) - min(found) < 0.5


def test_pixels_without_data_are_not_sharp():
    flux = cutout()
    flux[0, :, 20:40, 20:40] = np.nan
    assert check("sharp pixel", flux) < check("sharp pixel", cutout()) + 0.1


def test_numbers_do_not_depend_on_the_company():
    sky = np.concatenate([cutout(seed=k) for k in range(20)])
    together = quality(sky, SIGMA)
    assert together[13:14] == pytest.approx(quality(sky[13:14], SIGMA), rel=1e-4, abs=1e-6)
    assert quality(sky[:0], SIGMA).shape == (0, len(CHECKS))


def test_numbers_are_finite_whatever_the_cutout():
    for flux in (np.zeros((1, 3, SIDE, SIDE), np.float32), cutout() * 1e6, -cutout()):
        assert np.isfinite(quality(flux, SIGMA)).all()
    flux = cutout()
    flux[0, 0] = np.nan
    assert np.isfinite(quality(flux, SIGMA)).all()


def test_appearance_is_magnitude_colour_and_half_light_radius():
    image = np.stack([blob(width=4, light=50), blob(width=4), blob(width=4)])
    magnitude, colour, size = appearance(cutout(image), ("g", "r", "z"), np.array([17.5]))[0]
    assert magnitude == 17.5
    assert colour == pytest.approx(2.5 * np.log10(2), abs=0.02)
    assert size * SIDE == pytest.approx(1.1774 * 4, abs=0.5)


def test_a_cutout_of_sky_has_no_colour_or_size():
    assert np.isnan(appearance(-cutout(), ("g", "r", "z"), np.array([27.5]))[0, 1:]).any()


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
