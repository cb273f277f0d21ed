"""The page of a list's outcome: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from targetsel.plots import Axes, matplotlib
from targetsel.report.canvas import COLOURS, STYLE, Picture, check_suffix, panels_of, svg_picture
from targetsel.report.one_page import image, page_of, table
from targetsel.report.outcome_redshifts import RedshiftOutcome
from targetsel.report.outcome_success import SuccessOutcome
from targetsel.report.outcomes import ClassOutcome, LineOutcome, ListOutcome
from targetsel.spectra.photoz import PHOTOZ
from targetsel.tables.files import written_beside

FORMATS = (".html",)
N_BINS = 20


def check_outcome_page(path: Path) -> None:
    """Refuse a page whose name ends in something else than .html.

    Raises
    ------
    OutputError
    """
    check_suffix(path, FORMATS)


def write_outcome_page(outcome: ListOutcome, path: Path) -> None:
    """Write the page; the same outcome has the same bytes.

    Raises
    ------
    OutputError
        If it cannot be written, or its name ends otherwise.
    """
    check_outcome_page(path)
    title = f"Outcome of the list by {outcome.observed.targets.footer.get('rules_name', '?')}"
    with matplotlib.rc_context(STYLE):
        picture = _picture(outcome)
    body = f"""{image(picture)}
<h2>Classes</h2>
{_table(ClassOutcome.headings, [each.cells for each in outcome.classes], 1)}
{_forecasts(outcome)}<h2>What the spectra show</h2>
{_table(LineOutcome.headings, [each.cells for each in outcome.lines], 2)}
{_redshifts(outcome).rstrip()}"""
    page = page_of(title, outcome.sentences, body)
    with written_beside(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _picture(outcome: ListOutcome) -> Picture:
    redshift = outcome.observed.measured.get(PHOTOZ)
    with_redshifts = redshift is not None and bool(np.isfinite(redshift).any())
    canvas, panels = panels_of(1 + with_redshifts, width=4.6, height=3.2)
    _draw_purity(panels[0], outcome.classes)
    text = (
        "Share of targets whose claim came true, with 95 % intervals; bars reach from the least to "
        "the most that it can be if failures are counted. Crosses are what the list states."
    )
    if with_redshifts:
        assert redshift is not None
        _draw_redshifts(panels[1], outcome, redshift)
        text += " Right: redshifts of the successes, weighted."
    return svg_picture(canvas, "Outcome", text)


def _draw_purity(panel: Axes, classes: Sequence[ClassOutcome]) -> None:
    for k, each in enumerate(classes):
        if each.least is not None and each.most is not None:
            ends = (each.least.value, each.most.value)
            panel.plot([k, k], ends, color="#bbbbbb", linewidth=8, solid_capstyle="butt")
        if each.purity is not None:
            value, low, high = each.purity.value, each.purity.low, each.purity.high
            error = [[value - low], [high - value]]
            panel.errorbar([k], [value], yerr=error, fmt="o", color=COLOURS[0], capsize=3)
        if np.isfinite(each.expected):
            panel.plot([k], [each.expected], "x", color=COLOURS[1], markersize=8)
    panel.set(ylim=(-0.03, 1.03), xlim=(-0.6, max(len(classes), 1) - 0.4), ylabel="purity")
    panel.set_xticks(range(len(classes)), [each.name.replace("$", r"\$") for each in classes])


def _draw_redshifts(panel: Axes, outcome: ListOutcome, redshift: np.ndarray) -> None:
    known = np.isfinite(redshift)
    low, high = float(redshift[known].min()), float(redshift[known].max())
    edges = np.linspace(low, high if high > low else low + 1e-3, N_BINS + 1)
    for k, each in enumerate(outcome.classes):
        rows = known & (outcome.observed.program == each.name)
        weight = outcome.observed.weight[rows]
        panel.hist(
            redshift[rows],
            edges.tolist(),
            weights=weight,
            histtype="step",
            color=COLOURS[k % len(COLOURS)],
            label=each.name.replace("$", r"\$"),
        )
    panel.set(xlabel="redshift", ylabel="sources that they stand for")
    panel.legend(fontsize=7, frameon=False)


def _forecasts(outcome: ListOutcome) -> str:
    """The table of forecasts of success with its heading; nothing where there are none."""
    if not outcome.forecasts:
        return ""
    rows = _table(SuccessOutcome.headings, [each.cells for each in outcome.forecasts], 2)
    return f"<h2>Success</h2>\n{rows}\n"


def _redshifts(outcome: ListOutcome) -> str:
    """The table of redshifts with its heading; nothing where there are none."""
    if not outcome.redshifts:
        return ""
    quantiles = _table(RedshiftOutcome.headings, [each.cells for each in outcome.redshifts], 1)
    shares = [row for each in outcome.redshifts for row in each.window_rows]
    windows = _table(RedshiftOutcome.window_headings, shares, 2)
    return f"<h2>Redshifts</h2>\n{quantiles}\n{windows}\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], n_texts: int) -> str:
    if not rows:
        return "<p>Too few spectra.</p>"
    return table(headings, rows, [' class="text"' * (k < n_texts) for k in range(len(headings))])
