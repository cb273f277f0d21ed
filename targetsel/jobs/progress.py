"""How far a job has come: parts by status, rate, remaining time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from targetsel.jobs.job import DONE, FAILED, RUNNING, WAITING, Job, PartState


@dataclass(frozen=True)
class Running:
    """A part in work: who does it, and for how long [s]."""

    part: str
    host: str
    process: int
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far the parts of a job have come.

    Attributes
    ----------
    output : Path
    states : tuple of PartState
        In the order of the parts.
    rate : float
        Rows a second, of all processes together, while any worked; 0 where it is not known.
    longest : Running or None
        The part in work that was begun first; one that hangs is found so.
    """

    output: Path
    states: tuple[PartState, ...]
    rate: float
    longest: Running | None = None

    @classmethod
    def of(cls, job: Job) -> Progress:
        """The progress of a job, from the logs of its parts."""
        states = tuple(job.states())
        rows = sum(each.facts.get("rows", 0) for each in states)
        busy = _covered(span for part in job.parts for span in job.log(part).spans())
        begun = [_running(job, each.name) for each in states if each.status == RUNNING]
        longest = max(begun, key=lambda each: each.seconds, default=None)
        return cls(job.output, states, rows / busy if busy else 0.0, longest)

    @property
    def counts(self) -> dict[str, int]:
        """Number of parts by status, in this order: done, running, waiting, failed."""
        found = dict.fromkeys((DONE, RUNNING, WAITING, FAILED), 0)
        for each in self.states:
            found[each.status] += 1
        return found

    @property
    def n_rows(self) -> int:
        """Rows of the parts that are done."""
        return sum(each.facts.get("rows", 0) for each in self.states)

    @property
    def failed(self) -> tuple[PartState, ...]:
        """The parts that failed, with the reason of each."""
        return tuple(each for each in self.states if each.status == FAILED)

    @property
    def remaining(self) -> float | None:
        """Time that the parts not done will take at the present rate [s]; None where unknown.

        They count as large as those that are done, on average.
        """
        counts = self.counts
        left = counts[RUNNING] + counts[WAITING]
        if not left:
            return 0.0
        if not (self.rate and counts[DONE]):
            return None
        return left * self.n_rows / counts[DONE] / self.rate

    def as_json(self) -> str:
        """One line of JSON for programs.

        Its keys are `folder`; the numbers of partitions `done`, `running`, `waiting` and `failed`;
        `rows` that are done; `rows_per_second`, 0 where it is not known; `remaining_seconds` and
        `longest_running` (`part`, `host`, `process`, `seconds`), null where not known; and
        `reasons`, why each of the failed partitions failed, by name.
        """
        return json.dumps(
            {
                "folder": str(self.output),
                **self.counts,
                "rows": self.n_rows,
                "rows_per_second": round(self.rate, 3),
                "remaining_seconds": None if self.remaining is None else round(self.remaining),
                "longest_running": None if self.longest is None else asdict(self.longest),
                "reasons": {each.name: each.reason for each in self.failed},
            }
        )


def _running(job: Job, part: str) -> Running:
    line = job.log(part).at_work()
    seconds = max(time.time() - line.get("time", time.time()), 0.0)
    return Running(part, line.get("host", ""), line.get("process", 0), round(seconds))


def _covered(spans: Iterator[tuple[float, float]]) -> float:
    """Time in which at least one of some spans (start, end) lies."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total
