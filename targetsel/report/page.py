"""The page of an evaluation: one self-contained HTML file."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from targetsel.report.canvas import Picture
from targetsel.report.counts import TOLERANCE, Count, by_kind
from targetsel.report.figures import ALL, BY_CHANCE, Figure, Figures, Subset
from targetsel.report.joint_proxies import DAWID_SEBASTIANI, DEPARTURE
from targetsel.report.local_coverage import N_DEALS, OVER_CELLS, WORST
from targetsel.report.pictures import pictures
from targetsel.report.redshifts import BIAS, NMAD, OUTLIERS
from targetsel.report.redshifts import TERMS as OF_REDSHIFTS
from targetsel.report.words import TERMS, in_words, three_sentences
from targetsel.spectra.lines import in_symbols
from targetsel.tables.files import written_beside

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
.warning { border-left: .4rem solid #d55e00; background: #fff4ec; padding: .6rem 1rem;
  font-weight: 600 }
figure { margin: 1rem 0 } figcaption { color: #444 }
figure > div, table { overflow-x: auto } img { width: 100%; min-width: 40rem; height: auto }
.summary { font-size: 1.15rem } dt { font-weight: 600 } nav { columns: 18rem; font-size: .95rem }
nav ol { margin: 0 }
summary { cursor: pointer; padding: .4rem 0 }
table { display: block; border-collapse: collapse; font-size: .8rem }
caption { text-align: left; font-weight: 600; padding: .6rem 0 }
th, td { padding: .15rem .5rem; text-align: right; border-bottom: 1px solid #ddd }
td, tbody th { white-space: nowrap }
th:first-child, td:first-child { text-align: left }
"""
SIMULATED_PHOTOMETRY = (
    " A simulated catalog's photometry may be that of a real galaxy, whose simulated image and "
    "spectrum differ from it; then this comparison favours the images."
)
ABOUT, MEANINGS = "What was evaluated", "What the terms mean"
CLAIMED, FIGURES = "Claims: expected against true counts", "Figures of all sources"
IN_CELLS = "90 % intervals of proxies in cells of like sources"
SUMMARY = {
    "Latents": ("RMSE", "R2", "coverage 68 %", "coverage 90 %", "CRPS"),
    "Latents together": (
        "energy score",
        "coverage 90 %",
        "largest departure",
        "largest departure" + BY_CHANCE,
    ),
    "Proxies": ("RMSE", "bias", "coverage 68 %", "coverage 90 %", "CRPS"),
    "Redshift": (NMAD, BIAS, OUTLIERS),
    "Proxies together": (DEPARTURE, DAWID_SEBASTIANI),
    IN_CELLS: (WORST, WORST + BY_CHANCE, OVER_CELLS, OVER_CELLS + BY_CHANCE),
    "Probabilities": ("calibration error", "calibration error" + BY_CHANCE),
    "Members of target classes": (
        "purity of members",
        "purity promised by P",
        "completeness of members",
        "true members over promised",
    ),
    "Lists": ("average precision", "purity at completeness 0.50", "purity at completeness 0.90"),
}


def write_page(
    figures: Figures,
    counts: Sequence[Count],
    parts: Sequence[Subset],
    about: dict[str, Any],
    path: Path,
    agreement: Picture | None = None,
) -> None:
    """Write the page of these figures; the others as `evaluation.Evaluation` has them."""
    drawn = [*filter(None, [agreement]), *pictures(figures, counts, parts)]
    shown = "\n".join(map(_figure, drawn))
    sentences = "".join(
        f"<p>{escape(each)}</p>" for each in three_sentences(figures, about, _ensemble(about))
    )
    contents = _contents([each.title for each in drawn])
    meant = TERMS | (OF_REDSHIFTS if figures.named(NMAD) else {})
    terms = "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}.</dd>" for a, b in meant.items())
    tables = "\n".join(_summary(title, names, figures) for title, names in SUMMARY.items())
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation of {escape(_ensemble(about))}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Evaluation of {escape(_ensemble(about))}</h1>
<section class="summary">{sentences}</section>
{contents}
<h2 id="{_place(ABOUT)}">{ABOUT}</h2>
{_header(about)}
{shown}
{_counts(counts, about)}
<h2 id="{_place(FIGURES)}">{FIGURES}</h2>
<p>All figures, also those of bins, are in <code>evaluation.parquet</code>.</p>
{tables}
<h2 id="{_place(MEANINGS)}">{MEANINGS}</h2>
<dl>{terms}</dl>
</main>
</body>
</html>
"""
    with written_beside(path) as beside:
        beside.write_text(page, encoding="utf-8")


def _place(title: str) -> str:
    """The name of a heading, to which links lead."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def _features(names: Sequence[str]) -> str:
    """Columns, and their differences, in words."""
    plain = [in_words(name) for name in names if " - " not in name]
    return ", ".join(plain) + ", and colours" * (len(plain) < len(names))


def _contents(titles: Sequence[str]) -> str:
    places = (ABOUT, *titles, CLAIMED, FIGURES, MEANINGS)
    items = "".join(f'<li><a href="#{_place(each)}">{escape(each)}</a></li>' for each in places)
    return f"<nav><ol>{items}</ol></nav>"


def _ensemble(about: dict[str, Any]) -> str:
    made_by = about["ensemble"]
    if not isinstance(made_by, dict):
        return "an unnamed ensemble"
    return f"{made_by.get('name') or 'an unnamed ensemble'} ({str(made_by.get('sha256'))[:12]})"


# ---------------------------------------------------------------------- header


def _header(about: dict[str, Any]) -> str:
    paragraphs = []
    if about["simulated"]:
        paragraphs.append(
            '<p class="warning">The images or spectra of these sources are SIMULATED. Nothing here '
            "says how accurate predictions from real images are.</p>"
        )
    calibration = about["calibration"]
    if isinstance(calibration, dict) and calibration.get("truth_sha256") == about["truth_sha256"]:
        paragraphs.append(
            '<p class="warning">The calibration was fitted to this same truth file, so these '
            "figures are too good.</p>"
        )
    items = "".join(f"<li>{escape(each)}</li>" for each in _facts(about))
    return "\n".join([*paragraphs, f"<ul>{items}</ul>"])


def _facts(about: dict[str, Any]) -> Iterable[str]:
    yield (
        f"{about['n']:,} sources in {about['n_groups']:,} groups; intervals hold 95 % of "
        f"{about['n_resamplings']} resamplings of the groups."
        + (" Sources count by their weight." if about["weighted"] else "")
    )
    yield _calibration(about["calibration"])
    yield f"Scored file {about['scored_sha256'][:12]}, truth {about['truth_sha256'][:12]}."
    if about["left_out"]:
        counts = ", ".join(f"{count:,} {why}" for why, count in about["left_out"].items())
        yield f"Left out: {counts}."
    unknown = {name: count for name, count in about["truth_unknown"].items() if count}
    if unknown:
        counts = ", ".join(f"{name} {count:,}" for name, count in unknown.items())
        yield f"Sources without a true value, by proxy, which its figures leave out: {counts}."
    if about["measurement_errors"]:
        yield "The errors of the true latents are added to their predicted scatter."
    if about["photometry"]:
        yield (
            "Photometry alone: gradient boosting on " + _features(about["photometry"]) + ". It is "
            "trained on these same sources, each predicted by a model that was not trained on its "
            "group. So it knows their population, which the ensemble may not know."
            + (SIMULATED_PHOTOMETRY if about["simulated"] else "")
        )
    else:
        yield f"No comparison with photometry alone: {about['no_photometry_because']}."
    for each in about["not_evaluated"]:
        yield f"Left out: {each}"
    if about["cells"]:
        yield (
            f"{about['cells']} cells are parts of equal numbers in what is known before a spectrum "
            "is taken: medians and widths of all proxies, magnitudes, colours and size. The worst "
            "of them is the one in which 90 % intervals hold the fewest true values; the departure "
            "is a root mean square. What chance would give, were intervals equally good in all "
            f"cells, is shown by {N_DEALS} shuffles of groups: their median, and the central 95 %."
        )
    yield (
        "Calibration errors and largest departures are means and maxima of absolute values: chance "
        "alone makes them larger than zero, and their intervals lie above them rather than around."
    )
    yield (
        "The joint departure of proxies is zero, on average, where the stated correlations of "
        "their errors are right, and may then be negative; single proxies do not change it."
    )


def _calibration(calibration: Any) -> str:
    if not calibration:
        return "Not calibrated: posteriors are as the networks predict them."
    if not isinstance(calibration, dict):
        return f"Calibrated ({calibration})."
    kind = "simulated" if calibration.get("simulated") else "real"
    number = calibration.get("n_fitted")
    sources = f"{number:,} {kind} sources" if isinstance(number, int) else f"{kind} sources"
    truth = str(calibration.get("truth_sha256", "unknown"))[:12]
    learnt = f" and recalibrated ('{calibration.get('name')}')"
    return (
        f"Calibrated on {sources} (truth {truth})"
        f"{learnt if calibration.get('recalibrations') else ''}, calibration "
        f"{str(calibration.get('sha256', 'unknown'))[:12]}."
    )


# ---------------------------------------------------------------------- body


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.svg).decode("ascii")
    text = escape(picture.description)
    return (
        f'<h2 id="{_place(picture.title)}">{escape(picture.title)}</h2>\n<figure>'
        f'<div><img src="data:image/svg+xml;base64,{data}" alt="{text}"></div>'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _summary(title: str, names: Sequence[str], figures: Figures) -> str:
    rows = [of for of in _rows_of(names[0], figures) if _belongs(of, title)]
    if not rows:
        return ""
    found = {of: [figures.find(name, of) for name in names] for of in rows}
    n = {of: next(each.n for each in those if each is not None) for of, those in found.items()}
    return _table(
        f"{title} (with 95 % intervals)",
        ("", *names, "n"),
        ((in_symbols(of), *map(_text, those), f"{n[of]:,}") for of, those in found.items()),
    )


def _counts(counts: Sequence[Count], about: dict[str, Any]) -> str:
    """Tables of expected and true counts: by kind, and of every claim, the worst first."""
    kinds = _table(
        "Claims by kind",
        ("", "claims", "off", "beyond their interval", "mean log score"),
        (
            (each.kind, f"{each.n}", f"{each.n_off}", f"{each.n_beyond}", f"{each.log_score:.4f}")
            for each in by_kind(counts)
        ),
    )
    every = _table(
        "Every claim, the most surprising first (with 95 % intervals)",
        ("", "kind", "expected", "true", "expected less true", "off", "n"),
        (
            (
                in_symbols(each.claim),
                each.kind,
                f"{each.expected:,.1f}",
                f"{each.true:,.0f}",
                f"{each.difference:+,.1f} ({each.low:+,.1f} to {each.high:+,.1f})",
                "off" if each.off else "",
                f"{each.n:,}",
            )
            for each in sorted(counts, key=lambda each: -each.surprise)
        ),
    )
    return (
        f'<h2 id="{_place(CLAIMED)}">{CLAIMED}</h2>\n<p>Off'
        " means by over "
        f"{100 * TOLERANCE:.0f} % of the true count and beyond the interval. Claims are drawn by "
        f"seed {about['claims']['seed']}, with limits at the 20, 70 and 95 % quantiles of the true "
        "values; conditions in the language of rules are in <code>claims.parquet</code>.</p>"
        f"{kinds}\n<details><summary>Every claim</summary>{every}</details>"
    )


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in headings)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(each)}</td>" for each in others)
        + "</tr>\n"
        for first, *others in rows
    )
    return (
        f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _rows_of(name: str, figures: Figures) -> list[str]:
    if name == "energy score":
        return list(dict.fromkeys(each.of for each in figures if each.of.startswith("latents")))
    return [each.of for each in figures.named(name, ALL)]


def _belongs(of: str, title: str) -> bool:
    if title in ("Latents", "Latents together"):
        return of.startswith("latent " if title == "Latents" else "latents")
    return title != "Proxies" or not of.startswith("latent")


def _text(figure: Figure | None) -> str:
    if figure is None or figure.value != figure.value:
        return "-"
    form = ".3f" if abs(figure.value) < 100 else ".1f"
    ends = f"{figure.low:{form}} to {figure.high:{form}}"
    return (
        f"{figure.value:{form}} ({ends})" if figure.low == figure.low else f"{figure.value:{form}}"
    )
