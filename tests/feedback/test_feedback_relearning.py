"""What came of targets recalibrates an ensemble, or is refused for a plain reason."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.calibration.calibration import FILE_NAME
from targetsel.errors import CatalogError, EnsembleError, OutputError
from targetsel.feedback.relearning import relearn
from targetsel.scoring.ensemble import find_ensemble
from targetsel.scoring.recalibrating import stored_calibration
from targetsel.tables.parquet import write_table
from tests.feedback.relearning_by_hand import SCATTER, medians, write_outcomes_of, write_scored

N = 400
SHIPPED = find_ensemble("mock-ps1")


@pytest.fixture
def scored(tmp_path):
    return write_scored(tmp_path, N)


def learnt(scored, tables, **options):
    return relearn(scored, tables, SHIPPED, **options).recalibrations[-1]


def test_a_bias_of_two_standard_deviations_is_found_and_gone_after(scored, tmp_path):
    found = learnt(scored, [write_outcomes_of(tmp_path, np.arange(N), N)])
    record = found.quantities["ew_halpha"]
    before, after = record.coverage_of_90_percent
    assert before < 0.5  # P(|x + 2| < 1.645) is 0.36
    assert after == pytest.approx(0.9, abs=0.07)  # 120 kept aside
    assert record.stays == ""
    assert record.n == record.effective == N


def test_the_recalibrated_catalog_has_medians_where_spectra_are(scored, tmp_path):
    table = write_outcomes_of(tmp_path, np.arange(200), N)
    ts.relearn(scored, table, tmp_path / "new")
    after = ts.recalibrate(scored, tmp_path / "new")
    rest = after["ew_halpha"] - medians(N)["ew_halpha"]
    assert np.median(rest) == pytest.approx(2 * SCATTER["ew_halpha"], abs=3)
    assert after.footer["calibration"]["name"] == "relearned-1"
    assert after.run.n_predicted == N


def test_the_order_of_rows_changes_nothing(scored, tmp_path):
    table = write_outcomes_of(tmp_path, np.arange(200), N)
    shuffled = write_scored(tmp_path, N, shuffled=True)
    one, other = (relearn(each, [table], SHIPPED) for each in (scored, shuffled))
    assert one.sha256 == other.sha256


def test_weights_tell_whom_a_spectrum_stands_for(scored, tmp_path):
    # Three of ten targets are off by three standard deviations, and stand for four of five sources.
    rows = np.arange(N)
    odd = rows % 10 < 7
    told, rng = medians(N)["ew_halpha"], np.random.default_rng(5)
    values = told + 10.0 * (rng.normal(size=N) + np.where(odd, 0.0, 3.0))
    weight = np.where(odd, 1.0, 9.0)
    ew = {"ew_halpha": values, "weight": weight}
    heavy = ts.relearn(scored, write_outcomes_of(tmp_path, rows, N, **ew), tmp_path / "heavy")
    assert heavy.unweighted == []
    light = ts.relearn(
        scored,
        write_outcomes_of(tmp_path, rows, N, **(ew | {"weight": None})),
        tmp_path / "light",
    )
    assert light.unweighted == ["outcomes.parquet"]
    moved = [
        np.median(ts.recalibrate(scored, tmp_path / name)["ew_halpha"] - told)
        for name in ("heavy", "light")
    ]
    assert moved[0] > 20 > moved[1]


def test_a_quantity_of_too_few_spectra_stays_as_it_was(scored, tmp_path):
    lines = np.where(np.arange(N) < 99, medians(N)["ew_halpha"], np.nan)
    found = learnt(scored, [write_outcomes_of(tmp_path, np.arange(N), N, ew_halpha=lines)])
    assert found.quantities["ew_halpha"].stays == "too few"
    assert found.quantities["ew_halpha"].n == 99
    assert found.maps.keys() == {"d4000", "photoz"}


def test_a_spectrum_without_a_redshift_has_failed(scored, tmp_path):
    redshift = np.where(np.arange(N) < 99, medians(N)["photoz"], np.nan)
    with pytest.raises(CatalogError, match="99 spectra of sources of the catalog succeeded, and"):
        learnt(scored, [write_outcomes_of(tmp_path, np.arange(N), N, redshift=redshift)])


def test_a_table_of_a_survey_needs_no_new_names(scored, tmp_path):
    table = pq.read_table(write_outcomes_of(tmp_path, np.arange(N), N)).drop_columns(["weight"])
    mine, theirs = tmp_path / "mine.parquet", tmp_path / "theirs.parquet"
    write_table(table, mine)
    names = {"redshift": "Z", "ew_halpha": "EW_HALPHA", "d4000": "D4000"}
    write_table(table.rename_columns([names.get(n, n) for n in table.column_names]), theirs)
    one, other = (learnt(scored, [each]) for each in (mine, theirs))
    assert one.quantities == other.quantities
    assert other.unweighted == ["theirs.parquet"]


def test_a_table_without_rows_is_called_so(scored, tmp_path):
    path = tmp_path / "none.csv"
    path.write_text("source_id,redshift,ew_halpha\n")
    with pytest.raises(CatalogError, match=r"none.csv: has no rows"):
        learnt(scored, [path])


@pytest.mark.parametrize("name", ["gone.csv", "folder"])
def test_outcomes_that_are_no_file_are_refused_by_name(scored, tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(CatalogError, match=name):
        learnt(scored, [tmp_path / name])


def test_few_heavy_spectra_count_as_few(scored, tmp_path):
    weight = np.where(np.arange(N) < 50, 1000.0, 1.0)
    with pytest.raises(CatalogError, match=r"which count as 51 of equal weight; expected 100"):
        learnt(scored, [write_outcomes_of(tmp_path, np.arange(N), N, weight=weight)])


def test_failures_and_targets_without_a_fiber_are_counted_and_not_used(scored, tmp_path):
    rows = np.arange(N)
    table = write_outcomes_of(
        tmp_path, rows, N, assigned=rows >= 50, success=np.where(rows < 50, None, rows >= 120)
    )
    counts = learnt(scored, [table]).counts
    assert counts == {
        "rows": N, "in the catalog": N, "without a fiber": 50, "failed": 70, "used": 280
    }  # fmt: skip


def test_a_second_relearning_stands_on_the_first(scored, tmp_path):
    table = write_outcomes_of(tmp_path, np.arange(200), N)
    ts.relearn(scored, table, tmp_path / "one", name="autumn")
    again = ts.recalibrate(scored, tmp_path / "one", tmp_path / "again.scored.parquet").path
    (tmp_path / "night").mkdir()
    other = write_outcomes_of(tmp_path / "night", np.arange(200, N), N)
    with pytest.raises(EnsembleError, match="has learnt from it already, as 'autumn'"):
        relearn(again, [other, table], tmp_path / "one")
    ts.relearn(again, other, tmp_path / "two", ensemble=tmp_path / "one")
    _, found = stored_calibration(tmp_path / "two")
    assert [each.name for each in found.versions] == ["calibrated", "autumn", "relearned-2"]
    assert found.versions[0].sha256 == stored_calibration(SHIPPED)[1].sha256
    # From the first catalog both are applied, from the second one the last.
    one, two = (ts.recalibrate(each, tmp_path / "two") for each in (scored, again))
    assert len(one.run.applied) == 2
    assert len(two.run.applied) == 1
    assert one.table.equals(two.table)
    with pytest.raises(EnsembleError, match="was scored with the calibration"):
        relearn(scored, [table], tmp_path / "one")
    with pytest.raises(EnsembleError, match="has a calibration of that name already"):
        relearn(again, [table], tmp_path / "one", "autumn")


def test_what_a_scored_catalog_has_already_is_not_applied_twice(scored, tmp_path):
    ts.relearn(scored, write_outcomes_of(tmp_path, np.arange(200), N), tmp_path / "new")
    once = ts.recalibrate(scored, tmp_path / "new", tmp_path / "once.scored.parquet").path
    with pytest.raises(CatalogError, match=r"has the recalibration 'relearned-1' of .* already"):
        ts.recalibrate(once, tmp_path / "new")
    with pytest.raises(EnsembleError, match="has a calibration, but no recalibration"):
        ts.recalibrate(scored, "mock-ps1")


def test_catalogs_of_another_calibration_or_none_are_refused(tmp_path):
    table = write_outcomes_of(tmp_path, np.arange(200), N)
    ts.relearn(write_scored(tmp_path, N), table, tmp_path / "new")
    other = write_scored(tmp_path, N, calibration={"sha256": "f" * 64})
    for attempt in (
        lambda: ts.recalibrate(other, tmp_path / "new"),
        lambda: learnt(other, [table]),
    ):
        with pytest.raises(EnsembleError, match="was scored with the calibration ffffffffffff"):
            attempt()
    plain = write_scored(tmp_path, N, calibration=None)
    with pytest.raises(CatalogError, match="its posteriors are not calibrated"):
        ts.recalibrate(plain, tmp_path / "new")
    observed = write_scored(tmp_path, N, observed={})
    with pytest.raises(CatalogError, match="is observed already"):
        ts.recalibrate(observed, tmp_path / "new")


def test_a_source_with_two_spectra_is_refused(scored, tmp_path):
    table = write_outcomes_of(tmp_path, np.arange(200), N)
    other = tmp_path / "again.parquet"
    shutil.copy(table, other)
    with pytest.raises(CatalogError, match="has a spectrum of the source 1000, and so has"):
        learnt(scored, [table, other])


def test_posteriors_that_are_right_already_are_not_made_worse_without_notice(scored, tmp_path):
    found = learnt(scored, [write_outcomes_of(tmp_path, np.arange(N), N, shift=0.0)])
    for each in found.quantities.values():
        assert each.coverage_of_90_percent[1] == pytest.approx(0.9, abs=0.08)


def test_a_folder_that_is_there_is_not_replaced(scored, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"already exists\. Choose a new folder"):
        ts.relearn(scored, write_outcomes_of(tmp_path, np.arange(200), N), tmp_path / "new")


def test_a_recalibration_on_another_calibration_is_noticed(scored, tmp_path):
    ts.relearn(scored, write_outcomes_of(tmp_path, np.arange(200), N), tmp_path / "new")
    file = tmp_path / "new" / FILE_NAME
    content = json.loads(file.read_bytes())
    content["n_fitted"] += 1
    file.write_text(json.dumps(content))
    with pytest.raises(EnsembleError, match="'relearned-1' was fitted on the calibration"):
        stored_calibration(tmp_path / "new")


def test_drift_is_told_where_there_is_some(scored, tmp_path):
    rows = np.arange(N)
    found = learnt(scored, [write_outcomes_of(tmp_path, rows, N)]).drift
    assert found.n == N
    assert found.most == "ew_halpha"
    assert found.passed_20 <= found.passed_100 < 60
    assert "drift: outcomes do not look like" in found.summary
    calm = learnt(scored, [write_outcomes_of(tmp_path, rows, N, shift=0.0)]).drift
    assert calm.passed_20 is None
    assert "no drift seen" in calm.summary


def test_drift_that_begins_late_is_seen_late_if_the_table_has_times(scored, tmp_path):
    rng, told, rows = np.random.default_rng(6), medians(N)["ew_halpha"], np.arange(N)
    late = rows % 2 == 1
    values = told + 10.0 * (rng.normal(size=N) + np.where(late, 2.0, 0.0))
    mjd = np.where(late, 62000.0, 61000.0) + rows
    table = write_outcomes_of(tmp_path, rows, N, ew_halpha=values, MJD=mjd)
    assert 200 < learnt(scored, [table]).drift.passed_20 < 260
    table = write_outcomes_of(tmp_path, rows, N, ew_halpha=values)
    assert learnt(scored, [table]).drift.passed_20 < 200


def test_bets_are_on_outcomes_in_proportion_to_their_weights(scored, tmp_path):
    weight = np.where(np.arange(N) < 200, 4.0, 1.0)
    found = learnt(scored, [write_outcomes_of(tmp_path, np.arange(N), N, weight=weight)]).drift
    assert found.n == pytest.approx(200 + 200 / 4, abs=25)


def test_what_has_failed_altogether_or_has_no_times_is_told(scored, tmp_path):
    rows = np.arange(N)
    with pytest.raises(CatalogError, match="succeeded; 400 failed, and 0 targets got no fiber"):
        learnt(scored, [write_outcomes_of(tmp_path, rows, N, success=rows < 0)])
    with pytest.raises(CatalogError, match="column 'mjd': holds string; expected the times"):
        learnt(scored, [write_outcomes_of(tmp_path, rows, N, mjd=["late"] * N)])


def test_sources_unlike_the_outcomes_are_counted(scored, tmp_path):
    strong = np.flatnonzero(medians(N)["ew_halpha"] > 40)
    ts.relearn(scored, write_outcomes_of(tmp_path, strong, N), tmp_path / "strong")
    run = ts.recalibrate(scored, tmp_path / "strong").run
    assert run.n_beyond["ew_halpha"] == pytest.approx(N - len(strong), abs=10)
    assert run.n_beyond["d4000"] < 0.05 * N


def test_a_table_that_outcomes_wrote_names_the_ensemble_and_is_no_prediction(scored, tmp_path):
    table = write_outcomes_of(tmp_path, np.arange(N), N)
    notes = {"format": "targetsel/outcomes/v1", "ensemble": {"name": "mock-ps1"}, "weights": "list"}
    write_table(pq.read_table(table), table, notes)
    assert learnt(scored, [table]).of_lists == ["outcomes.parquet"]
    write_table(pq.read_table(table), table, {"ensemble": {"name": "mock-ps1"}})
    with pytest.raises(CatalogError, match="holds predictions of an ensemble"):
        learnt(scored, [table])
