"""The bound that spends a fiber budget: the threshold of a class that gives N targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from targetsel.documents.text_table import number, text_table
from targetsel.errors import RuleError
from targetsel.expressions.functions import COMPARISONS
from targetsel.expressions.grammar import unwrapped
from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas, Condition
from targetsel.rules.rules import Rules
from targetsel.scored.known_match import KnownSpectra
from targetsel.selection.evaluation import passing, probability, value
from targetsel.selection.quantiles import Search
from targetsel.selection.scored_sources import ScoredCatalog, scored_catalog
from targetsel.selection.sources import Sources

AROUND = (0.5, 0.8, 1.25, 2.0)  # times the number asked for: further bounds to choose from


@dataclass(frozen=True)
class BoundOutcome:
    """The members that a bound gives a class.

    Attributes
    ----------
    operator : str
    threshold : float
    n_members : int
    expected_true : float or None
        Expected number of them for which the class's claim is true, as forecasts count them: the
        sum of the probabilities. None where the class claims nothing about spectra.
    expected_purity : float or None
        The share of these among the members that have a posterior.
    """

    operator: str
    threshold: float
    n_members: int
    expected_true: float | None
    expected_purity: float | None

    @property
    def text(self) -> str:
        """The bound as rules write it behind a number: ">= 0.85"."""
        return _text(self.operator, self.threshold)


@dataclass(frozen=True)
class Tuned:
    """The bound that gives a class no more members than there are fibers.

    Attributes
    ----------
    text : str
        The bounded number, as the rule file writes it.
    operator : str
        ">=" or "<=".
    threshold : float
        The loosest bound that gives no more than the number asked for, with as few digits as
        will do.
    n_members : int
        The members that it gives.
    next_threshold : float
        The next looser value.
    n_tied : int
        The members that it adds at once.
    written : str or None
        The bound as it stands in the rule file, such as "> 0.8"; None where there is none yet.
    n_written : int
        The members that the rules give as they stand.
    bounds : tuple of BoundOutcome
        What this bound gives, the one that is written, and those for about half to twice as many
        members; the strictest first.
    """

    text: str
    operator: str
    threshold: float
    n_members: int
    next_threshold: float
    n_tied: int
    written: str | None
    n_written: int
    bounds: tuple[BoundOutcome, ...] = ()

    def __repr__(self) -> str:
        headings = (f"bound on {self.text}", "", "sources", "expected true", "expected purity")
        claims = any(each.expected_true is not None for each in self.bounds)
        shown = len(headings) if claims else 3
        rows = [self._cells(each)[:shown] for each in self.bounds]
        return "\n".join(text_table(headings[:shown], rows, n_texts=2))

    def _cells(self, bound: BoundOutcome) -> tuple[str, ...]:
        is_tuned = (bound.operator, bound.threshold) == (self.operator, self.threshold)
        is_written = bound.text == self.written
        return (
            bound.text,
            " and ".join(["tuned"] * is_tuned + ["now"] * is_written),
            f"{bound.n_members:,}",
            number(bound.expected_true, ",.1f"),
            number(bound.expected_purity, ".0%"),
        )


def tune(
    rules: Rules, name: str, n_targets: int, scored: Path, known: KnownSpectra | None = None
) -> Tuned:
    """The bound on class `name` for which `n_targets` sources of a catalog obey its conditions.

    The bound that is moved is the one on the number that `rank` names; without such, the only
    bound on a probability; without that, a new one on `rank`. All other conditions stay, and
    ``limit`` is ignored.

    Raises
    ------
    RuleError
        If it is not clear which bound to move, or there is none.
    """
    with scored_catalog(scored, rules, known=known) as catalog:
        rank = rules[name].rank
        knob = _knob(catalog[name], "" if rank is None else unwrapped(rank))
        catalog.check_needed({name: catalog.part.of_class(knob.others)})

        def values() -> Iterator[np.ndarray]:
            """The bounded number of all sources that obey the other conditions, larger better."""
            for _, numbers in _candidates(catalog, knob):
                yield knob.sign * numbers[~np.isnan(numbers)]

        places = [n_targets, *(max(round(n_targets * share), 1) for share in AROUND)]
        (least, n_members, following, n_tied), *around = _largest(values, places)
        threshold = knob.short(least, following)
        wanted = {threshold, *(knob.short(each[0], each[2]) for each in around)}
        bounds = [(knob.inclusive, each) for each in wanted if np.isfinite(each)]
        if knob.written is not None:
            bounds.append((knob.operator, knob.written))
        n_candidates, outcomes = _outcomes(catalog, knob, bounds)
    return Tuned(
        knob.text,
        knob.inclusive,
        threshold,
        n_members,
        knob.sign * following,
        n_tied,
        None if knob.written is None else _text(knob.operator, knob.written),
        n_candidates if knob.written is None else outcomes[-1].n_members,
        tuple(
            sorted(set(outcomes), key=lambda each: (each.n_members, -knob.sign * each.threshold))
        ),
    )


def _text(operator: str, threshold: float) -> str:
    return f"{operator} {repr(float(threshold)).removesuffix('.0')}"


def _candidates(
    catalog: ScoredCatalog, knob: _Knob, formulas: Iterable[f.Formula] = ()
) -> Iterator[tuple[Sources, np.ndarray]]:
    """The sources that obey the other conditions, and the bounded number of each, in pieces.

    `formulas` are to be evaluated on them besides.
    """
    rest = [each.formula for each in knob.others]
    for block in catalog.file.sources((*rest, knob.formula, *formulas)):
        members = block.take(passing(rest, block))
        yield members, np.broadcast_to(value(knob.formula, members), len(members))


def _outcomes(
    catalog: ScoredCatalog, knob: _Knob, bounds: Sequence[tuple[str, float]]
) -> tuple[int, list[BoundOutcome]]:
    """The number of sources that obey the other conditions, and what each bound leaves of them."""
    claims = [knob.claim(*bound) for bound in bounds]
    n_candidates = 0
    counts, known = np.zeros((2, len(bounds)), dtype=np.int64)
    sums = np.zeros(len(bounds))
    formulas = [f.Probability(claim) for claim in {*claims} if claim is not None]
    for candidates, numbers in _candidates(catalog, knob, formulas):
        n_candidates += len(candidates)
        within = np.array([knob.within(numbers, *bound) for bound in bounds])
        counts += within.sum(axis=1)
        rows = np.flatnonzero(within.any(axis=0))
        members = candidates.take(rows)
        likely = {each: probability(each, members) for each in {*claims} if each is not None}
        for k, claim in enumerate(claims):
            if claim is not None:
                of_members = likely[claim][within[k, rows]]
                known[k] += (~np.isnan(of_members)).sum()
                sums[k] += np.nansum(of_members)
    return n_candidates, [
        BoundOutcome(
            *bound,
            int(counts[k]),
            None if claims[k] is None else float(sums[k]),
            None if claims[k] is None or not known[k] else float(sums[k] / known[k]),
        )
        for k, bound in enumerate(bounds)
    ]


def _short(least: float, following: float, single: bool) -> float:
    """A number with few digits, more than `following` and no more than `least`.

    `single`: the rules will round it to the float32 of their column.
    """
    middle = (least + following) / 2
    for digits in range(1, 17):
        for near in (least, middle):
            if np.isfinite(near):
                short = float(f"{near:.{digits - 1}e}")
                held = float(np.float32(short)) if single else short
                if following < held <= least:
                    return short
    return least


# --- which bound to move -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Knob:
    """A bound that can be moved: ``formula`` times ``sign`` is to be large."""

    text: str
    formula: f.Formula
    sign: int
    written: float | None
    operator: str
    others: tuple[Condition, ...]

    @property
    def inclusive(self) -> str:
        """The operator of a bound that values may reach."""
        return ">=" if self.sign > 0 else "<="

    def claim(self, operator: str, threshold: float) -> f.Formula | None:
        """The claim of the class about its members' spectra with this bound."""
        bound = f.Compare(operator, self.formula, f.Constant(threshold))
        return f.truth((*(each.formula for each in self.others), bound))

    def short(self, least: float, following: float) -> float:
        """The bound with few digits that lets values of `least` in, and `following` not."""
        return self.sign * _short(least, following, _is_float32(self.formula))

    def within(self, numbers: np.ndarray, operator: str, threshold: float) -> np.ndarray:
        """Whether numbers are within a bound, as rules would compare them."""
        held = float(np.float32(threshold)) if _is_float32(self.formula) else threshold
        return COMPARISONS[operator](numbers, held)


def _is_float32(formula: f.Formula) -> bool:
    """Whether rules round a bound on a number to the float32 of a column."""
    return isinstance(formula, f.ColumnValue) and formula.type == "float32"


def _knob(target_class: ClassFormulas, rank_text: str) -> _Knob:
    bounds = [
        (place, bound)
        for place, condition in enumerate(target_class.conditions)
        if condition.step == "where" and (bound := _bound(condition.formula)) is not None
    ]
    rank = target_class.rank
    on_rank = [each for each in bounds if _favoured(each[1]) == rank]
    on_p = [each for each in bounds if isinstance(each[1].left, f.Probability)]
    if len(on_rank) == 1 or (not on_rank and len(on_p) == 1):
        place, bound = (on_rank or on_p)[0]
        conditions = target_class.conditions
        assert isinstance(bound.right, f.Constant)
        text = conditions[place].text
        text = text.rsplit(bound.operator, 1)[0].strip() if bound.operator in text else text
        sign = 1 if bound.operator in (">", ">=") else -1
        others = (*conditions[:place], *conditions[place + 1 :])
        written = bound.right.value
        if _is_float32(bound.left):
            written = float(str(np.float32(written)))
        return _Knob(text, bound.left, sign, written, bound.operator, others)
    if rank is not None and not on_rank:
        return _Knob(rank_text, rank, 1, None, ">=", target_class.conditions)
    found = ", ".join(f"'{target_class.conditions[place].text}'" for place, _ in on_rank or on_p)
    raise RuleError(
        f"class {target_class.name}: "
        + (f"several bounds could be moved ({found})" if found else "no bound could be moved")
        + ". Say with 'rank:' in the rules what orders its members."
    )


def _favoured(bound: f.Compare) -> f.Formula:
    """The number that grows, the more surely the bound is kept."""
    is_lower = bound.operator in (">", ">=")
    return bound.left if is_lower else f.Operation("negative", (bound.left,))


def _bound(condition: f.Formula) -> f.Compare | None:
    """The condition, if it bounds a number by a constant."""
    match condition:
        case f.Compare(operator, _, f.Constant()) if operator in ("<", "<=", ">", ">="):
            return condition
    return None


# --- the N-th largest value of a stream ----------------------------------------------------------


def _largest(
    values: Callable[[], Iterable[np.ndarray]], numbers: Sequence[int]
) -> list[tuple[float, int, float, int]]:
    """For each n of `numbers` the least value that no more than `n` values reach, and how many do;
    the value that follows downwards, and how many have it. In bounded memory.

    Parameters
    ----------
    values : callable
        Gives all values, in pieces, as often as it is called; without NaN.
    numbers : sequence of int
    """
    searches = [Search(partial(_place_from_above, n)) for n in numbers]
    while unfinished := [each for each in searches if not each.done]:
        for each in values():
            for search in unfinished:
                search.see(each)
        for search in unfinished:
            search.narrow()
    # NaN where no value is too many: then none is below or equal.
    too_far = [search.result for search in searches]
    least = [np.inf] * len(searches)
    n_above, n_tied = np.zeros((2, len(searches)), dtype=np.int64)
    for each in values():
        for k, limit in enumerate(too_far):
            above = ~(each <= limit)
            least[k] = min(least[k], float(each[above].min(initial=np.inf)))
            n_above[k] += np.count_nonzero(above)
            n_tied[k] += np.count_nonzero(each == limit)
    following = [-np.inf if np.isnan(each) else each for each in too_far]
    return list(zip(least, n_above.tolist(), following, n_tied.tolist(), strict=True))


def _place_from_above(n: int, total: int) -> int:
    """The place, from below, of the largest of `total` values that is one too many for `n`."""
    return total - n
