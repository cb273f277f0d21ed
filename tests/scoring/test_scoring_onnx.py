"""ONNX graphs say what torch says."""

import json
import logging
import sys

import numpy as np
import pytest
import torch

from targetsel.errors import ExtraError, OutputError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.stretch import Stretch
from targetsel.networks.network import Network, NetworkPlan, presets
from targetsel.novelty.novelty import NoveltyReference
from targetsel.scoring.onnx import _NoveltyGraph, _StretchGraph, export_ensemble, export_member
from tests.conftest import tiny_ensemble

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


def run(path, **inputs):
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True)), session


def test_a_whole_ensemble_as_one_graph_predicts_what_the_ensemble_does(tmp_path):
    ensemble = tiny_ensemble()
    for network in ensemble.networks:  # untrained heads say next to nothing
        torch.nn.init.normal_(network.head.weight, std=0.1)
    path = tmp_path / "ensemble.onnx"
    export_ensemble(ensemble, path)
    rng = np.random.default_rng(0)
    flux = rng.normal(size=(5, 5, 64, 64)).astype(np.float32)
    flux[0, 1, :9] = np.nan
    flux[1] *= 10
    found, session = run(path, flux=flux)
    expected = ensemble.predict(Cutouts(np.arange(5), flux, ensemble.input.bands, 0.25))
    assert expected.mean.std() > 0.05
    assert np.abs(found["latent_mean"] - expected.mean).max() < 1e-5
    for name, values in (
        ("latent_cov", expected.cov),  # up to hundreds, of the bright source
        ("member_mean", expected.member_mean),
        ("member_factor", expected.member_factor),
    ):
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    assert np.abs(found["source_novelty"] - expected.typicality).max() < 1e-4
    card = json.loads(session.get_modelmeta().custom_metadata_map["targetsel"])
    assert card["input"]["bands"] == list(ensemble.input.bands)
    assert [each.name for each in tmp_path.iterdir()] == ["ensemble.onnx"]


def test_a_graph_adds_pixels_up_where_the_ensemble_does(tmp_path):
    ensemble = tiny_ensemble(1)
    ensemble.card["input"]["binning"] = 2
    torch.nn.init.normal_(ensemble.networks[0].head.weight, std=0.1)
    export_ensemble(ensemble, tmp_path / "ensemble.onnx")
    flux = np.random.default_rng(0).normal(size=(3, 5, 64, 64)).astype(np.float32)
    flux[0, 1, :9, 3] = np.nan
    found, _ = run(tmp_path / "ensemble.onnx", flux=flux)
    expected = ensemble.predict(Cutouts(np.arange(3), flux, ensemble.input.bands, 0.25))
    assert expected.mean.std() > 0.05
    assert np.abs(found["latent_mean"] - expected.mean).max() < 1e-5


def test_a_published_member_as_a_graph_predicts_what_torch_does(tmp_path):
    torch.manual_seed(3)
    network = Network(presets()["hybrid"])
    with torch.no_grad():
        network(torch.randn(4, 5, 32, 32))
        next(m for m in network.modules() if hasattr(m, "gamma")).gamma.fill_(0.01)
    network.eval()
    export_member(network, 32, tmp_path / "member.onnx")
    x = torch.randn(3, 5, 32, 32)
    found, _ = run(tmp_path / "member.onnx", stretched=x.numpy())
    with torch.inference_mode():
        mean, factor = network(x)
        features = network.features(x)
    assert np.abs(found["latent_mean"] - mean.numpy()).max() < 1e-5
    assert np.abs(found["latent_factor"] - factor.numpy()).max() < 1e-5
    assert np.abs(found["pooled_features"] - features.numpy()).max() < 1e-5


@pytest.mark.parametrize("width", [0, 0.125])
def test_a_member_with_photometry_as_a_graph_predicts_what_torch_does(tmp_path, width):
    torch.manual_seed(4)
    network = Network(NetworkPlan(n_bands=3, n_latents=2, width=width, photometry=16))
    torch.nn.init.normal_(network.head.weight, std=0.1)
    with torch.no_grad():
        network(torch.randn(32, 3, 24, 24) + torch.randn(32, 3, 1, 1))
    network.eval()
    export_member(network, 24, tmp_path / "member.onnx")
    x = torch.randn(5, 3, 24, 24) + torch.randn(5, 3, 1, 1)
    found, _ = run(tmp_path / "member.onnx", stretched=x.numpy())
    with torch.inference_mode():
        mean, factor = network(x)
        features = network.features(x)
    assert mean.std() > 0.05
    assert np.abs(found["latent_mean"] - mean.numpy()).max() < 1e-5
    assert np.abs(found["latent_factor"] - factor.numpy()).max() < 1e-5
    assert np.abs(found["pooled_features"] - features.numpy()).max() < 1e-4


@pytest.mark.parametrize("kind", ["linear", "asinh"])
def test_the_stretch_in_the_graph_is_the_stretch(kind):
    stretch = Stretch(kind=kind, sky_sigma=(0.5, 2.0), scale=3.0, softening=4.0, clip=100.0)
    flux = np.random.default_rng(1).normal(size=(2, 2, 6, 5)).astype(np.float32) * 60
    flux[0, 0, 0] = np.nan
    found = _StretchGraph(stretch)(torch.from_numpy(flux)).numpy()
    assert np.abs(found - stretch.apply(flux)).max() < 1e-5


def test_the_novelty_in_the_graph_is_the_novelty():
    rng = np.random.default_rng(3)
    quality, appearance = rng.normal(size=(400, 9)), rng.normal(size=(400, 3))
    reference = NoveltyReference.fit(rng.normal(size=(2, 400, 4)), quality, appearance)
    features = rng.normal(size=(2, 200, 4)) * np.linspace(0.01, 2.5, 200)[:, None]
    expected = reference.novelty(features)
    found = _NoveltyGraph(reference)(torch.from_numpy(features).float()).numpy()
    assert expected.min() < 0.005
    assert expected.max() == 1.0
    assert np.abs(found - expected).max() < 1e-4


def test_without_the_onnx_packages_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    network = Network(NetworkPlan(width=0.125))
    with pytest.raises(ExtraError, match="writing ONNX needs onnxscript, which is") as error:
        export_member(network, 32, tmp_path / "member.onnx")
    assert "pip install 'targetsel[onnx]'" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_output_error_and_logging_is_as_before(tmp_path):
    level = logging.getLogger("torch.onnx").level
    with pytest.raises(OutputError, match="does not exist"):
        export_member(Network(NetworkPlan()), 32, tmp_path / "no" / "member.onnx")
    assert logging.getLogger("torch.onnx").level == level
