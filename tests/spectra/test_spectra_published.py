"""The published autoencoder and PCA, from stand-ins that independent code writes."""

import os
import pickle
import types

import numpy as np
import pytest
import torch

from targetsel.errors import EnsembleError, SpectrumError
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.published import import_decoder
from tests.spectra.published_stand_in import fitted_pca, module_of


@pytest.fixture
def files(tmp_path):
    """Paths of weights, PCA and mean spectrum as published, and a place for the decoder."""
    paths = [tmp_path / name for name in ("0057.pth", "latent_pca.pkl", "meanspec.npy")]
    module = module_of(paths[0])
    pca = fitted_pca(paths[1])
    mean = np.random.default_rng(2).uniform(0.01, 0.05, 1000)
    np.save(paths[2], mean)
    return types.SimpleNamespace(
        paths=paths, module=module, pca=pca, mean=mean, output=tmp_path / "decoder.safetensors"
    )


# ---------------------------------------------------------------- what comes in


@pytest.mark.parametrize("whiten", [False, True], ids=["not whitened", "whitened"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip archive", "older format"])
def test_imported_decoder_decodes_as_the_published_one_with_its_labels_unscaled(
    files, whiten, zipped
):
    files.module = module_of(files.paths[0], zipped)
    pca = fitted_pca(files.paths[1], whiten=whiten)
    decoder = import_decoder(*files.paths, files.output).decoder
    assert decoder.space.name == "vae10pca6"
    standardised = np.random.default_rng(3).normal(size=(5, 6)).astype(np.float32)
    labels = standardised if whiten else standardised * np.sqrt(pca.explained_variance_)
    raw = torch.from_numpy(pca.inverse_transform(labels)).float()
    with torch.inference_mode():
        expected = files.module.decode(raw).numpy() + files.mean
    found = Decoder.read(files.output).decode(standardised[:, None]).flux[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_imported_encoder_gives_standardised_principal_components(files):
    decoder = import_decoder(*files.paths, files.output).decoder
    spectra = np.random.default_rng(5).uniform(0.5, 1.5, (7, 1000))
    unit = spectra / np.sqrt((spectra**2).sum(axis=1, keepdims=True))
    with torch.inference_mode():
        mean, log_variance = files.module.encode(torch.from_numpy(unit - files.mean).float())
    expected = files.pca.transform(mean.numpy()) / np.sqrt(files.pca.explained_variance_)
    found, std = decoder.encode(spectra)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    variance = log_variance.exp().numpy() @ (files.pca.components_**2).T
    np.testing.assert_allclose(std, np.sqrt(variance / files.pca.explained_variance_), rtol=1e-4)


def test_pca_of_all_ten_components_gives_its_first_six(files):
    pca = fitted_pca(files.paths[1], n=10, protocol=2)
    decoder = import_decoder(*files.paths, files.output).decoder
    assert decoder.n_latents == 6
    np.testing.assert_allclose(
        decoder.network.latent_std.numpy(), np.sqrt(pca.explained_variance_[:6]), rtol=1e-6
    )


def test_every_tensor_is_reported(files):
    used = import_decoder(*files.paths, files.output).used
    assert set(used) == set(files.module.state_dict())
    assert used["mu.weight"] == "encoder.4.weight, mean"
    assert used["lv.bias"] == "encoder.4.bias, log variance"
    assert used["outp.weight"] == "decoder.4.weight"


class OldBackend:
    """What modules held, and how it was pickled, before PyTorch 1.3."""

    def __reduce__(self):
        from torch.nn.backends.thnn import _get_thnn_function_backend

        return _get_thnn_function_backend, ()


def test_module_of_a_pytorch_as_old_as_the_published_one_comes_in(files):
    module_of(files.paths[0], backend=OldBackend())
    assert len(import_decoder(*files.paths, files.output).used) == 14


def test_log_variance_is_told_by_its_name_and_not_by_its_place(files):
    names = ("logvar", "mean")
    module = module_of(files.paths[0], names=names)
    decoder = import_decoder(*files.paths, files.output).decoder
    np.testing.assert_array_equal(
        decoder.network.encoder[4].weight.detach().numpy()[:10], module.mean.weight.detach().numpy()
    )


def test_state_dict_and_folder_as_output_do_as_well(files, tmp_path):
    torch.save(files.module.state_dict(), files.paths[0])
    (tmp_path / "folder").mkdir()
    imported = import_decoder(*files.paths, tmp_path / "folder")
    assert imported.path == tmp_path / "folder" / "decoder.safetensors"
    assert Decoder.read(tmp_path / "folder").n_latents == 6


# ---------------------------------------------------------------- what is refused


def refusal(files, error=EnsembleError):
    with pytest.raises(error) as caught:
        import_decoder(*files.paths, files.output)
    assert not files.output.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_module_of_other_sizes_is_refused_with_its_sizes(files):
    module_of(files.paths[0], wide=500)
    assert "weights of another architecture: linear layers 1000-500, 500-110" in refusal(files)


def test_module_with_more_layers_is_refused(files):
    state = files.module.state_dict()
    torch.save({**state, "d1.running_var": torch.ones(3)}, files.paths[0])
    assert "tensor 'd1.running_var' of shape (3,) has no place" in refusal(files)
    extra = {"more.weight": torch.ones(110, 549), "more.bias": torch.ones(110)}
    torch.save({**state, **extra}, files.paths[0])
    assert "weights of another architecture" in refusal(files)
    del state["outp.bias"]
    torch.save(state, files.paths[0])
    assert "tensor 'outp.weight'" in refusal(files)


def test_unclear_names_of_mean_and_log_variance_are_refused(files):
    module_of(files.paths[0], names=("one", "two"))
    assert "which of the layers 'one' and 'two' gives the latents' log variance" in refusal(files)


def test_pca_of_other_latents_or_never_fitted_is_refused(files):
    fitted_pca(files.paths[1], raw=8)
    assert "6 components of 8 latents, expected at least 6 of the 10 latents" in refusal(files)
    fitted_pca(files.paths[1], n=4)
    assert "4 components of 10 latents" in refusal(files)
    decomposition = pytest.importorskip("sklearn.decomposition")
    files.paths[1].write_bytes(pickle.dumps(decomposition.PCA(6)))
    assert "no usable 'components_'" in refusal(files)
    files.pca.components_ = np.array([["a"] * 10] * 6)
    files.paths[1].write_bytes(pickle.dumps(files.pca))
    assert "no usable 'components_', expected finite numbers" in refusal(files)
    files.paths[1].write_bytes(pickle.dumps({"components_": 1}))
    assert "holds a dict, expected a pickled scikit-learn PCA" in refusal(files)


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        (np.zeros(999), r"mean spectrum of shape (999,), expected (1000,)"),
        (np.full(1000, np.nan), "must be finite numbers"),
        (np.array(["a"] * 1000), "must be finite numbers"),
        (np.array([None] * 1000), "not an .npy file of numbers, or damaged"),
    ],
    ids=["short", "NaN", "text", "objects"],
)
def test_mean_spectrum_that_is_none_is_refused(files, mean, message):
    np.save(files.paths[2], mean, allow_pickle=True)
    assert message in refusal(files, SpectrumError)


def test_missing_files_are_named(files):
    for path in reversed(files.paths):
        path.unlink()
        with pytest.raises((EnsembleError, SpectrumError), match=f"{path.name}: no such file"):
            import_decoder(*files.paths, files.output)


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["weights", "PCA", "mean spectrum"])
def test_attack_in_any_of_the_files_is_refused(files, tmp_path, which):
    marker = tmp_path / "marker"
    files.paths[which].write_bytes(pickle.dumps([Attack(marker)]))
    message = refusal(files, SpectrumError if which == 2 else EnsembleError)
    assert str(files.paths[which]) in message
    assert not marker.exists()


def test_bombs_in_place_of_the_pca_are_refused(files):
    value = [0]
    for _ in range(40):
        value = [value, value]
    files.paths[1].write_bytes(pickle.dumps(value))
    assert "repetitions" in refusal(files)
    files.paths[1].write_bytes(b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0fx.")
    assert "latent_pca.pkl: not a pickle or PyTorch file" in refusal(files)


def test_mean_spectrum_that_claims_a_terabyte_is_refused(files):
    with open(files.paths[2], "wb") as stream:
        claim = {"descr": "<f8", "fortran_order": False, "shape": (1 << 37,)}
        np.lib.format.write_array_header_1_0(stream, claim)
        stream.write(bytes(8000))
    assert "not an .npy file of numbers, or damaged" in refusal(files, SpectrumError)
