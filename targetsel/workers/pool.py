"""Threads or processes that work on many items, a bounded number at a time.

`map_bounded` spreads work over several of them; `read_ahead` lets one thread wait for a disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_bounded(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    in_order: bool = True,
    ahead: int | None = None,
    processes: bool = False,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Generator[Result, None, None]:
    """Yield `work(item)` for every item, with several items in work at once.

    Items are taken from the iterable only as results are taken from the generator, so that
    neither queues nor memory grow with their number. The first error of `work` is raised here;
    after it, or when the generator is closed, items that have not begun are dropped and the
    others are waited for.

    Parameters
    ----------
    workers : int
        Threads or processes; with one, the caller's own thread does the work.
    in_order : bool
        Results in the order of the items; otherwise as soon as each is done.
    ahead : int, optional
        Items submitted beyond the one whose result is awaited. Default: twice the workers.
    processes : bool
        Spawned processes rather than threads; `work`, items and results must then be picklable.
        They end with the process that began them.
    initializer, initargs
        Called once in each thread or process.

    Raises
    ------
    BrokenProcessPool
        If a process is ended from outside.
    """
    if workers <= 1:
        yield from map(work, items)
        return
    pool = _executor(workers, processes, initializer, initargs)
    yield from _bounded(pool, work, items, 2 * workers if ahead is None else ahead, in_order)


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], ahead: int = 1
) -> Generator[Result, None, None]:
    """Yield `read(item)` for every item, in order, read by one thread while the caller works.

    For what takes waiting for a disk. Up to `ahead` results lie ready, or are being read, beyond
    the one that the caller works on. An error of `read` is raised here in its place. When the
    generator is closed, the thread ends with its present item.
    """
    context = copy_context()  # in which the running command notes what it reads
    pool = ThreadPoolExecutor(1, "reader")
    yield from _bounded(pool, lambda item: context.run(read, item), items, ahead, True)


def _bounded(
    pool: Executor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    bound: int,
    in_order: bool,
) -> Generator[Result, None, None]:
    """Results of a pool, which gets at most `bound` items beyond the one that is awaited."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            with uninterrupted_children():  # the pool begins its processes as they are needed
                waiting.append(pool.submit(work, item))
            if len(waiting) > bound:
                yield _next(waiting, in_order)
        while waiting:
            yield _next(waiting, in_order)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _executor(
    workers: int,
    processes: bool,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> Executor:
    if not processes:
        return ThreadPoolExecutor(workers, "worker", initializer, initargs)
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    begin = (initializer, initargs)
    return ProcessPoolExecutor(workers, get_context("spawn"), _begin_process, begin)


def _begin_process(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    end_with_parent()
    if initializer is not None:
        initializer(*initargs)


def end_with_parent() -> None:
    """Let this process, which another one has begun, end when that one does, however it ends."""
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    from multiprocessing import parent_process

    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def uninterrupted_children() -> Iterator[None]:
    """Processes that begin within the block never see Ctrl-C: the one that began them ends them.

    They would show a traceback otherwise, from wherever they are, also from their imports.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which would unblock the signal as it begins
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _next(waiting: deque[Future[Result]], in_order: bool) -> Result:
    """Remove the first future, or one that is done, and give its result."""
    if in_order:
        return waiting.popleft().result()
    done = next((each for each in waiting if each.done()), None)
    if done is None:
        done = next(iter(wait(waiting, return_when=FIRST_COMPLETED).done))
    waiting.remove(done)
    return done.result()


def return_freed_memory(block: int = 2**20) -> None:
    """Make the C library return freed blocks of `block` bytes or more to the system at once.

    glibc would keep them, in pieces that fit the next block ever worse, so that memory grew with
    the length of a run. Other C libraries have no such setting, and are left alone. The setting
    holds for the rest of the process.
    """
    m_mmap_threshold = -3  # from malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(m_mmap_threshold, block)
