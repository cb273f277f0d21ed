"""Folding: a trained network as plain convolutions with bias, for prediction only."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from targetsel.networks.deconvolution import Deconvolution
from targetsel.networks.network import Network


def fold(network: Network) -> Network:
    """A network that predicts the same, with deconvolutions and batch normalisation folded in.

    What a deconvolution subtracts is one mean for each place in the patch, and a padded zero is a
    patch element like any other, so the padding stays and the border comes out the same. Weights
    are folded in float64, stored in float32, and laid out with the channels last, in which plain
    convolutions are fastest. The given network is left as it was; the folded one is not for
    training, and its weights do not fit the plan.
    """
    folded = copy.deepcopy(network).eval()
    for layer in list(folded.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.Sequential):
                setattr(layer, name, nn.Sequential(*_folded_layers(list(child))))
    folded.requires_grad_(False)
    return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _folded_layers(layers: list[nn.Module]) -> list[nn.Module]:
    """Layers in a row, each convolution with what follows it in one."""
    folded: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, Deconvolution):
            wide = copy.deepcopy(layer).double()
            weight, bias = wide.folded(wide.running_mean, wide.running_deconv)
            folded.append(_plain(layer, weight, bias))
        elif isinstance(layer, nn.BatchNorm2d) and isinstance(folded[-1], nn.Conv2d):
            folded[-1] = _normalised(folded[-1], layer)
        else:
            folded.append(layer)
    return folded


def _normalised(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution and the batch normalisation after it, in one."""
    wide, norm = copy.deepcopy(convolution).double(), copy.deepcopy(norm).double()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    before = 0.0 if wide.bias is None else wide.bias
    bias = norm.bias + gain * (before - norm.running_mean)
    return _plain(convolution, wide.weight * gain[:, None, None, None], bias)


def _plain(layer: Any, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution of this weight and bias with the stride, padding and groups of `layer`."""
    n_out, n_in, kernel, _ = weight.shape
    groups, place = layer.groups, (layer.stride, layer.padding, layer.dilation)
    plain = nn.Conv2d(n_in * groups, n_out, kernel, *place, groups, device=weight.device)
    plain.load_state_dict({"weight": weight.detach().float(), "bias": bias.detach().float()})
    return plain
