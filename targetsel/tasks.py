"""Progress of long work: the library reports its tasks, and a display may show them.

A loop that may take long is a task, with the number of things it will have done::

    for batch in tracked(batches, "measuring", n_spectra, "spectra", len):
        ...

Nothing is shown before `progress` is called, as commands do and a notebook may. Then the outermost
task of the thread that called it is: the loops within it are its own affair. Without `progress`, in
other threads and in other processes a task costs next to nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TextIO, TypeVar

from targetsel.errors import visible

Item = TypeVar("Item")

PATIENCE = 1.0  # s of work before anything is shown of it
PER_BAR = 0.1  # s between two drawings of the bar
PER_LINE = 60.0  # s between two lines where there is no terminal
PULSE = 0.2  # s between two looks at work that reports nothing
IDLE = 5.0  # s without a task after which nobody looks any more
LONGEST_BAR, SHORTEST_BAR = 30, 5  # characters

clock = time.monotonic


class Advance(Protocol):
    """Called with the number of things that were done since the last call.

    Those that an earlier run did, `before`, do not count in the rate.
    """

    def __call__(self, n: int, before: bool = False) -> None: ...


@contextlib.contextmanager
def task(what: str, total: int, unit: str = "rows", done: int = 0) -> Iterator[Advance]:
    """Report the work of the block, which is a task of `total` things.

    Yields a function to be called with the number of things done since the last call (`Advance`).

    Parameters
    ----------
    what : str
        What is done, such as "scoring" or "reading catalog.fits".
    unit : str
        The things, in the plural.
    done : int
        Number of things that were done before, in an earlier run.
    """
    listener = _listener
    if listener is None or listener.thread != threading.get_ident():
        yield _nothing
        return
    begun = Task(what, unit, total, done, done, clock())
    listener.begin(begun)
    try:
        yield lambda n, before=False: listener.advance(begun, n, before)
    except BaseException:
        listener.end(begun, is_finished=False)
        raise
    listener.end(begun, is_finished=True)


def tracked(
    items: Iterable[Item],
    what: str,
    total: int,
    unit: str = "rows",
    size: Callable[[Item], int] = lambda item: 1,
) -> Iterator[Item]:
    """The same items, reported as a task in which each is `size(item)` of `total` things.

    An item is done when the next one is asked for.
    """
    with task(what, total, unit) as advance:
        for item in items:
            yield item
            advance(size(item))


def progress(shown: bool = True) -> Shown:
    """Show on standard error how far long work has come, from now on or in a `with` block.

    In a terminal and in a notebook that is a bar with rate and remaining time, for work of more
    than a second; elsewhere it is a line a minute.

    Parameters
    ----------
    shown : bool
        False shows nothing from now on.

    Returns
    -------
    context manager
        At the end of its block, what was shown before is shown again.

    See Also
    --------
    score : Work that takes long.

    Examples
    --------
    >>> import targetsel as ts
    >>> with ts.progress():
    ...     scored = ts.score("catalog.parquet", "cutouts")
    """
    return Shown(shown)


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Take the bar away while the block prints something."""
    if _listener is None:
        yield
        return
    with _listener.set_aside():
        yield


def _nothing(n: int, before: bool = False) -> None:
    """Report to nobody."""


@dataclass(eq=False)
class Task:
    """Work that is going on.

    Attributes
    ----------
    what, unit : str
    total, done : int
        Things to do, and those done so far,
    before : int
        of which so many were done in an earlier run.
    begun : float
        Time of the clock [s].
    has_line : bool
        Whether a line was printed of it.
    """

    what: str
    unit: str
    total: int
    done: int
    before: int
    begun: float
    has_line: bool = False

    def state(self, now: float) -> str:
        """The number done, the rate and the remaining time."""
        told = f"{self.done:,} of {self.total:,} {self.unit}"
        elapsed, done = now - self.begun, self.done - self.before
        if done <= 0 or elapsed <= 0:
            return told
        rate = done / elapsed
        left = max(self.total - self.done, 0) / rate
        return f"{told}, {rate_text(rate)}, {duration_text(left)} left"


def rate_text(per_second: float) -> str:
    """A rate in words, of which the number is 1 at least where that can be: "12.5/min"."""
    for seconds, unit in ((1, "s"), (60, "min"), (3600, "h")):
        number = per_second * seconds
        if number >= 1 or unit == "h":
            return f"{number:,.0f}/{unit}" if number >= 99.95 else f"{number:.3g}/{unit}"
    raise AssertionError


def duration_text(seconds: float) -> str:
    """Minutes and seconds, or hours too: "0:28", "2:04:10"."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ProgressLine:
    """Shows the outermost task of the thread that makes it.

    Where the stream is a terminal, the task is a line that is drawn again and again, and is gone
    when the task ends. Elsewhere there is a line a minute, and one at the end of a task that had
    any.

    Parameters
    ----------
    stream : text file
    """

    def __init__(self, stream: TextIO) -> None:
        self.thread = threading.get_ident()
        self._stream = stream
        self._is_drawn_over = is_drawn_over(stream)
        self._bar = _characters(stream)
        self._tasks: list[Task] = []
        self._due = math.inf if self._is_drawn_over else clock() + PER_LINE
        self._width = 0  # of what is drawn now
        self._lock = threading.RLock()
        self._watch: threading.Thread | None = None
        self._is_closed = threading.Event()

    def begin(self, task: Task) -> None:
        """A task begins, perhaps within another one."""
        with self._lock:
            self._tasks.append(task)
            if len(self._tasks) == 1 and self._is_drawn_over:
                self._due = task.begun + PATIENCE
            if self._watch is None:
                self._watch = threading.Thread(target=self._look_again, daemon=True)
                self._watch.start()

    def advance(self, task: Task, n: int, before: bool) -> None:
        """So many more things of a task are done."""
        task.done += n
        task.before += n if before else 0
        self.look()

    def end(self, task: Task, is_finished: bool) -> None:
        """A task has ended; whatever was begun within it has, too."""
        with self._lock:
            if task not in self._tasks:
                return
            del self._tasks[self._tasks.index(task) :]
            if self._tasks:
                return
            self.clear()
            if self._is_drawn_over:
                self._due = math.inf
            elif task.has_line and is_finished:
                took = duration_text(clock() - task.begun)
                self._say(f"{task.what}: {task.done:,} of {task.total:,} {task.unit} in {took}")

    def look(self) -> None:
        """Show the outermost task if it is time to."""
        now = clock()
        if now < self._due:
            return
        with self._lock:
            if not self._tasks or now < self._due or now < self._tasks[0].begun + PATIENCE:
                return
            self._due = now + (PER_BAR if self._is_drawn_over else PER_LINE)
            first = self._tasks[0]
            if self._is_drawn_over:
                self._draw(first, now)
            else:
                first.has_line = True
                self._say(f"{first.what}: {first.state(now)}")

    @contextlib.contextmanager
    def set_aside(self) -> Iterator[None]:
        """Draw nothing within the block."""
        with self._lock:
            self.clear()
            yield

    def clear(self) -> None:
        """Take away what is drawn."""
        with self._lock:
            if self._width:
                self._write("\r" + " " * self._width + "\r")
                self._width = 0

    def close(self) -> None:
        """Draw nothing any more."""
        self._is_closed.set()
        with self._lock:
            self._tasks.clear()
            self.clear()

    def _draw(self, task: Task, now: float) -> None:
        """Draw the line over what is drawn now."""
        columns = _columns(self._stream) - 1
        state, what = task.state(now), visible(task.what)
        n = min(LONGEST_BAR, columns - len(what) - len(state) - 2)
        share = min(max(task.done / task.total, 0.0), 1.0) if task.total else 1.0
        bar = f"{self._bar[0] * round(share * n)}{self._bar[1] * (n - round(share * n))} "
        line = f"{what} {bar if n >= SHORTEST_BAR else ''}{state}"[:columns]
        before, self._width = self._width, len(line)
        self._write("\r" + line.ljust(before))

    def _say(self, line: str) -> None:
        self._write(visible(line) + "\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone
            self._stream.write(text)
            self._stream.flush()

    def _look_again(self) -> None:
        """Look at the task from time to time, also while it reports nothing."""
        idle = 0.0
        while not self._is_closed.wait(PULSE):
            self.look()
            with self._lock:
                idle = 0.0 if self._tasks else idle + PULSE
                if idle > IDLE:
                    self._watch = None
                    return


class Shown:
    """Progress that is shown, or not, until the end of a `with` block or for good."""

    def __init__(self, shown: bool) -> None:
        global _listener
        self._before, self._shown = _listener, shown
        if self._before is not None:
            self._before.clear()
        _listener = self._own = ProgressLine(sys.stderr) if shown else None

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_: object) -> None:
        global _listener
        if self._own is not None:
            self._own.close()
        _listener = self._before

    def __repr__(self) -> str:
        return f"progress is {'shown' if self._shown else 'not shown'}"


_listener: ProgressLine | None = None


def is_drawn_over(stream: Any) -> bool:
    """Whether a line can be written over: in terminals, and in what notebooks print."""
    if type(stream).__module__.startswith("ipykernel"):
        return True
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def _characters(stream: Any) -> tuple[str, str]:
    """The characters of the bar, as far as it is done and beyond."""
    try:
        "━─".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#", "-"
    return "━", "─"


def _columns(stream: Any) -> int:
    """The width of a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80
