"""Calibrating as a user types it: score, calibrate, and score again."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.calibration.fitting import calibrate
from targetsel.scoring.ensemble import Ensemble
from targetsel.tables.parquet import read_footer, write_table
from tests.calibration.known_sky import N, write_known


@pytest.fixture(scope="module")
def fitted(ensemble_folder, tmp_path_factory):
    """Known sources, and the calibration that they ask for; read only."""
    files = write_known(tmp_path_factory.mktemp("known"), Ensemble.read(ensemble_folder))
    return files, calibrate(*files, Ensemble.read(ensemble_folder))


@pytest.fixture
def calibrated(sky, fitted):
    """The working directory, with a calibration in `tiny/`."""
    fitted[1].write(sky / "tiny")
    return sky


def score(targetsel, *words):
    said = targetsel("score", "catalog.parquet", "--ensemble", "tiny", *words)
    assert said.status == 0, said
    return said.out.splitlines()


def test_calibrate_prints_both_coverages_and_writes_beside_the_weights(targetsel, sky, fitted):
    (scored, truth), calibration = fitted
    said = targetsel("calibrate", scored, "--truth", truth, "--ensemble", "tiny")
    assert said.status == 0, said
    lines = said.out.splitlines()
    assert lines[0].split("  ")[0] == "90 % intervals of"
    assert lines[1].startswith("latent 1 ")
    assert lines[-2] == (
        f"fitted to {N} sources; these are the intervals of {calibration.n_checked} of "
        "them, after a first fit to the others; images and spectra are simulated"
    )
    assert lines[-1] == "written to tiny/calibration.json"
    assert Ensemble.read("tiny").calibration.sha256 == calibration.sha256


def test_calibrate_tells_of_truth_from_another_fiber(targetsel, sky, fitted):
    scored, truth = fitted[0]
    for name, source, aperture in (("scored", scored, 3.0), ("truth", truth, 2.0)):
        table, footer = pq.read_table(source), read_footer(source)
        write_table(table, sky / f"{name}.parquet", footer | {"aperture": aperture})
    said = targetsel(
        "calibrate", "scored.parquet", "--truth", "truth.parquet", "--ensemble", "tiny"
    )
    assert said.status == 0, said
    assert (
        "caution: true line strengths are of the light in a fiber of 2 arcsec, predicted ones of "
        "that in 3 arcsec; calibrated ones are of the former"
    ) in said.out


def test_score_applies_the_calibration_and_says_so(targetsel, calibrated, fitted):
    plain = score(targetsel, "--uncalibrated", "-o", "plain.parquet")
    assert [plain[1], plain[-1]] == ["        40  ok", "written to plain.parquet"]
    assert plain[2].startswith("not calibrated: uncertainties are those that the networks learnt")
    n = fitted[1].n_fitted
    assert score(targetsel)[2] == (f"posteriors calibrated on {n:,} labelled sources (simulated)")
    tables = [pq.read_table(name) for name in ("plain.parquet", "catalog.scored.parquet")]
    spreads = [np.stack(t["latent_cov"].to_pylist())[:, 0] for t in tables]
    assert np.median(spreads[1] / spreads[0]) > 2  # off by twice what is claimed
    widths = [t["ew_halpha_q84"].to_numpy() - t["ew_halpha_q16"].to_numpy() for t in tables]
    assert (widths[1] > widths[0]).all()
    footers = [read_footer(name) for name in ("plain.parquet", "catalog.scored.parquet")]
    assert footers[0]["calibration"] is None
    assert footers[1]["calibration"]["sha256"] == fitted[1].sha256
    assert footers[1]["calibration"]["simulated"] is True


def test_calibrate_and_score_say_that_line_strengths_stay_uncalibrated(targetsel, sky, fitted):
    scored, truth = fitted[0]
    known = pq.read_table(truth)
    write_table(known.select(["source_id", "latent"]), sky / "latents.parquet")
    words = ("calibrate", scored, "--ensemble", "tiny", "--force", "--truth")
    said = targetsel(*words, "latents.parquet")
    assert said.status == 0, said
    assert said.out.splitlines()[-2] == (
        "line strengths stay uncalibrated: latents.parquet holds none; measure them with "
        "'targetsel spectra measure' and join them to it"
    )
    assert score(targetsel)[2] == (f"latents calibrated on {N} labelled sources; no line strengths")
    few = np.where(np.arange(N) < 399, known["d4000"].to_numpy(), np.nan)
    few = known.select(["source_id", "latent"]).append_column("d4000", pa.array(few))
    write_table(few, sky / "few.parquet")
    assert targetsel(*words, "few.parquet").out.splitlines()[-2] == (
        "line strengths stay uncalibrated: few.parquet holds those of fewer than 400 sources; "
        "give more"
    )
    assert "uncalibrated" not in targetsel(*words, truth).out


def test_target_lists_carry_the_calibration_on(targetsel, calibrated, fitted):
    score(targetsel)
    assert targetsel("select", "--rules", "emission").status == 0
    footer = read_footer(calibrated / "emission.targets.parquet")
    assert footer["calibration"] == fitted[1].provenance


def test_a_calibration_is_only_replaced_by_force(refused, targetsel, calibrated, fitted):
    scored, truth = fitted[0]
    words = ("calibrate", scored, "--truth", truth, "--ensemble", "tiny")
    assert refused(*words) == ("tiny/calibration.json: already exists. Replace it with --force.")
    assert targetsel(*words, "--force").status == 0


def test_a_calibration_of_other_weights_is_refused_unless_it_is_not_wanted(
    refused, targetsel, calibrated
):
    card = calibrated / "tiny" / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"name": "renamed"}))
    line = refused("score", "catalog.parquet", "--ensemble", "tiny")
    assert "tiny/calibration.json: was fitted for the ensemble" in line
    assert "Fit it again with 'targetsel calibrate', or remove it." in line
    score(targetsel, "--uncalibrated")


def test_a_calibrated_file_is_no_ground_for_another_calibration(refused, targetsel, calibrated):
    score(targetsel)
    words = ("--truth", "catalog.parquet", "--ensemble", "tiny", "--force")
    assert refused("calibrate", "catalog.scored.parquet", *words) == (
        "catalog.scored.parquet: its posteriors are calibrated already. Score it with "
        "--uncalibrated first."
    )
