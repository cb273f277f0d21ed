"""The page of a night's plan: altitudes, the list and finder charts, as one HTML file or a PDF."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from targetsel.imaging.store import CutoutStore
from targetsel.nights.plan import NightPlan
from targetsel.nights.visibility import Visibility
from targetsel.plots import Figure as Canvas
from targetsel.plots import matplotlib
from targetsel.report.canvas import NO_DATE, STYLE, Picture, check_suffix, svg_picture
from targetsel.report.finders import FinderChart, FinderCharts, charts_of
from targetsel.report.night_curves import draw_curves
from targetsel.report.night_plan import HEADINGS, PlannedExposures
from targetsel.report.one_page import image, page_of, table
from targetsel.tables.files import written_beside

FORMATS = (".html", ".pdf")
A4 = (8.27, 11.69)  # [inch]
PLACES = (0.03, 0.055, 0.205, 0.31, 0.42, 0.53, 0.595, 0.65, 0.73, 0.78, 0.89)  # of PDF columns
ACROSS = 4  # charts in a row of a PDF page
LINE = 0.0135  # of a PDF page
WIDTH = 125  # characters of a line in a PDF
LONGEST = {1: 20, 2: 13}  # characters of a column in a PDF
NEXT_ROWS = 66  # of the list on a page of its own


def check_page(path: Path) -> str:
    """The format of a page, "html" or "pdf", by the end of its name.

    Raises
    ------
    OutputError
        If it ends otherwise.
    """
    return check_suffix(path, FORMATS)


def write_night_page(
    plan: NightPlan,
    asked: Visibility,
    path: Path,
    cutouts: CutoutStore | None = None,
    targets: Path | None = None,
    has_charts: bool = True,
) -> str:
    """Write the page of a plan, and say of how many targets it has charts.

    The same plan has the same bytes.

    Parameters
    ----------
    plan : NightPlan
    asked : Visibility
        What it was made for.
    path : Path
        A name that ends in .html or .pdf.
    cutouts : CutoutStore, optional
        Where finder charts are from; by default the store beside the list, if there is one.
    targets : Path, optional
        The list, if it is a file.
    has_charts : bool
        Whether exposures are of single targets, which may have finder charts.

    Raises
    ------
    CutoutError
        If the store has none of the planned targets, or cannot be read.
    OutputError
        If the page cannot be written.
    """
    kind = check_page(path)
    shown = PlannedExposures.of(plan, asked)
    charts = charts_of(shown, cutouts, targets) if has_charts else FinderCharts(None, "", shown)
    with matplotlib.rc_context(STYLE), written_beside(path) as beside:
        if kind == "html":
            beside.write_text(_html(shown, charts), encoding="utf-8")
        else:
            _write_pdf(shown, charts, beside)
    return charts.remark


# ---------------------------------------------------------------------- HTML


def _html(shown: PlannedExposures, charts: FinderCharts) -> str:
    times = "".join(
        f'<tr><td class="text">{escape(name)}</td><td class="text">{escape(span)}</td></tr>'
        for name, span in shown.times()
    )
    body = f"""<table>{times}</table>
{image(_curves(shown))}
<h2>Exposures in their order</h2>
{_list(shown.rows)}
{_finders(charts)}"""
    return page_of(shown.title, shown.facts(), body)


def _curves(shown: PlannedExposures) -> Picture:
    canvas = Canvas(figsize=(10, 4.6))
    draw_curves(canvas.add_subplot(), shown)
    return svg_picture(canvas, "Altitudes", _caption(shown))


def _caption(shown: PlannedExposures) -> str:
    return (
        "Altitudes of the planned targets; thick lines are exposures, with their numbers in the "
        f"list. The darkest shade is the dark of {shown.night.twilight} twilight, the lighter one "
        "the time from sunset to sunrise."
    )


def _list(rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>No target is planned.</p>"
    return table(HEADINGS, rows, ["", *[' class="text name"'] * 2, *[""] * (len(HEADINGS) - 3)])


def _finders(charts: FinderCharts) -> str:
    if not charts.remark:
        return ""
    heading = "<h2>Finder charts</h2>"
    if charts.store is None or not len(charts.shown):
        return f"{heading}\n<p>{escape(_sentence(charts.remark))}</p>"
    said = " ".join([_sentence(charts.remark), *charts.method()])
    places = [" ".join(each) for each in charts.shown.positions]
    figures = "\n".join(
        f'<figure class="chart">{_drawn(chart)}<figcaption><b>{chart.number}</b> '
        f"{escape(charts.shown.ids[chart.number - 1])}<br>{escape(places[chart.number - 1])}<br>"
        f"{escape(chart.words)}</figcaption></figure>"
        for page in charts.pages()
        for chart in page
    )
    return f'{heading}\n<p>{escape(said)}</p>\n<div class="charts">\n{figures}\n</div>'


def _drawn(chart: FinderChart) -> str:
    if chart.cutout is None:
        return '<div class="none">no chart</div>'
    canvas = Canvas(figsize=(2.4, 2.4))
    chart.draw(canvas.add_axes((0, 0, 1, 1)))
    data = base64.b64encode(svg_picture(canvas, "", "").svg).decode("ascii")
    return (
        f'<img src="data:image/svg+xml;base64,{data}" alt="Finder chart of exposure '
        f'{chart.number}">'
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


# ---------------------------------------------------------------------- PDF


def _write_pdf(shown: PlannedExposures, charts: FinderCharts, path: Path) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    rows = shown.rows
    with PdfPages(path, metadata=NO_DATE["pdf"]) as pages:
        canvas, top = _first_page(shown, charts.remark)
        fitting = max(int((top - 0.03) / LINE) - 1, 0)
        _write_rows(canvas, rows[:fitting], top)
        pages.savefig(canvas)
        for start in range(fitting, len(rows), NEXT_ROWS):
            canvas = Canvas(figsize=A4)
            _write_rows(canvas, rows[start : start + NEXT_ROWS], 0.96)
            pages.savefig(canvas)
        for page in charts.pages():
            pages.savefig(_chart_page(charts, page))


def _chart_page(charts: FinderCharts, page: Sequence[FinderChart]) -> Canvas:
    canvas = Canvas(figsize=A4)
    places = charts.shown.positions
    for k, chart in enumerate(page):
        row, column = divmod(k, ACROSS)
        left, bottom = 0.03 + 0.2375 * column, 0.98 - 0.183 * (row + 1)
        chart.draw(canvas.add_axes((left, bottom + 0.03, 0.2225, 0.153)))
        name = f"{chart.number}  {_short(charts.shown.ids[chart.number - 1], 24)}"
        lines = [name, "  ".join(places[chart.number - 1]), *textwrap.wrap(chart.words, 40)]
        for at, line in enumerate(lines):
            weight = "normal" if at else "bold"
            _write(canvas, left, bottom + 0.022 - 0.0095 * at, line, 6.5, weight=weight)
    said = " ".join(charts.method())
    for at, line in enumerate(textwrap.wrap(said, 150)):
        _write(canvas, 0.03, 0.045 - 0.011 * at, line, 6.5, color="0.3")
    return canvas


def _first_page(shown: PlannedExposures, remark: str) -> tuple[Canvas, float]:
    """The first page without its list, and the height at which that begins."""
    canvas = Canvas(figsize=A4)
    _write(canvas, 0.03, 0.965, shown.title, 15, weight="bold")
    height = 0.945
    for fact in [*shown.facts(), *([_sentence(remark)] if remark else [])]:
        for line in textwrap.wrap(fact, WIDTH):
            _write(canvas, 0.03, height, line, 8)
            height -= LINE
    height -= LINE / 2
    for name, span in shown.times():
        _write(canvas, 0.03, height, name, 8)
        _write(canvas, 0.3, height, span, 8)
        height -= LINE
    panel = canvas.add_axes((0.08, height - 0.3, 0.84, 0.26))
    draw_curves(panel, shown)
    height -= 0.35
    for line in textwrap.wrap(_caption(shown), WIDTH):
        _write(canvas, 0.03, height, line, 7.5, color="0.3")
        height -= LINE
    return canvas, height - LINE


def _write_rows(canvas: Canvas, rows: Iterable[Sequence[str]], top: float) -> None:
    for k, row in enumerate([HEADINGS, *rows]):
        for column, (x, text) in enumerate(zip(PLACES, row, strict=True)):
            short = _short(text, LONGEST.get(column, len(text)))
            _write(canvas, x, top - k * LINE, short, 7, weight="normal" if k else "bold")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _write(
    canvas: Canvas, x: float, y: float, text: str, size: float, weight: str = "normal",
    color: str = "black",
) -> None:  # fmt: skip
    """Write a text as it is: a dollar sign in it begins no formula."""
    canvas.text(x, y, text, fontsize=size, weight=weight, color=color, parse_math=False)
