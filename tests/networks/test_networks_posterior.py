"""The latent posterior is a mixture, and its draws follow from seed and id alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from targetsel.networks.deviations import Deviations
from targetsel.networks.posterior import LatentPosterior


def posterior(n=5, m=3, d=2, seed=0):
    rng = np.random.default_rng(seed)
    factor = np.tril(rng.normal(size=(n, m, d, d))) * 0.3 + 0.8 * np.eye(d)
    return LatentPosterior(np.arange(n) + 100, rng.normal(size=(n, m, d)), factor, np.ones(n))


def test_mixture_of_two_unit_gaussians_one_apart_has_variance_one_and_a_quarter():
    mean = np.array([[[0.0], [1.0]]])
    factor = np.ones((1, 2, 1, 1))
    mixture = LatentPosterior(np.array([7]), mean, factor, np.ones(1))
    assert mixture.mean == pytest.approx(0.5)
    assert mixture.cov[0, 0, 0] == pytest.approx(1.25)
    assert mixture.epistemic == pytest.approx(0.5)


def test_members_that_agree_have_no_epistemic_part():
    mean = np.repeat(np.array([[[0.3, -0.2]]]), 4, axis=1)
    factor = np.broadcast_to(np.eye(2), (1, 4, 2, 2))
    assert LatentPosterior(np.array([1]), mean, factor, np.ones(1)).epistemic == pytest.approx(0)


def test_draws_have_the_mean_and_covariance_of_the_mixture():
    mixture = posterior(n=1)
    draws = mixture.draw(3 * 4096, seed=1)[0]
    assert draws.mean(axis=0) == pytest.approx(mixture.mean[0], abs=0.01)
    assert np.cov(draws.T) == pytest.approx(mixture.cov[0], abs=0.03)


def test_draws_of_a_source_do_not_depend_on_its_neighbours():
    mixture = posterior()
    assert np.array_equal(mixture.draw(30)[3], mixture.take(slice(3, 4)).draw(30)[0])


def test_draws_differ_between_seeds_and_between_ids():
    mixture = posterior()
    twin = LatentPosterior(
        np.arange(5) + 200, mixture.member_mean, mixture.member_factor, mixture.typicality
    )
    assert not np.allclose(mixture.draw(30, seed=0), mixture.draw(30, seed=1))
    assert not np.allclose(mixture.draw(30), twin.draw(30))


def test_every_member_gives_the_same_number_of_draws():
    assert posterior(m=3).draw(100).shape == (5, 102, 2)


def test_a_source_without_prediction_has_nan_draws_and_leaves_others_alone():
    mixture = posterior()
    broken = LatentPosterior(
        mixture.source_id,
        np.where(np.arange(5)[:, None, None] == 2, np.nan, mixture.member_mean),
        mixture.member_factor,
        mixture.typicality,
    )
    assert np.isnan(broken.draw(12)[2]).all()
    assert np.array_equal(broken.draw(12)[[0, 1, 3, 4]], mixture.draw(12)[[0, 1, 3, 4]])


SKEWED = Deviations(
    np.array([[-0.3, 0.1], [0.6, -0.2]]),
    np.array([[[0.6, 0.0], [0.1, 0.8]], [[1.4, 0.0], [-0.3, 1.2]]]),
    np.array([[0.5, 0.0], [0.0, 0.4], [0.3, 0.0]]),
)


def skewed(n=5, m=3, seed=0):
    """Every member is two Gaussians, neither of which lies where the member expects."""
    return replace(posterior(n, m, seed=seed), deviations=SKEWED)


def test_draws_of_a_skewed_posterior_have_its_mean_and_covariance():
    mixture = skewed(n=1)
    draws = mixture.draw(3 * 8192, seed=1)[0]
    assert draws.mean(axis=0) == pytest.approx(mixture.mean[0], abs=0.02)
    assert np.cov(draws.T) == pytest.approx(mixture.cov[0], abs=0.06)
    assert not np.allclose(mixture.mean, mixture.centre, atol=0.02)


def test_draws_of_a_skewed_posterior_do_not_depend_on_neighbours_either():
    mixture = skewed()
    assert np.array_equal(mixture.draw(30)[3], mixture.take(slice(3, 4)).draw(30)[0])


def test_a_standard_normal_deviation_leaves_everything_as_it_was():
    mixture = posterior()
    same = replace(mixture, deviations=Deviations.standard(2))
    assert np.array_equal(same.draw(30), mixture.draw(30))
    assert same.mean == pytest.approx(mixture.centre)
    assert np.array_equal(same.share, np.ones((5, 1)))


def test_joined_pieces_are_the_whole():
    whole = skewed()
    again = LatentPosterior.joined([whole.take(slice(0, 2)), whole.take(slice(2, 5))])
    assert np.array_equal(again.draw(12), whole.draw(12))


def test_quantiles_and_probabilities_are_each_others_inverse():
    mixture = skewed()
    for probability in (0.05, 0.5, 0.9):
        found = mixture.probability_below(mixture.quantile(probability))
        assert found == pytest.approx(np.full((5, 2), probability), abs=1e-7)


def test_probability_below_is_the_share_of_draws_below():
    mixture = skewed(n=1)
    point = np.array([[0.4, -0.2]])
    draws = mixture.draw(3 * 4096)[0]
    assert mixture.probability_below(point)[0] == pytest.approx(
        (draws < point).mean(axis=0), abs=0.005
    )


def test_log_density_is_that_of_the_mixture_by_scipy():
    mixture = skewed(n=1)
    point = np.array([[0.4, -0.2]])
    parts = [
        share * multivariate_normal(mean, factor @ factor.T).pdf(point[0])
        for means, factors in zip(
            mixture.component_mean[0], mixture.component_factor[0], strict=True
        )
        for share, mean, factor in zip(mixture.share[0], means, factors, strict=True)
    ]
    assert mixture.share[0].sum() == pytest.approx(1)
    assert mixture.log_density(point)[0] == pytest.approx(np.log(np.sum(parts) / 3))


def test_errors_of_measurement_add_to_the_covariance():
    mixture = posterior()
    noisy = mixture.with_noise(np.full((5, 2), 0.5))
    assert noisy.member_cov == pytest.approx(mixture.member_cov + 0.25 * np.eye(2))


def test_marginal_crps_is_that_of_scoringrules():
    scoringrules = pytest.importorskip("scoringrules")
    mixture = skewed(n=1)
    point = np.array([[0.4, -0.2]])
    cov = mixture.component_factor[0] @ mixture.component_factor[0].swapaxes(-1, -2)
    exact = scoringrules.crps_mixnorm(
        point[0, 0],
        mixture.component_mean[0, ..., 0].ravel(),
        np.sqrt(cov[..., 0, 0]).ravel(),
        np.tile(mixture.share[0] / 3, 3),
    )
    grid = point[0, 0] + 0.02 * (np.arange(-600, 600) + 0.5)
    below = mixture.take(np.zeros(1200, int)).probability_below(np.stack([grid, grid], axis=1))
    ours = 0.02 * np.sum((below[:, 0] - (grid > point[0, 0])) ** 2)
    assert ours == pytest.approx(exact, abs=0.001)


def test_a_skewed_posterior_has_as_many_gaussians_for_each_member_as_its_deviations():
    deviations = Deviations(
        np.array([[0.5], [-1.0]]),
        np.array([[[0.5]], [[3.0]]]),
        np.array([[np.log(4.0), 0.0], [0.0, 0.0]]),
    )
    skewed = LatentPosterior(
        np.array([5]),
        np.array([[[0.0], [2.0]]]),
        np.ones((1, 2, 1, 1)),
        np.ones(1),
        deviations=deviations,
    )
    mixture = skewed.mixture(0)
    assert mixture.weight == pytest.approx([0.4, 0.1, 0.4, 0.1])
    by_hand = sum(
        w * norm(m, s).pdf(1.5) for w, m, s in
        [(0.4, 0.5, 0.5), (0.1, -1, 3), (0.4, 2.5, 0.5), (0.1, 1, 3)]
    )  # fmt: skip
    assert np.exp(mixture.log_density(np.array([[1.5]])))[0] == pytest.approx(by_hand)
    assert skewed.log_density(np.array([[1.5]]))[0] == pytest.approx(np.log(by_hand))
