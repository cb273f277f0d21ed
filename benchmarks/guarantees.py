"""Both guarantees of purity on random halves of a sky of known truth: what is given, and how true.

    python benchmarks/guarantees.py --scored S.scored.parquet --truth T.parquet [--splits 1000]

For five claims and three purities, some out of reach, independent sources (one of each group) are
split into random halves: one calibrates, from the other the list is made. The columns are

- refused: share of requests without a list;
- false: mean share of false members, of the lists that are made;
- worse: share of those lists with a larger share of false members than the purity allows, and in
  brackets the share of all requests that ended in such a list;
- over: share of all requests that ended in a list with more false members than `n_false_at_most`;
- true: mean number of true members over all requests, and that of the largest list of that purity,
  from the most probable downwards, which only the other half's truth shows;
- granted: share of requests granted, of those where that largest list has 100 members.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from targetsel.errors import RuleError
from targetsel.rules.rules import Rules
from targetsel.selection.claims import ClaimOutcomes
from targetsel.selection.guarantees import ConformalSelection, Guarantee, ListSelection

CLAIMS = (
    "ew_oiii > 5 Angstrom",
    "ew_halpha > 20 Angstrom",
    "ew_oiii > 5 Angstrom and ew_halpha > 30 Angstrom",
    "hdelta_a > 4 Angstrom",
    "d4000 > 1.6",
)
PURITIES = (0.7, 0.9, 0.95)
CONFIDENCE = 0.9
LARGE = 100  # members
RULES = """schema: targetsel/rules/v1
name: benchmark
classes: {{CLAIM: {{bit: 0, priority: 1, where: "P({claim}) >= 0"}}}}
"""


def request(
    kind: str, purity: float, probability: np.ndarray, true: np.ndarray, half: np.ndarray
) -> Guarantee | None:
    """The guarantee for one half of the sources by the other; None where it is refused."""
    known = (probability[~half], true[~half])
    chosen: ListSelection | ConformalSelection
    if kind == "average":
        chosen = ConformalSelection(purity, *known)
    else:
        chosen = ListSelection(purity, CONFIDENCE, *known)
    chosen.see(probability[half])
    try:
        return chosen.result("CLAIM")
    except RuleError:
        return None


def largest(purity: float, probability: np.ndarray, true: np.ndarray) -> tuple[int, int]:
    """Members, and true ones, of the largest list of a purity."""
    order = np.argsort(-probability, kind="stable")
    n_true, n = true[order].cumsum(), np.arange(1, len(true) + 1)
    good = np.flatnonzero(n_true >= purity * n)
    return (int(good[-1]) + 1, int(n_true[good[-1]])) if len(good) else (0, 0)


def outcomes(
    kind: str, purity: float, probability: np.ndarray, true: np.ndarray, n_splits: int
) -> Iterator[tuple[float, ...]]:
    """Of each split: members, false ones, the most said, and `largest`; NaN members if refused."""
    rng = np.random.default_rng(20)  # the same splits for every claim, purity and kind
    for _ in range(n_splits):
        half = rng.permutation(len(true)) < len(true) // 2
        best = largest(purity, probability[half], true[half])
        found = request(kind, purity, probability, true, half)
        if found is None:
            yield (np.nan, 0, np.nan, *best)
            continue
        members = true[half][probability[half] > found.threshold]
        most = np.inf if found.n_false_at_most is None else found.n_false_at_most
        yield (len(members), (~members).sum(), most, *best)


def row(kind: str, purity: float, splits: np.ndarray) -> str:
    """A line of the table from `outcomes`, shape (R, 5)."""
    n, false, most, n_best, true_best = splits.T
    made = np.isfinite(n)
    share = false[made] / np.maximum(n[made], 1)
    worse = share > 1 - purity + 1e-9
    of_lists = [f"{np.mean(each):.3f}" if made.any() else "-" for each in (share, worse)]
    over = f"{np.mean(false > most):.3f}" if kind == "list" else "-"
    large = n_best >= LARGE
    granted = f"{made[large].mean():.2f} of {large.sum()}" if large.any() else "-"
    true = f"{np.where(made, n - false, 0).mean():.0f} of {true_best.mean():.0f}"
    return (
        f"| {purity} | {kind} | {1 - made.mean():.2f} | {of_lists[0]} | {of_lists[1]} "
        f"({worse.sum() / len(n):.3f}) | {over} | {true} | {granted} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scored", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=1000)
    options = parser.parse_args()
    print("| claim | purity | kind | refused | false | worse | over | true | granted |")
    print("|---|---|---|---|---|---|---|---|---|")
    for claim in CLAIMS:
        rules = Rules.parse(RULES.format(claim=claim))
        found = ClaimOutcomes.read(rules, "CLAIM", options.scored, options.truth)
        probability, true = (each[found.independent] for each in (found.probability, found.true))
        for purity in PURITIES:
            for kind in ("average", "list"):
                splits = outcomes(kind, purity, probability, true, options.splits)
                print(f"| {claim} {row(kind, purity, np.array(list(splits)))}", flush=True)


if __name__ == "__main__":
    main()
