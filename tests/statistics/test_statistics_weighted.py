"""Weighted figures by hand, and intervals from whole groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from targetsel.statistics.weighted import Resampled, half_width, mean_of, rank_correlation, variance

ONES = np.ones(4)


def test_a_weight_of_two_counts_as_the_source_twice():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    weight = np.array([1.0, 2.0, 1.0, 1.0])
    twice = values[[0, 1, 1, 2, 3]]
    assert mean_of(values)(weight) == pytest.approx(twice.mean())
    assert variance(values, weight) == pytest.approx(twice.var())


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


def test_the_interval_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=2000)
    figure = Resampled(np.arange(2000), np.ones(2000)).figure(mean_of(values))
    assert figure["value"] == pytest.approx(values.mean(), abs=1e-4)
    assert (figure["high"] - figure["low"]) / 2 == pytest.approx(2000**-0.5, rel=0.2)


def test_copies_of_a_source_in_its_group_do_not_narrow_the_interval():
    values = np.random.default_rng(0).normal(size=100)
    alone = Resampled(np.arange(100), np.ones(100)).figure(mean_of(values))
    groups = np.repeat(np.arange(100), 25)
    copied = Resampled(groups, np.ones(2500)).figure(mean_of(np.repeat(values, 25)))
    assert copied == alone


def test_several_numbers_have_an_interval_each():
    values = np.arange(8.0).reshape(4, 2)
    figure = Resampled(np.array(["a", "b", "c", "d"]), ONES).figure(mean_of(values))
    assert figure["value"] == [3.0, 4.0]
    assert all(low < high for low, high in zip(figure["low"], figure["high"], strict=True))
