"""Tables, numbers and progress as commands print them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import typer


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, a line a row; the first column is text, the others are numbers."""
    lines = [tuple(headings), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        typer.echo("  ".join([first.ljust(widths[0]), *cells]).rstrip())


def number(value: float | None, form: str = ".6g") -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:{form}}"


def counted(n: int, one: str, many: str = "") -> str:
    """A count and what is counted: "1 source", "1,234 sources"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


@contextlib.contextmanager
def progress_bar(what: str, every: int = 0) -> Iterator[Callable[[int, int], None]]:
    """A bar of the work done, on stderr; gives the function ``update(done, total)``.

    Where stderr is no terminal there is no bar, but a line for each `every` pieces of work, or none
    if that is 0.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )

    class Speed(TextColumn):
        def render(self, task: Task):
            self.text_format = f"{task.speed or 0:.1f}/s"
            return super().render(task)

    console = Console(stderr=True)
    if not console.is_terminal:
        yield (
            lambda done, total: (
                typer.echo(f"{what}: {done} of {total}", err=True)
                if every and done and (done % every == 0 or done == total)
                else None
            )
        )
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), Speed(""))
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
