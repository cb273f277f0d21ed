"""Published hybrid weights, from stand-ins that independent code writes in the published form."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from targetsel.errors import CutoutError, EnsembleError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import FLOAT, CutoutStore
from targetsel.networks.network import NetworkPlan, count_parameters, presets
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.published import (
    BANDS,
    estimate_normalisation,
    import_ensemble,
    read_network,
)
from targetsel.spectra.autoencoder import LatentSpace, SpectralAutoencoder
from targetsel.spectra.decoder import Decoder
from tests.scoring.published_stand_in import SIZE, WIDTH, conv_layer, saved, stand_in

torch.set_num_threads(1)

RMSE = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
PLAN = NetworkPlan(width=WIDTH, groups=64, squeeze=8, attention=True, deconvolution="stem",
                   activation="mish", head="mean")  # fmt: skip


@pytest.fixture
def published(tmp_path):
    network = stand_in()
    return network, saved(network, tmp_path / "hybrid.pth")


@pytest.fixture
def decoder():
    torch.manual_seed(1)
    return Decoder(SpectralAutoencoder(LatentSpace(10, 6)))


@pytest.fixture
def store(tmp_path):
    """40 cutouts in grizy order whose bands have means 1 to 5 and standard deviations 2 to 10."""
    rng = np.random.default_rng(5)
    scale = np.arange(1.0, 6.0)[:, None, None]
    flux = scale * (1 + 2 * rng.normal(size=(40, 5, SIZE + 3, SIZE + 3)))
    cutouts = Cutouts(np.arange(40), flux.astype(np.float32), tuple("grizy"), 0.25)
    position = np.linspace(10, 20, 40)
    write_store(tmp_path / "store", [(cutouts, position, position)], [1.0] * 5, FLOAT)
    return CutoutStore.open(tmp_path / "store")


def plain(mean=0.0):
    return (mean,) * 5, (2.0,) * 5


# ---------------------------------------------------------------- what comes in


@pytest.mark.parametrize("beside", [True, False], ids=["beside optimiser", "alone"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip archive", "older format"])
def test_imported_network_predicts_what_the_stand_in_does(tmp_path, beside, zipped):
    network = stand_in()
    path = saved(network, tmp_path / "hybrid.pth", beside, zipped)
    ours, _ = read_network(path, PLAN)
    x = torch.randn(3, 5, SIZE, SIZE)
    with torch.inference_mode():
        mean, _ = ours.eval()(x)
        torch.testing.assert_close(mean, network(x), rtol=1e-4, atol=1e-5)


def test_whole_published_hybrid_fits_and_every_tensor_is_reported(tmp_path):
    network = stand_in(width=1.0)
    assert sum(p.numel() for p in network.parameters()) == 6_734_743
    path = saved(network, tmp_path / "hybrid.pth", beside=False)
    ours, used = read_network(path, presets()["hybrid"])
    assert set(used) == set(network.state_dict())
    assert set(used.values()) == set(ours.state_dict())
    assert used["0.0.running_deconv"] == "stem.0.running_deconv"
    assert used["4.1.convpath.3.conv.weight_orig"] == "stages.1.main.6.weight"
    assert used["5.0.idpath.1.0.weight"] == "stages.2.shortcut.1.weight"
    assert used["11.weight"] == "head.weight"
    assert count_parameters(presets()["hybrid"]) == 6_734_743


def test_tensors_are_matched_by_structure_whatever_the_paths_are_called(tmp_path):
    network = stand_in()
    state = {
        name.replace("convpath", "convs").replace("idpath", "idconv"): tensor
        for name, tensor in network.state_dict().items()
    }
    torch.save(state, tmp_path / "renamed.pth")
    ours, _ = read_network(tmp_path / "renamed.pth", PLAN)
    torch.testing.assert_close(ours.head.weight.data, network[11].weight.data)


def test_older_files_without_counts_and_right_singular_vectors_come_in(tmp_path):
    network = stand_in()
    state = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith(("num_batches_tracked", "weight_v"))
    }
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    ours, _ = read_network(tmp_path / "old.pth", PLAN)
    attention = ours.stages[1].main[6]
    expected = functional.normalize(attention.weight.T @ attention.left, dim=0)
    torch.testing.assert_close(attention.right, expected)


def test_whole_pickled_network_comes_in_like_its_state_dict(tmp_path):
    network = stand_in()
    torch.save(network, tmp_path / "module.pth", _use_new_zipfile_serialization=False)
    _, used = read_network(tmp_path / "module.pth", PLAN)
    assert set(used) == set(network.state_dict())


def test_imported_ensemble_predicts_from_cutouts_in_any_band_order(tmp_path, published, decoder):
    network, path = published
    other = stand_in(seed=1)
    paths = [path, saved(other, tmp_path / "second.pth")]
    ensemble = import_ensemble(paths, decoder, RMSE, plain(), plan=PLAN, size=SIZE)
    ensemble.write(tmp_path / "imported")
    ensemble = Ensemble.read(tmp_path / "imported")
    flux = np.random.default_rng(2).normal(size=(4, 5, SIZE, SIZE)).astype(np.float32)
    grizy = [BANDS.index(band) for band in "grizy"]
    posterior = ensemble.predict(Cutouts(np.arange(4), flux[:, grizy], tuple("grizy"), 0.25))
    with torch.inference_mode():
        x = torch.from_numpy(flux / 2)
        expected = torch.stack([network(x), other(x)], dim=1).numpy()
    np.testing.assert_allclose(posterior.member_mean, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        posterior.member_cov, np.broadcast_to(np.diag(RMSE) ** 2, (4, 2, 6, 6)), rtol=1e-5
    )
    assert np.isnan(posterior.typicality).all()


def test_mean_of_the_input_is_subtracted_and_missing_pixels_are_no_flux(
    tmp_path, published, decoder
):
    network, path = published
    mean, std = (0.3, -0.5, 0.7, 0.1, 0.9), (2.0, 1.0, 4.0, 2.0, 1.0)
    ensemble = import_ensemble([path], decoder, RMSE, (mean, std), plan=PLAN, size=SIZE)
    ensemble.write(tmp_path / "imported")
    flux = np.random.default_rng(5).normal(size=(3, 5, SIZE, SIZE)).astype(np.float32)
    flux[0, 1, :4] = np.nan
    cutouts = Cutouts(np.arange(3), flux, BANDS, 0.25)
    posterior = Ensemble.read(tmp_path / "imported").predict(cutouts)
    shape = (5, 1, 1)
    x = (np.nan_to_num(flux) - np.reshape(mean, shape)) / np.reshape(std, shape)
    with torch.inference_mode():
        expected = network(torch.from_numpy(x.astype(np.float32))).numpy()
    np.testing.assert_allclose(posterior.member_mean[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_normalisation_is_estimated_from_a_store_in_the_published_band_order(store):
    estimate = estimate_normalisation(store, SIZE)
    np.testing.assert_allclose(estimate.mean, [5, 4, 3, 2, 1], rtol=0.05)
    np.testing.assert_allclose(estimate.std, [10, 8, 6, 4, 2], rtol=0.05)
    assert store.sha256 in estimate.origin


def test_card_tells_normalisation_bands_spread_and_what_became_of_every_tensor(
    tmp_path, published, decoder, store
):
    network, path = published
    ensemble = import_ensemble([path], decoder, RMSE, store=store, plan=PLAN, size=SIZE)
    ensemble.write(tmp_path / "imported")
    card = json.loads((tmp_path / "imported" / "card.json").read_text())
    assert card["input"]["bands"] == ["y", "z", "i", "r", "g"]
    assert card["normalisation"]["unit"] == "nanomaggy"
    np.testing.assert_allclose(card["normalisation"]["mean"], [5, 4, 3, 2, 1], rtol=0.05)
    assert card["input"]["stretch"]["sky_sigma"] == card["normalisation"]["std"]
    assert card["network"]["latent_rmse"] == list(RMSE)
    assert set(card["imported"][0]["tensors"]) == set(network.state_dict())
    novelty = Ensemble.read(tmp_path / "imported").predict(store.read(np.arange(40))).typicality
    assert 0.2 < novelty.mean() < 0.8


# ---------------------------------------------------------------- what is refused


def edited(tmp_path, change):
    state = dict(stand_in().state_dict())
    change(state)
    torch.save(state, tmp_path / "edited.pth")
    return tmp_path / "edited.pth"


def drop(name):
    return lambda state: state.pop(name)


def put(name, tensor):
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("12.weight", torch.ones(2, 2)), "1 tensors have no place in the network, the first "
         "being '12.weight' of shape (2, 2)"),
        (put("0.0.extra", torch.ones(2)), "the first being '0.0.extra' of shape (2,)"),
        (drop("4.0.convpath.0.1.bias"), "batch normalisation '4.0.convpath.0.1' lacks its 'bias'"),
        (put("11.weight", torch.ones(6, 9)), "'11.weight' has shape (6, 9), where the network's "
         "linear layer has (6, 128)"),
        (put("11.bias", torch.full((6,), torch.nan)), "tensor '11.bias' holds NaN or infinity"),
        (put("11.bias", [1.0]), "'11.bias' is of type list, expected a tensor"),
        (put("11.bias", np.array(["a"] * 6)), "'11.bias' holds <U1, expected numbers"),
        (put("13.odd", torch.ones(2)), "tensor '13.odd' belongs to no kind of layer"),
    ],
    ids=["extra layer", "extra tensor", "missing", "shape", "NaN", "list", "text", "unknown layer"],
)  # fmt: skip
def test_file_that_does_not_fit_exactly_is_refused(tmp_path, change, message):
    with pytest.raises(EnsembleError) as caught:
        read_network(edited(tmp_path, change), PLAN)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "edited.pth"))


def test_weights_of_another_architecture_are_told_by_their_first_odd_layer(tmp_path):
    other = nn.Sequential(conv_layer(5, 8, 3, 2), conv_layer(8, 8, 3))
    path = saved(other, tmp_path / "other.pth")
    with pytest.raises(EnsembleError, match=r"'0\.0' is a convolution, where .* a deconvolution"):
        read_network(path, PLAN)
    path = saved(stand_in(width=0.5), tmp_path / "wide.pth")
    with pytest.raises(EnsembleError, match=r"'0\.0\.weight' has shape \(16, 5, 3, 3\), where"):
        read_network(path, PLAN)
    path = saved(stand_in()[:5], tmp_path / "short.pth")
    with pytest.raises(EnsembleError, match="16 layers, expected 59"):
        read_network(path, PLAN)


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {}, {1: torch.ones(1)}])
def test_files_without_a_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(EnsembleError, match=r"odd\.pth: holds"):
        read_network(tmp_path / "odd.pth", PLAN)


def test_unknown_entry_beside_the_model_is_refused(tmp_path):
    torch.save({"model": stand_in().state_dict(), "callbacks": 3}, tmp_path / "odd.pth")
    with pytest.raises(EnsembleError, match="entry 'callbacks' beside 'model' is not known"):
        read_network(tmp_path / "odd.pth", PLAN)


class Attack:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["model", "opt", "tensor"])
def test_attack_in_a_weights_file_is_refused(tmp_path, decoder, place):
    marker, path = tmp_path / "marker", tmp_path / "attack.pth"
    attack = Attack(f"touch {marker}")
    content = {"model": dict(stand_in().state_dict())}
    if place == "tensor":
        content["model"]["11.bias"] = attack
    else:
        content[place] = attack
    torch.save(content, path)
    with pytest.raises(EnsembleError, match=r"refused: asks for \w+\.system"):
        import_ensemble([path], decoder, RMSE, plain(), plan=PLAN, size=SIZE)
    assert not marker.exists()


def test_billion_laughs_in_place_of_weights_are_refused(tmp_path):
    value = [0]
    for _ in range(40):
        value = [value, value]
    (tmp_path / "laughs.pth").write_bytes(pickle.dumps({"model": value}))
    with pytest.raises(EnsembleError, match="repetitions"):
        read_network(tmp_path / "laughs.pth", PLAN)


def test_prediction_without_a_spread_is_refused(published, decoder):
    with pytest.raises(EnsembleError, match="latent_rmse: the published networks predict no spre"):
        import_ensemble([published[1]], decoder, (), plain(), plan=PLAN, size=SIZE)
    with pytest.raises(EnsembleError, match="latent_rmse has 2 numbers; expected 6"):
        import_ensemble([published[1]], decoder, (1.0, 2.0), plain(), plan=PLAN, size=SIZE)


def test_missing_normalisation_and_unsuitable_parts_are_named(published, store):
    six = Decoder(SpectralAutoencoder(LatentSpace(6)))
    with pytest.raises(EnsembleError, match="lack the normalisation of their input"):
        import_ensemble([published[1]], six, RMSE, plan=PLAN, size=SIZE)
    four = Decoder(SpectralAutoencoder(LatentSpace(4)))
    with pytest.raises(EnsembleError, match="decoder takes 4 latents, but the networks predict 6"):
        import_ensemble([published[1]], four, RMSE, plain(), plan=PLAN, size=SIZE)
    with pytest.raises(CutoutError, match="needs 224 x 224"):
        import_ensemble([published[1]], six, RMSE, store=store, plan=PLAN)
    for mean, std, message in (
        ((0.0,) * 4, (1.0,) * 5, "4 means and 5 standard deviations"),
        ((0.0,) * 4, (1.0,) * 4, "expected one for each of the bands y, z, i, r, g"),
        ((0.0,) * 5, (1.0, 1.0, 0.0, 1.0, 1.0), r"std is '0\.0'; expected a number above 0"),
        ((np.nan,) * 5, (1.0,) * 5, "mean is 'nan'; expected"),
    ):
        with pytest.raises(EnsembleError, match=f"normalisation: .*{message}"):
            import_ensemble([published[1]], six, RMSE, (mean, std), plan=PLAN, size=SIZE)
