"""How line strengths change with the diameter of the fiber, on a mock sky: images are SIMULATED.

    python benchmarks/apertures.py [--n 1500] [--ensemble mock-ps1] [--variation FILE] [--folder F]

The same sources are seen through fibers of 1.5, 2 and 3 arcsec; the images, and so the predictions,
are the same. Printed are:

truth        change of true strengths from 3 arcsec, median and half of the central 68 %, by class:
             width over width for lines wider than 3 Angstrom at 3 arcsec, difference of D4000
predictions  the same change in units of each source's posterior standard deviation, and how many
             truths lie in 90 % intervals
correction   what remains of the change of half of the real galaxies after a correction that was
             fitted to the other half: the root mean square, and coverage; one factor for all
             sources, or one that follows predicted D4000, redshift, magnitude and size

FOLDER keeps sky and scored file. How strong nuclei are was set by hand in the mock sky, and decides
whether lines become stronger or weaker in narrow fibers.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import targetsel as ts
from targetsel.cli.terminal import print_table
from targetsel.mock.images import FIBER
from targetsel.mock.plan import SkyPlan, Variation
from targetsel.mock.sky import observe_block
from targetsel.mock.writing import truth_table, write_sky
from targetsel.selection.sources import Sources

SEED = 11
FIBERS = (1.5, 2.0)  # beside that of 3 arcsec
SHOWN = ("ew_oii", "ew_hbeta", "ew_oiii", "ew_halpha", "ew_nii", "d4000", "hdelta_a")
WIDE = 3.0  # Angstrom; the ratio of widths is that of stronger lines
INDICES = ("d4000", "hdelta_a")  # whose change is a difference, not a ratio


@dataclass(frozen=True)
class Seen:
    """N sources of a sky through all fibers, in one order.

    Attributes
    ----------
    truth : dict of float to dict of ndarray, shape (N,)
        Strengths on the noise-free spectra, by fiber and name.
    classes : dict of ndarray of bool, shape (N,)
    scored : pa.Table
        As the ensemble predicts them.
    group : ndarray, shape (N,)
        The real galaxies.
    """

    truth: dict[float, dict[str, np.ndarray]]
    classes: dict[str, np.ndarray]
    scored: pa.Table
    group: np.ndarray

    def change(self, name: str, fiber: float) -> tuple[np.ndarray, np.ndarray]:
        """Change of a strength, ln of a ratio or a difference, and whether it counts, each (N,)."""
        here, usual = self.truth[fiber][name], self.truth[FIBER][name]
        if name in INDICES:
            return here - usual, np.isfinite(here - usual)
        wide = (usual > WIDE) & (here > 0)
        return np.log(np.where(wide, here, 1.0) / np.where(wide, usual, 1.0)), wide


def tables(plan: SkyPlan, fiber: float) -> tuple[pa.Table, np.ndarray]:
    """The truth of a sky's sources through one fiber, and their half-light radii [arcsec]."""
    variation = plan.variation.model_copy(update={"fiber": fiber})
    blocks = [
        observe_block(plan.sources(start), plan.seed, plan.survey, variation)
        for start in plan.blocks
    ]
    radius = np.concatenate([block.structure.radius for block in blocks])
    return pa.concat_tables([truth_table(block) for block in blocks]), radius


def seen(folder: Path, plan: SkyPlan, ensemble: str) -> Seen:
    """The sky, simulated and scored unless the folder has it."""
    scored = folder / "scored.parquet"
    if not scored.exists():
        write_sky(folder, plan)
        ts.score(folder / "catalog.parquet", folder / "cutouts", ensemble, scored)
    table = pq.read_table(scored)
    table = table.filter(pa.array(np.array(table["status"].to_pylist()) == "ok")).combine_chunks()
    usual = pq.read_table(folder / "truth.parquet")
    place = {key: row for row, key in enumerate(usual["source_id"].to_pylist())}
    rows = np.array([place[key] for key in table["source_id"].to_pylist()])
    truth = {FIBER: _values(usual, rows)}
    for fiber in FIBERS:
        other, radius = tables(plan, fiber)
        truth[fiber] = _values(other, rows)
    group = usual["group_id"].to_numpy()[rows]
    redshift = table["redshift"].to_numpy()
    return Seen(truth, _classes(radius[rows], redshift, usual.take(rows)), table, group)


def _values(truth: pa.Table, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: truth[name].to_numpy()[rows].astype(float) for name in SHOWN}


def _classes(radius: np.ndarray, redshift: np.ndarray, truth: pa.Table) -> dict[str, np.ndarray]:
    bulge, nucleus = (truth[name].to_numpy() for name in ("bulge_share", "point_share"))
    return {
        "all": np.full(len(radius), True),
        "radius < 1.5 arcsec": radius < 1.5,
        "radius 1.5 to 3": (radius >= 1.5) & (radius < 3),
        "radius > 3": radius >= 3,
        "redshift < 0.1": redshift < 0.1,
        "redshift 0.1 to 0.2": (redshift >= 0.1) & (redshift < 0.2),
        "redshift > 0.2": redshift >= 0.2,
        "disks (bulge < 0.2)": bulge < 0.2,
        "bulge 0.2 to 0.7": (bulge >= 0.2) & (bulge < 0.7),
        "nucleus > 0.1 of lines": nucleus > 0.1,
        "nucleus < 0.03 of lines": nucleus < 0.03,
    }


def median_and_half(values: np.ndarray) -> tuple[float, float]:
    """Median and half of the central 68 %."""
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    return float(middle), float(high - low) / 2


# --- the three tables -----------------------------------------------------------------------------


def truth_rows(sky: Seen, fiber: float) -> Iterator[list[str]]:
    """Change of the truth by class."""
    for label, chosen in sky.classes.items():
        row = [label, f"{chosen.sum()}"]
        for name in SHOWN:
            change, there = sky.change(name, fiber)
            some = change[chosen & there]
            if len(some) < 20:
                row.append("")
                continue
            middle, half = median_and_half(some)
            index = f"{middle:+.3f} ± {half:.3f}"
            row.append(index if name in INDICES else f"{np.expm1(middle):+.0%} ± {half:.0%}")
        yield row


def prediction_rows(sky: Seen, fiber: float) -> Iterator[list[str]]:
    """The change beside the posterior, and coverage of truths in both fibers."""
    posterior = Sources(sky.scored).posterior
    for name in SHOWN:
        here, usual = sky.truth[fiber][name], sky.truth[FIBER][name]
        std = sky.scored[f"{name}_std"].to_numpy().astype(float)
        there = np.isfinite(here) & np.isfinite(usual) & (std > 0)
        inside = [
            np.abs(posterior.probability_below(name, truth) - 0.5)[there] < 0.45
            for truth in (usual, here)
        ]
        shift = (here - usual)[there] / std[there]
        middle, half = median_and_half(shift)
        yield [
            name,
            f"{there.sum()}",
            f"{middle:+.2f} ± {half:.2f}",
            f"{np.mean(np.abs(shift) > 0.5):.1%}",
            *(f"{each.mean():.1%}" for each in inside),
        ]


def features(sky: Seen) -> np.ndarray:
    """What a user knows of each source, and 1, shape (N, K)."""
    scored = sky.scored
    known = [
        scored["d4000"].to_numpy(),
        np.log(scored["redshift"].to_numpy()),
        scored["cutout_mag"].to_numpy(),
        np.log(scored["cutout_size"].to_numpy()),
    ]
    return np.column_stack([np.ones(len(scored)), *known]).astype(float)


def correction_rows(sky: Seen, fiber: float) -> Iterator[list[str]]:
    """What a correction leaves of the change on galaxies that it was not fitted to."""
    posterior = Sources(sky.scored).posterior
    x = features(sky)
    good = np.isfinite(x).all(axis=1)
    first = sky.group % 2 == 0
    for name in SHOWN:
        change, there = sky.change(name, fiber)
        there = there & good
        fit, test = there & first, there & ~first
        constant = np.full(len(change), np.median(change[fit]))
        clipped = np.clip(change, *np.quantile(change[fit], [0.02, 0.98]))
        weights = np.linalg.lstsq(x[fit], clipped[fit], rcond=None)[0]
        row = [name, f"{test.sum()}"]
        for correction in (np.zeros(len(change)), constant, x @ weights):
            left = (change - correction)[test]
            here = sky.truth[fiber][name]
            back = here - correction if name in INDICES else here * np.exp(-correction)
            below = posterior.probability_below(name, back)[test]
            rms = np.sqrt(np.mean(np.square(np.clip(left, -1, 1))))
            row += [f"{rms:.3f}", f"{np.mean(np.abs(below - 0.5) < 0.45):.1%}"]
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=1500, help="mock sources")
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--variation", type=Path, help="of the sky")
    parser.add_argument("--folder", type=Path, help="keeps sky and scored file")
    given = parser.parse_args()
    variation = Variation.read(given.variation) if given.variation else Variation()
    plan = SkyPlan.of(given.n, SEED, variation=variation, held_out=True)
    with tempfile.TemporaryDirectory() as temporary:
        sky = seen(given.folder or Path(temporary), plan, given.ensemble)
    print(f"mock sky, SIMULATED images; {len(sky.group)} sources, ensemble {given.ensemble}")
    for fiber in FIBERS:
        print(f"\ntruth in {fiber:g} arcsec, changed from {FIBER:g}")
        print_table(["class", "n", *SHOWN], truth_rows(sky, fiber))
        print(f"\npredictions for {FIBER:g} arcsec beside truths in {fiber:g}")
        shares = [f"90 % at {each:g}" for each in (FIBER, fiber)]
        heads = ["", "n", "change/std", "beyond 0.5 std", *shares]
        print_table(heads, prediction_rows(sky, fiber))
        print("\ncorrection: rms of the change left, and 90 % intervals, on other galaxies")
        kinds = [each for kind in ("none", "constant", "linear") for each in (kind, "90 %")]
        print_table(["", "n", *kinds], correction_rows(sky, fiber))


if __name__ == "__main__":
    main()
