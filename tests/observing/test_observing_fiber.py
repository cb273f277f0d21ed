import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.observing.exposure import share_in_fiber


def test_fiber_as_wide_as_the_seeing_takes_half_of_a_point_source():
    # A Gaussian holds half of its light within half of its full width at half maximum.
    assert share_in_fiber(np.array([0.0]), 1.2, 1.2) == pytest.approx(0.5, abs=1e-5)


def test_fiber_of_the_half_light_diameter_takes_half_of_a_disk_in_good_seeing():
    assert share_in_fiber(np.array([3.0]), 6.0, 0.2) == pytest.approx(0.5, abs=0.003)


def test_share_agrees_with_counting_the_light_of_a_blurred_disk():
    # Photons of an exponential disk (a sum of two exponentials in radius) moved by the seeing.
    rng = np.random.default_rng(1)
    n, scale = 400_000, 1.5 / 1.678347
    radius, angle = rng.gamma(2.0, scale, n), rng.uniform(0, 2 * np.pi, n)
    x = radius * np.cos(angle) + rng.normal(0, 1.1 / 2.354820, n)
    y = radius * np.sin(angle) + rng.normal(0, 1.1 / 2.354820, n)
    counted = (np.hypot(x, y) < 0.76).mean()
    assert share_in_fiber(np.array([1.5]), 1.52, 1.1) == pytest.approx(counted, abs=0.002)


@given(st.floats(0, 20), st.floats(0.3, 4), st.floats(0.3, 3))
def test_larger_galaxies_lose_more_light(radius, aperture, seeing):
    small, large = share_in_fiber(np.array([radius, radius + 0.5]), aperture, seeing)
    assert 0 < large < small <= 1


def test_source_of_unknown_size_has_no_share():
    assert np.isnan(share_in_fiber(np.array([np.nan]), 1.5, 1.1)).all()
