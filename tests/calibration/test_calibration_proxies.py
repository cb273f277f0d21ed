"""Draws are moved so that quantiles hold what they claim, and keep their order."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.special import ndtri
from scipy.stats import kstest, rankdata

from targetsel.calibration.proxies import ScoreMap, calibrated
from targetsel.spectra.proxies import NORMAL_SCORES, Proxies, ProxyPosterior

S = 256
EVEN = ndtri((np.arange(S) + 0.5) / S)


def predicted(n, seed):
    """Gaussian predictions of width 1 about 0 to 50, and magnitudes."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 50, n), rng.uniform(15, 19, n), rng


def knots(median):
    return median[:, None] + NORMAL_SCORES


def draws(median, **more):
    values = np.stack([median[:, None] + EVEN, *more.values()], axis=2)
    return Proxies(np.arange(len(median)), ("ew_halpha", *more), values)


def truth(median, magnitude, rng):
    """Off by a fiftieth of the prediction, three times as wide for faint sources as for bright."""
    width = np.interp(magnitude, [15, 19], [0.5, 1.5])
    return median * 1.02 + width * rng.standard_t(4, size=len(median))


@pytest.fixture(scope="module")
def fitted():
    median, magnitude, rng = predicted(8000, 1)
    true = truth(median, magnitude, rng)
    return ScoreMap.fit(knots(median), true, magnitude, np.ones(8000))


def coverage(proxies, true, share):
    posterior = ProxyPosterior.from_draws(proxies, ("ew_halpha",))
    return np.abs(posterior.probability_below("ew_halpha", true) - 0.5) < share / 2


@pytest.mark.parametrize("share", [0.5, 0.68, 0.9, 0.95])
def test_intervals_of_other_sources_hold_what_they_claim(fitted, share):
    median, magnitude, rng = predicted(4000, 2)
    true = truth(median, magnitude, rng)
    after = calibrated(draws(median), {"ew_halpha": fitted}, magnitude)
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
    before = ProxyPosterior.from_draws(draws(median), ("ew_halpha",))
    after = ProxyPosterior.from_draws(
        calibrated(draws(median), {"ew_halpha": fitted}, magnitude), ("ew_halpha",)
    )
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


def test_draws_keep_their_order_and_so_their_correlations(fitted):
    median, magnitude, rng = predicted(20, 5)
    other = rng.normal(size=(20, S))
    before = draws(median, d4000=other)
    after = calibrated(before, {"ew_halpha": fitted}, magnitude)
    assert np.array_equal(
        rankdata(after["ew_halpha"], axis=1), rankdata(before["ew_halpha"], axis=1)
    )
    assert np.array_equal(after["d4000"], other)


def test_moved_draws_of_a_source_do_not_depend_on_its_neighbours(fitted):
    median, magnitude, _ = predicted(9, 6)
    whole = calibrated(draws(median), {"ew_halpha": fitted}, magnitude)
    alone = calibrated(draws(median[4:5]), {"ew_halpha": fitted}, magnitude[4:5])
    assert np.array_equal(whole["ew_halpha"][4:5], alone["ew_halpha"])


def test_draws_that_could_not_be_measured_stay_so(fitted):
    median, magnitude, _ = predicted(3, 7)
    proxies = draws(median)
    proxies.values[0, :3] = np.nan
    proxies.values[1] = np.nan
    after = calibrated(proxies, {"ew_halpha": fitted}, magnitude)["ew_halpha"]
    assert np.isnan(after).sum(axis=1).tolist() == [3, S, 0]


def test_a_prediction_of_one_value_stays_that_value(fitted):
    one = Proxies(np.arange(2), ("ew_halpha",), np.full((2, S, 1), 3.0))
    assert (calibrated(one, {"ew_halpha": fitted}, np.full(2, 17.0)).values == 3.0).all()


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
