"""Coverage in cells of like sources: cells by hand, chance against independent calculations."""

import numpy as np
import pytest
from scipy.stats import binom

from targetsel.report.distributions import proxy_scores
from targetsel.report.figures import Figures
from targetsel.report.local_coverage import (
    BY_CHANCE,
    OVER_CELLS,
    TOGETHER,
    WORST,
    equal_cells,
    in_cells_by_chance,
    local_figures,
    n_cells,
)
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.statistics.resampling import Resampling
from tests.report.sky_by_hand import sky, with_column
from tests.selection.scored_by_hand import PROXIES


def _figures(made, folder):
    known = LabelledSources.read(*made.write(folder))
    resampling = Resampling(known.group_number, known.weight)
    return Figures(local_figures(known, proxy_scores(known), resampling))


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """Of 2,000 sources whose posteriors are right."""
    return _figures(sky(2000), tmp_path_factory.mktemp("right"))


# ---------------------------------------------------------------------- cells


def test_two_cells_part_at_the_median_and_four_at_the_medians_of_the_halves():
    values = np.array([[7.0], [1.0], [5.0], [3.0], [8.0], [2.0], [6.0], [4.0]])
    assert equal_cells(values, 2).tolist() == [1, 0, 1, 0, 1, 0, 1, 0]
    assert equal_cells(values, 4).tolist() == [3, 0, 2, 1, 3, 0, 2, 1]


def test_cells_hold_equal_numbers_to_one_also_where_their_number_is_no_power_of_two():
    values = np.random.default_rng(0).normal(size=(1003, 5))
    counts = np.bincount(equal_cells(values, 40))
    assert len(counts) == 40
    assert set(counts) == {25, 26}


def test_cells_depend_on_the_order_of_values_alone():
    values = np.random.default_rng(1).normal(size=(500, 3))
    assert (equal_cells(values, 8) == equal_cells(np.exp(values) * [1, 100, 0.01], 8)).all()


def test_an_unknown_value_is_taken_for_the_middle():
    values = np.array([[1.0], [2.0], [np.nan], [3.0], [4.0]])
    assert equal_cells(values, 5).tolist() == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------------- chance


def test_the_worst_of_forty_by_chance_is_that_of_forty_binomials():
    n, wanted = 40_000, 40
    hit = np.random.default_rng(2).permutation(np.arange(n) < 0.9 * n).astype(float)
    dealt = in_cells_by_chance(hit, np.arange(n) % wanted, np.arange(n), np.ones(n))
    k = np.arange(1001)
    least = 1 - (1 - binom.cdf(k, 1000, 0.9)) ** wanted  # distribution of the smallest count
    for level in (0.1, 0.5, 0.9):
        expected = k[np.searchsorted(least, level)] / 1000
        assert np.quantile(dealt.min(axis=1), level) == pytest.approx(expected, abs=0.003)


def test_hits_of_one_group_stay_together():
    # Cells of 50 whole groups of 10 alike sources: as if of 50 sources, not of 500.
    group = np.repeat(np.arange(2000), 10)
    hit = (np.random.default_rng(3).permutation(2000) < 1800)[group].astype(float)
    dealt = in_cells_by_chance(hit, group // 50, group, np.ones(len(group)))
    assert dealt.std() == pytest.approx(np.sqrt(0.9 * 0.1 / 50), rel=0.05)


def test_heavy_sources_count_as_many():
    weight = np.where(np.arange(4000) % 2, 1.0, 0.0)
    hit = np.random.default_rng(4).permutation(np.arange(4000) < 3600).astype(float)
    dealt = in_cells_by_chance(hit, np.arange(4000) // 400, np.arange(4000), weight)
    assert dealt.mean() == pytest.approx(0.9, abs=0.005)
    assert dealt.std() == pytest.approx(np.sqrt(0.9 * 0.1 / 200), rel=0.1)


# ---------------------------------------------------------------------- figures


@pytest.mark.parametrize("of", [*PROXIES, TOGETHER])
def test_the_worst_cell_of_right_posteriors_is_as_bad_as_chance_has_it(right, of):
    for name in (WORST, OVER_CELLS):
        by_chance = right.find(name + BY_CHANCE, of)
        assert by_chance.low <= right.find(name, of).value <= by_chance.high


def test_the_worst_cell_is_the_lowest_of_all_and_brings_its_own_interval(right):
    found = [f for f in right if f.figure == "coverage 90 %" and f.of == "d4000"]
    assert [f.subset for f in found] == [f"cell {k}" for k in range(1, 41)]
    assert {f.n for f in found} == {50}
    lowest, worst = min(found, key=lambda f: f.value), right.find(WORST, "d4000")
    assert (worst.value, worst.low, worst.high) == (lowest.value, lowest.low, lowest.high)
    departure = np.sqrt(np.mean([(f.value - 0.9) ** 2 for f in found]))
    assert right.find(OVER_CELLS, "d4000").value == pytest.approx(departure)
    assert n_cells(right) == 40


def test_intervals_too_narrow_for_some_and_too_wide_for_others_are_found_out(tmp_path):
    made = sky(2000)
    median = made.scored["ew_halpha"].to_numpy()
    error = made.truth["ew_halpha"].to_numpy() - median
    strong = median > np.median(median)
    # 2 Phi(1.645 / 1.35) - 1 is 0.777; with 1 of the others, 0.888 of all are inside.
    true = median + error * np.where(strong, 1.35, 0.2)
    made.truth = with_column(made.truth, "ew_halpha", true)
    found = _figures(made, tmp_path)
    cells = [f for f in found if f.figure == "coverage 90 %" and f.of == "ew_halpha"]
    assert np.mean([f.value for f in cells]) == pytest.approx(0.888, abs=0.02)
    for name, of in ((WORST, "ew_halpha"), (OVER_CELLS, "ew_halpha"), (OVER_CELLS, TOGETHER)):
        value, by_chance = found.find(name, of).value, found.find(name + BY_CHANCE, of)
        assert value < by_chance.low if name == WORST else value > by_chance.high
    assert found.find(OVER_CELLS, "d4000").value < found.find(OVER_CELLS + BY_CHANCE, "d4000").high


def test_cells_hold_fifty_sources_and_fewer_than_a_hundred_have_none(tmp_path):
    assert n_cells(_figures(sky(240), tmp_path)) == 4
    assert len(_figures(sky(99), tmp_path)) == 0


def test_sources_without_a_true_value_count_in_no_cell(tmp_path):
    made = sky(200)
    values = made.truth["d4000"].to_numpy().copy()
    values[:30] = np.nan
    made.truth = with_column(made.truth, "d4000", values)
    found = _figures(made, tmp_path)
    per_cell = [f.n for f in found if f.figure == "coverage 90 %" and f.of == "d4000"]
    assert sum(per_cell) == 170
    assert found.find(WORST + BY_CHANCE, TOGETHER).n == 200
