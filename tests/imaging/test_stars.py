"""Star-like sources beside the target of a cutout, on images made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.stars import brightest_star

SIZE, SCALE = 64, 0.25
MIDDLE = (31.5, 31.5)
SIGMA = np.array([0.01, 0.01])


def blob(x: float, y: float, flux: float, width: float = 1.2, axes: float = 1.0) -> np.ndarray:
    """A Gaussian of this full width at half maximum [arcsec], shorter along y by `axes`."""
    rows, columns = np.indices((SIZE, SIZE))
    sigma = width / SCALE / 2.3548
    squared = ((columns - x) / sigma) ** 2 + ((rows - y) / sigma / axes) ** 2
    found = np.exp(-squared / 2)
    return flux * found / found.sum()


def cutout(*blobs: np.ndarray) -> Cutouts:
    galaxy = blob(31.5, 31.5, 30, 4)
    noise = np.random.default_rng(2).normal(0, 0.01, (2, SIZE, SIZE))
    flux = (sum(blobs, galaxy)[None] + noise).astype(np.float32)
    return Cutouts(np.array([1]), flux[None], ("g", "r"), SCALE)


def test_a_star_is_found_to_a_fifth_of_a_pixel_with_its_width_and_magnitude():
    star = brightest_star(cutout(blob(50.3, 12.6, 10)), 0, SIGMA, MIDDLE)
    assert (star.x, star.y) == pytest.approx((50.3, 12.6), abs=0.2)
    assert star.width == pytest.approx(1.2, abs=0.25)
    assert star.band == "r"
    assert star.magnitude == pytest.approx(22.5 - 2.5 * np.log10(10), abs=0.1)


def test_of_two_stars_it_is_the_brighter_one():
    star = brightest_star(cutout(blob(50, 12, 5), blob(10, 50, 9)), 0, SIGMA, MIDDLE)
    assert (star.x, star.y) == pytest.approx((10, 50), abs=0.2)


@pytest.mark.parametrize(
    ("what", "made"),
    [
        ("the target itself", np.zeros((SIZE, SIZE))),
        ("a source nearer than 3 arcsec", blob(37, 31.5, 40)),
        ("a wide one", blob(50, 12, 40, 3.0)),
        ("a long one", blob(50, 12, 40, 1.9, 0.5)),
        ("one at the edge", blob(62.8, 12, 40)),
        ("a faint one", blob(50, 12, 0.3)),
    ],
)
def test_what_is_no_star_beside_the_target_is_not_taken_for_one(what, made):
    assert brightest_star(cutout(made), 0, SIGMA, MIDDLE) is None, what


def test_a_cosmic_ray_in_one_band_and_a_hot_pixel_are_no_stars():
    ray = cutout()
    ray.flux[0, 0] += blob(50, 12, 40).astype(np.float32)
    hot = cutout()
    hot.flux[0, :, 12, 50] += 5
    assert brightest_star(ray, 0, SIGMA, MIDDLE) is None
    assert brightest_star(hot, 0, SIGMA, MIDDLE) is None


def test_pixels_without_data_are_no_star_and_hide_none_elsewhere():
    lost = cutout(blob(50, 12, 10))
    lost.flux[0, :, 40:50, 3:9] = np.nan
    star = brightest_star(lost, 0, SIGMA, MIDDLE)
    assert (star.x, star.y) == pytest.approx((50, 12), abs=0.2)
    lost.flux[:] = np.nan
    assert brightest_star(lost, 0, SIGMA, MIDDLE) is None
