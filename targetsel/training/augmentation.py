"""What training does to cutouts so that a network cannot learn how they happen to lie."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def turned(flux: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each cutout in a random one of the eight orientations of a square, (N, B, H, W)."""
    turns = rng.integers(8, size=len(flux))
    out = np.empty_like(flux)
    for orientation in range(8):
        chosen = turns == orientation
        part = np.rot90(flux[chosen], orientation % 4, axes=(2, 3))
        out[chosen] = part[..., ::-1] if orientation >= 4 else part
    return out


def augmented(flux: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
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
