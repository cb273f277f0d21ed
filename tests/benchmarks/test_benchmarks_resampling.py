"""Weighted statistics, and intervals from resampling galaxies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resampling import (
    Resampling,
    average_precision,
    latent_errors,
    mean_of,
    purity_at,
    rank_correlation,
    weighted_quantile,
)
from scipy.stats import spearmanr


def statistics(values, n):
    """Every statistic on made-up numbers for n sources."""
    rng = np.random.default_rng(int(values))
    x, y = rng.integers(6, size=(2, n))
    true = np.arange(n) % 3 == 0
    latents = rng.normal(size=(2, n, 2))
    return x, y, true, latents


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_source_of_weight_two_counts_as_two_sources(seed):
    x, y, true, (predicted, labels) = statistics(seed, 12)
    weight = np.array([1.0, 2.0, 0.0, 1.0] * 3)
    twice = np.repeat(np.arange(12), weight.astype(int))
    ones = np.ones(len(twice))
    for weighted, repeated in (
        (rank_correlation(x, y), rank_correlation(x[twice], y[twice])),
        (latent_errors(predicted, labels), latent_errors(predicted[twice], labels[twice])),
        (average_precision(true, x), average_precision(true[twice], x[twice])),
        (purity_at(0.9, true, x), purity_at(0.9, true[twice], x[twice])),
    ):
        assert np.allclose(weighted(weight), repeated(ones))


def test_rank_correlation_is_spearmans_with_ties():
    x, y, _, _ = statistics(1, 50)
    assert rank_correlation(x, y)(np.ones(50)) == pytest.approx(spearmanr(x, y).statistic)


def test_rank_correlation_leaves_out_what_is_not_a_number():
    x = np.array([1.0, 2.0, np.nan, 3.0, 4.0])
    y = np.array([2.0, 1.0, 9.0, np.nan, 5.0])
    assert rank_correlation(x, y)(np.ones(5)) == pytest.approx(0.5)  # of 1 2 4 and 2 1 5


def test_errors_of_latents_can_be_checked_by_hand():
    labels = np.array([[0.0, 0.0], [2.0, 4.0]])  # variances 1 and 4
    predicted = labels + np.array([[1.0, 0.0], [1.0, 2.0]])  # mean squares 1 and 2
    found = latent_errors(predicted, labels)(np.ones(2))
    r2 = [1 - 1 / 1, 1 - 2 / 4]
    expected = [np.sqrt(1.5), np.sqrt(1 - np.mean(r2)), np.mean(r2), 1, np.sqrt(2), *r2]
    assert np.allclose(found, expected)


def test_purity_is_that_of_the_shortest_list_complete_enough():
    true = np.array([1, 0, 1, 0, 0, 1, 0, 0], dtype=bool)
    ranking = np.arange(8)[::-1]
    two_of_three, whole = purity_at(2 / 3, true, ranking), purity_at(0.9, true, ranking)
    assert np.allclose(two_of_three(np.ones(8)), [2 / 3, (2 / 3) / (3 / 8)])
    assert np.allclose(whole(np.ones(8)), [3 / 6, (3 / 6) / (3 / 8)])


def test_a_quantile_counts_weights():
    values, weight = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0])
    assert weighted_quantile(values, weight, 0.5) == 2.0
    assert weighted_quantile(values, weight, 0.95) == 3.0


def test_sources_of_one_galaxy_are_drawn_together():
    group = np.repeat([7, 8, 9], 4)
    first = np.arange(12) % 4 == 0  # the same share of every galaxy
    whole = np.repeat([True, False, False], 4)
    resampling = Resampling(group, n=200)
    assert resampling.n_galaxies == 3
    share = resampling.estimate(lambda weight: weight @ first / weight.sum())
    assert share.interval(0.95) == pytest.approx([0.25, 0.25])
    galaxies = resampling.estimate(lambda weight: weight @ whole / weight.sum())
    assert set(np.round(galaxies.draws * 3)) == {0, 1, 2, 3}


def test_the_scatter_of_a_mean_is_that_of_galaxies_over_the_root_of_their_number():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=400), 3)
    resampling = Resampling(np.repeat(np.arange(400), 3), n=2000)
    mean = resampling.estimate(lambda weight: weight @ values / weight.sum())
    low, high = mean.interval(0.68)
    assert (high - low) / 2 == pytest.approx(values.std() / 20, rel=0.1)


def test_a_paired_difference_knows_what_both_share():
    rng = np.random.default_rng(1)
    labels = rng.normal(size=(500, 2))
    hard = rng.lognormal(size=(500, 1))  # some sources are hard for everyone
    noise = hard * rng.normal(size=(500, 2))
    resampling = Resampling(np.arange(500), n=400)
    one, other = (
        resampling.estimate(latent_errors(labels + scale * noise, labels))[0]
        for scale in (1.0, 1.02)
    )
    assert (one - other).excludes_zero
    assert one.interval(0.95)[1] > other.interval(0.95)[0]  # unpaired, they overlap
    assert not (one - one).excludes_zero
    assert mean_of([one, other]).value == pytest.approx((one.value + other.value) / 2)


def test_an_estimate_is_written_with_both_intervals_and_a_difference_with_its_sign():
    resampling = Resampling(np.arange(10), n=50)
    constant = resampling.estimate(lambda weight: 0.5)
    assert constant.text(2) == "0.50 [0.50 0.50] [0.50 0.50]"
    less = resampling.estimate(lambda weight: 0.75)
    assert (less - constant).text(1, "+") == "+0.2 [+0.2 +0.2] [+0.2 +0.2]"
