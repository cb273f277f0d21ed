"""Small tables as lines of text: as commands print them, and as notebooks show what they give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from targetsel.errors import visible


def text_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], n_texts: int = 1
) -> list[str]:
    """A table, a line a row.

    Parameters
    ----------
    headings : sequence of str
    rows : iterable of sequences of str
        One cell under each heading.
    n_texts : int
        The first so many columns are texts and begin at the left, the others are numbers.
    """
    lines = [[visible(cell).replace("\n", "\\n") for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    found = []
    for line in lines:
        cells = [
            cell.ljust(width) if k < n_texts else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        found.append("  ".join(cells).rstrip())
    return found


def number(value: float | None, form: str = ".6g") -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:{form}}"
