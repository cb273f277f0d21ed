"""Altitudes over one night: of the planned targets, with their exposures, and of the Moon."""

from __future__ import annotations

import numpy as np

from targetsel.plots import Axes
from targetsel.report.canvas import COLOURS
from targetsel.report.night_plan import RISES, PlannedExposures

DARK, TWILIT = "0.84", "0.94"
AIRMASSES = (1, 1.1, 1.2, 1.4, 1.6, 2, 3)
MANY = 30  # targets whose curves are drawn lighter
_STEPS = 289  # times of a curve, 5 min apart over a day
_USED = COLOURS[:6]


def draw_curves(panel: Axes, shown: PlannedExposures) -> None:
    """Draw the altitudes, the dark, and every exposure with its number on its curve."""
    night, sky = shown.night, shown.night.ephemeris
    sun_down = night.sun_below(RISES) or night.dark
    begins, ends = sun_down[0][0], sun_down[-1][1]
    for spans, shade in ((sun_down, TWILIT), (night.dark, DARK)):
        for start, end in spans:
            panel.axvspan(start, end, color=shade, lw=0, zorder=0)
    panel.plot(sky.hours, night.moon_altitudes, color="0.35", lw=1, ls=(0, (4, 3)), label="Moon")
    _draw_targets(panel, shown, np.linspace(begins, ends, _STEPS))
    limit = float(np.degrees(np.arcsin(shown.asked.limit)))
    panel.axhline(limit, color=COLOURS[1], lw=0.9, ls=":", label=f"limit, {limit:.0f}°")
    panel.set(xlim=(begins, ends), ylim=(0, 93), ylabel="altitude [deg]", xlabel="UTC")
    _mark_hours(panel, shown, begins, ends)
    above = panel.secondary_yaxis("right")
    above.set_yticks(
        [float(np.degrees(np.arcsin(1 / each))) for each in AIRMASSES],
        [f"{each:g}" for each in AIRMASSES],
    )
    above.set_ylabel("airmass")
    panel.legend(loc="lower left", fontsize=7, framealpha=0.85, edgecolor="none", ncols=2)


def _draw_targets(panel: Axes, shown: PlannedExposures, hours: np.ndarray) -> None:
    paths = shown.paths
    faint = 0.5 if len(shown) <= MANY else 0.2

    def altitudes(k: int, at: np.ndarray) -> np.ndarray:
        sine = paths.base[k] + paths.swing[k] * np.cos(paths.rate * (at - paths.transit[k]))
        return np.degrees(np.arcsin(np.clip(sine, -1, 1)))

    for k in range(len(shown)):
        colour = _USED[k % len(_USED)]
        panel.plot(hours, altitudes(k, hours), color=colour, lw=0.7, alpha=faint, zorder=2)
    for k, (start, end) in enumerate(zip(shown.start, shown.end, strict=True)):
        colour, exposed = _USED[k % len(_USED)], np.linspace(start, end, 12)
        panel.plot(exposed, altitudes(k, exposed), color=colour, lw=3.2, solid_capstyle="butt",
                   zorder=3)  # fmt: skip
        middle = (start + end) / 2
        at = (middle, float(altitudes(k, np.array(middle))))
        panel.annotate(str(k + 1), at, xytext=(0, 4), textcoords="offset points", ha="center",
                       fontsize=7, zorder=4)  # fmt: skip


def _mark_hours(panel: Axes, shown: PlannedExposures, begins: float, ends: float) -> None:
    """Whole hours of UTC below the panel, and of local sidereal time above it."""
    night, sky = shown.night, shown.night.ephemeris
    apart = 1 if ends - begins <= 15 else 2
    since = (night.noon % 1) * 24  # hours from midnight, UTC, to the noon
    hours = np.arange(np.ceil(begins + since), np.floor(ends + since) + 1)
    hours = hours[hours % apart == 0]
    panel.set_xticks(hours - since, [f"{each % 24:.0f}" for each in hours])
    sidereal = sky.sidereal * 12 / np.pi
    rate = sky.rate * 12 / np.pi
    first, last = (sidereal + rate * each for each in (begins, ends))
    marks = np.arange(np.ceil(first), np.floor(last) + 1)
    marks = marks[marks % apart == 0]
    above = panel.secondary_xaxis("top")
    above.set_xticks((marks - sidereal) / rate, [f"{each % 24:.0f}" for each in marks])
    above.set_xlabel("local sidereal time [h]")
