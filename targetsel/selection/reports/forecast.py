"""Forecast of the true members, purity and completeness of a class of targets.

The posterior gives the expected number of true members: the sum of the probabilities. Only sources
of known spectra show how accurate that is. They are sorted into bins of probability; in
a bin where k of n are true, the share of true sources is Beta(k + 1/2, n - k + 1/2) (Jeffreys'
prior), and of the m sources of the catalog in that bin a binomial number is true. Sources of one
group (images of one galaxy) are taken to be true or false together: groups of calibration sources
are drawn as a whole (see `drawn_shares`), and of the catalog's sources the groups are counted. The
first is the error of the calibration, common to all sources of the bin and usually the larger; the
second is the chance in the sources themselves, which for sources of different probability would
follow a Poisson-binomial law: within a bin they are taken as equal, which is a little wider. Draws
from both give the intervals. Sources like the members, which obey ``where``, and the others are
calibrated apart. It is assumed that the calibration sources are a random part of such a catalog,
bin by bin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.text_table import number, text_table
from targetsel.rules import formula as f
from targetsel.rules.rules import Rules
from targetsel.scored.known_match import KnownSpectra
from targetsel.scored.truth import GROUP
from targetsel.selection.claims import ClaimOutcomes
from targetsel.selection.class_reports import ClassReports
from targetsel.selection.evaluation import all_hold, probability
from targetsel.selection.needed import n_not_needed
from targetsel.selection.scored_sources import ScoredCatalog, scored_catalog
from targetsel.selection.select import preview
from targetsel.selection.sources import Sources
from targetsel.selection.target_list import TargetList
from targetsel.tables.columns import in_one_piece
from targetsel.tables.types import is_text

LEVEL = 0.9  # of the intervals
N_DRAWS = 4000
N_BINS = 10
GROUPS_AT_ONCE = 1024  # 32 MiB of draws
SMALLEST = 1e-6  # instead of 0, where a law is not defined
ENOUGH = (
    50.0  # the least that the sum of p (1 - p) may be in a bin: Jeffreys' prior adds one source
)


@dataclass(frozen=True)
class Expectation:
    """A number with its interval.

    Attributes
    ----------
    value : float
    interval : tuple of two floats, or None
        None without labelled sources.
    """

    value: float
    interval: tuple[float, float] | None = None

    def written(self, form: str) -> str:
        """The number and its interval, each in this format."""
        if self.interval is None:
            return number(self.value, form)
        low, high = (number(each, form) for each in self.interval)
        return f"{number(self.value, form)} ({low} to {high})"


@dataclass(frozen=True)
class ClassForecast:
    """The forecast of one class.

    Attributes
    ----------
    name : str
    n_selected : int
        Members of the class in the target list that have a posterior.
    true, purity, completeness : Expectation
        Members for which the class's claim is true; their share; and the share that is selected of
        all such sources of the catalog with a posterior, which is not known where sources were
        not needed when the catalog was scored. The value is calibrated where there is a
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

    headings = ("class", "members", "sum of P", "expected true", "purity", "completeness")

    @property
    def cells(self) -> tuple[str, ...]:
        """The forecast as a line of a table, under `headings`."""
        return (
            self.name,
            f"{self.n_selected:,}",
            f"{self.stated:,.1f}",
            self.true.written(",.1f"),
            self.purity.written(".1%"),
            self.completeness.written(".1%"),
        )

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row; the ends of an interval are None without a calibration."""
        row: dict[str, Any] = {"class": self.name, "members": self.n_selected}
        row["sum_of_p"] = self.stated
        for name in ("true", "purity", "completeness"):
            expected: Expectation = getattr(self, name)
            row[name] = expected.value
            row[f"{name}_low"], row[f"{name}_high"] = expected.interval or (None, None)
        return [row]

    def __repr__(self) -> str:
        return "\n".join(text_table(self.headings, [self.cells]))


class ProbabilityBins:
    """Bins of probability that hold enough calibration sources to be calibrated each.

    Sources like the members of a class, and the others, have bins of their own.

    Parameters
    ----------
    known : ClaimOutcomes
        n calibration sources.
    like_members : ndarray of bool, shape (n,)

    Attributes
    ----------
    place : ndarray, shape (n,)
        The bin of each calibration source.
    counts : ndarray, shape (2, B)
        Sources of the catalog: those that are not selected, and those that are.
    stated : ndarray, shape (2,)
        The sums of their probabilities.
    """

    def __init__(self, known: ClaimOutcomes, like_members: np.ndarray) -> None:
        sizes = np.bincount(known.group)[known.group]
        likely = known.probability
        self._edges = [_edges(likely[each], sizes[each]) for each in (~like_members, like_members)]
        self._known = known
        self.place = self._places(likely, like_members)
        n_bins = sum(len(each) + 1 for each in self._edges)
        self.counts = np.zeros((2, n_bins), dtype=np.int64)
        self.stated = np.zeros(2)
        self._groups: tuple[list[pa.Array], list[pa.Array]] = ([], [])  # of the catalog's sources

    def _places(self, probability: np.ndarray, like_members: np.ndarray) -> np.ndarray:
        others, members = (np.searchsorted(each, probability) for each in self._edges)
        return np.where(like_members, len(self._edges[0]) + 1 + members, others)

    def see(
        self,
        probability: np.ndarray,
        like_members: np.ndarray,
        selected: np.ndarray,
        group: pa.Array | None = None,
    ) -> None:
        """Count these sources of the catalog; those without a probability are left out."""
        known = np.isfinite(probability)
        place = self._places(probability, like_members)
        for side in (0, 1):
            here = known & (selected == bool(side))
            self.counts[side] += np.bincount(place[here], minlength=self.counts.shape[1])
            self.stated[side] += probability[here].sum()
            if group is not None:
                self._groups[side].append(group.filter(pa.array(here)))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """True sources among those not selected and those selected, shape (2, N_DRAWS)."""
        share = drawn_shares(self._known, self.place, self.counts.shape[1], rng)
        return np.stack([self._draw_side(side, share, rng) for side in (0, 1)])

    def _draw_side(self, side: int, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """True sources of one side, shape (N_DRAWS,).

        Those of a group are true together: with groups of size m, the variance is m times that of
        a binomial number. A beta-binomial one has this if its parameters add to 1 / c - 1, where
        c = (m - 1) / (n - 1) is the correlation of two of the n sources on average.
        """
        counts = self.counts[side]
        size = np.minimum(self._size_of_groups(side), counts)
        together = size > 1
        if together.any():
            n, share = counts[together], share.copy()
            total = np.maximum((n - 1) / (size[together] - 1) - 1, SMALLEST)
            near = np.clip(share[:, together], SMALLEST, 1 - SMALLEST)
            share[:, together] = rng.beta(near * total, (1 - near) * total)
        return rng.binomial(counts, share).sum(axis=1)

    def _size_of_groups(self, side: int) -> float:
        """Sources of the catalog in the group of one of them, on average."""
        if not self._groups[side]:
            return 1.0
        groups = pa.chunked_array(self._groups[side])
        counted = pc.value_counts(groups.drop_null()).field("counts").to_numpy()
        alone = groups.null_count
        total = counted.sum() + alone
        return float(((counted.astype(float) ** 2).sum() + alone) / total) if total else 1.0


def is_group(schema: pa.Schema) -> bool:
    """Whether a scored catalog says which of its sources belong together."""
    kind = schema.field(GROUP).type if GROUP in schema.names else pa.null()
    return pa.types.is_integer(kind) or is_text(kind)


def _edges(probability: np.ndarray, group_size: np.ndarray) -> np.ndarray:
    """Ends of bins that each hold enough groups of calibration sources."""
    order = np.argsort(probability, kind="stable")
    ordered = probability[order]
    weight = (ordered * (1 - ordered) / group_size[order]).cumsum()
    whole = weight[-1] if len(weight) else 0.0
    n_bins = int(np.clip(whole // ENOUGH, 1, N_BINS))
    edges = ordered[np.searchsorted(weight, np.arange(1, n_bins) / n_bins * whole)]
    return np.unique(edges[edges < ordered[-1:]])  # a bin ends with its edge


def drawn_shares(
    known: ClaimOutcomes, place: np.ndarray, n_bins: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws of the share of true sources in each bin, shape (N_DRAWS, n_bins).

    Each group counts as often as an exponential number says, the same in all bins (the Bayesian
    bootstrap: Rubin 1981, Ann. Stat. 9, 130); and so do half a true and half a false group, of the
    size that a source's group has there on average. Where each source is a group of its own, the
    shares follow Beta(k + 1/2, n - k + 1/2).

    Parameters
    ----------
    known : ClaimOutcomes
        n calibration sources.
    place : ndarray, shape (n,)
        Bin of each.
    """
    column = 2 * place + known.true  # of false, then true sources of each bin
    alone = (np.bincount(known.group)[known.group] == 1) & (known.weight == 1)
    # A sum of k exponential numbers follows the gamma distribution.
    singles = np.bincount(column[alone], minlength=2 * n_bins)
    sums = rng.standard_gamma(singles, (N_DRAWS, 2 * n_bins))
    others, number = np.unique(known.group[~alone], return_inverse=True)
    weights = np.zeros((len(others), 2 * n_bins))
    np.add.at(weights, (number, column[~alone]), known.weight[~alone])
    for start in range(0, len(others), GROUPS_AT_ONCE):
        part = weights[start : start + GROUPS_AT_ONCE]
        sums += rng.standard_exponential((N_DRAWS, len(part))) @ part
    of_group = weights.reshape(-1, n_bins, 2).sum(axis=2)
    plain = singles.reshape(n_bins, 2).sum(axis=1)
    total = plain + of_group.sum(axis=0)
    size = np.where(total > 0, plain + (of_group**2).sum(axis=0), 1) / np.where(total > 0, total, 1)
    sums += np.repeat(size, 2) * rng.standard_gamma(0.5, sums.shape)
    return sums[:, 1::2] / (sums[:, ::2] + sums[:, 1::2])


def forecasts(
    rules: Rules,
    scored: Path,
    labelled: tuple[Path, Path] | None = None,
    name: str | None = None,
    known: KnownSpectra | None = None,
) -> ClassReports[ClassForecast]:
    """The forecasts of the target list of a scored catalog, class by class.

    Parameters
    ----------
    rules : Rules
    scored : Path
    labelled : tuple of Path, optional
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`). Without it
        there are no intervals.
    name : str, optional
        Only this class, which must claim something about its members' proxies. By default all
        classes that do.
    known : KnownSpectra, optional
        Files of spectra that sources may have already, as for `select`.
    """
    with scored_catalog(scored, rules, known=known) as catalog:
        names = [each.name for each in catalog.classes.values() if each.truth is not None]
        if name is not None:
            names = [catalog[name].name]
            catalog[name].claim  # noqa: B018
        targets = preview(catalog, labelled)
        outcomes = {}
        if labelled is not None:
            for each in names:
                outcomes[each] = ClaimOutcomes.read(rules, each, *labelled, catalog.quantiles)
        return forecasts_of(catalog, targets, names, outcomes)


def forecasts_of(
    catalog: ScoredCatalog,
    targets: TargetList,
    names: Iterable[str],
    outcomes: Mapping[str, ClaimOutcomes],
) -> ClassReports[ClassForecast]:
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
    for block in catalog.file.sources(formulas, ["source_id", GROUP]):
        for each in classes:
            each.see(block)
    found = (each.forecast() for each in classes)
    if n_not_needed(catalog.file):
        found = (replace(each, completeness=Expectation(np.nan)) for each in found)
    return ClassReports(found)


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
        self._with_groups = is_group(catalog.file.schema)
        # With a guarantee, members are besides more probable than its threshold.
        self._threshold = targets.footer["guarantees"].get(name, {}).get("threshold", -np.inf)
        self._calibrated = outcomes is not None
        known = outcomes or ClaimOutcomes.none()
        like_members = known.passed & (known.probability > self._threshold)
        self._bins = ProbabilityBins(known, like_members)

    def see(self, block: Sources) -> None:
        likely = probability(self.claim, block)
        selected = pc.is_in(self._file.ids(block), self._ids).to_numpy(zero_copy_only=False)
        passed = all_hold(self.conditions, block) & (likely > self._threshold)
        group = in_one_piece(block.table[GROUP]) if self._with_groups else None
        self._bins.see(likely, passed, selected, group)

    def forecast(self) -> ClassForecast:
        n = int(self._bins.counts[1].sum())
        rest, stated = self._bins.stated.tolist()
        if self._calibrated:
            rng = np.random.default_rng(20200912)  # the same for all classes
            outside, inside = self._bins.draw(rng)
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
