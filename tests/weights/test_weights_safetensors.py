import os
import pickle
import random
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
    with pytest.raises(EnsembleError, match=r"no such file; expected weights\. Name the folder"):
        read_safetensors(path)


@pytest.mark.parametrize("keep", [0, 4, 9, 40, -1])
def test_cut_weights_are_refused(path, keep):
    save_file({"a": torch.ones(8)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EnsembleError, match=r"w\.safetensors: not a safetensors file, or damaged"):
        read_safetensors(path)


def test_folder_in_place_of_weights_is_refused(path):
    path.mkdir()
    with pytest.raises(EnsembleError, match="not a safetensors file, or damaged"):
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
        ({"scale": torch.ones(1)}, "tensor 'scale' has no place in this network"),
        (
            {"weight": torch.ones(3, 2)},
            "'weight' has shape (3, 2), but the network needs (2, 3)",
        ),
        ({"bias": torch.tensor([0.0, torch.nan])}, "tensor 'bias' holds NaN or infinity"),
        (
            {"bias": torch.tensor([1, 2])},
            "tensor 'bias' holds int64, but the network needs float32",
        ),
        ({"bias": torch.ones(2) * 1j}, "'bias' holds complex64, but the network needs float32"),
        ({"bias": torch.tensor([0.0, 1e300], dtype=torch.float64)}, "numbers beyond float32"),
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


@pytest.mark.parametrize(
    "kind", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn]
)
def test_floats_of_any_width_are_taken_as_the_numbers_that_they_are(path, kind):
    network = nn.Linear(3, 2)
    values = {"weight": torch.tensor([[0.5, 1.0, -2.0]] * 2), "bias": torch.tensor([1.5, 0.25])}
    save_file({name: each.to(kind) for name, each in values.items()}, path)
    load_weights(network, read_safetensors(path), path)
    assert network.weight.dtype == torch.float32
    assert torch.equal(network.weight, values["weight"])
    assert torch.equal(network.bias, values["bias"])


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A file with bits turned, a part cut, doubled or zeroed, or a number of its header changed."""
    size = 8 + int.from_bytes(content[:8], "little")
    kind = rng.randrange(5)
    place = rng.randrange(rng.choice([size, len(content)]))
    if kind == 0:
        return content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
    if kind == 1:
        return content[:place]
    if kind == 2:
        return content[:place] + content[place // 2 :]
    if kind == 3:
        return content[:place] + bytes(min(16, len(content) - place)) + content[place + 16 :]
    numbers = list(re.finditer(rb"\d+", content[8:size]))
    chosen = rng.choice(numbers)
    other = rng.choice([b"0", b"-1", b"18446744073709551615", b"99999999", b"1"])
    header = content[8 : 8 + chosen.start()] + other + content[8 + chosen.end() : size]
    return len(header).to_bytes(8, "little") + header + content[size:]


def test_damaged_weights_are_refused_in_one_line_or_of_the_right_shape(path):
    network = nn.Linear(3, 2)
    save_file(dict(network.state_dict()), path)
    content, rng = path.read_bytes(), random.Random(0)
    told = []
    for _ in range(300):
        path.write_bytes(mutated(content, rng))
        try:
            load_weights(nn.Linear(3, 2), read_safetensors(path), path)
        except EnsembleError as error:
            told.append(str(error))
    assert len(told) > 200
    assert all(each.startswith(f"{path}: ") and "\n" not in each for each in told)
