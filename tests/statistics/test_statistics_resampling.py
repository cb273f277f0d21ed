"""Weighted statistics by hand, and intervals from resampling groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, spearmanr

from targetsel.statistics.resampling import (
    Estimate,
    Resampling,
    half_width,
    mean_of,
    quantiles,
    rank_correlation,
    variance_of,
    wilson,
)

EVERYONE = np.ones(200, dtype=bool)


def _columns():
    return np.random.default_rng(1).normal(size=(200, 2))


def test_the_first_row_is_the_weighted_mean_of_the_sources_as_they_are():
    weight = np.arange(1.0, 201.0)
    means = Resampling(np.arange(200), weight).means(_columns(), EVERYONE)
    assert means[0] == pytest.approx(np.average(_columns(), axis=0, weights=weight))


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    means = Resampling(np.arange(200), np.ones(200), n=4000).means(_columns(), EVERYONE)
    low, high = Estimate(means[:, 0]).interval()
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
    each = resampling.estimate(lambda weight: np.average(column[rows], weights=weight), rows)
    assert resampling.means(_columns(), rows)[:, 0] == pytest.approx(each.values)


def test_a_resampling_that_leaves_no_source_has_no_mean_and_is_left_out():
    rows = np.arange(200) == 7
    means = Resampling(np.arange(200), np.ones(200)).means(_columns(), rows)[:, 0]
    assert np.isnan(means).any()
    assert Estimate(means).interval() == pytest.approx([means[0], means[0]])


def test_a_weight_of_two_counts_as_the_source_twice():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    weight = np.array([1.0, 2.0, 1.0, 1.0])
    twice = values[[0, 1, 1, 2, 3]]
    assert mean_of(values)(weight) == pytest.approx(twice.mean())
    assert variance_of(values)(weight) == pytest.approx(twice.var())


def test_rank_correlation_is_that_of_spearman():
    rng = np.random.default_rng(0)
    one = rng.normal(size=50)
    other = one + rng.normal(size=50)
    expected = spearmanr(one, other).statistic
    assert rank_correlation(one, other)(np.ones(50)) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 1000))
def test_rank_correlation_knows_order_only(seed):
    one, other, weight = np.random.default_rng(seed).uniform(0.1, 1, size=(3, 20))
    plain = rank_correlation(one, other)(weight)
    assert rank_correlation(np.exp(5 * one), other**3)(weight) == pytest.approx(plain)
    assert rank_correlation(-one, other)(weight) == pytest.approx(-plain)


def test_half_width_of_a_gaussian_is_its_standard_deviation():
    values = np.random.default_rng(0).normal(size=20000) * 3
    assert half_width(values)(np.ones(20000)) == pytest.approx(3, rel=0.03)


def test_quantiles_of_equal_weights_are_those_of_hazen():
    values = np.random.default_rng(0).normal(size=99)
    found = quantiles(values, (0.2, 0.7, 0.95))(np.full(99, 2.5))
    assert found == pytest.approx(np.quantile(values, (0.2, 0.7, 0.95), method="hazen"))


def test_a_quantile_moves_towards_the_heavier_values():
    # Middles of the weights 1, 1, 2 lie at 1/8, 3/8 and 3/4 of their sum.
    found = quantiles(np.array([3.0, 1.0, 2.0]), (0.375, 0.5625, 0.75))(np.array([2.0, 1, 1]))
    assert found == pytest.approx([2, 2.5, 3])


def test_several_numbers_have_an_interval_each():
    values = np.arange(8.0).reshape(4, 2)
    estimate = Resampling(np.array(["a", "b", "c", "d"])).estimate(mean_of(values))
    assert list(estimate.value) == [3.0, 4.0]
    low, high = estimate.interval(0.68)
    assert (low < high).all()
    assert estimate[1].interval(0.68) == pytest.approx([low[1], high[1]])


def test_rank_correlation_is_spearmans_with_ties():
    x, y = np.random.default_rng(1).integers(6, size=(2, 50))
    assert rank_correlation(x, y)(np.ones(50)) == pytest.approx(spearmanr(x, y).statistic)


def test_rank_correlation_leaves_out_what_is_not_a_number():
    x = np.array([1.0, 2.0, np.nan, 3.0, 4.0])
    y = np.array([2.0, 1.0, 9.0, np.nan, 5.0])
    assert rank_correlation(x, y)(np.ones(5)) == pytest.approx(0.5)  # of 1 2 4 and 2 1 5


def test_sources_of_one_galaxy_are_drawn_together():
    group = np.repeat([7, 8, 9], 4)
    first = np.arange(12) % 4 == 0  # the same share of every galaxy
    whole = np.repeat([True, False, False], 4)
    resampling = Resampling(group, n=200)
    assert resampling.n_groups == 3
    share = resampling.estimate(lambda weight: weight @ first / weight.sum())
    assert share.interval(0.95) == pytest.approx([0.25, 0.25])
    galaxies = resampling.estimate(lambda weight: weight @ whole / weight.sum())
    assert set(np.round(galaxies.values[1:] * 3)) == {0, 1, 2, 3}


def test_the_scatter_of_a_mean_is_that_of_galaxies_over_the_root_of_their_number():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=400), 3)
    resampling = Resampling(np.repeat(np.arange(400), 3), n=2000)
    mean = resampling.estimate(lambda weight: weight @ values / weight.sum())
    low, high = mean.interval(0.68)
    assert (high - low) / 2 == pytest.approx(values.std() / 20, rel=0.1)


def test_an_estimate_is_written_with_both_intervals_and_a_difference_with_its_sign():
    resampling = Resampling(np.arange(10), n=50)
    constant = resampling.estimate(lambda weight: 0.5)
    assert constant.text(2) == "0.50 [0.50 0.50] [0.50 0.50]"
    less = resampling.estimate(lambda weight: 0.75)
    assert (less - constant).text(1, "+") == "+0.2 [+0.2 +0.2] [+0.2 +0.2]"


def test_wilsons_interval_has_a_width_where_nothing_or_everything_is_counted():
    # 95 % interval of 0 of 10: 0 to z^2 / (10 + z^2) with z = 1.96.
    assert wilson(0.0, 10) == pytest.approx((0.0, 3.8415 / 13.8415), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((10 / 13.8415, 1.0), abs=1e-4)
    found = binomtest(3, 20).proportion_ci(method="wilson")
    assert wilson(0.15, 20) == pytest.approx((found.low, found.high), abs=1e-6)
