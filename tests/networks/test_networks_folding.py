"""Folded networks: plain convolutions that predict the same, to the last pixel of the border."""

import numpy as np
import pytest
import torch
from torch import nn

from targetsel.networks.deconvolution import Deconvolution, _folded_layers, fold
from targetsel.networks.network import Network, NetworkPlan, presets
from tests.networks import slow_deconvolution as slow


def trained(plan, size=(33, 30), steps=2):
    """A network whose statistics, biases and gains are no longer those of the start."""
    torch.manual_seed(7)
    network = Network(plan).train()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter += 0.05 * torch.randn_like(parameter)
        for _ in range(steps):
            network(torch.randn(4, plan.n_bands, *size) + 0.3)
    return network.eval()


@pytest.mark.parametrize("name", presets())
def test_a_folded_preset_predicts_the_same_on_odd_sizes_with_plain_convolutions_alone(name):
    network = trained(presets()[name])
    folded = fold(network)
    x = torch.randn(2, 5, 37, 29) + 0.3
    with torch.inference_mode():
        for found, expected in zip(folded(x), network(x), strict=True):
            assert torch.allclose(found, expected, atol=1e-5)
        assert torch.allclose(folded.features(x), network.features(x), atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d | Deconvolution) for m in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 18},
        {"depth": 34},
        {"depth": 50},
        {"photometry": 8},
        {"photometry": 8, "width": 0},
    ],
)
def test_narrow_networks_of_every_depth_and_with_photometry_fold(options):
    network = trained(NetworkPlan(**{"n_bands": 2, "n_latents": 3, "width": 0.125} | options))
    x = torch.randn(3, 2, 31, 33)
    with torch.inference_mode():
        for found, expected in zip(fold(network)(x), network(x), strict=True):
            assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_folded_border_is_that_of_whitened_patches_with_padded_zeros(stride, groups):
    torch.manual_seed(2)
    layer = Deconvolution(4, 6, stride=stride, groups=groups, block=2)
    torch.nn.init.normal_(layer.bias, std=0.1)
    for _ in range(5):
        layer(torch.randn(4, 4, 11, 9) + 2.0)  # a mean far from the zeros around the image
    (plain,) = _folded_layers([layer.eval()])
    x = torch.randn(2, 4, 11, 9) + 2.0
    means = layer.running_mean.double().numpy().reshape(groups, -1)
    whitenings = layer.running_deconv.double().numpy().reshape(groups, layer.size, layer.size)
    expected = slow.deconvolution(
        x.numpy(),
        layer.weight.detach().double().numpy(),
        layer.bias.detach().double().numpy(),
        means,
        whitenings,
        stride=stride,
        padding=1,
        groups=groups,
        n_blocks=layer.n_blocks,
    )
    assert type(plain) is nn.Conv2d
    assert np.abs(plain(x).detach().numpy() - expected).max() < 1e-5


def test_folding_leaves_the_network_as_it_was_and_folds_nothing_twice():
    network = trained(NetworkPlan(n_bands=2, n_latents=2, width=0.125))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold(network)
    assert before.keys() == network.state_dict().keys()
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    again = fold(folded).state_dict()
    assert all(torch.equal(again[name], t) for name, t in folded.state_dict().items())


def test_folded_weights_and_maps_have_their_channels_last():
    folded = fold(trained(NetworkPlan(n_bands=2, n_latents=2, width=0.125)))
    assert folded.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    maps = folded.stem(torch.randn(2, 2, 16, 16))
    assert maps.is_contiguous(memory_format=torch.channels_last)
