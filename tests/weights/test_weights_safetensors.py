import os
import pickle
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from targetsel.errors import EnsembleError, OutputError
from targetsel.weights.safetensors import load_weights, read_safetensors, write_safetensors


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.safetensors"


def test_weights_come_back_as_they_were(path):
    written = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor([1], dtype=torch.int64)}
    write_safetensors(written, path)
    read = read_safetensors(path)
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert torch.equal(read[name], tensor)


def test_same_weights_give_the_same_bytes(path):
    a, b = torch.ones(3), torch.zeros(2)
    write_safetensors({"a": a, "b": b}, path)
    first = path.read_bytes()
    write_safetensors({"b": b, "a": a}, path)
    assert path.read_bytes() == first


def test_folder_that_does_not_exist_is_told(tmp_path):
    with pytest.raises(OutputError, match="Create it first"):
        write_safetensors({"a": torch.ones(1)}, tmp_path / "no" / "w.safetensors")


def test_missing_weights_ask_for_the_whole_directory(path):
    with pytest.raises(EnsembleError, match=r"missing\. Copy the whole ensemble directory again"):
        read_safetensors(path)


@pytest.mark.parametrize("keep", [0, 4, 9, 40, -1])
def test_cut_weights_are_refused(path, keep):
    save_file({"a": torch.ones(8)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EnsembleError, match=r"w\.safetensors: not a whole safetensors file"):
        read_safetensors(path)


def test_folder_in_place_of_weights_is_refused(path):
    path.mkdir()
    with pytest.raises(EnsembleError, match="not a whole safetensors file"):
        read_safetensors(path)


class Trap:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize(
    "write", [torch.save, lambda trap, path: path.write_bytes(pickle.dumps(trap))]
)
def test_pickle_is_refused_unread(path, tmp_path, write):
    write(Trap(tmp_path / "executed"), path)
    with pytest.raises(EnsembleError, match="are never opened"):
        read_safetensors(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "tensor 'bias' is missing"),
        ({"scale": torch.ones(1)}, "tensor 'scale' has no place in the network"),
        (
            {"weight": torch.ones(3, 2)},
            "'weight' has shape (3, 2), but the card's network needs (2, 3)",
        ),
        ({"bias": torch.tensor([0.0, torch.nan])}, "tensor 'bias' holds NaN or infinity"),
    ],
)
def test_weights_of_another_network_are_named(path, change, message):
    network = nn.Linear(3, 2)
    tensors = dict(network.state_dict()) | change
    before = network.weight.clone()
    with pytest.raises(EnsembleError, match=re.escape(message)) as caught:
        load_weights(network, {k: v for k, v in tensors.items() if v is not None}, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert torch.equal(network.weight, before)


def test_weights_that_fit_are_taken(path):
    network = nn.Linear(3, 2)
    tensors = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    load_weights(network, tensors, path)
    assert network(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[6.0, 6.0]]
