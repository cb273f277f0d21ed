"""Purity of lists of SIMULATED galaxies in a window of redshift, chosen in three ways.

    targetsel mock --n 7311 --seed 7 --held-out -o sky/
    targetsel score sky/catalog.parquet -o sky.scored.parquet
    python benchmarks/redshift_window.py sky.scored.parquet [--truth sky/truth.parquet]
        [--window 0.1 0.15] [--leaves 8]

No galaxy of the sky may have had a part in training or calibration. Lists of equal length are of
the sources with

- the highest P(LOW < photoz < HIGH);
- a point estimate, the median, nearest the middle of the window. The longest list is that of all
  whose median lies in the window, and the others are narrower cuts;
- colours and magnitude (SDSS u - g to i - z, and r) that a decision tree of few leaves, which can
  be written as cuts, finds likeliest to be in the window. It learns the true redshifts of four
  fifths of the sky's own galaxies, and chooses among the others: this is more than a survey has.

Printed are the shares of lists that lie in the window, and what the first way gains over the
others. Sources count by the weight of the truth file, if there is one. Intervals (68 and 95 %) are
from resampling the real galaxies behind the sources. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from skies import HEADING, places
from sklearn.model_selection import GroupKFold
from sklearn.tree import DecisionTreeClassifier

from targetsel.selection.sources import Sources
from targetsel.statistics.resampling import Resampling, mean_of
from targetsel.tables.ids import uniform

BANDS = "ugriz"
SHARES = (1.0, 0.5, 0.25)  # of the length of the list of a plain cut
FOLDS = 5
FEWEST_IN_LEAF = 20


def colours(table: pa.Table) -> np.ndarray:
    """Colours of neighbouring bands, and r [mag], shape (N, 5); unknown ones are the median."""
    flux = [table[f"flux_{band}_sdss"].to_numpy().astype(float) for band in BANDS]
    magnitude = [-2.5 * np.log10(np.where(each > 0, each, np.nan)) for each in flux]
    found = [one - two for one, two in pairwise(magnitude)]
    columns = np.stack([*found, magnitude[BANDS.index("r")]], axis=1)
    return np.where(np.isfinite(columns), columns, np.nanmedian(columns, axis=0))


def likely_by_colour(
    seen: np.ndarray, inside: np.ndarray, group: np.ndarray, weight: np.ndarray, leaves: int
) -> np.ndarray:
    """The share of learnt galaxies in the window in each source's leaf, shape (N,)."""
    share = np.zeros(len(inside))
    for learn, choose in GroupKFold(FOLDS).split(seen, inside, group):
        tree = DecisionTreeClassifier(
            max_leaf_nodes=leaves, min_samples_leaf=FEWEST_IN_LEAF, random_state=0
        )
        tree.fit(seen[learn], inside[learn], weight[learn])
        share[choose] = tree.predict_proba(seen[choose])[:, 1]
    return share


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scored", type=Path, help="scored catalog with true redshifts")
    parser.add_argument("--truth", type=Path, help="truth file, for weights")
    parser.add_argument("--window", type=float, nargs=2, default=(0.1, 0.15))
    parser.add_argument("--leaves", type=int, nargs="+", default=[8, 32])
    given = parser.parse_args()
    low, high = given.window
    table = pq.read_table(given.scored)
    table = table.filter(pa.compute.is_valid(table["photoz"]))
    ids, redshift = table["source_id"].to_numpy(), table["redshift"].to_numpy().astype(float)
    group, weight = table["group_id"].to_numpy(), np.ones(len(ids))
    if given.truth:
        truth = pq.read_table(given.truth, columns=["source_id", "weight"])
        truth = truth.take(places(truth["source_id"].to_numpy(), ids))
        weight = truth["weight"].to_numpy().astype(float)
    inside = (redshift > low) & (redshift < high)
    posterior = Sources(table).posterior
    below = [posterior.probability_below("photoz", each) for each in (high, low)]
    median = table["photoz"].to_numpy().astype(float)
    seen = colours(table)
    ways = {
        f"P({low:g} < photoz < {high:g})": below[0] - below[1],
        "point estimate": -np.abs(median - (low + high) / 2),
    }
    for leaves in given.leaves:
        share = likely_by_colour(seen, inside, group, weight, leaves)
        ways[f"colour cuts, {leaves} leaves"] = share
    ties = uniform(ids, 0, "window", 1)[:, 0]
    longest = int(((median > low) & (median < high)).sum())
    resampling = Resampling(group, weight)
    print(f"{HEADING} | {len(ids):,} sources of {resampling.n_groups:,} real galaxies, of which "
          f"{np.average(inside, weights=weight):.1%} lie at {low:g} < z < {high:g}")  # fmt: skip
    for part in SHARES:
        n = max(1, round(longest * part))
        print(f"\nlists of {n:,} sources: share in the window, and what P gains")
        best = None
        for name, likely in ways.items():
            rows = np.lexsort((ties, -likely))[:n]
            found = resampling.estimate(mean_of(inside[rows].astype(float)), rows)
            best = best or found
            gain = "" if best is found else (best - found).text(sign="+")
            print(f"{name:28}{found.text():42}{gain}")


if __name__ == "__main__":
    main()
