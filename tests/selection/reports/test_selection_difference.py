"""Who enters a target list, who leaves it, and which condition did it."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError
from targetsel.rules.columns import footer
from targetsel.rules.rules import Rules
from targetsel.selection.reports.difference import (
    NO_CLASS,
    OTHER,
    ClassDifference,
    compare_lists,
    compare_rules,
)
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import write_table
from tests.real_files.conftest import one_line
from tests.selection.scored_by_hand import rule_text, scored_table


@pytest.fixture
def scored(tmp_path):
    """A hundred sources with H alpha at 1 to 100 and OIII at 100 to 1 Angstrom."""
    up = np.arange(1.0, 101.0)
    table = scored_table(np.stack([101 - up, up, up], axis=1), np.ones((100, 3)))
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    return tmp_path / "a.scored.parquet"


BEFORE = Rules.parse(rule_text("ew_halpha > 30", "ew_oiii > 30"))  # 31 to 70
AFTER = Rules.parse(rule_text("ew_halpha > 20.5", "ew_oiii > 50"))  # 21 to 50


def test_conditions_that_let_in_and_throw_out_are_counted(scored):
    (found,) = compare_rules(BEFORE, AFTER, scored)
    assert found.counts == (40, 30, 10, 20)
    assert found.entered_by == {"ew_halpha > 30": 10}
    assert found.left_by == {"ew_oiii > 50": 20}


def test_lists_say_the_same_once_the_catalog_is_at_hand(scored, tmp_path):
    for name, rules in (("old", BEFORE), ("new", AFTER)):
        select(scored, rules, tmp_path / f"{name}.parquet")
    lists = [TargetList.read(tmp_path / f"{name}.parquet") for name in ("old", "new")]
    assert compare_lists(*lists, scored) == compare_rules(BEFORE, AFTER, scored)
    (found,) = compare_lists(*lists)
    assert (found.counts, found.entered_by, found.left_by) == ((40, 30, 10, 20), {}, {})


def test_source_that_fails_twice_counts_twice(scored):
    never = Rules.parse(rule_text("ew_halpha > 30", "ew_halpha > 200"))
    (found,) = compare_rules(AFTER, never, scored)
    assert found.left_by == {"ew_halpha > 200": 30, "ew_halpha > 30": 10}


def test_limit_is_no_condition(scored):
    limited = Rules.parse(
        rule_text("ew_halpha > 30", "ew_oiii > 30", rest="    limit: {total: 15}\n")
    )
    (found,) = compare_rules(BEFORE, limited, scored)
    assert found.left_by == {OTHER: 25}


def test_new_class_and_gone_class_are_told(scored):
    renamed = Rules.parse(rule_text("ew_halpha > 90").replace("ELG", "NEW"))
    found = {each.name: each for each in compare_rules(BEFORE, renamed, scored)}
    assert (found["NEW"].counts, found["NEW"].entered_by) == ((0, 10, 10, 0), {NO_CLASS: 10})
    assert (found["ELG"].counts, found["ELG"].left_by) == ((40, 0, 0, 40), {NO_CLASS: 40})


def test_same_rules_change_nothing(scored):
    (found,) = compare_rules(BEFORE, BEFORE, scored)
    assert (found.counts, found.entered_by, found.left_by) == ((40, 40, 0, 0), {}, {})


def test_lists_of_another_catalog_are_refused(scored, tmp_path):
    for name, rules in (("old", BEFORE), ("new", AFTER)):
        select(scored, rules, tmp_path / f"{name}.parquet")
    old, new = (TargetList.read(tmp_path / f"{name}.parquet") for name in ("old", "new"))
    place = new.table.column_names.index("dec")
    far = new.table.set_column(place, new.table.schema.field("dec"), [[-80.0] * len(new)])
    with one_line(CatalogError, "20 of 20 sources are over 60 arcsec from their positions in the"):
        compare_lists(old, TargetList(far, new.footer))
    first = pq.read_table(scored).slice(0, 15)  # of which none enters or leaves
    write_table(first, tmp_path / "few.scored.parquet", footer(first.schema))
    with one_line(CatalogError, "few.scored.parquet: has none of the 10 sources of ELG that are"):
        compare_lists(old, new, tmp_path / "few.scored.parquet")


def test_differences_show_themselves_as_the_command_prints_them(scored):
    found = compare_rules(BEFORE, AFTER, scored)
    lines = repr(found).splitlines()
    assert lines[0].split() == list(ClassDifference.headings)
    assert lines[1].split() == list(found[0].cells)
    assert lines[2:] == found[0].reasons
    assert found.to_pandas()["n_entered"].tolist() == [found[0].n_entered]
