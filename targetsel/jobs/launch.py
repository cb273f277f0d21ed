"""Processes that do the parts of a job: on this machine, or of a Dask cluster.

Both hand out names of parts, a bounded number at a time, and get states back. A process that ends
costs the part that it had in work one attempt; it is replaced, and the part is tried again after
the others.
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

from targetsel.errors import OutputError
from targetsel.extras import require
from targetsel.jobs.job import MOST_DEATHS, WAITING, Job, PartState
from targetsel.jobs.perform import Maker, perform
from targetsel.workers.pool import end_with_parent, uninterrupted_children

if TYPE_CHECKING:
    from distributed import Client

# Does the parts and gives the state of each, once it is done, has failed or is left to others.
Launcher: TypeAlias = Callable[[Job, Iterable[str], Maker, "float | None"], Iterator[PartState]]
AHEAD = 4  # parts that a cluster is given for each of its threads


def on_this_machine(workers: int) -> Launcher:
    """Processes on this machine, each of which computes on one thread."""

    def launch(
        job: Job, parts: Iterable[str], maker: Maker, seconds: float | None
    ) -> Iterator[PartState]:
        waiting = deque(parts)
        n = len(waiting)
        processes = [_Process(job, maker, seconds) for _ in range(min(workers, n))]
        done: queue.SimpleQueue[PartState | Exception] = queue.SimpleQueue()

        def work_off(process: _Process) -> None:
            try:
                while waiting and not process.is_stopped:
                    state = process.perform(part := waiting.popleft())
                    if state.status == WAITING:
                        waiting.append(part)
                    else:
                        done.put(state)
            except IndexError:  # another thread took the last one
                pass
            except Exception as error:
                done.put(error)

        threads = [
            threading.Thread(target=work_off, args=[each], daemon=True) for each in processes
        ]
        try:
            for thread in threads:
                thread.start()
            for _ in range(n):
                state = done.get()
                if isinstance(state, Exception):
                    raise state
                yield state
        finally:
            for process in processes:
                process.stop()

    return launch


class _Process:
    """A process that does parts of a job, and is replaced when it ends."""

    def __init__(self, job: Job, maker: Maker, seconds: float | None) -> None:
        self.job, self.maker, self.seconds = job, maker, seconds
        self.is_stopped = False
        self.false_starts = 0
        self._process: BaseProcess | None = None
        self._changing = threading.Lock()

    def perform(self, part: str) -> PartState:
        """The state of a part after an attempt.

        Raises
        ------
        OutputError
            If processes end again and again before they have begun a part.
        """
        log = self.job.log(part)
        attempts = log.state().attempts
        try:
            self._begin()
            self._pipe.send((str(self.job.output), part, self.maker, self.seconds))
            state: PartState = self._pipe.recv()
            return state
        except (EOFError, OSError):
            if self._process is not None:
                self._process.join()
            self._process = None
        state = log.state()
        self.false_starts += state.attempts == attempts and not self.is_stopped
        if self.false_starts >= MOST_DEATHS:
            raise OutputError(
                f"{self.job.output}: {self.false_starts} processes ended before they had begun a "
                "partition, for lack of memory or because they could not import targetsel. Give "
                "them more memory, or fewer --workers; a script must begin its work below "
                "if __name__ == '__main__'."
            )
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
        pipe.send(perform(*asked))


def one_thread() -> None:
    """Let this process compute on one thread."""
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


def on_dask(client: Client) -> Launcher:
    """The workers of a Dask cluster, which see the folders of the job."""

    def launch(
        job: Job, parts: Iterable[str], maker: Maker, seconds: float | None
    ) -> Iterator[PartState]:
        from distributed import as_completed

        waiting = deque(parts)
        part_of: dict[Any, str] = {}
        running = as_completed()

        def submit() -> None:
            part = waiting.popleft()
            future = client.submit(
                _perform_alone, str(job.output), part, maker, seconds, pure=False, retries=0
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
            # A cluster gives a task up whose worker has died some times.
            state = job.log(part).state() if future.status == "error" else future.result()
            future.release()
            if state.status == WAITING:
                waiting.append(part)
            else:
                yield state
            more()

    return launch


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
        dask.config.set({"distributed.dashboard.link": ""})
        return Client(  # of a cluster of its own, which ends with it
            n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None
        )
    try:
        if Path(scheduler).is_file():
            json.loads(Path(scheduler).read_text())
            return Client(scheduler_file=scheduler, timeout="10s")
        return Client(scheduler, timeout="10s")
    except (OSError, ValueError, TimeoutError) as error:
        raise OutputError(
            f"--scheduler {scheduler}: no Dask scheduler answers there "
            f"({type(error).__name__}). Expected an address such as tcp://10.0.0.1:8786, or the "
            "file that 'dask scheduler --scheduler-file FILE' writes."
        ) from error
