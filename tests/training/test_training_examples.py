"""Examples: a split that keeps groups together, cutouts prepared once, faithful augmentation."""

import errno
import hashlib
from dataclasses import replace

import numpy as np
import pytest

from targetsel.errors import EnsembleError, OutputError
from targetsel.imaging.store import CutoutStore
from targetsel.networks.input_plan import InputPlan
from targetsel.training.examples import TEST, PreparedCutouts, Split, augmented, thinned, turned
from tests.training.toy_sky import changed, toy_labels, toy_store

IDS = np.arange(1000)


def split(group=IDS // 3, members=3, seed=0, ids=IDS):
    return Split.of(ids, group, members, seed)


def test_no_group_is_parted():
    groups = IDS // 3
    assert len(np.unique(np.stack([groups, split(groups).fold]), axis=1).T) == len(
        np.unique(groups)
    )


def test_a_member_sees_neither_the_test_nor_its_own_fold_while_learning():
    parts = split(members=7)
    assert parts.n_folds == 7
    for member in range(7):
        training, validation = set(parts.training(member)), set(parts.validation(member))
        assert not training & validation
        assert not (training | validation) & set(parts.test)
        assert training | validation | set(parts.test) == set(IDS)
    assert set.intersection(*(set(parts.training(k)) for k in range(7))) == set()


def test_few_members_have_five_folds_and_later_ones_begin_again():
    parts = split(members=2)
    assert parts.n_folds == 5
    assert np.array_equal(parts.validation(5), parts.validation(0))


def test_a_tenth_is_tested_and_the_folds_are_alike():
    parts = split(group=IDS)
    assert len(parts.test) == pytest.approx(100, abs=30)
    for member in range(5):
        assert len(parts.validation(member)) == pytest.approx(180, abs=45)


def test_parts_do_not_depend_on_the_order_of_the_sources():
    order = np.random.default_rng(0).permutation(1000)
    turned = split(group=order // 3, ids=order)
    assert np.array_equal(turned.fold, split().fold[order])
    assert turned.to_card() == split().to_card()


def test_another_seed_gives_other_parts():
    assert not np.array_equal(split(seed=1).fold, split().fold)


def test_the_card_has_number_and_hash_of_the_sorted_ids():
    parts = split()
    ids = sorted(str(each) for each in IDS[parts.fold == TEST])
    assert parts.to_card()["test"] == {
        "n": len(ids),
        "ids_sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
    }
    assert sum(part["n"] for part in parts.to_card().values()) == 1000


def test_too_few_groups_are_refused():
    with pytest.raises(EnsembleError, match="4 groups of sources are too few for a test set"):
        split(group=IDS // 250)


def test_an_over_sampled_kind_is_thinned_out_to_its_weight():
    ids = np.arange(20_000)
    rare = ids % 2 == 0
    kept = thinned(ids, np.where(rare, 0.1, 1.0))
    assert np.isin(ids[~rare], kept).all()
    assert abs(np.isin(ids[rare], kept).mean() - 0.1) < 0.01


def test_without_over_sampling_every_source_is_kept_whatever_the_order():
    ids = np.arange(50)[::-1]
    assert (thinned(ids, np.full(50, 0.7)) == ids).all()


# ---------------------------------------------------------------- prepared cutouts


@pytest.fixture
def store(tmp_path):
    return toy_store(tmp_path / "store", toy_labels(40))


def test_pixels_are_the_prepared_cutouts_in_half_precision(store, tmp_path):
    plan = InputPlan.of_store(store, ("r", "g"), size=12, binning=2)
    ids = np.array([7, 3, 40])
    pixels = PreparedCutouts.of(tmp_path, store, ids, plan)
    cutouts = store.read(ids).select_bands(("r", "g")).crop(12)
    read = pixels.read(np.array([1, 0]))
    assert read.dtype == np.float32
    assert read == pytest.approx(plan.prepare(cutouts.flux[[1, 0]]), rel=1e-3, abs=1e-3)


def test_a_star_beyond_half_precision_stays_a_number(tmp_path):
    labels = toy_labels(40)
    store = toy_store(tmp_path / "store", replace(labels, mean=labels.mean + np.array([30.0, 0.0])))
    usual = InputPlan.of_store(store)
    linear = usual.stretch.model_copy(update={"kind": "linear", "scale": 1.0, "clip": 1e6})
    pixels = PreparedCutouts.of(tmp_path, store, np.array([1]), changed(usual, stretch=linear))
    assert pixels.read(np.array([0])).max() == np.float32(65504)


def test_a_source_without_a_band_keeps_its_place_and_says_why(store, tmp_path):
    pixels = PreparedCutouts.of(tmp_path, store, np.array([40, 1]), InputPlan.of_store(store))
    assert pixels.status.tolist() == ["lost band: r", "ok"]
    assert (pixels.read(np.array([0])) == 0).all()


def test_pixels_that_are_there_are_not_made_again(store, tmp_path, monkeypatch):
    plan = InputPlan.of_store(store)
    first = PreparedCutouts.of(tmp_path, store, store.source_ids(), plan)
    monkeypatch.setattr(CutoutStore, "read", None)
    again = PreparedCutouts.of(tmp_path, store, store.source_ids(), plan)
    assert again.path == first.path
    assert np.array_equal(again.status, first.status)


def test_a_full_disk_leaves_nothing_under_the_final_name(store, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(InputPlan, "prepare", full)
    with pytest.raises(OutputError, match="could not be written: No space left on device"):
        PreparedCutouts.of(tmp_path, store, store.source_ids(), InputPlan.of_store(store))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


# ---------------------------------------------------------------- augmentation


def test_turned_cutouts_take_all_eight_orientations_and_keep_their_pixels():
    cutout = np.arange(2 * 9, dtype=np.float32).reshape(1, 2, 3, 3)
    many = turned(np.repeat(cutout, 400, axis=0), np.random.default_rng(0))
    seen = {each.tobytes() for each in many}
    assert len(seen) == 8
    assert all(np.array_equal(np.sort(each[0].ravel()), np.arange(9)) for each in many)


def test_augmented_cutouts_are_turned_by_ten_degrees_at_most_or_by_quarters():
    y, x = np.mgrid[-16:17, -16:17]
    ray = np.exp(-((x - 10) ** 2 + y**2) / 8.0).astype(np.float32)
    flux = augmented(np.repeat(ray[None, None], 2000, axis=0), np.random.default_rng(0)).numpy()
    total = flux.sum(axis=(1, 2, 3))
    east, north = (
        (flux[:, 0] * x).sum(axis=(1, 2)) / total,
        (flux[:, 0] * y).sum(axis=(1, 2)) / total,
    )
    assert np.hypot(east, north) == pytest.approx(10, abs=0.05)
    angle = np.degrees(np.arctan2(north, east))
    from_quarter = np.abs((angle + 45) % 90 - 45)
    assert 9 < from_quarter.max() < 10.1
    assert (from_quarter > 0.05).mean() == pytest.approx(0.75, abs=0.04)
    assert (np.abs(angle) < 11).mean() == pytest.approx(0.5 + 0.5 / 4, abs=0.04)
    assert augmented(np.ones((4, 2, 5, 5), np.float32), np.random.default_rng(1)).numpy() == (
        pytest.approx(1)  # nothing comes in from beyond the border
    )
