"""Random shares of classes, and the inclusion probabilities that lists state of them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import RuleError
from targetsel.feedback.inclusion import inclusion_of
from tests.feature_cells.four_groups import four_groups, written

RULES = """schema: targetsel/rules/v1
name: shares
seed: {seed}
classes:
  A:
    bit: 0
    priority: 10
    where: flux_r_sdss > 0
    rank: flux_r_sdss
    limit: {limit}
"""
SHARE = "{total: 50, random: 0.4}"


def rules(limit=SHARE, seed=0, more=""):
    return ts.Rules.parse(RULES.format(limit=limit, seed=seed) + more)


def test_the_list_states_inclusion_one_by_rank_and_the_share_of_the_others_by_chance():
    targets = ts.select(four_groups(), rules())
    inclusion = np.asarray(targets["inclusion_A"])
    assert sorted(inclusion) == [20 / 970] * 20 + [1.0] * 30
    best = sorted(four_groups()["flux_r_sdss"].to_pylist())[-30:]
    assert sorted(np.asarray(targets["flux_r_sdss"])[inclusion == 1]) == best
    assert targets.footer["random"] == {"A": {"n_places": 20, "n_members": 970}}
    assert targets.run.classes[0].random.text == (
        "chance gave 20 places, to 970 members that are not chosen by rank: the inclusion of each "
        "is 0.0206"
    )


def test_chance_chooses_none_where_all_members_have_places():
    targets = ts.select(four_groups(), rules("{total: 5000, random: 20 percent}"))
    assert set(np.asarray(targets["inclusion_A"])) == {1.0}
    assert targets.run.classes[0].random.text == (
        "all members have places, so chance chose none: the inclusion of each is 1"
    )


def test_sums_over_targets_by_inclusion_are_unbiased_for_sums_over_members():
    """Horvitz & Thompson; over seeds, as ranks are given."""
    some = four_groups().take(np.arange(0, 1000, 4))
    y = some["flux_r_sdss"].to_numpy() + some["ra"].to_numpy() * 100
    by_id = dict(zip(some["source_id"].to_pylist(), y, strict=True))
    sums, plain = [], []
    for seed in range(200):
        limit = rules("{total: 50, random: 0.4, per_cell: 2}" if seed % 2 else SHARE, seed)
        table = some.append_column("cell", pa.array(np.arange(250) % 10)) if seed % 2 else some
        targets = ts.select(table, limit)
        values = np.array([by_id[each] for each in targets["source_id"].tolist()])
        sums.append((values / np.asarray(targets["inclusion_A"])).sum())
        plain.append(values.mean() * 250)
    error = np.std(sums) / np.sqrt(len(sums))
    assert np.mean(sums) == pytest.approx(y.sum(), abs=3 * error)
    assert error < 0.02 * y.sum()
    assert np.mean(plain) > y.sum() + 10 * error  # the list alone tells of the bright ones


def test_the_share_of_sample_multiplies_inclusion(tmp_path):
    targets = ts.select(four_groups(), rules(more="    sample: 0.5\n"))
    stated = np.unique(np.asarray(targets["inclusion_A"]))
    n = targets.footer["random"]["A"]["n_members"]
    assert 400 < n < 530
    assert stated == pytest.approx([0.5 * 20 / n, 0.5])


def test_the_selection_function_and_outcomes_take_the_inclusion_that_the_list_states(tmp_path):
    scored = written(four_groups(), tmp_path / "a.parquet", rows=100)
    both = rules(more="  B: {bit: 1, priority: 1, where: flux_g_sdss > 100, limit: {total: 9}}\n")
    targets = ts.select(scored, both, tmp_path / "t.parquet")
    found = ts.selection_function(scored, both, tmp_path / "i.parquet", tmp_path / "m.parquet")
    assert [each.randomised for each in found] == [True, True]
    written_too = ts.read(tmp_path / "i.parquet")
    chosen = targets.of_class("A")
    by_list = np.asarray(targets["inclusion_A"])[chosen]
    assert np.asarray(written_too["inclusion_A"])[chosen] == pytest.approx(by_list)
    # Every target of B is a candidate of A, which could have chosen it by chance.
    others = np.asarray(written_too["inclusion_A"])[~chosen]
    assert others.tolist() == pytest.approx([20 / 970] * 8)
    sky = pq.read_table(tmp_path / "m.parquet")
    total = (sky["inclusion_A"].to_numpy() * sky["candidates_A"].to_numpy()).sum()
    assert total == pytest.approx(50)
    of_list = inclusion_of(targets, None).of_class
    by_file = inclusion_of(targets, tmp_path / "i.parquet").of_class
    in_a = np.array(targets["program"].tolist()) == "A"
    assert in_a.sum() == 50
    stated = np.asarray(targets["inclusion_A"])[in_a]
    assert of_list[in_a].tolist() == by_file[in_a].tolist() == stated.tolist()


def test_targets_of_other_classes_alone_have_no_inclusion_in_the_class():
    more = "  B: {bit: 1, priority: 20, where: flux_g_sdss < 100}\n"
    targets = ts.select(four_groups(), rules(more=more))
    in_a = targets.of_class("A")
    known = targets.table["inclusion_A"].is_valid().to_numpy()
    assert known.tolist() == in_a.tolist()
    assert not in_a.all()


def test_the_same_list_is_made_of_shuffled_pieces_and_step_by_step(tmp_path):
    here = ts.select(four_groups(), rules())
    table = four_groups().take(np.random.default_rng(1).permutation(1000))
    there = ts.select(written(table, tmp_path / "b.parquet", rows=64), rules(), threads=2)
    walked = ts.rank(ts.apply_rules(rules(), four_groups()), rules())
    for name in ("source_id", "inclusion_A"):
        assert there[name].tolist() == here[name].tolist() == walked[name].tolist()


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("{random: 0.2}", "random is a share of total; add total"),
        ("{per_cell: 2, random: 0.2}", "random is a share of total; add total"),
        ("{total: 9, per_deg2: 5, random: 0.2}", "random cannot stand beside per_deg2"),
        ("{total: 9, by: hash, random: 0.2}", "with by: hash, chance gives all places"),
        ("{total: 9, random: 0}", "random"),
        ("{total: 9, random: 1.5}", "random"),
        ("{total: 9, random: some}", "random"),
        ("{total: 9, random: true}", "random"),
    ],
)
def test_a_random_share_is_a_share_of_a_total_by_rank(limit, words):
    with pytest.raises(RuleError, match=words):
        rules(limit)


def test_a_catalog_with_a_column_of_that_name_is_refused():
    table = four_groups(inclusion_A=np.ones(1000))
    with pytest.raises(RuleError, match="'inclusion_A', which the catalog has already; rename"):
        ts.select(table, rules())


def test_a_random_share_of_no_members_is_an_empty_list_with_its_column():
    targets = ts.select(four_groups().slice(0, 0), rules())
    assert len(targets) == 0
    assert "inclusion_A" in targets.table.column_names


def test_sums_over_lists_of_several_classes_count_candidates_of_both_once(tmp_path):
    """The candidates of A, which are all of B, are chosen by either; over seeds, as above."""
    some = four_groups().take(np.arange(0, 1000, 4))
    more = "  B: {bit: 1, priority: 5, where: flux_r_sdss > 0, sample: 0.3}\n"
    scored = written(some, tmp_path / "some.parquet", rows=100)
    y = some["flux_r_sdss"].to_numpy()
    by_id = dict(zip(some["source_id"].to_pylist(), y, strict=True))
    totals, numbers = [], []
    for seed in range(60):
        both = rules(seed=seed, more=more)
        targets = ts.select(scored, both)
        ts.selection_function(scored, both, tmp_path / "i.parquet", tmp_path / "m.parquet")
        found = inclusion_of(targets, tmp_path / "i.parquet")
        values = np.array([by_id[each] for each in targets["source_id"].tolist()])
        totals.append((values / found.of_any).sum())
        numbers.append((1 / found.of_any).sum())
    for sums, true in ((totals, y.sum()), (numbers, 250)):
        error = np.std(sums) / np.sqrt(len(sums))
        assert np.mean(sums) == pytest.approx(true, abs=3 * error)
        assert error < 0.02 * true
