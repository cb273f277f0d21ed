"""Light profiles as sums of Gaussians, in Fourier space."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.mock.images import (
    FIBER,
    FIBER_SEEING,
    canvas_of,
    phases,
    sersic_gaussians,
)

CANVAS = canvas_of(0.25)
ROUND = np.eye(2)


def moments(image):
    """Light, centre and second moments along x and y of an image, in pixels."""
    y, x = (
        np.mgrid[: image.shape[0], : image.shape[1]]
        - (np.array(image.shape)[:, None, None] - 1) / 2
    )
    light = image.sum()
    cx, cy = (image * x).sum() / light, (image * y).sum() / light
    return (
        light,
        cx,
        cy,
        (image * (x - cx) ** 2).sum() / light,
        (image * (y - cy) ** 2).sum() / light,
    )


def test_gaussians_of_a_profile_hold_all_light_and_half_of_it_inside_one_radius():
    for index in (1.0, 4.0):
        share, sigma = sersic_gaussians(index)
        assert share.sum() == pytest.approx(1.0)
        assert share @ (1 - np.exp(-0.5 / sigma**2)) == pytest.approx(0.5, abs=0.005)


def test_exponential_disk_matches_its_closed_form_between_a_tenth_and_three_radii():
    share, sigma = sersic_gaussians(1.0)
    radius = np.linspace(0.1, 3.0, 30)
    surface = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) @ (share / (2 * np.pi * sigma**2))
    scale = 1 / 1.678347
    expected = np.exp(-radius / scale) / (2 * np.pi * scale**2)
    assert surface == pytest.approx(expected, rel=0.06)


def test_phases_are_complex_exponentials():
    place = np.array([-3.2, 0.0, 7.9])
    turned = phases(CANVAS.u.T, place)
    assert turned == pytest.approx(np.exp(-2j * np.pi * CANVAS.u.T * place), abs=1e-5)


@settings(max_examples=20)
@given(radius=st.floats(0.2, 3.0), index=st.sampled_from([1.0, 4.0]))
def test_every_profile_puts_its_whole_light_on_the_canvas(radius, index):
    image = CANVAS.images(CANVAS.sersic(index, ROUND * radius**2)[None], 128)[0]
    assert image.sum() == pytest.approx(1.0, abs=1e-4)


def test_a_gaussian_has_the_moments_of_its_ellipse_and_of_the_pixel():
    image = CANVAS.images(CANVAS.gaussian(np.diag([1.0, 0.25]))[None], 128)[0]
    _, x, y, xx, yy = moments(image)
    assert (x, y) == pytest.approx((0, 0), abs=1e-3)
    assert xx == pytest.approx(16 + 1 / 12, rel=1e-2)  # 1 arcsec is 4 pixels
    assert yy == pytest.approx(4 + 1 / 12, rel=1e-2)


def test_a_shift_of_one_arcsecond_moves_the_light_by_four_pixels():
    shifted = CANVAS.gaussian(ROUND * 0.1) * CANVAS.shift(1.0, -0.5)
    _, x, y, _, _ = moments(CANVAS.images(shifted[None], 64)[0])
    assert (x, y) == pytest.approx((4.0, -2.0), abs=1e-2)


def test_points_are_the_sum_of_shifts():
    x, y, share = np.array([0.3, -2.0]), np.array([1.0, 0.7]), np.array([0.25, 0.75])
    expected = 0.25 * CANVAS.shift(0.3, 1.0) + 0.75 * CANVAS.shift(-2.0, 0.7)
    assert CANVAS.points(x, y, share) == pytest.approx(expected, abs=1e-5)


@settings(max_examples=20)
@given(sigma=st.floats(0.0, 4.0))
def test_fiber_takes_the_share_of_a_round_gaussian_that_the_formula_says(sigma):
    share = CANVAS.fiber @ CANVAS.gaussian(ROUND * sigma**2)
    blurred = sigma**2 + (FIBER_SEEING / 2.3548) ** 2
    # The canvas ends at 16 arcsec, where light of the widest ones comes round again.
    assert share == pytest.approx(1 - np.exp(-0.5 * (FIBER / 2) ** 2 / blurred), abs=2e-3)


def test_fiber_share_does_not_depend_on_the_pixels():
    shares = [
        canvas_of(scale).fiber @ canvas_of(scale).sersic(1.0, ROUND) for scale in (0.2, 0.25, 0.262)
    ]
    assert shares == pytest.approx([shares[0]] * 3, rel=2e-3)


def test_fiber_far_from_a_point_sees_nothing_of_it():
    assert CANVAS.fiber @ CANVAS.shift(6.0, 0.0).real == pytest.approx(0.0, abs=1e-4)
