"""Joint probabilities against closed forms, counting, and their own bounds."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from targetsel.expressions import units
from targetsel.expressions.functions import (
    ARITHMETIC,
    COMPARISONS,
    NumberFunction,
    always,
    apply_to_intervals,
)
from targetsel.rules import formula as f
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import FUNCTIONS, parse
from targetsel.selection.evaluation import (
    SETTLED,
    _bounds,
    _may_reach,
    holds,
    probability,
)
from targetsel.selection.sources import DrawnSources, Sources
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior, bivariate_normal
from tests.selection.scored_by_hand import PROXIES, scored_table

CONDITIONS = [
    "ew_oiii > 10",
    "not ew_halpha < 50",
    "ew_oiii > 10 and ew_halpha > 50",
    "ew_oiii > 10 or ew_halpha > 50",
    "not (ew_oiii > 10 or ew_halpha > 50)",
    "8 < ew_oiii < 11 and ew_halpha between 45 and 55",
    "ew_oiii between 8 and 11 or d4000 > 1.6",
    "ew_oiii / ew_halpha > 0.2",
    "ew_oiii / ew_halpha > 0.2 and d4000 < 1.5",
    "log10(ew_oiii) < 1 or ew_halpha > 60",
    "ew_oiii > 10 and ew_halpha > 50 and d4000 < 1.5",
    "ew_oiii > 10 or ew_halpha > 50 or d4000 < 1.3",
    "(ew_oiii > 10 or ew_halpha > 50) and not d4000 > 1.5",
    "ew_oiii > 10 and depth < 19",
    "ew_oiii > 10 or depth < 19",
    "ew_oiii > depth - 9 and ew_halpha > 50",
]


def table_of(n: int, seed: int = 4) -> pa.Table:
    """Sources spread around the limits of CONDITIONS."""
    rng = np.random.default_rng(seed)
    medians = rng.normal([10, 50, 1.5], [3, 8, 0.2], (n, 3))
    widths = rng.uniform(0.3, 1.5, (n, 1)) * [2.0, 5.0, 0.1]
    depth = pa.array(rng.uniform(18, 20, n))
    return scored_table(medians, widths, [0.7, -0.2, -0.5], columns={"depth": (depth, "")})


def condition_for(table: pa.Table, text: str):
    return Binder(CatalogColumns(table.schema)).condition(parse(text))


# --- closed forms --------------------------------------------------------------------------------

scores = st.one_of(st.sampled_from([0.0, -0.0, np.inf, -np.inf, 1e-300]), st.floats(-6, 6))


@settings(max_examples=200)
@given(scores, scores, st.floats(-0.999999, 0.999999))
def test_bivariate_normal_agrees_with_numerical_integration(x, y, rho):
    found = bivariate_normal(np.array([x]), np.array([y]), np.array([rho]))[0]
    corner = np.clip([x, y], -9, 9)
    expected = multivariate_normal.cdf(corner, cov=[[1, rho], [rho, 1]])
    assert found == pytest.approx(expected, abs=1e-6)


def test_quadrant_of_the_bivariate_normal_is_sheppards():
    rho = np.array([-0.9, -0.5, 0.0, 0.5, 0.9])
    quadrant = bivariate_normal(np.zeros(5), np.zeros(5), rho)
    np.testing.assert_allclose(quadrant, 0.25 + np.arcsin(rho) / (2 * np.pi), atol=1e-15)


def test_rectangle_is_the_sum_of_its_corners():
    quantiles = dict.fromkeys("ab", NORMAL_SCORES[None])
    posterior = ProxyPosterior(("a", "b"), quantiles, {("a", "b"): np.zeros(1)})
    low, high = np.array([-1.0]), np.array([1.0])
    inside = posterior.probability_inside({"a": (low, high), "b": (low, None)})
    assert inside == pytest.approx((norm.cdf(1) - norm.cdf(-1)) * norm.cdf(1), abs=1e-12)
    nothing = posterior.probability_inside({"a": (high, low), "b": (high, low)})
    assert nothing == 0.0


def test_two_independent_proxies_multiply_and_add():
    table = scored_table([[10, 50, 1.5]], [[2, 5, 0.1]])
    sources = Sources(table)
    one, other = norm.sf(0.5), norm.sf(-0.4)
    both = probability(condition_for(table, "ew_oiii > 11 and ew_halpha > 48"), sources)
    either = probability(condition_for(table, "ew_oiii > 11 or ew_halpha > 48"), sources)
    assert both == pytest.approx(one * other, abs=1e-6)
    assert either == pytest.approx(one + other - one * other, abs=1e-6)


# --- counting ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counted():
    """150 sources and the share of 40,000 pseudo-random draws that obey each condition."""
    table, n_draws = table_of(150), 40_000
    covariance = np.array([[1, 0.7, -0.2], [0.7, 1, -0.5], [-0.2, -0.5, 1]])
    normals = np.random.default_rng(8).multivariate_normal(np.zeros(3), covariance, n_draws).T
    draws = {}
    for name, normal in zip(PROXIES, normals, strict=True):
        median, width = (np.asarray(table[name + end]) for end in ("", "_std"))
        draws[name] = median[:, None] + width[:, None] * normal
    return table, DrawnSources(Sources(table), draws)


@pytest.mark.parametrize("text", CONDITIONS)
def test_probability_is_the_share_of_many_draws(counted, text):
    table, drawn = counted
    condition = condition_for(table, text)
    share = np.broadcast_to(holds(condition, drawn), (150, 40_000)).mean(axis=1)
    found = probability(condition, Sources(table))
    np.testing.assert_allclose(found, share, atol=0.015)
    assert np.abs(found - share).mean() < 0.003


def test_probability_and_that_of_the_contrary_add_to_one():
    table = table_of(200)
    always_known = [text for text in CONDITIONS if "log10" not in text]
    for text in always_known:
        likely = probability(condition_for(table, text), Sources(table))
        contrary = probability(condition_for(table, f"not ({text})"), Sources(table))
        np.testing.assert_allclose(likely + contrary, 1, atol=2e-6, err_msg=text)


# --- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", CONDITIONS)
def test_bounds_hold_the_probability_and_decide_as_it_does(text):
    table = table_of(400)
    condition = condition_for(table, text)
    sources = Sources(table)
    low, high = _bounds(condition, sources)
    likely = probability(condition, sources)
    assert (low - SETTLED <= likely).all()
    assert (likely <= high + SETTLED).all()
    for operator in ("<", "<=", ">", ">="):
        for limit in (0.004, 0.05, 0.5, 0.8, 0.999):
            decided = holds(condition_for(table, f"P({text}) {operator} {limit}"), sources)
            assert (decided == COMPARISONS[operator](likely, limit)).all()


def test_one_quantile_settles_what_is_far_from_the_limit():
    # P(ew_oiii > 12) is 0.98, 0.5 and 0.02; 0.31 lies above the quantile at +0.5: 15, 13 and 9.
    table = scored_table(
        [[14, 50, 1.5], [12, 50, 1.5], [8, 50, 1.5]], [[1, 1, 1], [2, 1, 1], [2, 1, 1]]
    )

    def may_reach(text, limit):
        return _may_reach(limit, condition_for(table, text), Sources(table))

    assert may_reach("ew_oiii > 12", 0.4).tolist() == [True, True, False]
    assert may_reach("ew_oiii < 12", 0.4).tolist() == [False, True, True]
    assert may_reach("ew_oiii > 12 and d4000 > 99", 0.4).tolist() == [False] * 3
    assert may_reach("ew_oiii > 12", 0.001).tolist() == [True] * 3


def test_arithmetic_is_bounded_without_draws_where_the_answer_is_plain():
    table = scored_table([[1, 100, 1.5], [50, 10, 1.5], [10, 50, 1.5]], [[0.1, 1, 0.1]] * 3)
    low, high = _bounds(condition_for(table, "ew_oiii / ew_halpha > 0.2"), Sources(table))
    outside = 4 * norm.cdf(-2.5)
    assert high[0] == pytest.approx(outside)
    assert low[1] == pytest.approx(1 - outside)
    assert (low[2], high[2]) == (0, 1)


numbers = st.floats(-20, 20)


@settings(max_examples=300)
@given(
    st.sampled_from(["+", "-", "*", "/", "**", "negative", "abs", "sqrt", "log10", "min", "max"]),
    st.lists(st.tuples(numbers, numbers, st.floats(0, 1)), min_size=2, max_size=3),
)
def test_operation_on_values_lies_in_the_operation_on_their_intervals(operation, parts):
    from targetsel.expressions.functions import apply

    many = {"min": 3, "max": 3, "negative": 1, "abs": 1, "sqrt": 1, "log10": 1}
    parts = parts[: many.get(operation, 2)]
    intervals = [(np.array(min(a, b)), np.array(max(a, b))) for a, b, _ in parts]
    values = [
        low + (high - low) * share
        for (low, high), (*_, share) in zip(intervals, parts, strict=True)
    ]
    result = apply(operation, *values)
    low, high = apply_to_intervals(operation, *intervals)
    slack = 1e-9 * max(abs(float(result)), 1) if np.isfinite(result) else 0
    if not np.isnan(low):
        assert low - slack <= result <= high + slack


def test_interval_that_reaches_a_number_without_value_says_nothing():
    one = (np.array(1.0), np.array(2.0))
    around_zero = (np.array(-1.0), np.array(2.0))
    for interval in (
        apply_to_intervals("/", one, around_zero),
        apply_to_intervals("log10", around_zero),
        apply_to_intervals("sqrt", around_zero),
        apply_to_intervals("**", around_zero, one),
    ):
        assert np.isnan(interval).all()
        assert not always(">", interval, (np.array(-9e9), np.array(-9e9)))


# --- numbers in float32 --------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["x", "x * 1", "x + 0", "-(-x)", "1 * x", "x / 1"])
@pytest.mark.parametrize("limit", ["0.1", "0.3", "1e-3", "16777217", "1234.5678"])
def test_a_float32_is_compared_alike_plain_and_in_arithmetic(left, limit):
    near = np.float32(float(limit))
    values = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    columns = {"x": (pa.array(values, pa.float32()), "")}
    table = scored_table([[10, 50, 1.5]] * 3, [[2, 5, 0.1]] * 3, columns=columns)
    for operator, expected in (
        ("==", [False, True, False]),
        ("!=", [True, False, True]),
        ("<", [True, False, False]),
        ("<=", [True, True, False]),
        (">", [False, False, True]),
        (">=", [False, True, True]),
    ):
        condition = condition_for(table, f"{left} {operator} {limit}")
        assert holds(condition, Sources(table)).tolist() == expected
        within_p = condition_for(table, f"P({left} {operator} {limit} and ew_oiii > -1000) > 0.5")
        assert holds(within_p, Sources(table)).tolist() == expected


@pytest.mark.parametrize("x", ["x", "x * 1", "y * 0.5 + x * 0", "max(x, -1)"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{} in [0.1, 0.7]", [False, True, False]),
        ("not ({} in [0.1])", [True, False, True]),
        ("{} between 0.1 and 0.1", [False, True, False]),
        ("0.1 <= {} <= 0.1", [False, True, False]),
        ("0.1 < {} < 0.2", [False, False, True]),
        ("{} != x", [False, False, False]),
    ],
)
def test_lists_and_ranges_compare_arithmetic_on_float32_as_they_compare_columns(x, text, expected):
    near = np.float32(0.1)
    values = np.array([np.nextafter(near, np.float32(0)), near, np.nextafter(near, np.float32(1))])
    columns = {"x": (pa.array(values), ""), "y": (pa.array(2 * values), "")}
    table = scored_table([[10, 50, 1.5]] * 3, [[2, 5, 0.1]] * 3, columns=columns)
    text = text.replace("{}", x)
    assert holds(condition_for(table, text), Sources(table)).tolist() == expected


def test_a_float64_beside_a_float32_is_compared_as_it_is():
    columns = {
        "x": (pa.array([0.1], pa.float32()), ""),
        "y": (pa.array([0.1], pa.float64()), ""),
    }
    table = scored_table([[10, 50, 1.5]], [[2, 5, 0.1]], columns=columns)
    for text, expected in (("x == y", False), ("y * 1 == 0.1", True), ("x + y == 0.2", False)):
        assert holds(condition_for(table, text), Sources(table)).tolist() == [expected]


# --- missing values and neighbours ---------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "ew_oiii > 10 and depth < 19",
        "ew_oiii > 10 or depth < 19",
        "ew_oiii > depth",
        "ew_oiii / depth > 0.5",
        "ew_oiii > 10 and 1 / (depth - depth) > 3",
    ],
)
def test_probability_is_missing_where_a_measured_number_in_it_is(text):
    depth = pa.array([18.0, None, float("nan")])
    table = scored_table([[10, 50, 1.5]] * 3, [[2, 5, 0.1]] * 3, columns={"depth": (depth, "")})
    likely = probability(condition_for(table, text), Sources(table))
    assert np.isnan(likely[1:]).all()
    assert np.isnan(likely[0]) == ("1 /" in text)


ABOVE_FIVE = norm.sf(5, 10, 2)  # the probability that ew_oiii is more than 5 below: 0.994


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("P(b or ew_oiii > 5) >= 0.9", True),  # 0.994 if b is false, 1 if it is true
        ("P(b or ew_oiii > 5) > 0.999", False),
        ("P(b or ew_oiii > 5) < 0.999", False),
        ("P(b and ew_oiii > 5) >= 0.9", False),  # 0 or 0.994
        ("P(b and ew_oiii > 5) < 0.999", True),
        ("P(b and ew_oiii > 5) < 0.9", False),
        ("not (P(b or ew_oiii > 5) < 0.9)", True),
        ("P(not b or not ew_oiii > 5) >= 0.001", True),  # 0.006 or 1
        ("P((b or ew_oiii > 5) and depth < 19) >= 0.9", False),  # 0 to 1
        ("P(ew_oiii > depth or ew_oiii > 5) >= 0.9", True),
        ("P(ew_oiii > depth or ew_oiii > 5) == 1", False),
        ("P(b or ew_oiii > 5 and d4000 > 1) >= 0.9", True),
        ("P(b or x < 3 or ew_oiii > 500) >= 1", True),  # x is known
        ("P(b or depth < 3 or ew_oiii > 500) >= 0.1", False),
    ],
)
def test_what_is_missing_settles_p_only_where_it_settles_the_condition(text, is_true):
    columns = {
        "b": (pa.array([None], pa.bool_()), ""),
        "depth": (pa.array([None], pa.float64()), ""),
        "x": (pa.array([2.0]), ""),
    }
    table = scored_table([[10, 50, 1.5]], [[2, 5, 0.05]], columns=columns)
    assert 0.993 < ABOVE_FIVE < 0.995
    assert holds(condition_for(table, text), Sources(table)).tolist() == [is_true]


TRUE, FALSE, UNKNOWN = 1.0, 0.0, 0.5  # Kleene: and is the least, or the greatest
ATOMS = {
    TRUE: ("yes", "x > 0", "not no", "y is missing", "x in [1, 2]"),
    FALSE: ("no", "x < 0", "b is not missing", "2 < x < 3", "not yes"),
    UNKNOWN: ("b", "y > 0", "not b", "y + x > 0", "y in [1, 2]", "0 < y < 5", "x / 0 > 1"),
}
CERTAIN = {TRUE: "ew_oiii > -1000", FALSE: "ew_oiii > 1000"}
ONE_ROW = {
    "yes": (pa.array([True]), ""),
    "no": (pa.array([False]), ""),
    "b": (pa.array([None], pa.bool_()), ""),
    "x": (pa.array([1.0]), ""),
    "y": (pa.array([None], pa.float64()), ""),
}


def kleene(rng, atoms, depth):
    """A random condition, and its value."""
    kind = rng.random()
    if depth == 0 or kind < 0.15:
        value = rng.choice([*atoms])
        return rng.choice(atoms[value]), value
    text, value = kleene(rng, atoms, depth - 1)
    if kind < 0.4:
        return f"not ({text})", 1 - value
    other, its = kleene(rng, atoms, depth - 1)
    if kind < 0.7:
        return f"({text}) and ({other})", min(value, its)
    return f"({text}) or ({other})", max(value, its)


class Logic:
    """One source with the columns of `ONE_ROW`, of which conditions are true, false or unknown."""

    def __init__(self):
        table = scored_table([[10, 50, 1.5]], [[2, 5, 0.05]], columns=ONE_ROW)
        self.sources, self.binder = Sources(table), Binder(CatalogColumns(table.schema))

    def holds(self, text):
        return holds(self.binder.condition(parse(text)), self.sources)[0]

    def check(self, text, value):
        """The value of a condition on measured columns: alone, and in P beside what is certain."""
        assert self.holds(text) == (value == TRUE), text
        assert self.holds(f"not ({text})") == (value == FALSE), text
        self.check_p(f"({text}) and {CERTAIN[TRUE]}", value)
        self.check_p(f"{CERTAIN[FALSE]} or ({text})", value)

    def check_p(self, text, value):
        """P is 1, 0 or unknown, and so are its comparisons."""
        found = probability(self.binder.condition(parse(text)), self.sources)
        expected = np.nan if value == UNKNOWN else value
        assert found == pytest.approx([expected], abs=1e-6, nan_ok=True), text
        for comparison, result in (("> 0.9", TRUE), ("< 0.1", FALSE)):
            assert self.holds(f"P({text}) {comparison}") == (value == result), text
            turned = self.holds(f"not (P({text}) {comparison})")
            assert turned == (value not in (UNKNOWN, result)), text


@pytest.mark.parametrize("one", [TRUE, FALSE, UNKNOWN])
@pytest.mark.parametrize("two", [TRUE, FALSE, UNKNOWN])
def test_and_or_and_not_have_kleenes_values_inside_p_as_outside(one, two):
    logic = Logic()
    for a in ATOMS[one][:2]:
        for b in ATOMS[two][-2:]:
            logic.check(f"({a}) and ({b})", min(one, two))
            logic.check(f"({a}) or ({b})", max(one, two))
            logic.check(f"not (({a}) and not ({b}))", 1 - min(one, 1 - two))


def test_nested_conditions_have_kleenes_values_inside_p_as_outside():
    rng, logic = random.Random(20261129), Logic()
    values = []
    for _ in range(40):
        text, value = kleene(rng, ATOMS, 4)
        logic.check(text, value)
        values.append(value)
    assert min(values.count(each) for each in (TRUE, FALSE, UNKNOWN)) > 5


def test_nested_conditions_of_what_is_predicted_and_measured_have_kleenes_values():
    rng, logic = random.Random(20261130), Logic()
    atoms = {value: (*ATOMS[value], *[CERTAIN.get(value, "y > 0")] * 4) for value in ATOMS}
    for _ in range(40):
        text, value = kleene(rng, atoms, 4)
        logic.check_p(f"({text}) and {CERTAIN[TRUE]}", value)


def test_p_is_what_is_left_where_a_missing_value_does_not_matter():
    columns = {"b": (pa.array([None, True, False]), "")}
    table = scored_table([[10, 50, 1.5]] * 3, [[2, 5, 0.1]] * 3, columns=columns)
    sure = probability(condition_for(table, "b or ew_oiii > -100"), Sources(table))
    assert sure == pytest.approx([1, 1, 1], abs=1e-6)
    open_ = probability(condition_for(table, "b or ew_oiii > 5"), Sources(table))
    assert open_ == pytest.approx([np.nan, 1, ABOVE_FIVE], abs=1e-6, nan_ok=True)


def test_proxy_that_is_always_the_same_is_certain():
    table = scored_table([[10, 50, 1.5]], [[0, 0, 0]])
    sources = Sources(table)
    for text, expected in (
        ("ew_oiii > 9 and ew_halpha > 49 and d4000 > 1", 1),
        ("ew_oiii > 11 or ew_halpha > 51", 0),
        ("ew_oiii / ew_halpha > 0.19", 1),
    ):
        assert probability(condition_for(table, text), sources) == pytest.approx(expected, abs=0.03)


@settings(max_examples=15)
@given(st.permutations(range(24)), st.sampled_from(CONDITIONS), st.integers(0, 23))
def test_probability_of_a_source_is_the_same_bytes_in_any_company(order, text, row):
    table = table_of(24)
    condition = condition_for(table, text)
    together = probability(condition, Sources(table.take(pa.array(order))))
    alone = probability(condition, Sources(table.slice(order[row], 1)))
    assert together[row] == alone[0]


def test_rows_taken_again_and_again_are_those_of_the_table():
    table = table_of(50)
    rows, again = np.arange(49, -1, -3), np.array([4, 4, 0])
    taken = Sources(table).take(rows).take(again)
    direct = Sources(table.take(pa.array(rows[again])))
    for text in CONDITIONS:
        condition = condition_for(table, text)
        np.testing.assert_array_equal(probability(condition, taken), probability(condition, direct))
    assert taken.table == direct.table
    assert len(taken) == 3


def test_function_that_is_not_monotone_has_the_probability_of_its_draws(monkeypatch):
    record = NumberFunction("sin", "sine", (1, 1), np.sin, units.pure)
    monkeypatch.setitem(ARITHMETIC, "sin", record)
    monkeypatch.setitem(FUNCTIONS, "sin", record)
    table = scored_table([[3.0, 1.0, 1.0], [9.0, 1.0, 1.0]], [[2.0, 0.5, 0.1], [0.2, 0.5, 0.1]])
    binder = Binder(CatalogColumns(table.schema))
    sources = Sources(table)
    for text in ("sin(ew_halpha) > 0.9", "abs(sin(ew_halpha) + 1) < 0.5"):
        condition = binder.condition(parse(f"P({text}) > 0.5"))
        assert isinstance(condition, f.Compare)
        found = probability(condition.left.condition, sources)
        scores = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
        width = sources.posterior.value("ew_halpha", np.broadcast_to(scores, (2, 20_000)))
        value = np.sin(width)
        true = value > 0.9 if text.startswith("sin") else np.abs(value + 1) < 0.5
        np.testing.assert_allclose(found, true.mean(axis=1), atol=0.01)
