"""targetsel ensemble, as it is typed."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from targetsel.cli.ensemble import app
from targetsel.errors import EnsembleError, OutputError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import FLOAT
from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.autoencoder import LatentSpace, SpectralAutoencoder
from targetsel.spectra.decoder import Decoder
from tests.scoring.published_stand_in import SIZE, saved, stand_in


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with published weights of full width and the decoder of their latents."""
    torch.set_num_threads(1)
    saved(stand_in(width=1.0), tmp_path / "hybrid.pth", beside=False)
    torch.manual_seed(2)
    Decoder(SpectralAutoencoder(LatentSpace(10, 6))).write(tmp_path / "decoder.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


IMPORT = ("import", "hybrid.pth", "-o", "wp20", "--decoder", "decoder.safetensors",
          "--latent-rmse", "0.5,0.6,0.7,0.8,0.9,1", "--size", SIZE)  # fmt: skip
GIVEN = ("--mean", "0,0,0,0,0", "--std", "5,4,3,2,1")


def test_presets_are_listed_with_the_published_counts():
    output = run("presets").output
    for count in ("6,734,743", "6,734,871", "6,730,007", "29,606", "29,734"):
        assert count in output
    assert "hybrid" in output
    assert "tiny-batch-normalisation " in output  # whole, in a window of 80 columns


def test_import_reports_every_tensor_and_writes_an_ensemble_that_predicts(folder):
    output = run(*IMPORT, *GIVEN).output
    network = stand_in(width=1.0)
    n_tensors = len(network.state_dict())
    assert f"hybrid.pth: {n_tensors} tensors used, none left over" in output
    assert output.count(" -> ") == n_tensors
    assert "  11.weight -> head.weight" in output
    assert "novelty unknown" in output
    ensemble = Ensemble.read(folder / "wp20")
    assert ensemble.card["name"] == "wp20"
    flux = np.random.default_rng(1).normal(size=(2, 5, SIZE, SIZE)).astype(np.float32)
    posterior = ensemble.predict(Cutouts(np.arange(2), flux, tuple("yzirg"), 0.25))
    scaled = flux / np.array([5, 4, 3, 2, 1], np.float32)[:, None, None]
    with torch.inference_mode():
        expected = network(torch.from_numpy(scaled)).numpy()
    np.testing.assert_allclose(posterior.mean, expected, rtol=1e-4, atol=1e-4)


def test_import_estimates_the_normalisation_from_a_cutout_store(folder):
    flux = np.random.default_rng(1).normal(3, 2, size=(12, 5, SIZE, SIZE)).astype(np.float32)
    place = np.linspace(1, 2, 12)
    cutouts = Cutouts(np.arange(12), flux, tuple("grizy"), 0.25)
    write_store(folder / "store", [(cutouts, place, place)], [1.0] * 5, FLOAT)
    assert "normalisation estimated from 12 sources" in run(*IMPORT, "--cutouts", "store").output
    card = json.loads((folder / "wp20" / "card.json").read_text())
    np.testing.assert_allclose(card["normalisation"]["mean"], 3, atol=0.1)
    np.testing.assert_allclose(card["normalisation"]["std"], 2, atol=0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "lack the normalisation of their input"),
        (("--mean", "0,0,0,0,0"), "--std is missing. Give both --mean and --std, or none."),
        (("--mean", "0,0,0,0,x", "--std", "1,1,1,1,1"), "--mean 0,0,0,0,x: expected numbers"),
        (("--mean", "0,0", "--std", "1,1"), "2 means and 2 standard deviations"),
    ],
)
def test_import_without_a_usable_normalisation_writes_nothing(folder, words, message):
    with pytest.raises(EnsembleError) as caught:
        run(*IMPORT, *words)
    assert message in str(caught.value)
    assert not (folder / "wp20").exists()


def test_import_needs_the_scatter_of_the_latents(folder):
    words = [word for word in IMPORT if word not in ("--latent-rmse", IMPORT[7])]
    result = run(*words, *GIVEN)
    assert result.exit_code == 2
    assert "--latent-rmse" in result.output


def test_import_does_not_write_into_a_folder_that_holds_something(folder):
    (folder / "wp20").mkdir()
    (folder / "wp20" / "card.json").write_text("{}")
    with pytest.raises(OutputError, match="wp20: already exists"):
        run(*IMPORT, *GIVEN)


def test_export_writes_a_graph_of_the_ensemble_or_of_one_member(tmp_path, ensemble_folder):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run("export-onnx", ensemble_folder, "-o", tmp_path / "all.onnx")
    run("export-onnx", ensemble_folder, "-o", tmp_path / "one.onnx", "--member", 1)
    inputs = [
        runtime.InferenceSession(tmp_path / name).get_inputs()[0].name
        for name in ("all.onnx", "one.onnx")
    ]
    assert inputs == ["flux", "stretched"]
    with pytest.raises(EnsembleError, match=r"--member 2: .* has the members 0 to 1"):
        run("export-onnx", ensemble_folder, "-o", tmp_path / "two.onnx", "--member", 2)
