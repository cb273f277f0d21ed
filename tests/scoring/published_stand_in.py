"""Stand-ins of the published hybrid: independent code, with layers and files named as fastai's."""

import math
from functools import cache

import torch
from torch import nn
from torch.nn import functional

SIZE = 33
WIDTH = 0.25


class StandInDeconv(nn.Module):
    """Evaluation of a deconvolution, patch by patch."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        d = n_in * 9
        self.stride = stride
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 3, 3) / math.sqrt(d))
        self.bias = nn.Parameter(torch.randn(n_out) * 0.1)
        self.register_buffer("running_mean", torch.randn(d) * 0.3)
        self.register_buffer("running_deconv", torch.eye(d) + 0.05 * torch.randn(d, d))

    def forward(self, x):
        patches = functional.unfold(x, 3, padding=1, stride=self.stride).transpose(1, 2)
        whitened = (patches - self.running_mean) @ self.running_deconv.T
        out = whitened @ self.weight.flatten(1).T + self.bias
        side = math.isqrt(out.shape[1])
        return out.transpose(1, 2).reshape(len(x), -1, side, side)


def normalisation(n):
    layer = nn.BatchNorm2d(n)
    nn.init.normal_(layer.running_mean, std=0.1)
    nn.init.uniform_(layer.running_var, 0.5, 2)
    nn.init.uniform_(layer.weight, 0.5, 1)
    nn.init.normal_(layer.bias, std=0.1)
    return layer


def conv_layer(n_in, n_out, kernel, stride=1, groups=1, activate=True):
    conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, normalisation(n_out), *([nn.Mish()] if activate else []))


class StandInSqueeze(nn.Module):
    def __init__(self, n):
        super().__init__()
        hidden = math.ceil(n // 8 / 8) * 8
        self.layers = nn.ModuleList(
            [nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Conv2d(n, hidden, 1), nn.Mish()),
             nn.Sequential(nn.Conv2d(hidden, n, 1), nn.Sigmoid()), nn.Identity()]
        )  # fmt: skip

    def forward(self, x):
        pooled, first, second, _ = self.layers
        return x * second(first(pooled(x)))


class StandInAttention(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv = nn.utils.spectral_norm(nn.Conv1d(n, n, 1, bias=False))
        self.gamma = nn.Parameter(torch.tensor([0.02]))

    def forward(self, x):
        flat = x.flatten(2)
        return x + (self.gamma * (flat @ flat.transpose(1, 2) @ self.conv(flat))).view_as(x)


class StandInBlock(nn.Module):
    def __init__(self, n_in, n_out, stride, attention):
        super().__init__()
        path = [
            conv_layer(n_in, n_out, 3, stride, groups=math.gcd(64, n_in)),
            conv_layer(n_out, n_out, 3, activate=False),
            StandInSqueeze(n_out),
        ]
        self.convpath = nn.Sequential(*path, *([StandInAttention(n_out)] if attention else []))
        self.idpath = nn.Sequential(
            *([nn.AvgPool2d(stride, ceil_mode=True)] if stride > 1 else []),
            *([conv_layer(n_in, n_out, 1, activate=False)] if n_in != n_out else []),
        )

    def forward(self, x):
        return functional.mish(self.convpath(x) + self.idpath(x))


@cache
def stand_in(width=WIDTH, seed=0):
    """A hybrid with random weights and running statistics, layer by layer as published."""
    torch.manual_seed(seed)
    stem = [int(width * n) for n in (32, 32, 64)]
    layers = [
        nn.Sequential(StandInDeconv(n_in, n_out, 2 if k == 0 else 1), nn.Mish())
        for k, (n_in, n_out) in enumerate(zip([5, *stem], stem, strict=False))
    ]
    layers.append(nn.MaxPool2d(3, 2, 1))
    n_in = stem[-1]
    for k, n_out in enumerate(int(width * n) for n in (64, 128, 256, 512)):
        layers.append(
            nn.Sequential(
                StandInBlock(n_in, n_out, 2 if k else 1, attention=False),
                StandInBlock(n_out, n_out, 1, attention=k == 0),
            )
        )
        n_in = n_out
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.0), nn.Linear(n_in, 6)]
    network = nn.Sequential(*layers)
    with torch.no_grad():
        network(torch.randn(2, 5, SIZE, SIZE))  # a step of the spectral norm's power iteration
    return network.eval()


def saved(network, path, beside=True, zipped=False):
    """The file that fastai's `save` writes: weights under `model`, optimiser state under `opt`."""
    state = network.state_dict()
    if beside:
        moments = [{"grad_avg": torch.zeros_like(p), "step": 3} for p in network.parameters()]
        state = {"model": state, "opt": {"state": moments, "hypers": [{"lr": 1e-3, "mom": 0.95}]}}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    return path
