"""From a scored file to a target list, a piece at a time."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, RuleError
from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.scored import file as reader_module
from targetsel.selection import limits
from targetsel.selection import scored_sources as file_module
from targetsel.selection import select as module
from targetsel.selection.membership import apply_rules
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList, rank
from targetsel.tables.parquet import read_footer, write_table
from tests.selection.scored_by_hand import rule_text, scored_table

RULES = Rules.parse(
    rule_text(
        "P(ew_halpha > 50 and ew_oiii > 10) >= 0.5",
        "typicality > 0.01",
        rest="    rank: ew_halpha\n    limit: {total: 30}\n"
        "  STRANGE: {bit: 1, priority: 1, where: typicality <= 0.05}\n",
    )
)


@pytest.fixture
def scored_file(tmp_path):
    """500 sources, written as `score` writes them; every seventh has no posterior."""
    rng = np.random.default_rng(8)
    medians = rng.normal([12, 52, 1.5], [5, 10, 0.2], (500, 3))
    medians[::7] = np.nan
    typicality = pa.array(rng.uniform(0, 1, 500), pa.float32())
    table = scored_table(
        medians, np.tile([2.0, 5.0, 0.1], (500, 1)), columns={"typicality": (typicality, "")}
    )
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    return tmp_path / "a.scored.parquet"


def test_streamed_list_is_that_of_the_whole_table(scored_file, tmp_path, monkeypatch):
    monkeypatch.setattr(file_module, "ROWS_AT_A_TIME", 64)
    monkeypatch.setattr(module, "ROWS_AT_A_TIME", 20)
    monkeypatch.setattr(limits, "ROWS_BEFORE_THINNING", 50)
    select(scored_file, RULES, tmp_path / "out.parquet")
    whole = rank(apply_rules(RULES, pq.read_table(scored_file)), RULES)
    streamed = TargetList.read(tmp_path / "out.parquet")
    assert streamed.table.equals(whole.table)
    funnels = streamed.footer.pop("funnels")
    assert streamed.footer == whole.footer
    passed = {each["name"]: each["rows"][-1]["cumulative"] for each in funnels}
    assert passed == streamed.footer["passed"]
    assert streamed.footer["ensemble"] == "abc"


def test_summary_counts_passed_selected_and_expected(scored_file, tmp_path):
    summary = select(scored_file, RULES, tmp_path / "out.parquet")
    membership = apply_rules(RULES, pq.read_table(scored_file))
    line, strange = summary.classes
    assert (line.n_passed, strange.n_passed) == tuple(membership.selected.sum(axis=0))
    assert line.n_passed > line.n_selected == 30
    assert 15 < line.expected_true < 30
    assert line.expected_purity == pytest.approx(line.expected_true / 30)
    assert (strange.expected_true, strange.expected_purity) == (None, None)
    assert (summary.n_sources, summary.n_targets) == (500, len(TargetList.read(summary.output)))


def test_targets_in_several_classes_are_counted_by_their_classes(scored_file, tmp_path):
    strange = "  STRANGE: {bit: 1, priority: 1, where: typicality <= 0.2}\n"
    rules = Rules.parse(rule_text("P(ew_halpha > 50) >= 0.5", rest=strange))
    found = select(scored_file, rules, tmp_path / "out.parquet")
    bits = TargetList.read(tmp_path / "out.parquet").table["target_bits"].to_numpy()
    both = int((bits == (1 << 3 | 1 << 1)).sum())
    assert both > 0
    assert found.overlaps == {("ELG", "STRANGE"): both}


def test_negative_id_anywhere_numbers_the_whole_list(scored_file, tmp_path):
    table = pq.read_table(scored_file)
    ids = [-1, *table["source_id"].to_pylist()[1:]]
    table = table.set_column(0, table.schema.field(0), pa.array(ids))
    write_table(table, tmp_path / "b.parquet", read_footer(scored_file))
    select(tmp_path / "b.parquet", RULES, tmp_path / "out.parquet")
    targets = TargetList.read(tmp_path / "out.parquet").table
    assert targets["target_id"].to_pylist() == [
        each - 1 for each in targets["source_id"].to_pylist()
    ]


@pytest.mark.parametrize("where", [0, 250, 499])
@pytest.mark.parametrize("limit", [None, 100])
def test_source_that_is_there_twice_is_refused(scored_file, tmp_path, monkeypatch, where, limit):
    if limit:
        monkeypatch.setattr(reader_module, "ROWS_PER_READ", limit)
    table = pq.read_table(scored_file)
    twice = pa.concat_tables([table[: where + 1], table[where:]])
    for name, rows in {
        "beside": twice,
        "below": pa.concat_tables([table, table[where:][:1]]),
    }.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(rows.replace_schema_metadata(table.schema.metadata), path, row_group_size=50)
        with pytest.raises(CatalogError, match=r"1 of its (sources|targets) are there more than"):
            select(path, RULES, tmp_path / "out.parquet")
        assert not (tmp_path / "out.parquet").exists()


def test_columns_keep_the_names_of_the_catalog_until_they_are_targets(scored_file, tmp_path):
    table = pq.read_table(scored_file)
    table = table.rename_columns({"source_id": "OBJID", "ra": "RAJ2000", "dec": "DEJ2000"})
    names = {"columns": {"source_id": "OBJID", "ra": "RAJ2000", "dec": "DEJ2000"}}
    write_table(table, tmp_path / "b.parquet", names)
    select(tmp_path / "b.parquet", RULES, tmp_path / "b.targets.parquet")
    select(scored_file, RULES, tmp_path / "a.targets.parquet")
    one, other = (TargetList.read(tmp_path / f"{name}.targets.parquet").table for name in "ab")
    assert one.equals(other)


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 7)])
def test_empty_or_targetless_catalog_gives_an_empty_list(scored_file, tmp_path, rows):
    table = pq.read_table(scored_file)[rows]
    write_table(table, tmp_path / "b.parquet", read_footer(scored_file))
    rules = Rules.parse(rule_text("P(ew_halpha > 5000) > 0.9"))
    summary = select(tmp_path / "b.parquet", rules, tmp_path / "out.parquet")
    assert (summary.n_targets, summary.classes[0].expected_true) == (0, 0.0)
    assert summary.classes[0].expected_purity is None
    assert len(TargetList.read(tmp_path / "out.parquet")) == 0


def test_unknown_column_is_found_before_any_row_is_read(scored_file, tmp_path, monkeypatch):
    monkeypatch.setattr(file_module, "Sources", None)
    with pytest.raises(RuleError, match=r"unknown column 'typicalty'. Did you mean 'typicality'\?"):
        select(scored_file, Rules.parse(rule_text("typicalty < 3")), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_missing_foreign_and_damaged_files_are_named(scored_file, tmp_path):
    out = tmp_path / "out.parquet"
    with pytest.raises(CatalogError, match=r"none\.parquet: no such file"):
        select(tmp_path / "none.parquet", RULES, out)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CatalogError, match="text: not a Parquet file"):
        select(tmp_path / "text", RULES, out)
    whole = scored_file.read_bytes()
    (tmp_path / "short").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CatalogError, match="short: not a Parquet file, or damaged or cut short"):
        select(tmp_path / "short", RULES, out)
    (tmp_path / "holed").write_bytes(whole[:200] + bytes(3000) + whole[3200:])
    with pytest.raises(CatalogError, match="holed: not a Parquet file, or damaged"):
        select(tmp_path / "holed", RULES, out)
    write_table(pa.table({"a": [1]}), tmp_path / "plain.parquet")
    with pytest.raises(CatalogError, match="no column 'source_id', so it is not a scored catalog"):
        select(tmp_path / "plain.parquet", RULES, out)
    assert not out.exists()


@pytest.mark.parametrize("name", ["emission", "quiescent", "aberrant"])
def test_shipped_rules_fit_a_scored_file(tmp_path, name):
    table = scored_table(
        [[150, 80, 1.2], [0, 0, 1.9], [10, 20, 1.5], [10, 20, 1.5]],
        [[5, 5, 0.1], [1, 1, 0.1], [50, 50, 0.5], [50, 50, 0.5]],
        columns={
            "typicality": (pa.array([0.5, 0.5, 0.001, 0.5], pa.float32()), ""),
            "epistemic": (pa.array([0.1, 0.1, 0.2, 0.9], pa.float32()), ""),
            "masked_fraction": (pa.array([0.0, 0.0, 0.0, 0.01], pa.float32()), ""),
        },
    )
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    select(tmp_path / "a.scored.parquet", Rules.read(name), tmp_path / "out.parquet")
    expected = {"emission": [1], "quiescent": [2], "aberrant": [3, 4]}
    assert (
        TargetList.read(tmp_path / "out.parquet").table["target_id"].to_pylist() == expected[name]
    )
