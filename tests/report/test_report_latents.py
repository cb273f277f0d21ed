"""The latents of slim rows, predicted again from their cutouts."""

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import EnsembleError
from targetsel.imaging.store import CutoutStore
from targetsel.report.latents import ensemble_as_scored, latent_posterior
from targetsel.scored.file import ScoredFile
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.scoring.stream import score
from targetsel.sky.catalog import CatalogFile
from targetsel.tables.parquet import read_footer, write_table


@pytest.fixture(scope="module")
def store(demonstration):
    return CutoutStore.open(demonstration / "cutouts")


@pytest.fixture(scope="module")
def scored(demonstration, store, tmp_path_factory):
    """The demonstration scored in full and slim, calibrated or not, by the shipped ensemble."""
    folder = tmp_path_factory.mktemp("scored")
    catalog = CatalogFile.open(demonstration / "catalog.parquet")

    def path(slim, calibrated=True):
        output = folder / f"{slim}-{calibrated}.parquet"
        if not output.exists():
            options = ScoreOptions(n_draws=16, slim=slim)
            score(catalog, store, Ensemble.read(calibrated=calibrated), output, options)
        return output

    return path


def latents(path, store, ensemble):
    with ScoredFile(path) as file:
        table = pa.concat_tables(file.tables())
        ids = table["source_id"].to_numpy()
        cutouts = store.read(ids)
        return latent_posterior(table, ids, cutouts, ensemble_as_scored(file, ensemble))


@pytest.mark.parametrize("calibrated", [True, False])
def test_latents_of_slim_rows_are_those_that_full_ones_store(scored, store, calibrated):
    ensemble = Ensemble.read()
    slim, full = (latents(scored(slim, calibrated), store, ensemble) for slim in (True, False))
    assert np.allclose(slim.member_mean, full.member_mean, atol=1e-6)
    assert np.allclose(slim.member_cov, full.member_cov, atol=1e-5)
    assert np.allclose(slim.draw(8), full.draw(8), atol=1e-3)


def test_slim_rows_are_refused_where_the_ensemble_has_another_calibration_now(
    scored, store, tmp_path
):
    with pytest.raises(EnsembleError, match=r"needs the calibration \w{12}; it has none"):
        latents(scored(True), store, Ensemble.read(calibrated=False))
    footer = read_footer(scored(True))
    footer["calibration"] |= {"sha256": "0123456789abcdef"}
    with ScoredFile(scored(True)) as file:
        write_table(pa.concat_tables(file.tables()), tmp_path / "other.parquet", footer)
    with pytest.raises(EnsembleError, match="needs the calibration 0123456789ab; it has"):
        latents(tmp_path / "other.parquet", store, Ensemble.read())
