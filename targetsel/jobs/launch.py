"""Processes that do the parts of a job: on this machine, or of a Dask cluster.

Both hand out names of parts, a bounded number at a time, and get states back. A process that ends
costs the part that it had in work one attempt; it is replaced, and the part is tried again after
the others. Where processes fail before they begin a part, again and again, the job ends.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from targetsel.errors import OutputError, TargetselError
from targetsel.extras import require
from targetsel.jobs.job import WAITING, Job, PartLog, PartState
from targetsel.jobs.perform import Maker, perform, said_of
from targetsel.workers.pool import end_with_parent, uninterrupted_children

if TYPE_CHECKING:
    from distributed import Client, Future

# Does the parts and gives the state of each after every attempt. One that waits is tried again; it
# ends once it is done, has failed or is left to others.
Launcher: TypeAlias = Callable[[Job, Iterable[str], Maker, "float | None"], Iterator[PartState]]
AHEAD = 4  # parts that a cluster is given for each of its threads
# Settings of a Dask cluster that is begun here. A worker that happens to begin again just after the
# usual time would be given up for good; nobody looks at what Dask measures many times a second.
OWN_CLUSTER = {
    "distributed.deploy.lost-worker-timeout": 1e9,
    "distributed.dashboard.link": "",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.tick.interval": "500ms",
}
MOST_FAULTS = 5  # of processes one after the other, before any did a part, that end a job


def on_this_machine(workers: int) -> Launcher:
    """Processes on this machine, each of which computes on one thread."""

    def launch(
        job: Job, parts: Iterable[str], maker: Maker, seconds: float | None
    ) -> Iterator[PartState]:
        waiting = deque(parts)
        left = len(waiting)
        processes = [_Process(job, maker, seconds) for _ in range(min(workers, left))]
        done: queue.SimpleQueue[PartState | Exception] = queue.SimpleQueue()

        def work_off(process: _Process) -> None:
            try:
                while (part := _first(waiting)) is not None and not process.is_stopped:
                    state = process.perform(part)
                    if state.status == WAITING:
                        waiting.append(part)
                    done.put(state)
            except Exception as error:
                done.put(error)

        threads = [
            threading.Thread(target=work_off, args=[each], daemon=True) for each in processes
        ]
        try:
            for thread in threads:
                thread.start()
            while left:
                state = done.get()
                if isinstance(state, Exception):
                    raise state
                left -= state.status != WAITING
                yield state
        finally:
            for process in processes:
                process.stop()

    return launch


def _first(waiting: deque[str]) -> str | None:
    """Remove the first part; None where another thread took the last one."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


class _Process:
    """A process that does parts of a job, and is replaced when it ends."""

    def __init__(self, job: Job, maker: Maker, seconds: float | None) -> None:
        self.job, self.maker, self.seconds = job, maker, seconds
        self.is_stopped = False
        self._faults = _Faults(job)
        self._process: BaseProcess | None = None
        self._changing = threading.Lock()

    def perform(self, part: str) -> PartState:
        """The state of a part after an attempt.

        Raises
        ------
        OutputError
            If processes fail again and again before they have begun a part.
        """
        log = self.job.log(part)
        attempts = log.state().attempts
        said: PartState | TargetselError | None = None
        try:
            self._begin()
            self._pipe.send((_place_of(self.job), part, self.maker, self.seconds))
            said = self._pipe.recv()
        except (EOFError, OSError):
            if self._process is not None:
                self._process.join()
            self._process = None
        if isinstance(said, PartState):
            self._faults.clear()
            return said
        state = log.state()
        if not self.is_stopped and (said or state.attempts == attempts):
            self._faults.add(said)
        return state

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        with self._changing:
            self.is_stopped = True
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def _begin(self) -> None:
        with self._changing:
            if self._process is not None or self.is_stopped:
                return
            context = get_context("spawn")
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=_perform_all, args=(theirs,), daemon=True)
            with uninterrupted_children():
                process.start()
            theirs.close()  # so that reading ends when the process does
            self._process = process


def _perform_all(pipe: Connection) -> None:
    """What a process does: parts as they come, until nobody asks any more."""
    end_with_parent()
    one_thread()
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(perform(*asked))
        except TargetselError as error:  # of the job's own files
            pipe.send(error)


def one_thread() -> None:
    """Let this process compute on one thread."""
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


class _Faults:
    """Attempts that failed before a part was begun, or could not be noted, one after the other."""

    def __init__(self, job: Job) -> None:
        self._job, self._n = job, 0

    def clear(self) -> None:
        self._n = 0

    def add(self, error: TargetselError | None, where: str = "") -> None:
        """Count one more, and end the job if that was one too many.

        Raises
        ------
        OutputError
        """
        self._n += 1
        if self._n < MOST_FAULTS:
            return
        if error is not None:
            raise OutputError(
                f"{self._job.output}: {self._n} attempts in a row ended before a partition was "
                f"begun or noted, the last{where} with: {error} Mend the cause, and run the same "
                "command again to go on."
            )
        raise OutputError(
            f"{self._job.output}: {self._n} processes ended before they had begun a partition, "
            "for lack of memory or because they could not import targetsel. Give them more "
            "memory, or fewer --workers; a script must begin its work below "
            "if __name__ == '__main__'."
        )


def _place_of(job: Job) -> str:
    """The folder of a job, for processes that work in another one."""
    return os.path.abspath(job.output)


def on_dask(client: Client) -> Launcher:
    """The workers of a Dask cluster, which see the folders of the job."""

    def launch(
        job: Job, parts: Iterable[str], maker: Maker, seconds: float | None
    ) -> Iterator[PartState]:
        from distributed import as_completed

        waiting = deque(parts)
        part_of: dict[Any, str] = {}
        running = as_completed()
        faults = _Faults(job)

        def submit() -> None:
            part = waiting.popleft()
            future = client.submit(
                _perform_alone, _place_of(job), part, maker, seconds, pure=False, retries=0
            )
            part_of[future] = part
            running.add(future)

        def more() -> None:
            threads = sum(client.nthreads().values())
            while waiting and len(part_of) < AHEAD * max(threads, 1):
                submit()

        more()
        for future in running:
            part = part_of.pop(future)
            state = _state_of(future, job.log(part), faults)
            future.release()
            if state.status == WAITING:
                waiting.append(part)
            yield state
            more()

    return launch


def _state_of(future: Future[PartState], log: PartLog, faults: _Faults) -> PartState:
    """The state of a part after an attempt of a Dask cluster.

    Raises
    ------
    OutputError
        If the scheduler is gone, or attempts fail again and again before they have begun a part.
    """
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker

    try:
        state: PartState = future.result()
    except CancelledError:
        raise OutputError(
            "the Dask scheduler is gone, or has given up a partition. What is done is kept: begin "
            "a scheduler and workers, and run the same command again to go on."
        ) from None
    except KilledWorker:  # the part has ended several
        return log.state()
    except Exception as error:
        told = error if isinstance(error, TargetselError) else OutputError(said_of(error))
        faults.add(told, " of a Dask worker")
        return log.state()
    faults.clear()
    return state


def _perform_alone(output: str, part: str, maker: Maker, seconds: float | None) -> PartState:
    """Do a part on one thread; the worker may be new, in place of one that died."""
    one_thread()
    return perform(output, part, maker, seconds)


def dask_client(scheduler: str | None, workers: int) -> Client:
    """A client of the Dask cluster at an address or in a scheduler file; by default a new one.

    Parameters
    ----------
    scheduler : str or None
        Such as "tcp://10.0.0.1:8786", or the file that `dask scheduler --scheduler-file` writes.
        None begins a cluster of processes on this machine, which ends with the client.
    workers : int
        Processes of a new cluster.

    Raises
    ------
    ExtraError
        If Dask is not installed.
    OutputError
        If no scheduler answers.
    """
    require("cluster", "Dask")
    import dask
    from distributed import Client

    if scheduler is None:
        dask.config.set(OWN_CLUSTER)
        with uninterrupted_children():
            return Client(  # of a cluster of its own, which ends with it
                n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None
            )
    address = scheduler
    try:
        if Path(scheduler).is_file():
            address = json.loads(Path(scheduler).read_text())["address"]
        return Client(address, timeout="10s")
    except (OSError, ValueError, LookupError, TypeError, TimeoutError) as error:
        is_file = ":" not in scheduler
        absent = "no such file, and " if is_file and not Path(scheduler).exists() else ""
        raise OutputError(
            f"--scheduler {scheduler}: {absent}no Dask scheduler answers there "
            f"({type(error).__name__}). Expected an address such as tcp://10.0.0.1:8786, or the "
            "file that 'dask scheduler --scheduler-file FILE' writes."
        ) from error
