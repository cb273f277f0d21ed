"""What relearning from outcomes does for intervals where skies have changed: SIMULATED.

    python benchmarks/relearn.py --work FOLDER [--ensemble mock-ps1] [--sources 3500] [--draws 6]
        [--outcomes 500 200]

Skies of held-out galaxies differ from those that the shipped ensemble was calibrated on: lines 2.5
times as strong, or 0.4 times; images twice as blurred and 1.5 mag less deep; dwarfs with strong
lines that are not linked to shapes. A last one is the same as in the calibration. Of each scored
sky a list is drawn several times, and outcomes of it are given to `targetsel relearn`:

mixed      half of the targets have P(EW(Halpha) > 20 A) >= 0.3, the others are drawn from all
           others: every source had a chance, and weights are 1 / (chance of a fiber x inclusion)
emitters   all targets are drawn from those with P(EW(Halpha) > 20 A) >= 0.3

A quarter of the targets get no fiber, at random. Of the faintest third of the others every third
spectrum fails. Lines are measured with Gaussian errors of 3 % and 0.3 A (the break 0.02), redshifts
of 0.0002; such errors are part of what is learnt. As many targets are drawn as give the number of
outcomes wanted.

Printed are, for the sources left, without those of galaxies that were observed, the share of
noise-free true values in 90 % intervals, the mean of all draws and their range, before and after;
the share of values as measured, with such errors, after; and the factor of the intervals' median
width. For 'mixed' these are all sources left; for
'emitters' the candidates left, and then all of them, for which no outcome stands. Quantities that
the command left as they were count as such. "Alarm" is the outcome at which bets against the
calibration passed 100 (median over draws), and in how many draws they did.

Skies are made in the work folder and kept: half a minute each on a free core, and as long to score.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from skies import HEADING, places

import targetsel as ts
from targetsel.calibration.proxies import mapped
from targetsel.calibration.recalibration import Recalibration, coverage, median_width
from targetsel.feedback.relearning import relearn
from targetsel.mock.plan import SkyPlan, Variation
from targetsel.mock.writing import write_sky
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import QUANTILES, ProxyPosterior
from targetsel.tables.columns import floats, matrix
from targetsel.tables.parquet import write_table

SEED = 11
SKIES: dict[str, dict[str, object]] = {
    "strong": {"line_strength": 2.5},
    "weak": {"line_strength": 0.4},
    "blurred": {"seeing": 2.0, "depth": -1.5},
    "dwarfs": {
        "farther": 0.0,
        "redshift": (0.02, 0.12),
        "dimming": 2.0,
        "line_strength": 2.0,
        "link": 0.0,
    },
    "same": {},
}
NAMES = ("ew_halpha", "ew_oiii", "ew_hbeta", "ew_oii", "d4000", "hdelta_a", PHOTOZ)
LINE, LEAST, ODDS = "ew_halpha", 20.0, 0.3
FIBERS, FAINT, FAIL = 0.75, 1 / 3, 1 / 3
CHANGED = 0.1  # difference from 90 % that is marked


@dataclass(frozen=True)
class ScoredSky:
    """N sources with predictions and noise-free measurements."""

    name: str
    scored: Path
    truth: Path

    @cached_property
    def table(self) -> pa.Table:
        table = pq.read_table(self.scored)
        return table.filter(np.asarray(table["status"]) == "ok")

    @cached_property
    def true(self) -> dict[str, np.ndarray]:
        ids = self.table["source_id"].to_numpy()
        truth = pq.read_table(self.truth)
        truth = truth.take(pa.array(places(truth["source_id"].to_numpy(), ids)))
        known = {name: floats(truth[name]) for name in NAMES if name != PHOTOZ}
        return known | {PHOTOZ: floats(self.table["redshift"])}

    @cached_property
    def knots(self) -> dict[str, np.ndarray]:
        return {name: matrix(self.table[name + QUANTILES]) for name in NAMES}

    @cached_property
    def magnitude(self) -> np.ndarray:
        return floats(self.table["cutout_mag"])

    @cached_property
    def candidates(self) -> np.ndarray:
        posterior = ProxyPosterior((LINE,), {LINE: self.knots[LINE]}, {})
        return 1 - posterior.probability_below(LINE, LEAST) >= ODDS

    def measured(self, name: str, rng: np.random.Generator) -> np.ndarray:
        """Values with errors of measurement."""
        true = self.true[name]
        error = {"d4000": 0.02, PHOTOZ: 2e-4}.get(name, np.hypot(0.3, 0.03 * np.abs(true)))
        return np.asarray(true + error * rng.normal(size=len(true)))

    @classmethod
    def made(cls, work: Path, name: str, n: int, ensemble: str) -> ScoredSky:
        folder, scored = work / name, work / f"{name}.scored.parquet"
        if not (folder / "truth.parquet").exists():
            plan = SkyPlan.of(n, SEED, variation=Variation(**SKIES[name]), held_out=True)
            write_sky(folder, plan, 1)
        if not scored.exists():
            ts.score(folder / "catalog.parquet", folder / "cutouts", ensemble, scored)
        return cls(name, scored, folder / "truth.parquet")


def observed(
    sky: ScoredSky, mixed: bool, n: int, rng: np.random.Generator, path: Path
) -> np.ndarray:
    """Write about `n` outcomes of a list drawn from a sky, and say which rows were targets."""
    wanted = n / (FIBERS * (1 - FAINT * FAIL))
    inclusion = np.where(sky.candidates, 1.0, 0.0) * wanted / sky.candidates.sum()
    if mixed:
        share = [wanted / 2 / max(part.sum(), 1) for part in (sky.candidates, ~sky.candidates)]
        inclusion = np.where(sky.candidates, *share)
    inclusion = np.minimum(inclusion, 1.0)
    target = rng.random(len(inclusion)) < inclusion
    fiber = target & (rng.random(len(target)) < FIBERS)
    faint = sky.magnitude > np.quantile(sky.magnitude, 1 - FAINT)
    success = fiber & ~(faint & (rng.random(len(target)) < FAIL))
    columns: dict[str, object] = {
        "source_id": sky.table["source_id"].to_numpy()[target],
        "assigned": fiber[target],
        "success": success[target],
        "weight": np.where(fiber, 1 / (FIBERS * np.where(target, inclusion, 1.0)), 0.0)[target],
    }
    for name in NAMES:
        columns["redshift" if name == PHOTOZ else name] = sky.measured(name, rng)[target]
    write_table(pa.table(columns), path, {"images": "simulated"})
    return target


def compared(
    sky: ScoredSky, found: Recalibration, rows: np.ndarray
) -> dict[str, tuple[float, ...]]:
    """Coverage of 90 % before and after, of measured values after, and the factor of widths."""
    figures = {}
    rng = np.random.default_rng(99)
    for name in NAMES:
        true, knots, noisy = sky.true[name], sky.knots[name], sky.measured(name, rng)
        some = rows & np.isfinite(true + knots.sum(axis=1))
        before = knots[some]
        maps = {name: found.maps[name]} if name in found.maps else {}
        after = mapped({name: before}, maps, sky.magnitude[some]).get(name, before)
        even = np.ones(int(some.sum()))
        held = [coverage(each, true[some], even, 0.9) for each in (before, after)]
        width = [median_width(each, even, 0.9) for each in (before, after)]
        held.append(coverage(after, noisy[some], even, 0.9))
        figures[name] = (*held, width[1] / width[0])
    return figures


def rows_left(sky: ScoredSky, target: np.ndarray) -> np.ndarray:
    """Sources of galaxies of which none is a target."""
    group = np.asarray(sky.table["group_id"])
    return ~np.isin(group, group[target])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--sources", type=int, default=3500)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--outcomes", type=int, nargs="+", default=[500, 200])
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    print(f"{HEADING} | {given.sources:,} sources each, {given.draws} draws of each list")
    print("90 % intervals hold, before -> after (range); * is off by 10 points or more before")
    for n in given.outcomes:
        for name in SKIES:
            sky = ScoredSky.made(given.work, name, given.sources, given.ensemble)
            for mixed in (True, False):
                report(sky, mixed, n, given)


def report(sky: ScoredSky, mixed: bool, n: int, given: argparse.Namespace) -> None:
    """Print the figures of one kind of list of one sky."""
    runs: list[list[dict[str, tuple[float, ...]]]] = []
    alarms, used, effective = [], [], []
    kept: dict[str, int] = dict.fromkeys(NAMES, 0)
    path = given.work / "outcomes.parquet"
    for draw in range(given.draws):
        target = observed(sky, mixed, n, np.random.default_rng(draw), path)
        calibration = relearn(sky.scored, [path], find_ensemble(given.ensemble))
        found = calibration.recalibrations[-1]
        rest = rows_left(sky, target)
        parts = [rest] if mixed else [rest & sky.candidates, rest]
        runs.append([compared(sky, found, rows) for rows in parts])
        assert found.drift is not None
        alarms.append(found.drift.passed_100)
        used.append(found.counts["used"])
        effective.append(found.quantities[LINE].effective)
        for each, record in found.quantities.items():
            if each in kept:
                kept[each] += bool(record.stays)
    fired = [each for each in alarms if each is not None]
    first = f"at outcome {np.median(fired):.0f}, " if fired else ""
    print(
        f"\n{sky.name}, {'mixed' if mixed else 'emitters'}: {np.mean(used):.0f} outcomes, which "
        f"count as {np.mean(effective):.0f}; alarm {first}in {len(fired)} of {given.draws}"
    )
    titles = ["all sources left"] if mixed else ["candidates left", "all sources left"]
    for k, title in enumerate(titles):
        print(f"  {title}")
        for name in NAMES:
            values = np.array([run[k][name] for run in runs])
            before, after, noisy, width = values.mean(axis=0)
            low, high = values[:, 1].min(), values[:, 1].max()
            mark = "*" if abs(before - 0.9) >= CHANGED else " "
            stays = f"  left as it was in {kept[name]}" if kept[name] else ""
            print(
                f"    {name:10}{mark} {before:6.1%} -> {after:6.1%} ({low:.1%} to {high:.1%}),"
                f" measured {noisy:.1%}  width x {width:.2f}{stays}",
                flush=True,
            )


if __name__ == "__main__":
    main()
