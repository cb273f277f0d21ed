"""The calibration benchmark's own statistics, on posteriors whose coverage is known."""

import numpy as np
import pyarrow as pa
import pytest
from calibration import (
    CLAIMS,
    _rules,
    bins_of,
    calibration_error,
    deviation,
    distance_of,
    share,
    tarp_ranks,
)

from targetsel.rules.rules import Rules

N, S, D = 2000, 100, 3


def ranks(scale):
    """Of a posterior whose scatter is 1 while the truth's is `scale`."""
    rng = np.random.default_rng(1)
    middle = rng.normal(size=(N, D))
    draws = middle[:, None] + rng.normal(size=(N, S, D))
    return tarp_ranks(draws, middle + scale * rng.normal(size=(N, D)))


def test_a_right_posterior_is_within_chance_of_every_level():
    # Kolmogorov: 99 % of 2000 uniform numbers stay within 1.63 / 2000^0.5 = 0.036
    assert deviation(ranks(1.0))(np.ones(N)) < 0.036


def test_a_posterior_of_half_the_scatter_is_found_out():
    assert deviation(ranks(2.0))(np.ones(N)) > 0.1


def test_ranks_of_one_half_deviate_by_one_half():
    # all levels above 0.5 are reached, none below; the level next below is 0.48
    assert deviation(np.full(9, 0.499))(np.ones(9)) == pytest.approx(0.5)


def test_distance_is_in_units_of_the_stored_covariance():
    # Variances of 4 and 9 without correlation: (2 / 2)^2 + (3 / 3)^2; then those of 1 and -1 with
    # a correlation of 1/2: (1 + 1 + 2 * 1/2) / (1 - 1/4) = 4.
    lists = {"latent_mean": [[0.0, 0.0], [1.0, 1.0]], "latent_cov": [[4.0, 0.0, 9.0], [1, 0.5, 1]]}
    sizes = {"latent_mean": 2, "latent_cov": 3}
    table = pa.table({n: pa.array(v, pa.list_(pa.float32(), sizes[n])) for n, v in lists.items()})
    found = distance_of(table, np.array([[2.0, 3.0], [2.0, 0.0]]))
    assert found == pytest.approx([2.0, 4.0])


def test_a_source_without_truth_has_no_rank_and_does_not_count():
    true = np.array([[0.0], [1.0], [np.nan]])
    found = tarp_ranks(np.zeros((3, 4, 1)), true)
    assert np.isnan(found[2])
    with_nan, without = np.array([0.2, 0.9, np.nan]), np.array([0.2, 0.9])
    assert deviation(with_nan)(np.ones(3)) == deviation(without)(np.ones(2))


def test_calibration_error_is_the_mean_excess_of_the_bins():
    # two bins: 0.25 is said and 1/2 are true; 0.85 is said and all are; a fifth has no probability
    chance = np.array([0.25, 0.25, 0.85, 0.85, np.nan])
    true = np.array([True, False, True, True, True])
    assert calibration_error(chance, true)(np.ones(5)) == pytest.approx((0.25 + 0.15) / 2)
    # the true one of the first two three times: 0.25 is said and 3/4 are true
    weight = np.array([3.0, 1.0, 2.0, 2.0, 9.0])
    assert calibration_error(chance, true)(weight) == pytest.approx((0.5 + 0.15) / 2)


def test_shares_are_weighted_and_leave_out_what_is_unknown():
    assert share(np.array([1.0, 0.0, np.nan]))(np.array([3.0, 1.0, 5.0])) == 0.75


def test_bins_hold_at_least_three_hundred_sources():
    assert [len(rows) for rows in bins_of(np.arange(700.0))] == [350, 350]
    assert len(bins_of(np.arange(100.0))) == 1


def test_the_claims_are_rules():
    assert [each.name for each in Rules.parse(_rules(CLAIMS)).classes] == list(CLAIMS)
