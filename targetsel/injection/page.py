"""The page of changed images: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from targetsel.injection.figures import ClassShare, Injection, StepState, along
from targetsel.injection.steps import AXES, ImageStep
from targetsel.plots import Axes, matplotlib
from targetsel.report.canvas import (
    COLOURS,
    MARKS,
    STYLE,
    Picture,
    check_suffix,
    panels_of,
    svg_picture,
)
from targetsel.report.one_page import image, page_of, table
from targetsel.tables.files import written_beside

FORMATS = (".html",)
TITLE = "Selection function of images"


def check_injection_page(path: Path) -> None:
    """Refuse a page whose name ends in something else than .html.

    Raises
    ------
    OutputError
    """
    check_suffix(path, FORMATS)


def write_injection_page(found: Injection, path: Path) -> None:
    """Write the page; the same figures have the same bytes.

    Raises
    ------
    OutputError
        If it cannot be written, or its name ends otherwise.
    """
    check_injection_page(path)
    with matplotlib.rc_context(STYLE):
        picture = image(_picture(found))
    whole = [each.cells for each in found.shares if each.is_whole]
    binned = [
        (*each.cells, f"{each.low:.2f} to {each.high:.2f}")
        for each in found.shares
        if not each.is_whole
    ]
    headings = (*ClassShare.headings, found.magnitude)
    bins = (
        f"<h2>By magnitude before any change</h2>\n{_table(headings, binned, 1)}" if binned else ""
    )
    body = f"""{picture}
<h2>Classes</h2>
{_table(ClassShare.headings, whole, 1)}
<h2>How far the ensemble knows such images</h2>
{_table(StepState.headings, [each.cells for each in found.states], 0)}
{bins}"""
    page = page_of(TITLE, found.facts, body)
    with written_beside(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _picture(found: Injection) -> Picture:
    axes = [axis for axis in AXES if len(along(axis, found.steps)) > 1]
    canvas, panels = panels_of(len(found.names) * len(axes), width=3.9, height=3.0)
    places = ((name, axis) for name in found.names for axis in axes)
    for panel, (name, axis) in zip(panels, places, strict=True):
        _draw(panel, found, name, along(axis, found.steps))
    by = "against the magnitude before any change" if _is_binned(found) else "of all sources"
    text = f"Share selected {by}, step by step, with 95 % intervals."
    return svg_picture(canvas, TITLE, text)


def _is_binned(found: Injection) -> bool:
    return not all(each.is_whole for each in found.shares)


def _draw(panel: Axes, found: Injection, name: str, steps: Sequence[ImageStep]) -> None:
    """The shares of one class, a curve for each step."""
    whole = not _is_binned(found)
    for k, step in enumerate(steps):
        own = [
            each
            for each in found.shares
            if each.name == name and each.step == step and each.is_whole == whole
        ]
        x = [float(k) if whole else each.middle for each in own]
        value = [each.selected.value for each in own]
        below = [max(each.selected.value - each.selected.low, 0.0) for each in own]
        above = [max(each.selected.high - each.selected.value, 0.0) for each in own]
        panel.errorbar(
            x,
            value,
            yerr=[below, above],
            label=step.text,
            color=COLOURS[k % len(COLOURS)],
            marker=MARKS[k % len(MARKS)],
            markersize=4,
            capsize=2,
        )
    panel.set(ylim=(-0.03, 1.03), ylabel="share selected", title=name.replace("$", r"\$"))
    if whole:
        panel.set_xticks([])
    else:
        panel.set_xlabel(found.magnitude.replace("$", r"\$"))
    panel.legend(fontsize=7, frameon=False)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], n_texts: int) -> str:
    return table(headings, rows, [' class="text"' * (k < n_texts) for k in range(len(headings))])
