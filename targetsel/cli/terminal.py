"""Lines, tables and numbers as commands show them.

Whatever commands print goes through `say`, so that nothing that a file says, such as an id, can
steer the terminal.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import typer

from targetsel.documents.text_table import text_table
from targetsel.errors import counted, visible
from targetsel.tasks import set_aside


def say(text: object, err: bool = False) -> None:
    """Print a line, or lines, on standard output or standard error."""
    shown = with_addresses_shown(str(text))
    if _KEPT_BACK and _KEPT_BACK[-1].takes(shown, err):
        return
    with set_aside():
        typer.echo(visible(shown), err=err)


@dataclass
class _KeptBack:
    """Lines that are not printed yet: from the first that names one of some places on."""

    places: tuple[str, ...]
    lines: list[tuple[str, bool]] = field(default_factory=list)

    def takes(self, text: str, err: bool) -> bool:
        if self.lines or self.names_any(text):
            self.lines.append((text, err))
        return bool(self.lines)

    def names_any(self, text: str) -> bool:
        return any(place in text for place in self.places)


_KEPT_BACK: list[_KeptBack] = []


@contextlib.contextmanager
def told_once_true(places: Sequence[str]) -> Iterator[None]:
    """Keep back what is said of some places until the block has ended, and made it true.

    Later lines wait behind these. Where the block raises, lines that name a place are dropped.
    """
    waiting, is_true = _KeptBack(tuple(places)), False
    _KEPT_BACK.append(waiting)
    try:
        yield
        is_true = True
    finally:
        _KEPT_BACK.pop()
        for text, err in waiting.lines:
            if is_true or not waiting.names_any(text):
                say(text, err)


def with_addresses_shown(text: str) -> str:
    """The text with the addresses of remote files in place of their local copies."""
    module = sys.modules.get("targetsel.remote.copies")  # else nothing remote was used
    return module.as_addresses(text) if module else text


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
    for line in text_table(headings, rows, n_texts):
        say(line)


def say_written(path: Path, before: str = "") -> None:
    """Say where a table was written, and what to know of its format."""
    from targetsel.tables.writing import format_note

    say(f"{before}written to {path}")
    if note := format_note(path):
        say(note)


def say_aside(text: object) -> None:
    """Print a line on standard error, beside the result."""
    say(text, err=True)


def say_joined(n: int, left_out: Mapping[str, int], simulated: bool) -> None:
    """Say how many sources two files share, and how many are left out, by the reason."""
    say(f"{counted(n, 'source')} with a prediction and a known spectrum")
    if simulated:
        say("Their images or spectra are simulated: this says nothing about real ones.")
    for why, count in left_out.items():
        if count:
            say(f"left out: {count:,} {why}")
