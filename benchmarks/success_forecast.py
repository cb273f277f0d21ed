"""Forecasts of success by S/N beside what came, of a sky of known truth: SIMULATED images.

    targetsel mock --n 4874 --seed 7 --held-out -o sky/
    targetsel score sky/catalog.parquet -o sky.scored.parquet
    python benchmarks/success_forecast.py sky.scored.parquet --truth sky/truth.parquet

No galaxy of the sky may have had a part in training or calibration. Two lines are observed by
`targetsel observe` at their true redshifts, a list is chosen from it, and `targetsel outcomes` is
given a table in which a spectrum fails where the line's S/N, at its true width, is below 5: since
S/N grows with the width, its S/N is where the width stands among the predicted quantiles. Printed
are the forecast of each class, the share that succeeded and the difference with its 95 % interval;
then the same in steps of the forecast; and last how far the forecast from three quantiles is from
that of the scored file's eleven.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from skies import HEADING, places

import targetsel as ts
from targetsel.feedback.success import SuccessRule, forecast_of
from targetsel.spectra.proxies import NORMAL_SCORES, QUANTILES
from targetsel.tables.parquet import write_table

LINES, LIMIT, SIZE = ("oiii", "halpha"), 5.0, "1.5arcsec"
EXPOSURES = ("60s", "900s")
EDGES = np.array([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
RULES = """schema: targetsel/rules/v1
name: benchmark
classes:
  BRIGHT:
    priority: 2
    where:
      - rmag < 17.5
      - P(snr_{line} > 5) >= 0
  FAINT:
    priority: 1
    where: P(snr_{line} > 5) >= 0
"""


def true_snr(observed: pa.Table, line: str, width: np.ndarray) -> np.ndarray:
    """The S/N of N lines at their true widths, by the quantiles of both."""
    both = [
        np.array(observed[name + QUANTILES].to_pylist(), dtype=np.float64)
        for name in (f"ew_{line}", f"snr_{line}")
    ]
    found = np.full(len(width), np.nan)
    for k, (widths, snr) in enumerate(zip(*both, strict=True)):
        if np.isfinite(widths).all() and np.isfinite(snr).all():
            slope = (snr[-1] - snr[0]) / max(widths[-1] - widths[0], 1e-9)
            beyond = max(width[k] - widths[-1], 0.0) * slope
            found[k] = np.interp(width[k], widths, snr) + beyond
    return found


def by_quantiles(observed: pa.Table, line: str) -> np.ndarray:
    """P(S/N > LIMIT) by all stored quantiles, shape (N,)."""
    from scipy.special import ndtr

    found = np.full(len(observed), np.nan)
    for k, each in enumerate(observed[f"snr_{line}" + QUANTILES].to_pylist()):
        if each is not None and np.isfinite(np.array(each, dtype=float)).all():
            found[k] = 1 - ndtr(np.interp(LIMIT, each, NORMAL_SCORES, left=-9, right=9))
    return found


def one(scored: Path, truth: pa.Table, line: str, exposure: str, folder: Path) -> None:
    """Print the forecast of a line at one exposure time beside what came."""
    seen = folder / f"{line}-{exposure}.parquet"
    ts.observe(scored, SIZE, seen, lines=[line], exposure=exposure)
    observed = pq.read_table(seen)
    ids = observed["source_id"].to_numpy()
    truth = truth.take(pa.array(places(truth["source_id"].to_numpy(), ids)))
    snr = true_snr(observed, line, truth[f"ew_{line}"].to_numpy())
    redshift = np.where(snr > LIMIT, observed["redshift"].to_numpy(), np.nan)
    write_table(pa.table({"source_id": ids, "redshift": redshift}), folder / "spectra.parquet")
    rules = folder / "rules.yaml"
    rules.write_text(RULES.format(line=line))
    targets = ts.select(seen, rules, folder / "benchmark.targets.parquet")
    found = ts.outcomes(targets, truth=folder / "spectra.parquet")
    print(f"\n{HEADING} | {line}, {exposure}, {len(targets):,} targets")
    for each in found.forecasts:
        print("  ".join(each.cells))
    forecast = forecast_of(targets.table, [SuccessRule(f"snr_{line}", LIMIT)])
    came = found.observed.success
    for low, high in pairwise(EDGES):
        rows = (forecast >= low) & ((forecast < high) | (high == 1))
        if n := int(rows.sum()):
            mean, share = forecast[rows].mean(), came[rows].mean()
            error = np.sqrt(share * (1 - share) / n)
            came_text = f"came {share:.3f} ({error:.3f})"
            print(f"  {low:.1f} to {high:.1f}: {n:5,}  forecast {mean:.3f}  {came_text}")
    all_of = by_quantiles(observed, line)[places(ids, targets.table["source_id"].to_numpy())]
    off = forecast - all_of
    rms, largest = np.sqrt(np.nanmean(off**2)), np.nanmax(abs(off))
    about = f"mean {np.nanmean(off):+.4f}, rms {rms:.3f}, largest {largest:.3f}"
    print(f"  three quantiles less eleven: {about}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scored", type=Path, help="scored catalog")
    parser.add_argument("--truth", type=Path, required=True, help="truth file of the sky")
    given = parser.parse_args()
    truth = pq.read_table(given.truth)
    with tempfile.TemporaryDirectory() as folder:
        for line, exposure in product(LINES, EXPOSURES):
            one(given.scored, truth, line, exposure, Path(folder))


if __name__ == "__main__":
    main()
