"""Intervals from resampling groups."""

import numpy as np
import pytest

from targetsel.statistics.resampling import Resampling, with_interval

EVERYONE = np.ones(200, dtype=bool)


def _columns():
    return np.random.default_rng(1).normal(size=(200, 2))


def test_the_first_row_is_the_weighted_mean_of_the_sources_as_they_are():
    weight = np.arange(1.0, 201.0)
    means = Resampling(np.arange(200), weight).means(_columns(), EVERYONE)
    assert means[0] == pytest.approx(np.average(_columns(), axis=0, weights=weight))


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    means = Resampling(np.arange(200), np.ones(200), n=4000).means(_columns(), EVERYONE)
    _, low, high = with_interval(means[:, 0])
    error = _columns()[:, 0].std() / np.sqrt(200)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_copies_of_a_source_in_one_group_do_not_narrow_its_interval():
    once = Resampling(np.arange(200), np.ones(200)).means(_columns(), EVERYONE)
    five = np.repeat(np.arange(200), 5)
    often = Resampling(five, np.ones(1000)).means(_columns()[five], np.ones(1000, dtype=bool))
    assert often == pytest.approx(once)


def test_means_and_functions_of_weights_see_the_same_resamplings():
    resampling = Resampling(np.arange(200) // 3, np.ones(200))
    rows = np.arange(200) % 2 == 0
    column = _columns()[:, 0]
    each = resampling.each(lambda weight: np.average(column[rows], weights=weight), rows)
    assert resampling.means(_columns(), rows)[:, 0] == pytest.approx(each)


def test_a_resampling_that_leaves_no_source_has_no_mean_and_is_left_out():
    rows = np.arange(200) == 7
    means = Resampling(np.arange(200), np.ones(200)).means(_columns(), rows)[:, 0]
    assert np.isnan(means).any()
    assert with_interval(means) == pytest.approx((means[0], means[0], means[0]))
