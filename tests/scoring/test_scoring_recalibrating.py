"""A catalog scored with a recalibrated ensemble, and one that is recalibrated after."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import targetsel as ts
from targetsel.calibration.proxies import ClassMap, ScoreMap
from targetsel.calibration.recalibration import QuantityRecord, Recalibration
from targetsel.scoring.ensemble import find_ensemble
from targetsel.scoring.recalibrating import recalibrated_rows, stored_calibration
from targetsel.spectra.lines import BPT_CLASSES
from targetsel.spectra.proxies import CORRELATION, NORMAL_SCORES, QUANTILES

MOVED = ("ew_halpha", "d4000", "photoz")


def recalibration(of: str, name: str = "by-hand") -> Recalibration:
    """Maps to what is one standard deviation above, and wider."""
    rng = np.random.default_rng(0)
    middle = rng.normal(10, 3, 400)
    knots = middle[:, None] + NORMAL_SCORES
    true = middle + 1 + 2 * rng.normal(size=400)
    scores = ScoreMap.fit(knots, true, np.linspace(15, 19, 400), np.ones(400))
    coefficients = {each: np.array([k / 10, 0.8, 0, 0]) for k, each in enumerate(BPT_CLASSES)}
    return Recalibration(
        name=name,
        of=of,
        code_version="0",
        outcomes=[],
        unweighted=[],
        of_lists=[],
        simulated=True,
        counts={},
        quantities={each: QuantityRecord(n=400, effective=400) for each in MOVED},
        proxies=dict.fromkeys(MOVED, scores),
        classes=ClassMap(coefficients),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The shipped ensemble with two recalibrations."""
    place = tmp_path_factory.mktemp("ensembles") / "learnt"
    shutil.copytree(find_ensemble("mock-ps1"), place)
    _, found = stored_calibration(place)
    for name in ("one", "two"):
        found = found.recalibrated(recalibration(found.sha256, name))
    found.write(place)
    return place


@pytest.fixture(scope="module")
def scored(demonstration, tmp_path_factory):
    """The demonstration scored as it is, by whether it is slim."""
    place = tmp_path_factory.mktemp("scored")
    given = demonstration / "catalog.parquet", demonstration / "cutouts", "mock-ps1"
    return {
        slim: ts.score(*given, place / f"{slim}.scored.parquet", slim=slim).path
        for slim in (False, True)
    }


@pytest.mark.parametrize("slim", [False, True])
def test_recalibrated_after_or_while_scoring_the_file_has_the_same_bytes(
    demonstration, folder, scored, slim, tmp_path
):
    given = demonstration / "catalog.parquet", demonstration / "cutouts", folder
    new = ts.score(*given, tmp_path / "new.scored.parquet", slim=slim)
    after = ts.recalibrate(scored[slim], folder, tmp_path / "after.scored.parquet")
    assert after.path.read_bytes() == new.path.read_bytes()
    assert after.path.read_bytes() != scored[slim].read_bytes()


def test_only_what_a_recalibration_is_of_changes(folder, scored):
    before, after = ts.read(scored[False]).table, ts.recalibrate(scored[False], folder).table
    changed = {
        name
        for name in before.column_names
        if str(before[name].to_pylist()) != str(after[name].to_pylist())
    }
    ends = ("", "_std", "_q16", "_q84", QUANTILES)
    assert changed == {name + end for name in MOVED for end in ends} | {*BPT_CLASSES}
    assert not [name for name in changed if name.endswith(CORRELATION)]


def test_probabilities_of_classes_add_to_one_and_missing_rows_stay_missing(folder, scored):
    before, after = ts.read(scored[False]).table, ts.recalibrate(scored[False], folder).table
    total = sum(np.asarray(after[name], float) for name in BPT_CLASSES)
    known = np.isfinite(total)
    assert known.any()
    assert total[known] == pytest.approx(1, abs=1e-5)
    for name in (*BPT_CLASSES, "ew_halpha", "d4000" + QUANTILES):
        assert after[name].null_count == before[name].null_count


def test_a_row_depends_on_itself_alone(folder, scored):
    _, calibration = stored_calibration(folder)
    rows = ts.read(scored[False]).table
    whole = recalibrated_rows(rows, calibration.recalibrations)
    for place in (0, 7, len(rows) - 1):
        one = recalibrated_rows(rows.slice(place, 1), calibration.recalibrations)
        assert str(one.to_pylist()) == str(whole.slice(place, 1).to_pylist())
    assert len(recalibrated_rows(rows.slice(0, 0), calibration.recalibrations)) == 0


def test_an_ensemble_says_which_recalibrations_it_has(folder):
    calibration = ts.Ensemble.read(folder).calibration
    assert calibration.name == "two"
    assert "'one': recalibrated on 400 outcomes" in calibration.summary
    assert [each["name"] for each in calibration.provenance["recalibrations"]] == ["one", "two"]
