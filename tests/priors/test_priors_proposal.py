"""What an update proposes its points from."""

import numpy as np
import pytest

from targetsel.priors.proposal import FLOOR, Proposal, flattened, refitted, worth
from targetsel.statistics.gaussian_mixture import GaussianMixture

D = 6


def far_too_wide():
    """One peak and a prior, both far wider than a Gaussian of width 0.3 about (2, ..., 2)."""
    latents = GaussianMixture(np.ones(1), np.zeros((1, D)), factor=3.0 * np.eye(D)[None])
    edges, chance = np.array([-20.0, 20.0]), np.ones(1)
    return Proposal(np.ones(1), np.zeros((1, D + 1)), np.eye(D + 1)[None], latents, edges, chance)


def log_target(points):
    return -0.5 * (((points - 2.0) / 0.3) ** 2).sum(axis=1)


def adapted(proposal, rounds, rng):
    for _ in range(rounds):
        points = proposal.draw(256, rng)
        proposal = refitted(proposal, points, log_target(points) - proposal.log_density(points))
    return proposal


def test_peaks_find_a_posterior_that_the_first_points_hardly_reach():
    rng = np.random.default_rng(0)
    before, after = far_too_wide(), adapted(far_too_wide(), 12, rng)
    for proposal, low, high in ((before, 0, 3), (after, 75, 256)):
        points = proposal.draw(256, rng)
        assert low < worth(log_target(points) - proposal.log_density(points)) < high
    assert after.mean == pytest.approx(2.0, abs=0.1)


def test_weights_that_rest_on_one_point_are_flattened_to_a_hundred_draws():
    log_weight = -10.0 * np.arange(1000.0)
    flat = flattened(log_weight)
    assert worth(log_weight) == pytest.approx(1, abs=1e-3)
    assert worth(flat) == pytest.approx(FLOOR, rel=1e-3)
    assert np.all(np.diff(flat) < 0)


def test_weights_that_are_worth_enough_stay_as_they_are():
    log_weight = np.log(np.tile([1.0, 3.0], 200))
    assert worth(log_weight) == pytest.approx(400 * 0.8)  # 4 x 4 / (2 x 10) of the points
    assert np.array_equal(flattened(log_weight), log_weight)


def test_impossible_points_stay_impossible():
    log_weight = np.where(np.arange(300) < 200, -50.0 * np.arange(300.0), -np.inf)
    assert np.all(np.isneginf(flattened(log_weight)[200:]))
