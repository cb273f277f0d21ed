"""Style of all pictures of reports, and how they are written: PNG, PDF or SVG, by the suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Canvas

from targetsel.errors import OutputError
from targetsel.tables.files import written_beside

# Okabe & Ito's colours, distinct for most colour-blind readers, with marks beside them.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f",
           "#8c564b")  # fmt: skip
MARKS = "os^Dvp*Xh"
STYLE: dict[Any, Any] = {"svg.hashsalt": "targetsel", "svg.fonttype": "none", "font.size": 9,
         "pdf.fonttype": 42, "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip
# What would make two pictures of the same data differ.
NO_DATE = {"png": None, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
FORMATS = tuple(f".{kind}" for kind in NO_DATE)


def check_suffix(output: Path, formats: tuple[str, ...] = FORMATS) -> str:
    """The kind of picture, such as "png", that the end of a name asks for.

    Raises
    ------
    OutputError
        If it is none of `formats`.
    """
    if output.suffix.lower() not in formats:
        raise OutputError(f"{output}: expected a name that ends in {' or '.join(formats)}.")
    return output.suffix.lower().removeprefix(".")


def write_canvas(canvas: Canvas, output: Path) -> None:
    """Write a picture in the format of its suffix; the same picture has the same bytes."""
    kind = check_suffix(output)
    with written_beside(output) as beside:
        canvas.savefig(beside, format=kind, dpi=130, metadata=NO_DATE[kind])
