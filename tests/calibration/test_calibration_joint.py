"""Joint calibration: that claims about several proxies come true as often as is said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from targetsel.calibration.joint import JointCalibration
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior

N = 12_000
NAMES = ("ew_oii", "d4000", "hdelta_a")
PAIRS = [(a, b) for j, b in enumerate(NAMES) for a in NAMES[:j]]


def sources(seed: int) -> tuple[ProxyPosterior, dict[str, np.ndarray]]:
    """Marginals that are right; correlations of 0 are predicted.

    Half of the sources are quiescent: their scores rise and fall together. Those of the others are
    independent.
    """
    rng = np.random.default_rng(seed)
    quiescent = rng.random(N) < 0.5
    common, own = rng.standard_normal(N), rng.standard_normal((3, N))
    scores = np.where(quiescent, 0.8 * common + 0.6 * own, own)
    centre = np.where(quiescent, 0.0, 20.0) + rng.uniform(-3, 3, (3, N))
    knots = {name: centre[k][:, None] + NORMAL_SCORES for k, name in enumerate(NAMES)}
    true = {name: centre[k] + scores[k] for k, name in enumerate(NAMES)}
    return ProxyPosterior(NAMES, knots, {pair: np.zeros(N) for pair in PAIRS}), true


def applied(joint: JointCalibration, posterior: ProxyPosterior) -> ProxyPosterior:
    medians = {
        name: knots[:, len(NORMAL_SCORES) // 2] for name, knots in posterior.quantiles.items()
    }
    groups = joint.groups(medians)
    return ProxyPosterior(
        NAMES, posterior.quantiles, posterior.correlation, joint.copula, lambda: groups
    )


def test_expected_and_true_counts_of_pairs_agree_after_it_and_not_before():
    posterior, true = sources(1)
    joint = JointCalibration.fit(posterior, true, np.ones(N))
    posterior, true = sources(2)
    limits = {name: posterior.quantile(name, 0.8) for name in NAMES}
    box = {name: (posterior.score(name, limits[name]), None) for name in NAMES[:2]}
    both = np.all([true[name] > limits[name] for name in NAMES[:2]], axis=0)
    before, after = (
        each.probability_inside(box) for each in (posterior, applied(joint, posterior))
    )
    for rows in (slice(None), true["d4000"] < 10, true["d4000"] > 10):
        n = both[rows].sum()
        assert abs(after[rows].sum() - n) < 3 * np.sqrt(n)
    n = both[true["d4000"] < 10].sum()
    assert before[true["d4000"] < 10].sum() < n - 6 * np.sqrt(n)


def test_groups_are_those_of_the_fit_and_none_without_a_median():
    posterior, true = sources(3)
    joint = JointCalibration.fit(posterior, true, np.ones(N))
    medians = {name: np.array([0.0, 0.0, 20.0, np.nan]) for name in NAMES}
    groups = joint.groups(medians)
    assert groups[0] == groups[1] != groups[2]
    assert groups[3] == -1
    found = joint.groups({name: knots[:, 5] for name, knots in posterior.quantiles.items()})
    assert sorted(np.unique(found)) == list(range(8))
    assert np.bincount(found).min() > 0.9 * N / 8


def test_few_sources_make_one_group():
    posterior, true = sources(4)
    few = slice(0, 500)
    joint = JointCalibration.fit(
        posterior.take(few), {name: each[few] for name, each in true.items()}, np.ones(500)
    )
    assert joint.copula.whitened.shape[0] == 1
    assert not joint.split_by


def test_weights_stand_for_sources():
    posterior, true = sources(5)
    quiescent = true["d4000"] < 10
    weight = np.where(quiescent, 1.0, 1e-6)
    joint = JointCalibration.fit(posterior, true, weight)
    above = (joint.copula.whitened > 0).all(axis=1).mean()
    rows = np.flatnonzero(quiescent)
    expected = np.all([posterior.score(n, true[n])[rows] > 0 for n in NAMES], axis=0).mean()
    assert above == pytest.approx(expected, abs=0.02)
    assert expected > 1.8 * ndtr(0) ** 3


def test_the_complex_of_halpha_is_the_sum_of_its_lines():
    rng = np.random.default_rng(6)
    names = ("ew_halpha", "ew_nii", "ew_halpha_nii")
    scores = rng.standard_normal((2, N))
    halpha, nii = 20 + 5 * scores[0], 8 + 2 * scores[1]
    true = dict(zip(names, (halpha, nii, halpha + 1.33 * nii - 0.5), strict=True))
    spread = {"ew_halpha": 5.0, "ew_nii": 2.0, "ew_halpha_nii": np.hypot(5, 2.66)}
    centre = {"ew_halpha": 20.0, "ew_nii": 8.0, "ew_halpha_nii": 20 + 8 * 1.33 - 0.5}
    knots = {n: np.tile(centre[n] + spread[n] * NORMAL_SCORES, (N, 1)) for n in names}
    rho = {("ew_halpha", "ew_nii"): 0.0, ("ew_halpha", "ew_halpha_nii"): 5 / np.hypot(5, 2.66),
           ("ew_nii", "ew_halpha_nii"): 2.66 / np.hypot(5, 2.66)}  # fmt: skip
    posterior = ProxyPosterior(names, knots, {k: np.full(N, v) for k, v in rho.items()})
    joint = JointCalibration.fit(posterior, true, np.ones(N))
    assert joint.copula.names == names[:2]
    terms = joint.copula.complexes["ew_halpha_nii"].terms
    assert np.allclose(terms, [-0.5, 1.0, 1.33], atol=1e-6)
