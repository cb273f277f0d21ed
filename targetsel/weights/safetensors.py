"""Weights on disk as safetensors, which cannot execute code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.errors import EnsembleError
from targetsel.tables.files import written_beside

if TYPE_CHECKING:
    from torch import Tensor, nn


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file; other kinds of file are refused without reading them.

    Raises
    ------
    EnsembleError
        If the file is missing, truncated, or not safetensors (a pickle, say).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise EnsembleError(
            f"{path}: this weights file is missing. Copy the whole ensemble directory again."
        ) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise EnsembleError(
            f"{path}: not a whole safetensors file ({error}). Weights are read from safetensors "
            "only; pickled weights (.pth, .pt, .pkl) are never opened."
        ) from None


def write_safetensors(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors to `path`, atomically."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    whole = save(plain, metadata)
    with written_beside(path) as beside:
        beside.write_bytes(whole)


def load_weights(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put tensors into a module; every name and shape must fit, and every number be finite.

    Raises
    ------
    EnsembleError
        Names the file and the first tensor that is missing, unexpected, of another shape, or
        holds NaN or infinity.
    """
    expected = module.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise EnsembleError(f"{path}: tensor '{name}' is missing: weights of another network?")
        if name not in expected:
            raise EnsembleError(f"{path}: tensor '{name}' has no place in the network of the card")
        if tensors[name].shape != expected[name].shape:
            raise EnsembleError(
                f"{path}: tensor '{name}' has shape {tuple(tensors[name].shape)}, but the card's "
                f"network needs {tuple(expected[name].shape)}"
            )
        if not tensors[name].isfinite().all():
            raise EnsembleError(f"{path}: tensor '{name}' holds NaN or infinity: a failed training")
    module.load_state_dict(tensors)
