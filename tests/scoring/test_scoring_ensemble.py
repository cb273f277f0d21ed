"""An ensemble's directory is read whole or refused with the place and the reason."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from targetsel.errors import EnsembleError
from targetsel.imaging.cutout import Cutouts
from targetsel.novelty.novelty import typicality
from targetsel.scoring.ensemble import Ensemble, decoder_file, shipped_ensembles
from targetsel.surveys.registry import find_card
from targetsel.tables.files import sha256_of_file
from tests.conftest import tiny_ensemble


@pytest.fixture
def folder(ensemble_folder, tmp_path):
    return shutil.copytree(ensemble_folder, tmp_path / "tiny")


def cutouts(n=6, size=64, bands=("g", "r", "i", "z", "y")):
    rng = np.random.default_rng(0)
    flux = rng.normal(size=(n, len(bands), size, size)).astype(np.float32) * 0.02
    return Cutouts(np.arange(n), flux, bands, 0.25)


def numbers(ensemble, given):
    """All that is predicted and measured of cutouts, one column each."""
    found = ensemble.predict(given)
    typical = typicality(ensemble.novelty, ensemble.inputs, given, found.typicality)
    return [found.member_mean, found.member_factor, found.magnitude, *vars(typical).values()]


def update_card(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    for key, value in changes.items():
        card[key] = value
    (folder / "card.json").write_text(json.dumps(card))


def test_an_ensemble_read_back_predicts_the_same(folder):
    first = tiny_ensemble().predict(cutouts())
    again = Ensemble.read(folder).predict(cutouts())
    assert np.array_equal(first.member_mean, again.member_mean)
    assert np.array_equal(first.member_cov, again.member_cov)
    assert first.typicality == pytest.approx(again.typicality, abs=1e-4)


def test_lost_cutouts_change_nothing_of_those_beside_them(folder):
    ensemble = Ensemble.read(folder)
    whole, bad = cutouts(n=80), cutouts(n=80)
    lost = np.array([0, 3, 40, 79])
    bad.flux[lost, 1] = np.nan
    rest = np.setdiff1d(np.arange(80), lost)
    for one, other in zip(numbers(ensemble, whole), numbers(ensemble, bad), strict=True):
        np.testing.assert_array_equal(one[rest], other[rest])


def test_reading_an_ensemble_imports_no_compiler(folder):
    """PyTorch's takes a second, which every command that predicts would wait."""
    program = (
        "import sys; from targetsel.scoring.ensemble import Ensemble; "
        f"Ensemble.read({str(folder)!r}); print({{'torch._dynamo', 'sympy'}} & {{*sys.modules}})"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.stdout == "set()\n", said.stderr


def test_a_prediction_does_not_depend_on_other_sources(folder):
    ensemble = Ensemble.read(folder)
    alone, together = (ensemble.predict(cutouts().take(rows)) for rows in ([4], slice(None)))
    for name in ("member_mean", "member_factor", "typicality", "magnitude"):
        assert np.array_equal(getattr(alone, name)[0], getattr(together, name)[4]), name


def test_bands_in_another_order_and_a_larger_cutout_give_the_same_prediction(folder):
    ensemble = Ensemble.read(folder)
    large = cutouts(size=70)
    turned = large.select_bands(("y", "z", "i", "r", "g"))
    assert np.array_equal(ensemble.predict(large).mean, ensemble.predict(turned).mean)
    assert np.array_equal(ensemble.predict(large.crop(64)).mean, ensemble.predict(large).mean)


def test_sources_without_usable_pixels_have_no_prediction(folder):
    broken = cutouts()
    broken.flux[1, 2] = np.nan
    broken.flux[4] = 0.0
    posterior = Ensemble.read(folder).predict(broken)
    assert np.isnan(posterior.mean).all(axis=1).tolist() == [False, True, False, False, True, False]


def test_the_hash_changes_with_any_weight(folder):
    before = Ensemble.read(folder).sha256
    ensemble = Ensemble.read(folder)
    with torch.no_grad():
        ensemble.networks[0].head.bias += 1e-3
    ensemble.write(folder)
    assert Ensemble.read(folder).sha256 != before


@pytest.mark.parametrize("name", ["mock-ps1", "mock-legacy"])
def test_shipped_ensembles_say_that_their_images_are_simulated(name):
    assert name in shipped_ensembles()
    card = Ensemble.read(name).card
    assert card["name"] == name
    assert "simulated" in card["description"]
    assert "simulated" in card["validation"]["on"]


@pytest.mark.parametrize("survey", ["ps1", "legacy"])
def test_shipped_ensembles_take_what_their_survey_s_card_says(survey):
    ensemble, card = Ensemble.read(f"mock-{survey}"), find_card(survey)
    assert ensemble.input.bands == card.band_names
    assert ensemble.input.pixel_scale == card.pixel_scale
    assert (ensemble.input.size, ensemble.input.binning) == (card.cutout_size, card.binning)
    assert ensemble.calibration is not None
    assert ensemble.predicts_redshift


def test_latents_of_shipped_ensembles_are_of_one_decoder():
    cards = [Ensemble.read(name).card for name in shipped_ensembles()]
    assert len({card["files"]["decoder.safetensors"] for card in cards}) == 1


def test_an_unknown_name_lists_the_shipped_ensembles():
    with pytest.raises(EnsembleError, match=r"mock-ps2: no such folder.*Did you mean 'mock-ps1'"):
        Ensemble.read("mock-ps2")


def test_a_directory_without_card_is_no_ensemble(tmp_path):
    with pytest.raises(EnsembleError, match=r"has no card\.json"):
        Ensemble.read(tmp_path)


def test_a_damaged_or_foreign_card_is_told_apart(folder):
    (folder / "card.json").write_text("{")
    with pytest.raises(EnsembleError, match=r"card\.json:1:\d+: error: not valid JSON"):
        Ensemble.read(folder)
    (folder / "card.json").write_text('{"schema": "someone/else"}')
    with pytest.raises(EnsembleError, match="schema is 'someone/else', expected 'targetsel"):
        Ensemble.read(folder)


def test_members_are_read_in_the_order_of_their_numbers(tmp_path):
    ensemble = tiny_ensemble(12)
    for number, network in enumerate(ensemble.networks):
        torch.nn.init.constant_(network.head.bias, number)
    ensemble.write(tmp_path / "twelve")
    read = Ensemble.read(tmp_path / "twelve")
    assert [int(network.head.bias[0]) for network in read.networks] == list(range(12))


def test_a_missing_member_is_named(folder):
    (folder / "member-1.safetensors").unlink()
    with pytest.raises(
        EnsembleError, match=r"member-1\.safetensors: no such file; expected weights"
    ):
        Ensemble.read(folder)


def test_changed_weights_are_refused_by_their_hash(folder):
    path = folder / "member-0.safetensors"
    tensors = load_file(path)
    tensors["head.bias"] += 1
    save_file(tensors, path)
    with pytest.raises(EnsembleError, match=r"not what card\.json was written for"):
        Ensemble.read(folder)


def test_a_truncated_member_is_refused(folder):
    path = folder / "member-0.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EnsembleError, match="not a safetensors file, or damaged"):
        Ensemble.read(folder)


def test_weights_of_another_shape_are_named_with_both_shapes(folder):
    path = folder / "member-0.safetensors"
    tensors = load_file(path)
    tensors["head.bias"] = torch.zeros(6)
    save_file(tensors, path)
    card = json.loads((folder / "card.json").read_text())
    update_card(folder, files=card["files"] | {path.name: sha256_of_file(path)})
    with pytest.raises(EnsembleError, match=r"'head.bias' has shape \(6,\).* needs \(27,\)"):
        Ensemble.read(folder)


def test_a_pickle_in_place_of_safetensors_is_never_opened(folder, tmp_path):
    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return (marker.touch, ())

    path = folder / "member-0.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(EnsembleError, match=r"pickled weights .* are never opened"):
        Ensemble.read(folder)
    assert not marker.exists()


def test_a_card_cannot_name_files_outside_its_directory(folder):
    card = json.loads((folder / "card.json").read_text())
    update_card(folder, files=card["files"] | {"../outside.safetensors": "0" * 64})
    with pytest.raises(EnsembleError, match="not a plain file name"):
        Ensemble.read(folder)


def rehash(folder):
    """Write the card anew for the files that are there, as a forger would."""
    names = json.loads((folder / "card.json").read_text())["files"]
    update_card(folder, files={name: sha256_of_file(folder / name) for name in names})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": 5}, "input.bands is '5'; expected a list of bands"),
        ({"bands": ["g", "r", "i", "z"]}, "bands of the input: 4, but the 2 networks need 5"),
        ({"pixel_scale": "fine"}, "input.pixel_scale is 'fine'; expected a number.*arcsec"),
        ({"pixel_scale": 0}, "input.pixel_scale is '0'; expected a number above 0.*arcsec"),
        ({"size": -1}, "input.size is '-1'; expected a whole number, 1 or more: pixels"),
        ({"flux_unit": "jansky"}, "input.flux_unit is 'jansky'; expected 'nanomaggy'"),
        ({"binning": 5}, "binning is 5; expected a divisor of the size"),
        ({"stretch": {}}, "missing key 'kind' in input.stretch"),
    ],
)
def test_an_input_that_no_cutout_could_be_is_refused(folder, change, message):
    card = json.loads((folder / "card.json").read_text())
    update_card(folder, input=card["input"] | change)
    with pytest.raises(EnsembleError, match=message):
        Ensemble.read(folder)


def test_a_stretch_for_other_bands_is_refused(folder):
    card = json.loads((folder / "card.json").read_text())
    card["input"]["stretch"]["sky_sigma"] = [1.0, 1.0, 1.0]
    update_card(folder, input=card["input"])
    with pytest.raises(EnsembleError, match="sky sigmas of the stretch: 3, but the 2 networks"):
        Ensemble.read(folder)


@pytest.mark.parametrize("name", ["decoder.safetensors", "novelty.safetensors"])
def test_weights_that_the_card_does_not_list_are_refused(folder, name):
    card = json.loads((folder / "card.json").read_text())
    del card["files"][name]
    update_card(folder, files=card["files"])
    with pytest.raises(EnsembleError, match=f"entry 'files' lacks {name}"):
        Ensemble.read(folder)


def test_a_member_that_the_card_does_not_list_is_missed_by_the_novelty(folder):
    card = json.loads((folder / "card.json").read_text())
    del card["files"]["member-1.safetensors"]
    update_card(folder, files=card["files"])
    with pytest.raises(EnsembleError, match=r"the 1 networks need .*do not belong together"):
        Ensemble.read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("mean"), "image, looks, whitening, expected both, checks"),
        (
            lambda tensors: tensors.update(more=torch.ones(1)),
            "looks, mean, more, whitening, expected",
        ),
        (
            lambda tensors: tensors.update(distances=torch.ones(3)),
            r"distances: \(3,\), but the 2 networks need \(201,\)",
        ),
    ],
)
def test_a_foreign_novelty_reference_is_refused(folder, change, message):
    path = folder / "novelty.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    rehash(folder)
    with pytest.raises(EnsembleError, match=message):
        Ensemble.read(folder)


def test_a_card_with_nan_is_refused_before_anything_is_scored(folder):
    update_card(folder, validation={"rms": float("nan")})
    with pytest.raises(EnsembleError, match="not valid JSON: NaN is no number"):
        Ensemble.read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nam": "mine"}, "unknown key 'nam'.* Did you mean 'name'"),
        ({"network": {"depth": 7}}, "network.depth is '7'; expected 0, 18, 34 or 50"),
        ({"network": {"widht": 1.0}}, "unknown key 'widht' in network. Did you mean 'width'"),
        (
            {"networks": {"member-1.safetensors": {"width": 99}}},
            "width is '99'; expected a number, 0 to 16",
        ),
        ({"half_precision": {"weights": "yes"}}, "half_precision.weights is 'yes'; expected"),
        ({"training": {"n_sources": 3}}, "missing key 'store_sha256' in training"),
        ({"simulated": 1}, "simulated is '1'; expected"),
        ({"imported": [{"file": "a.pth"}]}, "missing key 'sha256' in imported"),
    ],
)
def test_every_entry_of_a_card_is_checked(folder, change, message):
    update_card(folder, **change)
    with pytest.raises(EnsembleError, match=message) as caught:
        Ensemble.read(folder)
    assert str(folder / "card.json") in str(caught.value)


def test_a_decoder_is_named_by_its_file_its_folder_or_a_shipped_ensemble(ensemble_folder):
    shipped = shipped_ensembles()["mock-ps1"] / "decoder.safetensors"
    assert decoder_file("nowhere", Path("mock-ps1")) == decoder_file("mock-ps1") == shipped
    own = ensemble_folder / "decoder.safetensors"
    assert decoder_file("mock-ps1", ensemble_folder) == decoder_file("mock-ps1", own) == own
    with pytest.raises(EnsembleError, match=r"no such decoder; .*Did you mean 'mock-ps1'"):
        decoder_file("mock-ps1", Path("mock-ps2"))
