"""Splits keep groups together, cover everything once, and follow from ids alone."""

import hashlib

import numpy as np
import pytest

from targetsel.errors import EnsembleError
from targetsel.training.split import TEST, Split, as_in_nature

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
        learnt, watched = set(parts.learnt(member)), set(parts.watched(member))
        assert not learnt & watched
        assert not (learnt | watched) & set(parts.test)
        assert learnt | watched | set(parts.test) == set(IDS)
    assert set.intersection(*(set(parts.learnt(k)) for k in range(7))) == set()


def test_few_members_have_five_folds_and_later_ones_begin_again():
    parts = split(members=2)
    assert parts.n_folds == 5
    assert np.array_equal(parts.watched(5), parts.watched(0))


def test_a_tenth_is_tested_and_the_folds_are_alike():
    parts = split(group=IDS)
    assert len(parts.test) == pytest.approx(100, abs=30)
    for member in range(5):
        assert len(parts.watched(member)) == pytest.approx(180, abs=45)


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
    with pytest.raises(EnsembleError, match="4 groups of sources do not fill a test and 5 folds"):
        split(group=IDS // 250)


def test_an_over_sampled_kind_is_thinned_out_to_its_weight():
    ids = np.arange(20_000)
    rare = ids % 2 == 0
    kept = as_in_nature(ids, np.where(rare, 0.1, 1.0))
    assert np.isin(ids[~rare], kept).all()
    assert abs(np.isin(ids[rare], kept).mean() - 0.1) < 0.01


def test_without_over_sampling_every_source_is_kept_whatever_the_order():
    ids = np.arange(50)[::-1]
    assert (as_in_nature(ids, np.full(50, 0.7)) == ids).all()
