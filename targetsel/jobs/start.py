"""Jobs of which no part can be done: they end soon, and not after all parts were tried."""

from __future__ import annotations

from targetsel.errors import OutputError
from targetsel.jobs.job import DONE, RUNNING, Job, PartState

FIRST = 10  # parts


class Start:
    """The first parts of a job, in one run.

    As long as no part of the job is done, by whichever run, the job ends with an error once `FIRST`
    different parts have failed an attempt, and twice as many as are in work. So the cause is told
    within the time of some parts where it is the same for all, such as a time limit that is too
    short.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._failed: set[str] = set()
        self._next = FIRST  # failed parts at which the others are looked at
        self._works = False

    def check(self, state: PartState) -> None:
        """Take note of a part after an attempt.

        Raises
        ------
        OutputError
        """
        if self._works or not state.reason:
            self._works = self._works or state.status == DONE
            return
        self._failed.add(state.name)
        if len(self._failed) < self._next:
            return
        self._next *= 2
        found = [each.status for each in self._job.states()]
        self._works = DONE in found
        if self._works or len(self._failed) < 2 * found.count(RUNNING):
            return
        raise OutputError(
            f"{self._job.output}: none of its first {len(self._failed)} partitions could be done, "
            f"the last, {state.name}, because: {state.reason.rstrip('.')}. Mend the cause, and run "
            "the same command again to go on."
        )
