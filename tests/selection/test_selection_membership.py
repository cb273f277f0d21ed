"""Which sources obey which rules, checked against counting by hand and against a database."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from targetsel.errors import CatalogError, RuleError
from targetsel.expressions.functions import COMPARISONS
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.rules.rules import Rules
from targetsel.selection.claims import truth
from targetsel.selection.evaluation import holds, value
from targetsel.selection.membership import apply_rules
from targetsel.selection.sources import Sources
from tests.selection.scored_by_hand import rule_text, scored_table


def selected(table: pa.Table, *where: str) -> list[bool]:
    return apply_rules(Rules.parse(rule_text(*where)), table).selected[:, 0].tolist()


def number(table: pa.Table, text: str) -> np.ndarray:
    return value(Binder(CatalogColumns(table.schema)).number(parse(text)), Sources(table))


T, F = True, False
AWKWARD = pa.table(
    {
        "x": pa.array([1.0, None, float("nan"), 100.0, float("inf"), 0.0]),
        "f": pa.array([0.1, None, float("nan"), 0.2, float("inf"), 0.0], pa.float32()),
        "id": pa.array([2**53, 2**53 + 1, None, -1, 0, 5]),
        "b": pa.array([True, False, None, True, False, True]),
        "s": pa.array(["a", None, "", "b", "c", "d"]),
    }
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("x > 50", [F, F, F, T, T, F]),
        ("not (x > 50)", [T, F, F, F, F, T]),
        ("x != 1", [F, F, F, T, T, T]),
        ("x == x", [T, F, F, T, T, T]),
        ("x != x", [F, F, F, F, F, F]),
        ("x > 50 or x <= 50", [T, F, F, T, T, T]),
        ("not (x > 50 and x < 200)", [T, F, F, F, T, T]),
        ("x is missing", [F, T, T, F, F, F]),
        ("x > 50 or x is missing", [F, T, T, T, T, F]),
        ("s is missing", [F, T, F, F, F, F]),
        ("1 / x > 0", [T, F, F, T, F, F]),
        ("1 / x <= 0", [F, F, F, F, T, F]),
        ("1 / x is missing", [F, T, T, F, F, T]),
        ("log10(x) is missing", [F, T, T, F, F, T]),
        ("log10(x) >= 0", [T, F, F, T, T, F]),
        ("sqrt(x - 50) > 0", [F, F, F, T, T, F]),
        ("x ** -1 is missing", [F, T, T, F, F, T]),
        ("x - x == 0", [T, F, F, T, F, T]),
        ("max(x, 50) > 60", [F, F, F, T, T, F]),
        ("min(x, 0.5, 1) == 0.5", [T, F, F, T, T, F]),
        ("abs(-x) between 1 and 100", [T, F, F, T, F, F]),
        ("f <= 0.1", [T, F, F, F, F, T]),
        ("f == 0.1", [T, F, F, F, F, F]),
        ("f <= 1e39", [T, F, F, T, F, T]),
        ("id == 9007199254740993", [F, T, F, F, F, F]),
        ("id in [9007199254740992, -1]", [T, F, F, T, F, F]),
        ("not id in [9007199254740992, -1]", [F, T, F, F, T, T]),
        ("id > 2.5", [T, T, F, F, F, T]),
        ("b", [T, F, F, T, F, T]),
        ("not b", [F, T, F, F, T, F]),
        ("b is missing", [F, F, T, F, F, F]),
        ("0 < x <= 1", [T, F, F, F, F, F]),
    ],
)
def test_only_what_is_true_is_selected(where, expected):
    assert selected(AWKWARD, where) == expected


numbers_or_missing = st.lists(
    st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, float("nan")])), min_size=4, max_size=4
)


@settings(max_examples=60)
@given(numbers_or_missing, numbers_or_missing, st.data())
def test_conditions_agree_with_a_database_that_takes_nan_for_null(x, y, data):
    leaf = st.builds(
        "{} {} {}".format,
        st.sampled_from("xy"),
        st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
        st.sampled_from(["0", "1", "x", "y"]),
    )
    branch = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds("not ({})".format, inner),
            st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner),
        ),
        max_leaves=5,
    )
    text = data.draw(branch)
    catalog = pa.table(
        {"i": range(4), "x": pa.array(x, pa.float64()), "y": pa.array(y, pa.float64())}
    )
    known = "select i, nullif(x, 'nan'::double) as x, nullif(y, 'nan'::double) as y from t"
    rows = duckdb.sql(
        f"with t as (select * from catalog), k as ({known}) select i from k where {text}"
    )
    chosen = {row[0] for row in rows.fetchall()}
    assert selected(catalog, text) == [i in chosen for i in range(4)]


# --- probabilities -------------------------------------------------------------------------------


def test_probability_of_one_bound_is_that_of_the_gaussian(scored):
    below = number(scored, "P(ew_halpha < 56)")
    assert below[1] == pytest.approx(norm.cdf(1), abs=1e-6)
    assert number(scored, "P(ew_halpha <= 56)")[1] == below[1]
    assert number(scored, "P(56 < ew_halpha)")[1] == pytest.approx(norm.sf(1), abs=1e-6)


def test_probability_between_two_bounds_is_the_difference(scored):
    between = number(scored, "P(48 < ew_halpha < 56)")
    assert between[1] == pytest.approx(norm.cdf(1) - norm.cdf(-1), abs=1e-6)


def test_bound_may_be_a_measured_column(scored):
    table = scored.append_column(
        pa.field("limit", pa.float64(), metadata={"unit": "nm"}), pa.array([8.0, 5.6, None, 1.0])
    )
    share = number(table, "P(ew_halpha > limit)")
    assert share[:2] == pytest.approx([0.5, norm.sf(1)], abs=1e-6)
    assert np.isnan(share[2:]).all()


@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.8])
def test_joint_probability_is_that_of_the_bivariate_normal(rho):
    table = scored_table([[10, 50, 1.5]], [[2, 5, 0.1]], [rho, 0, 0])
    expected = multivariate_normal.cdf([0.5, 0.2], cov=[[1, rho], [rho, 1]])
    joint = number(table, "P(ew_oiii < 11 and ew_halpha < 51)")
    assert joint == pytest.approx([expected], abs=0.01)


def test_ratio_inside_p_is_taken_draw_by_draw():
    table = scored_table([[10, 50, 1.5]], [[2, 5, 0.1]], [0.9, 0, 0])
    draws = np.random.default_rng(1).multivariate_normal([10, 50], [[4, 9], [9, 25]], size=200_000)
    expected = (draws[:, 0] / draws[:, 1] > 0.21).mean()
    assert number(table, "P(ew_oiii / ew_halpha > 0.21)") == pytest.approx([expected], abs=0.01)


def test_order_inside_p_does_not_matter(scored):
    one = number(scored, "P(ew_oiii > 11 and ew_halpha > 50)")
    other = number(scored, "P(ew_halpha > 50 and ew_oiii > 11)")
    assert np.array_equal(one, other, equal_nan=True)


def test_measured_column_inside_p_is_the_same_for_every_draw(scored):
    both = number(scored, "P(ew_halpha > 52 and rmag < 19)")
    assert both[0] == pytest.approx(norm.sf(-2.8), abs=0.003)
    assert both[1:3].tolist() == [0.0, 0.0]


def test_probability_is_missing_without_a_posterior_or_a_measured_value(scored):
    assert np.isnan(number(scored, "P(ew_halpha > 52)")).tolist() == [F, F, F, T]
    assert selected(scored, "P(ew_halpha > 52) < 0.9") == [F, T, T, F]
    assert selected(scored, "not P(ew_halpha > 52) < 0.9") == [T, F, F, F]
    assert selected(scored, "P(ew_halpha > 52) is missing") == [F, F, F, T]
    holed = scored.set_column(
        scored.column_names.index("rmag"),
        scored.schema.field("rmag"),
        pa.array([None] * 4, pa.float32()),
    )
    # The third has hardly a line, so that its magnitude does not matter.
    assert np.isnan(number(holed, "P(ew_halpha > 52 and rmag < 19)")).tolist() == [T, T, F, T]
    assert number(holed, "P(ew_halpha > 52 and rmag is missing)")[0] == pytest.approx(1, abs=0.01)


def test_lists_of_nulls_and_null_lists_are_both_no_posterior(scored):
    place = scored.column_names.index("d4000_quantiles")
    lists = [row or [None] * 11 for row in scored["d4000_quantiles"].to_pylist()]
    filled = scored.set_column(
        place, scored.schema.field(place), pa.array(lists, scored.schema.field(place).type)
    )
    one, other = (Sources(table).posterior.knots("d4000") for table in (scored, filled))
    assert np.array_equal(one, other, equal_nan=True)
    assert np.isnan(one[3]).all()


def test_posterior_of_the_wrong_width_is_an_error(scored):
    place = scored.column_names.index("d4000_correlation")
    field = pa.field(
        "d4000_correlation", pa.list_(pa.float32(), 3), metadata=scored.schema.field(place).metadata
    )
    table = scored.set_column(place, field, pa.array([[0, 0, 0]] * 4, field.type))
    assert selected(table, "P(d4000 > 1.25) > 0.5") == [F, T, T, F]
    with pytest.raises(CatalogError, match="'d4000_correlation' does not hold 2 numbers per"):
        selected(table, "P(d4000 > 1.2 and ew_halpha > 80) > 0.2")


def test_outside_p_a_proxy_is_its_median_and_std_its_width(scored):
    assert number(scored, "ew_halpha")[:3].tolist() == [80, 52, 0]
    assert number(scored, "std(ew_halpha)")[:3].tolist() == [10, 4, 1]
    assert number(scored, "q(ew_halpha, 0.5)")[:3] == pytest.approx([80, 52, 0])
    assert number(scored, "q(ew_halpha, 0.8413447460685429)")[:3] == pytest.approx([90, 56, 1])


@settings(max_examples=20)
@given(st.permutations(range(4)), st.integers(0, 3))
def test_answer_for_a_source_does_not_depend_on_its_neighbours(scored_once, order, row):
    text = "P(ew_oiii > 11 and ew_halpha > 50 or d4000 > 1.8)"
    together = number(scored_once.take(pa.array(order)), text)
    alone = number(scored_once.slice(order[row], 1), text)
    assert together[row] == alone[0] or np.isnan(alone[0])


@pytest.fixture(scope="module")
def scored_once():
    return scored_table(
        [[120, 80, 1.2], [12, 52, 1.3], [1, 0, 1.9], [np.nan] * 3],
        [[10, 10, 0.1]] * 4,
        [0.5, 0.2, 0],
    )


def test_more_rows_than_fit_in_one_block_of_draws_give_the_same():
    medians = np.tile([[12, 52, 1.3], [9, 60, 1.2]], (700, 1))
    table = scored_table(medians, np.ones((1400, 3)) * [4, 4, 0.1])
    share = number(table, "P(ew_oiii > 11 and ew_halpha > 50)")
    assert len(set(share)) == 2


def test_looser_rule_loses_no_source(scored_once):
    tight = np.array(selected(scored_once, "P(ew_oiii > 11 and ew_halpha > 50) >= 0.8"))
    for looser in (
        "P(ew_oiii > 11 and ew_halpha > 50) >= 0.5",
        "P(ew_oiii > 8 and ew_halpha > 45) >= 0.8",
    ):
        assert not (tight & ~np.array(selected(scored_once, looser))).any()


# --- membership ----------------------------------------------------------------------------------


def test_membership_holds_selection_probability_and_rank(scored):
    text = rule_text(
        "P(ew_halpha > 50) >= 0.6",
        rest="    rank: ew_halpha\n  OLD: {bit: 1, priority: 1, where: rmag < 19, rank: -rmag}\n",
    )
    membership = apply_rules(Rules.parse(text), scored)
    assert membership.names == ("ELG", "OLD")
    assert membership.selected.tolist() == [[T, T], [T, F], [F, T], [F, F]]
    expected = [norm.sf(-3), norm.sf(-0.5)]
    assert membership.probability[:2, 0] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(membership.probability[2:, 0]).all()
    assert membership.probability[[0, 2], 1].tolist() == [1, 1]
    assert membership.rank[:, 0].tolist()[:2] == [80, 52]
    assert membership.rank[2, 1] == -18
    assert membership.target_id.tolist() == [1, 2, 3, 4]


def test_class_probability_is_joint_over_all_its_conditions(scored):
    rules = Rules.parse(
        rule_text("P(ew_halpha > 52) >= 0.4", "P(ew_oiii > 12) >= 0.4", "rmag < 20")
    )
    membership = apply_rules(rules, scored)
    assert membership.selected[:, 0].tolist() == [T, T, F, F]
    assert membership.probability[1, 0] == pytest.approx(0.25, abs=0.01)


def test_text_ids_are_numbered_by_place_on_the_sky(scored):
    named = scored.set_column(0, pa.field("source_id", pa.string()), pa.array(["b", "a", "d", "c"]))
    order = [2, 0, 3, 1]
    membership = apply_rules(Rules.parse(rule_text("rmag < 30")), named.take(pa.array(order)))
    assert membership.target_id.tolist() == order


def test_definition_may_not_shadow_a_column(scored):
    rules = Rules.parse(rule_text("rmag < 3", define="rmag: ew_halpha > 3"))
    with pytest.raises(RuleError, match="'rmag' is already a column of the catalog; rename it"):
        apply_rules(rules, scored)


def test_fault_found_with_the_catalog_still_names_file_line_and_column(scored):
    rules = Rules.parse(rule_text("rmag < 20", "bright"), "elg.yaml")
    with pytest.raises(RuleError) as caught:
        apply_rules(rules, scored)
    assert str(caught.value).startswith("elg.yaml:10:10: error: unknown column 'bright'.")


def test_truth_asks_the_claim_of_measured_proxies(scored):
    rules = Rules.parse(
        rule_text(
            "P(ew_halpha > 50 and ew_oiii > 10) >= 0.8",
            "rmag < 20",
            rest="  ANY: {bit: 1, priority: 1, where: rmag < 19}\n",
        )
    )
    measured = {"ew_halpha": [60.0, 60, 40, np.nan], "ew_oiii": [20.0, 5, 20, 20]}
    assert truth(rules, "ELG", scored, measured).tolist() == [T, F, F, F]
    assert truth(rules, "ANY", scored, measured).tolist() == [T, T, T, T]
    assert truth(rules, "ELG", scored, pa.table(measured)).tolist() == [T, F, F, F]
    with pytest.raises(CatalogError, match="class ELG speaks of 'ew_oiii', which was not measured"):
        truth(rules, "ELG", scored, {"ew_halpha": [1.0] * 4})


def test_expected_members_are_as_many_as_turn_out_true():
    rng = np.random.default_rng(3)
    medians = np.column_stack(
        [rng.normal(10, 3, 4000), rng.normal(50, 8, 4000), np.full(4000, 1.5)]
    )
    widths = np.tile([2.0, 5.0, 0.1], (4000, 1))
    table = scored_table(medians, widths)
    real = rng.normal(medians, widths)
    rules = Rules.parse(rule_text("P(ew_halpha > 50 and ew_oiii > 10) >= 0.5"))
    membership = apply_rules(rules, table)
    chosen = membership.selected[:, 0]
    expected = membership.probability[chosen, 0].sum()
    measured = {"ew_oiii": real[:, 0], "ew_halpha": real[:, 1]}
    found = (truth(rules, "ELG", table, measured) & chosen).sum()
    assert chosen.sum() > 500
    assert found == pytest.approx(expected, abs=4 * np.sqrt(expected * 0.3))


def test_holds_is_false_for_every_row_of_an_empty_table(scored):
    empty = scored.slice(0, 0)
    formula = Binder(CatalogColumns(empty.schema)).condition(
        parse("P(ew_oiii > 3 and d4000 > 1) > 0.5")
    )
    assert holds(formula, Sources(empty)).shape == (0,)
    assert apply_rules(Rules.parse(rule_text("P(ew_oiii > 3) > 0.5")), empty).selected.shape == (
        0,
        1,
    )


@pytest.mark.parametrize("operator", [">=", ">", "<", "<="])
def test_rows_decided_without_draws_are_decided_as_with_them(operator):
    rng = np.random.default_rng(4)
    medians = rng.normal([10, 50, 1.5], [3, 8, 0.2], (500, 3))
    medians[::9] = np.nan
    table = scored_table(medians, np.tile([2.0, 5.0, 0.1], (500, 1)), [0.5, 0.1, -0.3])
    inside = "ew_halpha > 50 and ew_oiii > 10"
    share = number(table, f"P({inside})")
    expected = COMPARISONS[operator](share, 0.6)
    assert selected(table, f"P({inside}) {operator} 0.6") == expected.tolist()
    assert 50 < expected.sum() < 450


def test_joint_probability_never_exceeds_that_of_its_parts():
    rng = np.random.default_rng(4)
    medians = rng.normal([10, 50, 1.5], [3, 8, 0.2], (300, 3))
    table = scored_table(medians, np.tile([2.0, 5.0, 0.1], (300, 1)), [0.999, 0, 0])
    joint = number(table, "P(ew_halpha > 50 and ew_oiii > 10)")
    assert (joint <= number(table, "P(ew_halpha > 50)")).all()
    assert (joint <= number(table, "P(ew_oiii > 10)")).all()
