"""The page of a list's evenness: trends with maps, before and after weights, in one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from targetsel.plots import Axes, matplotlib
from targetsel.report.canvas import (
    COLOURS,
    COLUMNS,
    MARKS,
    STYLE,
    Picture,
    check_suffix,
    panels_of,
    svg_picture,
)
from targetsel.report.one_page import image, page_of, table
from targetsel.selection.reports.evenness import ClassEvenness, Evenness, MapTrend
from targetsel.sky.positions import centres_of, coarser, healpix_of
from targetsel.tables.files import written_beside

FORMATS = (".html",)
PAGE_WIDTH = 9.9  # inch, of all panels beside each other
COARSER = 2  # steps in order by which the density is smoothed for the picture of the sky
GRID = (400, 200)  # points of the picture in ra and in sin(dec)
SPREAD = 2.0  # deviations from the mean that colours reach to


def check_density_page(path: Path) -> None:
    """Refuse a page whose name ends in something else than .html.

    Raises
    ------
    OutputError
    """
    check_suffix(path, FORMATS)


def write_density_page(evenness: Evenness, path: Path, title: str) -> None:
    """Write the page; the same evenness has the same bytes.

    Raises
    ------
    OutputError
        If it cannot be written, or its name ends otherwise.
    """
    check_density_page(path)
    with matplotlib.rc_context(STYLE):
        parts = [image(_sky(evenness.classes[0], evenness.order))]
        for each in evenness.classes:
            if each.trends:
                parts += [f"<h2>{escape(each.name)}</h2>", image(_trends(each))]
    rows = [each.cells for each in evenness.trends]
    kinds = [' class="text"' * (k < 2) for k in range(len(MapTrend.headings))]
    body = f"""<h2>Trends</h2>
{table(MapTrend.headings, rows, kinds)}
{"".join(parts)}"""
    page = page_of(title, evenness.sentences, body)
    with written_beside(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _trends(one: ClassEvenness) -> Picture:
    n = len(one.trends)
    canvas, panels = panels_of(n, width=PAGE_WIDTH / min(n, COLUMNS), height=2.8)
    for panel, each in zip(panels, one.trends, strict=True):
        _draw_trend(panel, each)
    text = (
        f"Density of {one.name} in bins of each map, relative to the mean, with standard errors "
        "from patches of the sky: before weights, and with them."
    )
    return svg_picture(canvas, f"Trends of {one.name}", text)


def _draw_trend(panel: Axes, each: MapTrend) -> None:
    panel.axhline(1.0, color="#bbbbbb", linewidth=1)
    for k, (label, found) in enumerate((("before", each.before), ("weighted", each.after))):
        panel.errorbar(
            found.centres,
            found.density,
            yerr=found.error,
            fmt=MARKS[k],
            markersize=4,
            color=COLOURS[1 - k],
            capsize=2,
            label=f"{label}, p = {found.p:.2g}",
        )
    panel.set(xlabel=each.map.replace("$", r"\$"), ylabel="relative density")
    panel.legend(fontsize=7, frameon=False)


def _sky(one: ClassEvenness, order: int) -> Picture:
    """The density on the sky, counted and predicted."""
    assert one.prediction is not None  # of all targets there is one, or an error
    coarse = max(order - COARSER, 0)
    pixels, place = np.unique(one.pixels >> 2 * (order - coarse), return_inverse=True)
    values = [
        np.bincount(place, each) / np.bincount(place)
        for each in (one.density, one.prediction.relative)
    ]
    start, ends = _extent(*centres_of(one.pixels, order))
    spread = SPREAD * max(float(values[0].std()), 1e-3)
    canvas, panels = panels_of(2, width=4.6, height=3.0)
    for panel, each, name in zip(panels, values, ("counted", "predicted"), strict=True):
        _draw_sky(panel, pixels, each, coarse, start, ends, spread)
        panel.set_title(name, fontsize=9)
    text = (
        f"Density of {one.name} on the sky, relative to the mean, in pixels of nside "
        f"{1 << coarse}: as counted, and as maps predict it. Colours reach from {1 - spread:.2f} "
        f"to {1 + spread:.2f}; east is at the left."
    )
    return svg_picture(canvas, "Sky", text)


def _extent(ra: np.ndarray, dec: np.ndarray) -> tuple[float, Sequence[float]]:
    """The ra behind the widest gap, and how far from it ra and where sin(dec) reach."""
    sorted_ra = np.sort(ra)
    gaps = np.diff(sorted_ra, append=sorted_ra[0] + 360)
    widest = int(np.argmax(gaps))
    start = float(sorted_ra[(widest + 1) % len(ra)])
    sine = np.sin(np.radians(dec))
    return start, (360 - float(gaps[widest]), float(sine.min()), float(sine.max()))


def _draw_sky(
    panel: Axes,
    pixels: np.ndarray,
    values: np.ndarray,
    order: int,
    start: float,
    ends: Sequence[float],
    spread: float,
) -> None:
    width, low, high = ends
    east = (np.arange(GRID[0]) + 0.5) / GRID[0] * max(width, 1e-6)
    sine = low + (np.arange(GRID[1]) + 0.5) / GRID[1] * (high - low)
    ra, dec = np.meshgrid((start + east) % 360, np.degrees(np.arcsin(sine)))
    wanted = coarser(healpix_of(ra.ravel(), dec.ravel()), order)
    place = np.minimum(np.searchsorted(pixels, wanted), len(pixels) - 1)
    shown = np.where(pixels[place] == wanted, values[place], np.nan).reshape(ra.shape)
    panel.imshow(
        shown,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, width, low, high),
        cmap="RdBu_r",
        vmin=1 - spread,
        vmax=1 + spread,
    )
    panel.invert_xaxis()
    ticks = np.linspace(0, width, 5)
    panel.set_xticks(ticks, [f"{(start + each) % 360:.0f}" for each in ticks])
    sines = np.linspace(low, high, 5)
    panel.set_yticks(sines, [f"{np.degrees(np.arcsin(each)):.0f}" for each in sines])
    panel.set(xlabel="ra [deg]", ylabel="dec [deg]")
