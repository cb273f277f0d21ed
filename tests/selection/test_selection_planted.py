"""A planted class with known members: the tools that count targets agree with what comes out."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "planted_class.py"


@pytest.fixture(scope="module")
def found():
    spec = importlib.util.spec_from_file_location("planted_class", SCRIPT)
    module = sys.modules["planted_class"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.run(n_repeats=20, n_sources=1500, n_calibration=1500)
    del sys.modules["planted_class"]


def test_tuned_bound_gives_the_number_it_promises(found):
    assert all(each.tuned == each.realised == 75 for each in found)


@pytest.mark.parametrize("name", ["true", "purity", "completeness"])
def test_forecast_intervals_hold_the_truth(found, name):
    # Fewer than 14 of 20 comes by chance once in 400 times, if each does with probability 0.9.
    assert sum(each.covered[name] for each in found) >= 14


def test_guarantee_is_kept_on_average(found):
    false = np.array([each.false for each in found])
    assert false.mean() <= 0.1 + 2 * false.std() / np.sqrt(20)
    assert np.mean([each.n_guaranteed for each in found]) > 30
