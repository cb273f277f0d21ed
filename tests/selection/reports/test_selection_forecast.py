"""What a class is expected to bring, and how sure that is."""

import numpy as np
import pytest

from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.claims import ClaimOutcomes
from targetsel.selection.reports.forecast import ProbabilityBins, forecasts, forecasts_of
from targetsel.selection.scored_sources import scored_catalog
from targetsel.selection.select import preview
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text, scored_table

RULES = Rules.parse(
    rule_text("P(ew_halpha > 50) >= 0.5", rest="  ALL: {bit: 1, priority: 1, where: dec < 90}\n")
)
UNKNOWN = ClaimOutcomes(np.zeros(0, bool), np.zeros(0), np.zeros(0, bool), np.zeros(0, bool))


@pytest.fixture
def scored(tmp_path):
    """Four sources: P of 0.84, 0.5 and 0.16, and one without a posterior."""
    medians = [[1, 60, 1.5], [1, 50, 1.5], [1, 40, 1.5], [np.nan] * 3]
    table = scored_table(medians, np.tile([2.0, 10.0, 0.1], (4, 1)))
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    return tmp_path / "a.scored.parquet"


def calibration(passed, probability, true):
    everyone = np.ones(len(true), dtype=bool)
    return ClaimOutcomes(np.array(passed), np.array(probability), np.array(true), everyone)


def forecast(rules, scored, known=None):
    outcomes = {} if known is None else {"ELG": known}
    with scored_catalog(scored, rules) as catalog:
        (found,) = forecasts_of(catalog, preview(catalog), ["ELG"], outcomes)
    return found


def test_without_calibration_probabilities_add_up_and_promise_no_interval(scored):
    found = forecast(RULES, scored)
    assert found.n_selected == 2
    assert found.true.value == found.stated == pytest.approx(1.3413, abs=1e-4)
    assert found.purity.value == pytest.approx(0.6707, abs=1e-4)
    assert found.completeness.value == pytest.approx(1.3413 / 1.5, abs=1e-4)
    assert {each.interval for each in (found.true, found.purity, found.completeness)} == {None}


def test_much_calibration_corrects_the_sum_of_probabilities(scored):
    # Of those that pass a quarter is true, of the others a tenth.
    passed = np.arange(40_000) < 20_000
    true = np.where(passed, np.arange(40_000) % 4 == 0, np.arange(40_000) % 10 == 0)
    found = forecast(RULES, scored, calibration(passed, np.where(passed, 0.6, 0.3), true))
    assert found.true.value == pytest.approx(0.5, abs=0.03)
    assert found.true.interval == (0, 2)
    assert found.stated == pytest.approx(1.3413, abs=1e-4)


def test_no_calibration_source_leaves_everything_open(scored):
    found = forecast(RULES, scored, UNKNOWN)
    assert found.purity.interval == (0, 1)
    assert found.true.value == pytest.approx(1, abs=0.05)


def test_error_of_the_calibration_does_not_average_out():
    """With a million sources, the share is as uncertain as a hundred spectra leave it."""
    bins = ProbabilityBins(np.full(100, 0.5), np.arange(100) < 50)
    bins.see(np.full(1_000_000, 0.5), np.ones(1_000_000, dtype=bool))
    draws = bins.draw(np.random.default_rng(1))[1] / 1_000_000
    assert draws.mean() == pytest.approx(0.5, abs=0.005)
    assert draws.std() == pytest.approx(0.05, rel=0.05)


def test_bins_hold_what_they_promise():
    rng = np.random.default_rng(5)
    likely = rng.uniform(size=3000)
    bins = ProbabilityBins(likely, rng.uniform(size=3000) < likely)
    assert bins.n.sum() == 3000
    assert len(bins.n) == len(bins.edges) + 1 == 9  # the sum of p (1 - p) is nearly 3000 / 6
    assert np.all(np.diff(bins.n_true / bins.n) > 0)


def test_all_classes_with_a_claim_are_forecast(scored):
    assert [each.name for each in forecasts(RULES, scored)] == ["ELG"]


def test_forecast_is_of_the_list_with_its_limit(scored):
    rules = Rules.parse(
        rule_text("P(ew_halpha > 50) > 0.1", rest="    rank: ew_halpha\n    limit: {total: 1}\n")
    )
    found = forecast(rules, scored)
    assert (found.n_selected, found.true.value) == (1, pytest.approx(0.8413, abs=1e-4))
    assert found.completeness.value == pytest.approx(0.8413 / 1.5, abs=1e-4)


def test_nothing_selected_is_neither_pure_nor_complete(scored):
    found = forecast(Rules.parse(rule_text("P(ew_halpha > 500) >= 0.5")), scored, UNKNOWN)
    assert (found.n_selected, found.true.value) == (0, 0)
    assert np.isnan(found.purity.value)
    assert found.completeness.value == 0
