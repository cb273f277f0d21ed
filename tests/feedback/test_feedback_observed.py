"""Targets joined with what came of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError, HandoffError
from targetsel.feedback.observed import ObservedTargets
from targetsel.feedback.table import OUTCOMES
from targetsel.report.outcomes import ListOutcome
from targetsel.tables.parquet import write_table
from tests.feedback.observed_by_hand import emitters, write_spectra
from tests.handoff.assigned_by_hand import write_fba

IDS = np.arange(101, 181)
STRONG = IDS % 2 == 1


def assigned_file(folder, ids, targets):
    table = targets.table
    at = {i: (r, d) for i, r, d in zip(*(table[c].to_pylist() for c in ("target_id", "ra", "dec")),
                                       strict=True)}  # fmt: skip
    return write_fba(folder / "fba.fits", {i: at[i] for i in ids}, [*ids])


def test_targets_with_a_fiber_and_no_row_are_failures(tmp_path):
    targets = emitters()
    fibers = [int(each) for each in IDS[:40]]
    fba = assigned_file(tmp_path, fibers, targets)
    path = write_spectra(tmp_path, IDS[:30], ew_halpha=np.full(30, 60.0))
    found = ts.outcomes(targets, assigned=fba, truth=path)
    strong, weak = found.classes
    assert (strong.n_targets, strong.n_assigned, strong.n_success) == (40, 20, 15)
    assert strong.success.value == pytest.approx(0.75)
    assert (strong.purity.value, strong.least.value, strong.most.value) == (1.0, 0.75, 1.0)
    assert weak.expected == pytest.approx(0.75)


@pytest.mark.parametrize(
    "marks",
    [
        {"success": pa.array([False] * 20 + [True] * 60)},
        {"success": pa.array(["F"] * 20 + ["T"] * 60)},
        {"ZWARN": pa.array([4] * 20 + [0] * 60)},
        {"status": pa.array(["no spectrum"] * 20 + ["ok"] * 60)},
        {"redshift": np.r_[np.full(20, np.nan), np.full(60, 0.1)]},
        {"redshift": np.r_[np.full(20, -99.0), np.full(60, 0.1)]},
    ],
)
def test_each_mark_of_a_failure_counts(tmp_path, marks):
    path = write_spectra(tmp_path, IDS, **marks)
    observed = ObservedTargets.read(emitters(), path)
    assert observed.success.tolist() == [False] * 20 + [True] * 60
    assert not observed.only_successes


def test_a_table_of_successes_alone_gives_no_share_of_successes(tmp_path):
    found = ts.outcomes(emitters(), truth=write_spectra(tmp_path, IDS[:50]))
    assert all(each.success is None for each in found.classes)
    assert any("holds successes alone" in line for line in found.sentences)


def test_ids_as_text_find_the_same_targets_in_any_order(tmp_path):
    path = write_spectra(tmp_path, IDS, ew_halpha=np.where(IDS < 140, 80.0, 5.0))
    one = repr(ts.outcomes(emitters(), truth=path))
    order = np.random.default_rng(1).permutation(len(IDS))
    table = pq.read_table(path).take(pa.array(order))
    table = table.set_column(0, "source_id", table["source_id"].cast(pa.string()))
    write_table(table, path)
    assert repr(ts.outcomes(emitters(), truth=path)) == one


def test_lines_in_other_units_are_converted(tmp_path):
    path = write_spectra(tmp_path, IDS, ew_halpha=np.full(80, 6.0))
    table = pq.read_table(path)
    field = pa.field("ew_halpha", pa.float64(), metadata={"unit": "nm"})
    write_table(table.set_column(2, field, table["ew_halpha"]), path)
    observed = ObservedTargets.read(emitters(), path)
    assert observed.measured["ew_halpha"] == pytest.approx(60.0)


def test_rare_fibers_weigh_more(tmp_path):
    """Of priority 3400 the half got a fiber and are all true; of 3300 a tenth, and none is."""
    first = np.arange(80) < 40
    targets = emitters(
        priority=np.where(first, 3400, 3300), program=["STRONG"] * 80, target_bits=np.full(80, 2)
    )
    fibers = [*range(101, 121), *range(141, 145)]
    fba = assigned_file(tmp_path, fibers, targets)
    width = np.where(np.array(fibers) < 141, 60.0, 20.0)
    path = write_spectra(tmp_path, fibers, ew_halpha=width)
    found = ts.outcomes(targets, assigned=fba, truth=path).classes[0]
    assert found.purity.value == pytest.approx(0.5)  # 20 * 2 of 20 * 2 + 4 * 10
    assert found.n_effective == pytest.approx(80**2 / (20 * 4 + 4 * 100))


def test_inclusion_of_the_list_stands_for_the_candidates(tmp_path):
    chance = np.where(IDS < 141, 1.0, 0.1)
    targets = emitters(
        program=["STRONG"] * 80, target_bits=np.full(80, 2), inclusion_STRONG=(chance, "")
    )
    path = write_spectra(tmp_path, IDS, ew_halpha=np.where(IDS < 141, 60.0, 20.0))
    found = ts.outcomes(targets, truth=path)
    assert found.classes[0].purity.value == pytest.approx(40 / (40 + 400))
    assert "all candidates" in " ".join(found.sentences)


@pytest.mark.parametrize("chance", [0.0, -1.0, 1.5, np.nan])
def test_inclusion_that_is_no_probability_is_refused(tmp_path, chance):
    values = np.full(80, 0.5)
    values[7] = chance
    both = {"inclusion_STRONG": (values, ""), "inclusion_WEAK": (values, "")}
    with pytest.raises(CatalogError, match="expected a probability"):
        ts.outcomes(emitters(**both), truth=write_spectra(tmp_path, IDS))


def test_a_stated_probability_that_is_too_high_is_told(tmp_path):
    path = write_spectra(tmp_path, IDS, ew_halpha=np.where(IDS % 4 == 1, 80.0, 5.0))
    strong, _ = ts.outcomes(emitters(), truth=path).classes
    assert strong.purity.value == pytest.approx(0.5)
    assert strong.excess.value == pytest.approx(-0.25)
    assert strong.sentence.startswith("STRONG: less pure than stated, by 25.0%")


def test_intervals_hold_the_truth_about_as_often_as_they_say(tmp_path):
    rng, held = np.random.default_rng(0), 0
    targets = emitters(200)
    for _ in range(60):
        true = rng.random(200) < 0.75
        width = np.where(true, 80.0, 5.0)
        path = write_spectra(tmp_path, np.arange(101, 301), ew_halpha=width)
        observed = ObservedTargets.read(targets, path)
        purity = ListOutcome.of(observed).classes[0].purity
        held += purity.low <= 0.75 <= purity.high
    assert held >= 53  # of 60; 95 % are 57


def test_the_table_has_a_row_for_each_target_and_reads_as_declared(tmp_path):
    out, page = tmp_path / "out.parquet", tmp_path / "page.html"
    path = write_spectra(tmp_path, IDS[:50], ew_halpha=np.full(50, 60.0))
    ts.outcomes(emitters(), out, truth=path, page=page)
    table = pq.read_table(out)
    OUTCOMES.check(table.schema, out)
    assert table["weight"].to_pylist() == [1.6] * 50 + [0.0] * 30
    assert table["success"].to_pylist() == [True] * 50 + [None] * 30
    assert "STRONG" in page.read_text()
    first = page.read_bytes()
    ts.outcomes(emitters(), out, truth=path, page=page)
    assert page.read_bytes() == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.set_column(0, "source_id", pa.array(IDS + 1000)), "is on the list"),
        (lambda t: pa.concat_tables([t, t]), "ids are repeated"),
        (lambda t: t.drop_columns(["redshift"]), "neither latents"),
        (lambda t: t.slice(0, 0), "has no rows"),
        (lambda t: t.append_column("zwarn", pa.array(["a"] * 80)), "expected whole numbers"),
        (lambda t: t.append_column("success", pa.array(["maybe"] * 80)), "expected true or false"),
        (
            lambda t: t.append_column("ew_halpha", pa.array(["strong"] * 80)),
            "column 'ew_halpha'",
        ),
    ],
)
def test_tables_that_say_nothing_are_refused(tmp_path, change, message):
    path = write_spectra(tmp_path, IDS)
    write_table(change(pq.read_table(path)), path)
    with pytest.raises(CatalogError, match=message):
        ts.outcomes(emitters(), truth=path)


def test_neither_or_both_of_spectra_and_a_table_are_refused(tmp_path):
    with pytest.raises(HandoffError, match="Give one of them"):
        ts.outcomes(emitters())
    with pytest.raises(HandoffError, match="Give one of them"):
        ts.outcomes(emitters(), truth="a.parquet", spectra="b.parquet")
