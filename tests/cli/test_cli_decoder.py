import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from typer.testing import CliRunner

from targetsel.cli.decoder import app
from targetsel.errors import EnsembleError, SpectrumError
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.rest_frame import Basis
from targetsel.weights.safetensors import read_safetensors
from tests.weights.hostile_pickles import build_on_its_storage

RUNNER = CliRunner()


@pytest.fixture
def spectra(tmp_path):
    """A file of 150 spectra without noise."""
    basis, rng = Basis.shipped(), np.random.default_rng(0)
    flux = basis.mean + rng.normal(0, 0.02, (150, 3)) @ basis.components[:3]
    np.savez(tmp_path / "mock.npz", flux=flux)
    return tmp_path / "mock.npz"


def words(spectra, output, epochs=3):
    return ["train", str(spectra), "-o", str(output), "--epochs", str(epochs), "--latents"]


def test_train_shows_its_progress_and_writes_a_decoder(spectra, tmp_path):
    result = RUNNER.invoke(app, [*words(spectra, tmp_path / "out"), "vae4pca2"])
    assert result.exit_code == 0, result.output
    assert "epoch 3 of at most 3: loss " in result.stderr
    assert f"decoder vae4pca2 written to {tmp_path / 'out'}: median |residual|" in result.stdout
    assert Decoder.read(tmp_path / "out").space.name == "vae4pca2"
    about = json.loads((tmp_path / "out" / "training.json").read_text())
    assert len(about["history"]) == 3
    assert (tmp_path / "out" / "training.png").exists()


def test_unknown_latent_space_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(SpectrumError, match="latent space 'pca6' is not known"):
        RUNNER.invoke(app, [*words("absent.npz", tmp_path / "out"), "pca6"], catch_exceptions=False)
    assert not (tmp_path / "out").exists()


def test_training_that_is_killed_and_run_again_ends_with_the_same_weights(spectra, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    RUNNER.invoke(app, [*words(spectra, whole, 12), "vae3"])
    command = "from targetsel.cli.decoder import app; app()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, *words(spectra, killed, 12), "vae3"],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while (
        not (killed / "training" / "checkpoint.safetensors").exists()
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "decoder.safetensors").exists()
    result = RUNNER.invoke(app, [*words(spectra, killed, 12), "vae3"])
    assert result.exit_code == 0
    assert "resuming from" in result.stderr
    expected = read_safetensors(whole / "decoder.safetensors")
    for name, tensor in read_safetensors(killed / "decoder.safetensors").items():
        assert tensor.equal(expected[name]), name
    assert not (killed / "training" / "checkpoint.safetensors").exists()


def test_import_reports_what_every_published_tensor_became(tmp_path):
    rng = np.random.default_rng(1)
    shapes = {
        "enc1": (549, 1000), "enc2": (110, 549), "mu": (10, 110), "lv": (10, 110),
        "dec1": (110, 10), "dec2": (549, 110), "dec3": (1000, 549),
    }  # fmt: skip
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.from_numpy(rng.normal(0, 0.01, shape)).float()
        state[f"{name}.bias"] = torch.zeros(shape[0])
    torch.save(state, tmp_path / "0057.pth")
    pca = PCA(10).fit(rng.normal(size=(40, 10)))
    (tmp_path / "latent_pca.pkl").write_bytes(pickle.dumps(pca))
    np.save(tmp_path / "meanspec.npy", Basis.shipped().mean)
    result = RUNNER.invoke(
        app,
        [
            "import", str(tmp_path / "0057.pth"), "--pca", str(tmp_path / "latent_pca.pkl"),
            "--mean-spectrum", str(tmp_path / "meanspec.npy"),
            "-o", str(tmp_path / "decoder.safetensors"),
        ],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "lv.weight -> encoder.4.weight, log variance" in result.stdout
    assert len(result.stdout.splitlines()) == len(state) + 1
    assert Decoder.read(tmp_path / "decoder.safetensors").space.name == "vae10pca6"


@pytest.mark.parametrize("count", [20, 1_000_000])
def test_import_refuses_weights_that_change_the_storage_of_a_tensor(tmp_path, count):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(build_on_its_storage(count))
    words = ["import", str(weights), "--pca", "none.pkl", "--mean-spectrum", "none.npy"]
    with pytest.raises(EnsembleError, match="a state for a tensor's storage"):
        RUNNER.invoke(app, [*words, "-o", str(tmp_path)], catch_exceptions=False)
