"""Picture of one source: its image, expected spectrum, line strengths, and what rules say of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord

from targetsel.errors import CatalogError, CutoutError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.picture import channels, composite, draw_marks
from targetsel.imaging.store import CutoutStore
from targetsel.networks.posterior import LatentPosterior
from targetsel.photometry.columns import CatalogPhotometry
from targetsel.plots import Axes, matplotlib
from targetsel.plots import Figure as Canvas
from targetsel.report.canvas import AS_IT_IS, COLOURS, STYLE, check_suffix, write_canvas
from targetsel.report.latents import (
    check_store,
    check_was_scored,
    ensemble_as_scored,
    latent_posterior,
)
from targetsel.report.photometry import REDSHIFTS, first_of
from targetsel.rules.rules import Rules
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_match import KnownSpectra
from targetsel.scored.simulated_training import caution_in
from targetsel.scoring.ensemble import Ensemble
from targetsel.selection.reports.explain import (
    Explanation,
    TruthRow,
    explain,
    spectrum_of,
    unpredicted,
)
from targetsel.selection.sources import Sources
from targetsel.spectra.encoding import LINES
from targetsel.spectra.lines import SYMBOLS, in_symbols
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import proxy_names
from targetsel.tables.columns import floats, unit_of

N_DRAWS = 256
WIDTH, TOP, SPECTRUM, LINE, BOTTOM = 10.0, 0.95, 3.5, 0.19, 0.45  # [inch]
LONGEST = 48  # characters of a condition
SHOWN = {  # columns of the source that are written out, and their words
    "typicality": "typicality (0 to 1: as in training)",
    "typicality_reason": "least typical in its",
    "epistemic": "disagreement of networks (epistemic)",
    "support": "inside the range of the training set",
    "bpt_sf": "P(star-forming), [NII] diagram",
    "bpt_composite": "P(composite), [NII] diagram",
    "bpt_agn": "P(AGN), [NII] diagram",
}
MARKS = {"true": ("✓", COLOURS[0]), "false": ("✗", COLOURS[1]), "missing": ("?", "0.4")}


def draw_source(
    scored: Path,
    source_id: str,
    store: CutoutStore | None,
    ensemble: Ensemble,
    output: Path,
    rules: Sequence[Rules] = (),
    known: KnownSpectra | None = None,
) -> None:
    """Draw one source of a scored catalog as PNG, PDF or SVG, by the end of the output's name.

    The band holds the central 68 % of `N_DRAWS` decoded draws of the posterior, which is predicted
    again from the cutout where the file does not hold it. Of a source without predictions, the
    image and the reason are drawn.

    Parameters
    ----------
    store : CutoutStore or None
        None for an ensemble that takes no cutouts.
    ensemble : Ensemble
        The ensemble that scored the catalog; its decoder is used.
    rules : sequence of Rules
        Rules whose classes are listed, with every condition, its value and its margin.
    known : KnownSpectra, optional
        Files of spectra that the source may have already.

    Raises
    ------
    CatalogError, EnsembleError, CutoutError, OutputError
    """
    check_suffix(output)
    with ScoredFile(scored, ["status"]) as file:
        ensemble = ensemble_as_scored(file, ensemble)
        check_store(store, ensemble)
        check_was_scored(store, file)
        table = file.row_of(source_id)
        own_id, ra, dec = (
            table[file.names[each]].to_numpy() for each in ("source_id", "ra", "dec")
        )
        caution = caution_in(file.footer)
    predicted = table["status"][0].as_py() == "ok"
    cutouts = None if store is None else store.read(own_id)
    if predicted and store is not None and cutouts is not None and not cutouts.present.all():
        raise CutoutError(f"{store.path}: has no source '{own_id[0]}'. Name its store.")
    posterior = latent_posterior(table, own_id, cutouts, ensemble)
    if predicted and not posterior.known.all():
        raise CatalogError(
            f"{scored}: the posterior of source '{source_id}' is missing or damaged (its "
            "'member_mean' or 'member_cov' is no mean or covariance). Choose another, or score the "
            "catalog again."
        )
    classes = [each for one in rules for each in explain(one, source_id, scored, known)]
    observed = spectrum_of(source_id, scored, known) if known is not None else ""
    left = list(_strengths(table)) if predicted else []
    right = list(_about(table)) if predicted else []
    if classes and predicted:
        left, right = [*left, ("", "", ""), *right], []
    n_lines = max(len(left), len(right), sum(len(each.rows) + 2 for each in classes), 1)
    height = TOP + SPECTRUM + LINE * n_lines + BOTTOM
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(WIDTH, height))
        _write_title(canvas, source_id, table, float(ra[0]), float(dec[0]))
        _draw_image(_panel(canvas, 0.2, TOP, 2.85, 2.85), cutouts, store)
        panel = _panel(canvas, 3.75, TOP + 0.25, 6.05, 2.45)
        if predicted:
            _draw_spectrum(panel, table, posterior, ensemble)
        else:
            panel.set_axis_off()
            panel.text(0, 0.5, unpredicted(Sources(table)), wrap=True, va="center", fontsize=11)
        words = _panel(canvas, 0, TOP + SPECTRUM, WIDTH, LINE * n_lines)
        words.set_axis_off()
        words.set(xlim=(0, WIDTH), ylim=(n_lines, 0))
        _write_lines(words, left, 0.2)
        _write_lines(words, right, 4.8)
        _write_classes(words, classes, 0.2 if not left else 4.8)
        origin = _origin(ensemble) if predicted else f"scored by {ensemble.card.get('name', '')}"
        foot = f"{origin[0].upper()}{origin[1:]}{'. Caution: ' if caution else ''}{caution}."
        foot = f"{observed} {foot}".strip()
        canvas.text(0.2 / WIDTH, 0.12 / height, foot, fontsize=8, color="0.3")
        write_canvas(canvas, output)


def _panel(canvas: Canvas, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the left and the top."""
    whole = float(canvas.get_figheight())
    place = (left / WIDTH, 1 - (top + height) / whole, width / WIDTH, height / whole)
    return canvas.add_axes(place)


def _origin(ensemble: Ensemble) -> str:
    """The ensemble's name, and whether it was trained on simulated images."""
    simulated = ", which learnt from simulated images" if ensemble.card.get("simulated") else ""
    return f"predicted by {ensemble.card.get('name', '')}{simulated}"


# ---------------------------------------------------------------------- title


def _write_title(canvas: Canvas, source_id: str, table: pa.Table, ra: float, dec: float) -> None:
    height = float(canvas.get_figheight())
    lines = [place_of(ra, dec), "   ".join(_brightness(table))]
    if (redshift := redshift_of(table)) is not None:
        lines[0] += f"   redshift {redshift:.4f}"
    canvas.text(0.2 / WIDTH, 1 - 0.3 / height, f"Source {source_id}", fontsize=13, weight="bold",
                **AS_IT_IS)  # fmt: skip
    for k, line in enumerate(lines):
        canvas.text(0.2 / WIDTH, 1 - (0.54 + 0.2 * k) / height, line, fontsize=9)


def place_of(ra: float, dec: float) -> str:
    """Position in degrees and sexagesimal, ICRS."""
    if not np.isfinite([ra, dec]).all():
        return "position unknown"
    at = SkyCoord(ra, dec, unit="deg").to_string("hmsdms", sep=":", precision=1)
    return f"ra {ra:.5f}°  dec {dec:+.5f}°   ({at}, ICRS)"


def redshift_of(table: pa.Table) -> float | None:
    """The redshift of a single source; None where it is not known."""
    name = first_of(table, REDSHIFTS)
    found = np.nan if name is None else float(floats(table[name])[0])
    return found if np.isfinite(found) and found > -1 else None


def _brightness(table: pa.Table) -> Iterator[str]:
    """The magnitudes of each survey, and of bands without one where no survey's is known."""
    known = CatalogPhotometry.of(table)
    found = [band for band in known.bands() if np.isfinite(known.magnitude(band)[0])]
    of_surveys = {band.name for band in found if band.system}
    found = [band for band in found if band.system or band.name not in of_surveys]
    for survey, bands in itertools.groupby(found, lambda band: band.survey or band.system):
        yield f"{survey or 'magnitudes'} [AB mag]:"
        for band in bands:
            error = float(known.magnitude_error(band)[0])
            scatter = f" ± {error:.2f}" if np.isfinite(error) else ""
            yield f"{band.name} {float(known.magnitude(band)[0]):.2f}{scatter}"


# ---------------------------------------------------------------------- image and spectrum


def _draw_image(panel: Axes, cutouts: Cutouts | None, store: CutoutStore | None) -> None:
    panel.set_axis_off()
    if store is None or cutouts is None or not cutouts.present.all():
        panel.text(0.5, 0.5, "no cutout", ha="center", transform=panel.transAxes)
        return
    panel.imshow(composite(cutouts)[0], origin="lower", interpolation="nearest")
    draw_marks(panel, cutouts, fontsize=9)
    words = ",  ".join(f"{colour}: {bands}" for colour, bands in channels(cutouts.bands).items())
    lie = cutouts.orientation
    if lie is None or not lie.known.all():
        words += ";  orientation not known"
    simulated = "\nThe image is simulated." if store.simulated else ""
    panel.text(0, -0.03, words + simulated, transform=panel.transAxes, va="top", fontsize=8)


def _draw_spectrum(
    panel: Axes, table: pa.Table, posterior: LatentPosterior, ensemble: Ensemble
) -> None:
    spectra = ensemble.decoder.decode(posterior.draw(N_DRAWS), posterior.source_id)
    low, middle, high = np.quantile(spectra.flux[0], (0.16, 0.5, 0.84), axis=0)
    level = np.median(middle)
    wavelength = spectra.wavelength
    panel.fill_between(wavelength, low / level, high / level, color=COLOURS[0], alpha=0.3, lw=0,
                       label="central 68 %")  # fmt: skip
    panel.plot(wavelength, middle / level, color=COLOURS[0], lw=0.9, label="median")
    for name, at in LINES.items():
        panel.axvline(at, color="0.85", lw=0.6, zorder=0)
        panel.annotate(
            name, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(-2, -2), rotation=90,
            textcoords="offset points", ha="right", va="top", fontsize=8, color="0.35",
        )  # fmt: skip
    panel.set_xlim(wavelength[0], wavelength[-1])
    panel.set_ylim(0, 1.25 * np.quantile(high / level, 0.999))
    panel.set_xlabel("rest-frame wavelength in vacuum [Å]")
    panel.set_ylabel("flux density per Å, median 1")
    panel.legend(frameon=False, fontsize=8, loc="center right")
    if (redshift := redshift_of(table)) is not None:
        stretch = 1 + redshift
        above = panel.secondary_xaxis(
            "top", functions=(lambda x: np.multiply(x, stretch), lambda x: np.divide(x, stretch))
        )
        above.set_xlabel(f"observed wavelength [Å] at redshift {redshift:.4f}")


# ---------------------------------------------------------------------- words


def _strengths(table: pa.Table) -> Iterator[tuple[str, str, str]]:
    """Lines about the line strengths: what, its value, and the ends of its interval."""
    yield "Line strengths", "median", "68 % interval"
    for name in proxy_names(table.schema):
        low, middle, high = (table[name + end][0].as_py() for end in ("_q16", "", "_q84"))
        unit = in_symbols(unit_of(table.schema.field(name)))
        digits = 3 if name == PHOTOZ else 2
        if middle is None:
            yield SYMBOLS.get(name, name), "missing", ""
        else:
            known = low is not None and high is not None
            ends = f"{low:.{digits}f} to {high:.{digits}f} {unit}" if known else ""
            yield SYMBOLS.get(name, name), f"{middle:.{digits}f}", ends


def _about(table: pa.Table) -> Iterator[tuple[str, str, str]]:
    """Lines about how far the source's predictions can be trusted, and its class."""
    for name, words in SHOWN.items():
        if name in table.schema.names:
            yield words, "", _short(table[name][0].as_py())


def _write_lines(panel: Axes, lines: Sequence[tuple[str, str, str]], left: float) -> None:
    for k, (what, value, ends) in enumerate(lines):
        weight = "bold" if ends == "68 % interval" else "normal"
        at = left + (2.1 if value else 2.55)
        places = ((left, what, "left"), (left + 1.95, value, "right"), (at, ends, "left"))
        for x, text, align in places:
            panel.text(x, k + 0.65, text, ha=align, va="baseline", fontsize=8.5, weight=weight)


def _write_classes(panel: Axes, classes: Sequence[Explanation], left: float) -> None:
    """For each class the verdict, and below it every condition with its value and margin."""
    line = 0
    for k, each in enumerate(classes):
        likely = "" if each.probability is None else f",  P = {each.probability:.2f}"
        panel.text(left, line + 0.5, f"{each.name}: {_verdict(each)}{likely}", va="center",
                   fontsize=8.5, weight="bold", **AS_IT_IS)  # fmt: skip
        if not k:
            for x, text in ((8.2, "value"), (9.0, "limit"), (9.8, "margin")):
                panel.text(x, line + 0.5, text, va="center", ha="right", fontsize=8.5)
        for row in each.rows:
            line += 1
            mark, colour = MARKS[row.outcome]
            indent = left + 0.12 * row.depth
            panel.text(indent, line + 0.5, mark, va="center", fontsize=9, color=colour)
            condition = _condition(row)
            panel.text(indent + 0.2, line + 0.5, condition, va="center", fontsize=8, **AS_IT_IS)
            margin = "" if row.margin is None else f"{row.margin:+.1f} σ"
            for x, text in zip(
                (8.2, 9.0, 9.8), (_value(row), _short(row.threshold), margin), strict=True
            ):
                panel.text(x, line + 0.5, text, va="center", ha="right", fontsize=8, **AS_IT_IS)
        line += 2


def _verdict(each: Explanation) -> str:
    if not each.passed:
        return "not selected"
    if each.selected is None:
        return "obeys every condition"
    return "selected" if each.selected else "left out by dedup or limit"


def _value(row: TruthRow) -> str:
    """The value that a condition found; probabilities have three places at most."""
    if row.text.startswith("P(") and isinstance(row.value, float):
        return f"{row.value:.3f}"
    return _short(row.value)


def _condition(row: TruthRow) -> str:
    text = in_symbols(row.text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
