"""The bound that spends a fiber budget, against sorting everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from targetsel.errors import RuleError
from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection import quantiles
from targetsel.selection.reports import tuning
from targetsel.selection.reports.tuning import tune
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text, scored_table

numbers = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 0.5, 1.0, 1.0 + 2**-52])


@given(
    st.lists(numbers, min_size=1, max_size=80), st.integers(1, 90), st.sampled_from([0, 4, 1000])
)
@settings(max_examples=60)
def test_bound_is_the_loosest_that_no_more_than_n_values_reach(values, n, few):
    values = np.array(values)
    pieces = [values[: len(values) // 2], values[len(values) // 2 :]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "FEW", few)  # so that many passes are needed
        least, n_members, following, n_tied = tuning._largest(lambda: pieces, [n])[0]
    distinct = np.unique(values)
    counts = {float(v): int((values >= v).sum()) for v in distinct}
    within = [v for v, count in counts.items() if count <= n]
    assert n_members == (counts[min(within)] if within else 0)
    assert least == (min(within) if within else np.inf)
    if len(values) > n:
        assert following == max(v for v, count in counts.items() if count > n)
        assert n_members + n_tied == counts[following]
    else:
        assert (n_members, n_tied) == (len(values), 0)


@pytest.fixture
def scored(tmp_path):
    """A hundred sources with H alpha at 1 to 100 Angstrom, each give or take 10; OIII at 10."""
    medians = np.stack([np.full(100, 10.0), np.arange(1.0, 101.0), np.full(100, 1.5)], axis=1)
    table = scored_table(medians, np.tile([2.0, 10.0, 0.1], (100, 1)))
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    return tmp_path / "a.scored.parquet"


def test_bound_on_a_probability_is_moved_until_the_budget_is_spent(scored):
    rules = Rules.parse(rule_text("dec < 4", "P(ew_halpha > 50) >= 0.9"))
    found = tune(rules, "ELG", 20, scored)  # dec < 4 keeps the first 90; the best have 71 to 90
    assert (found.text, found.operator, found.written) == ("P(ew_halpha > 50)", ">=", ">= 0.9")
    assert (found.n_members, found.n_tied, found.n_written) == (20, 1, 28)
    again = Rules.parse(rule_text("dec < 4", f"P(ew_halpha > 50) >= {found.threshold!r}"))
    assert tune(again, "ELG", 20, scored).n_written == 20


def test_bounds_around_come_with_their_sources_and_the_true_members_to_expect(scored):
    found = tune(Rules.parse(rule_text("dec < 4", "P(ew_halpha > 50) >= 0.9")), "ELG", 20, scored)
    assert [each.n_members for each in found.bounds] == [10, 16, 20, 25, 28, 40]
    assert [each.text for each in found.bounds].index(">= 0.9") == 4
    for each in found.bounds:  # the best of the first 90 have H alpha at 90, 89, 88, ...
        likely = ndtr((np.arange(90, 90 - each.n_members, -1) - 50) / 10)
        assert each.expected_true == pytest.approx(likely.sum(), rel=2e-3)
        assert each.expected_purity == pytest.approx(likely.mean(), rel=2e-3)


def test_class_that_claims_nothing_has_no_true_members_to_expect(scored):
    found = tune(Rules.parse(rule_text("dec < 90", rest="    rank: -ra\n")), "ELG", 5, scored)
    assert {each.expected_true for each in found.bounds} == {None}


def test_rank_by_a_probability_claims_it_once_it_is_bounded(scored):
    text = rule_text("dec < 90", rest="    rank: P(ew_halpha > 50)\n")
    found = tune(Rules.parse(text), "ELG", 5, scored)
    assert all(each.expected_purity > 0.99 for each in found.bounds)


def test_upper_bound_is_lowered(scored):
    found = tune(Rules.parse(rule_text("P(ew_halpha > 50) < 0.5")), "ELG", 10, scored)
    assert (found.operator, found.n_members, found.n_written) == ("<=", 10, 49)
    assert found.threshold < found.next_threshold < 0.5


def test_bound_on_what_ranks_goes_before_other_bounds(scored):
    text = rule_text("P(ew_oiii > 5) > 0.5", "ew_halpha > 30", rest="    rank: ew_halpha\n")
    found = tune(Rules.parse(text), "ELG", 7, scored)
    assert (found.text, found.threshold, found.written) == ("ew_halpha", 94.0, "> 30")


def test_bound_on_what_ranks_backwards_is_known_too(scored):
    text = rule_text("P(ew_oiii > 5) > 0.5", "ew_halpha < 30", rest="    rank: -ew_halpha\n")
    found = tune(Rules.parse(text), "ELG", 7, scored)
    assert (found.text, found.operator, found.threshold) == ("ew_halpha", "<=", 7.0)


def test_bound_against_the_rank_is_left_alone(scored):
    text = rule_text("ew_halpha < 80", "dec < 90", rest="    rank: ew_halpha\n")
    found = tune(Rules.parse(text), "ELG", 7, scored)
    assert (found.text, found.operator, found.threshold) == ("ew_halpha", ">=", 73.0)
    assert found.written is None


def test_rank_without_a_bound_gets_one(scored):
    found = tune(Rules.parse(rule_text("dec < 90", rest="    rank: -ra\n")), "ELG", 5, scored)
    assert (found.text, found.written, found.n_members, found.n_written) == ("-ra", None, 5, 100)


def test_budget_beyond_the_candidates_takes_them_all(scored):
    found = tune(
        Rules.parse(rule_text("ew_halpha > 30", rest="    rank: ew_halpha\n")), "ELG", 500, scored
    )
    assert (found.n_members, found.n_tied, found.threshold) == (100, 0, 1.0)


def test_ties_are_told(scored):
    found = tune(
        Rules.parse(rule_text("ew_oiii > 5", rest="    rank: ew_oiii\n")), "ELG", 30, scored
    )
    assert (found.n_members, found.n_tied, found.next_threshold) == (0, 100, 10.0)


def test_class_with_several_bounds_has_to_say_which_orders_it(scored):
    rules = Rules.parse(rule_text("P(ew_halpha > 50) > 0.5", "P(ew_oiii > 5) > 0.5"))
    with pytest.raises(RuleError, match=r"several bounds could be moved .*Say with 'rank:'"):
        tune(rules, "ELG", 5, scored)
    with pytest.raises(RuleError, match=r"no bound could be moved\. Say with 'rank:'"):
        tune(Rules.parse(rule_text("dec is missing")), "ELG", 5, scored)
    with pytest.raises(RuleError, match=r"test: unknown target class 'ELGS'\. Did you mean 'ELG'"):
        tune(rules, "ELGS", 5, scored)
