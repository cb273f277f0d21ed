"""Lines, tables, numbers and progress as commands show them.

Whatever commands print goes through `say`, so that nothing that a file says, such as an id, can
steer the terminal.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import typer

from targetsel.errors import counted

Progress = Callable[[int, int], None]
# Control characters but tab and newline, marks that reorder text, and halves of characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """The text with backslash escapes for characters that would steer a terminal."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: object, err: bool = False) -> None:
    """Print a line, or lines, on standard output or standard error."""
    typer.echo(visible(str(text)), err=err)


def say_error(error: BaseException) -> None:
    """Print an error as one line on standard error, and below it the place in the user's file."""
    say(str(error).replace("\n", "\\n"), err=True)
    if detail := getattr(error, "detail", ""):
        say(detail, err=True)


class SteadyStream:
    """Standard output or error that outlives its reader, and an encoding that lacks a character.

    What is written after the reader has closed the pipe is dropped, so that the work goes on.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._open():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._open():
            self._stream.flush()

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def steady_streams() -> Iterator[None]:
    """Make standard output and error steady within the block; see `SteadyStream`."""
    before = sys.stdout, sys.stderr
    # A stream that was closed before the command began is None.
    sys.stdout, sys.stderr = (SteadyStream(each or io.StringIO()) for each in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], n_texts: int = 1) -> None:
    """Print a table, a line a row; the first `n_texts` columns are texts, the others numbers."""
    lines = [[visible(cell).replace("\n", "\\n") for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.ljust(width) if k < n_texts else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())


def number(value: float | None, form: str = ".6g") -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:{form}}"


def say_written(path: Path, before: str = "") -> None:
    """Say where a table was written, and what to know of its format."""
    from targetsel.tables.writing import format_note

    say(f"{before}written to {path}")
    if note := format_note(path):
        say(note)


def say_joined(n: int, left_out: Mapping[str, int], simulated: bool) -> None:
    """Say how many sources two files share, and how many are left out, by the reason."""
    say(f"{counted(n, 'source')} with a prediction and a known spectrum")
    if simulated:
        say("Their images or spectra are simulated: this says nothing about real ones.")
    for why, count in left_out.items():
        if count:
            say(f"left out: {count:,} {why}")


@contextlib.contextmanager
def progress_bar(description: str, every: int = 0) -> Iterator[Progress]:
    """Show on standard error how far the work of the block has come.

    Yields a function of (done, total). Where standard error is no terminal there is no bar, but a
    line for each `every` pieces of work, or none if that is 0.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    def line(done: int, total: int) -> None:
        if every and done and (done % every == 0 or done == total):
            say(f"{description}: {done} of {total}", err=True)

    console = Console(stderr=True)
    if not console.is_terminal:
        yield line
        return
    columns = (
        *(TextColumn(description), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("{task.fields[rate]}"), TimeRemainingColumn()),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=None, rate="")

        def show(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.1f}/s" if speed else "")

        yield show


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
