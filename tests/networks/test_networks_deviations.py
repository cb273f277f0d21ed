"""Deviations are found as other people's mixtures find them, and follow the predicted mean."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from targetsel.networks import deviations
from targetsel.networks.deviations import Deviations

D = 2


def skewed(n, rng):
    """Exponential deviations in the first latent, tied to normal ones in the second."""
    first = rng.exponential(size=n) - 1
    return np.column_stack([first, 0.6 * first + 0.8 * rng.normal(size=n)])


def fitted(whitened, mean=None, weight=None):
    n = len(whitened)
    return Deviations.fit(
        whitened[:, None],
        np.zeros((n, 1)),
        np.zeros((n, D)) if mean is None else mean,
        np.ones(n) if weight is None else weight,
    )


def log_density(found, whitened, mean):
    return np.logaddexp.reduce(found.log_densities(whitened) + found.log_share(mean), axis=1)


def test_other_sources_are_as_likely_as_under_the_mixture_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(deviations, "N_STEPS", 300)
    rng = np.random.default_rng(1)
    seen, other = skewed(6000, rng), skewed(6000, rng)
    ours = log_density(fitted(seen), other, np.zeros((6000, D))).mean()
    theirs = GaussianMixture(deviations.N_PARTS, n_init=5, random_state=0).fit(seen).score(other)
    normal = log_density(Deviations.standard(D), other, np.zeros((6000, D))).mean()
    assert ours == pytest.approx(theirs, abs=0.03)
    assert ours > normal + 0.2


def test_shares_follow_the_predicted_mean_where_deviations_do():
    rng = np.random.default_rng(2)
    mean = rng.normal(size=(8000, D))
    wide = rng.random(8000) < 1 / (1 + np.exp(-2 * mean[:, 0]))
    whitened = np.where(wide, 3.0, 0.5)[:, None] * rng.normal(size=(8000, D))
    found = fitted(whitened, mean)
    widest = np.argmax(found.factor[:, 0, 0])
    low, high = np.exp(found.log_share(np.array([[-2.0, 0.0], [2.0, 0.0]])))[:, widest]
    assert low < 0.1
    assert high > 0.85


def test_the_member_that_is_nearest_explains_a_source():
    rng = np.random.default_rng(3)
    near = rng.normal(size=(4000, D))
    far = near + np.array([30.0, 0.0])
    found = Deviations.fit(
        np.stack([near, far], axis=1), np.zeros((4000, 2)), np.zeros((4000, D)), np.ones(4000)
    )
    mean = np.exp(found.log_share(np.zeros((1, D))))[0] @ found.offset
    assert mean == pytest.approx([0.0, 0.0], abs=0.05)


def test_a_source_of_weight_two_counts_as_two():
    rng = np.random.default_rng(4)
    whitened = skewed(1000, rng)
    twice = fitted(np.repeat(whitened, 2, axis=0))
    weighted = fitted(whitened, weight=np.full(1000, 2.0))
    assert weighted.offset == pytest.approx(twice.offset, abs=1e-6)
    assert weighted.gate == pytest.approx(twice.gate, abs=1e-6)


def test_no_part_collapses_on_a_few_sources():
    rng = np.random.default_rng(5)
    whitened = rng.normal(size=(60, D))
    whitened[:30] = 0.1
    found = fitted(whitened)
    assert (np.diagonal(found.factor, axis1=1, axis2=2) > 0.3).all()
