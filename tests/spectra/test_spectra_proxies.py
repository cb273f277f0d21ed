import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.proxies import NORMAL_SCORES, Proxies, ProxyPosterior

MEAN, STD = np.array([10.0, -2.0]), np.array([3.0, 0.5])


def gaussian(correlation, n=1):
    """Two Gaussian proxies, the same for each of N sources."""
    a, b = MEAN[:, None] + STD[:, None] * NORMAL_SCORES
    return ProxyPosterior(
        ("a", "b"),
        {"a": np.tile(a, (n, 1)), "b": np.tile(b, (n, 1))},
        {("a", "b"): np.full(n, float(correlation))},
    )


@given(st.floats(-20, 40))
def test_gaussian_marginal_is_exact_also_in_the_tails(threshold):
    found = gaussian(0.0).probability_below("a", threshold)[0]
    assert found == pytest.approx(norm.cdf(threshold, 10, 3), abs=1e-12)


@given(st.floats(1e-4, 1 - 1e-4))
def test_probability_below_a_quantile_is_its_level(level):
    rng = np.random.default_rng(3)
    skewed = Proxies(np.arange(5), ("a",), np.exp(rng.normal(size=(5, 400, 1))))
    posterior = ProxyDraws.of(skewed, ("a",)).posterior
    at = posterior.quantile("a", level)
    np.testing.assert_allclose(posterior.probability_below("a", at), level, atol=1e-9)


@pytest.mark.parametrize("correlation", [-0.9, -0.3, 0.0, 0.6, 0.95])
def test_joint_probability_is_that_of_the_bivariate_normal(correlation):
    draws = gaussian(correlation).draw(("a", "b"), 4096)
    found = ((draws["a"] < 11) & (draws["b"] < -2.2)).mean()
    covariance = np.outer(STD, STD) * [[1, correlation], [correlation, 1]]
    expected = multivariate_normal(MEAN, covariance).cdf([11, -2.2])
    assert found == pytest.approx(expected, abs=0.004)


def test_correlation_of_draws_is_found_again():
    rng = np.random.default_rng(4)
    factor = np.linalg.cholesky([[1, 0.7], [0.7, 1]])
    values = rng.normal(size=(3, 4000, 2)) @ factor.T
    posterior = ProxyDraws.of(Proxies(np.arange(3), ("a", "b"), values), ("a", "b")).posterior
    np.testing.assert_allclose(posterior.correlation["a", "b"], 0.7, atol=0.03)


def test_median_and_spread_are_those_of_the_draws():
    values = np.random.default_rng(5).normal(4, 2, (2, 5000, 1))
    posterior = ProxyDraws.of(Proxies(np.arange(2), ("a",), values), ("a",)).posterior
    np.testing.assert_allclose(posterior.quantile("a", 0.5), np.median(values[..., 0], axis=1))
    np.testing.assert_allclose(posterior.std("a"), values[..., 0].std(axis=1), rtol=0.02)


def test_source_without_proxies_has_no_probability_and_leaves_its_neighbours_alone():
    values = np.random.default_rng(6).normal(size=(3, 200, 1))
    whole = ProxyDraws.of(Proxies(np.arange(3), ("a",), values), ("a",)).posterior
    values[1] = np.nan
    posterior = ProxyDraws.of(Proxies(np.arange(3), ("a",), values), ("a",)).posterior
    found = posterior.probability_below("a", 0.3)
    assert np.isnan(found[1])
    np.testing.assert_array_equal(found[[0, 2]], whole.probability_below("a", 0.3)[[0, 2]])


def test_draw_that_cannot_be_measured_is_left_out():
    values = np.random.default_rng(7).normal(size=(1, 2001, 1))
    known = ProxyDraws.of(Proxies(np.arange(1), ("a",), values[:, 1:]), ("a",)).posterior
    values[0, 0] = np.nan
    found = ProxyDraws.of(Proxies(np.arange(1), ("a",), values), ("a",)).posterior
    np.testing.assert_allclose(found.knots("a"), known.knots("a"))


def test_proxy_that_is_always_the_same_is_a_step():
    posterior = ProxyPosterior(("a",), {"a": np.full((1, len(NORMAL_SCORES)), 2.0)}, {})
    below = [posterior.probability_below("a", x)[0] for x in (1.9, 2.1)]
    assert below == [0, 1]


def test_draws_do_not_depend_on_the_neighbours():
    five, one = gaussian(0.5, 5), gaussian(0.5, 1)
    np.testing.assert_array_equal(
        five.draw(("b", "a"), 64)["a"][3], one.draw(("b", "a"), 64)["a"][0]
    )
