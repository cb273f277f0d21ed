"""The pictures of the README, from the demonstration: `source.png` and `front.png`.

targetsel demo demo                    # makes the catalog and the cutouts (simulated images)
python examples/pictures.py demo       # writes both beside this script, or into a second folder
"""

import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import targetsel as ts
from targetsel.imaging.picture import composite, draw_marks
from targetsel.networks.posterior import stored_posterior
from targetsel.report.canvas import COLOURS, STYLE
from targetsel.scored.file import ScoredFile

RULES = """schema: targetsel/rules/v1
name: emitters
classes:
  EMITTER:
    where:
      - rmag < 17.5 mag
      - typicality > 0.1
      - P(ew_halpha > 30 Å) >= 0.8
    rank: P(ew_halpha > 30 Å)
    priority: 3000
"""
ROWS, COLUMNS = 2, 3  # of targets
WIDTH, HEIGHT, BOTTOM, SIDE = 16.0, 4.6, 1.0, 3.05  # [inch], at 100 pixels each
LINES = {"[OII]": 3728, "[OIII]": 5008, "Hα": 6565}  # [Å]


def main(demo: Path, output: Path) -> None:
    """Draw both pictures."""
    scored, cutouts = demo / "catalog.scored.parquet", ts.CutoutStore.open(demo / "cutouts")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "emitters.yaml").write_text(RULES)
        sources = ts.read(scored)
        targets = ts.select(sources, Path(folder) / "emitters.yaml")
    best = int(np.argmax(targets["probability"]))
    chosen = targets["source_id"][best]
    ts.show(scored, chosen, cutouts, output / "source.png", rules="emission")
    with matplotlib.rc_context({**STYLE, "font.size": 19}):
        canvas = Figure(figsize=(WIDTH, HEIGHT))
        draw_image(panel(canvas, "image", 0.1, SIDE), cutouts.read(np.array([chosen])))
        draw_spectrum(panel(canvas, "predicted spectrum", 3.8, 3.4), scored, chosen)
        draw_rule(panel(canvas, "rule", 7.9, 3.5))
        panel(canvas, "targets", 12.2, 3.7).set_axis_off()
        draw_targets(canvas, 12.2, cutouts, targets)
        for x in (3.47, 7.5, 11.8):
            canvas.text(x / WIDTH, 0.55, "→", fontsize=34, ha="center", va="center")
        foot = f"All images are simulated. {len(targets)} of {len(sources):,} galaxies are targets."
        canvas.text(0.1 / WIDTH, 0.03, foot, fontsize=16, color="0.3")
        canvas.savefig(output / "front.png", dpi=100)


def panel(canvas: Figure, title: str, left: float, width: float):
    """Axes with a title, so far from the left [inch]."""
    axes = canvas.add_axes((left / WIDTH, BOTTOM / HEIGHT, width / WIDTH, SIDE / HEIGHT))
    axes.set_title(title)
    return axes


def draw_image(axes, cutouts: ts.Cutouts) -> None:
    """The cutout of one source."""
    axes.imshow(composite(cutouts)[0], origin="lower", interpolation="nearest")
    draw_marks(axes, cutouts, fontsize=15)
    axes.set_axis_off()


def draw_spectrum(axes, scored: Path, source_id: int) -> None:
    """The spectrum that is expected of one source."""
    with ScoredFile(scored, ["status"]) as file:
        table = file.row_of(str(source_id))
    ids = np.array([source_id])
    draws = stored_posterior(table, ids).draw(256)
    spectra = ts.Ensemble.read("mock-ps1").decoder.decode(draws, ids)
    low, middle, high = np.quantile(spectra.flux[0], (0.16, 0.5, 0.84), axis=0)
    wavelength = spectra.wavelength / 1e4
    axes.fill_between(wavelength, low, high, color=COLOURS[0], alpha=0.3, lw=0)
    axes.plot(wavelength, middle, color=COLOURS[0], lw=1.2)
    top = 1.2 * np.quantile(high, 0.999)
    for name, at in LINES.items():
        axes.text(at / 1e4, 0.99 * top, name, ha="center", va="top", fontsize=13, color="0.3")
    axes.set(xlim=(wavelength[0], wavelength[-1]), ylim=(0, top), yticks=[])
    axes.set_xlabel("rest wavelength [µm]", fontsize=15, labelpad=2)
    axes.tick_params(labelsize=14)


def draw_rule(axes) -> None:
    """The conditions of the rule."""
    axes.set_axis_off()
    shown = [line.strip() for line in RULES.splitlines()[4:-2]]
    axes.text(0, 0.5, "\n".join(shown), family="monospace", fontsize=14.5, va="center",
              linespacing=1.8, transform=axes.transAxes)  # fmt: skip


def draw_targets(canvas: Figure, left: float, cutouts: ts.CutoutStore, targets) -> None:
    """The first targets, each with its probability."""
    n, side = ROWS * COLUMNS, 1.18
    found, likely = cutouts.read(targets["source_id"][:n]), targets["probability"][:n]
    for k, (picture, p) in enumerate(zip(composite(found), likely, strict=True)):
        row, column = divmod(k, COLUMNS)
        place = left + 1.26 * column, BOTTOM + SIDE - side - (side + 0.38) * row
        axes = canvas.add_axes((place[0] / WIDTH, place[1] / HEIGHT, side / WIDTH, side / HEIGHT))
        axes.imshow(picture, origin="lower", interpolation="nearest")
        axes.set_axis_off()
        axes.text(0.5, -0.04, f"P = {p:.2f}", transform=axes.transAxes, ha="center", va="top",
                  fontsize=14)  # fmt: skip


if __name__ == "__main__":
    here = Path(__file__).parent
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else here)
