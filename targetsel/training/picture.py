"""The learning curves of a training, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from targetsel.tables.files import written_beside

LOSSES = {
    "mean": "root mean square error [standardised latents]",
    "covariance": "negative log likelihood of the latents",
}


def draw_training(histories: list[list[dict[str, Any]]], path: Path) -> None:
    """Draw each member's losses epoch by epoch, one panel for each phase, as PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    phases = list(dict.fromkeys(row["phase"] for history in histories for row in history))
    figure = Figure(figsize=(5 * len(phases), 4), layout="constrained")
    panels = figure.subplots(1, len(phases), squeeze=False)[0]
    for axes, phase in zip(panels, phases, strict=True):
        for member, history in enumerate(histories):
            rows = [row for row in history if row["phase"] == phase]
            epochs, colour = [row["epoch"] for row in rows], f"C{member % 10}"
            learnt, watched = ([row[name] for row in rows] for name in ("loss", "watched_loss"))
            axes.plot(epochs, learnt, ":", color=colour, lw=1)
            axes.plot(epochs, watched, ".-", color=colour, lw=1, label=f"member {member}")
        axes.set(xlabel="epoch", ylabel=LOSSES[phase], title=f"{phase}: watched (dotted: learnt)")
        axes.title.set_fontsize(10)
        axes.set_ylim(*limits([row for h in histories for row in h if row["phase"] == phase]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].legend(frameon=False, fontsize=8)
    with written_beside(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def limits(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Of a panel: what is learnt in the first epoch, which can be far above the rest, may leave."""
    learnt = [row["loss"] for row in rows if row["epoch"] > 1]
    watched = [row["watched_loss"] for row in rows if row["watched_loss"] is not None]
    shown = learnt + watched or [row["loss"] for row in rows]
    margin = 0.05 * (max(shown) - min(shown)) or 0.5
    return min(shown) - margin, max(shown) + margin
