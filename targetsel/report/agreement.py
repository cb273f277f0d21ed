"""Predicted against true values of every proxy, as densities of sources with bias and scatter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from targetsel.plots import LogNorm, matplotlib
from targetsel.report.canvas import COLOURS, STYLE, Picture, panels_of, svg_picture
from targetsel.report.distributions import MarginalScores
from targetsel.spectra.lines import SYMBOLS, UNITS, in_symbols
from targetsel.spectra.photoz import PHOTOZ
from targetsel.statistics.resampling import half_width, quantiles

BINS = 45
TICKS = (0, 10, 30, 100, 300, 1000)
SOFTENING = 5.0  # [Angstrom] axes of widths are linear below, logarithmic above


def _softened(width: npt.ArrayLike) -> np.ndarray:
    return SOFTENING * np.arcsinh(np.asarray(width) / SOFTENING)


def agreement_picture(scores: Sequence[MarginalScores], weight: np.ndarray) -> Picture | None:
    """A panel for each proxy: density of sources, the line of equality, bias and scatter.

    Bias is the median of predicted less true; scatter, half the width of the central 68 % of it.

    Parameters
    ----------
    scores : sequence of MarginalScores
        Of N sources.
    weight : ndarray, shape (N,)
    """
    shown = [each for each in scores if each.known.sum() > 1]
    if not shown:
        return None
    words = []
    with matplotlib.rc_context(STYLE):
        canvas, panels = panels_of(len(shown), 3.2, 3.2)
        for panel, each in zip(panels, shown, strict=True):
            rows = each.known & (weight > 0)
            true, error, w = each.true[rows], each.error[rows], weight[rows]
            predicted = true + error
            ends = np.quantile(np.concatenate([true, predicted]), (0.002, 0.998))
            wide = UNITS.get(each.name) == "Angstrom" and ends[1] > 4 * SOFTENING
            scale = _softened if wide else np.asarray
            low, high = scale(ends - np.array([1, -1]) * 0.03 * np.ptp(ends))
            edges = np.linspace(low, high, BINS + 1)
            density = np.histogram2d(scale(true), scale(predicted), edges, weights=w)[0].T
            shade = np.where(density > 0, density, np.nan)
            most = max(density.max(), 1e-300)
            # A single source is well seen: as dark as a fifth of the whole scale.
            fewest = np.nanmin(shade, initial=most)
            norm = LogNorm(fewest * (fewest / most) ** 0.25, most * 1.0001)
            panel.pcolormesh(edges, edges, shade, cmap="Greys", norm=norm, rasterized=True)
            panel.plot([low, high], [low, high], color=COLOURS[1], lw=1.2)
            if wide:
                ticks = [tick for tick in TICKS if low < scale(np.float64(tick)) < high]
                for axis in (panel.xaxis, panel.yaxis):
                    axis.set_ticks([scale(np.float64(tick)) for tick in ticks], map(str, ticks))
            unit = in_symbols(UNITS.get(each.name, ""))
            bias, scatter = float(quantiles(error, (0.5,))(w)[0]), half_width(error)(w)
            digits = 4 if each.name == PHOTOZ else 2
            found = f"bias {round(bias, digits) + 0.0:+.{digits}f}, scatter {scatter:.{digits}f}"
            found += unit and f" {unit}"
            name = SYMBOLS.get(each.name, each.name)
            words.append(f"{name}: {found}")
            panel.set_title(f"{name}{unit and f' [{unit}]'}\n{found}", fontsize=9)
            panel.set(xlabel="true", ylabel="predicted median", aspect="equal")
        return svg_picture(
            canvas,
            "Predicted against true values",
            "Sources by true value and predicted median, the darker the more (logarithmic); the "
            "line is where both are equal. Widths are on axes that are logarithmic above 5 Å. Bias "
            "is the median of predicted less true, scatter half the width of its central 68 %. "
            f"{'; '.join(words)}.",
        )
