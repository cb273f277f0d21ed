"""Expected against true counts of many claims, which tell whether joint probabilities are right.

Probabilities of single lines can all be right while those of pairs, sums and ratios are wrong,
because the correlations of the lines are. Counts show it: the sum of the probabilities of a claim
is the number of sources for which it should come true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, RuleError
from targetsel.report.claims import Claim, Outcomes
from targetsel.report.drawn_claims import CLOSED, DrawnClaim, drawn_claims
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.selection.evaluation import N_DRAWS
from targetsel.selection.scored_sources import ScoredSources
from targetsel.spectra.lines import BPT_CLASSES, BPT_PROXIES, bpt_probabilities
from targetsel.spectra.proxies import Proxies
from targetsel.statistics.resampling import Estimate, Resampling
from targetsel.tables.columns import NEVER, Column, FileKind, floats, table_of_records
from targetsel.tables.parquet import write_table
from targetsel.tasks import tracked

TOLERANCE = 0.05  # of the true count
MOST_SOURCES = 10_000  # for drawn claims; of whole groups
SURE = 1 / (2 * N_DRAWS)  # probabilities are taken to be no nearer to 0 and 1 in log scores
STORED_BPT, CLASS, CONDITION = "BPT column", "class of rules", "condition"
_NORMAL = 1.96  # standard deviations of the ends of `INTERVAL`


@dataclass(frozen=True)
class Count:
    """The expected and the true number of sources for which a claim comes true.

    Attributes
    ----------
    kind, claim : str
    condition : str
        The claim in the language of rules; empty for a column or a class.
    expected, true : float
        Sums of weights, times the probability and where the claim is true.
    low, high : float
        95 % interval of `difference`: that of resampled groups or, if it is wider, that of
        independent sources which come true with their probabilities (Poisson's binomial), without
        which a claim that never comes true would have an interval of no width.
    log_score : float
        Weighted mean of -log of the probability of what came out.
    n : int
        Sources with a probability and a truth.
    """

    kind: str
    claim: str
    condition: str
    expected: float
    true: float
    low: float
    high: float
    log_score: float
    n: int

    @property
    def difference(self) -> float:
        return self.expected - self.true

    @property
    def beyond(self) -> bool:
        """Whether the interval of the difference excludes zero."""
        return not self.low <= 0 <= self.high

    @property
    def off(self) -> bool:
        """Whether the counts differ by more than `TOLERANCE`, and beyond the interval."""
        return self.beyond and abs(self.difference) > TOLERANCE * self.true

    @property
    def surprise(self) -> float:
        """The difference in units of half its interval; more than 1 is beyond it."""
        half = -self.low + self.difference if self.difference > 0 else self.high - self.difference
        return abs(self.difference) / half if half > 0 else (np.inf if self.difference else 0.0)


KIND = FileKind(
    "counts of an evaluation",
    (
        Column("kind", pa.string(), meaning="kind of claim", null_when=NEVER),
        Column("claim", pa.string(), meaning="name of the claim, or its condition"),
        Column("condition", pa.string(), meaning="the claim in the language of rules"),
        Column("expected", pa.float64(), meaning="sum of its probabilities, by weight"),
        Column("true", pa.float64(), meaning="sources for which it comes true, by weight"),
        Column("difference", pa.float64(), meaning="expected less true"),
        Column("low", pa.float64(), meaning="lower end of the difference's 95 % interval"),
        Column("high", pa.float64(), meaning="upper end of the difference's 95 % interval"),
        Column("off", pa.bool_(), meaning="off by over 5 % of the true count, beyond the interval"),
        Column("log_score", pa.float64(), meaning="mean of -log of the probability of the outcome"),
        Column("n", pa.int64(), meaning="sources with a probability and a truth"),
    ),
    "Write it with 'targetsel evaluate'.",
)


def write_counts(counts: Sequence[Count], path: Path, footer: dict[str, Any]) -> None:
    """Write counts as Parquet, with a footer."""
    write_table(table_of_records(counts, KIND.columns), path, footer)


# ---------------------------------------------------------------------- which claims


def stated_counts(stated: Iterable[Claim], known: LabelledSources) -> list[Count]:
    """Counts of claims of conditions and classes, and of the stored columns of BPT classes."""
    of = [(CONDITION if each.members is None else CLASS, "", each) for each in stated]
    of += [(STORED_BPT, "", each) for each in _stored_classes(known)]
    return counted_claims(of, Resampling(known.group_number, known.weight))


def drawn_counts(
    scored: Path,
    known: LabelledSources,
    seed: int,
    kinds: Sequence[str] = CLOSED,
) -> tuple[list[Count], list[str]]:
    """Counts of the claims of these kinds that a seed draws, and why kinds are left out.

    Limits come from the true values of all sources. Of more than `MOST_SOURCES`, the seed chooses
    some groups to count in, which bounds the time: claims that take draws cost a core 1 s each for
    7,000 sources, and classes of ionisation 6 s.

    Parameters
    ----------
    scored : Path
        The scored file that `known` was read from.
    """
    drawn = drawn_claims(known.proxies, known.weight, seed, kinds)
    claims = tracked(drawn, "counting members", len(drawn), "claims")
    part = _some_groups(known, seed)
    found: list[tuple[str, str, Claim]] = []
    left_out = []
    with ScoredSources(scored) as file:
        outcomes = Outcomes(file, part)
        for kind, each in groupby(claims, lambda claim: claim.kind):
            try:
                found += [(kind, claim.condition, _outcome(outcomes, claim)) for claim in each]
            except (RuleError, CatalogError) as error:  # such as correlations that are not there
                left_out.append(str(error))
    return counted_claims(found, Resampling(part.group_number, part.weight)), left_out


def _outcome(outcomes: Outcomes, claim: DrawnClaim) -> Claim:
    place = f"a drawn claim of the kind '{claim.kind}'"
    (found,) = outcomes.of_condition(claim.condition, claim.name, place)
    return found


def _stored_classes(known: LabelledSources) -> Iterator[Claim]:
    """Claims of the stored probabilities of the classes of the [NII] diagram."""
    if not {*BPT_PROXIES} <= known.proxies.keys():
        return
    true = np.stack([known.proxies[name] for name in BPT_PROXIES], axis=1)[:, None]
    outcome = bpt_probabilities(Proxies(known.source_id, BPT_PROXIES, true))
    measured = np.isfinite(true).all(axis=(1, 2))
    for name in BPT_CLASSES:
        if name in known.scored.column_names:
            likely = floats(known.scored[name])
            yield Claim(name, likely, outcome[name] > 0.5, measured & np.isfinite(likely))


def _some_groups(known: LabelledSources, seed: int) -> LabelledSources:
    if len(known) <= MOST_SOURCES:
        return known
    group = known.group_number
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    upto = np.cumsum(np.bincount(group)[order])
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[: max(np.searchsorted(upto, MOST_SOURCES, side="right"), 1)]] = True
    return known.take(chosen[group])


# ---------------------------------------------------------------------- counting


def counted_claims(claims: Sequence[tuple[str, str, Claim]], resampling: Resampling) -> list[Count]:
    """The count of each claim, given with its kind and its condition."""
    if not claims:
        return []
    stated = [_where_known(each, each.probability) for _, _, each in claims]
    true = [_where_known(each, each.true) for _, _, each in claims]
    weight = resampling.weight
    everywhere = np.ones(len(weight), dtype=bool)
    differences = np.stack(stated, axis=1) - np.stack(true, axis=1)
    resampled = Estimate(resampling.means(differences, everywhere) * weight.sum()).interval()
    found = []
    for k, (kind, condition, claim) in enumerate(claims):
        expected, came_true = float(weight @ stated[k]), float(weight @ true[k])
        difference = expected - came_true
        half = _NORMAL * np.sqrt(weight**2 @ (stated[k] * (1 - stated[k])))
        found.append(
            Count(
                kind,
                claim.name,
                condition,
                expected,
                came_true,
                float(min(resampled[0, k], difference - half)),
                float(max(resampled[1, k], difference + half)),
                _log_score(claim, weight),
                int(claim.known.sum()),
            )
        )
    return found


def _where_known(claim: Claim, values: np.ndarray) -> np.ndarray:
    return np.where(claim.known, values, 0.0)


def _log_score(claim: Claim, weight: np.ndarray) -> float:
    rows = claim.known & (weight > 0)
    if not rows.any():
        return float("nan")
    likely = np.clip(claim.probability[rows], SURE, 1 - SURE)
    score = -np.log(np.where(claim.true[rows], likely, 1 - likely))
    return float(np.average(score, weights=weight[rows]))


@dataclass(frozen=True)
class KindSummary:
    """Number of claims of a kind that are off.

    Attributes
    ----------
    kind : str
        Or "all".
    n, n_off, n_beyond : int
        Claims; those that are `off`; and those whose interval excludes zero, by whatever it is.
    log_score : float
        Mean over the claims.
    """

    kind: str
    n: int
    n_off: int
    n_beyond: int
    log_score: float


def by_kind(counts: Sequence[Count]) -> list[KindSummary]:
    """A summary of each kind of claim, in their order, and last of all together."""
    kinds = dict.fromkeys(each.kind for each in counts)
    groups = {kind: [each for each in counts if each.kind == kind] for kind in kinds}
    groups["all"] = list(counts)
    return [
        KindSummary(
            kind,
            len(group),
            sum(each.off for each in group),
            sum(each.beyond for each in group),
            float(np.mean([each.log_score for each in group])) if group else float("nan"),
        )
        for kind, group in groups.items()
    ]


def worst(counts: Sequence[Count], n: int = 10) -> list[Count]:
    """The claims that are off, at most n, the most surprising first."""
    return sorted((each for each in counts if each.off), key=lambda each: -each.surprise)[:n]
