"""Named tensors out of a file of published weights, whichever way they were saved.

Read are a state dict, a state dict under `model` beside an optimiser's state (as fastai saves),
and a whole pickled module whose classes are not available. See `pickles` for what is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.errors import EnsembleError
from targetsel.weights.pickles import Record, read_pickle

MAX_TENSORS = 10_000
BESIDE_MODEL = {"opt", "optimizer"}


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Tensors by name, in the order in which the network's layers were made.

    Raises
    ------
    EnsembleError
        If the file is no pickle we read, or holds something else than named tensors.
    """
    content = read_pickle(path)
    if isinstance(content, dict) and "model" in content:
        if unknown := [key for key in content if key not in BESIDE_MODEL | {"model"}]:
            raise EnsembleError(
                f"{path}: entry '{str(unknown[0])[:60]}' beside 'model' is not known. "
                "Expected a state dict, alone or with its optimiser's state under 'opt'."
            )
        content = content["model"]
    found: dict[str, np.ndarray] = {}
    entries = _of_module(content) if isinstance(content, Record) else _of_dict(content, path)
    for name, tensor in entries:
        if len(found) >= MAX_TENSORS:
            raise EnsembleError(f"{path}: more than {MAX_TENSORS} tensors: not a network's weights")
        if not isinstance(tensor, np.ndarray):
            kind = str(tensor.kind) if isinstance(tensor, Record) else type(tensor).__name__
            raise EnsembleError(f"{path}: '{name[:60]}' is of type {kind}, expected a tensor")
        if tensor.dtype.kind not in "biuf":
            raise EnsembleError(f"{path}: '{name[:60]}' holds {tensor.dtype}, expected numbers")
        if not np.isfinite(tensor).all():
            raise EnsembleError(f"{path}: tensor '{name}' holds NaN or infinity: a failed training")
        found[name] = tensor
    if not found:
        raise EnsembleError(f"{path}: holds no tensors. Expected a network's weights.")
    return found


def _of_dict(content: Any, path: Path) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise EnsembleError(
            f"{path}: holds a {type(content).__name__} that is no state dict. "
            "Expected tensors by name, or a whole module."
        )
    yield from content.items()


def _of_module(module: Record, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and tensors as `state_dict` of a torch module gives them."""
    for group in ("_parameters", "_buffers"):
        for name, tensor in _table(module, group):
            if tensor is not None:
                yield f"{prefix}{name}", tensor
    for name, child in _table(module, "_modules"):
        if isinstance(child, Record):
            yield from _of_module(child, f"{prefix}{name}.")


def _table(module: Record, group: str) -> Iterator[tuple[Any, Any]]:
    table = module.attributes.get(group)
    if isinstance(table, dict):
        yield from table.items()
