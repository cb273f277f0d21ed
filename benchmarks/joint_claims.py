"""Expected against true counts of claims that a seed draws: pairs, sums, ratios, classes.

    python benchmarks/joint_claims.py catalog.scored.parquet --truth truth.parquet [--seed 0]
        [--kinds and,or] [--output counts.parquet]

Prints the joint departure of proxies; by kind, how many claims are off by over 5 % of the true
count and beyond their 95 % interval, how many are beyond their interval, and the mean log score of
the probabilities; then the worst. Limits are quantiles of the true values, whatever is predicted,
so that two runs on one sky have the same claims.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from targetsel.cli.predictions import print_counts, print_departure
from targetsel.report.claims import claims
from targetsel.report.counts import drawn_counts, stated_counts, write_counts
from targetsel.report.drawn_claims import KINDS
from targetsel.report.figures import Figures, subsets
from targetsel.report.joint_proxies import copula_figures, copula_scores
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.statistics.resampling import Resampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scored", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--worst", type=int, default=20)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    start = time.process_time()
    known = LabelledSources.read(asked.scored, asked.truth)
    known = known.take(np.argsort(known.source_id, kind="stable"))
    stated, _ = claims(asked.scored, known, None, ())
    counts, _ = drawn_counts(asked.scored, known, asked.seed, asked.kinds.split(","))
    counts += stated_counts(stated, known)
    print(f"{len(known):,} sources, seed {asked.seed}, {time.process_time() - start:.0f} s of CPU")
    if (scores := copula_scores(known)) is not None:
        resampling = Resampling(known.group_number, known.weight)
        everyone = subsets(known)[:1]
        print_departure(Figures(copula_figures(scores, everyone, known.group_number, resampling)))
    print_counts(counts, asked.worst)
    if asked.output:
        write_counts(counts, asked.output, {"seed": asked.seed})


if __name__ == "__main__":
    main()
