"""Members in processes of their own: what goes wrong in one is heard in the first."""

import multiprocessing

import numpy as np
import pytest

from targetsel.errors import EnsembleError
from targetsel.networks.input_plan import InputPlan
from targetsel.networks.network import NetworkPlan
from targetsel.training.examples import Examples, PreparedCutouts
from targetsel.training.members import Member, train_members
from targetsel.training.network_training import Recipe
from tests.training.toy_sky import quiet, toy_labels, toy_store


@pytest.fixture
def members(tmp_path):
    labels = toy_labels(80)
    store = toy_store(tmp_path / "store", labels)
    pixels = PreparedCutouts.of(
        tmp_path, store, labels.source_id, InputPlan.of_store(store, binning=2)
    )
    rows = np.arange(60), labels.noise, np.arange(60, 79), labels.weight
    examples = Examples(pixels.read, labels.mean, *rows)
    plan = NetworkPlan(n_bands=2, n_latents=2, width=0.125)
    recipe = Recipe(epochs_mean=200, epochs_covariance=1, batch=16)
    return [
        Member(k, plan, recipe, examples, tmp_path / f"member-{k}.safetensors") for k in range(2)
    ]


def test_a_process_that_is_killed_is_named_and_the_others_are_stopped(members):
    def report(progress):
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(EnsembleError, match=r"member \d: its process was ended by signal 9 "):
        train_members(members, 2, report)
    assert multiprocessing.active_children() == []


def test_what_a_member_runs_into_in_its_process_is_raised_in_the_first(members, tmp_path):
    np.save(tmp_path / "pixels.npy", np.full((80, 2, 8, 8), np.inf, dtype=np.float16))
    with pytest.raises(EnsembleError, match=r"member \d: training diverged in epoch 1"):
        train_members(members, 2, quiet)
    assert multiprocessing.active_children() == []
