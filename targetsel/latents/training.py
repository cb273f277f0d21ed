"""Training of a network on stretched cutouts and standardised latents.

First the root mean squared error of the mean alone, then the likelihood of mean and full
covariance together; AdamW with a one-cycle learning rate, and random flips and quarter turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from targetsel.latents.deconvolution import Deconvolution
from targetsel.latents.network import Network, NetworkPlan

# A source of cutouts: row numbers to stretched flux (N, B, H, W) float32.
ReadRows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How a member is trained."""

    epochs_mean: int = 8
    epochs_covariance: int = 4
    batch: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    seed: int = 0


def train_network(
    read: ReadRows,
    rows: np.ndarray,
    latents: np.ndarray,
    plan: NetworkPlan,
    recipe: Recipe,
    report: Callable[[str], None] = print,
) -> Network:
    """A trained network.

    Parameters
    ----------
    read : callable
        Gives the stretched cutouts of row numbers.
    rows : ndarray of int, shape (N,)
        The rows to learn from.
    latents : ndarray, shape (all rows, D)
        Standardised latents of every row that `read` knows.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    network = Network(plan)
    target = torch.from_numpy(np.asarray(latents, dtype=np.float32))
    for name, loss, epochs, peak in (
        ("mean", rms_error, recipe.epochs_mean, recipe.learning_rate),
        ("covariance", gaussian_loss, recipe.epochs_covariance, recipe.learning_rate / 4),
    ):
        steps = epochs * (len(rows) // recipe.batch)
        optimiser = torch.optim.AdamW(_groups(network, recipe.weight_decay), lr=peak)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, peak, total_steps=steps, pct_start=0.25
        )
        for epoch in range(epochs):
            network.train()
            total = 0.0
            for batch in _batches(rows, recipe.batch, rng):
                x = torch.from_numpy(turned(read(batch), rng))
                mean, factor = network(x)
                value = loss(mean, factor, target[torch.from_numpy(batch)])
                optimiser.zero_grad(set_to_none=True)
                value.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimiser.step()
                schedule.step()
                total += value.item()
            report(
                f"{name} epoch {epoch + 1}/{epochs}: loss {total / (len(rows) // recipe.batch):.4f}"
            )
    recompute_statistics(network, read, rows[: 32 * recipe.batch], recipe.batch)
    return network.eval()


def rms_error(mean: Tensor, factor: Tensor, target: Tensor) -> Tensor:
    """Root of the squared error averaged over batch and latents."""
    return ((mean - target) ** 2).mean().sqrt()


def gaussian_loss(mean: Tensor, factor: Tensor, target: Tensor) -> Tensor:
    """Negative log likelihood under N(mean, factor factor^T), less its constant."""
    residual = (target - mean).unsqueeze(2)
    whitened = torch.linalg.solve_triangular(factor, residual, upper=False)
    log_diagonal = factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return (0.5 * whitened.square().sum(dim=(1, 2)) + log_diagonal).mean()


def turned(flux: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each cutout in a random one of the eight orientations of a square."""
    turns = rng.integers(8, size=len(flux))
    out = np.empty_like(flux)
    for orientation in range(8):
        chosen = turns == orientation
        part = np.rot90(flux[chosen], orientation % 4, axes=(2, 3))
        out[chosen] = part[..., ::-1] if orientation >= 4 else part
    return out


def augmented(flux: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Cutouts as the published networks saw them in training, (N, B, H, W).

    Half of them are in a random one of the eight orientations of a square, and three quarters
    are rotated by up to 10 degrees: interpolated bilinearly, reflected at the border.
    """
    n = len(flux)
    chosen = rng.random(n) < 0.5
    flux = np.where(chosen[:, None, None, None], turned(flux, rng), flux)
    angle = np.radians(rng.uniform(-10, 10, n)) * (rng.random(n) < 0.75)
    cos, sin, zero = np.cos(angle), np.sin(angle), np.zeros(n)
    rotation = np.array([[cos, -sin, zero], [sin, cos, zero]]).transpose(2, 0, 1)
    x = torch.from_numpy(flux)
    grid = functional.affine_grid(
        torch.from_numpy(rotation).to(x), list(x.shape), align_corners=False
    )
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


@torch.no_grad()
def recompute_statistics(network: nn.Module, read: ReadRows, rows: np.ndarray, batch: int) -> None:
    """Set running statistics to plain averages over `rows` with the weights as they are now.

    Running averages kept during training lag behind the weights; those of the last steps of a
    one-cycle schedule are close, those of the start are not.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | Deconvolution)]
    network.train()
    kept = [(layer, layer.momentum) for layer in layers]
    for step, start in enumerate(range(0, len(rows) - batch + 1, batch)):
        for layer in layers:
            layer.momentum = 1.0 / (step + 1)  # a plain running average
        network(torch.from_numpy(read(rows[start : start + batch])))
    for layer, momentum in kept:
        layer.momentum = momentum
    network.eval()


def _batches(rows: np.ndarray, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    order = rng.permutation(rows)
    for k in range(math.floor(len(order) / batch)):
        yield order[k * batch : (k + 1) * batch]


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for convolutions and matrices, none for biases and normalisation."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
