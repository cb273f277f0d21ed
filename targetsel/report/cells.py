"""A picture of cells: which parts of the space of features have spectra, and which have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from targetsel.feature_cells.adding import CellCounts
from targetsel.plots import Axes, Figure, matplotlib
from targetsel.report.canvas import COLOURS, STYLE, write_canvas

LARGEST = 260.0  # area of the circle of the fullest cell [points^2]
SMALLEST = 6.0
MAP = "viridis"


def write_cells_picture(counts: CellCounts, output: Path) -> None:
    """Draw each cell at its centre: its area by its sources, its colour by the share with spectra.

    Of a magnitude and colours it shows the magnitude and the bluest colour; of latents the two
    directions in which the centres differ most.

    Raises
    ------
    ExtraError
        If matplotlib is not installed.
    OutputError
        If the picture cannot be written, or its name does not end as one of a picture.
    """
    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(6.4, 5.0), layout="constrained")
        _draw(canvas.subplots(), counts)
        write_canvas(canvas, output)


def _draw(panel: Axes, counts: CellCounts) -> None:
    places, labels = _axes(counts)
    share = counts.known / np.maximum(counts.sources, 1)
    most = max(int(counts.sources.max()), 1)
    area = SMALLEST + (LARGEST - SMALLEST) * counts.sources / most
    without, shown = counts.known == 0, counts.sources > 0
    some = shown & ~without
    # Full cells first, so that small ones lie on top of them.
    order = np.argsort(-area, kind="stable")
    drawn = order[some[order]]
    top = float(share[some].max()) if some.any() else 1.0
    points = panel.scatter(
        places[drawn, 0],
        places[drawn, 1],
        s=area[drawn],
        c=share[drawn],
        cmap=MAP,
        vmin=0,
        vmax=top,
        lw=0.3,
        edgecolors="white",
    )
    empty = order[(shown & without)[order]]
    panel.scatter(
        places[empty, 0],
        places[empty, 1],
        s=area[empty],
        facecolors="none",
        edgecolors=COLOURS[1],
        lw=1.2,
        label=f"no spectrum: {len(empty):,} cells, {counts.share_unknown:.0%} of the sources",
    )
    panel.set(xlabel=labels[0], ylabel=labels[1])
    figure = panel.get_figure()
    assert figure is not None
    figure.colorbar(points, ax=panel, label="share of the cell's sources with a spectrum")
    panel.set_title(
        f"{int(shown.sum()):,} cells; area: sources, up to {most:,}", fontsize=9, loc="left"
    )
    if len(empty):
        panel.legend(loc="best", fontsize=8, framealpha=0.85, edgecolor="none")


def _axes(counts: CellCounts) -> tuple[np.ndarray, tuple[str, str]]:
    """Where cells are drawn, shape (C, 2), and the names of the two axes."""
    centres = counts.centres
    features, names = centres.features, centres.names
    if centres.kind == "colours":
        across, up = 0, min(1, len(names) - 1)
        return features[:, [across, up]], (f"{names[across]} [mag]", f"{names[up]} [mag]")
    weight = counts.sources / max(int(counts.sources.sum()), 1)
    away = centres.standardised - weight @ centres.standardised
    spread, directions = np.linalg.eigh((away * weight[:, None]).T @ away)
    axes = directions[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    if axes.shape[1] == 1:
        axes = np.repeat(axes, 2, axis=1)
    shares = spread[::-1][:2] / max(float(spread.sum()), 1e-300)
    first_two = [f"direction {k + 1} of the latents, {share:.0%} of their variance"
                 for k, share in enumerate(np.resize(shares, 2))]  # fmt: skip
    return away @ axes, (first_two[0], first_two[1])
