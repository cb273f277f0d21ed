"""Optimisation in epochs: losses, learning rate, optimisers, and checkpoints to resume from.

Sources may have weights: those of a sky with over-sampled rare galaxies correct for it, since
without them predictions would assume as many of these everywhere.

Wu & Peek (2020, arXiv:2009.12318) train with "ranger", Lookahead around RAdam, over one cycle of
the learning rate. `benchmarks/figure3.py` repeats their comparison with this module.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from targetsel.errors import EnsembleError, OutputError, TargetselError
from targetsel.tables.files import check_output, held, make_folder, remove_folder
from targetsel.tables.reading import reading, reason
from targetsel.tasks import task
from targetsel.weights.safetensors import write_safetensors

WARM_UP = 0.25  # share of the steps in which the learning rate rises
FIRST = 1 / 25  # first and last learning rate over the peak
LAST = 1e-5
MOMENTUM = (0.95, 0.85, 0.95)  # momentum at the start, the peak and the end
SQUARE_MOMENTUM = 0.99
EPSILON = 1e-6
WORK = "training"  # folder of a training's state inside that of its results


# ---------------------------------------------------------------------- losses


def rms_error(
    mean: Tensor,
    factor: Tensor,
    target: Tensor,
    noise: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Root of the squared error averaged over batch and latents; `factor` is not used."""
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
        Weight of each source, 1 on average over all training sources. Default: 1.
    """
    if noise is not None:
        factor = widened(factor, noise)
    residual = (target - mean).unsqueeze(2)
    whitened = torch.linalg.solve_triangular(factor, residual, upper=False)
    log_diagonal = factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return _averaged(0.5 * whitened.square().sum(dim=(1, 2)) + log_diagonal, weight)


def _averaged(values: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean over the batch, not divided by its total weight, which would bias it."""
    return values.mean() if weight is None else (weight * values).mean()


def widened(factor: Tensor, noise: Tensor) -> Tensor:
    """Cholesky factors of factor factor^T + diag(noise^2), shape (N, D, D); of NaN they are NaN."""
    wide = factor.double()  # in float32 the product of a narrow factor may not be positive
    covariance = wide @ wide.mT + torch.diag_embed(noise.double().square())
    return torch.linalg.cholesky_ex(covariance).L.to(factor.dtype)


# ---------------------------------------------------------------------- schedule, optimisers


def one_cycle(
    progress: float, peak: float, warm_up: float = WARM_UP, last: float = LAST
) -> tuple[float, float]:
    """Learning rate and momentum after a share `progress` (0 to 1) of the training.

    The rate rises from peak / 25 to its peak over the first quarter (`warm_up`) and falls to
    peak / 100,000 (a share `last`) by the end, along half a cosine each; momentum goes the other
    way, from 0.95 to 0.85 and back (Smith 2018, arXiv:1803.09820).
    """
    if progress < warm_up:
        share = progress / warm_up
        return _cosine(peak * FIRST, peak, share), _cosine(*MOMENTUM[:2], share)
    share = (progress - warm_up) / (1 - warm_up)
    return _cosine(peak, peak * last, share), _cosine(*MOMENTUM[1:], share)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class Optimiser:
    """An optimiser that follows a schedule, with a state that can be stored in a file."""

    def __init__(self, fast: torch.optim.Optimizer):
        self.fast = fast

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.fast.param_groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        self.fast.zero_grad(set_to_none=True)

    def set(self, rate: float, momentum: float | None = None) -> None:
        """Set the learning rate of the next steps, and their momentum if it is given."""
        for group in self.fast.param_groups:
            group["lr"] = rate
            if momentum is not None:
                group["betas"] = (momentum, group["betas"][1])

    def step(self) -> None:
        self.fast.step()

    def state(self) -> dict[str, Tensor]:
        """Tensors that the next step depends on, besides weights and gradients."""
        return {
            f"{number}.{name}": value.detach().clone()
            for number, parameter in enumerate(self._parameters())
            for name, value in self.fast.state[parameter].items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore a state that `state` returned."""
        for number, parameter in enumerate(self._parameters()):
            start = f"{number}."
            self.fast.state[parameter] = {
                name.removeprefix(start): value.to(
                    parameter.device if value.ndim else "cpu"
                ).clone()
                for name, value in state.items()
                if name.startswith(start)
            }


class Lookahead(Optimiser):
    """Slow weights that follow those of another optimiser: Zhang et al. (2019, arXiv:1907.08610).

    After every `k` steps the slow weights move a share `alpha` of the way to the fast ones, which
    continue from there. Slow weights start equal to the fast ones.
    """

    def __init__(self, fast: torch.optim.Optimizer, k: int = 6, alpha: float = 0.5):
        super().__init__(fast)
        self.k, self.alpha = k, alpha
        self.steps = 0
        self.slow = [parameter.detach().clone() for parameter in self._parameters()]

    @torch.no_grad()
    def step(self) -> None:
        """One step of the fast weights, and every `k` steps one of the slow ones."""
        self.fast.step()
        self.steps += 1
        if self.steps % self.k == 0:
            for slow, parameter in zip(self.slow, self._parameters(), strict=True):
                slow.lerp_(parameter, self.alpha)
                parameter.copy_(slow)

    def state(self) -> dict[str, Tensor]:
        slow = {f"slow.{number}": value.clone() for number, value in enumerate(self.slow)}
        return super().state() | slow | {"steps": torch.tensor(self.steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        for number, slow in enumerate(self.slow):
            slow.copy_(state[f"slow.{number}"])
        self.steps = int(state["steps"])


def ranger(
    parameters: Iterable[Tensor] | Iterable[dict[str, Any]], rate: float, weight_decay: float = 1e-2
) -> Lookahead:
    """Lookahead (k 6, alpha 0.5) around RAdam with decoupled weight decay.

    RAdam: Liu et al. (2019, arXiv:1908.03265), with momentum 0.95, 0.99 for the squares, and
    epsilon 1e-6. Epsilon is added before the bias of the squares' average is taken off, which
    differs from the published order only where gradients are near 1e-6.
    """
    fast = torch.optim.RAdam(
        parameters,
        lr=rate,
        betas=(MOMENTUM[0], SQUARE_MOMENTUM),
        eps=EPSILON,
        weight_decay=weight_decay,
        decoupled_weight_decay=True,
    )
    return Lookahead(fast)


def adamw(
    parameters: Iterable[Tensor] | Iterable[dict[str, Any]], rate: float, weight_decay: float = 1e-2
) -> Optimiser:
    """AdamW: Loshchilov & Hutter (2019, arXiv:1711.05101), 0.999 for the squares."""
    return Optimiser(torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay))


OPTIMISERS = {"adamw": adamw, "ranger": ranger}


def decayed_apart(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters in two groups: with weight decay (kernels, matrices), and without (others)."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


# ---------------------------------------------------------------------- epochs, checkpoints


class EpochTraining(ABC):
    """A training that can be interrupted at any time and resumed.

    Attributes
    ----------
    network : nn.Module
        The network with its current weights.
    best : dict of Tensor
        The best weights so far.
    optimiser : Optimiser
    state : dataclass
        Other state that the next epoch depends on, as plain values.
    identity : dict
        Plain values that a checkpoint must match to be resumed from.
    """

    error: ClassVar[type[TargetselError]] = EnsembleError
    network: Any
    best: dict[str, Tensor]
    optimiser: Optimiser
    state: Any
    identity: dict[str, Any] = {}  # noqa: RUF012

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether all epochs are done."""

    @property
    @abstractmethod
    def n_epochs(self) -> int:
        """The most epochs that there can be."""

    @abstractmethod
    def epoch(self, report: Callable[[Any], object]) -> None:
        """Train on every row once."""

    def averages(self) -> list[Tensor]:
        """Running averages that the next epoch changes in place; none by default."""
        return []

    def run(self, checkpoint: Path | None, report: Callable[[Any], object]) -> Any:
        """Train to the end, from the checkpoint if it exists; return the network."""
        if checkpoint is not None and checkpoint.exists():
            self.read(checkpoint)
        with task("training", self.n_epochs, "epochs", self.state.epoch) as advance:
            while not self.is_over:
                self.epoch(report)
                advance(1)
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
        tensors = {f"now.{name}": t for name, t in copy_of(self.network).items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        tensors |= {f"optimiser.{name}": t for name, t in self.optimiser.state().items()}
        tensors |= {f"average.{number}": t for number, t in enumerate(self.averages())}
        about = json.dumps({"identity": self.identity, "state": asdict(self.state)})
        try:
            write_safetensors(tensors, path, {"training": about, "sha256": _digest(tensors, about)})
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
        for key, value in json.loads(json.dumps(self.identity)).items():
            if about["identity"].get(key) != value:
                raise self.error(
                    f"{path}: a checkpoint of a training that differs in its {key}, so this one "
                    "cannot resume from it. Choose another output folder, or delete this file "
                    "to begin anew."
                )
        try:
            self.state = type(self.state)(**about["state"])
            self.network.load_state_dict(_under("now.", tensors))
            device = next(self.network.parameters()).device
            self.best = {n: t.to(device) for n, t in _under("best.", tensors).items()}
            self.optimiser.load(_under("optimiser.", tensors))
            for number, average in enumerate(self.averages()):
                average.copy_(tensors[f"average.{number}"])
        except (RuntimeError, TypeError, KeyError) as error:
            raise self.error(
                f"{path}: a checkpoint of another network or version ({reason(error)}). Delete it "
                "to begin anew."
            ) from None

    def _whole(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and description in a checkpoint whose content is what was written."""
        from safetensors import safe_open

        next_step = "Delete it to begin anew."
        kind = "a checkpoint of a training"
        place = str(path)  # so that it is no input of the command, which writes over it
        with reading(place, self.error, kind, next_step), safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        about = metadata.get("training", "")
        if metadata.get("sha256") != _digest(tensors, about):
            raise self.error(f"{path}: not {kind}, or damaged (its SHA-256 differs). {next_step}")
        return tensors, dict(json.loads(about))


def _digest(tensors: dict[str, Tensor], about: str) -> str:
    """A hash of tensors, their names and a text."""
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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


def check_unfinished(folder: Path, last: str, what: str) -> None:
    """Refuse a folder that holds the result of a training that is over.

    If the training's state is still there, the run was interrupted at its very end, and the next
    one ends it.

    Parameters
    ----------
    last : str
        The file that a training writes last.
    what : str
        The result, for the error.

    Raises
    ------
    OutputError
        If the file is there.
    """
    if (folder / last).exists() and not (folder / WORK / "lock").exists():
        if not (folder / WORK).exists():
            remove_folder(folder / WORK)
        raise OutputError(f"{folder}: already holds a {what}. Choose another folder, or remove it.")


@contextlib.contextmanager
def unfinished(folder: Path, results: Iterable[str], *sources: Path) -> Iterator[Path]:
    """The folder `training` inside that of the results, for the state of an unfinished training.

    It is made if it is missing, held for one run alone, and removed at the end, but not after an
    error.

    Parameters
    ----------
    results : iterable of str
        Files that the training will write into `folder`.
    *sources : Path
        Files or folders that it reads.

    Raises
    ------
    OutputError
        If another run is at work there, or a result would be written over a file that is no
        training's, or into what is read.
    """
    make_folder(folder)
    work = folder / WORK
    for path in (folder / name for name in results):
        check_output(path, sources)
        if path.exists() and not work.exists():
            raise OutputError(f"{path}: already exists. Choose another folder, or move the file.")
    with held(work):
        yield work
        remove_folder(work)
