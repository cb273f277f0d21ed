"""Mock images: components, point spread functions, and the right neighbours."""

from dataclasses import fields, replace

import numpy as np
import pytest

from targetsel.mock.camera import PAN_STARRS
from targetsel.mock.images import (
    CLEARANCE,
    GALAXIES,
    SQUARE,
    STARS,
    Light,
    blackbody,
    canvas_of,
    draw_components,
    draw_neighbours,
    light_of,
    point_spread,
)
from targetsel.mock.morphology import Structure

CANVAS = canvas_of(0.25)
FIBER_LIGHT = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 1.5], [0.1, 0.6, 0.2]])


def galaxy(**changes):
    """The structure of one spiral with everything, or changed."""
    values = {each.name: 0.3 for each in fields(Structure)}
    values |= {"bulge_radius": 0.6, "disk_radius": 2.0, "young_radius": 2.4, "x": 0.0, "y": 0.0}
    values |= {"bulge_axis_ratio": 0.8, "disk_axis_ratio": 0.6, "arms": 2, "lopsidedness": 0.0}
    values |= changes
    return Structure(**{name: np.array([value]) for name, value in values.items()})


def drawn(structure, seed=0):
    components = draw_components(structure, 0, CANVAS, np.random.default_rng(seed))
    return light_of(components, structure, 0, FIBER_LIGHT, CANVAS)


def in_fiber(light):
    return light.flux.T @ (light.transforms.real @ CANVAS.fiber)


@pytest.mark.parametrize("changes", [{}, {"arm_share": 0, "knot_share": 0, "bar_share": 0}])
def test_light_in_the_fiber_is_what_was_given(changes):
    seen = in_fiber(drawn(galaxy(**changes)))
    assert seen == pytest.approx(FIBER_LIGHT.sum(axis=0), rel=1e-4)


def test_scaled_light_has_the_flux_that_was_asked_for_and_the_same_colours():
    light = drawn(galaxy())
    scaled = light.scaled(1, 80.0)
    assert scaled.flux[:, 1].sum() == pytest.approx(80.0)
    assert scaled.flux[:, 0] / scaled.flux[:, 1] == pytest.approx(
        light.flux[:, 0] / light.flux[:, 1]
    )
    assert light.transforms[:, 0].real == pytest.approx(1.0, abs=1e-5)  # each of unit flux


def test_colours_outside_the_fiber_are_bluer_where_the_old_stars_are_in_the_middle():
    light = drawn(galaxy(bulge_share=0.9, bar_share=0.0))
    whole, fiber = light.flux.sum(axis=0), in_fiber(light)
    assert whole[0] / whole[2] > 1.1 * fiber[0] / fiber[2]


def test_a_component_that_the_fiber_hardly_sees_is_blown_up_fifty_times_at_most():
    huge = {"disk_radius": 90.0, "young_radius": 90.0}
    light = drawn(galaxy(bulge_share=0.0, bar_share=0.0, point_share=0.0, **huge))
    assert light.flux.sum(axis=0) == pytest.approx(50 * FIBER_LIGHT.sum(axis=0), rel=1e-3)


def test_offset_from_the_centre_moves_everything():
    here, there = drawn(galaxy()), drawn(galaxy(x=1.0))
    assert there.transforms == pytest.approx(here.transforms * CANVAS.shift(1.0, 0.0), abs=1e-4)


def test_nucleus_makes_the_middle_of_the_lines_brighter():
    without, with_it = (
        Light(light.transforms, light.flux).unblurred()
        for light in (drawn(galaxy(point_share=0.0)), drawn(galaxy(point_share=0.6)))
    )
    middle = [CANVAS.images(each, 2).sum() for each in (without, with_it)]
    assert middle[1] > 1.05 * middle[0]


def test_half_of_the_peak_is_at_half_of_the_seeing():
    seeing = np.array([1.3, 0.9])
    fine = canvas_of(0.05)
    images = fine.images(point_spread(fine, seeing, (0.0, 0.0)).astype(complex), 128)
    for image, width in zip(images, seeing, strict=True):
        profile = image[64, 64:] / image[64, 64]  # the centre lies between the middle pixels
        radius = 0.05 * (np.arange(64) + 0.5)
        assert 2 * np.interp(0.5, profile[::-1], radius[::-1]) == pytest.approx(width, abs=0.015)


def test_psf_keeps_all_light_whatever_its_shape():
    psf = point_spread(CANVAS, np.array([1.0, 1.5]), (0.05, -0.03))
    assert psf[:, 0] == pytest.approx(1.0, abs=1e-6)


def test_sheared_psf_is_longer_along_x():
    long = CANVAS.images(point_spread(CANVAS, np.array([1.2]), (0.1, 0.0)).astype(complex), 64)[0]
    y, x = np.mgrid[:64, :64] - 31.5
    inner = np.hypot(x, y) < 12
    assert (long * x**2)[inner].sum() > 1.1 * (long * y**2)[inner].sum()


def test_arms_differ_from_galaxy_to_galaxy_and_follow_from_the_seed():
    first, again, other = (drawn(galaxy(), seed).transforms for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_edge_on_galaxy_is_flat():
    light = drawn(replace(galaxy(angle=0.0, bulge_share=0.0), disk_axis_ratio=np.array([0.2])))
    image = CANVAS.images((light.flux[:, 1].astype(np.float32) @ light.transforms)[None], 128)[0]
    y, x = np.mgrid[:128, :128] - 63.5
    assert np.sqrt((image * y**2).sum() / (image * x**2).sum()) < 0.45


def neighbours(factor, n=300):
    rngs = (np.random.default_rng([5, k]) for k in range(n))
    return [draw_neighbours(PAN_STARRS, CANVAS, 16.0, factor, rng) for rng in rngs]


def test_there_are_as_many_as_said_less_those_too_close():
    found = sum(len(light.flux) for light in neighbours(1.0) if light is not None) / 300
    area, close = 18.0**2, np.pi * CLEARANCE**2
    expected = (GALAXIES.number + STARS.number) * (area - close) / SQUARE**2
    assert found == pytest.approx(expected, abs=0.15)


def test_without_neighbours_there_is_nothing():
    assert neighbours(0.0, 20) == [None] * 20


def test_all_are_within_the_magnitudes_said():
    flux = np.concatenate([each.flux for each in neighbours(3.0) if each is not None])
    r = 22.5 - 2.5 * np.log10(flux[:, 1])
    assert r.min() > 14.4
    assert 21.0 < np.median(r) < r.max() < 22.6


def test_none_is_where_the_source_is():
    for light in neighbours(5.0, 50):
        if light is not None:
            sharp = light.transforms[np.abs(light.transforms).min(axis=1) > 0.99]  # stars
            assert (np.abs(sharp.real @ CANVAS.fiber) < 0.2).all()


def test_hot_stars_are_bluer_and_everything_is_one_at_6200_angstrom():
    wavelength = np.array([4900.0, 6200.0, 9600.0])
    cool, hot = blackbody(wavelength, 4000.0), blackbody(wavelength, 8000.0)
    assert cool[1] == hot[1] == pytest.approx(1.0)
    assert hot[0] > 1.5 * cool[0]
    assert hot[2] < 0.8 * cool[2]
