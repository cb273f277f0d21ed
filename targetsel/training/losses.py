"""What training makes small: the error of the mean, then how unlikely the truth is.

A source may count more or less than others: a sky on which rare galaxies are over-sampled has
weights that make up for it, without which predictions would expect as many of them anywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rms_error(
    mean: Tensor,
    factor: Tensor,
    target: Tensor,
    noise: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Root of the squared error averaged over batch and latents; the spread does not matter."""
    return _averaged((mean - target).square().mean(dim=1), weight).sqrt()


def gaussian_loss(
    mean: Tensor,
    factor: Tensor,
    target: Tensor,
    noise: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Negative log likelihood under N(mean, factor factor^T + diag(noise^2)), less its constant.

    Parameters
    ----------
    mean, target : Tensor, shape (N, D)
    factor : Tensor, shape (N, D, D)
        Lower Cholesky factors of the posterior's covariance.
    noise : Tensor, shape (N, D), optional
        Standard deviation of the targets about the true latents. It widens what the targets are
        compared with, not the posterior, which then is that of the true latents.
    weight : Tensor, shape (N,), optional
        By which sources count, 1 on average over all that are learnt from; alike without it.
    """
    if noise is not None:
        factor = widened(factor, noise)
    residual = (target - mean).unsqueeze(2)
    whitened = torch.linalg.solve_triangular(factor, residual, upper=False)
    log_diagonal = factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return _averaged(0.5 * whitened.square().sum(dim=(1, 2)) + log_diagonal, weight)


def _averaged(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over the batch; not divided by the batch's own weight, which would favour the light."""
    return values.mean() if weight is None else (weight * values).mean()


def widened(factor: Tensor, noise: Tensor) -> Tensor:
    """Cholesky factors of factor factor^T + diag(noise^2), shape (N, D, D); of NaN they are NaN."""
    wide = factor.double()  # in float32 the product of a narrow factor may not be positive
    covariance = wide @ wide.mT + torch.diag_embed(noise.double().square())
    return torch.linalg.cholesky_ex(covariance).L.to(factor.dtype)
