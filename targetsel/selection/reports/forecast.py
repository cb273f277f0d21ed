"""Forecast of the true members, purity and completeness of a class of targets.

The posterior gives the expected number of true members: the sum of the probabilities. Only sources
of known spectra show how accurate that is. They are sorted into bins of probability; in
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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from targetsel.rules import formula as f
from targetsel.rules.rules import Rules
from targetsel.selection.claims import ClaimOutcomes
from targetsel.selection.evaluation import all_hold, probability
from targetsel.selection.scored_sources import ScoredCatalog, scored_catalog
from targetsel.selection.select import preview
from targetsel.selection.sources import Sources
from targetsel.selection.target_list import TargetList

LEVEL = 0.9  # of the intervals
N_DRAWS = 4000
N_BINS = 10
ENOUGH = (
    50.0  # the least that the sum of p (1 - p) may be in a bin: Jeffreys' prior adds one source
)


@dataclass(frozen=True)
class Expectation:
    """A number with its interval; the interval is None without a calibration."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ClassForecast:
    """The forecast of one class.

    Attributes
    ----------
    n_selected : int
        Members of the class in the target list that have a posterior.
    true, purity, completeness : Expectation
        Members for which the class's claim is true; their share; and the share that is selected of
        all such sources of the catalog with a posterior. The value is calibrated where there is a
        calibration, else it is that of the posterior alone.
    stated : float
        True members by the posterior alone.
    """

    name: str
    n_selected: int
    true: Expectation
    purity: Expectation
    completeness: Expectation
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
        """Count these sources of the catalog; those without a probability are left out."""
        known = np.isfinite(probability)
        for side in (0, 1):
            here = probability[known & (selected == bool(side))]
            self.counts[side] += self._count(here)
            self.stated[side] += here.sum()

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """True sources among those not selected and those selected, shape (2, N_DRAWS)."""
        false = self.n - self.n_true
        share = rng.beta(self.n_true + 0.5, false + 0.5, (N_DRAWS, len(self.n)))
        return np.stack([rng.binomial(counts, share).sum(axis=1) for counts in self.counts])


def forecasts(
    rules: Rules, scored: Path, known: tuple[Path, Path] | None = None, name: str | None = None
) -> tuple[ClassForecast, ...]:
    """The forecasts of the target list of a scored catalog, class by class.

    Parameters
    ----------
    rules : Rules
    scored : Path
    known : tuple of Path, optional
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`). Without it
        there are no intervals.
    name : str, optional
        Only this class, which must claim something about its members' proxies. By default all
        classes that do.
    """
    with scored_catalog(scored, rules) as catalog:
        names = [each.name for each in catalog.classes.values() if each.truth is not None]
        if name is not None:
            names = [catalog[name].name]
            catalog[name].claim  # noqa: B018
        targets = preview(catalog, known)
        outcomes = {}
        if known is not None:
            for each in names:
                outcomes[each] = ClaimOutcomes.read(rules, each, *known, catalog.quantiles)
        return forecasts_of(catalog, targets, names, outcomes)


def forecasts_of(
    catalog: ScoredCatalog,
    targets: TargetList,
    names: Iterable[str],
    outcomes: Mapping[str, ClaimOutcomes],
) -> tuple[ClassForecast, ...]:
    """The forecasts of a target list, from one pass through its catalog.

    Parameters
    ----------
    catalog : ScoredCatalog
        The catalog that the targets were selected from.
    targets : TargetList
    names : iterable of str
        The classes, which must claim something about their members' proxies.
    outcomes : mapping of class name to ClaimOutcomes
        Without outcomes of a class, its forecast has no intervals.
    """
    classes = [_Members(catalog, name, targets, outcomes.get(name)) for name in names]
    formulas = [part for each in classes for part in (*each.conditions, f.Probability(each.claim))]
    for block in catalog.file.sources(formulas, ["source_id"]):
        for each in classes:
            each.see(block)
    return tuple(each.forecast() for each in classes)


class _Members:
    """The members of one class and all other sources of the catalog, in bins of probability."""

    def __init__(
        self,
        catalog: ScoredCatalog,
        name: str,
        targets: TargetList,
        outcomes: ClaimOutcomes | None,
    ) -> None:
        self.name, self.claim = name, catalog[name].claim
        self.conditions = catalog.of_spectra(name)
        self._file, self._ids = catalog.file, targets.ids_of(name)
        # With a guarantee, members are besides more probable than its threshold.
        self._threshold = targets.footer["guarantees"].get(name, {}).get("threshold", -np.inf)
        self._calibrated = outcomes is not None
        nobody = np.zeros(0, bool)
        known = outcomes or ClaimOutcomes(nobody, np.zeros(0), nobody, nobody)
        like_members = known.passed & (known.probability > self._threshold)
        self._bins = [
            ProbabilityBins(known.probability[each], known.true[each])
            for each in (~like_members, like_members)
        ]

    def see(self, block: Sources) -> None:
        likely = probability(self.claim, block)
        selected = pc.is_in(self._file.ids(block), self._ids).to_numpy(zero_copy_only=False)
        passed = all_hold(self.conditions, block) & (likely > self._threshold)
        for side in (0, 1):
            rows = passed == bool(side)
            self._bins[side].see(likely[rows], selected[rows])

    def forecast(self) -> ClassForecast:
        n = int(sum(each.counts[1].sum() for each in self._bins))
        rest, stated = (float(sum(each.stated[side] for each in self._bins)) for side in (0, 1))
        if self._calibrated:
            rng = np.random.default_rng(20200912)  # the same for all classes
            outside, inside = np.sum([each.draw(rng) for each in self._bins], axis=0)
            true = _expected(inside)
            purity = _expected(inside / n) if n else Expectation(np.nan)
            completeness = _expected(inside / np.maximum(inside + outside, 1))
        else:
            everywhere = stated + rest
            true = Expectation(stated)
            purity = Expectation(stated / n if n else np.nan)
            completeness = Expectation(stated / everywhere if everywhere else np.nan)
        return ClassForecast(self.name, n, true, purity, completeness, stated)


def _expected(draws: np.ndarray) -> Expectation:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Expectation(float(draws.mean()), (float(low), float(high)))
