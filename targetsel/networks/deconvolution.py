"""Network deconvolution: a convolution that whitens its input patches first, and how to fold it.

Ye et al. (2020, ICLR, arXiv:1905.11926); the details (sampling stride, five Newton-Schulz steps,
interleaved blocks, running averages) follow the network of Wu & Peek (2020, arXiv:2009.12318).
"""

from __future__ import annotations

import copy
import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLING_STRIDE = 3
NEWTON_STEPS = 5
MOMENTUM = 0.1
EPSILON = 1e-5
BLOCK = 64

N = TypeVar("N", bound=nn.Module)


def inverse_square_root(covariance: Tensor, steps: int = NEWTON_STEPS) -> Tensor:
    """Approximate inverse square roots of covariances, shape (..., d, d).

    Coupled Newton-Schulz iteration. Five steps do not converge, on purpose: small eigenvalues are
    amplified by at most 1.5^5 relative to the norm, so the whitening is a regularised one.
    """
    norm = torch.linalg.matrix_norm(covariance, keepdim=True)
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    y, z = covariance / norm, identity.expand_as(covariance)
    for _ in range(steps):
        t = 0.5 * (3.0 * identity - z @ y)
        y, z = y @ t, t @ z
    return z / norm.sqrt()


class _ExactInverseSquareRoot(torch.autograd.Function):
    """Inverse square root through eigenvectors, whose gradient also holds for equal eigenvalues.

    In the basis of the eigenvectors the derivative is a product with divided differences of
    x^(-1/2); with s = x^(-1/2) they are -s_i^2 s_j^2 / (s_i + s_j), finite where eigenvalues meet.
    """

    @staticmethod
    def forward(ctx: Any, covariance: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance.double())
        scale = values.clamp_min(EPSILON).rsqrt()  # rounding only: no covariance has less
        ctx.save_for_backward(scale, vectors)
        return ((vectors * scale.unsqueeze(-2)) @ vectors.mT).to(covariance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        scale, vectors = ctx.saved_tensors
        one, other = scale.unsqueeze(-1), scale.unsqueeze(-2)
        differences = -((one * other) ** 2) / (one + other)
        inner = vectors.mT @ (0.5 * (gradient + gradient.mT)).double() @ vectors
        return (vectors @ (inner * differences) @ vectors.mT).to(gradient.dtype)


def exact_inverse_square_root(covariance: Tensor) -> Tensor:
    """Inverse square roots of covariances whose eigenvalues are EPSILON or more, (..., d, d)."""
    result: Tensor = _ExactInverseSquareRoot.apply(covariance)  # type: ignore[no-untyped-call]
    return result


class Deconvolution(nn.Module):
    """A 2-d convolution of decorrelated patches.

    In training the mean and covariance of the batch's patches, padding zeros included, are
    removed and their running averages kept; in evaluation the running averages are used. Either
    way the whitening acts on the weights, so the layer costs one ordinary convolution. With
    several processes each one whitens its own part of the batch.

    Parameters
    ----------
    padding : int, optional
        Zero padding on each side [pixel]; half the kernel by default.
    groups : int
        Groups of channels, as in a convolution; each group is whitened by itself.
    block : int
        Without groups, at most this many channels' worth of patch elements are whitened together
        (the greatest common divisor with the channels where it does not divide them). A patch of
        more is dealt out in turn: block j of n holds its elements j, j + n, j + 2 n, ...; all
        blocks share one mean and one whitening.
    exact : bool
        Whiten fully, by eigenvectors. It amplifies directions of little variance a hundred times
        more than the published networks do; trained weights need the default.
    freeze_after : int, optional
        After more than this many training steps use the running averages in training as well, as
        the original does: the count is not saved, and starts again after ten times as many.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        block: int = BLOCK,
        exact: bool = False,
        freeze_after: int | None = None,
    ):
        super().__init__()
        self.kernel, self.stride, self.dilation, self.groups = kernel, stride, dilation, groups
        self.padding = kernel // 2 if padding is None else padding
        self.momentum, self.exact = MOMENTUM, exact
        self.freeze_after, self.steps = freeze_after, 0
        if groups > 1:
            channels = in_channels // groups
        else:
            channels = in_channels if block > in_channels else math.gcd(block, in_channels)
        self.size = channels * kernel * kernel
        self.n_blocks = in_channels // channels
        reference = nn.Conv2d(in_channels, out_channels, kernel, groups=groups)
        self.weight = nn.Parameter(reference.weight.detach().clone())
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("running_mean", torch.zeros(groups * self.size))
        # Not `torch.eye`, which on the device "meta" imports PyTorch's compiler.
        identity = torch.zeros(self.size, self.size).fill_diagonal_(1)
        self.register_buffer(
            "running_deconv", identity.repeat(groups, 1, 1) if groups > 1 else identity
        )
        self.running_mean: Tensor
        self.running_deconv: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, out, H', W') of maps (N, in, H, W)."""
        frozen = self.freeze_after is not None and self.steps > self.freeze_after
        if self.training and not frozen:
            mean, whitening = self._statistics(x)
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_deconv.lerp_(whitening.to(self.running_deconv.dtype), self.momentum)
        else:
            mean, whitening = self.running_mean, self.running_deconv
        if self.training and self.freeze_after is not None:
            self.steps = (self.steps + 1) % (10 * self.freeze_after)
        weight, bias = self.folded(mean, whitening)
        return functional.conv2d(
            x,
            weight.to(self.weight.dtype),
            bias.to(self.weight.dtype),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )

    def folded(self, mean: Tensor, whitening: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (out, in / groups, k, k) and bias (out,) of the plain convolution that does the
        same to patches of this mean and whitening; at least in float32."""
        with torch.autocast(self.weight.device.type, enabled=False):
            dtype = torch.promote_types(self.weight.dtype, torch.float32)
            shape, n_out, weight = self.weight.shape, len(self.weight), self.weight.to(dtype)
            if self.groups > 1:
                parts = weight.reshape(self.groups, -1, self.size)
            else:
                parts = weight.reshape(n_out, self.size, self.n_blocks).permute(2, 0, 1)
            parts = parts @ whitening.to(dtype)
            shift = (parts @ mean.to(dtype).reshape(-1, self.size, 1)).squeeze(2)
            if self.groups > 1:
                weight, shift = parts.reshape(shape), shift.reshape(n_out)
            else:
                weight, shift = parts.permute(1, 2, 0).reshape(shape), shift.sum(dim=0)
            return weight, -shift if self.bias is None else self.bias.to(dtype) - shift

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and whitening matrix of the batch's patches, shaped as the running averages are;
        at least in float32."""
        with torch.autocast(x.device.type, enabled=False):
            patches = self._patches(x.to(torch.promote_types(self.weight.dtype, torch.float32)))
            mean = patches.mean(dim=-2, keepdim=True)
            centred = patches - mean
            covariance = centred.mT @ centred / patches.shape[-2]
            covariance = covariance + EPSILON * torch.eye(
                self.size, dtype=covariance.dtype, device=covariance.device
            )
            root = exact_inverse_square_root if self.exact else inverse_square_root
            return mean.reshape(-1), root(covariance)

    def _patches(self, x: Tensor) -> Tensor:
        """Patches to whiten together: (patches, d), or (groups, patches, d) for several groups."""
        stride = SAMPLING_STRIDE * self.stride
        if self.kernel == 1:
            patches = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])[:: stride**2]
        else:
            patches = functional.unfold(x, self.kernel, self.dilation, self.padding, stride)
            patches = patches.mT.reshape(-1, patches.shape[1])
        if self.groups > 1:
            return patches.reshape(-1, self.groups, self.size).transpose(0, 1)
        return patches.reshape(-1, self.size, self.n_blocks).mT.reshape(-1, self.size)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} x {self.groups}, {len(self.weight)}, kernel={self.kernel}"


# ---------------------------------------------------------------- folding, for prediction only


def fold(network: N) -> N:
    """Network with the same predictions, deconvolutions and batch normalisation folded in.

    A deconvolution subtracts one mean for each place in the patch, and a padded zero is a
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
    """Sequence of layers, each convolution merged with the normalisation that follows it."""
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
    """One convolution equal to `convolution` followed by the batch normalisation `norm`."""
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
