"""Rows that the catalog alone rules out: nothing that is predicted of them can change a list."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from targetsel.errors import CatalogError, RuleError
from targetsel.rules.catalog_part import unseen_columns
from targetsel.rules.rules import Rules
from targetsel.scoring.chunks import rows_not_needed
from targetsel.selection.membership import apply_rules
from targetsel.selection.needed import Asked
from targetsel.selection.reports.explain import explain
from targetsel.selection.reports.forecast import forecasts
from targetsel.selection.reports.tuning import tune
from targetsel.selection.scored_sources import funnel
from targetsel.selection.select import select
from tests.selection.expressions_at_random import awkward_table, condition
from tests.selection.scored_by_hand import scored_table

HEAD = "schema: targetsel/rules/v1\nname: test\n"


def scored_catalog(seed: int = 0, n: int = 240) -> pa.Table:
    """Sources with awkward columns of a catalog, and predictions behind them; some have none."""
    rng = np.random.default_rng(seed)
    catalog = awkward_table(seed, n)
    medians = rng.normal([12, 52, 1.5], [6, 20, 0.2], (n, 3))
    medians[rng.random(n) < 0.1] = np.nan
    known = np.isfinite(medians[:, 0])
    typicality = pa.array(np.where(known, rng.random(n), np.nan), pa.float32(), from_pandas=True)
    columns = {
        "typicality": (typicality, ""),
        "status": (pa.array(np.where(known, "ok", "no cutout")), ""),
    }
    widths = np.tile([2.0, 5.0, 0.1], (n, 1))
    predicted = scored_table(medians, widths, (0.5, -0.3, -0.4), columns=columns)
    table = catalog
    for name in predicted.schema.names:
        if name not in catalog.schema.names:
            table = table.append_column(predicted.schema.field(name), predicted[name])
    return table.replace_schema_metadata(predicted.schema.metadata)


def with_needed(table: pa.Table, *rules: Rules) -> pa.Table:
    """The table as `score` given these rules writes it."""
    unseen = unseen_columns(table.schema)
    catalog = table.select([name for name in table.schema.names if name not in unseen])
    needed = Asked(rules, table.schema).needed(lambda: iter([catalog]))
    mask = pa.array(needed.rows(catalog))
    others = catalog.filter(pc.invert(mask))
    pieces = [table.filter(mask), rows_not_needed(others, table.schema)]
    return pa.concat_tables(pieces).sort_by(
        [("_healpix_29", "ascending"), ("source_id", "ascending")]
    )


def lists_of(table: pa.Table, some: pa.Table, rules: Rules, folder) -> list[bytes]:
    """The target lists of a catalog whose sources are all predicted, and of one with some."""
    found = []
    for name, each in (("whole", table), ("some", some)):
        pq.write_table(each, folder / f"{name}.scored.parquet", row_group_size=60)
        select(folder / f"{name}.scored.parquet", rules, folder / f"{name}.parquet")
        found.append((folder / f"{name}.parquet").read_bytes())
    return found


# --- rules at random -----------------------------------------------------------------------------


def asks_predictions(rng: random.Random) -> str:
    """A condition on what is predicted, or on what score says of it."""
    of_catalog = condition(rng, 1).ours
    return rng.choice(
        [
            f"ew_halpha > {rng.uniform(0, 100):.1f}",
            "ew_halpha > x",
            f"P(ew_halpha > {rng.uniform(20, 80):.1f} and ew_oiii > 10) >= 0.4",
            f"P(ew_oiii > {rng.uniform(0, 20):.1f}) < 0.3",
            f"P(ew_halpha > 40 and ({of_catalog})) >= 0.2",
            f"P(ew_halpha > 40 or ({of_catalog})) > 0.6",
            f"P(not (ew_halpha > 40 and ({of_catalog}))) > 0.6",
            "std(d4000) < 0.2",
            "q(ew_oiii, 0.84) > 10",
            "ew_oiii is missing",
            "typicality is not missing",
            "typicality > catalog_quantile(x, 0.4)",
            "status == 'ok'",
            "status != 'ok'",
            "status in ['no cutout', 'not needed']",
        ]
    )


def any_condition(rng: random.Random, depth: int = 3) -> str:
    kind = rng.random()
    if depth == 0 or kind < 0.25:
        return asks_predictions(rng) if rng.random() < 0.5 else condition(rng, 1).ours
    if kind < 0.3:
        return f"f < catalog_quantile(f, {rng.choice([0.2, 0.7])})"
    if kind < 0.4:
        return f"not ({any_condition(rng, depth - 1)})"
    word = "and" if kind < 0.75 else "or"
    return f"({any_condition(rng, depth - 1)}) {word} ({any_condition(rng, depth - 1)})"


def rules_at_random(rng: random.Random) -> str:
    text = HEAD + "classes:\n"
    for k, name in enumerate("ABC"):
        where = [any_condition(rng) for _ in range(rng.choice([1, 2, 3]))]
        text += f"  {name}:\n    priority: {k}\n    where:\n"
        text += "".join(f"      - {_quoted(each)}\n" for each in where)
        if k and rng.random() < 0.5:
            text += f"    unless: [{rng.choice('ABC'[:k])}]\n"
        if rng.random() < 0.3:
            text += "    sample: 0.6\n"
        if rng.random() < 0.5:
            text += (
                f"    rank: {rng.choice(['ew_halpha', 'P(ew_oiii > 10)', 'x', '-typicality'])}\n"
            )
        if rng.random() < 0.3:
            text += "    limit: {total: 10}\n"
        if rng.random() < 0.2:
            text += "    dedup: {within: 5 deg}\n"
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_lists_are_the_same_bytes_where_only_needed_sources_are_predicted(tmp_path_factory, seed):
    table = scored_catalog(seed % 50)
    try:
        rules = Rules.parse(rules_at_random(random.Random(seed)))
        some = with_needed(table, rules)
    except RuleError:  # such as one with too many parts
        assume(False)
    whole, part = lists_of(table, some, rules, tmp_path_factory.mktemp("lists"))
    assert part == whole


def a_class(*where: str, rest: str = "") -> Rules:
    """Rules of one class A; `rest` are its other keys."""
    lines = "".join(f"      - {_quoted(each)}\n" for each in where)
    return Rules.parse(f"{HEAD}classes:\n  A:\n    priority: 1\n    where:\n{lines}{rest}")


def n_needed(table: pa.Table, rules: Rules) -> int:
    some = with_needed(table, rules)
    return some.num_rows - int((np.array(some["status"].to_pylist()) == "not needed").sum())


@pytest.mark.parametrize(
    ("where", "rest", "least"),
    [
        (("x < 0", "P(ew_halpha > 50) > 0.5"), "", "x < 0"),
        (("x < 0 and ew_halpha > 50",), "", "x < 0"),
        (("(x < 0 and ew_halpha > 50) or (x < 10 and d4000 > 1)",), "", "x < 10"),
        (("P(x < 0 and ew_halpha > 50) >= 0.1",), "", "x < 0"),
        (("b", "ew_halpha is missing"), "", "b"),
        (("x < catalog_quantile(x, 0.3)", "status == 'ok'"), "", "x < catalog_quantile(x, 0.3)"),
        (("x < 0 or ew_halpha > 50",), "", "source_id >= 0"),
        (("ew_halpha > 50", "x < 0"), "    sample: 0.5\n", "x < 0 and source_id >= 0"),
    ],
)
def test_a_source_is_needed_where_the_catalog_leaves_its_verdict_open(where, rest, least):
    table = scored_catalog()
    needed = n_needed(table, a_class(*where, rest=rest))
    (members,) = apply_rules(a_class(least), table).selected.sum(axis=0, keepdims=True)
    if "sample" in rest:
        assert 0 < needed < int(members[0])
    else:
        assert needed == int(members[0])


def test_members_that_predictions_cannot_change_are_needed_for_their_rank_and_columns():
    assert n_needed(scored_catalog(), a_class("b", rest="    rank: ew_halpha\n")) > 0


def test_a_quantile_of_predictions_over_all_sources_needs_all_and_says_so():
    table = scored_catalog()
    rules = a_class("x < 0", "ew_halpha > catalog_quantile(ew_halpha, 0.9)")
    needed = Asked([rules], table.schema).needed(lambda: iter([table]))
    assert needed.condition is True
    assert needed.reason == "test asks for catalog_quantile(ew_halpha, 0.9) over all sources"


def test_a_class_of_predictions_alone_needs_all_and_says_so():
    table = scored_catalog()
    needed = Asked([a_class("ew_halpha > 50")], table.schema).needed(lambda: iter([table]))
    assert needed.reason == "A asks nothing of the catalog alone"


def test_columns_added_behind_the_predictions_count_as_unknown():
    table = scored_catalog()
    added = table.append_column("lineflux", table["x"])
    assert {"ew_halpha", "status", "lineflux"} <= unseen_columns(added.schema)
    assert not unseen_columns(added.schema) & {"x", "ra", "source_id", "_healpix_29"}


def test_a_guarantee_counts_the_same_candidates_also_those_that_a_sample_leaves_out(tmp_path):
    known = scored_catalog(99, 600)
    known = known.set_column(0, "source_id", pa.array(np.arange(600) + 1000))
    pq.write_table(known, tmp_path / "known.scored.parquet")
    medians = known["ew_halpha"].to_numpy()
    truth = {"source_id": known["source_id"], "ew_halpha": medians.astype(float) + 1.0}
    pq.write_table(pa.table(truth), tmp_path / "truth.parquet")
    pair = tmp_path / "known.scored.parquet", tmp_path / "truth.parquet"
    rest = "    sample: 0.5\n    guarantee: {purity: 0.6}\n"
    rules = a_class("x < 20", "P(ew_halpha > 40) > 0.1", rest=rest)
    table, lists = scored_catalog(), []
    assert n_needed(table, rules) < table.num_rows
    for each in (table, with_needed(table, rules)):
        pq.write_table(each, tmp_path / "a.scored.parquet")
        found = select(tmp_path / "a.scored.parquet", rules, tmp_path / "a.parquet", labelled=pair)
        lists.append((tmp_path / "a.parquet").read_bytes())
    assert found.guarantees["A"].n_candidates > found.classes[0].n_passed > 0
    assert lists[0] == lists[1]


# --- readers of such a catalog -------------------------------------------------------------------

BRIGHT = a_class("x < 0", "ew_halpha > 50")


@pytest.fixture
def some_scored(tmp_path):
    """A file that was scored for sources with x below 0 alone."""
    pq.write_table(with_needed(scored_catalog(), BRIGHT), tmp_path / "some.scored.parquet")
    return tmp_path / "some.scored.parquet"


def test_select_refuses_rules_that_could_choose_what_was_not_needed(some_scored, tmp_path):
    select(some_scored, a_class("x < -1", "ew_halpha > 40"), tmp_path / "out.parquet")
    with pytest.raises(CatalogError, match=r"some\.scored\.parquet: \d+ sources that A could choose"
                       r", such as \d+, have the status 'not needed' and no predictions\. Score "
                       r"it again with the --rules"):  # fmt: skip
        select(some_scored, a_class("x < 1", "ew_halpha > 50"), tmp_path / "out.parquet")


def test_select_refuses_a_quantile_over_sources_that_were_not_needed(some_scored, tmp_path):
    rules = a_class("x < 0", "ew_halpha > catalog_quantile(ew_halpha, 0.5)")
    with pytest.raises(CatalogError, match=r"asks for catalog_quantile.* over all sources, of"):
        select(some_scored, rules, tmp_path / "out.parquet")


def test_select_refuses_to_count_each_condition_alone(some_scored, tmp_path):
    with pytest.raises(CatalogError, match="Leave out --funnel"):
        select(some_scored, BRIGHT, tmp_path / "out.parquet", with_funnels=True)


def test_rules_in_memory_refuse_what_select_refuses(some_scored):
    with pytest.raises(CatalogError, match="that A could choose"):
        apply_rules(a_class("ew_halpha > 50"), pq.read_table(some_scored))


def test_funnel_leaves_out_sources_that_were_not_needed_and_says_so(some_scored):
    (found,) = funnel(BRIGHT, some_scored)
    assert found.n_sources + found.n_not_needed == 240
    assert found.rows[0].cumulative == found.n_sources
    assert f"{found.n_not_needed} more were not needed when the catalog was scored" in repr(found)


def test_explain_names_what_the_catalog_rules_out_and_nothing_else(some_scored):
    table = pq.read_table(some_scored)
    row = pc.index(pc.greater(table["x"], 0), True).as_py()
    (found,) = explain(BRIGHT, str(table["source_id"][row]), some_scored)
    assert found.unpredicted.startswith("There is no prediction: the catalog alone rules")
    assert found.verdict == "kept out by x < 0"


def test_tune_refuses_a_bound_on_the_catalog_beyond_what_was_needed(some_scored):
    rules = a_class("x < 0", "ew_halpha > 50", rest="    rank: -x\n")
    with pytest.raises(CatalogError, match="that A could choose"):
        tune(rules, "A", 5, some_scored)
    assert tune(
        a_class("x < 0", "ew_halpha > 50", rest="    rank: ew_halpha\n"), "A", 5, some_scored
    )


def test_forecast_knows_no_completeness_where_sources_were_not_needed(some_scored, tmp_path):
    pq.write_table(scored_catalog(), tmp_path / "whole.scored.parquet")
    rules = a_class("x < 0", "P(ew_halpha > 50) > 0.5")
    (some,), (whole,) = (
        forecasts(rules, tmp_path / f"{n}.scored.parquet") for n in ("some", "whole")
    )
    assert (some.purity, some.true) == (whole.purity, whole.true)
    assert np.isnan(some.completeness.value)
    assert whole.completeness.value < 1
