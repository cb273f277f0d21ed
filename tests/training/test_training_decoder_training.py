import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from targetsel.errors import OutputError, SpectrumError
from targetsel.spectra.autoencoder import LatentSpace, SpectralAutoencoder
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.grid import wavelengths
from targetsel.training import decoder_training as training
from targetsel.training.decoder_training import (
    DecoderRecipe,
    DecoderState,
    pixel_counts,
    train,
    train_decoder_into,
)
from targetsel.training.training_spectra import TrainingSpectra

RECIPE = DecoderRecipe(LatentSpace(3, 2), epochs=4, batch=32)


class Killed(Exception):
    pass


@pytest.fixture
def spectra(galaxies):
    return TrainingSpectra.of(galaxies(130))


def same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


# ---------------------------------------------------------------- what counts


def test_pixels_of_lines_and_break_count_as_often_as_the_recipe_says():
    halpha, break_, between = np.searchsorted(wavelengths(), [6565, 4050, 5500])
    counts = pixel_counts(3.0)
    assert counts[[halpha, break_, between]].tolist() == [3, 3, 1]
    assert (pixel_counts(1.0) == 1).all()


def test_lines_that_count_more_are_reproduced_better(spectra):
    """Of the same recipe; all else is reproduced a little worse."""
    lines = pixel_counts(2.0) == 2

    def error(weight: float) -> float:
        recipe = replace(RECIPE, epochs=15, proxy_weight=weight)
        decoder = Decoder(train(spectra, recipe).network)
        latents, _ = decoder.encode(spectra.flux)
        flux = decoder.decode(latents[:, None], np.arange(len(latents))).flux[:, 0]
        return float(np.abs(flux - spectra.flux)[:, lines].mean())

    assert error(20.0) < error(1.0)


# ---------------------------------------------------------------- going on after a kill


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("at_batch", [3, 7, 11])
def test_killed_training_goes_on_to_exactly_the_same_weights(
    noisy, at_batch, spectra, tmp_path, monkeypatch
):
    if noisy:
        spectra = TrainingSpectra.of(spectra.flux, np.full_like(spectra.flux, 1e5))
    whole = train(spectra, RECIPE)
    checkpoint = tmp_path / "checkpoint.safetensors"
    original, calls = SpectralAutoencoder.loss_parts, []

    def loss_until_killed(self, *arguments):
        calls.append(1)
        if len(calls) == at_batch:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(SpectralAutoencoder, "loss_parts", loss_until_killed)
    with pytest.raises(Killed):
        train(spectra, RECIPE, checkpoint)
    monkeypatch.undo()
    assert checkpoint.exists() == (at_batch > 4)  # three batches and one look at the held-out rows
    resumed = train(spectra, RECIPE, checkpoint)
    assert same_weights(whole.network, resumed.network)
    assert whole.history == resumed.history


def test_weights_do_not_depend_on_the_number_of_threads(spectra):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = train(spectra, replace(RECIPE, epochs=2))
        torch.set_num_threads(2)
        two = train(spectra, replace(RECIPE, epochs=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert same_weights(one.network, two.network)


def test_other_seed_gives_other_weights(spectra):
    one = train(spectra, replace(RECIPE, epochs=1))
    other = train(spectra, replace(RECIPE, epochs=1, seed=1))
    assert not same_weights(one.network, other.network)


def test_training_leaves_the_callers_random_numbers_alone(spectra):
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    train(spectra, replace(RECIPE, epochs=1))
    assert torch.equal(torch.randn(3), expected)


@pytest.mark.parametrize("other", ["recipe", "spectra"])
def test_checkpoint_of_another_training_is_refused(other, spectra, galaxies, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    train(spectra, replace(RECIPE, epochs=1), checkpoint)
    recipe = replace(RECIPE, epochs=1, batch=16 if other == "recipe" else 32)
    again = TrainingSpectra.of(galaxies(130, seed=9)) if other == "spectra" else spectra
    with pytest.raises(SpectrumError, match=f"differs in its {other}, so this one cannot"):
        train(again, recipe, checkpoint)


def test_half_a_checkpoint_is_refused(spectra, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    train(spectra, replace(RECIPE, epochs=1), checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(SpectrumError, match=r"not a checkpoint .* Delete it to begin anew"):
        train(spectra, replace(RECIPE, epochs=1), checkpoint)


# ---------------------------------------------------------------- learning rate and end


def test_rate_falls_tenfold_after_six_epochs_and_training_ends_after_ten_without_gain():
    recipe, state = DecoderRecipe(), DecoderState(learning_rate=1e-3)
    assert state.after(100.0, recipe)
    assert not state.after(99.95, recipe)  # less than a thousandth better
    rates = [state.learning_rate]
    while not state.is_over(recipe):
        state.after(100.0, recipe)
        rates.append(state.learning_rate)
    assert state.epoch == 11
    assert rates == pytest.approx([1e-3] * 5 + [1e-4] * 5)
    assert state.best == 100.0


def test_gain_of_more_than_a_thousandth_starts_the_count_anew():
    state = DecoderState(learning_rate=1e-3)
    for loss in (100.0, 100.0, 99.0):
        state.after(loss, DecoderRecipe())
    assert (state.since_best, state.since_cut, state.best) == (0, 0, 99.0)


def test_best_epochs_weights_are_kept_not_the_last_ones(spectra, monkeypatch):
    measured = training.DecoderTraining._held_out

    def worse_from_the_third_epoch(run, rows):
        parts = measured(run, rows)
        return replace(parts, fit=parts.fit + 1e9) if run.state.epoch >= 2 else parts

    with monkeypatch.context() as patch:
        patch.setattr(training.DecoderTraining, "_held_out", worse_from_the_third_epoch)
        trained = train(spectra, RECIPE)
    assert trained.kept_epoch <= 2 < len(trained.history)
    short = train(spectra, replace(RECIPE, epochs=trained.kept_epoch))
    assert same_weights(trained.network, short.network)


def test_one_cycle_starts_at_a_25th_peaks_and_ends_near_nothing():
    recipe = DecoderRecipe(learning_rate=1e-3, one_cycle=True)
    rates = [recipe.cycle(share) for share in (0, 0.15, 0.3, 0.65, 1)]
    assert rates == pytest.approx([4e-5, 5.2e-4, 1e-3, 5.00002e-4, 4e-9])


def test_one_cycle_runs_every_epoch_and_goes_on_after_a_kill(spectra, tmp_path):
    recipe = replace(RECIPE, epochs=4, one_cycle=True)
    whole = train(spectra, recipe)
    assert whole.kept_epoch == len(whole.history) == 4

    def kill(figures):
        if figures["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        train(spectra, recipe, tmp_path / "checkpoint.safetensors", kill)
    resumed = train(spectra, recipe, tmp_path / "checkpoint.safetensors")
    assert same_weights(whole.network, resumed.network)


# ---------------------------------------------------------------- what is learnt


def test_trained_decoder_describes_spectra_better_than_their_mean(galaxies):
    flux = galaxies(400)
    recipe = DecoderRecipe(LatentSpace(3), 25, one_cycle=True)
    decoder = Decoder(train(TrainingSpectra.of(flux), recipe).network)
    unit = flux / np.sqrt((flux**2).sum(axis=1, keepdims=True))
    latents, std = decoder.encode(flux)
    decoded = decoder.decode(latents[:, None]).flux[:, 0]
    assert ((decoded - unit) ** 2).mean() < 0.2 * ((unit - unit.mean(axis=0)) ** 2).mean()
    assert (std > 0).all()
    np.testing.assert_allclose(latents.std(axis=0), 1, atol=0.1)


def test_masked_pixels_teach_nothing(galaxies):
    flux = galaxies(130)
    ivar = np.full_like(flux, 1e5)
    ivar[:, 300:320] = 0
    one = TrainingSpectra.of(flux, ivar)
    other = TrainingSpectra(one.flux.copy(), one.ivar)
    recipe = replace(RECIPE, epochs=1)
    run_one, run_other = train(one, recipe), train(other, recipe)
    assert same_weights(run_one.network, run_other.network)
    weight = run_one.network.decoder[4].weight
    start = SpectralAutoencoder(recipe.space)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        start = SpectralAutoencoder(recipe.space)
    assert torch.equal(weight[300:320], start.decoder[4].weight[300:320])
    assert not torch.equal(weight[:300], start.decoder[4].weight[:300])


def test_too_few_spectra_are_refused(galaxies):
    with pytest.raises(SpectrumError, match=r"20 spectra are too few .* one batch of 64"):
        train(TrainingSpectra.of(galaxies(20)), DecoderRecipe())


def test_training_that_diverges_says_so(spectra):
    spectra.flux[:, 0] = 1e30
    with pytest.raises(SpectrumError, match="training diverged in epoch 1: the held-out loss is"):
        train(spectra, RECIPE)


def test_spectra_with_nan_are_refused(galaxies):
    flux = galaxies(3)
    flux[1, 4] = np.nan
    with pytest.raises(SpectrumError, match="1 of 3 spectra hold NaN"):
        TrainingSpectra.of(flux)


# ---------------------------------------------------------------- the folder


def test_folder_holds_decoder_figures_and_picture_and_no_checkpoint(galaxies, tmp_path):
    np.savez(tmp_path / "mock.npz", flux=galaxies(130))
    lines = []
    figures = train_decoder_into(tmp_path / "mock.npz", tmp_path / "out", RECIPE, lines.append)
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["decoder.safetensors", "training.json", "training.png"]
    about = json.loads((tmp_path / "out" / "training.json").read_text())
    assert about["validation"] == figures
    assert about["recipe"]["space"] == "vae3pca2"
    assert len(about["history"]) == 4
    assert len(figures["encoder_std"]) == 2
    assert figures["n_held_out"] == 13
    assert lines[0].startswith("130 spectra without noise from")
    assert lines[1].startswith("epoch 1 of at most 4: loss ")
    assert Decoder.read(tmp_path / "out").space.name == "vae3pca2"
    with pytest.raises(OutputError, match="already holds a trained decoder"):
        train_decoder_into(tmp_path / "mock.npz", tmp_path / "out", RECIPE)


def test_spectra_with_errors_are_filled_and_keep_their_weights(galaxies, tmp_path):
    flux, ivar = galaxies(5), np.full((5, 1000), 4e6)
    flux[:, 100:110], ivar[:, 100:110] = np.nan, 0
    np.savez(tmp_path / "real.npz", flux=flux, ivar=ivar)
    read = TrainingSpectra.read(tmp_path / "real.npz")
    np.testing.assert_allclose(read.flux[:, 100:110], galaxies(5)[:, 100:110], rtol=0.02)
    assert (read.ivar[:, 100:110] == 0).all()


def test_folder_of_sdss_files_is_read(write_sdss, tmp_path):
    for name in ("a.fits", "b.fits"):
        write_sdss(name)
    read = TrainingSpectra.read(tmp_path)
    assert read.flux.shape == read.ivar.shape == (2, 1000)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"flux": np.ones((3, 999))}, r"'flux' must have shape \(N, 1000\) .* found \(3, 999\)"),
        ({"counts": np.ones((3, 1000))}, "found no flux"),
        ({"flux": np.full((3, 1000), np.nan)}, "set.npz: 3 of 3 spectra hold NaN"),
        (
            {"flux": np.ones((3, 1000)), "ivar": np.ones((3, 7))},
            r"'ivar' must have the shape of flux, \(3, 1000\)",
        ),
        (
            {"flux": np.ones((2, 1000)), "ivar": np.outer([1, 0], np.ones(1000))},
            r"row 1: every pixel is masked",
        ),
        (
            {"flux": np.ones((2, 1000)), "wavelength": np.linspace(3000, 9000, 1000)},
            "'wavelength' is not the rest-frame grid",
        ),
        (
            {"flux": np.ones((2, 1000)), "wavelength": np.linspace(3000, 9000, 7)},
            "'wavelength' is not the rest-frame grid",
        ),
        ({"flux": np.full((2, 1000), "a")}, "'flux' holds <U1, expected real numbers"),
    ],
)
def test_training_file_that_makes_no_sense_is_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(SpectrumError, match=message) as caught:
        TrainingSpectra.read(tmp_path / "set.npz")
    assert "\n" not in str(caught.value)


def test_folder_without_spectra_is_refused(tmp_path):
    with pytest.raises(SpectrumError, match=r"no \.fits file in this folder"):
        TrainingSpectra.read(tmp_path)
