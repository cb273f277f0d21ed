"""Surprise is a tail probability of measured latents: uniform where predictions are right."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import chi2, kstest

from targetsel.errors import CatalogError, EnsembleError
from targetsel.networks.posterior import LatentPosterior
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.surprise import compare, surprise
from targetsel.tables.parquet import write_table
from tests.calibration.known_sky import lists, write_known

N, D = 250, 6


def posterior(n=N, apart=0.0):
    """Two members, `apart` from one another in the first latent, of scatter 1."""
    mean = np.zeros((n, 2, D))
    mean[:, 1, 0] = apart
    return LatentPosterior(np.arange(n), mean, np.broadcast_to(np.eye(D), (n, 2, D, D)), np.ones(n))


def test_surprise_of_a_gaussian_is_the_tail_of_chi_square():
    latents = np.random.default_rng(0).normal(size=(N, D))
    expected = chi2.sf((latents**2).sum(axis=1), D)
    assert surprise(posterior(), latents) == pytest.approx(expected, abs=0.04)


def test_far_out_surprise_goes_on_falling():
    steps = np.zeros((8, D))
    steps[:, 0] = np.arange(4, 12)
    found = surprise(posterior(8).take(np.zeros(8, dtype=int)), steps)  # of one source
    assert (np.diff(np.log(found)) < -0.5).all()
    assert found[-1] < 1e-8


@pytest.mark.parametrize("apart", [0.0, 3.0])
def test_surprise_is_uniform_where_the_mixture_is_right(apart):
    rng = np.random.default_rng(1)
    predicted = posterior(apart=apart)
    chosen = rng.integers(2, size=N)
    latents = predicted.member_mean[np.arange(N), chosen] + rng.normal(size=(N, D))
    assert kstest(surprise(predicted, latents), "uniform").pvalue > 0.01


def test_errors_of_measurement_make_a_spectrum_less_surprising():
    latents = np.full((5, D), 2.0)
    alone = surprise(posterior(5), latents)
    assert (surprise(posterior(5).with_noise(np.ones((5, D))), latents) > 2 * alone).all()


def test_surprise_does_not_depend_on_the_company():
    latents = np.random.default_rng(2).normal(size=(N, D))
    some = np.array([7, 3, 200])
    whole = surprise(posterior(), latents)
    assert surprise(posterior().take(some), latents[some]) == pytest.approx(whole[some])


@pytest.fixture(scope="module")
def known(ensemble_folder, tmp_path_factory):
    """A scored file, a truth file with the latents of 45 of its sources, and the ensemble."""
    ensemble = Ensemble.read(ensemble_folder)
    scored, truth = write_known(tmp_path_factory.mktemp("known"), ensemble)
    write_table(pq.read_table(truth).slice(0, 45), truth)
    return scored, truth, ensemble


def test_a_compared_file_keeps_its_rows_and_says_in_what_each_spectrum_disagrees(known, tmp_path):
    scored, truth, ensemble = known
    before, table = pq.read_table(scored), pq.read_table(truth, columns=["source_id", "latent"])
    latents = np.array(table["latent"].to_pylist())[:40]
    latents[7] = np.array(before["member_mean"][7].as_py()).reshape(2, D).mean(axis=0)
    latents[7, 2] += 5.0
    ids = table["source_id"][:40]
    write_table(pa.table({"source_id": ids, "latent": lists(latents)}), tmp_path / "spectra")
    assert compare(scored, tmp_path / "spectra", ensemble, tmp_path / "out").n == 40
    after = pq.read_table(tmp_path / "out")
    assert after.select(before.column_names).equals(before)
    assert after["surprise"].null_count == len(before) - 40
    assert after["surprise"][7].as_py() < 1e-6
    assert after["surprise_in"][7].as_py() == "latent 3"
    assert after["surprise_latents"][7].as_py()[2] < 1e-6
    assert 0 <= after["surprise_ew_halpha"][7].as_py() <= 1
    assert after["surprise_ew_halpha"][50].as_py() is None


def test_comparing_twice_gives_the_same_bytes(known, tmp_path):
    scored, truth, ensemble = known
    for name in ("one", "two"):
        compare(scored, truth, ensemble, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_that_is_no_scored_catalog_or_of_another_ensemble_is_refused(known, tmp_path):
    scored, truth, ensemble = known
    with pytest.raises(CatalogError, match=r"not a scored catalog\. Make"):
        compare(truth, truth, ensemble, tmp_path / "out")
    write_table(pq.read_table(scored), tmp_path / "other", {"ensemble": {"sha256": "0" * 64}})
    with pytest.raises(EnsembleError, match="Name the one that scored it with --ensemble"):
        compare(tmp_path / "other", truth, ensemble, tmp_path / "out")
    compare(scored, truth, ensemble, tmp_path / "out")
    with pytest.raises(CatalogError, match="has a column 'surprise' already"):
        compare(tmp_path / "out", truth, ensemble, tmp_path / "again")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source_id": [1], "flux": [1.0]}, "neither latents"),
        ({"source_id": [1], "d4000": [1.0]}, "Make them with 'targetsel spectra encode'"),
        ({"source_id": [1], "latent_mean": lists(np.zeros((1, 4)))}, "4 latents, but"),
        ({"source_id": [1, 1], "latent_mean": lists(np.zeros((2, 6)))}, "are repeated"),
        (
            {"source_id": np.zeros(0, np.int64), "latent_mean": lists(np.zeros((0, 6)))},
            "has no rows",
        ),
    ],
)
def test_latents_that_cannot_be_compared_are_refused(known, tmp_path, columns, message):
    scored, _, ensemble = known
    write_table(pa.table(columns), tmp_path / "spectra.parquet")
    with pytest.raises(CatalogError, match=message):
        compare(scored, tmp_path / "spectra.parquet", ensemble, tmp_path / "out")


def test_spectra_of_other_sources_leave_no_file(known, tmp_path):
    scored, _, ensemble = known
    columns = {"source_id": [-5], "latent_mean": lists(np.zeros((1, 6)))}
    write_table(pa.table(columns), tmp_path / "spectra.parquet")
    with pytest.raises(CatalogError, match=r"none of its 1 ids \(the first is '-5'\) is in"):
        compare(scored, tmp_path / "spectra.parquet", ensemble, tmp_path / "out")
    assert not (tmp_path / "out").exists()
