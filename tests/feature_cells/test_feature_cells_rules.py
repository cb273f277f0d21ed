"""Rules that count targets by cells."""

import numpy as np
import pyarrow as pa
import pytest

import targetsel as ts
from targetsel.errors import RuleError
from targetsel.rules.lint import lint
from targetsel.selection import limits
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


def test_information_is_what_a_spectrum_takes_from_the_variance_of_the_mean(scored):
    """W^2 (1/n - 1/(n+1)) with n one more than the known spectra."""
    known = pa.array([k < 10 for k in range(1000)])
    some = ts.cells(four_groups(known=known), cells=4)
    limit = rules("{total: 1000}", "information()")
    rank = ts.apply_rules(limit, some.to_arrow()).rank[:, 0]
    expected = [0.4**2 * (1 / 11 - 1 / 12), 0.3**2 / 2, 0.2**2 / 2, 0.1**2 / 2]
    assert rank == pytest.approx(np.repeat(expected, SIZES))


def test_targets_by_information_spread_as_the_sizes_of_cells_until_spectra_are_as_many(scored):
    found = of_cells(ts.select(scored, rules("{total: 100}", "information()")))
    assert found == pytest.approx([40, 30, 20, 10], abs=1.5)
    known = pa.array([k < 40 for k in range(1000)])
    some = ts.cells(four_groups(known=known), cells=4)
    found = of_cells(ts.select(some, rules("{total: 60}", "information()")))
    assert found == pytest.approx([0, 30, 20, 10], abs=2)


def test_information_per_hour_prefers_short_exposures_within_and_among_cells():
    group = np.repeat(np.arange(4), SIZES)
    hours = np.where(group == 0, 4.0, 1.0) + np.arange(1000) % 7
    some = ts.cells(four_groups(hours=hours), cells=4)
    targets = ts.select(some, rules("{total: 40}", "information() / hours"))
    cell, mine = np.asarray(targets["cell"]), np.asarray(targets["hours"])
    assert np.bincount(cell).tolist() != [16, 12, 8, 4]
    assert np.bincount(cell)[1] > np.bincount(cell)[0]
    assert mine[cell > 0].tolist() == [1.0] * (cell > 0).sum()
    assert mine[cell == 0].tolist() == [4.0] * (cell == 0).sum()


def test_information_on_a_class_is_that_of_its_cell_times_p_of_one_minus_p():
    p = np.linspace(0, 1, 1000)
    table = ts.cells(four_groups(p=p), cells=4).to_arrow()
    plain, of_p, in_percent = (
        ts.apply_rules(rules("{total: 9}", f"information({text})"), table).rank[:, 0]
        for text in ("", "p", "100 percent * p")
    )
    assert of_p == pytest.approx(plain * p * (1 - p), rel=1e-12)
    assert in_percent == pytest.approx(of_p, rel=1e-12)


def test_the_same_targets_by_information_are_chosen_of_shuffled_pieces(
    scored, tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "ROWS_BEFORE_THINNING", 100)
    limit = rules("{total: 50, random: 0.2}", "information() / ra")
    here = ts.select(scored, limit)
    table = scored.to_arrow().take(np.random.default_rng(1).permutation(1000))
    there = ts.select(written(table, tmp_path / "s.parquet", rows=64), limit, threads=2)
    assert there["source_id"].tolist() == here["source_id"].tolist()
    assert there["inclusion_A"].tolist() == here["inclusion_A"].tolist()


@pytest.mark.parametrize(
    ("rank", "words"),
    [
        ("information() + ra", "can only multiply information"),
        ("ra / information()", "can only multiply information"),
        ("information() * information()", "can only multiply information"),
        ("-information()", "can only multiply information"),
        ("max(information(), 1)", "can only multiply information"),
        ("information(ra)", "takes a probability.*ra is in deg"),
        ("information(ra, dec)", "takes"),
        ("information(2)", "takes a probability, expected 0 to 1, not 2"),
        ("information(flux_r_sdss > 3)", "expected|number"),
    ],
)
def test_a_rank_that_is_not_in_proportion_to_information_is_refused(scored, rank, words):
    table = scored.to_arrow()
    for name in ("ra", "dec"):
        place = table.schema.get_field_index(name)
        field = table.schema.field(name).with_metadata({"unit": "deg"})
        table = table.set_column(place, field, table[name])
    with pytest.raises(RuleError, match=words):
        ts.select(table, rules("{total: 5}", rank))


def test_information_without_cells_is_refused_with_the_next_step():
    with pytest.raises(
        RuleError, match=r"information\(\) needs the column 'cell'.*targetsel cells"
    ):
        ts.select(four_groups(), rules("{total: 5}", "information()"))
