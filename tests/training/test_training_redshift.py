"""The redshift is learnt beside the latents."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from targetsel.errors import CatalogError, EnsembleError
from targetsel.networks.network import Network
from targetsel.networks.redshift_scale import RedshiftScale
from targetsel.scoring.ensemble import Ensemble
from targetsel.tables.parquet import write_table
from targetsel.training.ensemble_training import train_into
from targetsel.training.files import TrainingFiles
from targetsel.training.plan import TrainingInputs
from tests.training.redshift_sky import labels_with_redshifts, plan_with_redshift
from tests.training.test_training_labels import catalog_file, latents_file
from tests.training.toy_sky import changed, quiet, toy_decoder, toy_labels, toy_plan, toy_store


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("redshift")
    labels = labels_with_redshifts()
    store = toy_store(folder / "store", labels)
    plan = plan_with_redshift(toy_plan(store), labels)
    card = train_into(folder / "mine", store, labels, plan, toy_decoder(), quiet)
    ensemble = Ensemble.read(folder / "mine")
    return SimpleNamespace(
        store=store, labels=labels, plan=plan, card=card, ensemble=ensemble, folder=folder / "mine"
    )


def test_an_ensemble_says_that_it_predicts_the_redshift(trained):
    assert trained.ensemble.predicts_redshift
    assert "2 latents and the redshift" in repr(trained.ensemble)
    assert "predicts the redshift too" in trained.card["description"]
    assert trained.card["network"]["redshift"] == trained.plan.network.redshift.model_dump()


def test_a_redshift_that_the_image_tells_is_predicted(trained):
    ids = trained.labels.source_id[:200]
    posterior = trained.ensemble.predict(trained.store.read(ids))
    assert posterior.has_redshift
    predicted = np.expm1(posterior.mean[:, -1])
    assert np.corrcoef(predicted, trained.labels.redshift[:200])[0, 1] > 0.8
    figures = trained.card["validation"]["redshift"]
    spread = np.std(np.log1p(trained.labels.redshift))
    assert 0 < figures["nmad"]["value"] < spread
    assert figures["outliers"]["value"] == 0


def test_draws_and_moments_of_the_latents_leave_the_redshift_out(trained):
    posterior = trained.ensemble.predict(trained.store.read(trained.labels.source_id[:5]))
    assert posterior.draw(64).shape == (5, 64, 2)
    assert posterior.drawn(64).shape == (5, 64, 3)
    assert posterior.latents.mean.shape == (5, 2)
    assert posterior.latents.epistemic == pytest.approx(posterior.epistemic)
    spectra = trained.ensemble.decoder.decode(posterior.draw(64))
    assert spectra.flux.shape[:2] == (5, 64)


def test_the_marginal_of_the_latents_is_that_of_the_whole_posterior(trained):
    posterior = trained.ensemble.predict(trained.store.read(trained.labels.source_id[:4]))
    assert posterior.latents.mean == pytest.approx(posterior.mean[:, :2])
    assert posterior.latents.cov == pytest.approx(posterior.cov[:, :2, :2])


def test_labels_without_redshifts_do_not_suit_such_a_plan(trained, tmp_path):
    labels = toy_labels()
    with pytest.raises(EnsembleError, match="no redshifts are known"):
        train_into(tmp_path / "x", trained.store, labels, trained.plan, toy_decoder(), quiet)


def test_other_redshifts_are_other_labels():
    plain, one = toy_labels(), labels_with_redshifts()
    assert one.sha256 != plain.sha256
    assert one.sha256 != replace(one, redshift=one.redshift + 0.01).sha256


def test_sources_without_a_redshift_are_left_out_and_counted():
    labels = replace(toy_labels(6), about={"Z_SPEC": np.array([0.1, np.nan, -99, 0.2, 0.3, -1])})
    found = labels.with_redshifts()
    assert found.source_id.tolist() == [1, 4, 5]
    assert found.redshift.tolist() == [0.1, 0.2, 0.3]
    assert found.left_out["without a redshift"] == 3


@pytest.mark.parametrize("about", [{}, {"redshift": np.full(6, -9999.0)}, {"photoz": np.ones(6)}])
def test_without_a_known_redshift_none_is_learnt(about):
    labels = replace(toy_labels(6), about=about)
    assert labels.with_redshifts() is labels


# ---------------------------------------------------------------- inputs from files


@pytest.fixture(scope="module")
def files(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    labels = trained.labels
    latents = latents_file(folder, labels.source_id, labels.mean, labels.noise)
    catalog_file(folder, source_id=labels.source_id, redshift=labels.redshift)
    toy_decoder().write(folder / "decoder.safetensors")
    decoder, catalog = folder / "decoder.safetensors", folder / "catalog.parquet"
    return TrainingFiles(
        Path(trained.store.path), latents=latents, decoder=decoder, catalog=catalog
    )


def test_redshifts_of_the_catalog_are_learnt_unless_they_are_not_wanted(files, trained):
    inputs = TrainingInputs.read(files)
    assert inputs.plan.network.redshift == RedshiftScale.of(trained.labels.redshift)
    assert inputs.labels.redshift == pytest.approx(trained.labels.redshift)
    without = TrainingInputs.read(files, redshift=False)
    assert (without.plan.network.redshift, without.labels.redshift) == (None, None)
    assert TrainingInputs.read(replace(files, catalog=None)).plan.network.redshift is None


@pytest.fixture
def of_two_arcsec(files, tmp_path):
    """The same files, whose latents state the fiber of a mock sky's spectra."""
    footer = {"mock": {"variation": {"fiber": 2.0}}}
    write_table(pq.read_table(files.latents), tmp_path / "latents.parquet", footer)
    return replace(files, latents=tmp_path / "latents.parquet")


def test_the_aperture_is_that_of_the_spectra_where_their_file_states_it(files, of_two_arcsec):
    assert TrainingInputs.read(files).plan.aperture is None
    assert TrainingInputs.read(files, aperture=3.0).plan.aperture == 3.0
    assert TrainingInputs.read(of_two_arcsec).plan.aperture == 2.0
    assert TrainingInputs.read(of_two_arcsec, aperture=2.0).plan.aperture == 2.0


def test_another_aperture_than_that_of_the_spectra_is_refused(of_two_arcsec):
    with pytest.raises(EnsembleError, match=r"--aperture 3: .*latents\.parquet states .* 2 arcsec"):
        TrainingInputs.read(of_two_arcsec, aperture=3.0)


def test_an_ensemble_to_start_from_tells_the_aperture_of_spectra_that_do_not(
    files, of_two_arcsec, trained, tmp_path
):
    shutil.copytree(trained.folder, tmp_path / "start")
    card = json.loads((tmp_path / "start" / "card.json").read_text())
    (tmp_path / "start" / "card.json").write_text(json.dumps(card | {"aperture": 3.0}))
    start = {"init": str(tmp_path / "start"), "decoder": None}
    assert TrainingInputs.read(replace(files, **start)).plan.aperture == 3.0
    assert TrainingInputs.read(replace(of_two_arcsec, **start)).plan.aperture == 2.0


def test_one_redshift_for_all_is_nothing_to_learn(files, trained, tmp_path):
    n = len(trained.labels)
    catalog_file(tmp_path, source_id=trained.labels.source_id, redshift=np.full(n, 0.1))
    same = replace(files, catalog=tmp_path / "catalog.parquet")
    with pytest.raises(CatalogError, match=r"redshift is 0\.1 for all 240 sources"):
        TrainingInputs.read(same)


def test_an_ensemble_goes_on_learning_what_it_predicts(files, trained):
    start = replace(files, init=str(trained.folder), decoder=None)
    inputs = TrainingInputs.read(start, epochs=2)
    assert inputs.plan.network.redshift == trained.plan.network.redshift


def test_an_ensemble_goes_on_with_its_latents_where_no_redshift_is_known_or_wanted(
    files, trained, tmp_path
):
    start = replace(files, init=str(trained.folder), decoder=None)
    unwanted = TrainingInputs.read(start, epochs=2, redshift=False)
    unknown = TrainingInputs.read(replace(start, catalog=None), epochs=2)
    for inputs in (unwanted, unknown):
        assert inputs.plan.network.redshift is None
        assert inputs.labels.redshift is None
        assert inputs.plan.split == TrainingInputs.read(start).plan.split
    given = unknown.store, unknown.labels, unknown.plan, unknown.decoder
    train_into(tmp_path / "on", *given, quiet)
    assert not Ensemble.read(tmp_path / "on").predicts_redshift


def test_a_network_without_its_redshift_predicts_the_same_latents(trained):
    network = trained.ensemble.networks[0]
    alone = network.without_redshift().eval()
    assert alone.plan.redshift is None
    features = torch.randn(5, network.plan.n_features)
    with torch.no_grad():
        (mean, factor), (of_latents, own) = network.posterior(features), alone.posterior(features)
    assert torch.allclose(of_latents, mean[:, :2], atol=1e-6)
    assert torch.allclose(own, factor[:, :2, :2], atol=1e-6)


def test_a_network_of_the_mean_without_its_redshift_keeps_the_errors_of_its_latents(trained):
    plan = changed(trained.plan.network, head="mean", latent_rmse=(0.5, 0.6, 0.1))
    alone = Network(plan).without_redshift()
    assert alone.plan.latent_rmse == (0.5, 0.6)
    assert alone.head.out_features == 2
    assert alone.without_redshift().plan == alone.plan


def test_a_network_of_the_mean_alone_has_an_error_of_the_redshift_too(trained, tmp_path):
    plan = trained.plan
    network = changed(plan.network, head="mean")
    plan = replace(plan, network=network, recipe=changed(plan.recipe, epochs_covariance=0))
    train_into(tmp_path / "mean", trained.store, trained.labels, plan, toy_decoder(), quiet)
    ensemble = Ensemble.read(tmp_path / "mean")
    assert len(ensemble.networks[0].plan.latent_rmse) == 3
    posterior = ensemble.predict(trained.store.read(trained.labels.source_id[:2]))
    expected = plan.network.redshift.std * ensemble.networks[0].plan.latent_rmse[2]
    assert posterior.member_factor[:, 0, 2, 2] == pytest.approx(expected)
