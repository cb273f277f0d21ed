"""Trainings that write a checkpoint after every epoch, and resume from it exactly."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from targetsel.errors import EnsembleError, OutputError, TargetselError
from targetsel.tables.files import written_beside
from targetsel.training.optimisation import Optimiser


class EpochTraining(ABC):
    """A training that can be interrupted at any time and resumed.

    Attributes
    ----------
    network : nn.Module
        The network with its current weights.
    best : dict of Tensor
        The best weights so far.
    optimiser : Optimiser
    progress : dataclass
        Other state that the next epoch depends on, as plain values.
    identity : dict
        Plain values that a checkpoint must match to be resumed from.
    """

    error: ClassVar[type[TargetselError]] = EnsembleError
    network: Any
    best: dict[str, Tensor]
    optimiser: Optimiser
    progress: Any
    identity: dict[str, Any] = {}  # noqa: RUF012

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether all epochs are done."""

    @abstractmethod
    def epoch(self, report: Callable[[Any], None]) -> None:
        """Train on every row once."""

    def averages(self) -> list[Tensor]:
        """Running averages that the next epoch changes in place; none by default."""
        return []

    def run(self, checkpoint: Path | None, report: Callable[[Any], None]) -> Any:
        """Train to the end, from the checkpoint if it exists; return the network."""
        if checkpoint is not None and checkpoint.exists():
            self.read(checkpoint)
        while not self.is_over:
            self.epoch(report)
            if checkpoint is not None:
                self.write(checkpoint)
        self.network.load_state_dict(self.best)
        return self.network.eval()

    def write(self, path: Path) -> None:
        """Write everything that the next epoch depends on, atomically.

        Raises
        ------
        OutputError
            If the file cannot be written; an earlier checkpoint is kept.
        """
        from safetensors.torch import save

        tensors = {f"now.{name}": t for name, t in copy_of(self.network).items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        tensors |= {f"optimiser.{name}": t for name, t in self.optimiser.state().items()}
        tensors |= {f"average.{number}": t for number, t in enumerate(self.averages())}
        about = {"identity": self.identity, "progress": asdict(self.progress)}
        whole = save(
            {name: t.cpu().contiguous() for name, t in tensors.items()},
            {"training": json.dumps(about)},
        )
        try:
            with written_beside(path) as beside:
                beside.write_bytes(whole)
        except OutputError as error:
            kept = "the checkpoint before it is kept" if path.exists() else "it would be the first"
            cause = getattr(error.__cause__, "strerror", None) or error
            raise OutputError(
                f"{path}: this checkpoint could not be written: {cause}; {kept}. Free some space "
                "and give the same command again: it resumes from there."
            ) from error

    def read(self, path: Path) -> None:
        """Resume from a checkpoint.

        Raises
        ------
        TargetselError
            An `error` of this class, if the file is damaged or of another training.
        """
        tensors, about = self._whole(path)
        known = json.loads(json.dumps(self.identity))
        for key, value in known.items():
            if about.get("identity", {}).get(key) != value:
                raise self.error(
                    f"{path}: a checkpoint of a training that differs in its {key}, so this one "
                    "cannot resume from it. Choose another output folder, or delete this file "
                    "to begin anew."
                )
        try:
            self.progress = type(self.progress)(**about["progress"])
            self.network.load_state_dict(_under("now.", tensors))
            device = next(self.network.parameters()).device
            self.best = {n: t.to(device) for n, t in _under("best.", tensors).items()}
            self.optimiser.load(_under("optimiser.", tensors))
            for number, average in enumerate(self.averages()):
                average.copy_(tensors[f"average.{number}"])
        except (RuntimeError, TypeError, KeyError) as error:
            cause = str(error).splitlines()[0]
            raise self.error(f"{path}: a damaged checkpoint ({cause}). Delete it.") from None

    def _whole(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return tensors, json.loads((file.metadata() or {})["training"])
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise self.error(
                f"{path}: not a whole checkpoint of a training ({error}). Delete it to begin anew."
            ) from None


def copy_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the network's weights."""
    return {name: t.detach().clone() for name, t in network.state_dict().items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread while the block runs, so that sums have the same order on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def refuse_finished(folder: Path, last_file: str, what: str) -> None:
    """Refuse a folder that holds the last file of a finished training already.

    Raises
    ------
    OutputError
        If the file exists.
    """
    if (folder / last_file).exists():
        raise OutputError(f"{folder}: holds a {what} already. Choose another folder, or delete it.")
