"""Reports of one page: their frame and style, their pictures and their tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from targetsel.report.canvas import Picture

PAGE_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 66rem; margin: 1.5rem auto;
  padding: 0 1rem; color: #1a1a1a; background: #fff }
h1 { font-size: 1.5rem; margin: 0 0 .4rem } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem }
ul { margin: .4rem 0; padding-left: 1.2rem } li { overflow-wrap: anywhere }
.sky { margin: .8rem 0 } .sky img { width: 100%; height: auto } figcaption { color: #444 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .12rem .6rem .12rem 0; text-align: right; border-bottom: 1px solid #ddd;
  vertical-align: top }
th { font-weight: 600; border-bottom: 1px solid #888 }
td { white-space: nowrap } td.text, th.text { text-align: left }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr));
  gap: .8rem } .chart { margin: 0; font-size: .78rem; overflow-wrap: anywhere }
.chart img { width: 100%; height: auto; display: block } .chart .none { aspect-ratio: 1;
  background: #eee; color: #666; display: grid; place-items: center }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 7.2rem }
@page { size: A4; margin: 11mm }
@media print { body { font-size: 10.5px; max-width: none; margin: 0; padding: 0 }
  table { font-size: 8.5px } tr, figure, li { break-inside: avoid } h2 { break-after: avoid }
  .charts { grid-template-columns: repeat(6, 1fr); gap: 2mm } .chart { font-size: 7.5px }
  .wide { overflow: visible } td.name { min-width: 4rem }
  .sky img { width: 82% } .sky, h2 { margin-top: .4rem } }
"""


def page_of(title: str, facts: Iterable[str], body: str) -> str:
    """A whole page in HTML: the title, a list of facts, and then the body, which is HTML.

    Title and facts are escaped.
    """
    listed = "".join(f"<li>{escape(each)}</li>" for each in facts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{PAGE_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<ul>{listed}</ul>
{body}
</main>
</body>
</html>
"""


def image(picture: Picture) -> str:
    """A picture with its description below."""
    data = base64.b64encode(picture.svg).decode("ascii")
    text = escape(picture.description)
    return (
        f'<figure class="sky"><img src="data:image/svg+xml;base64,{data}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str]) -> str:
    """A table in HTML, its texts escaped.

    Parameters
    ----------
    kinds : sequence of str
        The attributes of each column's cells, such as ' class="text"', or empty.
    """
    head = "".join(
        f"<th{kind}>{escape(each)}</th>" for kind, each in zip(kinds, headings, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{escape(each)}</td>" for kind, each in zip(kinds, row, strict=True))
        + "</tr>\n"
        for row in rows
    )
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{whole}</div>'
