"""Network deconvolution against a slow float64 one, the original's numbers, tabulated curves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from targetsel.networks.deconvolution import (
    Deconvolution,
    exact_inverse_square_root,
    inverse_square_root,
)
from tests.networks import slow_deconvolution as slow

LAYERS = {
    "5 bands, stride 2": {"in_channels": 5, "out_channels": 4, "stride": 2},
    "three interleaved blocks": {"in_channels": 6, "out_channels": 4, "block": 2},
    "blocks of the common divisor": {"in_channels": 6, "out_channels": 3, "block": 4, "stride": 2},
    "one pixel": {"in_channels": 6, "out_channels": 4, "kernel": 1, "stride": 2, "block": 3},
    "two groups": {"in_channels": 4, "out_channels": 6, "groups": 2, "stride": 2},
    "dilated, unpadded": {"in_channels": 2, "out_channels": 3, "dilation": 2, "padding": 0},
    "without bias": {"in_channels": 2, "out_channels": 3, "bias": False},
}


def images(channels, shape=(2, 11, 9), seed=0):
    """Correlated maps whose means are not zero, float32, odd sizes."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(shape[0], channels, *shape[1:])) + 0.7
    maps = np.einsum("ij,njhw->nihw", rng.normal(size=(channels, channels)), noise)
    return torch.from_numpy(maps.astype(np.float32))


def layer_and_slow_options(arguments):
    torch.manual_seed(4)
    layer = Deconvolution(**arguments)
    torch.nn.init.normal_(layer.weight, std=0.1)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias, std=0.1)
    options = {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
        "n_blocks": layer.n_blocks,
    }
    return layer, options


def weights_of(layer):
    bias = np.zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach().numpy()
    return layer.weight.detach().numpy().astype(float), bias.astype(float)


# ---------------------------------------------------------------- inverse square roots


@pytest.mark.parametrize(
    ("fraction", "whitened"),
    [(0.6, 1.0), (0.3, 1.0), (0.042, 0.95), (0.0050, 0.50), (1e-3, 0.24), (1e-6, 0.008)],
)
def test_five_steps_whiten_an_eigenvalue_by_the_tabulated_fraction(fraction, whitened):
    covariance = torch.diag(torch.tensor([fraction, (1 - fraction**2) ** 0.5], dtype=torch.float64))
    root = inverse_square_root(7.0 * covariance)[0, 0] * (7.0 * fraction) ** 0.5
    assert root.item() == pytest.approx(whitened, abs=0.005 if whitened > 0.1 else 0.0005)


def test_no_direction_is_amplified_more_than_by_three_halves_to_the_fifth():
    covariance = torch.diag(torch.tensor([1e-12, 1.0], dtype=torch.float64))
    assert inverse_square_root(covariance)[0, 0].item() == pytest.approx(7.59375, rel=1e-6)


def test_many_steps_come_to_the_exact_inverse_square_root():
    samples = images(6).double().permute(1, 0, 2, 3).reshape(6, -1)
    covariance = torch.cov(samples)
    exact = exact_inverse_square_root(covariance)
    assert torch.allclose(exact @ covariance @ exact, torch.eye(6).double(), atol=1e-10)
    assert torch.allclose(inverse_square_root(covariance, 40), exact, atol=1e-8)
    assert (inverse_square_root(covariance, 5) - exact).norm() > 0.1 * exact.norm()


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_the_exact_root_has_the_right_gradient_even_for_equal_eigenvalues(spread):
    torch.manual_seed(0)
    half = spread * torch.randn(4, 4, dtype=torch.float64)
    covariance = (2 * torch.eye(4, dtype=torch.float64) + half @ half.T).requires_grad_()

    def symmetric_root(matrix):
        return exact_inverse_square_root((matrix + matrix.T) / 2)

    assert torch.autograd.gradcheck(symmetric_root, covariance)


# ---------------------------------------------------------------- the layer


@pytest.mark.parametrize("arguments", LAYERS.values(), ids=LAYERS.keys())
def test_training_agrees_with_whitening_every_patch_by_itself(arguments):
    layer, options = layer_and_slow_options(arguments)
    x = images(arguments["in_channels"])
    found = layer(x).detach().numpy()
    means, whitenings = slow.statistics(x.numpy(), layer.kernel, **options)
    expected = slow.deconvolution(x.numpy(), *weights_of(layer), means, whitenings, **options)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("arguments", LAYERS.values(), ids=LAYERS.keys())
def test_running_averages_keep_nine_tenths_of_themselves_at_each_step(arguments):
    layer, options = layer_and_slow_options(arguments)
    mean, whitening = 0.0, np.eye(layer.size)
    for step in range(3):
        x = images(arguments["in_channels"], seed=step)
        layer(x)
        means, whitenings = slow.statistics(x.numpy(), layer.kernel, **options)
        mean = 0.9 * mean + 0.1 * np.stack(means)
        whitening = 0.9 * whitening + 0.1 * np.stack(whitenings)
    assert np.abs(layer.running_mean.numpy() - mean.ravel()).max() < 1e-5
    assert layer.running_mean.shape == (mean.size,)
    assert np.abs(layer.running_deconv.numpy() - whitening).max() < 1e-5
    layer.eval()
    found = layer(x).detach().numpy()
    expected = slow.deconvolution(x.numpy(), *weights_of(layer), mean, whitening, **options)
    assert np.abs(found - expected).max() < 1e-5


def test_the_first_state_weighs_a_third_after_ten_steps():
    layer = Deconvolution(1, 1, kernel=1)
    layer.running_mean.fill_(1.0)
    for _ in range(10):
        layer(torch.zeros(1, 1, 5, 5))
    assert layer.running_mean.item() == pytest.approx(0.9**10, rel=1e-5)
    assert 0.9**10 == pytest.approx(0.35, abs=0.005)


@pytest.mark.parametrize(
    ("channels", "groups", "size", "n_blocks"),
    [
        (5, 1, 45, 1),
        (32, 1, 288, 1),
        (64, 1, 576, 1),
        (128, 1, 576, 2),
        (96, 1, 288, 3),
        (64, 64, 9, 64),
        (128, 64, 18, 64),
    ],
)
def test_blocks_hold_at_most_64_channels_and_groups_are_their_own_blocks(
    channels, groups, size, n_blocks
):
    layer = Deconvolution(channels, channels, groups=groups)
    assert (layer.size, layer.n_blocks) == (size, n_blocks)
    assert layer.running_deconv.shape == ((groups, size, size) if groups > 1 else (size, size))


def test_evaluation_changes_no_statistics_and_treats_each_source_alone():
    layer, _ = layer_and_slow_options(LAYERS["5 bands, stride 2"])
    x = images(5)
    layer(x)
    layer.eval()
    before = layer.running_deconv.clone()
    together = layer(x)
    assert torch.equal(layer.running_deconv, before)
    assert torch.allclose(together[1:], layer(x[1:]), atol=1e-6)


def test_a_frozen_layer_trains_with_running_averages_until_the_count_starts_again():
    layer = Deconvolution(2, 2, freeze_after=1)
    changed = []
    for step in range(14):
        before = layer.running_mean.clone()
        layer(images(2, seed=step))
        changed.append(not torch.equal(before, layer.running_mean))
    assert changed == [True, True] + 8 * [False] + [True, True] + 2 * [False]


def test_statistics_are_float32_under_autocast():
    exact, under_autocast = Deconvolution(5, 4), Deconvolution(5, 4)
    x = images(5)
    exact(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = under_autocast(x)
    assert output.dtype == torch.bfloat16
    assert under_autocast.running_deconv.dtype == torch.float32
    assert torch.equal(under_autocast.running_deconv, exact.running_deconv)


def test_exact_whitening_leaves_patches_uncorrelated():
    layer = Deconvolution(2, 18, stride=1, padding=0, exact=True, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(18).reshape(18, 2, 3, 3))
    x = images(2, shape=(40, 11, 9))
    patches = layer(x)[:, :, ::3, ::3].permute(1, 0, 2, 3).reshape(18, -1)
    covariance = patches @ patches.T / patches.shape[1]
    assert torch.allclose(covariance, torch.eye(18), atol=1e-3)
    covariance.sum().backward()
    assert torch.isfinite(layer.weight.grad).all()


# ---------------------------------------------------------------- beside the original code

REFERENCE = Path(__file__).parent / "data" / "deconvolution_reference.npz"
with np.load(REFERENCE, allow_pickle=False) as _arrays:
    RECORDED = {name: _arrays[name] for name in _arrays.files}
CASES = json.loads(str(RECORDED["cases"]))
OUR_NAMES = {"kernel_size": "kernel", "freeze_iter": "freeze_after"}


@pytest.mark.parametrize("case", CASES)
def test_forward_backward_and_running_averages_agree_with_the_original_code(case):
    """Recorded by benchmarks/deconvolution_reference.py from the code of Ye et al. (2020)."""
    arguments = {OUR_NAMES.get(k, k): v for k, v in CASES[case].items() if k != "freeze"}
    layer = Deconvolution(**({"padding": 0} | arguments))

    def recorded(name):
        return torch.from_numpy(RECORDED[f"{case}/{name}"])

    layer.weight.data, layer.bias.data = recorded("weight"), recorded("bias")
    inputs = recorded("inputs")
    for step in range(len(inputs)):
        x = inputs[step].clone().requires_grad_()
        output = layer(x)
        assert torch.allclose(output, recorded(f"output {step}"), atol=1e-5), f"output {step}"
    (output * recorded("cotangent")).sum().backward()
    found = {
        "input gradient": x.grad,
        "weight gradient": layer.weight.grad,
        "bias gradient": layer.bias.grad,
        "running_mean": layer.running_mean,
        "running_deconv": layer.running_deconv,
        "evaluated": layer.eval()(inputs[0]),
    }
    for name, values in found.items():
        assert values.shape == recorded(name).shape, name
        assert torch.allclose(values, recorded(name), rtol=1e-5, atol=1e-5), name
