"""Mixtures have the density, draws, conditionals and fits that Gaussians should have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from targetsel.statistics.gaussian_mixture import GaussianMixture

PAIR = GaussianMixture(
    np.ones(1), np.zeros((1, 2)), covariance=np.array([[[1.0, 0.8], [0.8, 1.0]]])
)
TWO = GaussianMixture(
    np.array([0.7, 0.3]),
    np.array([[0.0, 0.0], [3.0, 2.0]]),
    covariance=np.array([[[1.0, 0.5], [0.5, 1.0]], [[0.5, 0.0], [0.0, 2.0]]]),
)
FIRST = np.array([0])


def latents():
    factor = np.array([[[1.0, 0.0], [0.5, 2.0]], [[0.3, 0.0], [0.0, 0.3]]])
    return GaussianMixture(
        np.array([0.25, 0.75]), np.array([[0.0, 1.0], [3.0, -1.0]]), factor=factor
    )


def test_density_is_the_weighted_sum_of_gaussians():
    points = np.array([[0.0, 0.0], [3.0, -1.0], [1.0, 2.0]])
    each = [
        w * multivariate_normal(m, f @ f.T).pdf(points)
        for w, m, f in zip(latents().weight, latents().mean, latents().factor, strict=True)
    ]
    assert np.exp(latents().log_density(points)) == pytest.approx(sum(each))


def test_moments_are_those_of_draws():
    draws = latents().draw(40_000, np.random.default_rng(1))
    mean, cov = latents().moments()
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.03)
    assert np.cov(draws.T) == pytest.approx(cov, abs=0.06)


def test_each_gaussian_gives_its_share_of_draws():
    draws = latents().draw(100, np.random.default_rng(1))
    assert abs((draws[:, 0] > 2).sum() - 75) <= 3  # 25 of the broad one, few of which are there


def draws(mixture, value, n=20_000, tilt=(0.0, 0.0), share=0.0, error=0.0):
    normals = np.random.default_rng(1).standard_normal((n, mixture.n_features + 2))
    values = np.full((n, 1), value)
    return mixture.draw_given(FIRST, values, np.array([error]), normals, np.array(tilt), share)


def test_a_feature_correlated_by_0_8_follows_the_known_one_with_a_scatter_of_0_6():
    features, weight = draws(PAIR, 2.0)
    assert features[:, 0] == pytest.approx(2.0, abs=1e-3)
    assert features[:, 1].mean() == pytest.approx(1.6, abs=0.02)
    assert features[:, 1].std() == pytest.approx(0.6, abs=0.01)
    assert (weight == 1).all()


def test_an_uncertain_value_counts_half_where_its_variance_is_that_of_the_feature():
    features, _ = draws(PAIR, 2.0, error=1.0)
    assert features[:, 0].mean() == pytest.approx(1.0, abs=0.02)
    assert features[:, 0].var() == pytest.approx(0.5, abs=0.02)


def test_a_tilt_moves_draws_by_their_variance_and_weights_move_them_back():
    features, weight = draws(PAIR, 0.0, tilt=(0.0, 1.5), share=1.0)
    assert features[:, 1].mean() == pytest.approx(1.5 * 0.36, abs=0.02)
    assert weight.mean() == pytest.approx(1.0, abs=0.05)
    assert np.average(features[:, 1], weights=weight) == pytest.approx(0.0, abs=0.03)


@settings(max_examples=10)
@given(share=st.floats(0.05, 0.6), value=st.floats(-1, 3))
def test_weighted_draws_have_the_statistics_of_plain_ones(share, value):
    plain, _ = draws(TWO, value, error=0.3)
    tilted, weight = draws(TWO, value, tilt=(0.0, 1.0), share=share, error=0.3)
    assert weight.max() <= 1 / (1 - share)
    assert weight.mean() == pytest.approx(1.0, abs=0.05)
    assert np.average(tilted[:, 1], weights=weight) == pytest.approx(plain[:, 1].mean(), abs=0.08)
    assert tilted[:, 1].mean() > plain[:, 1].mean()


def test_excess_counts_the_scatter_that_is_left():
    features = np.array([[2.0, 1.6], [2.0, 2.2], [0.0, -0.6]])
    assert PAIR.excess(features, 1, FIRST) == pytest.approx([0.0, 1.0, -1.0])


def test_excess_of_a_mixtures_own_draws_has_mean_zero_and_variance_one():
    features = TWO.draw(40_000, np.random.default_rng(2))
    excess = TWO.excess(features, 1, FIRST)
    assert excess.mean() == pytest.approx(0.0, abs=0.02)
    assert excess.std() == pytest.approx(1.0, abs=0.02)


def noisy_pair():
    rng = np.random.default_rng(3)
    features = PAIR.draw(4000, rng)
    sigma = rng.uniform(0.5, 2.0, 4000)
    features[:, 1] += sigma * rng.standard_normal(4000)
    return features, (sigma**2)[:, None, None]


def test_noise_is_taken_out_of_scatter_and_correlation():
    features, noise = noisy_pair()
    assert np.cov(features.T)[1, 1] > 2.5
    fitted = GaussianMixture.fit(features, noise, (1, 0), 60)
    assert fitted.covariance[0] == pytest.approx(PAIR.covariance[0], abs=0.1)


def test_every_step_of_the_fit_raises_the_likelihood():
    features, noise = noisy_pair()
    seen = []
    GaussianMixture.fit(
        features, noise, (2, 0), 15, lambda step, likelihood: seen.append(likelihood)
    )
    assert (np.diff(seen) > -1e-4).all()
    assert seen[-1] > seen[0] + 0.1


def test_a_value_keeps_its_quantile_where_what_it_follows_changes():
    old = np.array([[0.0, 0.6], [1.0, 0.8], [2.0, 1.0]])  # by 1, 0 and -1 of the scatter of 0.6
    moved = PAIR.same_quantile(1, FIRST, old, np.array([[1.0], [2.0], [-1.0]]))
    assert moved == pytest.approx([0.8 + 0.6, 1.6, -0.8 - 0.6], abs=1e-6)


def test_values_of_a_mixture_are_spread_like_those_of_their_new_neighbours():
    features = TWO.draw(40_000, np.random.default_rng(2))
    near = features[np.abs(features[:, 0]) < 0.2]
    moved = TWO.same_quantile(1, FIRST, near, near[:, :1] + 2.5)
    there = features[np.abs(features[:, 0] - 2.5) < 0.2, 1]
    shares = [0.1, 0.3, 0.5, 0.7, 0.9]
    assert np.quantile(moved, shares) == pytest.approx(np.quantile(there, shares), abs=0.15)
