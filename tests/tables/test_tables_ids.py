"""Chance is a hash of id, seed and purpose: even, independent, and always the same."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import CatalogError
from targetsel.tables import ids as module
from targetsel.tables.ids import _mix, exact_ids, joined, keys_of, repeated_ids, uniform


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


BIG = 1237648720693755918  # an id of SDSS, beyond what floats hold


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        (pa.array([b"a  ", None, b"b\0\0"]), ["a", None, "b"]),
        (pa.array([b"abc", b"de "], pa.binary(3)), ["abc", "de"]),
        (pa.array(["a  ", " b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "a"]).dictionary_encode(), ["a", "a"]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array(["b'a'", 'b"c\'"']), ["a", "c'"]),
        (pa.array(["b'a'", "b"]), ["b'a'", "b"]),
        (pa.array([1.0, float("nan"), None]), [1, None, None]),
        (pa.array([BIG, None]), [BIG, None]),
        (pa.array([BIG], pa.uint64()), [BIG]),
        (pa.array([Decimal(BIG)]), [BIG]),
        (pa.chunked_array([], pa.int32()), []),
    ],
)
def test_ids_are_as_they_are_meant_whatever_the_file_kept_them_in(stored, meant):
    assert exact_ids(stored, "id", "f").to_pylist() == meant


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (pa.array([1.5]), r"ids are floats \(double\), and 1\.5 is no whole number"),
        (pa.array([float(BIG)]), r"is beyond 9007199254740992, where floats lose digits"),
        (pa.array([2.0**24], pa.float32()), r"is beyond 16777216, where floats lose digits"),
        (pa.array([np.inf]), r"inf is no whole number"),
        (pa.array([2**63], pa.uint64()), r"ids of 2\^63 or more"),
        (pa.array([b"\xff"]), r"bytes that are not UTF-8"),
        (pa.array([True]), r"holds true or false; expected ids"),
    ],
)
def test_ids_that_lost_digits_or_are_none_are_refused(stored, message):
    with pytest.raises(CatalogError, match=rf"^f, column 'id': .*{message}"):
        exact_ids(stored, "id", "f")


def test_join_finds_numbers_among_text_and_refuses_to_find_nothing():
    assert joined(np.array([3, 1]), np.array(["1", "2"], object), "a", "b").tolist() == [-1, 0]
    with pytest.raises(CatalogError, match=r"a: none of its 1 ids is among the 2 of b"):
        joined(np.array([3]), np.array([1, 2]), "a", "b")


@pytest.mark.parametrize("in_memory", [4, 1000])
@pytest.mark.parametrize(
    ("ids", "twice"),
    [
        ([], []),
        ([5], []),
        (list(range(-20, 80)), []),
        ([*range(-20, 80), 3, 3, -20], [-20, 3]),
        ([1, 2, 3, 3, 4, 5, 6], [3]),
        ([1, 2, 3, 4, 4, 5, 6], [4]),
        (["", "a", "ab", "ba", "é", "aé"], []),
        (["", "a", "ab", "ba", "", "é", "é"], ["", "é"]),
    ],
)
def test_repeated_ids_are_found_in_pieces(monkeypatch, in_memory, ids, twice):
    monkeypatch.setattr(module, "ROWS_IN_MEMORY", in_memory)
    array = pa.array(ids, pa.string() if isinstance((ids or [0])[0], str) else pa.int64())

    def pieces():
        return (array.slice(start, 3) for start in range(0, len(array), 3))

    assert sorted(repeated_ids(pieces, len(ids)), key=str) == twice
