"""Quantiles are moved so that they hold what they claim, and correlations stay."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.stats import kstest

from targetsel.calibration.proxies import ScoreMap, calibrated
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior


def predicted(n, seed):
    """Gaussian predictions of width 1 about 0 to 50, and magnitudes."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 50, n), rng.uniform(15, 19, n), rng


def knots(median):
    return median[:, None] + NORMAL_SCORES


def posterior(median, **more):
    quantiles = {"ew_halpha": knots(median), **more}
    pairs = {("ew_halpha", name): np.full(len(median), 0.4) for name in more}
    return ProxyPosterior(("ew_halpha", *more), quantiles, pairs)


def truth(median, magnitude, rng):
    """Off by a fiftieth of the prediction, three times as wide for faint sources as for bright."""
    width = np.interp(magnitude, [15, 19], [0.5, 1.5])
    return median * 1.02 + width * rng.standard_t(4, size=len(median))


@pytest.fixture(scope="module")
def fitted():
    median, magnitude, rng = predicted(8000, 1)
    true = truth(median, magnitude, rng)
    return ScoreMap.fit(knots(median), true, magnitude, np.ones(8000))


def coverage(posterior, true, share):
    return np.abs(posterior.probability_below("ew_halpha", true) - 0.5) < share / 2


@pytest.mark.parametrize("share", [0.5, 0.68, 0.9, 0.95])
def test_intervals_of_other_sources_hold_what_they_claim(fitted, share):
    median, magnitude, rng = predicted(4000, 2)
    true = truth(median, magnitude, rng)
    after = calibrated(posterior(median), {"ew_halpha": fitted}, magnitude)
    inside = coverage(after, true, share)
    assert inside.mean() == pytest.approx(share, abs=0.02)
    for faint in (False, True):
        there = (magnitude > 17) == faint
        assert inside[there].mean() == pytest.approx(share, abs=0.035)
    for strong in (False, True):
        there = (median > 25) == strong
        assert inside[there].mean() == pytest.approx(share, abs=0.035)


def test_places_of_true_values_become_uniform(fitted):
    median, magnitude, rng = predicted(2000, 3)
    true = truth(median, magnitude, rng)
    before = posterior(median)
    after = calibrated(before, {"ew_halpha": fitted}, magnitude)
    assert kstest(before.probability_below("ew_halpha", true), "uniform").statistic > 0.1
    assert kstest(after.probability_below("ew_halpha", true), "uniform").statistic < 0.04


def test_an_honest_prediction_is_hardly_moved():
    median, magnitude, rng = predicted(8000, 4)
    true = median + rng.normal(size=8000)
    honest = ScoreMap.fit(knots(median), true, magnitude, np.ones(8000))
    scores = np.tile([-1.5, 0.0, 1.5], (8000, 1))
    moved = honest(scores, median, magnitude)
    assert np.abs(moved - scores).max() < 0.4
    assert np.abs(moved - scores).mean() < 0.08


def test_quantiles_still_rise_and_other_proxies_and_correlations_stay(fitted):
    median, magnitude, _ = predicted(20, 5)
    other = np.sort(np.random.default_rng(5).normal(size=(20, len(NORMAL_SCORES))), axis=1)
    before = posterior(median, d4000=other)
    after = calibrated(before, {"ew_halpha": fitted}, magnitude)
    assert (np.diff(after.knots("ew_halpha"), axis=1) > 0).all()
    assert not np.allclose(after.knots("ew_halpha"), before.knots("ew_halpha"))
    assert np.array_equal(after.knots("d4000"), other)
    assert after.correlation == before.correlation


def test_the_moved_posterior_of_a_source_does_not_depend_on_its_neighbours(fitted):
    median, magnitude, _ = predicted(9, 6)
    whole = calibrated(posterior(median), {"ew_halpha": fitted}, magnitude)
    alone = calibrated(posterior(median[4:5]), {"ew_halpha": fitted}, magnitude[4:5])
    assert np.array_equal(whole.knots("ew_halpha")[4:5], alone.knots("ew_halpha"))


def test_a_proxy_without_a_posterior_stays_without(fitted):
    median, magnitude, _ = predicted(3, 7)
    before = posterior(median)
    before.knots("ew_halpha")[1] = np.nan
    after = calibrated(before, {"ew_halpha": fitted}, magnitude).knots("ew_halpha")
    assert np.isnan(after).sum(axis=1).tolist() == [0, len(NORMAL_SCORES), 0]


def test_a_prediction_of_one_value_stays_that_value(fitted):
    one = ProxyPosterior(("ew_halpha",), {"ew_halpha": np.full((2, len(NORMAL_SCORES)), 3.0)}, {})
    moved = calibrated(one, {"ew_halpha": fitted}, np.full(2, 17.0))
    assert (moved.knots("ew_halpha") == 3.0).all()


def test_a_truth_far_outside_every_prediction_leaves_the_map_finite():
    median, magnitude, _ = predicted(500, 8)
    absurd = ScoreMap.fit(knots(median), median + 1e6, magnitude, np.ones(500))
    assert np.isfinite(absurd(np.zeros((500, 1)), median, magnitude)).all()


def test_a_map_comes_back_from_its_json(fitted):
    median, magnitude, _ = predicted(5, 9)
    adapter = TypeAdapter(ScoreMap)
    again = adapter.validate_json(adapter.dump_json(fitted), strict=True)
    scores = np.tile([-1.0, 0.5], (5, 1))
    assert again(scores, median, magnitude) == pytest.approx(
        fitted(scores, median, magnitude), abs=1e-5
    )
