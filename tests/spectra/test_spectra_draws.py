"""Quantiles, normal scores and correlations of draws are those that SciPy finds."""

import numpy as np
import pytest
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.proxies import NORMAL_SCORES, Proxies

NAMES = ("a", "b")


def draws(n=3, s=200, seed=0):
    values = np.random.default_rng(seed).gumbel(size=(n, s, 2)) @ [[1.0, 0.8], [0.0, 0.6]]
    return ProxyDraws.of(Proxies(np.arange(n), NAMES, values))


def test_knots_are_hazens_quantiles():
    found = draws()
    expected = np.quantile(found["a"].numpy(), ndtr(NORMAL_SCORES), axis=1, method="hazen").T
    np.testing.assert_allclose(found.knots[0], expected, rtol=1e-12)


def test_scores_are_those_of_the_ranks():
    found = draws()
    expected = ndtri((rankdata(found["b"].numpy(), axis=1) - 0.5) / 200)
    np.testing.assert_allclose(found.scores[1], expected, rtol=1e-12)


def test_correlation_is_that_of_the_scores():
    found = draws()
    for row in range(3):
        one, other = found.scores[:, row].numpy()
        expected = np.corrcoef(one, other)[0, 1]
        assert found.posterior.correlation["a", "b"][row] == pytest.approx(expected, abs=1e-9)


def test_draws_that_cannot_be_measured_are_left_out_and_too_many_leave_no_posterior():
    found = draws(n=2, s=100)
    found.values[0, 0, :4] = np.nan
    found.values[0, 1, :6] = np.nan
    expected = np.quantile(found["a"][0, 4:].numpy(), ndtr(NORMAL_SCORES), method="hazen")
    np.testing.assert_allclose(found.knots[0, 0], expected, rtol=1e-12)
    assert found.knots[0, 1].isnan().all()
    assert (found.scores[0, 0, :4] == 0).all()
    assert np.isfinite(found.posterior.correlation["a", "b"]).all()


def test_moved_draws_have_the_new_quantiles_and_keep_their_order():
    found = draws()
    wider = {"a": 3 * found.knots[0].numpy() + 1}
    moved = found.moved(wider)
    assert torch.equal(moved["a"].argsort(dim=1), found["a"].argsort(dim=1))
    assert torch.equal(moved["b"], found["b"])
    np.testing.assert_allclose(moved.knots[0, :, 2:-2], wider["a"][:, 2:-2], atol=0.1)


def test_a_source_does_not_depend_on_its_neighbours():
    found = draws(n=5)
    one = ProxyDraws(found.source_id[3:4], NAMES, found.values[:, 3:4])
    assert torch.equal(one.knots, found.knots[:, 3:4])
    assert torch.equal(one.scores, found.scores[:, 3:4])
