"""Predicted redshifts are evaluated against the truth's column `redshift`."""

import numpy as np
import pytest

from targetsel.imaging.store import CutoutStore
from targetsel.report.distributions import MarginalScores
from targetsel.report.evaluation import write_evaluation
from targetsel.report.figures import ALL, Subset
from targetsel.report.redshifts import BIAS, NMAD, OUTLIERS, redshift_figures
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.stream import score
from targetsel.sky.catalog import CatalogFile
from targetsel.statistics.resampling import Resampling


def test_figures_of_redshifts_are_of_dz_over_one_plus_z_and_leave_unknown_ones_out():
    true = np.array([0.0, 1.0, 0.0, 1.0, np.nan])
    error = np.array([0.01, 0.02, 0.03, 0.8, 0.0])
    pit = np.full(5, 0.5)
    scores = [MarginalScores("photoz", true, error, pit, pit)]
    everyone = Subset(ALL, "", np.nan, np.ones(5, dtype=bool))
    resampling = Resampling(np.arange(5), np.ones(5), 20)
    found = {each.figure: each for each in redshift_figures(scores, [everyone], resampling)}
    assert found[BIAS].value == pytest.approx(0.02)
    assert found[NMAD].value == pytest.approx(1.4826 * 0.01)
    assert found[OUTLIERS].value == pytest.approx(0.25)
    assert {each.n for each in found.values()} == {4}


def test_an_evaluation_tells_of_redshifts_beside_line_strengths(redshift_sky, tmp_path):
    scored = tmp_path / "scored.parquet"
    ensemble = Ensemble.read(redshift_sky.ensemble)
    store = CutoutStore.open(redshift_sky.cutouts)
    score(CatalogFile.open(redshift_sky.catalog), store, ensemble, scored)
    found = write_evaluation(
        scored, redshift_sky.truth, tmp_path / "out", conditions=["photoz < 0.3"]
    )
    for name in ("RMSE", "coverage 90 %", "CRPS", NMAD):
        assert found.figures.find(name, "photoz").n == len(redshift_sky.redshift)
    assert found.figures.find(NMAD, "photoz").value < 0.05
    assert any("photoz" in each.of for each in found.figures.named("calibration error"))
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert NMAD in page
    assert "photometric redshift" in page
