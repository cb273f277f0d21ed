"""One part of a job, done by whichever process comes to it.

Whoever runs it, on one machine or in a cluster, only names the job's folder and the part. The
networks and rules of a job are read once in each process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from targetsel.errors import TargetselError
from targetsel.jobs.job import DONE, FAILED, RUNNING, Job, PartLog, PartState
from targetsel.tables.files import sha256_of_file

# Does one part and gives facts of its result, as plain values for JSON; "rows" among them.
Work: TypeAlias = Callable[[str], Mapping[str, Any]]
# Makes the work of a job, which may read networks and take seconds.
Maker: TypeAlias = Callable[[Job], Work]

_one_at_a_time = threading.Lock()  # in a process: the time limit is the process's


def perform(output: str, part: str, maker: Maker, seconds: float | None = None) -> PartState:
    """Do one part of a job, once, and give its state afterwards.

    A part that is done, has failed for good or is in work elsewhere is left alone. An
    error of any kind is noted as a failed attempt, and not raised. A part that takes longer than
    its time ends the process, whatever it is doing, so that whoever runs the job must start
    another one.

    Parameters
    ----------
    output : str
        The folder of the job.
    maker : callable
        Makes the work of the job; called once in a process.
    seconds : float, optional
        Time that the part may take.
    """
    job = Job.open(Path(output))
    log = job.log(part)
    with _one_at_a_time, log.held() as mine:
        state = log.state(is_mine=True) if mine else PartState(part, RUNNING, 0, "", {})
        if not mine or state.status in (DONE, FAILED):
            return state
        log.begun()
        start, cpu = time.monotonic(), time.process_time()
        try:
            with _time_limit(log, seconds):
                facts = dict(_work(str(output), job.sha256, maker)(part))
        except Exception as error:  # whatever it is, it costs this part only
            log.failed(said_of(error), traceback.format_exc())
            return log.state()
        facts["seconds"] = round(time.monotonic() - start, 3)
        facts["cpu_seconds"] = round(time.process_time() - cpu, 3)
        log.done(facts)
        return log.state()


@lru_cache(maxsize=1)
def _work(output: str, sha256: str, maker: Maker) -> Work:
    """The work of a job, made once in a process; `sha256` tells it from an earlier job there."""
    return maker(Job.open(Path(output)))


def said_of(error: BaseException) -> str:
    """What a log says of an error."""
    text = str(error) or type(error).__name__
    return text if isinstance(error, TargetselError) else f"{type(error).__name__}: {text}"


@contextlib.contextmanager
def _time_limit(log: PartLog, seconds: float | None) -> Iterator[None]:
    """End the process where the block takes longer; the trace tells where it was.

    `faulthandler` waits on a thread of its own that needs no Python, so that a library that never
    returns cannot keep it from ending the process.
    """
    if seconds is None:
        yield
        return
    with open(log.trace_path, "w") as file:
        file.write(f"took longer than {seconds:g} s\n")
        file.flush()
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    log.trace_path.unlink(missing_ok=True)


def facts_of_file(path: Path, rows: int) -> dict[str, Any]:
    """What every record says of the file that a part wrote."""
    return {"rows": rows, "bytes": os.path.getsize(path), "sha256": sha256_of_file(path)}
