"""Redshift distributions of every form as quantiles."""

import numpy as np
import pytest
from scipy.stats import norm

from targetsel.errors import SpectrumError
from targetsel.redshifts.distributions import (
    LEVELS,
    SCORES,
    of_densities,
    of_histogram,
    of_mixtures,
    of_quantiles,
    of_values,
)

MEAN, SPREAD = 0.3, 0.02
TRUE = MEAN + SPREAD * SCORES
MIDDLE = np.abs(SCORES) <= 2.5
IDS = ["a", "b"]
EDGES = np.linspace(0, 1, 2001)


def gaussian(grid):
    return norm.pdf(np.asarray(grid), MEAN, SPREAD)[None]


@pytest.mark.parametrize(
    ("found", "within"),
    [
        (of_values(np.array([MEAN]), np.array([SPREAD])), 1e-12),
        (of_mixtures([[1.0]], [[MEAN]], [[SPREAD]], IDS), 1e-3),
        (of_mixtures([[1.0, 0.0]], [[MEAN, np.nan]], [[SPREAD, 0.0]], IDS), 1e-3),
        (of_densities(np.linspace(0, 1, 1001), gaussian(np.linspace(0, 1, 1001)), IDS), 5e-3),
        (of_quantiles(LEVELS, TRUE[None], IDS), 1e-9),
        (of_histogram(EDGES, gaussian((EDGES[1:] + EDGES[:-1]) / 2), IDS), 5e-3),
    ],
)  # fmt: skip
def test_a_gaussian_has_its_quantiles_whatever_it_is_given_as(found, within):
    assert found[0, MIDDLE] == pytest.approx(TRUE[MIDDLE], abs=within * SPREAD)


def test_densities_are_straight_lines_between_their_points():
    found = of_densities([0.0, 0.5, 1.0], np.array([[0.0, 1.0, 2.0]]), IDS)[0]  # its CDF is z^2
    assert found[LEVELS > 0.1] == pytest.approx(np.sqrt(LEVELS[LEVELS > 0.1]), abs=0.002)


def test_what_misses_1_by_less_than_a_percent_is_scaled():
    grid = np.linspace(0, 1, 1001)
    exact, near = (of_densities(grid, gaussian(grid) * factor, IDS) for factor in (1.0, 1.008))
    assert near == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("empty", [0.0, np.nan])
def test_a_source_without_densities_has_no_redshift(empty):
    grid = np.linspace(0, 1, 101)
    found = of_densities(grid, np.stack([gaussian(grid)[0], np.full(101, empty)]), IDS)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_a_redshift_without_a_positive_error_is_not_known():
    found = of_values(np.array([0.1, 0.1, -99.0, np.nan]), np.array([0.0, np.nan, 0.1, 0.1]))
    assert np.isnan(found).all()


def test_no_redshift_is_negative():
    assert of_values(np.array([0.01]), np.array([0.1])).min() == 0.0


GRID = np.linspace(0, 1, 101)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: of_densities(GRID, gaussian(GRID) * 1.02, IDS), "'a'.*integrates to 1.02.*1 %"),
        (lambda: of_densities(GRID[:31], gaussian(GRID[:31]), IDS), "integrates to 0.5.*covers it"),
        (lambda: of_densities(GRID, gaussian(GRID) - 0.01, IDS), "negative density"),
        (lambda: of_densities(GRID[::-1], gaussian(GRID), IDS), "do not rise"),
        (lambda: of_densities(GRID + 20, gaussian(GRID), IDS), "no redshift from 0 to 10"),
        (lambda: of_histogram(GRID * 0, gaussian(GRID[1:]), IDS), "do not rise"),
        (lambda: of_quantiles([0.1, 0.9], np.array([[0.4, 0.3]]), IDS), "'a': .* do not rise"),
        (lambda: of_quantiles([0.9, 0.1], np.array([[0.3, 0.4]]), IDS), "do not rise from 0 to 1"),
        (lambda: of_quantiles([10, 90], np.array([[0.3, 0.4]]), IDS), "do not rise from 0 to 1"),
        (lambda: of_mixtures([[0.5, 0.3]], [[0.1, 0.2]], [[0.1, 0.1]], IDS), "add up to 0.8"),
        (lambda: of_mixtures([[1.5, -0.5]], [[0.1, 0.2]], [[0.1, 0.1]], IDS), "negative weight"),
        (lambda: of_mixtures([[1.0]], [[0.1]], [[0.0]], IDS), "is not positive"),
    ],
)  # fmt: skip
def test_what_is_no_distribution_is_refused_in_a_line(make, says):
    with pytest.raises(SpectrumError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)
