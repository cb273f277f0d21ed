"""Picture of one source: its cutout, expected spectrum, line strengths and classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from targetsel.errors import CatalogError, CutoutError, OutputError
from targetsel.imaging.picture import composite
from targetsel.imaging.store import CutoutStore
from targetsel.networks.posterior import stored_posterior
from targetsel.report.pictures import COLOURS, STYLE
from targetsel.rules.rules import Rules
from targetsel.scored.file import ScoredFile
from targetsel.scoring.ensemble import Ensemble
from targetsel.selection.reports.explain import Explanation, explain
from targetsel.spectra.encoding import LINES
from targetsel.spectra.proxies import proxy_names
from targetsel.tables.columns import unit_of
from targetsel.tables.files import written_beside

N_DRAWS = 256
LAYOUT = {"left": 0.04, "right": 0.985, "bottom": 0.02, "top": 0.9, "wspace": 0.25, "hspace": 0.55}
FORMATS = (".png", ".svg")
SHOWN = (  # columns of the source that are written out
    "typicality",
    "typicality_reason",
    "epistemic",
    "support",
    "bpt_sf",
    "bpt_composite",
    "bpt_agn",
)


def draw_source(
    scored: Path,
    source_id: str,
    store: CutoutStore,
    ensemble: Ensemble,
    output: Path,
    rules: Sequence[Rules] = (),
) -> None:
    """Draw one source of a scored catalog as PNG or SVG, by the end of the output's name.

    The band holds the central 68 % of `N_DRAWS` decoded draws of the stored posterior.

    Parameters
    ----------
    ensemble : Ensemble
        The ensemble that scored the catalog; its decoder is used.
    rules : sequence of Rules
        Rules whose classes are listed, with whether the source is a member and the probability.

    Raises
    ------
    CatalogError, EnsembleError, CutoutError, OutputError
    """
    if output.suffix.lower() not in FORMATS:
        raise OutputError(f"{output}: expected a name that ends in {' or '.join(FORMATS)}.")
    with ScoredFile(scored, ["status"]) as file:
        file.check_scored_by(ensemble.name, ensemble.sha256)
        table = file.row_of(source_id)
        own_id = table[file.names["source_id"]].to_numpy()
    if table["status"][0].as_py() != "ok":
        raise CatalogError(
            f"{scored}: source '{source_id}' has no prediction: {table['status'][0].as_py()}. "
            "Choose another."
        )
    if not stored_posterior(table, own_id).known.all():
        raise CatalogError(
            f"{scored}: the posterior of source '{source_id}' is missing or damaged (its "
            "'member_mean' or 'member_cov' is no mean or covariance). Choose another, or score the "
            "catalog again."
        )
    classes = [each for one in rules for each in explain(one, source_id, scored)]
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(12, 6.2))
        panels = canvas.subplot_mosaic(
            "iss;iss;ppw", width_ratios=(1, 1.5, 1.5), gridspec_kw=LAYOUT
        )
        _draw_cutout(panels["i"], store, own_id)
        _draw_spectrum(panels["s"], table, own_id, ensemble)
        _draw_proxies(panels["p"], table)
        _write_words(panels["w"], table, classes)
        canvas.suptitle(f"Source {source_id}, predicted by {_origin(ensemble)}", fontsize=11)
        with written_beside(output) as beside:
            kind = output.suffix.lower().removeprefix(".")
            canvas.savefig(beside, format=kind, dpi=130, metadata=_dateless(kind))


def _origin(ensemble: Ensemble) -> str:
    """The ensemble's name, and whether it was trained on simulated images."""
    tested = str(ensemble.card.get("validation", {}).get("on", ""))
    simulated = ", which was trained on simulated images" if "simulated" in tested else ""
    return f"{ensemble.card.get('name', '')}{simulated}"


def _dateless(kind: str) -> dict[str, None] | None:
    return {"Date": None} if kind == "svg" else None


def _draw_cutout(panel: Axes, store: CutoutStore, source_id: np.ndarray) -> None:
    cutouts = store.read(source_id)
    if not cutouts.present.all():
        raise CutoutError(f"{store.path}: has no source '{source_id[0]}'. Name its store.")
    half = cutouts.size * cutouts.pixel_scale / 2
    panel.imshow(
        composite(cutouts)[0], origin="lower", extent=(-half, half, -half, half), clip_on=False
    )
    panel.set_xlabel("arcsec")
    panel.set_title("".join(cutouts.bands), fontsize=9)


def _draw_spectrum(panel: Axes, table: pa.Table, source_id: np.ndarray, ensemble: Ensemble) -> None:
    draws = stored_posterior(table, source_id).draw(N_DRAWS)
    spectra = ensemble.decoder.decode(draws, source_id)
    low, middle, high = np.quantile(spectra.flux[0], (0.16, 0.5, 0.84), axis=0)
    level = np.median(middle)
    wavelength = spectra.wavelength
    panel.fill_between(wavelength, low / level, high / level, color=COLOURS[0], alpha=0.3, lw=0)
    panel.plot(wavelength, middle / level, color=COLOURS[0], lw=0.9)
    for name, at in LINES.items():
        panel.axvline(at, color="0.85", lw=0.6, zorder=0)
        panel.annotate(
            name, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", fontsize=7, color="0.35",
        )  # fmt: skip
    panel.set_xlim(wavelength[0], wavelength[-1])
    panel.set_ylim(0, 1.1 * np.quantile(high / level, 0.999))
    panel.set_xlabel("rest-frame vacuum wavelength [Angstrom]")
    panel.set_ylabel("relative flux density\nmedian and 68 % interval", fontsize=8)


def _draw_proxies(panel: Axes, table: pa.Table) -> None:
    """Medians and 68 % intervals, each relative to its own scale, with the numbers beside."""
    panel.set_axis_off()
    panel.set_title("line strengths: medians and 68 % intervals", fontsize=9, loc="left")
    names = proxy_names(table.schema)
    n_rows = max(-(-len(names) // 2), 1)
    for k, name in enumerate(names):
        low, middle, high = (table[name + end][0].as_py() for end in ("_q16", "", "_q84"))
        column, row = divmod(k, n_rows)
        unit = unit_of(table.schema.field(name)).replace("Angstrom", "Å")
        numbers = f"{middle:8.2f}  {low:.2f} to {high:.2f} {unit}"
        panel.text(
            0.5 * column, 0.95 - row / n_rows, f"{name:14}{numbers}",
            transform=panel.transAxes, va="top", fontsize=8, family="monospace",
        )  # fmt: skip


def _write_words(panel: Axes, table: pa.Table, classes: Sequence[Explanation]) -> None:
    panel.set_axis_off()
    lines = [
        f"{name:20}{_short(table[name][0].as_py())}" for name in SHOWN if name in table.schema.names
    ]
    for each in classes:
        chance = "" if each.probability is None else f", P = {each.probability:.2f}"
        lines.append(f"{each.name:20}{'member' if each.passed else 'not a member'}{chance}")
    for row, line in enumerate(lines):
        panel.text(
            0, 1 - row / max(len(lines), 9), line,
            transform=panel.transAxes, va="top", fontsize=8, family="monospace",
        )  # fmt: skip


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
