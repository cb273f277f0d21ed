"""How near plans of a night are to the best."""

import night_pointings
import numpy as np
from night import best_value, shares

from targetsel.nights.schedule import PossibleExposures


def test_plans_of_twenty_small_cases_reach_95_percent_of_the_best_value():
    found = shares(cases=20, targets=7)
    assert found.min() >= 0.95
    assert found.max() <= 1 + 1e-6


def test_the_best_value_of_two_exposures_that_exclude_each_other_is_the_larger():
    begin = np.array([[0], [0], [7200]])
    of = PossibleExposures(
        begin, begin + 600, np.array([3600, 3600, 3600]), np.array([1.0, 3.0, 2.0])
    )
    assert best_value(of) == 5


def test_pointings_of_small_cases_reach_95_percent_of_the_best_value():
    found = night_pointings.shares(cases=3, n=40)
    assert found.min() >= 0.95
    assert found.max() <= 1 + 1e-6
