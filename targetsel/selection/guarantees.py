"""Guarantees of a class's purity, from sources with known spectra.

Two promises can be asked for. Both choose the threshold on the probability of what the class
claims, and both hold whether or not the probabilities are any good; bad ones only make the list
shorter, or the request refused. Both take for granted that calibration sources and candidates are
exchangeable: drawn alike, and scored by an ensemble that was trained on neither. Both sides are
sources that obey the class's ``where``: a loose bound there leaves the choice to the guarantee,
which only ever raises it. Write, for instance, ``P(ew_halpha > 20) >= 0.2``. Of several sources
of one group only one counts, and weights are obeyed (see `claims.independent_sources`).

``kind: list``, the default, is about the list that is made. Thresholds t are tested from the most
probable source downwards. Of the n calibration sources more probable than t, the k false ones are
binomial with the share r(t) of false sources in the population beyond t; t passes if the exact
upper bound on r (Clopper & Pearson 1934) at the confidence asked for is at most 1 - purity. The
lowest threshold before the first that fails is taken (fixed-sequence testing: Angelopoulos et al.
2021, arXiv:2110.01052). Equally probable sources are one step. The sequence starts where n is
large enough to pass with one false source (38 at a purity of 0.9): with fewer a single one would
end it.

Proved: with at least the asked confidence over calibration samples, no list is made or r is at
most 1 - purity beyond the threshold taken. To err, the sequence must pass the first threshold t0
below which r is too large, or start below it; n(t0) tells which, and given the number of sources
beyond the tested threshold those are an independent sample of its population, so that the test
errs with a chance of at most 1 - confidence. This supposes that there is one t0: that r is not too
large somewhere above it, too. It is not promised that few of the lists that are made err: where
hardly any request is granted, those may be just the errors; but the worse a list is, the less
probable. A list of m independent targets scatters about r; with the purity just kept it has no more
false ones than the quantile `n_false_at_most` of the binomial law, both chances together at
2 confidence - 1.

``kind: average`` controls the false discovery rate (Jin & Candes 2023, J. Mach. Learn. Res. 24,
244, with the clipped score of their section 2.4): a candidate's conformal p-value is the share of
calibration sources that are *not* true members and yet at least as probable as it,

    p_j = (1 + #{i : not true_i and P_i >= P_j}) / (n + 1),

and the Benjamini-Hochberg procedure at level 1 - purity picks from m candidates. Ties count
against the candidate. The expected share of false members is at most 1 - purity: an expectation
over calibration samples and catalogs in which a refused request counts as a list without false
members. About half of the lists are worse than that, and where the purity is out of reach those
few that come out may be much worse.

Either holds for one request that was made before looking at the truth. Who tries K rules on the
same sources and keeps one has up to K times the risk; so has who asks for K classes and wants all
guarantees to hold together (ask each for a confidence of 1 - (1 - confidence) / K then).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import scipy  # whose `special` is imported when it is first used

from targetsel.errors import CatalogError, RuleError, counted
from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas, Condition
from targetsel.rules.rule_file import Guaranteed
from targetsel.scored.file import ScoredFile
from targetsel.selection.claims import ClaimOutcomes, count_shared
from targetsel.selection.evaluation import passing, probability
from targetsel.selection.scored_sources import ScoredCatalog

LOOKS = (
    "Each guarantee holds by itself, for one request made before looking at the truth; trying K "
    "rules on the same sources multiplies its risk by up to K."
)
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Guarantee:
    """The threshold that guarantees a purity.

    Attributes
    ----------
    kind : str
        "list" or "average".
    purity : float
    confidence : float or None
        Of a list's guarantee.
    threshold : float
        Members are the sources whose probability is larger than this; -1 where all are.
    n_calibration : int
        Independent calibration sources that obey the class's conditions.
    n_beyond, n_false : int
        Those of them beyond the threshold, and the false ones among these.
    bound : float or None
        Upper bound on the share of false sources in the population beyond the threshold, as if
        that had been chosen beforehand; at most 1 - purity, which is what is promised.
    n_candidates, n_selected : int
        Sources that obey the conditions, and those of them beyond the threshold.
    n_false_at_most : int or None
        False sources among those, at 2 confidence - 1 (see the module).
    n_shared : int
        Sources of the catalog that are calibration sources, too.
    """

    kind: str
    purity: float
    confidence: float | None
    threshold: float
    n_calibration: int
    n_beyond: int
    n_false: int
    bound: float | None
    n_candidates: int
    n_selected: int
    n_false_at_most: int | None
    n_shared: int = 0

    @property
    def text(self) -> str:
        """The promise and the counts behind it, in one line."""
        share, beyond = f"{1 - self.purity:.3g}", f"P > {self.threshold:.4g}"
        seen = f"{self.n_false:,} of {counted(self.n_beyond, 'calibration source')} there"
        if self.confidence is None:
            return (
                f"on average over calibration samples, with refusals as lists without false "
                f"sources, at most {share} of those with {beyond} are false ({seen} are); this "
                "list may have more"
            )
        return (
            f"at confidence {self.confidence:.3g}, at most {share} of sources like those with "
            f"{beyond} are false ({seen} are, bound {self.bound:.3g}); of this list's "
            f"{self.n_selected:,}, at most {self.n_false_at_most:,} at {self.in_all:.3g}"
        )

    @property
    def in_all(self) -> float:
        """The confidence of `n_false_at_most`."""
        assert self.confidence is not None
        return 2 * self.confidence - 1


def upper_bound(n_false: np.ndarray, n: np.ndarray, confidence: float) -> np.ndarray:
    """Upper bound on a share of which `n_false` of `n` were seen (Clopper & Pearson 1934)."""
    inside = n_false < n
    bound = scipy.special.betaincinv(n_false + 1.0, np.where(inside, n - n_false, 1), confidence)
    return np.where(inside, bound, 1.0)


@cache
def least_sources(purity: float, confidence: float) -> int:
    """The least number of sources that pass with one false one among them; purity below 1."""

    def passes(n: int) -> bool:
        return bool(upper_bound(np.array(1), np.array(n), confidence) <= 1 - purity)

    return bisect_left(range(10**12), True, lo=2, key=passes)


def binomial_quantile(n: int, share: float, confidence: float) -> int:
    """The least number that a binomial number exceeds with a chance of 1 - confidence or less."""
    return bisect_left(
        range(n + 1), True, key=lambda k: bool(scipy.special.bdtr(k, n, share) >= confidence)
    )


class ListSelection:
    """The lowest threshold that passes in a fixed sequence of tests.

    Parameters
    ----------
    purity, confidence : float
    probability : ndarray, shape (n,)
        Probabilities of the independent calibration sources that obey the class's conditions.
    true : ndarray of bool, shape (n,)
    """

    def __init__(
        self, purity: float, confidence: float, probability: np.ndarray, true: np.ndarray
    ) -> None:
        self.purity, self.confidence = purity, confidence
        self.n = len(true)
        order = np.argsort(-probability, kind="stable")
        steps = np.flatnonzero(np.diff(probability[order], append=-np.inf))  # ends of ties
        self._beyond, self._false = steps + 1, (~true[order]).cumsum()[steps]
        self._thresholds = np.append(probability[order][steps[1:]], -1.0)
        self._least = least_sources(purity, confidence) if purity < 1 else 0
        self._first = int(np.searchsorted(self._beyond, self._least))
        self._taken = self._walk()
        self._counts = np.zeros(2, dtype=np.int64)

    def _walk(self) -> int | None:
        """The last step that passes, counted from the start of the sequence; None if none does."""
        false, beyond = self._false[self._first :], self._beyond[self._first :]
        passes = upper_bound(false, beyond, self.confidence) <= 1 - self.purity + _ROUNDING
        failed = np.append(~passes, True).argmax()
        return self._first + int(failed) - 1 if failed else None

    def see(self, probability: np.ndarray) -> None:
        """Count these candidates; those without a probability are left out."""
        if self._taken is not None:
            known = probability[np.isfinite(probability)]
            beyond = known > self._thresholds[self._taken]
            self._counts += (len(known), beyond.sum())

    def result(self, name: str) -> Guarantee:
        """The lowest threshold that the purity allows class `name`.

        Raises
        ------
        RuleError
            If the first test fails: because there are too few calibration sources, or too many
            false ones among the most probable.
        """
        if self._taken is None:
            raise self._refusal(name)
        beyond, false = int(self._beyond[self._taken]), int(self._false[self._taken])
        candidates, selected = self._counts.tolist()
        return Guarantee(
            "list",
            self.purity,
            self.confidence,
            float(self._thresholds[self._taken]),
            self.n,
            beyond,
            false,
            float(upper_bound(np.array(false), np.array(beyond), self.confidence)),
            candidates,
            selected,
            binomial_quantile(selected, 1 - self.purity, self.confidence),
        )

    def _refusal(self, name: str) -> RuleError:
        start = f"class {name}: purity {self.purity:g} cannot be guaranteed"
        if self.purity >= 1:
            return RuleError(f"{start} by any number of spectra; ask for less than 1")
        start += f" at confidence {self.confidence:g}"
        if self._first == len(self._beyond):
            return RuleError(
                f"{start} by {self.n} calibration sources that obey its conditions (one of each "
                f"group); at least {self._least} are needed. Add spectra, loosen the conditions, "
                "or ask for less."
            )
        beyond, false = int(self._beyond[self._first]), int(self._false[self._first])
        bounds = upper_bound(np.arange(beyond), np.array(beyond), self.confidence)
        allowed = int((bounds <= 1 - self.purity).sum()) - 1
        return RuleError(
            f"{start}: of the {beyond} most probable of {self.n} calibration sources {false} are "
            f"false, where {allowed} may be. Ask for less, or train better networks; every new "
            "request on the same sources adds to the risk."
        )


class ConformalSelection:
    """Conformal selection from candidates that come piece by piece, in bounded memory.

    Only the ranks of the candidates among the false calibration sources matter, so a count per
    rank is kept.

    Parameters
    ----------
    purity : float
        0 to 1.
    probability : ndarray, shape (n,)
        Probabilities of the independent calibration sources that obey the class's conditions.
    true : ndarray of bool, shape (n,)
    """

    def __init__(self, purity: float, probability: np.ndarray, true: np.ndarray) -> None:
        self.purity = purity
        self.n = len(true)
        self._probability = probability
        self._false = np.sort(probability[~true])
        self._counts = np.zeros(len(self._false) + 1, dtype=np.int64)

    def see(self, probability: np.ndarray) -> None:
        """Count these candidates; those without a probability are left out."""
        known = probability[np.isfinite(probability)]
        at_least_as_likely = len(self._false) - np.searchsorted(self._false, known)
        self._counts += np.bincount(at_least_as_likely, minlength=len(self._counts))

    def result(self, name: str) -> Guarantee:
        """The lowest threshold that the purity allows class `name`.

        Raises
        ------
        RuleError
            If no threshold does: because there are too few calibration sources, or because the
            probabilities are not good enough for that purity.
        """
        falsehood = 1 - self.purity
        n_selected = self._counts.cumsum()
        m = int(n_selected[-1])
        estimate = np.full(len(n_selected), np.inf)  # of the false discovery rate
        found = n_selected > 0
        n_false = np.arange(len(n_selected))
        estimate[found] = (1 + n_false[found]) / (self.n + 1) * m / n_selected[found]
        allowed = np.flatnonzero(estimate <= falsehood * (1 + 1e-12))
        if m and not len(allowed):
            raise self._refusal(name, n_selected / m)
        last = int(allowed[-1]) if m else 0
        # Beyond this threshold are `last` false calibration sources, or fewer where some tie.
        below = len(self._false) - 1 - last
        threshold = float(self._false[below]) if below >= 0 else -1.0
        false = int((self._false > threshold).sum())
        return Guarantee(
            "average",
            self.purity,
            None,
            threshold,
            self.n,
            int((self._probability > threshold).sum()),
            false,
            None,
            m,
            int(n_selected[last]),
            None,
        )

    def _refusal(self, name: str, share: np.ndarray) -> RuleError:
        """The error where no threshold will do, given the share of candidates beyond each."""
        falsehood = 1 - self.purity
        rate = np.arange(len(share)) / max(self.n, 1)
        spare = falsehood * share - rate
        start = f"class {name}: purity {self.purity:g} cannot be guaranteed"
        if falsehood <= 0:
            return RuleError(f"{start} by any number of spectra; ask for less than 1")
        if not (spare > 0).any():
            with np.errstate(divide="ignore", invalid="ignore"):
                best = 1 - np.nanmin(np.where(share > 0, rate / share, np.nan))
            return RuleError(
                f"{start} on average at any threshold: the most that these probabilities reach "
                f"on the {self.n} calibration sources is about {best:.2f}. Ask for less, or train "
                "better networks."
            )
        with np.errstate(divide="ignore"):
            needed = np.where(spare > 0, (1 - falsehood * share) / spare, np.inf)
        number = math.ceil(needed.min() - 1e-9)
        return RuleError(
            f"{start} on average by {self.n} calibration sources that obey its conditions (one of "
            f"each group); about {number} are needed. Add spectra, loosen the conditions, or ask "
            "for less."
        )


def guarantee(
    catalog: ScoredCatalog, name: str, asked: Guaranteed, labelled: tuple[Path, Path]
) -> Guarantee:
    """The threshold on the probability of class `name` for a scored catalog.

    Parameters
    ----------
    catalog : ScoredCatalog
        The catalog that targets are chosen from.
    name : str
    asked : Guaranteed
        What the rules ask for.
    labelled : pair of Path
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`).

    Raises
    ------
    RuleError
        If the class claims nothing, or see `ListSelection.result` and `ConformalSelection.result`.
    """
    target_class = catalog[name]
    claim = target_class.claim
    outcomes = ClaimOutcomes.read(catalog.rules, name, *labelled, catalog.quantiles)
    passed = outcomes.passed & outcomes.independent
    likely, true = outcomes.probability[passed], outcomes.true[passed]
    chosen: ListSelection | ConformalSelection
    if asked.kind == "average":
        chosen = ConformalSelection(asked.purity, likely, true)
    else:
        chosen = ListSelection(asked.purity, asked.confidence, likely, true)
    conditions = [each.formula for each in target_class.conditions if each.step != "sample"]
    for block in catalog.file.sources((*conditions, f.Probability(claim))):
        chosen.see(probability(claim, block.take(passing(conditions, block))))
    return chosen.result(name)


def guarantees(
    catalog: ScoredCatalog, labelled: tuple[Path, Path] | None = None
) -> dict[str, Guarantee]:
    """The guarantees of all classes that ask for a purity, by class name.

    Parameters
    ----------
    catalog : ScoredCatalog
        The catalog that targets are chosen from.
    labelled : pair of Path, optional
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`).

    Raises
    ------
    RuleError
        If a class asks for a purity and `labelled` is not given, or if it cannot be guaranteed.
    CatalogError
        If all sources of the catalog are calibration sources.
    EnsembleError
        If the two catalogs were not scored by one ensemble and calibration.
    """
    promises: dict[str, Guarantee] = {}
    if labelled is not None:
        with ScoredFile(labelled[0]) as file:
            file.check_scored_like(catalog.file)
    for each in catalog.rules.classes:
        if each.guarantee is not None:
            if labelled is None:
                raise each.place_of("guarantee").error(
                    f"the purity of {each.name} can only be guaranteed with sources of known "
                    "spectra; name them with --labelled and --truth"
                )
            promises[each.name] = guarantee(catalog, each.name, each.guarantee, labelled)
    if not promises or labelled is None:
        return promises
    n_shared = _count_shared(catalog, labelled)
    return {name: replace(promise, n_shared=n_shared) for name, promise in promises.items()}


def _count_shared(catalog: ScoredCatalog, labelled: tuple[Path, Path]) -> int:
    """The sources of the catalog that are calibration sources; refuses if all are."""
    n_shared, n = count_shared(catalog.file.opened_from, labelled)
    if n_shared == n > 0:
        raise CatalogError(
            f"{labelled[0]}: all {n:,} sources of {catalog.file.path} are among its sources of "
            "known spectra, so that a purity guaranteed with them says nothing that is not known. "
            "Guarantee it with other sources, or choose from others."
        )
    return n_shared


def guaranteed(
    catalog: ScoredCatalog, promises: Mapping[str, Guarantee]
) -> tuple[ClassFormulas, ...]:
    """The catalog's classes, with the thresholds of guarantees among their conditions."""
    return tuple(
        _guaranteed(each, promises[each.name]) if each.name in promises else each
        for each in catalog.classes.values()
    )


def _guaranteed(target_class: ClassFormulas, promise: Guarantee) -> ClassFormulas:
    """The class with one more condition, before its sample is drawn."""
    likely = f.Probability(target_class.claim)
    beyond = f.Compare(">", likely, f.Constant(promise.threshold))
    text = f"more probable than {promise.threshold:.6g}, for a purity of {promise.purity:g}"
    conditions = list(target_class.conditions)
    place = sum(each.step != "sample" for each in conditions)
    conditions.insert(place, Condition("guarantee", text, beyond))
    return replace(target_class, conditions=tuple(conditions))
