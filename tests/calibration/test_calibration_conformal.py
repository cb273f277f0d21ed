"""Conformal quantiles: exact for equal weights, and curves that follow a trend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from targetsel.calibration.conformal import BinnedCurve, Bins, conformal_quantile
from targetsel.statistics.resampling import effective_size


def equal(n):
    return np.ones(n)


def test_of_nine_values_the_eighth_is_the_conformal_quantile_at_four_fifths():
    # k = ceil((9 + 1) * 0.8) = 8
    assert conformal_quantile(np.arange(1.0, 10.0), 0.8, equal(9)) == 8.0


def test_lower_quantiles_are_those_of_the_mirrored_values():
    values = np.random.default_rng(0).exponential(size=57)
    assert conformal_quantile(values, 0.1, equal(57)) == -conformal_quantile(
        -values, 0.9, equal(57)
    )


def test_with_too_few_values_the_outermost_is_taken():
    assert conformal_quantile(np.array([3.0, 1.0, 2.0]), 0.99, equal(3)) == 3.0


@given(
    st.lists(st.floats(-1e3, 1e3, allow_nan=False), min_size=1, max_size=40),
    st.integers(1, 4),
    st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.9]),
)
def test_a_common_weight_changes_nothing(values, weight, probability):
    values = np.array(values)
    n = len(values)
    assert conformal_quantile(values, probability, equal(n)) == conformal_quantile(
        values, probability, weight * equal(n)
    )


def test_a_value_of_weight_three_counts_as_three_but_for_the_next_one():
    values, weight = np.array([1.0, 2.0, 5.0]), np.array([3.0, 3.0, 3.0])
    weight[2] = 0.5
    # weights add to 6.5 and the next weighs 2.17: 0.9 of that needs more than there is
    assert conformal_quantile(values, 0.9, weight) == 5.0
    assert conformal_quantile(values, 0.6, weight) == 2.0


@pytest.mark.parametrize("probability", [0.05, 0.5, 0.9])
def test_the_next_value_stays_below_as_often_as_promised(probability):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(4000, 30))
    below = [row[-1] <= conformal_quantile(row[:-1], probability, equal(29)) for row in rows]
    assert np.mean(below) == pytest.approx(probability, abs=0.03)


def test_quantiles_are_those_of_crepes():
    crepes = pytest.importorskip("crepes")
    residuals = np.abs(np.random.default_rng(2).standard_t(4, size=200))
    regressor = crepes.ConformalRegressor().fit(residuals=residuals)
    low, high = regressor.predict_int(y_hat=np.zeros(1), confidence=0.9)[0]
    assert high == -low == pytest.approx(conformal_quantile(residuals, 0.9, equal(200)))


def test_equal_weights_are_worth_their_number_and_one_heavy_source_is_worth_one():
    assert effective_size(np.full(50, 3.0)) == pytest.approx(50)
    assert effective_size(np.array([1e9, 1.0, 1.0])) == pytest.approx(1)


def test_bins_hold_equally_many_sources_and_there_are_as_many_as_these_allow():
    x = np.random.default_rng(3).normal(size=1400)
    bins = Bins.of(x, np.ones(1400))
    assert [len(rows) for rows in bins.rows()] == [350] * 4
    assert (np.diff(bins.centres) > 0).all()
    assert len(Bins.of(x[:699], np.ones(699)).centres) == 1


def test_over_sampled_sources_have_bins_of_their_own():
    # 700 of weight 1 below zero, 700 of weight 1/7 above: worth (800)^2 / (700 + 700/49) = 896
    x = np.concatenate([np.linspace(-2, -1, 700), np.linspace(1, 2, 700)])
    bins = Bins.of(x, np.repeat([1.0, 1 / 7], 700))
    assert bins.centres == pytest.approx([-1.5, 1.5], abs=0.01)


def test_sources_of_one_brightness_make_one_bin():
    bins = Bins.of(np.full(2000, 17.0), np.ones(2000))
    assert bins.centres.tolist() == [17.0]
    assert len(bins.rows()[0]) == 2000


def test_a_curve_is_straight_between_centres_and_level_beyond():
    curve = BinnedCurve(np.array([16.0, 18.0]), np.array([[0.0, 10.0], [1.0, 30.0]]))
    x = np.array([10.0, 16.0, 17.0, 30.0, np.nan])
    assert curve.at(x)[:, 0].tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert curve.at(x)[:, 1].tolist() == [10.0, 10.0, 20.0, 30.0, 30.0]


def test_a_curve_comes_back_from_its_json():
    curve = BinnedCurve(np.array([1.0, 2.0]), np.array([[0.25, 0.5], [0.75, 1.0]]))
    adapter = TypeAdapter(BinnedCurve)
    again = adapter.validate_json(adapter.dump_json(curve), strict=True)
    assert np.array_equal(again.centres, curve.centres)
    assert np.array_equal(again.values, curve.values)


@pytest.mark.parametrize(
    ("centres", "values", "message"),
    [
        ([1.0], [1.0, 2.0, 3.0], "not the same numbers for every bin"),
        ([1.0, 2.0], [[1.0, 2.0]], "not the same numbers for every bin"),
        ([1.0, 2.0], [[1.0, 2.0], [1.0, float("nan")]], "no finite number"),
        ([], [], "not the same numbers for every bin"),
        ([2.0, 1.0], [[1.0, 2.0], [1.0, 2.0]], "not in order"),
    ],
)
def test_a_doctored_curve_is_refused(centres, values, message):
    with pytest.raises(ValueError, match=message):
        BinnedCurve(centres, values)
