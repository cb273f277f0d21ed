"""Weights on disk as safetensors, which cannot execute code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.errors import EnsembleError
from targetsel.tables.files import written_beside
from targetsel.tables.reading import reading

if TYPE_CHECKING:
    from torch import Tensor, nn

NEXT = (
    "Weights are read from safetensors only; pickled weights (.pth, .pt, .pkl) are never opened. "
    "Copy the file again."
)
OTHER = "Copy the file again, or name the one that belongs to this network."


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file; other kinds of file are refused without reading them.

    Floats of fewer than 32 bits come as float32, which holds them exactly.

    Raises
    ------
    EnsembleError
        If the file is missing, truncated, or not safetensors (a pickle, say).
    """
    from safetensors.torch import load_file

    if not path.exists():
        raise EnsembleError(
            f"{path}: no such file; expected weights. Name the folder of an ensemble or decoder, "
            "or copy it again as a whole."
        )
    with reading(path, EnsembleError, "a safetensors file", NEXT):
        tensors = load_file(path)
        return {
            name: each.float() if each.is_floating_point() and each.itemsize < 4 else each
            for name, each in tensors.items()
        }


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file holds beside its tensors.

    Raises
    ------
    EnsembleError
        As of `read_safetensors`.
    """
    from safetensors import safe_open

    with reading(path, EnsembleError, "a safetensors file", NEXT), safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def write_safetensors(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors to `path`, atomically."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    whole = save(plain, metadata)
    with written_beside(path) as beside:
        beside.write_bytes(whole)


def load_weights(
    module: nn.Module, tensors: dict[str, Tensor], path: Path, assign: bool = False
) -> None:
    """Put tensors into a module; every name, shape and kind must fit, and numbers be finite.

    Parameters
    ----------
    assign : bool
        Make the tensors the module's own rather than copy them; for a module without memory of
        its own, on the device "meta".

    Raises
    ------
    EnsembleError
        Names the file and the first tensor that is missing, unexpected, of another shape or kind,
        or holds NaN or infinity.
    """
    from torch import float64

    expected = module.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise EnsembleError(f"{path}: tensor '{name}' is missing. {OTHER}")
        if name not in expected:
            raise EnsembleError(f"{path}: tensor '{name}' has no place in this network. {OTHER}")
        found, needed = tensors[name], expected[name]
        if found.shape != needed.shape:
            raise EnsembleError(
                f"{path}: tensor '{name}' has shape {tuple(found.shape)}, but the network needs "
                f"{tuple(needed.shape)}. {OTHER}"
            )
        if found.is_complex() or found.is_floating_point() != needed.is_floating_point():
            raise EnsembleError(
                f"{path}: tensor '{name}' holds {_kind(found)}, but the network needs "
                f"{_kind(needed)}. {OTHER}"
            )
        if not found.isfinite().all():
            raise EnsembleError(
                f"{path}: tensor '{name}' holds NaN or infinity: a failed training. {OTHER}"
            )
        if found.dtype == float64 != needed.dtype and not found.to(needed.dtype).isfinite().all():
            raise EnsembleError(
                f"{path}: tensor '{name}' holds numbers beyond {_kind(needed)}. {OTHER}"
            )
    if assign:
        # Copies, because what was read may be a view of the file, which may be replaced.
        tensors = {n: each.to(expected[n].dtype, copy=True) for n, each in tensors.items()}
    module.load_state_dict(tensors, assign=assign)


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
