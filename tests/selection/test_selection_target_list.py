"""Who is on the list, in what order, and what the list says of itself."""

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.errors import CatalogError, OutputError
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.selection.limits import Limits
from targetsel.selection.membership import Membership, apply_rules
from targetsel.selection.target_list import TargetList, columns_needed, rank
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text, scored_table

LIMITED = Rules.parse(
    rule_text(
        "rmag < 21",
        rest="    rank: P(ew_halpha > 50)\n    limit: {total: 20}\n"
        "  OLD:\n    bit: 62\n    priority: 3500\n    where: P(d4000 > 1.6) > 0.5\n"
        "    limit: {total: 5}\n",
    )
)


def crowd(n: int = 200) -> pa.Table:
    """Sources of many kinds; every fifth has the same posterior as four others."""
    rng = np.random.default_rng(5)
    medians = np.repeat(rng.normal([10, 50, 1.5], [5, 10, 0.2], (n // 5, 3)), 5, axis=0)
    return scored_table(
        medians,
        np.tile([2.0, 5.0, 0.1], (n, 1)),
        columns={"rmag": (rng.uniform(18, 22, n).astype(np.float32), "mag")},
    )


def within_limits(pieces: list[Membership], rules: Rules = LIMITED) -> Membership:
    limits = Limits(rules, plan(rules, pieces[0].sources.schema).classes)
    left = [limits.add(piece) for piece in pieces]
    return Membership.concatenate(list(limits.applied(left)))


def listed(table: pa.Table, rules: Rules = LIMITED) -> TargetList:
    return rank(apply_rules(rules, table), rules)


def test_best_ranked_are_kept_and_chance_breaks_ties():
    table = crowd()
    membership = apply_rules(LIMITED, table)
    kept = within_limits([membership])
    passed = np.flatnonzero(membership.selected[:, 0])
    luck = uniform(table["source_id"].to_numpy(), 0, "ELG")[:, 0]
    best = sorted(passed, key=lambda row: (-membership.rank[row, 0], -luck[row]))[:20]
    chosen = kept.target_id[kept.selected[:, 0]]
    assert sorted(chosen) == sorted(membership.target_id[best])
    assert kept.selected.sum(axis=0).tolist() == [20, 5]


def test_without_a_rank_the_kept_are_chosen_by_chance():
    table = crowd()
    membership = apply_rules(LIMITED, table)
    luck = uniform(table["source_id"].to_numpy(), 0, "OLD")[:, 0]
    passed = np.flatnonzero(membership.selected[:, 1])
    luckiest = passed[np.argsort(-luck[passed])][:5]
    targets = listed(table).table
    old = targets.filter(pc.equal(targets["program"], "OLD"))["target_id"].to_numpy()
    assert sorted(old) == sorted(membership.target_id[luckiest])


def test_missing_rank_comes_last(scored):
    rules = Rules.parse(
        rule_text(
            "d4000 is missing or d4000 > 1", rest="    rank: ew_halpha\n    limit: {total: 3}\n"
        )
    )
    assert listed(scored, rules).table["target_id"].to_pylist() == [1, 2, 3]


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(random):
    table = crowd(60)
    order = list(range(60))
    random.shuffle(order)
    assert listed(table.take(pa.array(order))).table.equals(listed(table).table)


@pytest.mark.parametrize("n_pieces", [2, 3, 7])
def test_limits_applied_to_parts_and_then_to_what_is_left_give_the_same(n_pieces):
    membership = apply_rules(LIMITED, crowd())
    rows = np.array_split(np.arange(len(membership)), n_pieces)
    pieces = [within_limits([membership.take(each)]) for each in rows]
    expected = rank(membership, LIMITED).table
    assert rank(Membership.concatenate(pieces), LIMITED).table.equals(expected)
    in_pieces = within_limits([membership.take(each) for each in rows])
    assert np.array_equal(in_pieces.target_id, within_limits([membership]).target_id)


def test_target_of_two_classes_has_both_bits_and_the_program_of_higher_priority(scored):
    rules = Rules.parse(
        rule_text(
            "rmag < 30", rest="  OLD: {bit: 62, priority: 3500, where: P(d4000 > 1.8) > 0.5}\n"
        )
    )
    targets = listed(scored, rules).table
    assert targets["target_id"].to_pylist() == [1, 2, 3]
    assert targets["target_bits"].to_pylist() == [8, 8, 8 + 2**62]
    assert targets["program"].to_pylist() == ["ELG", "ELG", "OLD"]
    assert targets["priority"].to_pylist() == [3000, 3000, 3500]
    assert targets["probability"].to_pylist() == pytest.approx([1, 1, 0.8413], abs=1e-4)
    assert set(targets["target_type"].to_pylist()) == {"SCIENCE"}


def test_target_that_a_limit_removes_from_its_first_class_stays_in_the_second(scored):
    rules = Rules.parse(
        rule_text(
            "rmag < 30",
            rest="  TOP: {bit: 0, priority: 9999, where: rmag < 30, rank: rmag, "
            "limit: {total: 1}}\n",
        )
    )
    targets = listed(scored, rules).table
    assert targets["program"].to_pylist() == ["ELG", "TOP", "ELG"]
    assert targets["target_bits"].to_pylist() == [8, 9, 8]


def test_equal_priorities_are_settled_by_the_lower_bit(scored):
    rules = Rules.parse(
        rule_text("rmag < 30", rest="  A: {bit: 1, priority: 3000, where: rmag < 30}\n")
    )
    assert set(listed(scored, rules).table["program"].to_pylist()) == {"A"}


def test_columns_have_the_types_that_fiber_assignment_asks_for(scored):
    schema = listed(
        scored, Rules.parse(rule_text("P(ew_halpha > 5) > 0.5", "rmag < 30"))
    ).table.schema
    wanted = {
        "target_id": "int64",
        "ra": "double",
        "dec": "double",
        "_healpix_29": "int64",
        "priority": "int32",
        "subpriority": "double",
        "target_bits": "int64",
        "obs_conditions": "int32",
        "exptime": "float",
    }
    assert {name: str(schema.field(name).type) for name in wanted} == wanted
    assert not schema.field("target_id").nullable
    assert [name for name in schema.names if name.startswith(("flux", "ew", "rmag", "d4000"))] == [
        "ew_halpha",
        "ew_halpha_std",
        "ew_halpha_q16",
        "ew_halpha_q84",
        "rmag",
        "flux_r",
    ]


def test_fluxes_of_the_catalog_are_carried_with_their_units_though_no_rule_looks_at_them(scored):
    table = scored.append_column(
        pa.field("fiberflux_g_ls", pa.float32(), metadata={"unit": "nanomaggy"}),
        [pa.array([1, 2, 3, 4], pa.float32())],
    ).append_column("flux_g_ls_err", pa.array([0.1, 0.2, 0.3, 0.4], pa.float32()))
    rules = Rules.parse(rule_text("d4000 < 30"))
    kept = listed(table, rules).table
    assert kept["fiberflux_g_ls"].to_pylist() == [1.0, 2.0, 3.0]
    assert kept.schema.field("fiberflux_g_ls").metadata[b"unit"] == b"nanomaggy"
    assert kept.schema.field("flux_r").metadata[b"unit"] == b"nJy"
    needed = columns_needed(plan(rules, table.schema).classes, table.schema)
    assert {"flux_r", "fiberflux_g_ls", "flux_g_ls_err"} <= set(needed)


def test_motions_of_the_catalog_are_carried_with_nan_as_unknown(scored):
    table = scored.append_column("PMRA", pa.array([1.5, float("nan"), None, 0.0]))
    targets = listed(table, Rules.parse(rule_text("rmag < 30"))).table
    assert targets["pmra"].to_pylist() == [1.5, None, None]
    assert targets["pmdec"].to_pylist() == [None] * 3


def test_negative_ids_are_kept_as_source_id_only(scored):
    table = scored.set_column(0, scored.schema.field(0), pa.array([-4, 7, 8, 9]))
    targets = listed(table, Rules.parse(rule_text("rmag < 30"))).table
    assert targets["target_id"].to_pylist() == [0, 1, 2]
    assert targets["source_id"].to_pylist() == [-4, 7, 8]


def test_list_written_and_read_is_the_same(tmp_path, scored):
    targets = listed(scored, Rules.parse(rule_text("P(ew_halpha > 5) > 0.5")))
    targets.write(tmp_path / "a.parquet")
    back = TargetList.read(tmp_path / "a.parquet")
    assert back.table.equals(targets.table)
    assert back.footer == targets.footer
    assert len(back) == 2


def test_footer_tells_rules_bits_counts_and_direction(scored):
    rules = Rules.parse(rule_text("P(ew_halpha > 5) > 0.5"))
    footer = listed(scored, rules).footer
    assert footer["rules"] == rules.text
    assert footer["rules_sha256"] == rules.sha256
    assert footer["bits"] == {"ELG": 3}
    assert footer["counts"] == {"ELG": 2}
    assert footer["priority_direction"] == "higher_is_better"
    assert footer["ensemble"] == "abc"


@pytest.mark.parametrize("where", ["rmag < 30", "rmag < 0"])
def test_list_is_read_by_astropy_and_duckdb_with_units_even_when_empty(tmp_path, scored, where):
    listed(scored, Rules.parse(rule_text(where))).write(tmp_path / "a.parquet")
    table = Table.read(tmp_path / "a.parquet", format="parquet.votable")
    n = 3 if where == "rmag < 30" else 0
    assert (len(table), str(table["ra"].unit), str(table["exptime"].unit)) == (n, "deg", "s")
    path = tmp_path / "a.parquet"
    assert duckdb.sql(f"select count(*) from '{path}'").fetchall() == [(n,)]
    assert len(TargetList.read(path)) == n


def test_every_ucd_of_the_list_is_a_known_word(scored):
    from astropy.io.votable.ucd import check_ucd

    schema = listed(scored, Rules.parse(rule_text("rmag < 30"))).table.schema
    ucds = [(field.metadata or {}).get(b"ucd", b"").decode() for field in schema]
    assert all(check_ucd(ucd, check_controlled_vocabulary=True) for ucd in ucds if ucd)
    assert sum(map(bool, ucds)) > 15


def test_foreign_file_is_no_target_list(tmp_path):
    write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match="not a target list of targetsel"):
        TargetList.read(tmp_path / "a.parquet")


def test_list_for_a_missing_folder_is_an_output_error(tmp_path, scored):
    targets = listed(scored, Rules.parse(rule_text("rmag < 30")))
    with pytest.raises(OutputError, match="does not exist"):
        targets.write(tmp_path / "nowhere" / "a.parquet")


def test_same_targets_give_the_same_bytes(tmp_path):
    listed(crowd()).write(tmp_path / "a.parquet")
    listed(crowd().take(pa.array(np.arange(200)[::-1]))).write(tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert pq.read_table(tmp_path / "a.parquet").num_rows > 20
