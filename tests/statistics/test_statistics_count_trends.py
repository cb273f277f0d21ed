"""Trends of counts with a map, and how often chance alone shows as much."""

import numpy as np
import pytest

from targetsel.statistics.count_trends import N_BINS, quantile_bins, trend, weighted_quantiles

N, N_PATCHES = 2000, 100
PATCH = np.arange(N) * N_PATCHES // N


def field(seed, relative=lambda x: 1.0, clustering=0.0, mean=100.0):
    """A map, Poisson counts and areas; patches differ in density by this much."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=N)
    areas = rng.uniform(0.3, 1.0, N)
    of_patch = 1 + clustering * rng.normal(size=N_PATCHES)[PATCH]
    counts = rng.poisson(mean * areas * relative(values) * np.clip(of_patch, 0.1, None))
    return values, counts.astype(float), areas


def test_a_straight_trend_is_told_between_the_5th_and_95th_percentile():
    found = trend(*field(0, lambda x: 1 + 0.05 * x, mean=2000), PATCH)
    assert found.slope == pytest.approx(0.05 * 2 * 1.645, abs=0.01)
    assert found.slope_error < 0.005
    assert found.p < 1e-6
    assert len(found.density) == N_BINS == found.dof + 1
    np.testing.assert_allclose(found.density, 1 + 0.05 * found.centres, atol=0.02)


@pytest.mark.parametrize("clustering", [0.0, 0.2])
def test_without_a_trend_p_is_below_a_tenth_as_often_as_it_says(clustering):
    p = np.array([trend(*field(k, clustering=clustering), PATCH).p for k in range(300)])
    assert 0.05 < np.mean(p < 0.1) < 0.16
    assert 0.4 < np.mean(p < 0.5) < 0.6


def test_slopes_scatter_as_their_errors_say():
    found = [trend(*field(k, clustering=0.2), PATCH) for k in range(300)]
    pulls = np.array([each.slope / each.slope_error for each in found])
    assert abs(pulls.mean()) < 0.2
    assert pulls.std() == pytest.approx(1.0, abs=0.15)


def test_bins_have_equal_areas_and_equal_values_share_one():
    values = np.array([3.0, 1.0, 2.0, 4.0])
    assert quantile_bins(values, np.ones(4), 2).tolist() == [1, 0, 0, 1]
    assert quantile_bins(np.array([0.0, 0.0, 0.0, 1.0]), np.ones(4), 4).tolist() == [0, 0, 0, 1]
    assert quantile_bins(values, np.array([1.0, 1, 1, 3]), 2).tolist() == [0, 0, 0, 1]


def test_quantiles_are_of_the_area():
    assert weighted_quantiles(np.array([2.0, 1.0]), np.array([1.0, 3.0]), (0.5,))[0] < 1.5


def test_a_bin_that_lies_in_one_patch_has_poisson_errors_at_least():
    patch = np.maximum(np.arange(N) - 200, 0) // 10  # the first has a tenth of all cells
    found = trend(np.arange(N) * 1.0, np.full(N, 100.0), np.ones(N), patch)
    assert found.error[0] == pytest.approx(np.sqrt(1 / 20_000), rel=0.01)


def test_few_patches_give_few_bins():
    found = trend(*field(0), PATCH // 5)  # 20 patches
    assert found.dof == 2
