"""A calibration corrects `photoz` beside the line strengths, and with them."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from targetsel.calibration.calibration import Calibration
from targetsel.calibration.fitting import calibrate
from targetsel.calibration.latents import LatentCalibration
from targetsel.errors import EnsembleError
from targetsel.imaging.store import CutoutStore
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import score_rows
from targetsel.scoring.stream import score
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.spectra.lines import PREDICTABLE
from tests.calibration.known_sky import N, posterior


@pytest.fixture(scope="module")
def known(redshift_sky, tmp_path_factory):
    """A file scored without a calibration, and the calibration fitted to it."""
    folder = tmp_path_factory.mktemp("known")
    ensemble = Ensemble.read(redshift_sky.ensemble)
    store = CutoutStore.open(redshift_sky.cutouts)
    scored = folder / "scored.parquet"
    score(CatalogFile.open(redshift_sky.catalog), store, ensemble, scored)
    fitted = calibrate(scored, redshift_sky.truth, ensemble, local=False)
    return SimpleNamespace(
        sky=redshift_sky, ensemble=ensemble, store=store, scored=scored, calibration=fitted
    )


def test_the_truth_of_photoz_is_the_redshift(known):
    sources = LabelledSources.read(known.scored, known.sky.truth)
    assert set(sources.proxies) == set(PREDICTABLE)
    order = np.argsort(sources.source_id)
    assert sources.proxies["photoz"][order].tolist() == known.sky.redshift.tolist()


def test_a_column_photoz_of_a_truth_is_no_truth(known, tmp_path):
    table = pq.read_table(known.sky.truth)
    names = ["photoz" if name == "redshift" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), tmp_path / "truth.parquet")
    sources = LabelledSources.read(known.scored, tmp_path / "truth.parquet")
    assert "photoz" not in sources.proxies


def test_what_catalogs_write_for_no_redshift_is_unknown(known, tmp_path):
    table = pq.read_table(known.sky.truth)
    redshift = table["redshift"].to_numpy().copy()
    redshift[:4] = -99, -1, 9999, np.nan
    place = table.schema.get_field_index("redshift")
    table = table.set_column(place, "redshift", [redshift])
    pq.write_table(table, tmp_path / "truth.parquet")
    sources = LabelledSources.read(known.scored, tmp_path / "truth.parquet")
    assert np.isnan(sources.proxies["photoz"]).sum() == 4


def test_photoz_is_calibrated_with_the_latents_and_by_a_map_and_in_the_copula(known):
    fitted = known.calibration
    assert fitted.latents.n_latents == 3
    assert "photoz" in fitted.maps
    assert "photoz" in fitted.joint.names
    assert "photoz" not in fitted.residual.names
    assert fitted.not_calibrated == ()
    coverage = fitted.coverage_of_90_percent["photoz"]
    assert coverage.after == pytest.approx(0.9, abs=0.06)
    assert set(fitted.coverage_of_90_percent) == {"latent 1", "latent 2", *PREDICTABLE}


def test_a_calibrated_ensemble_scores_photoz_anew(known, tmp_path):
    shutil.copytree(known.sky.ensemble, tmp_path / "mine")
    known.calibration.write(tmp_path / "mine")
    again = Ensemble.read(tmp_path / "mine")
    assert again.calibration.not_calibrated == ()
    catalog = Catalog.read(known.sky.catalog)
    rows = score_rows(catalog, known.store, again)
    inside = [rows[f"photoz_{end}"].to_numpy() for end in ("q16", "q84")]
    share = np.mean((known.sky.redshift > inside[0]) & (known.sky.redshift < inside[1]))
    assert share == pytest.approx(0.68, abs=0.06)
    posterior = again.predict(known.store.read(catalog.source_id[:3]))
    assert again.measure(posterior.draw(64), posterior).names == PREDICTABLE[:-1]


def test_without_redshifts_in_the_truth_photoz_has_no_map(known, tmp_path):
    table = pq.read_table(known.sky.truth).drop_columns("redshift")
    pq.write_table(table, tmp_path / "truth.parquet")
    fitted = calibrate(known.scored, tmp_path / "truth.parquet", known.ensemble, local=False)
    assert fitted.latents.n_latents == 2
    assert fitted.not_calibrated == ("photoz",)
    assert "not photoz: score sources of known redshifts with --uncalibrated" in fitted.summary
    predicted = known.ensemble.predict(known.store.read(10_001 + np.arange(5)))
    assert fitted.posterior(predicted, predicted.magnitude).has_redshift


def test_a_calibration_of_latents_alone_leaves_a_redshift_that_is_independent_as_it_is():
    latents = posterior()
    true = latents.mean + 0.6 * np.random.default_rng(0).normal(size=(N, 6))
    about = np.full(N, 17.0), np.ones(N)
    fitted = LatentCalibration.fit(latents, true, np.zeros((N, 6)), *about)
    mean = np.concatenate([latents.member_mean, np.full((N, 2, 1), 0.2)], axis=2)
    factor = np.zeros((N, 2, 7, 7))
    factor[..., :6, :6], factor[..., 6, 6] = latents.member_factor, 0.01
    whole = replace(
        latents, member_mean=mean, member_factor=factor, deviations=None, has_redshift=True
    )
    moved = fitted.apply(whole, about[0])
    assert moved.latents.mean == pytest.approx(fitted.apply(latents, about[0]).mean)
    assert moved.mean[:, -1] == pytest.approx(0.2)
    assert np.sqrt(moved.cov[:, -1, -1]) == pytest.approx(0.01)


def test_a_calibration_of_photoz_is_refused_by_an_ensemble_without(known, tmp_path):
    known.calibration.write(tmp_path)
    sha256 = known.calibration.ensemble["sha256"]
    assert Calibration.read(tmp_path, sha256, 2, redshift=True) is not None
    with pytest.raises(EnsembleError, match="is of 3 latents, but the ensemble's decoder has 2"):
        Calibration.read(tmp_path, sha256, 2)
