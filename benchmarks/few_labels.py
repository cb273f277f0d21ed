"""What few spectra of another population are worth to an ensemble. Images and spectra: SIMULATED.

    python benchmarks/few_labels.py --work FOLDER [--ensemble mock-ps1] [--labels 100 300 1000 3000]
        [--seeds 3] [--variation examples/variations/other-population.yaml]

A mock sky of another population stands for real data: an ensemble is given noisy spectra of some of
its sources, and tested on others, of galaxies that neither its training nor any label has shown.
(The labels' galaxies are in the shipped ensemble's training, too, with other images and spectra.)
Each number of labels is drawn several times; smaller draws are parts of larger ones. Compared are

as it is        the ensemble with the calibration that it came with
recalibrated    the same networks, `calibrate` with the labels: needs some 600 of them
fine-tuned      `train --init` with all labels, without a calibration
  and calibrated   with all but `CALIBRATING` labels, and `calibrate` with these
from scratch    `train` with all labels, with networks of the same kind; without a calibration

True latents are encodings of the noise-free spectra, true line strengths are measured on them;
labels are noisy. Rank correlations are over the sources whose line strength is predicted, and their
share is told for the one of them that is missing most. Intervals (95 %) are from resampling the
test's galaxies, of the mean over draws; the range over draws stands behind them.

Epochs follow from the number of labels: each network sees about `SEEN` cutouts, so that few labels
are not learnt by heart in thousands of steps and many take no hours, but every label at most 24
times when fine-tuned, and 40 times from scratch. That is 1.1 million cutouts with five networks and
three draws: at 700 a second and core, as networks of width 0.375 take them, 14 minutes on two free
cores, and some more to score. All is kept in the work folder; a stopped command resumes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from calibration import Known, known, share
from figures_of_merit import average_precision, latent_errors, mean_estimate
from skies import HEADING, Sky

import targetsel as ts
from targetsel.errors import TargetselError
from targetsel.mock.plan import SkyPlan, Variation
from targetsel.mock.writing import write_sky
from targetsel.scoring.ensemble import Ensemble, find_ensemble
from targetsel.spectra.lines import PROXIES
from targetsel.statistics.resampling import Estimate, Resampling, rank_correlation
from targetsel.tables.files import written_beside
from targetsel.tables.ids import uniform
from targetsel.training.labels import Labels

SEED = 41
SEEN = {"fine-tuned": 8_000, "from scratch": 24_000}  # cutouts, by each network
MOST_EPOCHS = {"fine-tuned": 24, "from scratch": 40}
FEWEST_EPOCHS = 3  # two for the mean, one for the covariance
CALIBRATING = 650  # labels: 400 to fit, and three of ten to check
LINE, STRONG = "ew_halpha_nii", 50.0  # [Angstrom]
RANKED = ("ew_halpha_nii", "ew_oiii", "d4000")
INSIDE = 0.45  # of the median: the central 90 %
FILES = ("catalog", "spectra", "truth")
UNTOUCHED = "as it is"

Figures = dict[str, Estimate]


def epochs_of(way: str, n: int) -> int:
    """The epochs of a training with n labels."""
    return int(np.clip(SEEN[way] // n, FEWEST_EPOCHS, MOST_EPOCHS[way]))


# --- skies ----------------------------------------------------------------------------------------


def sky_of(folder: Path, variation: Path, n: int, held_out: bool, workers: int) -> Path:
    """A mock sky of the other population, made unless the folder has it."""
    plan = SkyPlan.of(n, SEED + held_out, variation=Variation.read(variation), held_out=held_out)
    kept = folder / "plan.json"
    stated = plan.footer() | {"code_version": None}
    if kept.exists() and json.loads(kept.read_text()) == json.loads(json.dumps(stated)):
        return folder
    write_sky(folder, plan, workers)
    with written_beside(kept) as beside:
        beside.write_text(json.dumps(stated))
    return folder


@dataclass(frozen=True)
class Work:
    """The work folder, with the skies of labels and of the test and the ensemble to start from."""

    folder: Path
    labels: Path
    test: Path
    ensemble: Path
    members: int | None
    workers: int

    @cached_property
    def plain(self) -> Path:
        """The ensemble without its calibration."""
        folder = self.folder / "plain"
        if not folder.exists():
            shutil.copytree(self.ensemble, folder, ignore=lambda *_: ["calibration.json"])
        return folder

    @cached_property
    def order(self) -> list[np.ndarray]:
        """Ids of the sky of labels in the order in which draw after draw takes them."""
        ids = pq.read_table(self.labels / "catalog.parquet", columns=["source_id"])["source_id"]
        ids = ids.to_numpy()
        return [ids[np.argsort(uniform(ids, seed, "few labels")[:, 0])] for seed in range(64)]

    def part(self, ids: np.ndarray, name: str) -> Path:
        """A folder with some of the labels' rows of every file; the truth is what was measured."""
        folder = self.folder / "parts" / name
        if not (folder / "truth.parquet").exists():
            folder.mkdir(parents=True, exist_ok=True)
            for file in FILES:
                source = self.measured if file == "truth" else self.labels / f"{file}.parquet"
                table = pq.read_table(source)
                rows = pc.is_in(table["source_id"], value_set=pa.array(ids))
                with written_beside(folder / f"{file}.parquet") as beside:
                    pq.write_table(table.filter(rows), beside)
        return folder

    @cached_property
    def measured(self) -> Path:
        """Latents and line strengths of the labels' noisy spectra, and their redshifts."""
        path = self.folder / "measured.parquet"
        if not path.exists():
            decoder = Ensemble.read(self.ensemble).decoder
            found = Labels.of_spectra(self.labels / "spectra.parquet", decoder)
            place = {key: k for k, key in enumerate(found.source_id.tolist())}
            catalog = pq.read_table(self.labels / "catalog.parquet")
            catalog = catalog.filter(pc.is_in(catalog["source_id"], pa.array(found.source_id)))
            rows = np.array([place[key] for key in catalog["source_id"].to_pylist()])
            table = catalog.select(["source_id", "group_id", "redshift"])
            for name, values in (("latent_mean", found.mean), ("latent_std", found.noise)):
                table = table.append_column(name, pa.array(list(values[rows])))
            for name in PROXIES:
                table = table.append_column(name, pa.array(found.measured[name][rows]))
            with written_beside(path) as beside:
                pq.write_table(table, beside)
        return path


# --- ways -----------------------------------------------------------------------------------------


def trained(work: Work, way: str, part: Path, n: int) -> Path:
    """The ensemble trained with the labels of a part."""
    folder = part / way.replace(" ", "-")
    if not (folder / "card.json").exists():
        tell(f"{folder}: {epochs_of(way, n)} epochs of {n} labels")
        first = Ensemble.read(work.plain).networks[0].plan
        start = {"init": work.plain}
        if way == "from scratch":
            start = {"decoder": work.plain / "decoder.safetensors", "width": first.width}
        own = Ensemble.read(work.plain)
        ts.train(
            work.labels / "cutouts",
            folder,
            spectra=part / "spectra.parquet",
            catalog=part / "catalog.parquet",
            epochs=epochs_of(way, n),
            members=work.members or len(own.networks),
            bin=own.input.binning,
            redshift=own.predicts_redshift,
            workers=work.workers,
            report=lambda line: None,
            **start,
        )
    return folder


def calibrated(work: Work, ensemble: Path, labels: Path, folder: Path) -> Path:
    """A copy of an ensemble with a calibration by the labels of a part.

    Raises
    ------
    CatalogError
        If they are too few.
    """
    if not (folder / "calibration.json").exists():
        scored = folder.with_name(folder.name + ".scored.parquet")
        if not scored.exists():
            cutouts = work.labels / "cutouts"
            ts.score(labels / "catalog.parquet", cutouts, ensemble, scored, calibrated=False)
        found = ts.calibrate(scored, labels / "truth.parquet", ensemble)
        shutil.copytree(ensemble, folder, dirs_exist_ok=True)
        found.write(folder)
    return folder


def ways(work: Work, n: int, seed: int) -> dict[str, Callable[[], Path]]:
    """What makes the ensemble of each way with n labels of a draw."""
    ids, name = work.order[seed][:n], f"{n}-draw-{seed}"
    part = work.part(ids, name)
    found = {
        "recalibrated": lambda: calibrated(work, work.plain, part, part / "recalibrated"),
        "fine-tuned": lambda: trained(work, "fine-tuned", part, n),
        "from scratch": lambda: trained(work, "from scratch", part, n),
    }
    if n > CALIBRATING + 100:
        rest = work.part(ids[CALIBRATING:], f"{name}-to-learn")
        kept = work.part(ids[:CALIBRATING], f"{name}-to-calibrate")

        def both() -> Path:
            learnt = trained(work, "fine-tuned", rest, n - CALIBRATING)
            return calibrated(work, learnt, kept, rest / "calibrated")

        found["  and calibrated"] = both
    return found


# --- figures --------------------------------------------------------------------------------------


def scored_test(work: Work, ensemble: Path, place: Path) -> Known:
    """The test sky as an ensemble scores it."""
    sky = Sky.read(work.test)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        return known(sky, Ensemble.read(ensemble), place, work.workers)
    table = pq.read_table(place)
    table = table.filter(pc.equal(table["status"], "ok"))
    row = {key: k for k, key in enumerate(sky.source_id.tolist())}
    sky = sky.take(np.array([row[key] for key in table["source_id"].to_pylist()]))
    return Known(sky, table, sky.labels(Ensemble.read(ensemble).decoder, "flux_true"))


def measures(found: Known) -> Figures:
    """All figures of one ensemble on the test sky."""
    resampling = Resampling(found.sky.group, found.sky.weight)
    estimate, true = resampling.estimate, found.sky.proxies
    names = [f"latent {k + 1}" for k in range(found.latents.shape[1])]

    def coverage(of: list[str]) -> Estimate:
        below = np.stack([found.below[name] for name in of], axis=1)
        inside = np.where(np.isfinite(below), np.abs(below - 0.5) < INSIDE, np.nan)
        return mean_estimate([estimate(share(column)) for column in inside.T])

    ranking = np.nan_to_num(1 - found.proxies.probability_below(LINE, STRONG))
    medians = {name: found.proxies.quantile(name, 0.5) for name in RANKED}
    predicted = min((np.isfinite(each) for each in medians.values()), key=np.sum).astype(float)
    return {
        "RMSE of latents": estimate(latent_errors(found.posterior.mean, found.latents))[0],
        **{f"rank, {n}": estimate(rank_correlation(medians[n], true[n])) for n in RANKED},
        "predicted": estimate(share(predicted)),
        "cover, latents": coverage(names),
        "cover, lines": coverage([*PROXIES]),
        f"AP, EW > {STRONG:g}": estimate(average_precision(true[LINE] > STRONG, ranking)),
    }


def text(estimates: list[Estimate]) -> str:
    """The mean over draws with its interval, and the range of the draws."""
    mean = mean_estimate(estimates)
    low, high = mean.interval()
    values = [float(each.value) for each in estimates]
    over = f" {min(values):.3f}-{max(values):.3f}" if len(values) > 1 else ""
    return f"{mean.value:.3f} [{low:.3f} {high:.3f}]{over}"


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def table_of(work: Work, n: int, seeds: int, untouched: Figures) -> None:
    """Measure all ways with n labels, and print their table."""
    rows: dict[str, list[Figures]] = {UNTOUCHED: [untouched]}
    refused: dict[str, str] = {}
    for seed in range(seeds):
        for way, make in ways(work, n, seed).items():
            try:
                ensemble = make()
            except TargetselError as error:
                refused[way] = str(error)
                continue
            place = ensemble.with_name(ensemble.name + ".test.parquet")
            rows.setdefault(way, []).append(measures(scored_test(work, ensemble, place)))
            tell(f"{n} labels, draw {seed}, {way.strip()}: measured")
    print(f"\n{HEADING} | {n} labels, mean of {seeds} draws [95 %] and their range")
    for name in untouched:
        print(name)
        for way, found in rows.items():
            print(f"    {way:20}{text([each[name] for each in found])}")
    for way, why in refused.items():
        print(f"{way.strip()}, refused: {why.partition(': ')[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--ensemble", default="mock-ps1", help="folder, or a shipped one's name")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--seeds", type=int, default=3, help="draws of labels")
    parser.add_argument(
        "--variation", type=Path, default=Path("examples/variations/other-population.yaml")
    )
    parser.add_argument("--pool", type=int, default=4500, help="sources that labels are drawn from")
    parser.add_argument("--test", type=int, default=1500, help="sources of the test")
    parser.add_argument("--members", type=int, help="networks; by default as many as there are")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    skies = (
        sky_of(given.work / name, given.variation, n, held_out, given.workers)
        for name, n, held_out in (("labels", given.pool, False), ("test", given.test, True))
    )
    ensemble = find_ensemble(given.ensemble)
    work = Work(given.work, *skies, ensemble, given.members, given.workers)
    found = scored_test(work, ensemble, given.work / "as-it-is.test.parquet")
    untouched, strong = measures(found), int((found.sky.proxies[LINE] > STRONG).sum())
    print(f"{HEADING} | {Ensemble.read(ensemble).name}, {given.variation.name}: {len(found.sky)}")
    print(f"sources of {len(np.unique(found.sky.group))} galaxies to test on, {strong} with {LINE}")
    print(f"> {STRONG:g}; as it is its calibration is its own")
    for n in given.labels:
        table_of(work, n, given.seeds, untouched)


if __name__ == "__main__":
    main()
