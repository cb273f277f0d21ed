"""The funnel, counted by hand."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection import scored_sources as module
from targetsel.selection.scored_sources import funnel
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import read_footer, write_table
from tests.selection.scored_by_hand import rule_text, scored_table


@pytest.fixture
def scored_file(scored, tmp_path):
    write_table(scored, tmp_path / "a.scored.parquet", footer(scored.schema))
    return tmp_path / "a.scored.parquet"


def counts(text, path):
    return [
        (row.condition, *row.counts)
        for each in funnel(Rules.parse(text), path)
        for row in each.rows
    ]


def test_every_condition_is_counted_alone_and_in_its_order(scored_file):
    # rmag: 17, 19.5, 18, missing. H alpha: 80, 52, 0, missing. star: no, missing, no, yes.
    text = rule_text("rmag < 19", "P(ew_halpha > 50) >= 0.5", "star is not missing")
    assert counts(text, scored_file) == [
        ("rmag < 19", 2, 2, 1, 0),
        ("P(ew_halpha > 50) >= 0.5", 2, 1, 1, 1),
        ("star is not missing", 3, 1, 0, 0),
    ]


def test_quantile_is_missing_where_its_proxy_is(scored_file):
    # The 16th percentiles of H alpha are 70, 48, -1 and missing.
    assert counts(rule_text("q(ew_halpha, 0.1587) > 60"), scored_file) == [
        ("q(ew_halpha, 0.1587) > 60", 1, 1, 1, 3)
    ]


def test_definition_keeps_its_name(scored_file):
    text = rule_text("bright", define="bright: rmag < 19 and rmag > 17.5")
    assert counts(text, scored_file) == [("bright", 1, 1, 1, 3)]


def test_source_kept_out_twice_is_no_gain_of_either(scored_file):
    text = rule_text("rmag < 15", "ew_halpha > 500")
    assert [row[-1] for row in counts(text, scored_file)] == [0, 0]


def test_counts_do_not_depend_on_how_the_file_is_cut(scored, tmp_path, monkeypatch):
    table = scored.take(pa.array(np.arange(40) % 4))
    write_table(table, tmp_path / "a.scored.parquet", footer(scored.schema))
    text = rule_text("rmag < 19", "ew_halpha > 50")
    whole = counts(text, tmp_path / "a.scored.parquet")
    monkeypatch.setattr(module, "ROWS_AT_A_TIME", 7)
    assert counts(text, tmp_path / "a.scored.parquet") == whole
    assert whole[0][1:] == (20, 20, 10, 10)


def test_empty_catalog_has_a_funnel_of_zeros(scored, tmp_path):
    write_table(scored[:0], tmp_path / "a.scored.parquet", footer(scored.schema))
    (found,) = funnel(Rules.parse(rule_text("rmag < 19")), tmp_path / "a.scored.parquet")
    assert (found.n_sources, found.n_passed, found.rows[0].counts) == (0, 0, (0, 0, 0, 0))


@pytest.mark.parametrize("rows", [7, 100, 5000])
def test_counts_in_a_list_are_exact_though_row_groups_are_left_out(tmp_path, rows):
    n = 500
    rmag = np.where(np.arange(n) % 11, np.linspace(15, 21, n), np.nan)
    columns = {"rmag": (pa.array(rmag, pa.float32()), "mag")}
    medians = np.random.default_rng(1).normal([12, 52, 1.5], [5, 10, 0.2], (n, 3))
    table = scored_table(medians, np.tile([2.0, 5.0, 0.1], (n, 1)), columns=columns)
    pq.write_table(table, tmp_path / "a.scored.parquet", row_group_size=rows)
    where = "rmag < 17", "P(ew_halpha > 50) > 0.5", "rmag > 15.5", "dec < 4"
    rules = Rules.parse(rule_text(*where))
    (in_turn,) = select(tmp_path / "a.scored.parquet", rules, tmp_path / "a.parquet").funnels
    (whole,) = funnel(rules, tmp_path / "a.scored.parquet")
    assert in_turn.n_sources == whole.n_sources == n
    assert [row.cumulative for row in in_turn.rows] == [row.cumulative for row in whole.rows]
    assert [row.counts[0] for row in in_turn.rows] == [None] * 4
    assert in_turn.n_passed > 0


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("where", [("rmag < 19", "P(ew_halpha > 50) >= 0.5"), ("rmag < 0",)])
def test_select_counts_the_same_funnels_on_the_way(scored_file, tmp_path, where, threads):
    rules = Rules.parse(rule_text(*where))
    summary = select(scored_file, rules, tmp_path / "a.parquet", threads, with_funnels=True)
    assert summary.funnels == funnel(rules, scored_file)
    (stored,) = read_footer(tmp_path / "a.parquet")["funnels"]
    assert [row["condition"] for row in stored["rows"]] == list(where)
    assert stored["rows"][-1]["cumulative"] == summary.funnels[0].n_passed
    assert stored["rows"][0].keys() == {
        "condition", "cumulative", "alone", "missing", "rejected_by_this_alone"
    }  # fmt: skip
    select(scored_file, rules, tmp_path / "b.parquet")
    (in_turn,) = read_footer(tmp_path / "b.parquet")["funnels"]
    assert in_turn["n_sources"] == stored["n_sources"] == 4
    kept = ("condition", "cumulative")
    assert in_turn["rows"] == [{key: row[key] for key in kept} for row in stored["rows"]]
    lists = [TargetList.read(tmp_path / name).table for name in ("a.parquet", "b.parquet")]
    assert lists[0].equals(lists[1])
