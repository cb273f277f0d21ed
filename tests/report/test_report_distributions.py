"""What one predicted distribution was worth, by hand and against independent libraries."""

import numpy as np
import pytest
from scipy.stats import chi2

from targetsel.report.distributions import crps, energy_score, inside, mahalanobis_pit, tarp


def test_the_crps_of_a_single_value_is_its_distance():
    assert crps(np.array([[3.0]]), np.array([5.0])) == pytest.approx([2.0])


def test_the_crps_of_two_values_with_the_truth_half_way_is_a_quarter_of_their_distance():
    # The integral of (1/2)^2 over the two units between them.
    assert crps(np.array([[1.0, -1.0]]), np.array([0.0])) == pytest.approx([0.5])


def test_crps_is_that_of_scoringrules():
    reference = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(1)
    values, true = rng.normal(size=(20, 50)), rng.normal(size=20)
    assert crps(values, true) == pytest.approx(
        reference.crps_ensemble(true, values, estimator="nrg"), rel=1e-9
    )


def test_energy_score_is_that_of_scoringrules():
    reference = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(2)
    draws, true = rng.normal(size=(20, 30, 3)), rng.normal(size=(20, 3))
    assert energy_score(draws, true) == pytest.approx(reference.es_ensemble(true, draws), rel=1e-6)


def test_energy_score_of_numbers_is_their_crps():
    rng = np.random.default_rng(3)
    draws, true = rng.normal(size=(10, 40)), rng.normal(size=10)
    assert energy_score(draws[..., None], true[:, None]) == pytest.approx(crps(draws, true))


def test_a_true_value_at_the_fifth_percentile_is_on_the_edge_of_the_90_percent_interval():
    assert inside(np.array([0.049, 0.051, 0.5, 0.949, 0.951]), 0.9).tolist() == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_mahalanobis_measures_in_units_of_the_covariance():
    mean, cov = np.zeros((2, 2)), np.broadcast_to(np.diag([4.0, 9.0]), (2, 2, 2))
    pit = mahalanobis_pit(mean, cov, np.array([[2.0, 0.0], [2.0, 3.0]]))
    assert pit == pytest.approx(chi2.cdf([1.0, 2.0], 2))


def test_tarp_counts_the_draws_nearer_to_the_reference_than_the_truth():
    draws = np.array([[[1.0, 0.0], [0.0, 2.0], [0.0, 4.0]]])
    share = tarp(draws, np.array([[3.0, 0.0]]), np.zeros((1, 2)))
    assert share == pytest.approx([2.5 / 4])


def test_expected_coverage_is_that_of_the_tarp_package():
    reference = pytest.importorskip("tarp")
    rng = np.random.default_rng(4)
    true = rng.normal(size=(400, 2))
    draws = true[:, None] + 0.3 * rng.normal(size=(400, 1, 2)) + 0.2 * rng.normal(size=(400, 99, 2))
    points = rng.normal(size=(400, 2))
    covered, levels = reference.get_tarp_coverage(
        draws.swapaxes(0, 1), true, references=points, norm=False, num_alpha_bins=20
    )
    covered, shares = covered.ravel(), tarp(draws, true, points)
    ours = [(shares < level).mean() for level in levels]
    assert ours == pytest.approx(covered, abs=0.02)
    assert np.abs(covered - levels).max() > 0.05  # and there is something to be seen
