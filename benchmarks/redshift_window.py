"""Purity of lists of SIMULATED galaxies in a window of redshift, chosen in three ways.

    targetsel mock --n 7311 --seed 7 --held-out -o sky/
    targetsel score sky/catalog.parquet -o sky.scored.parquet
    python benchmarks/redshift_window.py sky.scored.parquet [--truth sky/truth.parquet]
        [--learn training/catalog.parquet] [--window 0.1 0.15] [--window 0.2 0.3] [--leaves 8 32]
        [--bands griz]

No galaxy of the sky may have had a part in training or calibration. Lists of equal length are of
the sources with

- the highest P(LOW < photoz < HIGH);
- a point estimate, the median, nearest the middle of the window. The longest list is that of all
  whose median lies in the window, and the others are narrower cuts;
- colours and magnitude (SDSS u - g to i - z, and r; or of the bands of --bands, since the images
  that the networks of `mock-ps1` see have none in u) that a decision tree of few leaves, which can
  be written as cuts, finds likeliest to be in the window. It learns the true redshifts of four
  fifths of the sky's own galaxies, and chooses among the others: this is more than a survey has;
- the same, but learnt from the catalog of --learn, such as that of the networks' own training.

No tree is asked about a galaxy from which it learnt. Printed are the shares of lists that lie in
the window, what the first way gains over the others, and at last the number of lists, of all
windows and lengths, for which the 95 % interval of that is above 0, below, or neither. Sources
count by the weight of the truth file, if there is one. Intervals (68 and 95 %) are from resampling
the real galaxies behind the sources. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
from collections import Counter
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

SHARES = (1.0, 0.5, 0.25)  # of the length of the list of a plain cut
FOLDS = 5
FEWEST_IN_LEAF = 20
VERDICTS = ("gains", "loses", "neither")


def colours(table: pa.Table, bands: str) -> np.ndarray:
    """Colours of neighbouring bands, and r [mag], shape (N, B); unknown ones are the median."""
    flux = [table[f"flux_{band}_sdss"].to_numpy().astype(float) for band in bands]
    magnitude = [-2.5 * np.log10(np.where(each > 0, each, np.nan)) for each in flux]
    found = [one - two for one, two in pairwise(magnitude)]
    columns = np.stack([*found, magnitude[bands.index("r")]], axis=1)
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


def likely_as_learnt(
    learn: pa.Table, bands: str, window: tuple[float, float], leaves: int, asked: np.ndarray
) -> np.ndarray:
    """The share of another catalog's galaxies in the window in each asked source's leaf, (N,)."""
    tree = DecisionTreeClassifier(
        max_leaf_nodes=leaves, min_samples_leaf=FEWEST_IN_LEAF, random_state=0
    )
    redshift = learn["redshift"].to_numpy().astype(float)
    tree.fit(colours(learn, bands), (redshift > window[0]) & (redshift < window[1]))
    return tree.predict_proba(asked)[:, 1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scored", type=Path, help="scored catalog with true redshifts")
    parser.add_argument("--truth", type=Path, help="truth file, for weights")
    parser.add_argument("--learn", type=Path, help="catalog of other galaxies, for further trees")
    parser.add_argument("--bands", default="ugriz", help="bands that trees know, r among them")
    parser.add_argument("--window", type=float, nargs=2, action="append")
    parser.add_argument("--leaves", type=int, nargs="+", default=[8, 32])
    given = parser.parse_args()
    table = pq.read_table(given.scored)
    table = table.filter(pa.compute.is_valid(table["photoz"]))
    ids, redshift = table["source_id"].to_numpy(), table["redshift"].to_numpy().astype(float)
    group, weight = table["group_id"].to_numpy(), np.ones(len(ids))
    if given.truth:
        truth = pq.read_table(given.truth, columns=["source_id", "weight"])
        truth = truth.take(places(truth["source_id"].to_numpy(), ids))
        weight = truth["weight"].to_numpy().astype(float)
    learn = pq.read_table(given.learn) if given.learn else None
    if learn is not None and (both := {*group.tolist()} & {*learn["group_id"].to_pylist()}):
        parser.error(f"{given.learn} has {len(both):,} galaxies of the sky that is chosen from")
    posterior, median = Sources(table).posterior, table["photoz"].to_numpy().astype(float)
    seen, ties = colours(table, given.bands), uniform(ids, 0, "window", 1)[:, 0]
    resampling = Resampling(group, weight)
    verdicts: dict[str, Counter[str]] = {}
    print(f"{HEADING} | {len(ids):,} sources of {resampling.n_groups:,} real galaxies")
    for low, high in given.window or [(0.1, 0.15)]:
        inside = (redshift > low) & (redshift < high)
        below = [posterior.probability_below("photoz", each) for each in (high, low)]
        ways = {
            f"P({low:g} < photoz < {high:g})": below[0] - below[1],
            "point estimate": -np.abs(median - (low + high) / 2),
        }
        for leaves in given.leaves:
            share = likely_by_colour(seen, inside, group, weight, leaves)
            ways[f"colour cuts, {leaves} leaves"] = share
            if learn is not None:
                share = likely_as_learnt(learn, given.bands, (low, high), leaves, seen)
                ways[f"cuts learnt there, {leaves} leaves"] = share
        print(f"\n{np.average(inside, weights=weight):.1%} of the sources lie at "
              f"{low:g} < z < {high:g}")  # fmt: skip
        longest = int(((median > low) & (median < high)).sum())
        for part in SHARES:
            n = max(1, round(longest * part))
            lists = {name: np.lexsort((ties, -likely))[:n] for name, likely in ways.items()}
            compare(lists, inside.astype(float), resampling, verdicts)
    print("\nnumber of lists on which P gains, loses, or neither")
    for name, counts in verdicts.items():
        print(f"{name:32}" + "".join(f"{counts[each]:6}" for each in VERDICTS))


def compare(
    lists: dict[str, np.ndarray],
    inside: np.ndarray,
    resampling: Resampling,
    verdicts: dict[str, Counter[str]],
) -> None:
    """Print the share of each list that lies in the window, and count what the first gains."""
    first, *others = (
        (name, resampling.estimate(mean_of(inside[rows]), rows)) for name, rows in lists.items()
    )
    print(f"\nlists of {len(lists[first[0]]):,} sources: share in the window, and what P gains")
    print(f"{first[0]:32}{first[1].text()}")
    for name, found in others:
        gain = first[1] - found
        low, high = gain.interval(0.95)
        verdict = VERDICTS[0] if low > 0 else VERDICTS[1] if high < 0 else VERDICTS[2]
        verdicts.setdefault(name, Counter())[verdict] += 1
        print(f"{name:32}{found.text():42}{gain.text(sign='+')}")


if __name__ == "__main__":
    main()
