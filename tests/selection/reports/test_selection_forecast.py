"""What a class is expected to bring, and how sure that is."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import beta, kstest

from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.claims import ClaimOutcomes
from targetsel.selection.reports.forecast import (
    ProbabilityBins,
    drawn_shares,
    forecasts,
    forecasts_of,
)
from targetsel.selection.scored_sources import scored_catalog
from targetsel.selection.select import preview
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text, scored_table

RULES = Rules.parse(
    rule_text("P(ew_halpha > 50) >= 0.5", rest="  ALL: {bit: 1, priority: 1, where: dec < 90}\n")
)
UNKNOWN = ClaimOutcomes.none()


@pytest.fixture
def scored(tmp_path):
    """Four sources: P of 0.84, 0.5 and 0.16, and one without a posterior."""
    medians = [[1, 60, 1.5], [1, 50, 1.5], [1, 40, 1.5], [np.nan] * 3]
    table = scored_table(medians, np.tile([2.0, 10.0, 0.1], (4, 1)))
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    return tmp_path / "a.scored.parquet"


def calibration(passed, probability, true, group=None, weight=None):
    n = len(true)
    group = np.arange(n) if group is None else group
    weight = np.ones(n) if weight is None else weight
    everyone = np.ones(n, dtype=bool)
    return ClaimOutcomes(
        np.array(passed), np.array(probability), np.array(true), everyone, group, weight
    )


def bins_of(likely, true, **groups):
    """Bins of calibration sources that are like the members."""
    everyone = np.ones(len(true), dtype=bool)
    return ProbabilityBins(calibration(everyone, likely, true, **groups), everyone)


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
    bins = bins_of(np.full(100, 0.5), np.arange(100) < 50)
    everyone = np.ones(1_000_000, dtype=bool)
    bins.see(np.full(1_000_000, 0.5), everyone, everyone)
    draws = bins.draw(np.random.default_rng(1))[1] / 1_000_000
    assert draws.mean() == pytest.approx(0.5, abs=0.005)
    assert draws.std() == pytest.approx(0.05, rel=0.05)


def test_bins_hold_what_they_promise():
    rng = np.random.default_rng(5)
    likely = rng.uniform(size=3000)
    true = rng.uniform(size=3000) < likely
    place = bins_of(likely, true).place
    n = np.bincount(place)
    assert n.tolist()[0] == 0  # the one bin of sources that are not like the members
    assert len(n) == 1 + 9  # the sum of p (1 - p) is nearly 3000 / 6
    assert np.all(np.diff(np.bincount(place, true)[1:] / n[1:]) > 0)


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


# --- sources of one group ------------------------------------------------------------------------


def test_sources_of_their_own_groups_have_the_share_of_jeffreys():
    known = calibration([True] * 40, [0.5] * 40, np.arange(40) < 8)
    share = drawn_shares(known, np.zeros(40, int), 1, np.random.default_rng(1))[:, 0]
    law = beta(8.5, 32.5)
    assert kstest(share, law.cdf).pvalue > 0.01
    known = calibration([True] * 40, [0.5] * 40, np.arange(40) < 8, weight=np.full(40, 3.0))
    share = drawn_shares(known, np.zeros(40, int), 1, np.random.default_rng(2))[:, 0]
    assert kstest(share, law.cdf).pvalue > 0.01


@pytest.mark.parametrize("n_true", [0, 3, 20])
def test_five_images_of_each_galaxy_tell_as_much_as_one(n_true):
    group = np.repeat(np.arange(20), 5)
    known = calibration([True] * 100, [0.5] * 100, group < n_true, group)
    share = drawn_shares(known, np.zeros(100, int), 1, np.random.default_rng(3))[:, 0]
    assert kstest(share, beta(n_true + 0.5, 20 - n_true + 0.5).cdf).pvalue > 0.01


def test_images_that_differ_at_random_tell_as_much_as_galaxies():
    rng = np.random.default_rng(4)
    group, true = np.repeat(np.arange(200), 5), rng.random(1000) < 0.3
    known = calibration([True] * 1000, [0.3] * 1000, true, group)
    share = drawn_shares(known, np.zeros(1000, int), 1, rng)[:, 0]
    assert share.std() == pytest.approx((0.3 * 0.7 / 1000) ** 0.5, rel=0.15)
    assert share.mean() == pytest.approx(true.mean(), abs=0.003)


def test_bins_that_share_groups_err_together():
    group, place = np.tile(np.arange(30), 2), np.repeat([0, 1], 30)
    known = calibration([True] * 60, [0.5] * 60, group % 2 == 0, group)
    one, two = drawn_shares(known, place, 2, np.random.default_rng(5)).T
    assert np.corrcoef(one, two)[0, 1] > 0.8


SIZES = [1, 2, 5, 12]


def galaxies(rng, n):
    """Images of n galaxies, in groups of several sizes: the probability that each image gives, its
    group, and whether the galaxy is true, all its images together."""
    group = np.repeat(np.arange(n), rng.choice(SIZES, n))
    chance = rng.beta(2, 2, n)
    likely = np.clip(chance[group] + rng.normal(0, 0.03, len(group)), 0.01, 0.99)
    return likely, group, (rng.random(n) < chance)[group]


def coverage(with_groups, n_skies=300):
    """The share of random skies whose true members are within the interval of the forecast."""
    held = 0
    for sky in range(n_skies):
        rng = np.random.default_rng([20261129, sky])
        likely, group, true = galaxies(rng, 150)
        like = likely > 0.3
        known = calibration(like, likely, true, group if with_groups else None)
        bins = ProbabilityBins(known, like)
        likely, group, true = galaxies(rng, 60)
        selected = likely > 0.3
        bins.see(likely, selected, selected, pa.array(group) if with_groups else None)
        low, high = np.quantile(bins.draw(rng)[1], [0.05, 0.95])
        held += low <= true[selected].sum() <= high
    return held / n_skies


def test_interval_of_a_forecast_holds_what_it_says_for_repeated_images():
    # of 300, 2.5 standard deviations of a share of 0.9 are 0.04
    assert coverage(with_groups=True) > 0.9 - 0.04
    assert coverage(with_groups=False) < 0.7


def test_groups_of_the_catalog_are_read_where_it_has_them(tmp_path):
    groups = {"each alone": [1, 2, 3, 4], "all together": [7] * 4, "unknown": [None] * 4}
    spread = {}
    for name, group in groups.items():
        columns = {"group_id": (pa.array(group, pa.int64()), "")}
        table = scored_table([[1, 50, 1.5]] * 4, [[2.0, 10.0, 0.1]] * 4, columns=columns)
        path = tmp_path / f"{name}.scored.parquet"
        write_table(table, path, footer(table.schema))
        half = np.arange(4000) % 2 == 0
        known = calibration([True] * 4000, [0.5] * 4000, half)
        rules = Rules.parse(rule_text("P(ew_halpha > 50) >= 0.4"))
        spread[name] = forecast(rules, path, known).true
    assert spread["each alone"] == spread["unknown"]
    assert spread["each alone"].interval == (0, 4)  # all false with a chance of 1 in 16
    assert spread["all together"].interval == (0, 4)
    assert spread["all together"].value == pytest.approx(spread["each alone"].value, abs=0.05)
