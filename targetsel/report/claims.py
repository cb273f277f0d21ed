"""Claims about spectra: their stated probabilities, whether they came true, and lists by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import CatalogError, RuleError
from targetsel.expressions.grammar import Branch
from targetsel.report.figures import ALL, Figure, Subset
from targetsel.report.photometry import photometry_probability
from targetsel.rules import formula as f
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.scored.known_match import add_nothing_known
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.selection.claims import comes_true
from targetsel.selection.evaluation import all_hold, probability
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.scored_sources import ScoredCatalog, ScoredSources
from targetsel.selection.sources import Sources, blocks_of
from targetsel.statistics.resampling import Resampling

CLAIMS = (
    "ew_halpha > 30 Angstrom",
    "ew_oiii > 10 Angstrom and ew_halpha > 30 Angstrom",
    "d4000 > 1.6",
)
COMPLETENESS = np.arange(0.05, 1.0, 0.05)
N_BINS = 10
FEWEST = 20  # sources of which a claim is true, and of which it is false, for lists ranked by it
ENSEMBLE, PHOTOMETRY = "ensemble", "photometry alone"


@dataclass(frozen=True)
class Claim:
    """A claim about the spectra of N sources.

    Attributes
    ----------
    name : str
        ``P(...)`` of a condition, or a rule file's name and that of the target class.
    probability : ndarray, shape (N,)
    true : ndarray of bool, shape (N,)
    known : ndarray of bool, shape (N,)
        Sources with a posterior for which all proxies that matter were measured.
    members : ndarray of bool, shape (N,), or None
        Members of the target class; None for a mere condition.
    """

    name: str
    probability: np.ndarray
    true: np.ndarray
    known: np.ndarray
    members: np.ndarray | None = None


def claims(
    scored: Path, known: LabelledSources, conditions: Sequence[str] | None, files: Sequence[str]
) -> tuple[list[Claim], list[str]]:
    """Claims of conditions on proxies and of rule files' classes, and messages of those left out.

    Quantiles of the catalog that they name are those of the whole scored file.

    Parameters
    ----------
    scored : Path
        The scored file that `known` was read from.
    conditions : sequence of str, optional
        Default: those of `CLAIMS` that suit the files.
    files : sequence of str
        Rule files. Default: the shipped ones, as far as they suit the files.

    Raises
    ------
    RuleError, CatalogError
        If one that was asked for means nothing for the scored file, or a proxy of it was not
        measured.
    """
    found: list[Claim] = []
    left_out = []
    chosen = CLAIMS if conditions is None else conditions
    rule_files = [Rules.read(path) for path in files or shipped_rules()]
    with ScoredSources(scored) as file:
        about = Outcomes(file, known)
        wanted = [
            *((partial(about.of_condition, each), conditions is None) for each in chosen),
            *((partial(about.of_classes, rules), not files) for rules in rule_files),
        ]
        for claims_of, may_be_left_out in wanted:
            try:
                found += claims_of()
            except (RuleError, CatalogError) as error:
                if not may_be_left_out:
                    raise
                left_out.append(str(error))
    return found, left_out


class Outcomes:
    """Stated probabilities of claims about labelled sources, and which came true.

    Parameters
    ----------
    file : ScoredSources
        The scored file that `known` was read from; quantiles of the catalog are those of it.
    """

    def __init__(self, file: ScoredSources, known: LabelledSources) -> None:
        self._file, self._known = file, known
        self._blocks = [*blocks_of(known.scored)]  # which keep the columns that they have read

    def of_condition(self, condition: str, name: str = "", place: str = "--claim") -> list[Claim]:
        """The claim that a condition holds, by default under the name ``P(condition)``.

        `place` is where errors say that the condition stands.
        """
        written = SourceLocation(place, source=condition)
        binder = Binder(CatalogColumns(self._file.schema))
        formula = binder.number(Branch(written, "P", (parse(condition, written),)))
        assert isinstance(formula, f.Probability)
        quantiles = [each.value for each in binder.quantiles]
        values = catalog_quantiles(binder.quantiles, lambda: self._file.sources(quantiles))
        return [self._claim(name or f"P({condition})", f.with_values(formula.condition, values))]

    def of_classes(self, rules: Rules) -> list[Claim]:
        """The claims of those classes that claim anything; limits on targets are not applied."""
        found = []
        add_nothing_known(self._file)
        for each in ScoredCatalog(self._file, rules).classes.values():
            if each.truth is not None:
                claim = self._claim(f"{rules.name}: {each.name}", each.truth)
                members = [all_hold(each.where, block) for block in self._blocks]
                found.append(replace(claim, members=np.concatenate(members)))
        return found

    def _claim(self, name: str, claim: f.Formula) -> Claim:
        known = self._known
        missing = sorted(f.proxies(claim) - known.proxies.keys())
        if missing:
            raise CatalogError(
                f"{name}: needs the true '{missing[0]}', which {known.truth.path} does not have. "
                "Measure it with 'targetsel spectra measure'."
            )
        likely = np.concatenate([probability(claim, block) for block in self._blocks])
        true = comes_true(claim, Sources(known.scored), known.proxies)
        measured = [np.isfinite(known.proxies[proxy]) for proxy in f.proxies(claim)]
        there = np.isfinite(likely) & np.all(measured, axis=0)
        return Claim(name, likely, true, there)


# ---------------------------------------------------------------------- reliability


def in_bins(probability: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Columns whose means make a reliability diagram, shape (n, 3 `N_BINS`).

    For each of `N_BINS` equal bins of probability: whether a source is in it, its probability
    there, and whether it is also true; 0 elsewhere.
    """
    place = np.minimum((probability * N_BINS).astype(int), N_BINS - 1)
    here = place[:, None] == np.arange(N_BINS)
    return np.hstack([here, here * probability[:, None], here * true[:, None]]).astype(float)


def calibration_error(means: np.ndarray) -> np.ndarray:
    """Expected calibration error, from means of `in_bins`, (..., 3 `N_BINS`) to (...).

    Mean over sources of |mean probability - share of true ones| of their bin (Naeini et al. 2015,
    AAAI 29, 2901). Chance alone makes it larger than zero.
    """
    _, probability, true = np.split(means, 3, axis=-1)
    return np.abs(probability - true).sum(axis=-1)


def bin_name(k: int) -> str:
    """Subset of the sources in the k-th bin of probability."""
    return f"P {k / N_BINS:.1f} to {(k + 1) / N_BINS:.1f}"


def reliability_figures(
    claim: Claim, parts: Sequence[Subset], resampling: Resampling
) -> Iterator[Figure]:
    """Calibration error of a probability, and for `ALL` the reliability diagram."""
    columns = in_bins(np.where(claim.known, claim.probability, 0.0), claim.true)
    for part in parts:
        rows = part.rows & claim.known
        if not rows.any():
            continue
        means, n = resampling.means(columns, rows), int(rows.sum())
        error = calibration_error(means)
        yield Figure.of_values("calibration error", claim.name, part.name, error, n)
        chance = calibration_error(means[1:] - means[0])  # Hall (1992), section 1.3
        yield Figure.by_chance("calibration error", claim.name, part.name, chance, n)
        if part.name != ALL:
            continue
        here, probability, true = np.split(means, 3, axis=1)
        counts = columns[rows][:, :N_BINS].sum(axis=0).astype(int)
        for k in np.flatnonzero(counts):
            with np.errstate(divide="ignore", invalid="ignore"):
                stated, share = probability[:, k] / here[:, k], true[:, k] / here[:, k]
            of, counted = (claim.name, bin_name(int(k))), int(counts[k])
            weight = resampling.weight[rows & (columns[:, k] > 0)]
            yield Figure.of_values("mean P", *of, stated, counted)
            yield Figure.of_share("share true", *of, share, counted, weight)


# ---------------------------------------------------------------------- members and lists


def member_figures(claim: Claim, resampling: Resampling) -> Iterator[Figure]:
    """Purity and completeness of a class's members, and those promised by the probabilities."""
    if claim.members is None:
        return
    rows = claim.known
    listed = claim.members & rows
    n = int(listed.sum())
    promise = np.where(listed, claim.probability, 0.0)
    columns = np.column_stack([listed, listed & claim.true, claim.true, promise])
    share, found, true, promised = resampling.means(columns.astype(float), rows).T
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "purity of members": found / share,
            "completeness of members": found / true,
            "purity promised by P": promised / share,
            "true members over promised": found / promised,
        }
    shares = {"purity of members": listed, "completeness of members": rows & claim.true}
    for name, column in values.items():
        if not np.isfinite(column[0]):
            continue
        if name in shares:
            weight = resampling.weight[shares[name]]
            yield Figure.of_share(name, claim.name, ALL, column, n, weight)
        else:
            yield Figure.of_values(name, claim.name, ALL, column, n)


class RankedList:
    """n sources in the order in which a list takes them, the most probable first.

    Parameters
    ----------
    probability : ndarray, shape (n,)
    true : ndarray of bool, shape (n,)
    """

    def __init__(self, probability: np.ndarray, true: np.ndarray) -> None:
        self._order = np.argsort(-probability, kind="stable")
        self._true = true[self._order]
        in_order = probability[self._order]
        self._ends = np.append(np.flatnonzero(np.diff(in_order)), len(in_order) - 1)

    def figures(self, weight: np.ndarray) -> np.ndarray:
        """Average precision, then the purity at each of `COMPLETENESS`; 1 + C numbers.

        Sources of equal probability are taken together. Average precision is the mean purity of
        the lists that end at each true source; the purity at a completeness is that of the
        shortest list so complete. NaN where nothing is true.
        """
        weight = weight[self._order]
        listed = np.cumsum(weight)[self._ends]
        found = np.cumsum(weight * self._true)[self._ends]
        if not found[-1] > 0:
            return np.full(1 + len(COMPLETENESS), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            purity = np.nan_to_num(found / listed)
        complete = found / found[-1]
        average = np.diff(complete, prepend=0.0) @ purity
        place = np.searchsorted(complete, COMPLETENESS * (1 - 1e-12))
        return np.append(average, purity[np.minimum(place, len(purity) - 1)])


def list_figures(
    claim: Claim, photometry: np.ndarray | None, known: LabelledSources, resampling: Resampling
) -> Iterator[Figure]:
    """Purity at each completeness of lists ranked by the ensemble, and by photometry alone.

    Parameters
    ----------
    photometry : ndarray, shape (N, F), or None
        Features of `photometry.features`.
    """
    rows = claim.known
    true = claim.true[rows]
    if min(true.sum(), (~true).sum()) < FEWEST:
        return
    rankings = {ENSEMBLE: claim.probability[rows]}
    if photometry is not None:
        rankings[PHOTOMETRY] = photometry_probability(
            photometry[rows], true, known.group_number[rows], known.weight[rows]
        )
    found = {
        ranked_by: resampling.estimate(RankedList(ranking, true).figures, rows)
        for ranked_by, ranking in rankings.items()
    }
    if len(found) == 2:
        found[f"{ENSEMBLE} less {PHOTOMETRY}"] = found[ENSEMBLE] - found[PHOTOMETRY]
    names = ["average precision", *(f"purity at completeness {c:.2f}" for c in COMPLETENESS)]
    for ranked_by, estimate in found.items():
        for name, column in zip(names, estimate.values.T, strict=True):
            yield Figure.of_values(name, f"{claim.name}, {ranked_by}", ALL, column, len(true))
