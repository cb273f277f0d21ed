"""Figures of merit by hand, with weights, and their paired differences."""

import numpy as np
import pytest
from figures_of_merit import (
    average_precision,
    latent_errors,
    mean_estimate,
    purity_at,
    weighted_quantile,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.statistics.resampling import Resampling, rank_correlation


def statistics(values, n):
    """Every statistic on made-up numbers for n sources."""
    rng = np.random.default_rng(int(values))
    x, y = rng.integers(6, size=(2, n))
    true = np.arange(n) % 3 == 0
    latents = rng.normal(size=(2, n, 2))
    return x, y, true, latents


@settings(max_examples=20)
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
    assert mean_estimate([one, other]).value == pytest.approx((one.value + other.value) / 2)
