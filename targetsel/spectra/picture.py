"""Pictures of measured spectra and what the decoder makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from targetsel.spectra.encoding import EncodedSpectra
from targetsel.tables.files import written_beside

MOST_PANELS = 12
MEASURED, FILLED, DECODED = "#8a8f98", "#e08a1e", "#b3261e"
LINES = {
    "[OII]": 3728.5, "Hδ": 4102.9, "Hβ": 4862.7, "[OIII]": 5008.2, "Mg b": 5176.0, "Na D": 5894.6,
    "Hα": 6564.6, "[SII]": 6725.5,
}  # fmt: skip


def draw_spectra(encoded: Sequence[EncodedSpectra], path: Path) -> int:
    """Draw the first spectra, measured, filled and decoded, as PNG; how many were drawn."""
    from matplotlib.figure import Figure

    shown = encoded[:MOST_PANELS]
    figure = Figure(figsize=(11, 2.3 * len(shown) + 0.7), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for panel, each in zip(panels, shown, strict=True):
        _draw_one(panel, each)
    for name, wavelength in LINES.items():
        panels[0].annotate(
            name, (wavelength, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 14),
            textcoords="offset points", ha="center", fontsize=7, color="0.35",
        )  # fmt: skip
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=3, fontsize=8, frameon=False)
    panels[-1].set_xlabel("rest-frame vacuum wavelength [Å]")
    figure.supylabel("flux density per unit wavelength, scaled", fontsize=9)
    with written_beside(path) as beside:
        figure.savefig(beside, format="png", dpi=110)
    return len(shown)


def _draw_one(panel, encoded: EncodedSpectra) -> None:
    spectra = encoded.spectra
    wavelength, gap = spectra.wavelength, spectra.mask[0]
    level = np.median(spectra.flux[0])
    flux = spectra.flux[0] / level
    panel.plot(wavelength, np.where(gap, np.nan, flux), color=MEASURED, lw=0.8, label="measured")
    panel.plot(wavelength, np.where(gap, flux, np.nan), color=FILLED, lw=1.6, label="filled")
    model = encoded.reconstruction[0] / level
    panel.plot(wavelength, model, color=DECODED, lw=0.9, label="decoded from latents")
    for line in LINES.values():
        panel.axvline(line, color="0.85", lw=0.6, zorder=0)
    top = np.percentile(np.concatenate([flux[~gap], model]), 99.8)
    panel.set_ylim(0, 1.15 * top)
    panel.set_xlim(wavelength[0], wavelength[-1])
    panel.tick_params(labelsize=7)
    panel.set_title(
        f"{spectra.source_id[0]}   redshift {spectra.redshift[0]:.4f}   "
        f"median residual {encoded.residual[0]:.1%}   χ² per pixel {encoded.chi2[0]:.2f}   "
        f"{encoded.covered[0]:.0%} measured",
        fontsize=8, loc="left", pad=2 if panel.get_subplotspec().rowspan.start else 24,
    )  # fmt: skip
