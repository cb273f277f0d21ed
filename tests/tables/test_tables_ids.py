"""Chance is a hash of id, seed and purpose: even, independent, and always the same."""

import numpy as np
import pytest

from targetsel.tables.ids import _mix, keys_of, uniform


def test_splitmix64_gives_its_published_numbers():
    # The first two outputs of the reference generator with seed 1234567 (Vigna 2015), which adds
    # the constant 0x9E3779B97F4A7C15 before each.
    counters = np.array([1234567, 1234567], dtype=np.uint64)
    counters += np.array([1, 2], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert _mix(counters).tolist() == [6457827717110365317, 3203168211198807973]


def test_numbers_never_change_between_versions():
    assert uniform(np.array([1, 2]), 0, "latents", 2).ravel().tolist() == pytest.approx(
        [0.49115881, 0.68905319, 0.73401764, 0.14803362], abs=1e-8
    )


def test_numbers_are_even_and_depend_on_id_seed_and_purpose():
    ids = np.arange(20_000)
    luck = uniform(ids, 1, "ELG")[:, 0]
    assert luck.min() >= 0
    assert luck.max() < 1
    assert np.histogram(luck, 10, (0, 1))[0] == pytest.approx(2000, abs=200)
    for other in (uniform(ids, 2, "ELG"), uniform(ids, 1, "LRG"), uniform(ids + 1, 1, "ELG")):
        assert abs(np.corrcoef(luck, other[:, 0])[0, 1]) < 0.03


def test_successive_numbers_of_a_source_are_independent():
    pairs = uniform(np.arange(20_000), 0, "x", 2)
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.03


def test_a_source_keeps_its_number_among_other_neighbours():
    ids = np.arange(100)
    assert np.array_equal(uniform(ids[::-1], 1, "a"), uniform(ids, 1, "a")[::-1])


def test_string_ids_have_keys_of_their_own():
    assert len(np.unique(keys_of(np.array(["a", "b", "ab"], dtype=object)))) == 3


def test_negative_ids_are_keys_too():
    assert keys_of(np.array([-1])).tolist() == [2**64 - 1]
