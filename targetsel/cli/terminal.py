"""Tables, numbers and progress as commands show them."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import typer

Progress = Callable[[int, int], None]


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], n_texts: int = 1) -> None:
    """Print a table, a line a row; the first `n_texts` columns are texts, the others numbers."""
    lines = [tuple(headings), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.ljust(width) if k < n_texts else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


def number(value: float | None, form: str = ".6g") -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:{form}}"


def counted(n: int, one: str, many: str = "") -> str:
    """A count and what is counted: "1 source", "1,234 sources"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


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
            typer.echo(f"{description}: {done} of {total}", err=True)

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
