"""Members of a class competing for its places."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.rules.rule_file import Limit, TargetClass
from targetsel.selection import limits as module
from targetsel.selection.limits import MEMBER, ClassLimits
from targetsel.sky.catalog import Catalog
from targetsel.sky.positions import DEEPEST, Region


def members(rank, ra=None, dec=None, tie_break=None, cell=None, known=0) -> np.ndarray:
    n = len(rank)
    cell = np.full(n, -1) if cell is None else np.asarray(cell)
    ra = np.zeros(n) if ra is None else np.asarray(ra, dtype=float)
    dec = np.zeros(n) if dec is None else np.asarray(dec, dtype=float)
    table = pa.table({"id": np.arange(n), "ra": ra, "dec": dec})
    healpix = Catalog(table, {"source_id": "id", "ra": "ra", "dec": "dec"}).healpix
    tie_break = np.linspace(0, 0.9, n) if tie_break is None else np.asarray(tie_break)
    ids = np.arange(n)
    luck = (tie_break * 7) % 1
    columns = (
        ids,
        np.asarray(rank, dtype=float),
        tie_break,
        luck,
        ids + 100,
        healpix,
        ra,
        dec,
        cell,
        np.broadcast_to(known, n),
    )
    return np.rec.fromarrays(columns, dtype=MEMBER)


def target_class(dedup=None, **limit) -> TargetClass:
    fields = {"limit": Limit(**limit)} if limit else {}
    if dedup is not None:
        fields["dedup"] = {"within": dedup}
    return TargetClass(bit=0, priority=0, where=("x > 0",), **fields).named("A")


def kept_of(all_members, region=None, dedup=None, **limit) -> list[int]:
    limits = ClassLimits(target_class(dedup, **limit), region)
    limits.add(all_members)
    return limits.kept().tolist()


def test_total_keeps_the_best_ranks_and_then_the_luckiest():
    assert kept_of(members([1, 5, np.nan, 5, 2]), total=2) == [1, 3]
    assert kept_of(members([7, 7, 7]), total=1) == [2]


def test_missing_rank_comes_last():
    assert kept_of(members([np.nan, -9, np.nan]), total=2) == [1, 2]


def test_each_cell_keeps_its_best_and_sources_without_a_cell_count_as_one_more():
    some = members([1, 9, 8, 7, 2, 3, 4], cell=[0, 1, 1, 1, -1, -1, -1])
    assert kept_of(some, per_cell=1) == [0, 1, 6]
    assert kept_of(some, per_cell=2) == [0, 1, 2, 5, 6]
    assert kept_of(some, per_cell=2, by="hash") == [0, 2, 3, 5, 6]


def turns_of(all_members, **limit) -> list[int]:
    limits = ClassLimits(target_class(**limit), takes_turns=True)
    limits.add(all_members)
    return limits.kept().tolist()


def test_a_rank_that_shrinks_with_every_target_of_a_cell_lets_cells_take_turns():
    # Of equal cells, the first without spectra: 1/2, 1/6, 1/12, ...; the second with one: 1/6, ...
    known = np.array([0, 0, 0, 0, 1, 1, 1])
    some = members(1 / ((known + 1) * (known + 2)), cell=known, known=known)
    assert turns_of(some, total=1) == [3]
    assert turns_of(some, total=3) == [2, 3, 6]
    assert turns_of(some, total=5) == [1, 2, 3, 5, 6]
    assert turns_of(some, total=5, per_cell=2) == [2, 3, 5, 6]
    assert kept_of(some, total=3) == [1, 2, 3]


def test_within_a_cell_the_larger_rank_goes_first_and_pays_the_least():
    some = members([1.0, 4.0, 1.9, np.nan], cell=[0, 0, 1, -1])
    assert turns_of(some, total=2) == [1, 2]
    assert turns_of(some, total=4) == [0, 1, 2, 3]


def test_pixels_decide_before_cells_and_cells_before_the_total():
    full = {"per_deg2": 2 / (41252.96 / 12), "nside": 1}  # two in each base pixel
    some = members([9, 8, 7, 6], ra=[10, 10, 10, 200], dec=[30] * 4, cell=[0, 0, 1, 0])
    assert kept_of(some, **full) == [0, 1, 3]
    assert kept_of(some, **full, per_cell=1) == [0]
    assert kept_of(some, per_cell=1) == [0, 2]
    assert kept_of(some, per_cell=2, total=2) == [0, 1]
    assert kept_of(some, per_cell=1, total=1) == [0]


def test_a_random_share_of_the_places_goes_to_members_that_rank_has_not_chosen():
    rng = np.random.default_rng(5)
    some = members(np.arange(100.0), tie_break=rng.random(100))
    limits = ClassLimits(target_class(total=10, random=0.2))
    limits.add(some)
    kept = limits.kept()
    assert kept[2:].tolist() == [*range(92, 100)]
    assert (limits.random.n_places, limits.random.n_members) == (2, 92)
    assert limits.inclusion.tolist() == [2 / 92] * 2 + [1.0] * 8
    luckiest = np.argsort(-some["luck"][:92])[:2]
    assert kept[:2].tolist() == sorted(luckiest)


def test_chance_takes_members_of_full_cells_too_and_at_least_one():
    some = members(np.arange(6.0), cell=[0] * 6)
    limits = ClassLimits(target_class(total=4, random=0.01, per_cell=2))
    limits.add(some)
    assert len(limits.kept()) == 3
    assert limits.random.n_members == 4
    assert sorted(limits.inclusion) == [0.25, 1, 1]


def test_where_all_places_are_of_chance_or_there_are_fewer_members_than_places():
    for n, total, random, inclusion in ((8, 4, 1, 0.5), (3, 10, 0.5, 1), (0, 4, 0.5, None)):
        limits = ClassLimits(target_class(total=total, random=random))
        limits.add(members(np.arange(float(n))))
        assert len(limits.kept()) == min(n, total)
        assert {*limits.inclusion} == ({inclusion} if n else set())


def test_by_hash_ranks_do_not_count():
    assert kept_of(members([9, 8, 7, 6], tie_break=[0.1, 0.2, 0.9, 0.3]), total=2, by="hash") == [
        2,
        3,
    ]


def test_of_copies_within_the_radius_the_best_is_kept():
    pair = members([1, 2, 3], ra=[10, 10 + 1.9 / 3600, 10 + 4.1 / 3600])
    assert kept_of(pair, dedup=2 / 3600) == [1, 2]
    assert kept_of(pair, dedup=3 / 3600) == [0, 2]


def test_chain_of_neighbours_keeps_every_other_one():
    chain = members([5, 4, 3, 2, 1], ra=np.arange(5) * 1.0 / 3600)
    limits = ClassLimits(target_class(1.5 / 3600))
    limits.add(chain)
    assert limits.kept().tolist() == [0, 2, 4]
    assert limits.copies.tolist() == [[101, 100], [103, 102]]


def test_dedup_reaches_across_the_meridian_and_the_pole():
    ra, dec = [359.9999, 0.0001, 0, 180], [0, 0, 89.9999, 89.9999]
    assert kept_of(members([1, 2, 3, 4], ra, dec), dedup=1 / 3600) == [1, 3]


def test_every_pixel_keeps_as_many_as_its_area_times_the_density():
    nside = 2  # 48 pixels of 859.4 square degrees
    ra, dec = np.meshgrid(np.linspace(0, 359, 60), np.linspace(-80, 80, 40))
    grid = members(np.zeros(2400), ra.ravel(), dec.ravel())
    kept = grid[kept_of(grid, per_deg2=10 / 859.4367, nside=nside)]
    pixels = kept.healpix >> (2 * (DEEPEST - 1))
    assert np.bincount(pixels, minlength=48).tolist() == [10] * 48


def test_fraction_of_a_place_is_given_by_hash_so_that_the_density_is_right():
    ra, dec = np.meshgrid(np.linspace(0, 359, 180), np.linspace(-85, 85, 90))
    grid = members(np.zeros(ra.size), ra.ravel(), dec.ravel())
    area = 41252.96 / (12 * 16**2)
    n = len(kept_of(grid, per_deg2=0.5 / area, nside=16))
    assert n == pytest.approx(0.5 * 12 * 16**2, rel=0.06)


def test_pixel_on_the_edge_of_the_footprint_gets_its_share():
    half = Region.of(np.array([[0, 4**DEEPEST // 2]]))  # half of the first base pixel
    ra, dec = np.meshgrid(np.linspace(1, 89, 60), np.linspace(1, 60, 60))
    grid = members(np.zeros(3600), ra.ravel(), dec.ravel())
    grid = grid[half.found(grid.healpix)]
    limits = ClassLimits(target_class(per_deg2=100 / (41252.96 / 12), nside=1), half)
    limits.add(grid)
    assert len(limits.kept()) in (50, 51)


@settings(max_examples=200)
@given(st.data())
def test_outcome_does_not_depend_on_order_or_pieces(data):
    n = data.draw(st.integers(1, 25))
    rank = data.draw(st.lists(st.sampled_from([1.0, 2.0, np.nan]), min_size=n, max_size=n))
    ra = data.draw(
        st.lists(st.sampled_from([10.0, 10.0002, 10.0004, 200.0]), min_size=n, max_size=n)
    )
    cell = data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=n, max_size=n))
    everyone = members(rank, ra, cell=cell, known=np.array(cell) + 1)
    limit = data.draw(
        st.sampled_from(
            [
                {},
                {"total": 3},
                {"per_deg2": 0.5, "nside": 8},
                {"per_deg2": 0.5, "total": 3},
                {"per_cell": 2},
                {"per_cell": 2, "total": 3},
                {"per_cell": 1, "per_deg2": 0.05, "nside": 8},
                {"per_cell": 2, "per_deg2": 0.05, "nside": 8, "total": 3},
                {"total": 4, "random": 0.5},
                {"total": 5, "random": 0.4, "per_cell": 1},
            ]
        )
    )
    if limit and "random" not in limit:
        limit = {**limit, "by": data.draw(st.sampled_from(["rank", "hash"]))}
    rules = target_class(data.draw(st.sampled_from([None, 1 / 3600])), **limit)
    by_turns = data.draw(st.booleans())
    whole, parts = (ClassLimits(rules, takes_turns=by_turns) for _ in range(2))
    whole.add(everyone)
    before, module.ROWS_BEFORE_THINNING = module.ROWS_BEFORE_THINNING, 4
    parts._enough = 4
    order = np.array(data.draw(st.permutations(range(n))))
    for piece in np.array_split(order, 4):
        parts.add(everyone[piece])
    module.ROWS_BEFORE_THINNING = before
    assert whole.kept().tolist() == parts.kept().tolist()
    assert whole.copies.tolist() == parts.copies.tolist()
    assert whole.inclusion.tolist() == parts.inclusion.tolist()
    assert whole.random == parts.random


def test_sources_that_no_limit_can_keep_any_more_are_left_out_at_once(monkeypatch):
    monkeypatch.setattr(module, "ROWS_BEFORE_THINNING", 4)
    limits = ClassLimits(target_class(total=2))
    assert limits.may_keep(np.array([np.nan, -5.0])).all()
    limits.add(members([1, 5, np.nan, 5, 2, 3]))
    assert limits.may_keep(np.array([np.nan, 4.9, 5.0])).tolist() == [False, False, True]
