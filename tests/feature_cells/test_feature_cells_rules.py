"""Rules that count targets by cells."""

import numpy as np
import pyarrow as pa
import pytest

import targetsel as ts
from targetsel.errors import RuleError
from targetsel.rules.lint import lint
from tests.feature_cells.four_groups import SIZES, four_groups, written

RULES = """schema: targetsel/rules/v1
name: cells
classes:
  A:
    priority: 10
    where: flux_r_sdss > 0
    rank: {rank}
    limit: {limit}
"""


def rules(limit, rank="flux_r_sdss"):
    return ts.Rules.parse(RULES.format(rank=rank, limit=limit))


@pytest.fixture
def scored():
    return ts.cells(four_groups(), cells=4)


def of_cells(targets) -> list[int]:
    return np.bincount(np.asarray(targets["cell"]), minlength=4).tolist()


def test_a_limit_per_cell_spreads_targets_over_the_cells_and_the_list_keeps_the_cells(scored):
    assert of_cells(ts.select(scored, rules("{per_cell: 10}"))) == [10] * 4
    assert of_cells(ts.select(scored, rules("{per_cell: 150}"))) == [150, 150, 150, 100]
    targets = ts.select(scored, rules("{per_cell: 10}"))
    table = scored.to_arrow()
    for cell in range(4):
        flux = np.array(table["flux_r_sdss"])[np.array(table["cell"]) == cell]
        chosen = np.asarray(targets["flux_r_sdss"])[np.asarray(targets["cell"]) == cell]
        assert sorted(chosen) == sorted(flux)[-10:]


def test_the_same_targets_are_chosen_in_memory_and_of_shuffled_pieces(scored, tmp_path):
    limit = rules("{per_cell: 7, per_deg2: 3, nside: 32, total: 20}")
    here = ts.select(scored, limit)
    table = scored.to_arrow().take(np.random.default_rng(1).permutation(1000))
    path = written(table, tmp_path / "shuffled.parquet", rows=64)
    there = ts.select(path, limit, tmp_path / "t.parquet", threads=2)
    assert there["source_id"].tolist() == here["source_id"].tolist()
    walked = ts.rank(ts.apply_rules(limit, scored.to_arrow()), limit)
    assert walked["source_id"].tolist() == here["source_id"].tolist()


def test_inclusion_by_hash_is_the_share_that_each_cell_keeps(scored, tmp_path):
    limit = rules("{per_cell: 50, by: hash}")
    path = written(scored.to_arrow(), tmp_path / "a.parquet")
    ts.selection_function(path, limit, tmp_path / "i.parquet", tmp_path / "m.parquet")
    targets = ts.select(path, limit, tmp_path / "t.parquet")
    inclusion = ts.read(tmp_path / "i.parquet")["inclusion_A"]
    expected = 50 / np.array(SIZES)[np.asarray(targets["cell"])]
    assert np.asarray(inclusion) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (
            None,
            "per_cell needs the column 'cell', which the catalog does not have.*cells'",
        ),
        (pa.array(["a"] * 1000), "per_cell needs whole numbers in the column 'cell'.*text"),
        (pa.array([True] * 1000), "per_cell needs whole numbers.*true and false"),
        (pa.array([[1]] * 1000), "per_cell needs whole numbers.*other"),
    ],
)
def test_a_limit_per_cell_without_cells_is_refused(column, words):
    table = four_groups(**({} if column is None else {"cell": column}))
    with pytest.raises(RuleError, match=words):
        ts.select(table, rules("{per_cell: 5}"))


def test_cells_that_another_program_wrote_as_floats_are_the_same_cells(scored):
    table = scored.to_arrow()
    place = table.schema.get_field_index("cell")
    floats = np.where(np.arange(1000) == 3, np.nan, np.array(table["cell"], dtype=float))
    other = table.set_column(place, "cell", pa.array(floats))
    found = ts.select(other, rules("{per_cell: 10}"))
    assert len(found) == 41  # those of the four cells, and the one that is in none


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("{per_cell: 0}", "per_cell"),
        ("{per_cell: 2.5}", "per_cell"),
        ("{per_cell: few}", "per_cell"),
    ],
)
def test_a_limit_per_cell_is_a_whole_number(limit, words):
    with pytest.raises(RuleError, match=words):
        rules(limit)


def test_lint_takes_cells_on_trust_without_a_catalog():
    assert lint(rules("{per_cell: 5}")) == []


def test_rules_with_a_limit_per_cell_have_a_meaning_of_their_own():
    plain, cells, more = (rules(f"{{total: 5{x}}}") for x in ("", ", per_cell: 2", ", per_cell: 3"))
    assert len({each.sha256 for each in (plain, cells, more)}) == 3
