"""Conditions on text and on true and false, chosen and counted by hand."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import RuleError
from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.membership import apply_rules
from targetsel.selection.reports.difference import compare_rules
from targetsel.selection.reports.explain import explain
from targetsel.selection.reports.tuning import tune
from targetsel.selection.scored_sources import ScoredSources, funnel
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text, scored_table

WORDS = ["PSF", "SER", "DEV", None, "psf"]
FORMS = {
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int16(), pa.string()),
    "large dictionary": pa.dictionary(pa.int32(), pa.large_string()),
    "bytes": pa.binary(),
    "fixed width": pa.binary(4),
}


def as_form(words: list[str | None], form: str) -> pa.Array:
    kind = FORMS[form]
    if form == "fixed width":
        return pa.array([each and each.ljust(4).encode() for each in words], kind)
    if form == "bytes":
        return pa.array([each and each.encode() for each in words], kind)
    return pa.array(words, pa.string()).cast(kind)


def table_of(**columns: pa.Array) -> pa.Table:
    n = len(next(iter(columns.values())))
    medians, widths = [[5.0, 60.0, 1.2]] * n, [[1.0, 10.0, 0.1]] * n
    return scored_table(
        medians, widths, columns={name: (each, "") for name, each in columns.items()}
    )


def chosen(table: pa.Table, *where: str) -> list[int]:
    """Rows that the conditions choose."""
    return np.flatnonzero(
        apply_rules(Rules.parse(rule_text(*where)), table).selected[:, 0]
    ).tolist()


def chosen_from_file(table: pa.Table, path, *where: str) -> list[int]:
    write_table(table, path, footer(table.schema))
    select(path, Rules.parse(rule_text(*where)), path.with_suffix(".targets.parquet"))
    ids = TargetList.read(path.with_suffix(".targets.parquet")).table["source_id"]
    return [row for row, each in enumerate(table["source_id"]) if each in ids.combine_chunks()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("type == 'PSF'", [0]),
        ("type != 'PSF'", [1, 2, 4]),
        ("type in ['SER', 'DEV', 'COMP']", [1, 2]),
        ("not (type in ['SER', 'DEV'])", [0, 4]),
        ("type is missing", [3]),
        ("type is not missing", [0, 1, 2, 4]),
        ("type == 'nothing'", []),
        ("type == 'PSF' or flag", [0, 1]),
    ],
)
def test_text_of_every_form_is_compared_exactly(tmp_path, form, where, rows):
    flag = pa.array([None, True, False, None, False])
    table = table_of(type=as_form(WORDS, form), flag=flag)
    assert chosen(table, where) == rows
    assert chosen_from_file(table, tmp_path / "a.scored.parquet", where) == rows


@pytest.mark.parametrize("form", FORMS)
def test_columns_of_different_forms_hold_the_same_text(form):
    table = table_of(a=pa.array(["SER", "SER", None, None, "psf"]), type=as_form(WORDS, form))
    assert chosen(table, "a == type") == [1, 4]
    assert chosen(table, "a != type") == [0]


def test_blanks_behind_count_in_text_and_not_in_bytes_of_fixed_width():
    table = table_of(a=pa.array(["PSF ", ""]), b=pa.array([b"PSF ", b"    "], pa.binary(4)))
    assert chosen(table, "a == 'PSF'") == []
    assert chosen(table, "a == 'PSF '") == [0]
    assert chosen(table, "b == 'PSF'") == [0]
    assert (chosen(table, "a is missing"), chosen(table, "b is missing")) == ([], [1])


def test_dictionary_with_a_text_twice_and_null_is_read_by_its_texts():
    words = pa.array(["a", "b", "a", None])
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, None]), words)
    table = table_of(type=column, other=pa.array(["a"] * 5))
    assert chosen(table, "type == 'a'") == chosen(table, "type == other") == [0, 2]
    assert chosen(table, "type is missing") == [3, 4]


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("flag == true", [0, 3]),
        ("flag != true", [1]),
        ("flag == false", [1]),
        ("flag in [false]", [1]),
        ("flag in [true, false]", [0, 1, 3]),
        ("flag is missing", [2, 4]),
        ("flag == star", [0]),
        ("flag != star", [1]),
        ("not (flag == star)", [1]),
    ],
)
def test_true_and_false_are_compared(where, rows):
    flag = pa.array([True, False, None, True, None])
    star = pa.array([True, True, True, None, None])
    assert chosen(table_of(flag=flag, star=star), where) == rows


def test_text_may_stand_beside_a_prediction_within_p():
    # P(H alpha > 50) is 0.84 for all.
    table = table_of(type=as_form(WORDS, "string"))
    assert chosen(table, "P(ew_halpha > 50 and type != 'PSF') >= 0.5") == [1, 2, 4]
    assert chosen(table, "P(ew_halpha > 50 or type == 'PSF') > 0.9") == [0]
    # Unknown text leaves 0.84, or 1: at least 0.8 in any case.
    assert chosen(table, "P(ew_halpha > 50 or type == 'PSF') > 0.8") == [0, 1, 2, 3, 4]


def test_class_with_text_in_or_claims_what_it_says():
    table = table_of(type=as_form(WORDS, "string"))
    rules = Rules.parse(rule_text("type == 'PSF' or P(ew_halpha > 50) >= 0.5"))
    likely = apply_rules(rules, table).probability[:, 0]
    assert likely[[0, 1, 2, 4]] == pytest.approx([1, 0.841, 0.841, 0.841], abs=0.001)


@pytest.fixture
def typed_file(tmp_path):
    table = table_of(
        type=as_form(WORDS, "dictionary"), flag=pa.array([True, None, False, True, True])
    )
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    return tmp_path / "a.scored.parquet"


def test_funnel_counts_missing_text(typed_file):
    (found,) = funnel(Rules.parse(rule_text("type != 'PSF'", "flag == true")), typed_file)
    assert [(row.condition, *row.counts) for row in found.rows] == [
        ("type != 'PSF'", 3, 3, 1, 2),
        ("flag == true", 3, 1, 1, 2),
    ]


def test_explain_shows_text_and_what_it_is_compared_with(typed_file):
    rules = Rules.parse(rule_text("type in ['SER', 'DEV']", "type != 'x'", "flag == true"))
    ids = [f"{n}" for n in (1, 4)]
    first, fourth = (explain(rules, each, typed_file)[0] for each in ids)
    shown = [(row.text, row.outcome, row.value, row.threshold, row.margin) for row in first.rows]
    assert shown == [
        ("type in ['SER', 'DEV']", "false", "'PSF'", "'SER', 'DEV'", None),
        ("type != 'x'", "true", "'PSF'", "'x'", None),
        ("flag == true", "true", None, None, None),
    ]
    assert [(row.outcome, row.value) for row in fourth.rows][:2] == [("missing", None)] * 2
    assert fourth.verdict == "kept out by type in ['SER', 'DEV'], type != 'x'"


def test_diff_names_the_condition_on_text(typed_file):
    before = Rules.parse(rule_text("flag is not missing"))
    after = Rules.parse(rule_text("flag is not missing", "type == 'PSF'"))
    (found,) = compare_rules(before, after, typed_file)
    assert (found.counts, found.left_by) == ((4, 1, 0, 3), {"type == 'PSF'": 3})


def test_text_has_no_bound_to_tune(typed_file):
    with pytest.raises(RuleError, match=r"no bound could be moved\. Say with 'rank:'"):
        tune(Rules.parse(rule_text("type == 'PSF'")), "ELG", 2, typed_file)
    # With a rank, that is what is bounded among the sources of this text.
    rules = Rules.parse(rule_text("type != 'PSF'", rest="    rank: ew_halpha\n"))
    assert tune(rules, "ELG", 5, typed_file).n_members == 3


def test_unless_leaves_out_what_the_text_of_another_class_chooses():
    table = table_of(type=as_form(WORDS, "string"))
    text = rule_text(
        "type in ['PSF', 'SER']",
        rest="  REST: {bit: 4, priority: 1, unless: ELG, where: d4000 > 0}\n",
    )
    selected = apply_rules(Rules.parse(text), table).selected
    assert selected[:, 1].tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("where", ["type == 'b'", "type in ['b', 'zz']", "type != 'b'"])
def test_row_groups_without_a_text_are_left_out(tmp_path, monkeypatch, where):
    table = table_of(type=pa.array(["a"] * 4 + ["b"] * 4 + ["x" * 200] * 4))
    path = tmp_path / "a.scored.parquet"
    pq.write_table(table, path, row_group_size=4)
    read = []
    read_columns = ScoredSources.read

    def counted(self, names, groups):
        read.extend(groups if names == ["type"] else [])
        return read_columns(self, names, groups)

    monkeypatch.setattr(ScoredSources, "read", counted)
    rules = Rules.parse(rule_text(where))
    found = select(path, rules, tmp_path / "a.targets.parquet")
    assert found.n_targets == (4 if "!=" not in where else 8)
    assert read == ([1] if "!=" not in where else [0, 1, 2])


def test_text_that_a_writer_cut_short_in_statistics_may_be_there(tmp_path, monkeypatch):
    table = table_of(type=pa.array(["aaaa", "cccc"]))
    path = tmp_path / "a.scored.parquet"
    pq.write_table(table, path)
    cut = SimpleNamespace(min="aa", max="cc")
    with ScoredSources(path) as file:
        monkeypatch.setattr(file, "_statistics", lambda *_: cut)
        may = {word: file.may_hold(0, "type", word) for word in ("aaaa", "a", "b", "cccc", "cd")}
    assert may == {"aaaa": True, "a": False, "b": True, "cccc": True, "cd": False}


def test_texts_of_a_column_are_listed_unless_they_are_many(tmp_path):
    table = table_of(type=as_form(WORDS, "string"), bytes=as_form(WORDS, "fixed width"))
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    with ScoredSources(tmp_path / "a.scored.parquet") as file:
        assert file.texts("type", 4) == file.texts("bytes", 4) == ["DEV", "PSF", "SER", "psf"]
        assert file.texts("type", 3) is None
