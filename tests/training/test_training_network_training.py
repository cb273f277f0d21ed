"""Training of one network: it learns, can be killed anywhere, and keeps its best epoch."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from targetsel.documents.models import validate_values
from targetsel.errors import EnsembleError, OutputError
from targetsel.networks.deconvolution import Deconvolution
from targetsel.networks.network import Network, NetworkPlan
from targetsel.tables.files import one_command
from targetsel.training import network_training as training_module
from targetsel.training.examples import Examples
from targetsel.training.network_training import (
    NetworkTraining,
    Recipe,
    new_network,
    recompute_statistics,
)
from tests.training.toy_sky import changed, toy_flux

PLAN = NetworkPlan(n_bands=2, n_latents=2, width=0.125)
RECIPE = Recipe(epochs_mean=3, epochs_covariance=2, batch=32, learning_rate=1e-2, seed=5)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def sky():
    """Stretched cutouts of 8 pixels and their latents."""
    latents = np.random.default_rng(3).normal(size=(200, 2))
    return toy_flux(latents, size=8), latents


@pytest.fixture
def examples(sky):
    flux, latents = sky
    noise = np.full_like(latents, 0.05)
    return Examples(lambda rows: flux[rows], latents, np.arange(130), noise, np.arange(130, 200))


def begun(examples, recipe=RECIPE, plan=PLAN):
    return NetworkTraining(new_network(plan, recipe.seed), examples, recipe)


def same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


# ---------------------------------------------------------------- learning


def test_a_small_network_learns_brightness_and_colour_and_the_same_again_from_the_same_seed(sky):
    flux, latents = sky
    recipe = changed(RECIPE, epochs_mean=6)

    def train() -> Network:
        examples = Examples(lambda chosen: flux[chosen], latents, np.arange(160))
        return NetworkTraining(new_network(PLAN, recipe.seed), examples, recipe).run()

    network = train()
    with torch.inference_mode():
        mean, factor = network(torch.from_numpy(flux[160:]))
    error = np.sqrt(((mean.numpy() - latents[160:]) ** 2).mean())
    assert error < 0.6 * latents[160:].std()
    assert (factor.diagonal(dim1=1, dim2=2) > 0).all()
    assert same_weights(network, train())


def test_a_network_expects_what_the_weights_say_there_is():
    """Cutouts that say nothing, a quarter of them with latent 1 but standing for a third each."""
    rng = np.random.default_rng(0)

    def noise(rows: np.ndarray) -> np.ndarray:
        return rng.normal(size=(len(rows), 2, 8, 8)).astype(np.float32)

    latents = np.tile([[1.0], [-1.0], [-1.0], [-1.0]], (64, 1))
    examples = Examples(
        noise, latents, np.arange(256), weight=np.where(latents[:, 0] > 0, 1 / 3, 1.0)
    )
    plan = NetworkPlan(n_bands=2, n_latents=1, width=0.125)
    network = begun(examples, changed(RECIPE, epochs_mean=15, epochs_covariance=8), plan).run()
    with torch.inference_mode():
        mean, factor = network(torch.from_numpy(noise(np.arange(200))))
    assert mean.mean().item() == pytest.approx(-0.8, abs=0.1)  # (1/3 - 3) / (1/3 + 3)
    assert factor.mean().item() == pytest.approx(0.6, abs=0.1)  # (1 - 0.8^2)^(1/2)


def test_whoever_else_draws_random_numbers_is_not_disturbed(examples):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    begun(examples).epoch()
    assert torch.equal(torch.rand(3), expected)


def test_a_network_of_the_mean_alone_has_one_phase(examples):
    training = begun(examples, plan=changed(PLAN, head="mean"))
    training.run()
    assert [row["phase"] for row in training.state.history] == ["mean"] * 3


def test_every_epoch_is_reported_with_the_share_that_is_done(examples):
    seen = []
    begun(examples).run(report=seen.append)
    whole = [each for each in seen if each.whole]
    assert [(each.phase, each.epoch) for each in whole] == [
        ("mean", 1), ("mean", 2), ("mean", 3), ("covariance", 1), ("covariance", 2),
    ]  # fmt: skip
    assert [each.share for each in whole] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert str(whole[0]).startswith("mean, epoch 1 of 3: loss ")
    assert "validation rmse" in str(whole[0])


def test_within_an_epoch_no_report_says_that_it_is_over(examples, monkeypatch):
    monkeypatch.setattr(training_module, "SECONDS_BETWEEN_REPORTS", 0.0)
    seen = []
    begun(examples).epoch(seen.append)
    assert [each.whole for each in seen] == [False] * 4 + [True]
    assert {each.epoch for each in seen} == {1}
    assert [each.share for each in seen] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2])


# ---------------------------------------------------------------- what is kept


def validation_losses(monkeypatch, losses):
    """Make the validation loss of each epoch what is given, in turn."""
    values = iter(losses)
    monkeypatch.setattr(
        NetworkTraining, "_validate", lambda self, network, phase: (1.0, next(values))
    )


def test_a_phase_ends_when_patience_is_over_and_its_best_epoch_is_kept(examples, monkeypatch):
    validation_losses(monkeypatch, [3.0, 1.0, 2.0, 2.0, 9.0, 8.0, 7.0, 6.0])
    recipe = changed(RECIPE, epochs_mean=8, epochs_covariance=1, patience=2)
    training = begun(examples, recipe)
    kept = []
    while training.state.phase == 0:
        training.epoch()
        kept.append({name: t.clone() for name, t in training.best.items()})
    assert len(training.state.history) == 4
    assert not torch.equal(kept[0]["head.weight"], kept[1]["head.weight"])
    assert torch.equal(kept[1]["head.weight"], kept[3]["head.weight"])
    assert torch.equal(training.network.head.weight, kept[1]["head.weight"])


def test_without_validation_rows_the_last_epoch_is_kept(examples, sky):
    flux, _ = sky
    blind = replace(examples, validation=np.zeros(0, dtype=np.int64))
    training = begun(blind, changed(RECIPE, patience=1))
    network = training.run()
    assert len(training.state.history) == 5
    assert training.state.history[-1]["validation_rmse"] is None
    assert torch.isfinite(network(torch.from_numpy(flux[:4]))[0]).all()


def test_averaged_weights_are_those_that_are_kept(examples):
    training = begun(examples, changed(RECIPE, average=0.9, epochs_mean=1))
    before = [p.detach().clone() for p in training.network.parameters()]
    average, n = before, 0
    original = NetworkTraining._step

    def step(self, phase, rows, rng):
        nonlocal average, n
        loss = original(self, phase, rows, rng)
        n += 1
        share = min(0.9, (1 + n) / (10 + n))
        average = [
            a + (1 - share) * (p.detach() - a)
            for a, p in zip(average, self.network.parameters(), strict=True)
        ]
        return loss

    training._step = step.__get__(training)
    training.epoch()
    names = [name for name, _ in training.network.named_parameters()]
    for name, value in zip(names, average, strict=True):
        assert torch.allclose(training.best[name], value, atol=1e-6), name


def test_validation_does_not_change_the_training(examples):
    seen, blind = begun(examples), begun(replace(examples, validation=np.zeros(0, dtype=np.int64)))
    seen.epoch()
    blind.epoch()
    assert same_weights(seen.network, blind.network)


# ---------------------------------------------------------------- statistics


def test_recomputed_statistics_are_plain_averages_over_the_batches(sky):
    flux, _ = sky
    network = new_network(PLAN, 0)
    layer = network.stem[0]
    layer.running_mean.fill_(9.0)
    recompute_statistics(network, lambda rows: flux[rows], np.arange(64), batch=32)
    means = [layer._statistics(torch.from_numpy(flux[k : k + 32]))[0] for k in (0, 32)]
    assert layer.running_mean == pytest.approx(
        ((means[0] + means[1]) / 2).detach().numpy(), abs=1e-6
    )
    assert layer.momentum == pytest.approx(0.1)
    assert not network.training


class OneLayer(torch.nn.Module):
    """A deconvolution and a normalisation of what it gives."""

    def __init__(self, freeze_after):
        super().__init__()
        self.layer = Deconvolution(2, 4, freeze_after=freeze_after)
        self.norm = torch.nn.BatchNorm1d(4, affine=False)

    def forward(self, x):
        return self.norm(self.layer(x).mean(dim=(2, 3)))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_layer_keeps_its_statistics_and_the_count_of_its_steps(frozen, sky):
    flux, _ = sky
    network = OneLayer(freeze_after=3)
    network.layer.steps = 4 if frozen else 3  # one step from freezing
    network.layer.running_mean.fill_(9.0)
    recompute_statistics(network, lambda rows: flux[rows], np.arange(96), batch=32)
    assert bool((network.layer.running_mean == 9.0).all()) == frozen
    assert network.layer.steps == (4 if frozen else 3)
    assert network.layer.freeze_after == 3
    assert network.norm.running_mean.abs().max() > 0
    if not frozen:
        batches = [torch.from_numpy(flux[k : k + 32]) for k in (0, 32, 64)]
        means = torch.stack([network.layer._statistics(batch)[0] for batch in batches])
        assert torch.allclose(network.layer.running_mean, means.mean(dim=0), atol=1e-6)


# ---------------------------------------------------------------- going on after a kill


@pytest.mark.parametrize(
    ("recipe", "at_step"),
    [
        (RECIPE, 2),
        (RECIPE, 6),
        (changed(RECIPE, average=0.9, patience=1), 14),
        (changed(RECIPE, optimiser="ranger", augmentation="published", clip=0.0), 10),
    ],
    ids=["before a checkpoint", "in the first phase", "averaged, in the second", "ranger"],
)
def test_killed_training_goes_on_to_exactly_the_same_weights(
    recipe, at_step, examples, tmp_path, monkeypatch
):
    whole = begun(examples, recipe)
    whole.run()
    checkpoint = tmp_path / "checkpoint.safetensors"
    original, calls = NetworkTraining._step, []

    def step_until_killed(self, *arguments):
        calls.append(1)
        if len(calls) == at_step:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(NetworkTraining, "_step", step_until_killed)
    with pytest.raises(Killed):
        begun(examples, recipe).run(checkpoint)
    monkeypatch.undo()
    assert checkpoint.exists() == (at_step > 4)  # four batches an epoch
    resumed = begun(examples, recipe)
    resumed.run(checkpoint)
    assert same_weights(whole.network, resumed.network)
    assert whole.state.history == resumed.state.history


def test_a_finished_training_is_not_repeated(examples, tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint.safetensors"
    first = begun(examples)
    first.run(checkpoint)
    monkeypatch.setattr(NetworkTraining, "_step", None)
    again = begun(examples)
    again.run(checkpoint)
    assert same_weights(first.network, again.network)


def test_a_full_disk_leaves_the_checkpoint_before_it(examples, tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint.safetensors"
    training = begun(examples)
    training.epoch()
    training.write(checkpoint)
    before = checkpoint.read_bytes()
    training.epoch()

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        OutputError,
        match=r"checkpoint could not be written: No space left on device; the checkpoint before "
        r"it is kept\. Free some space",
    ):
        training.write(checkpoint)
    assert checkpoint.read_bytes() == before
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_a_truncated_checkpoint_is_refused(examples, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    training = begun(examples)
    training.write(checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(EnsembleError, match="not a checkpoint of a training, or damaged"):
        training.read(checkpoint)


def test_a_checkpoint_that_a_command_resumed_from_is_written_over(examples, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    begun(examples).write(checkpoint)
    with one_command():
        training = begun(examples)
        training.read(checkpoint)
        training.epoch()
        training.write(checkpoint)


def test_a_checkpoint_with_a_bit_turned_anywhere_is_refused(examples, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    training = begun(examples)
    training.write(checkpoint)
    whole, rng = checkpoint.read_bytes(), np.random.default_rng(0)
    for place in (*range(0, 400, 7), *rng.integers(len(whole), size=40).tolist()):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        checkpoint.write_bytes(damaged)
        with pytest.raises(
            EnsembleError, match=f"^{checkpoint}: .* Delete it to begin anew"
        ) as said:
            training.read(checkpoint)
        assert "\n" not in str(said.value)


def test_a_checkpoint_of_another_network_is_refused(examples, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    begun(examples).write(checkpoint)
    with pytest.raises(EnsembleError, match=r"a checkpoint of another network .* Delete it"):
        begun(examples, plan=changed(PLAN, width=0.25)).read(checkpoint)


def test_a_checkpoint_says_where_the_training_stands(examples, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    training = begun(examples)
    training.epoch()
    training.write(checkpoint)
    with safe_open(checkpoint, "pt") as file:
        about = json.loads(file.metadata()["training"])
    assert (about["state"]["phase"], about["state"]["epoch"]) == (0, 1)


# ---------------------------------------------------------------- what cannot be


def test_fewer_sources_than_a_batch_are_refused(examples):
    few = replace(examples, training=np.arange(31))
    with pytest.raises(EnsembleError, match="31 sources to train on; expected at least one ba"):
        begun(few)


def test_a_training_that_diverges_says_so(examples, sky):
    flux, _ = sky
    wild = replace(examples, read=lambda rows: flux[rows] * np.float32(np.inf))
    with pytest.raises(EnsembleError, match=r"diverged in epoch 1 of the phase 'mean'"):
        begun(wild).epoch()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimiser": "sgd"}, "optimiser is 'sgd'; expected 'adamw' or 'ranger'"),
        ({"augmentation": "none"}, "augmentation is 'none'; expected 'orientations' or 'pub"),
        ({"epochs_mean": 0}, "epochs_mean is '0'; expected a whole number, 1 or more"),
        ({"average": 1.0}, "average is '1.0'; expected a number, 0 to below 1"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(EnsembleError, match=message):
        validate_values(change, Recipe, "recipe", EnsembleError)


def test_mixed_precision_learns_too_and_its_weights_and_statistics_stay_single(monkeypatch):
    """On a CPU in bfloat16; on a GPU the same code was not run.

    Of 32 pixels, because on a CPU torch 2.13 gives random gradients of a 3x3 convolution in
    bfloat16 that goes in steps of two over maps of one pixel.
    """
    latents = np.random.default_rng(3).normal(size=(160, 2))
    flux = toy_flux(latents, size=32)
    examples = Examples(lambda rows: flux[rows], latents, np.arange(128), None, np.arange(128, 160))
    seen = set()

    def mixed(device):
        return torch.autocast("cpu", torch.bfloat16)

    monkeypatch.setattr(training_module, "mixed_precision", mixed)
    training = begun(examples, changed(RECIPE, epochs_mean=6, epochs_covariance=1))
    training.network.stages[0].register_forward_hook(lambda *args: seen.add(args[2].dtype))
    network = training.run()
    errors = [row["validation_rmse"] for row in training.state.history]
    assert errors[-1] < 0.8 * errors[0]
    assert torch.bfloat16 in seen
    assert {t.dtype for t in network.state_dict().values() if t.is_floating_point()} == {
        torch.float32
    }
