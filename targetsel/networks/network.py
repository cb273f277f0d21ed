"""The networks that predict latents from cutouts: one family of architectures, set by a plan.

A network may predict the redshift too, as one more target after the latents: its standardised
ln(1 + redshift). The targets share a mean and a full covariance.

The xresnet plan (He et al. 2019, arXiv:1812.01187) with network deconvolution in the stem,
everywhere or nowhere: the three contenders of Wu & Peek (2020, arXiv:2009.12318, Fig. 3), of which
the first is their hybrid. The head gives a mean and a full covariance, or the mean alone as
published. Aperture photometry of the cutout itself can join the pooled features, or stand alone,
and so can features of a vector: an embedding of the source by another model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field, StrictBool, model_validator
from torch import Tensor, nn
from torch.nn import functional

from targetsel.documents.models import DocumentModel, FromList
from targetsel.networks.aperture_photometry import Photometry
from targetsel.networks.deconvolution import Deconvolution
from targetsel.networks.redshift_scale import RedshiftScale
from targetsel.weights.safetensors import load_weights, read_safetensors

STEM_WIDTHS = (32, 32, 64)
STAGE_WIDTHS = (64, 128, 256, 512)
BLOCKS = {0: (), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}  # by depth, in each stage
BOTTLENECK_DEPTH = 50  # from this depth on blocks have three convolutions
EXPANSION = 4  # output channels of a bottleneck over its inner ones
ACTIVATIONS = {"relu": nn.ReLU, "mish": nn.Mish}
DIAGONAL_FLOOR = 1e-2

Numbers = TypeVar("Numbers", Tensor, np.ndarray)


class NetworkPlan(DocumentModel):
    """Architecture of a network, and its assumed error where it predicts the mean alone.

    Attributes
    ----------
    n_bands, n_latents : int
    width : float
        Width of every layer, 1 as published; 0 is without convolutions, on photometry alone.
    depth : 18, 34, 50 or 0
        Depth of the residual network; 0 is the stem alone, without pooling: the tiny baselines.
    deconvolution : "stem", "everywhere" or "nowhere"
        The part whose convolutions whiten their patches; the others are batch normalised.
    groups : int
        Largest number of groups of the first 3x3 convolution of each block: the greatest common
        divisor of this and its channels.
    squeeze : int
        Reduction of the channels in squeeze-and-excitation; 0 is without.
    attention : bool
        Self-attention in the last block of the first stage.
    activation : "relu" or "mish"
    head : "covariance" or "mean"
        Whether the network predicts the latents' covariance too.
    redshift : RedshiftScale or None
        For a network that predicts the redshift too: the scale of its last target.
    latent_rmse : tuple of D floats
        For a network that predicts the mean alone: its error in each standardised target, which
        serves as the posterior's standard deviation for every source. Ones if empty.
    photometry : int
        Number of features that aperture photometry of the cutout adds to the pooled ones; 0 is
        without, as published.
    softening : float
        Softening of the input's asinh stretch, which the photometry undoes [sky sigma]; 0 is
        linear.
    vector : int
        Number of numbers of a source's vector; 0 is without. `n_bands` is 0 where networks take
        vectors and no cutouts.
    vector_features : int
        Number of features that the vector adds to the pooled ones.
    """

    n_bands: Annotated[int, Field(ge=0, le=1000)] = 5
    n_latents: Annotated[int, Field(ge=1, le=1000)] = 6
    width: Annotated[float, Field(ge=0, le=16)] = 1.0
    depth: Literal[0, 18, 34, 50] = 18
    deconvolution: Literal["stem", "everywhere", "nowhere"] = "stem"
    groups: Annotated[int, Field(ge=1, le=10_000)] = 1
    squeeze: Annotated[int, Field(ge=0, le=10_000)] = 0
    attention: StrictBool = False
    activation: Literal["relu", "mish"] = "relu"
    head: Literal["covariance", "mean"] = "covariance"
    redshift: RedshiftScale | None = None
    latent_rmse: Annotated[tuple[Annotated[float, Field(gt=0)], ...], FromList] = ()
    photometry: Annotated[int, Field(ge=0, le=10_000)] = 0
    softening: Annotated[float, Field(ge=0)] = 0.0
    vector: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    vector_features: Annotated[int, Field(ge=0, le=10_000)] = 0

    @model_validator(mode="after")
    def _check(self) -> NetworkPlan:
        if not self.width and not self.photometry and not self.vector:
            raise ValueError(
                "width and photometry are both 0, so the network sees nothing; set one of them"
            )
        if not self.n_bands and (self.width or self.photometry):
            raise ValueError(
                "n_bands is 0, so there are no cutouts; expected 0 for width and photometry too"
            )
        if bool(self.vector) != bool(self.vector_features):
            raise ValueError(
                f"vector is {self.vector} and vector_features {self.vector_features}; expected "
                "both above 0, or both 0"
            )
        if self.latent_rmse and self.head != "mean":
            raise ValueError(
                "latent_rmse is given, but a network whose head is 'covariance' predicts its "
                "errors itself; leave it out, or set head to 'mean'"
            )
        if self.latent_rmse and len(self.latent_rmse) != self.n_targets:
            also = " and one for the redshift" if self.redshift else ""
            raise ValueError(
                f"latent_rmse has {len(self.latent_rmse)} numbers; expected {self.n_targets}, one "
                f"for each latent{also}"
            )
        return self

    @property
    def n_targets(self) -> int:
        """Number D of what the network predicts: latents, and perhaps the redshift."""
        return self.n_latents + (self.redshift is not None)

    @property
    def n_features(self) -> int:
        """Number of features that the head takes."""
        beside = self.photometry + self.vector_features
        if not self.width:
            return beside
        last = STAGE_WIDTHS[-1] if self.depth else STEM_WIDTHS[-1]
        expansion = EXPANSION if self.depth >= BOTTLENECK_DEPTH else 1
        return expansion * self.channels(last) + beside

    def channels(self, full: int) -> int:
        """Channels of a layer that has `full` of them at width 1."""
        return max(8, round(full * self.width))


def convolution(
    n_in: int,
    n_out: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    whiten: bool = False,
    padding: int | None = None,
) -> list[nn.Module]:
    """A deconvolution with bias, or a plain convolution and batch normalisation."""
    padding = kernel // 2 if padding is None else padding
    if whiten:
        return [Deconvolution(n_in, n_out, kernel, stride, padding, groups=groups)]
    return [
        nn.Conv2d(n_in, n_out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(n_out),
    ]


class SqueezeExcitation(nn.Module):
    """Channels weighted by functions of all channel means: Hu et al. (2018, arXiv:1709.01507)."""

    def __init__(self, n: int, reduction: int, activation: str):
        super().__init__()
        hidden = max(8, math.ceil(n // reduction / 8) * 8)
        self.squeeze = nn.Conv2d(n, hidden, 1)
        self.activation = ACTIVATIONS[activation]()
        self.excite = nn.Conv2d(hidden, n, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        return x * self.excite(self.activation(self.squeeze(mean))).sigmoid()


class SelfAttention(nn.Module):
    """Channels mixed by their correlations: gamma (x x^T) (A x) + x for maps x, (C, H W).

    There is no softmax, so the cost is linear in the pixels. A is kept at unit spectral norm by
    one power iteration for each step of training (Miyato et al. 2018, arXiv:1802.05957); gamma
    starts at zero. The sum over pixels is not a mean: it needs float32.
    """

    def __init__(self, n: int):
        super().__init__()
        self.weight = nn.Parameter(nn.init.kaiming_normal_(torch.empty(n, n)))
        self.gamma = nn.Parameter(torch.zeros(1))
        self.register_buffer("left", functional.normalize(torch.randn(n), dim=0))
        self.register_buffer("right", functional.normalize(torch.randn(n), dim=0))
        self.left: Tensor
        self.right: Tensor

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            flat = x.to(torch.promote_types(x.dtype, torch.float32)).flatten(2)
            gram = flat @ flat.transpose(1, 2)
            return self.gamma * (gram @ self._normed() @ flat).reshape(x.shape) + x

    def _normed(self) -> Tensor:
        """The mixing matrix divided by its largest singular value, (C, C)."""
        if self.training:
            with torch.no_grad():
                self.right.copy_(functional.normalize(self.weight.mT @ self.left, dim=0))
                self.left.copy_(functional.normalize(self.weight @ self.right, dim=0))
        left, right = self.left.clone(), self.right.clone()  # the next step overwrites them
        return self.weight / torch.dot(left, self.weight @ right)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of three, beside a shortcut; `n_out` channels."""

    def __init__(
        self, plan: NetworkPlan, n_in: int, n: int, stride: int = 1, attention: bool = False
    ):
        super().__init__()
        whiten, activation = plan.deconvolution == "everywhere", ACTIVATIONS[plan.activation]
        if plan.depth < BOTTLENECK_DEPTH:
            self.n_out, n_grouped = n, n_in
            main: list[nn.Module] = []
        else:
            self.n_out, n_grouped = EXPANSION * n, n
            main = [*convolution(n_in, n, 1, whiten=whiten), activation()]
        groups = math.gcd(plan.groups, n_grouped, n)
        main += [*convolution(n_grouped, n, 3, stride, groups, whiten), activation()]
        main += convolution(n, self.n_out, 3 if self.n_out == n else 1, whiten=whiten)
        if isinstance(main[-1], nn.BatchNorm2d):
            nn.init.zeros_(main[-1].weight)  # each block starts as its shortcut
        if plan.squeeze:
            main.append(SqueezeExcitation(self.n_out, plan.squeeze, plan.activation))
        if attention:
            main.append(SelfAttention(self.n_out))
        self.main = nn.Sequential(*main)
        shortcut: list[nn.Module] = []
        if stride != 1:
            shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if n_in != self.n_out:
            shortcut += convolution(n_in, self.n_out, 1, whiten=whiten)
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.main(x) + self.shortcut(x))
        return result


class Network(nn.Module):
    """Inputs to targets: mean (N, D) and Cholesky factor (N, D, D).

    Inputs are stretched cutouts (N, B, H, W), standardised vectors (N, E), or both in rows
    (N, B H W + E), as `InputPlans.prepare` makes them.
    """

    def __init__(self, plan: NetworkPlan):
        super().__init__()
        self.plan = plan
        n_in, d = 0, plan.n_targets
        if plan.width:
            self.stem, n_in = self._stem()
            self.pool = nn.MaxPool2d(3, 2, 1) if plan.depth else nn.Identity()
            self.stages, n_in = self._stages(n_in)
        if plan.photometry:
            self.photometry = Photometry(
                plan.n_bands, plan.photometry, ACTIVATIONS[plan.activation], plan.softening
            )
            n_in += plan.photometry
        if plan.vector:
            activation = ACTIVATIONS[plan.activation]
            self.vector = nn.Sequential(
                nn.Linear(plan.vector, plan.vector_features),
                activation(),
                nn.Linear(plan.vector_features, plan.vector_features),
                activation(),
            )
            n_in += plan.vector_features
        self.head = nn.Linear(n_in, d if plan.head == "mean" else d + d * (d + 1) // 2)
        # On the device "meta", where a network is built to be read, there are no numbers to draw;
        # to pretend it, PyTorch imports its compiler, in a second of every command.
        if not self.head.weight.is_meta:
            self._draw_weights()

    def _draw_weights(self) -> None:
        """Give kernels and matrices random numbers, as training begins with."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if self.plan.head == "covariance":
            nn.init.normal_(self.head.weight, std=0.01)

    def _stem(self) -> tuple[nn.Sequential, int]:
        """Three convolutions, and the number of channels of the last."""
        plan = self.plan
        whiten = plan.deconvolution != "nowhere"
        strides = (2, 1, 1) if plan.depth else (2, 2, 1)
        padding = 0 if whiten and plan.depth == 0 else 1  # as that tiny baseline was published
        stem: list[nn.Module] = []
        n_in = plan.n_bands
        for full, stride in zip(STEM_WIDTHS, strides, strict=True):
            n_out = plan.channels(full)
            stem += convolution(n_in, n_out, 3, stride, whiten=whiten, padding=padding)
            stem.append(ACTIVATIONS[plan.activation]())
            n_in = n_out
        return nn.Sequential(*stem), n_in

    def _stages(self, n_in: int) -> tuple[nn.Sequential, int]:
        """Residual blocks of all stages in sequence, and the number of channels of the last."""
        stages: list[ResidualBlock] = []
        for k, blocks in enumerate(BLOCKS[self.plan.depth]):
            for block in range(blocks):
                stages.append(
                    ResidualBlock(
                        self.plan,
                        n_in,
                        self.plan.channels(STAGE_WIDTHS[k]),
                        stride=2 if k > 0 and block == 0 else 1,
                        attention=self.plan.attention and k == 0 and block == blocks - 1,
                    )
                )
                n_in = stages[-1].n_out
        return nn.Sequential(*stages), n_in

    def features(self, x: Tensor, photometry: Tensor | None = None) -> Tensor:
        """Globally averaged features (N, F), F = 512 x width of a network of depth 18, followed by
        those of the photometry and of the vector.

        Parameters
        ----------
        photometry : Tensor, shape (N, 7 B), optional
            Result of `measure_photometry` for these cutouts, if it is known already.
        """
        cutouts, vectors = parted(x, self.plan)
        found: list[Tensor] = []
        if self.plan.width:
            found.append(self.stages(self.pool(self.stem(cutouts))).mean(dim=(2, 3)))
        if self.plan.photometry:
            numbers = self.measure_photometry(x) if photometry is None else photometry
            assert numbers is not None
            found.append(self.photometry.of_numbers(numbers))
        if self.plan.vector:
            found.append(self.vector(vectors))
        return torch.cat(found, dim=1)

    def measure_photometry(self, x: Tensor) -> Tensor | None:
        """Aperture photometry of cutouts, the same for networks of one plan; None without it."""
        return self.photometry.measured(parted(x, self.plan)[0]) if self.plan.photometry else None

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (N, D) and lower Cholesky factor of the covariance (N, D, D) from features."""
        d = self.plan.n_targets
        numbers = self.head(features)
        if self.plan.head == "mean":
            rmse = numbers.new_tensor(self.plan.latent_rmse or (1.0,) * d)
            return numbers, torch.diag_embed(rmse.expand_as(numbers))
        factor = features.new_zeros(features.shape[0], d, d)
        rows, columns = torch.tril_indices(d, d, device=features.device)
        factor[:, rows, columns] = numbers[:, d:]
        diagonal = functional.softplus(factor.diagonal(dim1=1, dim2=2)) + DIAGONAL_FLOOR
        return numbers[:, :d], factor.tril(-1) + torch.diag_embed(diagonal)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.posterior(self.features(x))

    def without_redshift(self) -> Network:
        """A network that predicts the latents as this one, and no redshift; in training mode."""
        plan, state, d = self.plan, dict(self.state_dict()), self.plan.n_latents
        if plan.redshift is not None:
            # The last row of the factor is the redshift's, those before are the latents' factor.
            kept = [*range(d)]
            if plan.head == "covariance":
                kept += range(d + 1, d + 1 + d * (d + 1) // 2)
            state |= {name: state[name][kept] for name in ("head.weight", "head.bias")}
            rmse = plan.latent_rmse[:d]
            plan = plan.model_copy(update={"redshift": None, "latent_rmse": rmse})
        network = Network(plan)
        network.load_state_dict(state)
        return network

    @classmethod
    def read(cls, plan: NetworkPlan, path: Path) -> Network:
        """The network of a plan with the weights in a safetensors file.

        Memory follows the file, whatever the plan says.

        Raises
        ------
        EnsembleError
            If the file is missing or damaged, or holds the weights of another network.
        """
        tensors = read_safetensors(path)
        with torch.device("meta"):
            network = cls(plan)
        load_weights(network, tensors, path, assign=True)
        return network


def parted(x: Numbers, plan: NetworkPlan) -> tuple[Numbers, Numbers]:
    """The stretched cutouts (N, B, H, W) and the vectors (N, E) in the inputs of a network.

    Where the network takes one kind alone, the other is the same array.
    """
    if not plan.vector or not plan.n_bands:
        return x, x
    pixels, vectors = x[:, : -plan.vector], x[:, -plan.vector :]
    side = math.isqrt(pixels.shape[1] // plan.n_bands)
    return pixels.reshape(len(x), plan.n_bands, side, side), vectors


# ---------------------------------------------------------------- the published networks


def presets() -> dict[str, NetworkPlan]:
    """Plans of the published networks, by name.

    Wu & Peek (2020, arXiv:2009.12318) compare the first three; the tiny ones are their baselines.
    All take five bands and predict the mean of six latents.
    """
    return {
        "hybrid": _published("stem"),
        "batch-normalisation": _published("nowhere"),
        "full-deconvolution": _published("everywhere"),
        "tiny-deconvolution": NetworkPlan(depth=0, deconvolution="stem", head="mean"),
        "tiny-batch-normalisation": NetworkPlan(depth=0, deconvolution="nowhere", head="mean"),
    }


def count_parameters(plan: NetworkPlan) -> int:
    """Number of trainable parameters of a network of this plan; none of them is allocated."""
    with torch.device("meta"):
        network = Network(plan)
    return sum(parameter.numel() for parameter in network.parameters())


def _published(deconvolution: Literal["stem", "everywhere", "nowhere"]) -> NetworkPlan:
    return NetworkPlan(
        deconvolution=deconvolution,
        groups=64,
        squeeze=8,
        attention=True,
        activation="mish",
        head="mean",
    )
