"""Bets against uniform numbers: few false alarms, and soon a right one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from targetsel.statistics.martingale import capital, jumper, passed, together


def test_a_bet_on_uniform_numbers_gains_nothing_on_average():
    # After one number the capital is 1 on average over all numbers, from the mean of each slope.
    grid = (np.arange(1000) + 0.5) / 1000
    found = [10 ** capital(np.array([u]))[0] for u in grid]
    assert np.mean(found) == pytest.approx(1, abs=1e-9)
    # And after two of them.
    grid = (np.arange(30) + 0.5) / 30
    found = [10 ** jumper(np.array([u, v]))[1] for u in grid for v in grid]
    assert np.mean(found) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("level", [20, 100])
def test_false_alarms_are_no_more_than_one_in_the_level(level):
    rng, n = np.random.default_rng(0), 400
    alarms = sum(passed(capital(rng.random(200)), level) is not None for _ in range(n))
    most = n / level + 3 * np.sqrt(n / level)
    assert alarms <= most


def test_many_quantities_together_raise_no_more_false_alarms_than_one():
    rng, n = np.random.default_rng(1), 300
    alarms = 0
    for _ in range(n):
        paths = [capital(rng.random(100)) for _ in range(5)]
        alarms += passed(together(paths), 20) is not None
    assert alarms <= n / 20 + 3 * np.sqrt(n / 20)


@pytest.mark.parametrize(("shift", "scatter"), [(0.7, 1.0), (-0.7, 1.0), (0.0, 2.0), (0.0, 0.4)])
def test_predictions_that_are_off_or_of_wrong_width_are_found(shift, scatter):
    rng = np.random.default_rng(2)
    for _ in range(20):
        numbers = ndtr(shift + scatter * rng.normal(size=300))
        assert passed(capital(numbers), 100) is not None


def test_a_change_in_the_middle_is_found_after_it():
    rng = np.random.default_rng(3)
    numbers = np.concatenate([rng.random(300), ndtr(1.5 + rng.normal(size=150))])
    assert 300 < passed(capital(numbers), 100) < 400


def test_numbers_that_are_not_known_leave_the_capital_as_it_is():
    rng = np.random.default_rng(4)
    numbers = rng.random(50)
    gaps = np.full(100, np.nan)
    gaps[::2] = numbers
    assert capital(gaps)[::2].tolist() == capital(numbers).tolist()
    assert capital(np.empty(0)).shape == (0,)
    assert passed(np.empty(0), 20) is None
