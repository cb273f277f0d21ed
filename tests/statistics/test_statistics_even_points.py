"""Points fill the cube evenly, and each axis exactly."""

import numpy as np
import pytest

from targetsel.statistics.even_points import even_points, sliced_points


@pytest.mark.parametrize("n", [1, 64, 195])
def test_every_axis_has_one_point_in_each_of_n_equal_parts(n):
    points = even_points(n, 7, seed=3)
    expected = (np.arange(n) + 0.5) / n
    for axis in points.T:
        np.testing.assert_allclose(np.sort(axis), expected)


def test_every_quarter_of_the_plane_holds_a_quarter_of_the_points():
    one, other = even_points(256, 2, seed=0).T
    for low in (one < 0.5, one >= 0.5):
        for left in (other < 0.5, other >= 0.5):
            assert (low & left).sum() == pytest.approx(64, abs=4)


def test_points_follow_from_the_seed():
    assert np.array_equal(even_points(32, 3, seed=1), even_points(32, 3, seed=1))
    assert not np.array_equal(even_points(32, 3, seed=1), even_points(32, 3, seed=2))


def test_slices_are_even_together_and_the_kth_points_of_all_slices_are_too():
    points = sliced_points(n=50, slices=3, dimension=4, seed=0)
    assert points.shape == (3, 50, 4)
    everyone = np.sort(points.reshape(150, 4), axis=0)
    np.testing.assert_allclose(everyone, np.tile((np.arange(150) + 0.5)[:, None] / 150, (1, 4)))
    thirds = np.sort((points * 3).astype(int), axis=0)
    assert (thirds == np.arange(3)[:, None, None]).all()
