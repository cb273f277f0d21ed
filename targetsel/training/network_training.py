"""Training of one network of an ensemble.

The first phase minimises the root mean squared error of the mean alone; the second, for a network
that predicts a covariance, the negative log likelihood of mean and full covariance together; each
over one cycle of the learning rate. After every epoch the weights, or their running average, are
evaluated on validation sources, with statistics of normalisation recomputed; the best
epoch's weights are kept. All random numbers of an epoch follow from the seed and the epoch, so that
on a CPU a resumed training ends with exactly the weights of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from targetsel.documents.models import DocumentModel
from targetsel.errors import EnsembleError, counted
from targetsel.networks.deconvolution import Deconvolution
from targetsel.networks.network import Network, NetworkPlan
from targetsel.training.examples import Examples, ReadRows, augmented_inputs
from targetsel.training.optimisation import (
    OPTIMISERS,
    EpochTraining,
    copy_of,
    decayed_apart,
    gaussian_loss,
    one_cycle,
    rms_error,
)

COVARIANCE_RATE = 0.25  # peak learning rate of the second phase over that of the first
STATISTICS_BATCHES = 32
SECONDS_BETWEEN_REPORTS = 1.0


class Recipe(DocumentModel):
    """Settings of a network's training.

    Attributes
    ----------
    epochs_mean, epochs_covariance : int
        Most epochs of each phase; a network that predicts the mean alone has the first only.
    batch : int
    learning_rate : float
        Peak of the first phase's cycle; the second has a quarter of it.
    weight_decay : float
    optimiser : "adamw" or "ranger"
    augmentation : "orientations" or "published"
        The eight orientations of a square for all cutouts; or for half of them, with
        rotations by up to 10 degrees.
    clip : float
        Largest norm of a step's gradient; 0 is no limit.
    average : float
        Decay of the running average of weights per step, such as 0.999; 0 uses the weights
        themselves. It is smaller at the start.
    patience : int
        Number of epochs without improvement after which a phase ends.
    seed : int
    """

    epochs_mean: Annotated[int, Field(ge=1)] = 8
    epochs_covariance: Annotated[int, Field(ge=0)] = 4
    batch: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 4e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    optimiser: Literal["adamw", "ranger"] = "adamw"
    augmentation: Literal["orientations", "published"] = "orientations"
    clip: Annotated[float, Field(ge=0)] = 5.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience: Annotated[int, Field(ge=1)] = 10
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Phase:
    """A cycle of the learning rate, and the loss that it minimises."""

    name: str
    epochs: int
    peak: float
    loss: Callable[..., Tensor]


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a training, for reports.

    Attributes
    ----------
    phase : str
    epoch, epochs : int
        Current epoch of the phase, from 1, and the phase's number of epochs.
    whole : bool
        Whether the epoch is over.
    loss : float
        Mean loss over the epoch's batches.
    validation_rmse : float or None
        Root mean square error on validation sources after the last whole epoch, in standardised
        targets.
    per_second : float
        Training sources per second.
    share : float
        Share of the whole training that is done, 0 to 1.
    """

    phase: str
    epoch: int
    epochs: int
    whole: bool
    loss: float
    validation_rmse: float | None
    per_second: float
    share: float

    def __str__(self) -> str:
        rmse = self.validation_rmse
        validation = "" if rmse is None else f", validation rmse {rmse:.4f}"
        return (
            f"{self.phase}, epoch {self.epoch} of {self.epochs}: loss {self.loss:.4f}{validation}, "
            f"{self.per_second:.0f} sources/s"
        )


@dataclass
class TrainingState:
    """State of a network's training after an epoch, without the weights."""

    phase: int = 0
    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    n_averaged: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def phases_of(recipe: Recipe, plan: NetworkPlan) -> list[Phase]:
    """The phases of the training of a network of this plan."""
    peak = recipe.learning_rate
    phases = [Phase("mean", recipe.epochs_mean, peak, rms_error)]
    if plan.head == "covariance" and recipe.epochs_covariance:
        epochs = recipe.epochs_covariance
        phases.append(Phase("covariance", epochs, peak * COVARIANCE_RATE, gaussian_loss))
    return phases


class NetworkTraining(EpochTraining):
    """Training state of one network."""

    def __init__(self, network: Network, examples: Examples, recipe: Recipe, device: str = "cpu"):
        if len(examples.training) < recipe.batch:
            raise EnsembleError(
                f"{counted(len(examples.training), 'source')} to train on; expected at least one "
                f"batch of {recipe.batch}. Give more sources, or smaller batches."
            )
        self.device = torch.device(device)
        self.network = network.to(self.device)
        self.examples, self.recipe = examples, recipe
        self.phases = phases_of(recipe, network.plan)
        self.state = TrainingState()
        self._begin_phase()

    def _begin_phase(self) -> None:
        recipe = self.recipe
        groups = decayed_apart(self.network, recipe.weight_decay)
        self.optimiser = OPTIMISERS[recipe.optimiser](
            groups, recipe.learning_rate, recipe.weight_decay
        )
        self.average = [p.detach().clone() for p in self.network.parameters()]
        self.state.n_averaged = 0
        self.best = copy_of(self.network)

    @property
    def is_over(self) -> bool:
        return self.state.phase == len(self.phases)

    @property
    def n_epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    def averages(self) -> list[Tensor]:
        return self.average if self.recipe.average else []

    def run(
        self,
        checkpoint: Path | None = None,
        report: Callable[[TrainingProgress], object] = lambda progress: None,
    ) -> Network:
        """Train to the end, from the checkpoint if it exists; return the best network."""
        network: Network = super().run(checkpoint, report)
        return network

    def epoch(self, report: Callable[[TrainingProgress], object] = lambda progress: None) -> None:
        """Train on every row once, validate, and begin the next phase if it is due."""
        state, phase = self.state, self.phases[self.state.phase]
        loss, per_second = self._learn(phase, report)
        state.epoch += 1
        self._check_finite(loss)
        last = state.epoch == phase.epochs
        validation_rmse = validation_loss = None
        if len(self.examples.validation) or last:
            candidate = self._candidate()
            if len(self.examples.validation):
                validation_rmse, validation_loss = self._validate(candidate, phase)
            value = -math.inf if validation_loss is None else validation_loss
            self._check_finite(value)
            if value < state.best:
                state.best, state.best_epoch = value, state.epoch
                self.best = copy_of(candidate)
        state.history.append(
            {
                "phase": phase.name,
                "epoch": state.epoch,
                "loss": loss,
                "validation_rmse": validation_rmse,
                "validation_loss": validation_loss,
            }
        )
        report(self._progress(phase, None, loss, per_second))
        waited = state.epoch - state.best_epoch
        if last or (state.best_epoch and waited >= self.recipe.patience):
            self._end_phase()

    def _end_phase(self) -> None:
        state = self.state
        state.phase, state.epoch = state.phase + 1, 0
        state.best, state.best_epoch = math.inf, 0
        self.network.load_state_dict(self.best)
        self._begin_phase()

    # ------------------------------------------------------------------ optimisation

    def _learn(
        self, phase: Phase, report: Callable[[TrainingProgress], object]
    ) -> tuple[float, float]:
        """Train for one epoch; return its mean loss, and training cutouts per second."""
        recipe, state = self.recipe, self.state
        rng = np.random.default_rng([recipe.seed, state.phase, state.epoch])
        order = rng.permutation(self.examples.training)
        n_batches = len(order) // recipe.batch
        self.network.train()
        total, start = 0.0, time.monotonic()
        reported, per_second = start, 0.0
        for k in range(n_batches):
            share = (state.epoch + k / n_batches) / phase.epochs
            self.optimiser.set(*one_cycle(share, phase.peak))
            total += self._step(phase, order[k * recipe.batch : (k + 1) * recipe.batch], rng)
            per_second = (k + 1) * recipe.batch / max(time.monotonic() - start, 1e-9)
            if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
                reported = time.monotonic()
                done = (k + 1) / n_batches
                report(self._progress(phase, done, total / (k + 1), per_second))
        return total / n_batches, per_second

    def _step(self, phase: Phase, rows: np.ndarray, rng: np.random.Generator) -> float:
        """Make one optimiser step on a batch; return its loss."""
        read, plan = self.examples.read(rows), self.network.plan
        mean, factor = self._forward(
            self.network, augmented_inputs(read, plan, self.recipe.augmentation, rng)
        )
        loss = phase.loss(mean, factor, *self._truth(rows))
        self.optimiser.zero_grad()
        loss.backward()
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()
        if self.recipe.average:
            self._average()
        return loss.item()

    def _forward(self, network: Network, flux: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and factor; the layers below the head in mixed precision on a GPU."""
        with mixed_precision(self.device):
            features = network.features(flux.to(self.device, non_blocking=True))
        return network.posterior(features.float())

    def _truth(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Targets of some rows and their noise, each (N, D), and weights (N,), on the device."""
        chosen = torch.from_numpy(rows).to(self.device)
        targets, noise, weight = (
            values if values is None else values[chosen] for values in self._truths
        )
        assert targets is not None
        return targets, noise, weight

    @cached_property
    def _truths(self) -> tuple[Tensor | None, ...]:
        examples = self.examples
        weight = examples.weight
        if weight is not None:
            weight = weight / weight[examples.training].mean()
        return tuple(
            None
            if values is None
            else torch.from_numpy(np.asarray(values, dtype=np.float32)).to(self.device)
            for values in (examples.targets, examples.noise, weight)
        )

    @torch.no_grad()
    def _average(self) -> None:
        """Move the running average towards the weights, faster in the first steps of a phase."""
        self.state.n_averaged += 1
        n = self.state.n_averaged
        share = min(self.recipe.average, (1 + n) / (10 + n))
        for average, parameter in zip(self.average, self.network.parameters(), strict=True):
            average.lerp_(parameter, 1 - share)

    # ------------------------------------------------------------------ validation

    def _candidate(self) -> Network:
        """The network that would be kept at this epoch."""
        candidate = copy.deepcopy(self.network)
        if self.recipe.average:
            with torch.no_grad():
                for parameter, average in zip(candidate.parameters(), self.average, strict=True):
                    parameter.copy_(average)
        rng = np.random.default_rng(self.recipe.seed)
        rows = rng.permutation(self.examples.training)[: STATISTICS_BATCHES * self.recipe.batch]
        recompute_statistics(candidate, self.examples.read, rows, self.recipe.batch)
        return candidate

    @torch.inference_mode()
    def _validate(self, network: Network, phase: Phase) -> tuple[float, float]:
        """Root mean square error and loss on the validation rows, in evaluation mode."""
        rows = self.examples.validation
        means, factors = [], []
        for start in range(0, len(rows), 4 * self.recipe.batch):
            flux = self.examples.read(rows[start : start + 4 * self.recipe.batch])
            mean, factor = network(torch.from_numpy(flux).to(self.device))
            means.append(mean)
            factors.append(factor)
        truth = self._truth(rows)
        mean, factor = torch.cat(means), torch.cat(factors)
        error, loss = rms_error(mean, factor, *truth), phase.loss(mean, factor, *truth)
        return float(error), float(loss)

    def _progress(
        self, phase: Phase, share: float | None, loss: float, per_second: float
    ) -> TrainingProgress:
        """Progress after a share of the epoch's batches, or None once the epoch is over."""
        state, history = self.state, self.state.history
        epochs = [each.epochs for each in self.phases]
        left = sum(epochs[state.phase :]) - state.epoch - (share or 0.0)
        return TrainingProgress(
            phase.name,
            state.epoch if share is None else state.epoch + 1,
            phase.epochs,
            share is None,
            loss,
            history[-1]["validation_rmse"] if history else None,
            per_second,
            1 - left / sum(epochs),
        )

    def _check_finite(self, loss: float) -> None:
        if math.isnan(loss) or loss == math.inf:
            state = self.state
            raise EnsembleError(
                f"training diverged in epoch {state.epoch} of the phase "
                f"'{self.phases[state.phase].name}': the loss is not finite. Look for extreme "
                "values in the cutouts, or choose a smaller learning rate."
            )


def new_network(plan: NetworkPlan, seed: int) -> Network:
    """An untrained network; the global random state is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(plan)


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Context for bfloat16 convolutions on a GPU that has it; other layers stay in float32."""
    mixed = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)


@torch.no_grad()
def recompute_statistics(network: nn.Module, read: ReadRows, rows: np.ndarray, batch: int) -> None:
    """Set running statistics to plain averages over `rows` with the current weights.

    Running averages kept during training lag behind the weights; those of the last steps of a
    one-cycle schedule are close, those of the start are not. Layers that are frozen, which use
    their running averages in training as well, keep them.
    """
    device = next(network.parameters()).device
    network.train()
    with _plain_averages(network) as layers:
        for step, start in enumerate(range(0, len(rows) - batch + 1, batch)):
            for layer in layers:
                layer.momentum = 1.0 / (step + 1)  # a plain running average
            network(torch.from_numpy(read(rows[start : start + batch])).to(device))
    network.eval()


@contextlib.contextmanager
def _plain_averages(network: nn.Module) -> Iterator[list[Any]]:
    """Layers with statistics that are not frozen; all other state is restored at the end."""
    kept: list[tuple[Any, Any, int | None, int, bool]] = []
    for layer in network.modules():
        if isinstance(layer, Deconvolution):
            frozen = layer.freeze_after is not None and layer.steps > layer.freeze_after
            kept.append((layer, layer.momentum, layer.freeze_after, layer.steps, frozen))
            if not frozen:
                layer.freeze_after = None  # or it would freeze meanwhile
        elif isinstance(layer, _BatchNorm):
            kept.append((layer, layer.momentum, None, 0, False))
    try:
        yield [layer for layer, *_, frozen in kept if not frozen]
    finally:
        for layer, momentum, freeze_after, steps, _ in kept:
            layer.momentum = momentum
            if isinstance(layer, Deconvolution):
                layer.freeze_after, layer.steps = freeze_after, steps
