"""Tables and numbers as commands print them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

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
