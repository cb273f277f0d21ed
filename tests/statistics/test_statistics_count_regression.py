"""Densities that follow planted trends, and what a prediction makes of them."""

import numpy as np
import pytest

from targetsel.statistics.count_regression import (
    BOOSTED,
    EVEN,
    LEAST,
    LINEAR,
    MOST,
    CountedCells,
    predict_counts,
)

N, N_PATCHES = 3000, 100


def cells(relative, seed=0, mean=400.0, noise=1):
    """Poisson counts of this relative density, with a map, and others that say nothing."""
    rng = np.random.default_rng(seed)
    values = np.sin(np.arange(N) * 0.37) + rng.normal(0, 0.3, N)
    areas = rng.uniform(0.5, 1.0, N)
    counts = rng.poisson(mean * areas * relative(values)).astype(float)
    patch = np.arange(N) * N_PATCHES // N
    others = rng.normal(size=(N, noise))
    return CountedCells(counts, areas, np.column_stack([values, others]), patch, patch % 10)


def test_a_straight_trend_is_predicted_to_a_percent():
    given = cells(lambda x: 1 + 0.1 * x)
    found = predict_counts(given, LINEAR).relative
    true = 1 + 0.1 * given.maps[:, 0]
    assert np.abs(found / true - np.average(found / true)).max() < 0.01


def test_trees_follow_a_step_that_a_plane_cannot():
    pytest.importorskip("sklearn")
    given = cells(lambda x: np.where(x > 0.5, 1.2, 1.0))
    found = predict_counts(given)
    assert found.method == BOOSTED
    assert found.gains[BOOSTED].value > found.gains[LINEAR].value > 0
    high = given.maps[:, 0] > 0.6
    low = given.maps[:, 0] < 0.4
    assert found.relative[high].mean() / found.relative[low].mean() == pytest.approx(1.2, abs=0.02)


def test_the_plane_is_kept_where_trees_predict_hardly_better():
    pytest.importorskip("sklearn")
    found = predict_counts(cells(lambda x: 1 + 0.1 * x))
    assert (found.method, found.n_trees) == (LINEAR, 0)


def test_an_even_density_stays_even():
    pytest.importorskip("sklearn")
    found = predict_counts(cells(np.ones_like, seed=3))
    assert found.method == EVEN
    assert (found.relative == 1).all()


def test_counts_of_a_fold_do_not_change_what_is_predicted_of_it():
    given = cells(lambda x: 1 + 0.1 * x)
    own, more = given.fold == 3, given.counts.copy()
    more[own] *= 2
    changed = CountedCells(more, given.areas, given.maps, given.patch, given.fold)
    before, after = (predict_counts(each, LINEAR).relative for each in (given, changed))
    np.testing.assert_array_equal(before[own], after[own])
    assert (before[~own] != after[~own]).any()


def test_predictions_have_limits():
    found = predict_counts(cells(lambda x: np.exp(3 * x)), LINEAR).relative
    assert found.min() == LEAST
    assert found.max() <= MOST


def test_the_scale_of_a_map_does_not_matter():
    given = cells(lambda x: 1 + 0.1 * x)
    scaled = CountedCells(
        given.counts, given.areas, given.maps * 1e6 + 3e8, given.patch, given.fold
    )
    found = predict_counts(scaled, LINEAR).relative
    np.testing.assert_allclose(found, predict_counts(given, LINEAR).relative, rtol=1e-6)
