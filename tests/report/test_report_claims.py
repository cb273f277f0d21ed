"""Reliability and lists, by hand and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.report.claims import COMPLETENESS, RankedList, calibration_error, in_bins

PROBABILITY = np.array([0.9, 0.8, 0.8, 0.3, 0.1])
TRUE = np.array([True, True, False, True, False])


def test_two_bins_that_are_off_by_a_tenth_have_an_error_of_a_tenth():
    probability = np.array([0.4] * 10 + [0.6] * 10)
    true = np.array([True] * 5 + [False] * 5 + [True] * 5 + [False] * 5)
    assert calibration_error(in_bins(probability, true).mean(axis=0)) == pytest.approx(0.1)


def test_certainty_falls_into_the_last_bin():
    columns = in_bins(np.array([1.0]), np.array([True]))
    assert columns[0, 9] == columns[0, 19] == columns[0, 29] == 1


def test_the_reliability_diagram_is_that_of_scikit_learn():
    reference = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(1)
    probability = rng.uniform(size=500)
    true = rng.uniform(size=500) < probability**2
    here, mean, share = np.split(in_bins(probability, true).mean(axis=0), 3)
    theirs = reference.calibration_curve(true, probability, n_bins=10)
    assert share / here == pytest.approx(theirs[0])
    assert mean / here == pytest.approx(theirs[1])


def test_a_list_is_as_pure_as_its_shortest_part_that_is_complete_enough():
    figures = RankedList(PROBABILITY, TRUE).figures(np.ones(5))
    purity = dict(zip(np.round(COMPLETENESS, 2), figures[1:], strict=True))
    assert purity[0.3] == 1.0  # the first source alone
    assert purity[0.5] == pytest.approx(2 / 3)  # both of probability 0.8 come at once
    assert purity[0.95] == pytest.approx(3 / 4)


def test_a_source_of_weight_two_counts_as_two():
    weight = np.array([1, 2, 1, 1, 3])
    twice = np.repeat(np.arange(5), weight)
    one = RankedList(PROBABILITY, TRUE).figures(weight.astype(float))
    assert one == pytest.approx(RankedList(PROBABILITY[twice], TRUE[twice]).figures(np.ones(8)))


def test_a_list_without_anything_true_has_no_purity():
    assert np.isnan(RankedList(PROBABILITY, np.zeros(5, bool)).figures(np.ones(5))).all()


@given(st.integers(0, 2**32 - 1))
def test_average_precision_is_that_of_scikit_learn(seed):
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    probability = rng.integers(0, 12, 40) / 12  # with ties
    true, weight = rng.uniform(size=40) < 0.4, rng.uniform(0.1, 3, 40)
    true[0] = True
    ours = RankedList(probability, true).figures(weight)[0]
    assert ours == pytest.approx(
        reference.average_precision_score(true, probability, sample_weight=weight)
    )
