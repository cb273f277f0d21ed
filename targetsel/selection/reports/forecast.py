"""What a class of targets is expected to bring: true members, purity, completeness.

The posterior says how many: the sum of the probabilities. How far that can be trusted is another
question, which only sources of known nature answer. They are sorted into bins of probability; in
a bin where k of n are true, the share of true sources is Beta(k + 1/2, n - k + 1/2) (Jeffreys'
prior), and of the m sources of the catalog in that bin a binomial number is true. The first is
the error of the calibration, common to all sources of the bin and usually the larger; the second
is the chance in the sources themselves, which for sources of different probability would follow a
Poisson-binomial law: within a bin they are taken as equal, which is a little wider. Draws from
both give the intervals. Sources like the members, which obey ``where``, and the others are
calibrated apart. It is assumed that the calibration sources are a random part of such a catalog,
bin by bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.rules import formula as f
from targetsel.rules.rules import Rules
from targetsel.selection.candidates import classes_in, ids_of, quantiles_in
from targetsel.selection.evaluation import all_hold, probability
from targetsel.selection.outcomes import ClaimOutcomes, asked, claim_of
from targetsel.selection.scan import scored_file
from targetsel.selection.trial import members, trial

LEVEL = 0.9  # of the intervals
N_DRAWS = 4000
N_BINS = 10
ENOUGH = (
    50.0  # the least that the sum of p (1 - p) may be in a bin: Jeffreys' prior adds one source
)


@dataclass(frozen=True)
class Expected:
    """A number with its interval; the interval is None without a calibration."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Forecast:
    """What is expected of one class.

    Attributes
    ----------
    n_selected : int
        Members of the class in the target list that have a posterior.
    true, purity, completeness : Expected
        How many of them are what the class claims; their share; and of all such sources of the
        catalog with a posterior the share that is selected. The value is calibrated where there
        is a calibration, else it is what the posterior alone says.
    stated : float
        How many true members the posterior alone says.
    """

    name: str
    n_selected: int
    true: Expected
    purity: Expected
    completeness: Expected
    stated: float


class ProbabilityBins:
    """Bins of probability that hold enough calibration sources to be calibrated each.

    Parameters
    ----------
    probability : ndarray, shape (n,)
    true : ndarray of bool, shape (n,)

    Attributes
    ----------
    n, n_true : ndarray, shape (B,)
        Calibration sources in each bin, and true ones among them.
    counts : ndarray, shape (2, B)
        Sources of the catalog: those that are not selected, and those that are.
    stated : ndarray, shape (2,)
        The sums of their probabilities.
    """

    def __init__(self, probability: np.ndarray, true: np.ndarray) -> None:
        ordered = np.sort(probability)
        weight = (ordered * (1 - ordered)).cumsum()
        whole = weight[-1] if len(weight) else 0.0
        n_bins = int(np.clip(whole // ENOUGH, 1, N_BINS))
        edges = ordered[np.searchsorted(weight, np.arange(1, n_bins) / n_bins * whole)]
        self.edges = np.unique(edges[edges < ordered[-1:]])  # a bin ends with its edge
        self.n = self._count(probability)
        self.n_true = self._count(probability[true])
        self.counts = np.zeros((2, len(self.n)), dtype=np.int64)
        self.stated = np.zeros(2)

    def _count(self, probability: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(self.edges, probability), minlength=len(self.edges) + 1)

    def see(self, probability: np.ndarray, selected: np.ndarray) -> None:
        """Count these sources of the catalog; those without a probability are none."""
        known = np.isfinite(probability)
        for side in (0, 1):
            here = probability[known & (selected == bool(side))]
            self.counts[side] += self._count(here)
            self.stated[side] += here.sum()

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """How many of the sources not selected, and selected, are true, shape (2, N_DRAWS)."""
        false = self.n - self.n_true
        share = rng.beta(self.n_true + 0.5, false + 0.5, (N_DRAWS, len(self.n)))
        return np.stack([rng.binomial(counts, share).sum(axis=1) for counts in self.counts])


def forecasts(
    rules: Rules, scored: Path, known: tuple[Path, Path] | None = None, name: str | None = None
) -> tuple[Forecast, ...]:
    """What the target list of a scored catalog is expected to bring, class by class.

    Parameters
    ----------
    rules : Rules
    scored : Path
    known : tuple of Path, optional
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`). Without it
        there are no intervals.
    name : str, optional
        Only this class, which must claim something about its members' proxies. Otherwise all that
        do.
    """
    wanted = [rules[name]] if name is not None else list(rules.classes)
    with scored_file(scored) as file:
        quantiles = quantiles_in(file, rules)
        classes = classes_in(file, rules, quantiles)
        if name is None:
            wanted = [each for each in wanted if classes[each.name].truth is not None]
        for each in wanted:
            claim_of(classes[each.name])
    targets = trial(rules, scored, known)
    promises = targets.footer["guarantees"]
    found = []
    for each in wanted:
        calibration = known and ClaimOutcomes.read(rules, each.name, *known, quantiles)
        floor = promises[each.name]["threshold"] if each.name in promises else -np.inf
        chosen = members(targets, each.name)
        found.append(forecast(rules, each.name, scored, chosen, calibration, floor))
    return tuple(found)


def forecast(
    rules: Rules,
    name: str,
    scored: Path,
    chosen: pa.Array,
    calibration: ClaimOutcomes | None = None,
    threshold: float = -np.inf,
) -> Forecast:
    """What class `name` is expected to bring.

    Parameters
    ----------
    rules : Rules
    name : str
    scored : Path
        The catalog that the targets were chosen from.
    chosen : pa.Array
        The ids of the members.
    calibration : ClaimOutcomes, optional
        Of the same class; without it there are no intervals.
    threshold : float
        Members are besides more probable than this (see `guarantee`).
    """
    known = calibration or ClaimOutcomes(np.zeros(0, bool), np.zeros(0), np.zeros(0, bool))
    like_members = known.passed & (known.probability > threshold)
    bins = [
        ProbabilityBins(known.probability[each], known.true[each])
        for each in (~like_members, like_members)
    ]
    with scored_file(scored) as file:
        classes = classes_in(file, rules)
        conditions = asked(rules, classes, name)
        claim, ids = claim_of(classes[name]), ids_of(file)
        for block in file.sources((*conditions, f.Probability(claim), ids)):
            likely = probability(claim, block)
            member = pc.is_in(block.table.column(ids.name), chosen)
            selected = member.to_numpy(zero_copy_only=False)
            passed = all_hold(conditions, block) & (likely > threshold)
            for side in (0, 1):
                rows = passed == bool(side)
                bins[side].see(likely[rows], selected[rows])
    return _forecast(name, bins, calibrated=calibration is not None)


def _forecast(name: str, bins: list[ProbabilityBins], calibrated: bool) -> Forecast:
    n = int(sum(each.counts[1].sum() for each in bins))
    rest, stated = (float(sum(each.stated[side] for each in bins)) for side in (0, 1))
    if not calibrated:
        everywhere = stated + rest
        return Forecast(
            name,
            n,
            Expected(stated),
            Expected(stated / n if n else np.nan),
            Expected(stated / everywhere if everywhere else np.nan),
            stated,
        )
    rng = np.random.default_rng(20200912)  # the same for everyone: no answer depends on chance
    outside, inside = np.sum([each.draw(rng) for each in bins], axis=0)
    return Forecast(
        name,
        n,
        _expected(inside),
        _expected(inside / n) if n else Expected(np.nan),
        _expected(inside / np.maximum(inside + outside, 1)),
        stated,
    )


def _expected(draws: np.ndarray) -> Expected:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Expected(float(draws.mean()), (float(low), float(high)))
