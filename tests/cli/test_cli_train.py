"""`targetsel train`: the same as the function, and errors in one line."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from targetsel.api.training import train
from targetsel.imaging.store import CutoutStore
from targetsel.networks.input_plan import InputPlan
from targetsel.scoring.ensemble import Ensemble
from targetsel.sky.catalog import Catalog
from targetsel.spectra.distilled import FILE_NAME
from targetsel.training.ensemble_training import train_into
from targetsel.training.labels import Labels
from targetsel.training.plan import named_plan
from tests.calibration.known_sky import N, write_known
from tests.cli.typed import Typed, contents
from tests.training.test_training_labels import catalog_file, latents_file
from tests.training.toy_sky import quiet, toy_decoder, toy_labels, toy_store

SMALL = ("--epochs", 2, "--members", 1, "--width", 0.125, "--bin", 2, "--workers", 1)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """A folder with a store, latents, a catalog and a decoder."""
    folder = tmp_path_factory.mktemp("sky")
    labels = toy_labels()
    toy_store(folder / "cutouts", labels)
    latents_file(folder, labels.source_id, labels.mean, labels.noise)
    place = {"ra": np.linspace(0, 350, len(labels)), "dec": np.linspace(-50, 50, len(labels))}
    catalog_file(folder, source_id=labels.source_id, group_id=labels.group, **place)
    toy_decoder().write(folder / "decoder.safetensors")
    return folder


@pytest.fixture
def targetsel(monkeypatch, capsys):
    return Typed(monkeypatch, capsys)


def words(sky, output, *more):
    return (
        "train", sky / "cutouts", "--latents", sky / "latents.parquet", "--decoder",
        sky / "decoder.safetensors", "-o", output, *more,
    )  # fmt: skip


def test_command_and_function_train_the_same_ensemble(sky, tmp_path, targetsel):
    (tmp_path / "one").mkdir()
    command, function = tmp_path / "one" / "toy", tmp_path / "toy"
    catalog = ("--catalog", sky / "catalog.parquet", "--group", "group_id")
    said = targetsel(*words(sky, command, *SMALL, *catalog))
    assert said.status == 0, said.err
    assert said.out.startswith(f"written to {command}: RMSE of standardised latents ")
    assert "member 0, covariance, epoch 1 of 1: loss" in said.err
    assert " sources/s" in said.err
    store, decoder = CutoutStore.open(sky / "cutouts"), toy_decoder()
    labels = Labels.of_latents(sky / "latents.parquet", decoder)
    labels = labels.with_catalog(Catalog.read(sky / "catalog.parquet"))
    plan = named_plan("default", InputPlan.of_store(store, binning=2), 2, 2, 0.125, 1)
    train_into(function, store, labels, plan, decoder, quiet)
    one, other = contents(command), contents(function)
    assert one.pop("training.png")[:4] == other.pop("training.png")[:4]
    assert one == other


def test_a_function_without_a_report_trains_in_silence(sky, tmp_path, capsys):
    found = train(
        sky / "cutouts", tmp_path / "toy", latents=sky / "latents.parquet",
        decoder=sky / "decoder.safetensors", epochs=2, members=1, width=0.125, bin=2, workers=1,
        report=None,
    )  # fmt: skip
    assert isinstance(found, Ensemble)
    assert capsys.readouterr() == ("", "")


def test_an_ensemble_is_fine_tuned_with_its_own_decoder_and_input(sky, tmp_path, targetsel):
    first, second = tmp_path / "first", tmp_path / "second"
    assert targetsel(*words(sky, first, *SMALL)).status == 0
    start = ("--init", first, "--epochs", 2, "--workers", 1)
    base = ("train", sky / "cutouts", "--latents", sky / "latents.parquet", "-o", second, *start)
    said = targetsel(*base, "--size", 8)
    assert said.status == 2
    assert "its input.size is 16, but this training's is 8. Leave that option out" in said.err
    assert targetsel(*base).status == 0
    card = json.loads((second / "card.json").read_text())
    assert card["training"]["started_from"] == Ensemble.read(first).sha256
    assert card["input"] == Ensemble.read(first).card["input"]
    assert card["training"]["recipe"]["learning_rate"] == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("drop", "more", "message"),
    [
        ("--latents", (), "--spectra or --latents: neither is, expected one of them"),
        ("", ("--spectra", "x.parquet"), "--spectra or --latents: both are given, expected one"),
        ("--decoder", (), "--decoder is required: name the decoder that produced the latents."),
        (
            "",
            ("--group", "plate"),
            "--group plate: is a column of no catalog. Name one",
        ),
        ("", ("--bands", "gi"), "its bands are g, r, but this training needs g, i"),
        ("", ("--bands", "g,i"), "its bands are g, r, but this training needs g, i"),
        ("", ("--bin", 3), "binning is 3; expected a divisor of the size"),
        ("", ("--preset", "wu"), "unknown preset 'wu'. Known: default, wu-peek-2020"),
        ("", ("--init", "nowhere"), "nowhere: no such folder or shipped ensemble"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_two(drop, more, message, sky, tmp_path, targetsel):
    typed = list(words(sky, tmp_path / "new", *more))
    if drop:
        place = typed.index(drop)
        del typed[place : place + 2]
    said = targetsel(*typed)
    assert said.status == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_an_ensemble_with_another_decoder_is_not_a_start(sky, tmp_path, targetsel, ensemble_folder):
    said = targetsel(*words(sky, tmp_path / "new", "--init", ensemble_folder))
    assert said.status == 2
    assert "is not the decoder of" in said.err


def test_spectra_are_encoded_on_the_way(sky, tmp_path, targetsel):
    labels = toy_labels()
    flux = toy_decoder().decode(labels.mean[:, None]).flux[:, 0]
    np.savez(tmp_path / "spectra.npz", source_id=labels.source_id, flux=flux)
    typed = list(words(sky, tmp_path / "new", *SMALL))
    place = typed.index("--latents")
    typed[place : place + 2] = ["--spectra", tmp_path / "spectra.npz"]
    said = targetsel(*typed)
    assert said.status == 0, said.err
    card = json.loads((tmp_path / "new" / "card.json").read_text())
    assert card["training"]["label_noise"] == [0.0, 0.0]
    assert "spectra" in card["validation"]["proxies"]["d4000"]


def test_novelty_fitted_anew_is_that_of_the_training(sky, tmp_path, targetsel):
    catalog = sky / "catalog.parquet"
    words_ = words(sky, tmp_path / "toy", *SMALL, "--catalog", catalog, "--group", "group_id")
    assert targetsel(*words_).status == 0
    before = contents(tmp_path / "toy")
    distances = Ensemble.read(tmp_path / "toy").novelty.distances
    card = json.loads(before["card.json"])
    said = targetsel("ensemble", "fit-novelty", tmp_path / "toy", "--catalog", catalog)
    assert said.status == 0, said.err
    n = card["training"]["split"]["test"]["n"]
    assert said.out == f"novelty and support fitted to {n} held-out sources in {tmp_path / 'toy'}\n"
    again = Ensemble.read(tmp_path / "toy").novelty.distances  # of weights in half precision
    assert again == pytest.approx(distances, rel=0.02)
    mistyped = ("ensemble", "fit-novelty", tmp_path / "toy", "--catalog", catalog)
    said = targetsel(*mistyped, "--group-col", "group_di")
    assert said.status == 2
    assert said.err == f"{catalog}: no column 'group_di' to group by. Did you mean 'group_id'?\n"
    few = pq.read_table(catalog).slice(0, 100)
    pq.write_table(few, tmp_path / "few.parquet")
    said = targetsel(
        "ensemble", "fit-novelty", tmp_path / "toy", "--catalog", tmp_path / "few.parquet",
        "--cutouts", sky / "cutouts",
    )  # fmt: skip
    assert said.status == 2
    assert f"but the ensemble was tested on {n} others. Give the catalog" in said.err


def test_distilled_indices_are_written_beside_the_decoder_or_refused(
    ensemble_folder, tmp_path, targetsel
):
    folder = shutil.copytree(ensemble_folder, tmp_path / "tiny")
    scored, _ = write_known(tmp_path, Ensemble.read(folder))
    words_ = ("ensemble", "distil", folder, "--scored", scored, "--steps", 20)
    said = targetsel(*words_)
    assert said.status == 2
    assert "standard deviations of the posterior" in said.err
    assert not (folder / FILE_NAME).exists()
    said = targetsel(*words_, "--bound", 9, "--scored", scored)
    assert said.status == 0, said.err
    found = Ensemble.read(folder).distilled.record
    assert said.out.startswith(
        f"learnt from {found.n_draws:,} draws of {found.n_sources:,} sources"
    )
    assert found.n_sources + found.n_aside == 2 * N
    line = next(each for each in said.out.splitlines() if each.split()[0] == "ew_halpha")
    assert line.split()[1] == f"{found.errors['ew_halpha'].median:.3f}"
    assert said.out.endswith(f"written to {folder}\n")
