"""The latent posterior is a mixture, and its draws follow from seed and id alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2, multivariate_normal

from targetsel.latents.posterior import LatentPosterior


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
    alone = LatentPosterior(**{name: values[3:4] for name, values in vars(mixture).items()})
    assert np.array_equal(mixture.draw(30)[3], alone.draw(30)[0])


def test_draws_differ_between_seeds_and_between_ids():
    mixture = posterior()
    twin = LatentPosterior(
        np.arange(5) + 200, mixture.member_mean, mixture.member_factor, mixture.novelty
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
        mixture.novelty,
    )
    assert np.isnan(broken.draw(12)[2]).all()
    assert np.array_equal(broken.draw(12)[[0, 1, 3, 4]], mixture.draw(12)[[0, 1, 3, 4]])


def heavy(n=5, m=3, seed=0):
    """Half of every member 0.5 and half 1.32 times as wide, whose squares have a mean of 1."""
    mixture = posterior(n, m, seed=seed)
    scale = np.array([0.5, np.sqrt(1.75)])
    return replace(mixture, scale=np.tile(scale, (n, 1)), share=np.full((n, 2), 0.5))


def test_draws_of_heavy_tails_have_the_same_covariance_and_more_far_ones():
    even, tailed = posterior(n=1), heavy(n=1)
    draws = tailed.draw(3 * 4096, seed=1)[0]
    assert np.cov(draws.T) == pytest.approx(even.cov[0], abs=0.04)
    whitened = np.linalg.solve(
        tailed.member_factor[0, 0], (draws[:4096] - tailed.member_mean[0, 0]).T
    )
    assert np.mean((whitened**2).sum(axis=0) < chi2.ppf(0.5, 2)) > 0.55
    assert np.mean((whitened**2).sum(axis=0) > chi2.ppf(0.99, 2)) > 0.02


def test_draws_of_heavy_tails_do_not_depend_on_neighbours_either():
    mixture = heavy()
    assert np.array_equal(mixture.draw(30)[3], mixture.take(slice(3, 4)).draw(30)[0])


def test_one_scale_of_one_draws_as_without_scales():
    mixture = posterior()
    one = replace(mixture, scale=np.ones((5, 1)), share=np.ones((5, 1)))
    assert np.array_equal(one.draw(30), mixture.draw(30))


def test_quantiles_and_probabilities_are_each_others_inverse():
    mixture = heavy()
    for probability in (0.05, 0.5, 0.9):
        found = mixture.probability_below(mixture.quantile(probability))
        assert found == pytest.approx(np.full((5, 2), probability), abs=1e-7)


def test_probability_below_is_the_share_of_draws_below():
    mixture = heavy(n=1)
    point = np.array([[0.4, -0.2]])
    draws = mixture.draw(3 * 4096)[0]
    assert mixture.probability_below(point)[0] == pytest.approx(
        (draws < point).mean(axis=0), abs=0.005
    )


def test_log_density_is_that_of_the_mixture_by_scipy():
    mixture = heavy(n=1)
    point = np.array([[0.4, -0.2]])
    parts = [
        multivariate_normal(mean, scale**2 * cov).pdf(point[0])
        for mean, cov in zip(mixture.member_mean[0], mixture.member_cov[0], strict=True)
        for scale in mixture.scale[0]
    ]
    assert mixture.log_density(point)[0] == pytest.approx(np.log(np.mean(parts)))


def test_errors_of_measurement_add_to_the_covariance():
    mixture = posterior()
    noisy = mixture.with_noise(np.full((5, 2), 0.5))
    assert noisy.member_cov == pytest.approx(mixture.member_cov + 0.25 * np.eye(2))


def test_marginal_crps_is_that_of_scoringrules():
    scoringrules = pytest.importorskip("scoringrules")
    mixture = heavy(n=1)
    point = np.array([[0.4, -0.2]])
    spread = np.sqrt(np.diagonal(mixture.member_cov, axis1=2, axis2=3))[0, :, 0]
    exact = scoringrules.crps_mixnorm(
        point[0, 0],
        np.repeat(mixture.member_mean[0, :, 0], 2),
        np.concatenate([s * mixture.scale[0] for s in spread]),
    )
    grid = point[0, 0] + 0.02 * (np.arange(-600, 600) + 0.5)
    below = mixture.take(np.zeros(1200, int)).probability_below(np.stack([grid, grid], axis=1))
    ours = 0.02 * np.sum((below[:, 0] - (grid > point[0, 0])) ** 2)
    assert ours == pytest.approx(exact, abs=0.001)
