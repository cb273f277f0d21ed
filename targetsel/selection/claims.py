"""Claims of classes about their members' spectra, tested on sources with known spectra.

A class claims what its ``where`` says about true proxies (see `formula.truth`). Sources with known
spectra show whether the claim is true of them, and so how pure a class is. A class may ask for a
purity: conformal selection gives it, with control of the false discovery rate.

Jin & Candes (2023, J. Mach. Learn. Res. 24, 244), with the clipped score of their section 2.4:
a candidate's conformal p-value is the share of calibration sources that are *not* true members
and yet at least as probable as it,

    p_j = (1 + #{i : not true_i and P_i >= P_j}) / (n + 1),

and the Benjamini-Hochberg procedure at level 1 - purity picks from m candidates. Ties count
against the candidate, so that no chance is involved. If calibration sources and candidates are
exchangeable, the expected share of false members among the selected is at most 1 - purity,
whether or not the probabilities are any good; bad ones only make the list shorter. It is an
expectation over calibration sets and catalogs: a single list scatters about it.

Both sides are sources that obey the class's ``where``: a loose bound there leaves the choice to
the guarantee, which only ever raises it. Write, for instance, ``P(ew_halpha > 20) >= 0.2``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, RuleError, did_you_mean
from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas, Condition, plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import STATUS
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_sources import Join, Truth
from targetsel.selection.evaluation import all_hold, holds, passing, probability
from targetsel.selection.scored_sources import ScoredCatalog, scored_catalog
from targetsel.selection.sources import DrawnSources, Sources
from targetsel.tables.columns import floats

# --- claims on known spectra ---------------------------------------------------------------------


def truth(
    rules: Rules, name: str, scored: pa.Table, measured: Mapping[str, np.ndarray] | pa.Table
) -> np.ndarray:
    """Whether what class `name` claims about its members holds for each source, shape (N,).

    `Membership.probability` is the probability of the same claim; here it is evaluated on proxies
    measured on real spectra.

    Parameters
    ----------
    rules : Rules
    name : str
        The target class.
    scored : pa.Table
        N sources in the scored layout; for the meaning of names, and for measured columns.
    measured : mapping of proxy name to ndarray, shape (N,)
        True proxies of the same sources in the same order, in the units of `scored`; NaN where
        one could not be measured. An Arrow table with such columns serves as well.

    Raises
    ------
    CatalogError
        If a proxy that the class names was not measured.
    """
    rules[name]
    (claim,) = (each.truth for each in plan(rules, scored.schema).classes if each.name == name)
    if claim is None:
        return np.ones(scored.num_rows, dtype=bool)
    values = {}
    for proxy in sorted(f.proxies(claim)):
        try:
            column = measured[proxy]
        except KeyError:
            raise CatalogError(
                f"class {name} speaks of '{proxy}', which was not measured"
            ) from None
        is_arrow = isinstance(column, pa.Array | pa.ChunkedArray)
        values[proxy] = floats(column) if is_arrow else np.asarray(column)
    return comes_true(claim, Sources(scored), values)


def comes_true(
    claim: f.Formula, sources: Sources, measured: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Whether a claim holds for proxies measured on real spectra, shape (N,).

    `measured` gives every proxy of the claim, shape (N,), NaN where it could not be measured; the
    sources give everything else.
    """
    values = {proxy: measured[proxy][:, None].astype(np.float64) for proxy in f.proxies(claim)}
    true = holds(claim, DrawnSources(sources, values))
    return np.broadcast_to(true, (len(sources), 1))[:, 0]


@dataclass(frozen=True)
class ClaimOutcomes:
    """n scored sources with spectra, for one target class.

    Attributes
    ----------
    passed : ndarray of bool, shape (n,)
        Whether the class's ``where`` is true and its ``unless`` is not. Footprint, exclusions and
        sampling say nothing about a source's spectrum and are ignored.
    probability : ndarray, shape (n,)
        The probability of what the class claims.
    true : ndarray of bool, shape (n,)
        Whether the claim holds for the proxies measured on the spectrum. A source for which they
        could not be measured does not count as true: it would be no success as a target either.
    """

    passed: np.ndarray
    probability: np.ndarray
    true: np.ndarray

    def __len__(self) -> int:
        return len(self.true)

    @classmethod
    def read(
        cls,
        rules: Rules,
        name: str,
        scored: Path,
        truth: Path,
        quantiles: Mapping[f.Formula, float] | None = None,
    ) -> ClaimOutcomes:
        """The outcomes of class `name` from a scored file and the truth about its sources.

        Parameters
        ----------
        rules : Rules
        name : str
            The target class; it must claim something about its members' proxies.
        scored : Path
            A scored file, of the same kind of sources that targets are chosen from, and scored by
            networks that have not been trained on them.
        truth : Path
            See `Truth.read`; it must have the proxies that the class speaks of. Sources that only
            one of the files has, or without a posterior, are left out.
        quantiles : mapping, optional
            Quantiles of the catalog that targets are chosen from (`ScoredCatalog.quantiles`); by
            default those of the calibration sources themselves.

        Raises
        ------
        RuleError
            If the class claims nothing.
        CatalogError
            If one is not such a file, or they share no source of which something is known.
        """
        with scored_catalog(scored, rules, quantiles) as catalog:
            claim, conditions = catalog[name].claim, catalog.of_spectra(name)
            known = Truth.read(truth, catalog.file.schema)
            for proxy in sorted(f.proxies(claim) - {*known.names}):
                raise CatalogError(
                    f"{truth}: no column '{proxy}', of which class {name} speaks."
                    f"{did_you_mean(proxy, known.columns)}"
                )
            join = Join(known, scored)
            pieces, unmeasured = [], f.proxies(claim)
            formulas = (*conditions, f.Probability(claim))
            for block in catalog.file.sources(formulas, ["source_id", "ra", "dec", STATUS]):
                rows, places = join.rows(block.table)
                sources = block.take(rows)
                likely = probability(claim, sources)
                measured = {each: known.proxies[each][places] for each in f.proxies(claim)}
                unmeasured = {n for n in unmeasured if not np.isfinite(measured[n]).any()}
                true = comes_true(claim, sources, measured)
                piece = (all_hold(conditions, sources), likely, true)
                pieces.append([values[np.isfinite(likely)] for values in piece])
            join.finish()
            if unmeasured:
                raise CatalogError(
                    f"{truth}, column '{min(unmeasured)}': has no finite number for any source of "
                    f"{scored}, and class {name} speaks of it. Measure it on the spectra."
                )
        return cls(*(np.concatenate(part) for part in zip(*pieces, strict=True)))


# --- guarantees ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Guarantee:
    """The threshold that guarantees a purity.

    Attributes
    ----------
    purity : float
        At most 1 - purity of the members are false, in expectation.
    threshold : float
        Members are the sources whose probability is larger than this; -1 where all are.
    n_calibration, n_false : int
        Calibration sources that obey the class's conditions, and those of them beyond the
        threshold that are not true members.
    n_candidates, n_selected : int
        Sources that obey the conditions, and those of them beyond the threshold.
    """

    purity: float
    threshold: float
    n_calibration: int
    n_false: int
    n_candidates: int
    n_selected: int


class ConformalSelection:
    """Conformal selection from candidates that come piece by piece, in bounded memory.

    Only the ranks of the candidates among the false calibration sources matter, so a count per
    rank is kept.

    Parameters
    ----------
    purity : float
        0 to 1.
    probability : ndarray, shape (n,)
        Probabilities of the calibration sources that obey the class's conditions.
    true : ndarray of bool, shape (n,)
    """

    def __init__(self, purity: float, probability: np.ndarray, true: np.ndarray) -> None:
        self.purity = purity
        self.n = len(true)
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
        beyond = int((self._false > threshold).sum())
        return Guarantee(self.purity, threshold, self.n, beyond, m, int(n_selected[last]))

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
                f"{start} at any threshold: the most that these probabilities reach on the "
                f"{self.n} calibration sources is about {best:.2f}. Ask for less, or train better "
                "networks."
            )
        with np.errstate(divide="ignore"):
            needed = np.where(spare > 0, (1 - falsehood * share) / spare, np.inf)
        number = math.ceil(needed.min() - 1e-9)
        return RuleError(
            f"{start} by {self.n} calibration sources that obey its conditions; about {number} "
            "are needed. Add spectra, loosen the conditions, or ask for less."
        )


def guarantee(
    catalog: ScoredCatalog, name: str, purity: float, known: tuple[Path, Path]
) -> Guarantee:
    """The threshold on the probability of class `name` for a scored catalog.

    Parameters
    ----------
    catalog : ScoredCatalog
        The catalog that targets are chosen from.
    name : str
    purity : float
        0 to 1.
    known : pair of Path
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`).

    Raises
    ------
    RuleError
        If the class claims nothing, or see `ConformalSelection.result`.
    """
    target_class = catalog[name]
    claim = target_class.claim
    outcomes = ClaimOutcomes.read(catalog.rules, name, *known, catalog.quantiles)
    passed = outcomes.passed
    chosen = ConformalSelection(purity, outcomes.probability[passed], outcomes.true[passed])
    conditions = [each.formula for each in target_class.conditions if each.step != "sample"]
    for block in catalog.file.sources((*conditions, f.Probability(claim))):
        chosen.see(probability(claim, block.take(passing(conditions, block))))
    return chosen.result(name)


def guarantees(
    catalog: ScoredCatalog, known: tuple[Path, Path] | None = None
) -> dict[str, Guarantee]:
    """The guarantees of all classes that ask for a purity, by class name.

    Parameters
    ----------
    catalog : ScoredCatalog
        The catalog that targets are chosen from.
    known : pair of Path, optional
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`).

    Raises
    ------
    RuleError
        If a class asks for a purity and `known` is not given, or if it cannot be guaranteed.
    EnsembleError
        If the two catalogs were not scored by one ensemble and calibration.
    """
    promises = {}
    if known is not None:
        with ScoredFile(known[0]) as file:
            file.check_scored_like(catalog.file)
    for each in catalog.rules.classes:
        if each.guarantee is not None:
            if known is None:
                raise each.place_of("guarantee").error(
                    f"the purity of {each.name} can only be guaranteed with sources of known "
                    "spectra; name them with --calibration and --truth"
                )
            promises[each.name] = guarantee(catalog, each.name, each.guarantee.purity, known)
    return promises


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
