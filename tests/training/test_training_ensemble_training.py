"""A training as a folder: whole, killed, resumed, refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread
from safetensors import SafetensorError, safe_open

from targetsel.errors import CutoutError, EnsembleError, OutputError, SpectrumError
from targetsel.imaging.store import CutoutStore
from targetsel.networks.input_plan import InputPlan
from targetsel.photometry.selection_weights import SelectionRecord
from targetsel.scoring.ensemble import Ensemble
from targetsel.training.ensemble_training import draw_training, limits, print_epochs, train_into
from targetsel.training.examples import Split, held_out, ids_hash
from targetsel.training.labels import Labels
from targetsel.training.members import MemberProgress
from targetsel.training.network_training import NetworkTraining
from tests.training.toy_sky import N, changed, quiet, toy_decoder, toy_labels, toy_plan, toy_store

ROOT = Path(__file__).parents[2]


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("sky") / "cutouts", toy_labels())


@pytest.fixture(scope="module")
def labels():
    return replace(
        toy_labels(),
        about={
            "redshift": np.linspace(0, 0.3, N),
            "gmag": np.full(N, 18.0),
            "rmag": np.full(N, 17.0),
        },
        simulated=True,
    )


@pytest.fixture(scope="module")
def whole(store, labels, tmp_path_factory):
    """A folder with a finished training."""
    folder = tmp_path_factory.mktemp("trained") / "toy"
    train_into(folder, store, labels, toy_plan(store), toy_decoder(), quiet)
    return folder


def weights(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def killed_at(step, folder, store, labels, plan, monkeypatch):
    """Train until a step of any member."""
    original, calls = NetworkTraining._step, []

    def step_until_killed(self, *arguments):
        calls.append(1)
        if len(calls) == step:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(NetworkTraining, "_step", step_until_killed)
    with pytest.raises(Killed):
        train_into(folder, store, labels, plan, toy_decoder(), quiet)
    monkeypatch.undo()


# ---------------------------------------------------------------- whole


def test_a_training_leaves_an_ensemble_that_predicts_and_nothing_else(whole, store):
    names = {path.name for path in whole.iterdir()}
    assert names == {
        "card.json", "decoder.safetensors", "novelty.safetensors", "member-0.safetensors",
        "member-1.safetensors", "training.json", "training.png", "held_out.parquet",
    }  # fmt: skip
    posterior = Ensemble.read(whole).predict(store.read(store.source_ids()))
    assert np.isfinite(posterior.mean).all(axis=1).sum() == N - 1  # one has lost a band
    assert len(json.loads((whole / "training.json").read_text())["members"][1]) == 5


def test_the_ensemble_has_learnt_and_its_card_says_how_much(whole, store, labels):
    card = Ensemble.read(whole).card
    found = card["validation"]
    joined = labels.in_store(store)
    assert found["rmse"]["value"] < 0.6
    assert found["rmse"]["low"] < found["rmse"]["value"] < found["rmse"]["high"]
    assert len(found["rmse_of_each_member"]["value"]) == 2
    assert found["r2"]["value"] == pytest.approx(np.mean(found["r2_per_latent"]["value"]), abs=1e-3)
    assert "(simulated images)" in found["on"]
    assert card["simulated"] is True
    assert "simulated" in card["description"]
    training = card["training"]
    assert training["labels_sha256"] == joined.take(np.flatnonzero(joined.source_id < N)).sha256
    assert training["left_out"] == {"without pixels": 1}
    assert training["label_noise"] == [0.1, 0.1]
    assert sum(part["n"] for part in training["split"].values()) == N - 1
    held_out = pq.read_table(whole / "held_out.parquet")["source_id"].to_numpy()
    assert ids_hash(held_out) == training["split"]["test"]["ids_sha256"]


def test_figures_of_the_card_are_those_of_a_prediction_on_the_test(whole, store, labels):
    ensemble = Ensemble.read(whole)
    known = labels.in_store(store)
    known = known.take(np.flatnonzero(known.source_id < N))
    split = Split.of(known.source_id, known.group, 2, 0)
    test = known.take(split.test)
    posterior = ensemble.predict(store.read(test.source_id))
    rmse = np.sqrt(((posterior.mean - test.mean) ** 2).mean())
    assert ensemble.card["validation"]["rmse"]["value"] == pytest.approx(rmse, abs=1e-4)
    assert ensemble.card["training"]["split"] == split.to_card()


def test_the_card_has_the_support_of_the_training_and_the_proxies(whole):
    card = Ensemble.read(whole).card
    support = card["training"]["support"]
    assert set(support) == {"redshift", "magnitude", "colour"}
    assert support["colour"]["column"] == "gmag, rmag"
    n_test = card["training"]["split"]["test"]["n"]
    assert sum(support["redshift"]["counts"]) == N - 1 - n_test
    d4000 = card["validation"]["proxies"]["d4000"]["decoded labels"]
    assert set(d4000) == {"n", "rank_correlation", "scatter"}


def test_half_precision_is_used_where_it_changes_nothing_and_the_card_says_so(whole):
    card = Ensemble.read(whole).card
    assert card["half_precision"]["weights"] is True
    assert card["half_precision"]["largest_change"] < 0.01
    with safe_open(whole / "member-0.safetensors", "pt") as file:
        assert str(file.get_tensor("head.weight").dtype) == "torch.float16"
        assert str(file.get_tensor("head.bias").dtype) == "torch.float32"
    assert str(Ensemble.read(whole).networks[0].head.weight.dtype) == "torch.float32"


def test_every_epoch_of_every_member_is_said(store, labels, tmp_path, capsys):
    plan = replace(toy_plan(store, epochs_mean=1, epochs_covariance=1), members=1)
    train_into(tmp_path / "new", store, labels.take(np.arange(3, N)), plan, toy_decoder(),
               print_epochs)  # fmt: skip
    out = capsys.readouterr().out
    assert f"{N - 3} sources have cutouts and labels" in out
    assert "left out: 3 cutouts without label" in out
    assert "left out: 1 without pixels" in out
    assert "member 0, mean, epoch 1 of 1: loss" in out
    assert "member 0, covariance, epoch 1 of 1: loss" in out


def test_a_network_of_the_mean_gets_its_errors_from_validation_sources(store, labels, tmp_path):
    plan = toy_plan(store, epochs_mean=2)
    plan = replace(plan, network=changed(plan.network, head="mean"))
    train_into(tmp_path / "mean", store, labels, plan, toy_decoder(), quiet)
    ensemble = Ensemble.read(tmp_path / "mean")
    rmse = np.array(ensemble.networks[0].plan.latent_rmse)
    validation = [
        min(epoch["validation_rmse"] for epoch in history)
        for history in json.loads((tmp_path / "mean" / "training.json").read_text())["members"]
    ]
    together = np.sqrt(np.mean(np.square(validation)))
    assert np.sqrt((rmse**2).mean()) == pytest.approx(together, rel=0.02)
    posterior = ensemble.predict(store.read(store.source_ids()[:2]))
    assert posterior.member_factor[0, 0].diagonal() == pytest.approx(rmse, rel=1e-3)


def test_fine_tuning_starts_from_the_weights_of_the_ensemble(whole, store, labels, tmp_path):
    start = Ensemble.read(whole)
    recipe = {"epochs_mean": 1, "epochs_covariance": 1, "learning_rate": 1e-12, "seed": 7}
    plan = replace(toy_plan(store, **recipe), start=start, members=3)
    card = train_into(tmp_path / "tuned", store, labels, plan, start.decoder, quiet)
    tuned = Ensemble.read(tmp_path / "tuned")
    for k in range(3):  # the third starts from the first again
        ours, theirs = tuned.networks[k].head.weight, start.networks[k % 2].head.weight
        assert ours.detach().numpy() == pytest.approx(theirs.detach().numpy(), abs=1e-5)
    assert card["training"]["started_from"] == start.sha256
    # What the first was tested on stays unseen, whatever the seed, and novelty finds it again.
    assert card["training"]["recipe"]["seed"][0] == 7
    assert card["training"]["split"]["test"] == start.card["training"]["split"]["test"]
    assert [plan.fold_of(k) for k in range(3)] == [
        0,
        1,
        0,
    ]  # the folds that the first networks left out
    found = held_out(tuned.card, store, labels.source_id, labels.group)
    assert ids_hash(found) == card["training"]["split"]["test"]["ids_sha256"]


def test_a_test_that_weights_thin_out_is_refused_before_any_training(
    store, labels, tmp_path, monkeypatch
):
    monkeypatch.setattr(NetworkTraining, "_step", None)  # which would fail
    uneven = replace(labels, weight=np.exp(labels.source_id / 2))
    with pytest.raises(EnsembleError, match=r"test sources, of which \d remain .* at least 4"):
        train_into(tmp_path / "new", store, uneven, toy_plan(store), toy_decoder(), quiet)


# ---------------------------------------------------------------- killed


def test_weights_of_selection_are_in_the_card_and_leave_novelty_to_those_of_sampling(
    store, labels, tmp_path
):
    record = SelectionRecord(
        like="faint.parquet",
        bands=["g_sdss", "r_sdss"],
        neighbours=10,
        n_labelled=N,
        effective=40.5,
        n_target=900,
        outside=0.1,
        shift={"r_sdss": (-0.5, -0.1)},
        left_out={},
    )
    lopsided = np.where(labels.source_id % 7 == 0, 1000.0, 1.0)  # would thin the test to too few
    weighted = replace(labels, weight=lopsided, sampled=np.ones(N), selection=record)
    card = train_into(tmp_path / "toy", store, weighted, toy_plan(store), toy_decoder(), quiet)
    assert card["training"]["selection"] == record.model_dump(mode="json")
    assert Ensemble.read(tmp_path / "toy").card == card


def test_a_training_killed_by_the_system_goes_on_to_the_same_weights(
    whole, store, labels, tmp_path
):
    """SIGKILL of the process that leads two workers, once either has written a checkpoint."""
    folder = tmp_path / "killed"
    shutil.copytree(store.path, tmp_path / "cutouts")
    script = tmp_path / "train.py"
    script.write_text(
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from targetsel.imaging.store import CutoutStore\n"
        "from targetsel.training.ensemble_training import train_into\n"
        "from tests.training.toy_sky import quiet, toy_decoder, toy_labels, toy_plan\n"
        "if __name__ == '__main__':\n"
        f"    store = CutoutStore.open(Path({str(tmp_path / 'cutouts')!r}))\n"
        "    plan = replace(toy_plan(store), workers=2)\n"
        f"    train_into(Path({str(folder)!r}), store, toy_labels(), plan, toy_decoder(), quiet)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT
    )
    deadline = time.monotonic() + 600
    while not list((folder / "training").glob("member-*.checkpoint.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    while any(Path(f"/proc/{pid}").exists() for pid in workers):  # they do not outlive it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not (folder / "card.json").exists()
    assert not all(is_finished(folder, member) for member in (0, 1))
    plan = toy_plan(CutoutStore.open(tmp_path / "cutouts"))
    train_into(folder, store, labels, plan, toy_decoder(), quiet)
    assert weights(folder) == weights(whole)
    assert (folder / "training.json").read_bytes() == (whole / "training.json").read_bytes()


def children_of(pid):
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if path.exists() and path.read_text().rsplit(")", 1)[1].split()[1] == str(pid)
    ]


def is_finished(folder, member):
    path = folder / "training" / f"member-{member}.checkpoint.safetensors"
    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["training"])["state"]["phase"] == 2
    except (FileNotFoundError, SafetensorError):
        return False


def unclipped(plan):
    stretch = plan.input.stretch.model_copy(update={"clip": 1e6})
    return replace(plan, input=changed(plan.input, stretch=stretch))


def test_a_finished_member_is_not_trained_again(store, labels, tmp_path, monkeypatch):
    folder, plan = tmp_path / "new", toy_plan(store, epochs_mean=1, epochs_covariance=1)
    # 170 sources or so make 5 batches: the first member takes some 10 steps
    killed_at(13, folder, store, labels, plan, monkeypatch)
    said = []
    train_into(folder, store, labels, plan, toy_decoder(), said.append)
    trained = {each.member for each in said if isinstance(each, MemberProgress)}
    assert trained == {1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: replace(plan, members=3), r"members was 2, now 3"),
        (
            lambda plan: replace(plan, recipe=changed(plan.recipe, batch=16, seed=8)),
            r"recipe\.batch was 32, now 16; recipe\.seed was 0, now 8\. Give the same as before",
        ),
        (unclipped, r"input\.stretch\.clip was 2000\.0, now 1000000\.0"),
        (
            lambda plan: replace(plan, network=changed(plan.network, width=0.25)),
            "network.width was 0.125, n",
        ),
    ],
)
def test_going_on_with_another_plan_is_refused_and_says_what_changed(
    change, message, store, labels, tmp_path, monkeypatch
):
    killed_at(1, tmp_path / "new", store, labels, toy_plan(store), monkeypatch)
    with pytest.raises(EnsembleError, match=message):
        train_into(tmp_path / "new", store, labels, change(toy_plan(store)), toy_decoder(), quiet)


def test_going_on_with_other_labels_or_another_store_is_refused(
    store, labels, tmp_path, monkeypatch
):
    folder, plan = tmp_path / "new", toy_plan(store)
    killed_at(1, folder, store, labels, plan, monkeypatch)
    other = labels.take(np.arange(N - 1))
    with pytest.raises(EnsembleError, match=r"something else: labels was \w{64}, now \w{64}"):
        train_into(folder, store, other, plan, toy_decoder(), quiet)
    changed = toy_store(tmp_path / "cutouts", toy_labels(N - 1))
    with pytest.raises(EnsembleError, match=r"something else: store was \w{64}, now \w{64}"):
        train_into(folder, changed, labels, plan, toy_decoder(), quiet)


def test_a_training_that_is_running_is_not_joined_by_another(store, labels, tmp_path):
    folder, plan = tmp_path / "new", toy_plan(store)
    tried = []

    def report(message):
        if not tried:
            tried.append(message)
            with pytest.raises(OutputError, match="another run is writing there"):
                train_into(folder, store, labels, plan, toy_decoder(), quiet)
            raise Killed

    with pytest.raises(Killed):
        train_into(folder, store, labels, plan, toy_decoder(), report)


# ---------------------------------------------------------------- refused


def test_a_finished_ensemble_is_not_overwritten(whole, store, labels):
    with pytest.raises(OutputError, match="toy: already holds a finished ensemble"):
        train_into(whole, store, labels, toy_plan(store), toy_decoder(), quiet)


def test_fewer_sources_than_a_batch_are_learnt_in_one_batch(store, labels, tmp_path):
    plan = toy_plan(store, batch=64, epochs_mean=1, epochs_covariance=1)
    few = labels.take(np.arange(70))
    card = train_into(tmp_path / "few", store, few, plan, toy_decoder(), quiet)
    assert 32 <= card["training"]["recipe"]["batch"] < 64
    assert len(card["validation"]["rmse_of_each_member"]["value"]) == 2


def test_less_than_32_sources_are_refused_before_anything_is_written(store, labels, tmp_path):
    few = labels.take(np.arange(20))
    with pytest.raises(EnsembleError, match="20 sources to train on; expected at least one ba"):
        train_into(tmp_path / "new", store, few, toy_plan(store), toy_decoder(), quiet)
    assert not (tmp_path / "new").exists()


def test_store_and_labels_without_a_common_source_are_refused(store, labels, tmp_path):
    other = Labels(labels.source_id + 1000, labels.mean, labels.noise)
    with pytest.raises(SpectrumError, match="none of its 240 sources"):
        train_into(tmp_path / "new", store, other, toy_plan(store), toy_decoder(), quiet)


def test_a_band_that_the_store_lacks_is_named(store, labels, tmp_path):
    plan = toy_plan(store)
    plan = replace(plan, input=changed(plan.input, bands=("g", "i")))
    with pytest.raises(CutoutError, match="Pack cutouts that have i too"):
        train_into(tmp_path / "new", store, labels, plan, toy_decoder(), quiet)


def test_latents_of_another_decoder_size_are_refused(store, labels, tmp_path):
    three = Labels(labels.source_id, np.ones((N, 3)), np.ones((N, 3)))
    with pytest.raises(EnsembleError, match="the labels have 3 latents, but the decoder has 2"):
        train_into(tmp_path / "new", store, three, toy_plan(store), toy_decoder(), quiet)


def test_a_full_disk_at_a_checkpoint_is_said_and_the_training_goes_on_later(
    whole, store, labels, tmp_path, monkeypatch
):
    folder = tmp_path / "full"
    original, calls = Path.write_bytes, []

    def full(self, content):
        if "checkpoint" in self.name:
            calls.append(1)
            if len(calls) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        OutputError,
        match=r"member 0: .*member-0\.checkpoint\.safetensors: this checkpoint could not be "
        r"written: No space left on device; the checkpoint before it is kept",
    ):
        train_into(folder, store, labels, toy_plan(store), toy_decoder(), quiet)
    monkeypatch.undo()
    train_into(folder, store, labels, toy_plan(store), toy_decoder(), quiet)
    assert weights(folder) == weights(whole)


def test_the_input_of_a_plan_is_that_of_the_card(whole, store):
    assert Ensemble.read(whole).input == InputPlan.of_store(store, binning=2)


def row(epoch, loss, validation):
    return {"phase": "mean", "epoch": epoch, "loss": loss, "validation_loss": validation}


def test_a_wild_first_epoch_does_not_flatten_the_rest():
    low, high = limits([row(1, 2500.0, -4.8), row(2, -4.7, -5.0), row(3, -5.0, -5.2)])
    assert low == pytest.approx(-5.225)
    assert high == pytest.approx(-4.675)


@pytest.mark.parametrize("validation", [None, 0.7])
def test_one_epoch_is_shown_too(validation):
    low, high = limits([row(1, 0.7, validation)])
    assert low < 0.7 < high


def test_picture_shows_every_member(tmp_path):
    histories = [[row(1, 0.9, 0.8), row(2, 0.7, 0.6)], [row(1, 1.9, 0.9), row(2, 0.8, 0.7)]]
    draw_training(histories, tmp_path / "curves.png")
    pixels = np.rint(255 * imread(tmp_path / "curves.png")[..., :3]).astype(int).reshape(-1, 3)
    assert {(31, 119, 180), (255, 127, 14)} <= set(map(tuple, pixels.tolist()))
