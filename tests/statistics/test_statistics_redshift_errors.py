"""Errors of redshifts that can be checked by hand."""

import numpy as np
import pytest

from targetsel.statistics.redshift_errors import redshift_error_figures

TRUE = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
ERROR = np.array([-0.01, 0.0, 0.01, 0.02, 0.5])


def figures(weight):
    found = redshift_error_figures(TRUE + ERROR * (1 + TRUE), TRUE)
    return {name: statistic(np.array(weight, dtype=float)) for name, statistic in found.items()}


def test_errors_count_by_one_plus_the_redshift():
    found = figures([1, 1, 1, 1, 1])
    assert found["bias"] == pytest.approx(0.01)
    assert found["nmad"] == pytest.approx(1.4826 * 0.01)
    assert found["outliers"] == pytest.approx(0.2)


def test_a_source_of_no_weight_does_not_count():
    found = figures([1, 1, 1, 1, 0])
    assert found["bias"] == pytest.approx(0.005)
    assert found["outliers"] == 0
