"""What a class loses when a few cuts on magnitudes and colours replace it: SIMULATED images.

    targetsel mock --n 7311 --seed 7 --held-out -o sky/
    targetsel score sky/catalog.parquet -o sky.scored.parquet
    python benchmarks/plain_cuts.py sky.scored.parquet --truth sky/truth.parquet [--cuts 5]

No galaxy of the sky may have had a part in training or calibration. Cuts are found on half of the
real galaxies (`targetsel rules distil`), with no knowledge of the truth; on the other half both
lists are compared with the lines measured on the noise-free spectra. Printed are the length of both
lists there, their true purity, and the share of the purity that each keeps. A third list has as
many sources as the first, the best by gradient boosting on all magnitudes, colours and sizes that
cuts may compare, which learns the truth of the first half with fixed settings: it shows about what
these can tell. Intervals (68 and 95 %) are from resampling the real galaxies. Classes with too
few members are left out.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from skies import HEADING, places
from sklearn.ensemble import HistGradientBoostingRegressor

from targetsel.errors import CatalogError, RuleError
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.selection.claims import truth as comes_true
from targetsel.selection.membership import apply_rules
from targetsel.selection.plain_cuts import distil, half_of
from targetsel.selection.plain_quantities import plain_quantities
from targetsel.statistics.resampling import Estimate, Resampling, mean_of

NAMES = ("networks", "cuts", "learner")
SEEDS = 3


def best_learnt(table: pa.Table, true: np.ndarray, learn: np.ndarray, n: int) -> np.ndarray:
    """Which of the sources that were not learnt from are the n best by a learner, shape (N,)."""
    values = np.stack([each.values for each in plain_quantities(table)], axis=1)
    settings = {"max_iter": 80, "learning_rate": 0.06, "max_leaf_nodes": 8, "min_samples_leaf": 30}
    learners = [HistGradientBoostingRegressor(**settings, random_state=k) for k in range(SEEDS)]
    score = sum(each.fit(values[learn], true[learn]).predict(values) for each in learners)
    best = np.argsort(np.where(learn, np.inf, -score), kind="stable")[:n]
    return np.isin(np.arange(len(table)), best)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scored", type=Path, help="scored catalog")
    parser.add_argument("--truth", type=Path, required=True, help="truth file of the sky")
    parser.add_argument("--cuts", type=int, default=5)
    given = parser.parse_args()
    table = pq.read_table(given.scored)
    measured = pq.read_table(given.truth)
    ids = table["source_id"].to_numpy()
    measured = measured.take(pa.array(places(measured["source_id"].to_numpy(), ids)))
    group = table["group_id"].to_numpy()
    other = ~half_of(group)
    resampling = Resampling(group[other])
    print(f"{HEADING} | {other.sum():,} sources of {resampling.n_groups:,} real galaxies")
    for path in shipped_rules():
        rules = Rules.read(path)
        claims = {each.name: each.truth for each in plan(rules, table.schema).classes}
        for each in rules.classes:
            if claims[each.name] is None:
                print(f"\n{each.name}: left out (claims nothing that a spectrum could prove)")
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    cuts = Path(folder) / "cuts.yaml"
                    found = distil(given.scored, rules, each.name, cuts, given.cuts)
                    truth = comes_true(rules, each.name, table, measured).astype(float)
                except (CatalogError, RuleError) as error:
                    print(f"\n{each.name}: left out ({str(error).split(': ', 1)[-1]})")
                    continue
            place = [one.name for one in rules.classes].index(each.name)
            lists = [
                apply_rules(rules, table).selected[other, place],
                apply_rules(found.rules, table).selected[other, 0],
            ]
            lists.append(best_learnt(table, truth, ~other, int(lists[0].sum()))[other])
            true = truth[other]
            purity = [
                resampling.estimate(mean_of(true[chosen]), np.flatnonzero(chosen))
                for chosen in lists
            ]
            print(f"\n{each.name}, {len(found.cuts)} cuts: true purity")
            for title, chosen, share in zip(NAMES, lists, purity, strict=True):
                kept = Estimate(share.values / purity[0].values)
                print(f"  {title:10}{chosen.sum():7,} sources {share.text()} kept {kept.text()}")


if __name__ == "__main__":
    main()
