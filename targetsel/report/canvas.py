"""Style of all pictures of reports, and how they are written: PNG, PDF or SVG, by the suffix."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.errors import OutputError
from targetsel.plots import Axes
from targetsel.plots import Figure as Canvas
from targetsel.spectra.lines import in_symbols
from targetsel.tables.files import written_beside

# Okabe & Ito's colours, distinct for most colour-blind readers, with marks beside them.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f",
           "#8c564b")  # fmt: skip
MARKS = "os^Dvp*Xh"
STYLE: dict[Any, Any] = {"svg.hashsalt": "targetsel", "svg.fonttype": "none", "font.size": 9,
         "pdf.fonttype": 42, "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip
# What would make two pictures of the same data differ.
NO_DATE = {"png": None, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
AS_IT_IS: dict[str, Any] = {"parse_math": False}  # of texts in which dollars begin no formula
COLUMNS = 3
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


@dataclass(frozen=True)
class Picture:
    """An SVG image, with a description in words."""

    svg: bytes
    title: str
    description: str


def svg_picture(canvas: Canvas, title: str, description: str) -> Picture:
    """The canvas as SVG, with its description."""
    buffer = io.BytesIO()
    canvas.savefig(
        buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None}
    )
    return Picture(buffer.getvalue(), title, in_symbols(description))


def panels_of(n: int, width: float = 3.3, height: float = 2.9) -> tuple[Canvas, list[Axes]]:
    """A canvas with n panels of this width and height [inch]."""
    columns = min(n, COLUMNS)
    rows = -(-n // columns)
    canvas = Canvas(figsize=(width * columns, height * rows), layout="constrained")
    panels = list(np.ravel(canvas.subplots(rows, columns, squeeze=False)))
    for spare in panels[n:]:
        spare.set_axis_off()
    return canvas, panels[:n]
