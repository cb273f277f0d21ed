"""Mixtures of Gaussians over latents."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from targetsel.networks.deviations import Deviations
from targetsel.networks.posterior import LatentPosterior
from targetsel.priors.mixture import Mixture


def two():
    factor = np.array([[[1.0, 0.0], [0.5, 2.0]], [[0.3, 0.0], [0.0, 0.3]]])
    return Mixture(np.array([0.25, 0.75]), np.array([[0.0, 1.0], [3.0, -1.0]]), factor)


def test_density_is_the_weighted_sum_of_gaussians():
    points = np.array([[0.0, 0.0], [3.0, -1.0], [1.0, 2.0]])
    each = [
        w * multivariate_normal(m, f @ f.T).pdf(points)
        for w, m, f in zip(two().weight, two().mean, two().factor, strict=True)
    ]
    assert np.exp(two().log_density(points)) == pytest.approx(sum(each))


def test_moments_are_those_of_draws():
    draws = two().draw(40_000, np.random.default_rng(1))
    mean, cov = two().moments()
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.03)
    assert np.cov(draws.T) == pytest.approx(cov, abs=0.06)


def test_each_gaussian_gives_its_share_of_draws():
    draws = two().draw(100, np.random.default_rng(1))
    assert abs((draws[:, 0] > 2).sum() - 75) <= 3  # 25 of the broad one, few of which are there


def test_a_skewed_posterior_has_as_many_gaussians_for_each_member_as_its_deviations():
    deviations = Deviations(
        np.array([[0.5], [-1.0]]),
        np.array([[[0.5]], [[3.0]]]),
        np.array([[np.log(4.0), 0.0], [0.0, 0.0]]),
    )
    posterior = LatentPosterior(
        np.array([5]),
        np.array([[[0.0], [2.0]]]),
        np.ones((1, 2, 1, 1)),
        np.ones(1),
        deviations=deviations,
    )
    mixture = Mixture.of(posterior, 0)
    assert mixture.weight == pytest.approx([0.4, 0.1, 0.4, 0.1])
    by_hand = sum(
        w * norm(m, s).pdf(1.5) for w, m, s in
        [(0.4, 0.5, 0.5), (0.1, -1, 3), (0.4, 2.5, 0.5), (0.1, 1, 3)]
    )  # fmt: skip
    assert np.exp(mixture.log_density(np.array([[1.5]])))[0] == pytest.approx(by_hand)
    assert posterior.log_density(np.array([[1.5]]))[0] == pytest.approx(np.log(by_hand))
