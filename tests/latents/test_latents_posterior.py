"""The latent posterior is a mixture, and its draws follow from seed and id alone."""

import numpy as np
import pytest

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
