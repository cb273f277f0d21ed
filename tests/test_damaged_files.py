"""Damaged files of every kind are read or refused: a bounded run of benchmarks/damage.py."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import damage
import damage_ids

SEED = 1
COUNT = {"priors": 1, "latents": 2}  # of slow ones; 6 of others


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    damage.make_base(folder)
    return folder


@pytest.mark.parametrize("kind", damage.KINDS)
def test_mutants_are_read_or_refused(base, kind):
    tally = damage.try_kind(kind, base, SEED, list(range(COUNT.get(kind, 6))))
    assert tally.failures == []
    assert tally.read + tally.refused == COUNT.get(kind, 6)


def fails(_: Path) -> None:
    raise KeyError("bug")


def hangs(_: Path) -> None:
    time.sleep(60)


def dies(_: Path) -> None:
    os._exit(9)


def strays(folder: Path) -> None:
    (folder / "stray").write_text("")


def fills_memory(_: Path) -> None:
    np.ones(3 * 1024**3, dtype=np.uint8)


@pytest.mark.parametrize(
    ("misbehaves", "what"),
    [
        (fails, "KeyError"),
        (hangs, "over 0.5 s"),
        (dies, "the process died"),
        (strays, "changed a file that it read, or wrote outside its output"),
        (fills_memory, "over 2 GB of memory"),
    ],
)
def test_what_a_reader_must_not_do_is_found_and_kept(monkeypatch, tmp_path, misbehaves, what):
    def make(_: Path, folder: Path) -> list[Path]:
        (folder / "good.bin").write_bytes(b"good")
        return [folder / "good.bin"]

    def read(folder: Path) -> None:
        if (folder / "good.bin").read_bytes() != b"good":
            misbehaves(folder)

    monkeypatch.setitem(damage.KINDS, "planted", damage.Kind(make, read))
    monkeypatch.setattr(damage, "LIMIT_SECONDS", 0.5)
    tally = damage.try_kind("planted", tmp_path, SEED, [3, 4], tmp_path / "kept")
    assert [each.number for each in tally.failures] == [3, 4]
    assert all(each.what.startswith(what) for each in tally.failures)
    kept = (tmp_path / "kept" / f"planted-{SEED}-3" / "what.txt").read_text()
    assert f"--kind planted --seed {SEED} --only 3" in kept


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        *(
            (f"catalog-{suffix}", "source_id")
            for suffix in ("parquet", "fits", "xml", "csv", "ecsv")
        ),
        *((f"excluded-{suffix}", "source_id") for suffix in ("parquet", "csv", "fits", "ecsv")),
        ("targets", "target_id"),
        ("truth", "source_id"),
    ],
)
def test_ids_of_a_file_are_read_a_second_time_and_compared(base, tmp_path, kind, column):
    path, *_ = damage.KINDS[kind].make(base, tmp_path)
    there = damage_ids.read_plainly(path, column)
    assert len(there) >= 3
    assert damage.KINDS[kind].ids(tmp_path) == ""
    assert damage_ids.difference([int(each) for each in there], path, column) == ""
    assert "row 0" in damage_ids.difference([-7, *there[1:]], path, column)
    assert damage_ids.difference(there[1:], path, column)


def test_the_smallest_id_of_64_bits_is_expected_of_an_exclude_list(tmp_path):
    ids = np.array([7, -(2**63), 2**63 - 1])
    Table({"source_id": ids, "ra": [1.0, 2, 3], "dec": [1.0, 2, 3]}).write(tmp_path / "x.fits")
    assert damage.KINDS["excluded-fits"].ids(tmp_path) == ""
