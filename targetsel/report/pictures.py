"""The pictures of an evaluation, each drawn from its figures alone, as SVG with its description."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from targetsel.plots import Axes, matplotlib
from targetsel.report.canvas import COLOURS, MARKS, STYLE, Picture, panels_of, svg_picture
from targetsel.report.claims import COMPLETENESS, ENSEMBLE, N_BINS, PHOTOMETRY, bin_name
from targetsel.report.counts import TOLERANCE, Count, by_kind
from targetsel.report.distributions import (
    COVERAGES,
    LEVELS,
    MAHALANOBIS,
    TARP,
    below_level,
    coverage,
)
from targetsel.report.figures import BY_CHANCE, Figure, Figures, Subset
from targetsel.report.joint_proxies import DEPARTURE, DIFFERENCE, STATED, TOGETHER
from targetsel.spectra.lines import in_symbols

RATIOS = (0.4, 2.5)  # ends of the axis of expected over true counts


def pictures(figures: Figures, counts: Sequence[Count], parts: Sequence[Subset]) -> list[Picture]:
    """All pictures for which there are figures."""
    with matplotlib.rc_context(STYLE):
        drawn = [
            _errors(figures),
            _coverages(figures),
            _levels(figures),
            _correlations(figures),
            *(_in_bins(figures, parts, by) for by in dict.fromkeys(p.by for p in parts if p.by)),
            _reliability(figures),
            _counts(counts),
            _lists(figures),
        ]
    return [each for each in drawn if each is not None]


def _dots(panel: Axes, found: Sequence[Figure], x: np.ndarray, k: int = 0, label: str = "") -> None:
    """Values with their intervals, in the k-th colour."""
    value, low, high = (np.array([getattr(f, name) for f in found]) for name in _ENDS)
    colour = COLOURS[k % len(COLOURS)]
    panel.vlines(x, low, high, color=colour, lw=1)
    panel.plot(x, value, MARKS[k % len(MARKS)], color=colour, ms=4, label=label)


_ENDS = ("value", "low", "high")


def _worst(found: Sequence[Figure], wanted: float) -> str:
    each = max(found, key=lambda f: abs(f.value - wanted))
    return f"{each.of}, {each.value:.3f}"


def _errors(figures: Figures) -> Picture | None:
    found = [f for f in figures.named("RMSE") if f.of.startswith("latent ")]
    if not found:
        return None
    canvas, panels = panels_of(2, 4.6, 2.8)
    names = [f.of for f in found]
    for panel, name in zip(panels, ("RMSE", "R2"), strict=True):
        rows = [each for each in figures.named(name) if each.of in names]
        _dots(panel, rows, np.arange(len(rows)))
        panel.set_xticks(range(len(rows)), [each.of.split()[1] for each in rows])
        panel.set(xlabel="latent", ylabel=name)
        panel.axhline(1.0 if name == "RMSE" else 0.0, color="0.7", lw=0.8, zorder=0)
    values = ", ".join(f"{f.value:.2f}" for f in found)
    return svg_picture(
        canvas,
        "Errors of the latents",
        f"Root mean square error and R2 of each latent, with 95 % intervals; RMSE: {values}. "
        "In units of the scatter over the decoder's training spectra.",
    )


def _coverages(figures: Figures) -> Picture | None:
    found = figures.named(coverage(0.9))
    if not found:
        return None
    canvas, (panel,) = panels_of(1, 9.2, 3.4)
    for k, level in enumerate(COVERAGES):
        rows = figures.named(coverage(level))
        _dots(panel, rows, np.arange(len(rows)) + 0.12 * (k - 1.5), k, f"{100 * level:.0f} %")
        panel.axhline(level, color=COLOURS[k], lw=0.8, ls=":", zorder=0)
    names = [in_symbols(f.of).replace("latents together, ", "all latents,\n") for f in found]
    panel.set_xticks(range(len(found)), names, rotation=60, ha="right")
    panel.set(ylabel="share inside", ylim=(0, 1.02))
    panel.legend(title="interval", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return svg_picture(
        canvas,
        "Coverage of central intervals",
        "Share of true values inside the central 50, 68, 90 and 95 % intervals, with 95 % "
        f"intervals; dotted lines are what they promise. Farthest from 90 %: {_worst(found, 0.9)}.",
    )


def _levels(figures: Figures) -> Picture | None:
    """PIT curves, less the straight line that they should be."""
    names = [f.of for f in figures.named(below_level(0.5))]
    groups = {
        "each latent": [n for n in names if n.startswith("latent ")],
        "latents together": [n for n in names if n in (MAHALANOBIS, TARP)],
        "each proxy": [n for n in names if not n.startswith("latent")],
    }
    groups = {title: members for title, members in groups.items() if members}
    if not groups:
        return None
    canvas, panels = panels_of(len(groups), height=3.5)
    far = 0.0
    for panel, (title, members) in zip(panels, groups.items(), strict=True):
        for k, name in enumerate(members):
            found = [figures.find(below_level(level), name) for level in LEVELS]
            value, low, high = (np.array([getattr(f, e) for f in found]) - LEVELS for e in _ENDS)
            far = max(far, float(np.abs(value).max()))
            label = in_symbols(name).removeprefix("latents together, ").removeprefix("latent ")
            style = ("-", "--", ":")[k // 3 % 3]
            panel.plot(LEVELS, value, style, color=COLOURS[k % len(COLOURS)], label=label, lw=1.3)
            panel.fill_between(LEVELS, low, high, color=COLOURS[k % len(COLOURS)], alpha=0.15, lw=0)
        panel.axhline(0, color="0.5", lw=0.8)
        panel.set(title=title, xlabel="level", xlim=(0, 1))
        panel.legend(frameon=False, fontsize=8, ncols=3, loc="upper center",
                     bbox_to_anchor=(0.5, -0.26))  # fmt: skip
    panels[0].set_ylabel("share of true values below, less level")
    return svg_picture(
        canvas,
        "Shares below every level",
        "Share of sources whose true value lies below each level of its predicted distribution, "
        f"less that level; zero everywhere is perfect, and {far:.2f} is the farthest from it. "
        "Below zero, then above, is too narrow; bands are 95 % intervals. All latents together: "
        "the Mahalanobis distance against chi-square (which is for one Gaussian) and TARP (which "
        "holds for any posterior).",
    )


def _correlations(figures: Figures) -> Picture | None:
    """Correlations of the errors of pairs of proxies, observed less stated."""
    found, departure = figures.named(DIFFERENCE), figures.find(DEPARTURE, TOGETHER)
    if not found or departure is None:
        return None
    stated = {each.of: each.value for each in figures.named(STATED)}
    wrong = [each for each in found if not each.low <= 0 <= each.high]
    farthest = sorted(found, key=lambda f: -abs(f.value))[:3]
    canvas, (panel,) = panels_of(1, 9.2, 3.6)
    panel.axhline(0, color="0.6", lw=0.8)
    for k, label in enumerate(("interval holds zero", "it does not")):
        shown = [each for each in found if (each in wrong) == bool(k)]
        _dots(panel, shown, np.array([stated[each.of] for each in shown]), k, label)
    for k, each in enumerate(sorted(farthest, key=lambda f: -f.value)):
        at = (stated[each.of], each.value)
        panel.annotate(
            in_symbols(each.of), at, (1.02, 0.95 - 0.08 * k), textcoords="axes fraction",
            fontsize=8, va="center", arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 0.6},
        )  # fmt: skip
    panel.set(xlabel="stated correlation, mean of sources", ylabel="observed less stated")
    panel.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    words = "; ".join(f"{f.of} {f.value:+.2f}" for f in farthest)
    return svg_picture(
        canvas,
        "Correlations of errors",
        "Correlation of the errors of each pair of proxies, as normal scores, less the mean of "
        f"those stated, with 95 % intervals: {len(wrong)} of {len(found)} differ from zero by more "
        f"than these. Farthest: {words}. Joint departure {departure.value:.3f} "
        f"({departure.low:.3f} to {departure.high:.3f}), zero where all are right.",
    )


def _in_bins(figures: Figures, parts: Sequence[Subset], by: str) -> Picture | None:
    parts = [part for part in parts if part.by == by]
    quantities = {
        "coverage of 90 %, latents": (coverage(0.9), "latent"),
        "coverage of 90 %, proxies": (coverage(0.9), ""),
        "calibration error of P": ("calibration error", ""),
    }
    chosen = {}
    for title, (figure, start) in quantities.items():
        names = [f.of for f in figures.named(figure)]
        if "coverage" in figure:
            names = [n for n in names if n.startswith("latent") == (start == "latent")]
        else:
            names = [n for n in names if n.startswith("P(")]
        if names:
            chosen[title] = (figure, names)
    if not chosen:
        return None
    canvas, panels = panels_of(len(chosen), 3.3, 3.3)
    middles = np.array([part.middle for part in parts])
    step = np.ptp(middles) / 90
    for panel, (title, (figure, names)) in zip(panels, chosen.items(), strict=True):
        for k, name in enumerate(names):
            found = [figures.find(figure, name, part.name) for part in parts]
            there = [f is not None for f in found]
            shown = [f for f in found if f is not None]
            x = middles[there] + step * (k - len(names) / 2)
            _dots(panel, shown, x, k, in_symbols(name).replace("latents together, ", "all, "))
        if "coverage" in figure:
            panel.axhline(0.9, color="0.5", lw=0.8, ls=":", zorder=0)
        panel.set_title(title, fontsize=9)
        panel.set_xlabel(parts[0].label)
        panel.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.26),
                     ncols=2 if figure != "calibration error" else 1)  # fmt: skip
    return svg_picture(
        canvas,
        f"By {by}",
        f"Coverage of 90 % intervals of latents and proxies, and calibration error of "
        f"probabilities, in {len(parts)} bins of {by} of equal numbers, "
        "with 95 % intervals.",
    )


def _reliability(figures: Figures) -> Picture | None:
    errors = figures.named("calibration error")
    shown = [f for f in errors if f.of.startswith("P(")] or errors
    if not shown:
        return None
    canvas, panels = panels_of(len(shown))
    for panel, error in zip(panels, shown, strict=True):
        x, found = [], []
        for k in range(N_BINS):
            share = figures.find("share true", error.of, bin_name(k))
            if share is not None:
                x.append(figures.find("mean P", error.of, bin_name(k)).value)  # type: ignore[union-attr]
                found.append(share)
        panel.plot([0, 1], [0, 1], color="0.6", lw=0.8)
        _dots(panel, found, np.array(x))
        for place, each in zip(x, found, strict=True):
            ha = "left" if place < 0.06 else "right" if place > 0.94 else "center"
            panel.annotate(f"{each.n}", (place, each.high), xytext=(0, 2), fontsize=8,
                           textcoords="offset points", ha=ha, color="0.3")  # fmt: skip
        panel.set_title(
            f"{_wrapped(error.of)}\nerror {error.value:.3f}{_by_chance(figures, error)}", fontsize=8
        )
        panel.set(xlabel="stated probability", xlim=(-0.03, 1.03), ylim=(-0.03, 1.12))
    panels[0].set_ylabel("share true")
    values = "; ".join(f"{f.of}: {f.value:.3f} ({f.low:.3f} to {f.high:.3f})" for f in shown)
    return svg_picture(
        canvas,
        "Reliability of probabilities",
        "In bins of stated probability, the share of sources for which the claim is true, with "
        f"95 % intervals and numbers of sources. Expected calibration errors: {values}.",
    )


def _by_chance(figures: Figures, error: Figure) -> str:
    chance = figures.find("calibration error" + BY_CHANCE, error.of)
    return "" if chance is None else f", by chance {chance.value:.3f}"


def _counts(counts: Sequence[Count]) -> Picture | None:
    """Expected over true counts of all claims, kind by kind."""
    shown = [each for each in counts if each.true > 0]
    if not shown:
        return None
    *kinds, everything = by_kind(counts)
    canvas, (panel,) = panels_of(1, 9.2, 3.8)
    for k, kind in enumerate(kinds):
        of = [each for each in shown if each.kind == kind.kind]
        reach = 0.38 * min(1.0, len(of) / 12)
        for each, x in zip(of, k + np.linspace(-reach, reach, len(of)), strict=True):
            colour, mark = (COLOURS[1], "D") if each.off else ("0.45", "o")
            ratio, low, high = (
                np.clip(1 + value / each.true, *RATIOS)
                for value in (each.difference, each.low, each.high)
            )
            panel.vlines(x, low, high, color=colour, lw=0.8)
            panel.plot(x, ratio, mark, color=colour, ms=3, clip_on=False)
        panel.axvline(k + 0.5, color="0.9", lw=0.6)
    panel.plot([], [], "o", color="0.45", ms=3, label="not off")
    panel.plot([], [], "D", color=COLOURS[1], ms=3, label="off")
    panel.axhspan(1 - TOLERANCE, 1 + TOLERANCE, color="0.9", zorder=0)
    panel.set(yscale="log", ylim=RATIOS, xlim=(-0.5, len(kinds) - 0.5))
    panel.set_yticks([0.5, 0.7, 1, 1.4, 2], ["0.5", "0.7", "1", "1.4", "2"])
    panel.minorticks_off()
    labels = [f"{each.kind}, {each.n_off} of {each.n} off" for each in kinds]
    panel.set_xticks(range(len(kinds)), labels, rotation=35, ha="right")
    panel.set_ylabel("expected over true count")
    panel.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return svg_picture(
        canvas,
        "Expected and true counts",
        "Sum of stated probabilities over the number of sources for which the claim is true, with "
        f"95 % intervals, for claims of each kind: {everything.n_off} of {everything.n} are off, "
        f"by over {100 * TOLERANCE:.0f} % (the grey band) and beyond their interval. Ratios beyond "
        "the ends of the axis are drawn at them.",
    )


def _lists(figures: Figures) -> Picture | None:
    precision = {f.of: f for f in figures.named("average precision")}
    names = [of.removesuffix(f", {ENSEMBLE}") for of in precision if of.endswith(f", {ENSEMBLE}")]
    if not names:
        return None
    canvas, panels = panels_of(len(names))
    words = []
    for panel, name in zip(panels, names, strict=True):
        for k, who in enumerate((ENSEMBLE, PHOTOMETRY)):
            of = f"{name}, {who}"
            if of in precision:
                _curve(panel, figures, of, k, f"{who}: {precision[of].value:.3f}")
                words.append(f"{of}: {precision[of].value:.3f}")
        purity, complete = (figures.find(f"{w} of members", name) for w in _OF_MEMBERS)
        if purity is not None and complete is not None:
            panel.plot(complete.value, purity.value, "*", color="k", ms=9, label="members")
        panel.set_title(_wrapped(name), fontsize=8)
        panel.set(xlabel="completeness", xlim=(0, 1), ylim=(0, 1.03))
        panel.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("purity")
    return svg_picture(
        canvas,
        "Purity and completeness",
        "Purity against completeness of lists ranked by the stated probability and by gradient "
        "boosting on photometry alone, with 95 % bands; a star is the class as its rules select "
        f"it. Average precision: {'; '.join(words)}.",
    )


_OF_MEMBERS = ("purity", "completeness")


def _curve(panel: Axes, figures: Figures, of: str, k: int, label: str) -> None:
    found = [figures.find(f"purity at completeness {c:.2f}", of) for c in COMPLETENESS]
    value, low, high = (np.array([getattr(f, name) for f in found]) for name in _ENDS)
    panel.plot(COMPLETENESS, value, ("-", "--")[k], color=COLOURS[k], label=label)
    panel.fill_between(COMPLETENESS, low, high, color=COLOURS[k], alpha=0.18, lw=0)


def _wrapped(name: str) -> str:
    return in_symbols(name).replace(" and ", "\nand ")
