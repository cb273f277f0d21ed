"""The members of an ensemble in training: one process each, or one after the other."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from targetsel.errors import EnsembleError, TargetselError
from targetsel.networks.network import Network, NetworkPlan
from targetsel.tasks import Advance, task
from targetsel.training.examples import Examples
from targetsel.training.network_training import (
    NetworkTraining,
    Recipe,
    TrainingProgress,
    new_network,
    phases_of,
)
from targetsel.training.optimisation import one_thread
from targetsel.workers.pool import end_with_parent, uninterrupted_children

SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class MemberProgress:
    """Progress of one member's training."""

    member: int
    progress: TrainingProgress

    def __str__(self) -> str:
        return f"member {self.member}, {self.progress}"


@dataclass(frozen=True)
class Member:
    """Inputs of one member's training, in this process or another.

    Attributes
    ----------
    number : int
    plan : NetworkPlan
    recipe : Recipe
    examples : Examples
    checkpoint : Path
    start : Path or None
        Weights to start from.
    device : str
    """

    number: int
    plan: NetworkPlan
    recipe: Recipe
    examples: Examples
    checkpoint: Path
    start: Path | None = None
    device: str = "cpu"

    @property
    def n_to_see(self) -> int:
        """Cutouts that its networks will see, in all epochs."""
        epochs = sum(phase.epochs for phase in phases_of(self.recipe, self.plan))
        return epochs * len(self.examples.training)

    def train(self, report: Callable[[MemberProgress], None]) -> NetworkTraining:
        """Train to the end, from the checkpoint if there is one."""
        try:
            if self.start is None:
                network = new_network(self.plan, self.recipe.seed)
            else:
                network = Network.read(self.plan, self.start)
            training = NetworkTraining(network, self.examples, self.recipe, self.device)
            training.run(self.checkpoint, lambda each: report(MemberProgress(self.number, each)))
        except TargetselError as error:
            raise type(error)(f"member {self.number}: {error}") from error
        return training


@dataclass(frozen=True)
class TrainedMember:
    """A member's network, and the figures of every epoch."""

    network: Network
    history: list[dict[str, Any]]


def train_members(
    members: list[Member], workers: int, report: Callable[[MemberProgress], None]
) -> list[TrainedMember]:
    """The trained members, in their order; each resumes from its checkpoint.

    Raises
    ------
    TargetselError
        The error of one of them; the others are stopped, and resume from their checkpoints in
        the next run.
    """
    with task("training", sum(each.n_to_see for each in members), "cutouts") as advance:
        seen = _Seen(members, advance, report)
        if workers > 1 and len(members) > 1:
            _train_in_processes(members, workers, seen.report)
        trained = []
        for member in members:
            with one_thread() if member.device == "cpu" else contextlib.nullcontext():
                training = member.train(seen.report)
            seen.all_of(member)
            trained.append(TrainedMember(training.network.cpu(), training.state.history))
    return trained


class _Seen:
    """Counts what all members have seen, and passes on what they report."""

    def __init__(
        self,
        members: list[Member],
        advance: Advance,
        report: Callable[[MemberProgress], None],
    ) -> None:
        self._n_to_see = {each.number: each.n_to_see for each in members}
        self._seen: dict[int, int] = {}
        self._advance, self._pass_on = advance, report

    def report(self, message: MemberProgress) -> None:
        self._see(message.member, round(message.progress.share * self._n_to_see[message.member]))
        self._pass_on(message)

    def all_of(self, member: Member) -> None:
        """A member is finished, perhaps before its last epoch."""
        self._see(member.number, self._n_to_see[member.number])

    def _see(self, member: int, n: int) -> None:
        resumed = member not in self._seen  # from a checkpoint, perhaps
        self._advance(n - self._seen.get(member, 0), before=resumed)
        self._seen[member] = n


def _train_in_processes(
    members: list[Member], workers: int, report: Callable[[MemberProgress], None]
) -> None:
    """Train every member to the end, so that its checkpoint is final."""
    context = get_context("spawn")
    messages: Any = context.Queue()
    waiting = list(members)
    running: dict[int, SpawnProcess] = {}
    with _stopped(running):
        while waiting or running:
            while waiting and len(running) < workers:
                member = waiting.pop(0)
                process = context.Process(target=_work, args=(member, messages), daemon=True)
                with uninterrupted_children():
                    process.start()
                running[member.number] = process
            _pass_on(messages, report)
            for number, process in list(running.items()):
                if not process.is_alive():
                    _pass_on(messages, report)
                    _check_exit(number, process)
                    del running[number]


@contextlib.contextmanager
def _stopped(running: dict[int, SpawnProcess]) -> Iterator[None]:
    """Terminate all processes at the end of the block, also after an error."""
    try:
        yield
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def _pass_on(messages: Any, report: Callable[[MemberProgress], None]) -> None:
    """Report the messages of the processes, and raise their errors."""
    with contextlib.suppress(queue.Empty):
        message = messages.get(timeout=SECONDS_BETWEEN_LOOKS)
        while True:
            if isinstance(message, TargetselError):
                raise message
            report(message)
            message = messages.get_nowait()


def _check_exit(number: int, process: SpawnProcess) -> None:
    code = process.exitcode or 0
    if code < 0:
        raise EnsembleError(
            f"member {number}: its process was ended by signal {-code} (9: out of memory?). Give "
            "the same command again, with fewer workers if need be: it resumes where it stopped."
        )
    if code:
        raise RuntimeError(f"the process of member {number} failed; its traceback is above")


def _work(member: Member, messages: Any) -> None:
    """Train one member in a process of its own, which ends when the parent process does."""
    end_with_parent()
    try:
        with one_thread():
            member.train(messages.put)
    except TargetselError as error:
        messages.put(error)
