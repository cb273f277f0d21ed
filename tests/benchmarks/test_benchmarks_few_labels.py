"""Learning from few labels: how long, and from which."""

from __future__ import annotations

import few_labels
import numpy as np
import pyarrow.parquet as pq
import pytest
from few_labels import Work, epochs_of


@pytest.fixture
def work(small_sky, tmp_path):
    return Work(tmp_path, small_sky, small_sky, tmp_path / "ensemble", None, 1)


def test_few_labels_are_seen_often_and_many_as_often_as_two_phases_need():
    assert [epochs_of("fine-tuned", n) for n in (100, 1000, 3000, 100_000)] == [24, 8, 3, 3]
    assert [epochs_of("from scratch", n) for n in (100, 1000, 3000)] == [40, 24, 8]


def test_draws_differ_and_none_repeats_a_source(work):
    one, other = work.order[0], work.order[1]
    assert sorted(one) == sorted(other)
    assert len(set(one.tolist())) == len(one)
    assert 0 < np.isin(one[:100], other[:100]).sum() < 50


def test_a_part_holds_what_was_measured_on_the_noisy_spectra_of_its_labels(
    work, monkeypatch, small_sky
):
    monkeypatch.setattr(Work, "measured", small_sky / "truth.parquet")
    ids = work.order[0][:20]
    part = work.part(ids, "twenty")
    for name in few_labels.FILES:
        table = pq.read_table(part / f"{name}.parquet")
        assert sorted(table["source_id"].to_pylist()) == sorted(ids.tolist())
