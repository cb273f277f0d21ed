"""Redshifts that an ensemble predicts from SIMULATED images: errors, calibration, and photometry's.

    targetsel mock --n 7311 --seed 7 --held-out -o sky/
    python benchmarks/redshifts.py sky/ --scratch scratch/ [--ensemble ENSEMBLE]
        [--training-sky TRAINING_SKY]

No galaxy of the sky may have had a part in training or calibration. The sky is scored twice,
without the ensemble's calibration and with it. Printed are bias, scatter (NMAD) and outliers of the
median redshift in dz / (1 + z); the shares of true redshifts in their central 68 and 90 %
intervals; and how far the posterior's shares below the truth (PIT) depart from uniform ones
(Kolmogorov-Smirnov): for all sources, and in bins of r magnitude.

With a training sky, gradient boosting and a small network learn ln(1 + z) from the aperture
photometry of its cutouts, and stand beside the ensemble: the paired difference of errors.

Intervals (68 and 95 %) are from resampling the real galaxies behind the sources, which count by
their weight. A star marks what misses its goal: 90 % intervals within 1 point, PIT within 0.02.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from aperture_features import features, learnt
from calibration import INTERVAL, OVERALL, Known, bins_of, scored_twice, share
from skies import HEADING, Sky

from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.photoz import PHOTOZ
from targetsel.statistics.redshift_errors import redshift_error_figures
from targetsel.statistics.resampling import Resampling, Statistic, mean_of

UNIFORM = 0.02  # goal of the largest departure of PIT
MAGNITUDE_BINS = 5


def departure(pit: np.ndarray) -> Statistic:
    """The largest distance of the weighted distribution of shares (N,) from the uniform one."""
    order = np.argsort(pit, kind="stable")
    sorted_pit = pit[order]

    def largest(weight: np.ndarray) -> float:
        upto = np.cumsum(weight[order]) / weight.sum()
        before = np.concatenate([[0.0], upto[:-1]])
        return float(np.maximum(np.abs(upto - sorted_pit), np.abs(sorted_pit - before)).max())

    return largest


def root_mean_square(error: np.ndarray) -> Statistic:
    return lambda weight: float(np.sqrt(mean_of(error**2)(weight)))


def print_errors(scored: dict[str, Known], resampling: Resampling) -> None:
    """Print errors of median redshifts."""
    title("median redshift: errors of dz / (1 + z)")
    for when, each in scored.items():
        median = each.proxies.quantile(PHOTOZ, 0.5)
        for name, statistic in redshift_error_figures(median, each.sky.redshift).items():
            print(f"{name:15}{when:8}{resampling.estimate(statistic).text(4)}")


def print_calibration(scored: dict[str, Known], resampling: Resampling) -> None:
    """Print coverage and the departure of PIT, for all sources and in bins of r magnitude."""
    magnitude = next(iter(scored.values())).table["rmag"].to_numpy()
    parts = {"all": np.arange(len(magnitude))}
    for rows in bins_of(magnitude, MAGNITUDE_BINS):
        ends = magnitude[rows].min(), magnitude[rows].max()
        parts["r {:.1f} to {:.1f}".format(*ends)] = rows
    title("shares of true redshifts inside 68 and 90 % intervals, and largest departure of PIT")
    for part, rows in parts.items():
        for when, each in scored.items():
            pit = each.below[PHOTOZ][rows]
            cells = []
            for level in (0.68, INTERVAL):
                found = resampling.estimate(share(np.abs(pit - 0.5) < level / 2), rows)
                missed = level == INTERVAL and abs(found.value - level) > OVERALL
                cells.append(found.text() + (" *" if missed else ""))
            found = resampling.estimate(departure(pit), rows)
            cells.append(found.text() + (" *" if found.value > UNIFORM else ""))
            print(f"{part:15}{when:8}" + "".join(f"{cell:42}" for cell in cells))


def print_photometry(each: Known, training: Sky, bands: tuple[str, ...]) -> None:
    """Print what photometry of the cutouts alone tells, beside the calibrated ensemble."""
    resampling = Resampling(each.sky.group, each.sky.weight)
    true = np.log1p(each.sky.redshift)
    target = np.log1p(training.redshift)[:, None]
    own = np.log1p(each.proxies.quantile(PHOTOZ, 0.5)) - true
    title("ln(1 + z): root mean square error and NMAD of dz / (1 + z), and less the ensemble's")
    errors = {"ensemble": own}
    for kind in ("basic", "rich"):
        seen, unseen = features(training, kind, bands), features(each.sky, kind, bands)
        for model in ("boosting", "network"):
            found = learnt(model, seen, target, training.weight, unseen)
            errors[f"{model}, {kind}"] = found.reshape(-1) - true
    errors["both, rich"] = (errors["boosting, rich"] + errors["network, rich"]) / 2

    def nmad(error: np.ndarray) -> Statistic:
        return redshift_error_figures(np.expm1(true + error), np.expm1(true))["nmad"]

    for figure in (root_mean_square, nmad):
        ours = resampling.estimate(figure(own))
        for name, error in errors.items():
            found = resampling.estimate(figure(error))
            less = "" if error is own else (found - ours).text(4, "+")
            print(f"{figure.__name__:18}{name:18}{found.text(4):44}{less}")


def title(text: str) -> None:
    print(f"\n{HEADING} | {text}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sky", type=Path, help="folder of the held-out sky")
    parser.add_argument("--ensemble", default="mock-ps1", help="directory, or a shipped one's name")
    parser.add_argument("--training-sky", type=Path, help="sky to train photometry models on")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for scored files")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    sky = Sky.read(given.sky)
    if not Ensemble.read(given.ensemble).predicts_redshift:
        parser.error(f"--ensemble {given.ensemble}: predicts no redshift")
    ensemble, scored = scored_twice(sky, given)
    after = scored["after"]
    resampling = Resampling(after.sky.group, after.sky.weight)
    title(f"{sky.name}: {len(after.sky)} sources of {resampling.n_groups} real galaxies")
    print_errors(scored, resampling)
    print_calibration(scored, resampling)
    if given.training_sky:
        print_photometry(after, Sky.read(given.training_sky), ensemble.input.bands)


if __name__ == "__main__":
    main()
