"""Hostile files, read in a process of their own: none crashes it, fills its memory or runs."""

import io
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.weights.hostile_pickles import crafted, mutated

N_MUTATED = 800
HARMLESS_STATES = ("dict", "list", "tuple", "set", "frozenset", "int", "float", "str", "bytes",
                   "bytearray", "none")  # fmt: skip


def read_all(folder):
    """Whether each file of a folder was refused or read, and what it holds or why not."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "tests.weights.hostile_pickles", str(folder)],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], env=dict(os.environ),
    )  # fmt: skip
    lines = [line.split("\t", 2) for line in done.stdout.splitlines()]
    last = lines[-1][0] if lines else "the first file"
    assert done.returncode == 0, f"died of {done.returncode} at {last}: {done.stderr[-2000:]}"
    assert len(lines) == len(list(folder.iterdir()))
    return {name: (fate, rest) for name, fate, rest in lines}


@pytest.fixture(scope="module")
def fates(tmp_path_factory):
    """The fates of the files that are made by hand."""
    folder = tmp_path_factory.mktemp("crafted")
    for name, content in crafted().items():
        (folder / name).write_bytes(content)
    return read_all(folder)


def saved(value, zipped):
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def real_files():
    """State dicts, whole modules, arrays and a PCA, as they are published."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    for zipped in (True, False):
        for value in (module, module.state_dict(), {"model": module.state_dict(), "opt": [1.0]}):
            yield saved(value, zipped)
    decomposition = pytest.importorskip("sklearn.decomposition")
    pca = decomposition.PCA(2).fit(np.random.default_rng(0).normal(size=(20, 4)))
    for protocol in range(6):
        yield pickle.dumps(pca, protocol)
        yield pickle.dumps({"a": np.arange(4.0), "b": {1, 2}, "c": (np.float32(2), b"x")}, protocol)


@pytest.mark.parametrize("count", [20, 1_000_000])
def test_state_sent_to_the_storage_of_a_tensor_is_refused(fates, count):
    fate, message = fates[f"storage_state_{count}"]
    assert fate == "refused"
    assert "refused: a state for a tensor's storage. Only tensors" in message


def test_no_state_changes_a_tensor_an_array_or_a_storage(fates):
    for name, (fate, held) in fates.items():
        if name.startswith("build_") and fate == "read":
            _, state, target = name.replace("_on_", "_").split("_")
            kept = target in ("record", "ordered", "dtype", "parameter", "tensor", "size")
            assert state == "none" or kept or target in HARMLESS_STATES, (name, held)
            assert target != "storage"
            if target in ("tensor", "parameter"):
                assert state == "none"
                assert held == f"[<f4[4]={np.arange(4, dtype='f4').tobytes().hex()}]"


def test_names_sizes_depths_and_persistent_ids_that_no_file_needs_are_refused(fates):
    for name, (fate, held) in fates.items():
        kind = name.split("_")[0]
        if kind in ("claims", "memo", "recall", "long", "deep", "holds", "laughs", "chosen", "many",
                    "one", "slots", "call", "inst", "opcode", "underflow", "compressed", "short",
                    "no", "old", "wide", "recalled"):  # fmt: skip
            assert fate == "refused", (name, held)
        if kind == "id" and not name.startswith("id_3"):  # the device does not matter
            assert fate == "refused", (name, held)
        if kind == "tensor":
            assert fate == "refused", (name, held)


def test_keys_are_texts_small_numbers_and_names(fates):
    read = {name.removeprefix("key_") for name, (fate, _) in fates.items()
            if name.startswith("key_") and fate == "read"}  # fmt: skip
    assert read == {"str", "bytes", "int", "none", "class"}


def test_shared_storages_and_tensors_are_read_right(fates):
    def numbers(*values):
        return np.array(values, "<f4").tobytes().hex()

    whole = f"<f4[4]={numbers(0, 1, 2, 3)}"
    assert fates["good_shared_storage"][1] == f"[{whole},<f4[2, 2]={numbers(0, 2, 1, 3)}]"
    assert fates["good_shared_tensor"][1] == f"[{whole},{whole},{whole}]"
    assert fates["good_part"][1] == f"[<f4[2]={numbers(1, 3)}]"


def test_mutated_files_are_refused_or_read_without_a_crash(tmp_path):
    files, rng = list(real_files()), random.Random(1)
    for number in range(N_MUTATED):
        (tmp_path / f"{number:05d}").write_bytes(mutated(rng.choice(files), rng))
    fates = read_all(tmp_path)
    assert {fate for fate, _ in fates.values()} == {"read", "refused"}
