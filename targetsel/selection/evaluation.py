"""Numbers and conditions for every row: formulas evaluated on scored sources.

NaN stands for missing, and a comparison with it is not true.

P is found in three steps, each for the rows that the one before left open. The proxies' marginal
probabilities bound it (Frechet 1935), and so does interval arithmetic on the intervals that hold
most of each marginal. A condition that bounds no more than two proxies is a
rectangle under the normal copula, which has a closed form (Owen 1956). All others are a share of
quasi-random draws, each of which is followed to what depends on it (`following`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy  # whose `special` is imported when it is first used

from targetsel.errors import CatalogError
from targetsel.expressions.functions import (
    COMPARISONS,
    FLIPPED,
    NEGATED,
    Interval,
    always,
    apply,
    apply_to_intervals,
)
from targetsel.rules import formula as f
from targetsel.selection.following import bounds_by_quantiles, has_quantiles, without_light
from targetsel.selection.sources import DrawnSources, Sources
from targetsel.spectra.proxies import NORMAL_SCORES, Sides, at_score

N_DRAWS = 4096
ROWS_OF_DRAWS = 16  # rows drawn at a time: half a MiB per proxy, which stays in the cache
SETTLED = 1e-6  # bounds on a probability that are no further apart are its value
FEW = 8  # when fewer than one source in so many is left, those are copied out

# A proxy, an operator and the limit it is compared with, a number without predicted quantities.
Bound = tuple[str, str, f.Formula]


# --- formulas ------------------------------------------------------------------------------------


def value(formula: f.Formula, sources: Sources | DrawnSources) -> np.ndarray:
    """The number for every source, float64, NaN where it is missing."""
    match formula:
        case f.Constant(number):
            return np.asarray(number, dtype=np.float64)
        case f.ColumnValue():
            return sources.column(formula)
        case f.Operation(name, parts):
            for part in parts:
                if isinstance(part, f.ColumnValue) and part.type == "integer":
                    _check_exact(part, sources)
            return apply(name, *(value(part, sources) for part in parts))
        case f.Quantile():
            return sources.quantile(formula)
        case f.Calculated():
            return sources.calculated(formula)
        case f.Probability(condition) if isinstance(sources, Sources):
            return probability(condition, sources)
    raise TypeError(f"not a number: {formula}")


def _check_exact(column: f.ColumnValue, sources: Sources | DrawnSources) -> None:
    """Refuse to calculate with whole numbers that float64 does not hold exactly, such as ids."""
    integers, known = sources.integers(column)
    with np.errstate(invalid="ignore"):
        as_floats = integers.astype(np.float64).astype(integers.dtype)
    if (known & (as_floats != integers)).any():
        raise CatalogError(
            f"column '{column.name}' has whole numbers beyond 2^53, with which rules cannot "
            f"calculate exactly. Compare it as it is, e.g. {column.name} == 5."
        )


def holds(formula: f.Formula, sources: Sources | DrawnSources) -> np.ndarray:
    """Whether the condition is true for every source; false where it is false or unknown."""
    if isinstance(sources, DrawnSources):
        return _holds(formula, sources)
    if formula not in sources.outcomes:  # classes share conditions
        sources.outcomes[formula] = _holds(formula, sources)
    return sources.outcomes[formula]


def _holds(formula: f.Formula, sources: Sources | DrawnSources) -> np.ndarray:
    match formula:
        case f.Compare(operator, f.ColumnValue(type="integer") as left, f.Constant(int() as right)):
            integers, known = sources.integers(left)
            return COMPARISONS[operator](integers, right) & known
        case f.Compare(
            operator, f.ColumnValue(type="integer") as left, f.ColumnValue(type="integer") as right
        ):
            (integers, known), (others, both) = sources.integers(left), sources.integers(right)
            return COMPARISONS[operator](integers, others) & known & both
        case f.Compare(operator, f.Probability(condition), f.Constant(limit)):
            assert isinstance(sources, Sources)  # P is not nested
            return _compared_with(limit, operator, condition, sources)
        case f.Compare(operator, f.ColumnValue(type="float32") as left, f.Constant(limit)) if (
            isinstance(sources, Sources) and abs(limit) <= float(np.finfo(np.float32).max)
        ):
            return COMPARISONS[operator](sources.stored(left), np.float32(limit))
        case f.Compare() if isinstance(sources, PosteriorDraws) and (bound := _bound(formula)):
            return sources.within(bound)
        case f.Compare(operator, left, right):
            rounded = _is_float32(formula)
            if isinstance(sources, DrawnSources):
                rounded &= not f.proxies(formula)
            number = _value_as_float32 if rounded else value
            return COMPARISONS[operator](number(left, sources), number(right, sources))
        case f.Missing(f.ColumnValue() as column, negated):
            return sources.missing(column) ^ negated
        case f.Missing(inner, negated):
            return np.isnan(value(inner, sources)) ^ negated
        case f.Flag(column, negated):
            return sources.flags(column, not negated)
        case f.TextIn(column, texts, negated):
            codes, words = sources.text(column)
            chosen = pc.is_in(words, pa.array(texts, pa.string()))
            return np.append(_as_numpy(chosen) ^ negated, False)[codes]
        case f.SameText(left, right, negated):
            (codes, words), (others, other_words) = sources.text(left), sources.text(right)
            there = pc.fill_null(pc.index_in(words, other_words), -2)
            same = np.append(_as_numpy(there), -2)[codes] == others
            return (same ^ negated) & (codes >= 0) & (others >= 0)
        case f.HasBit(column, bits, negated):
            integers, known = sources.integers(column)
            unset = (integers.astype(np.int64, copy=False) & bits) == 0
            return (unset == negated) & known
        case f.Lookup():
            return sources.found(formula)
        case f.Except(condition):
            return ~holds(condition, sources)
        case f.All(parts):
            return _combined(np.logical_and, parts, sources)
        case f.Any(parts):
            return _combined(np.logical_or, parts, sources)
    raise TypeError(f"not a condition: {formula}")


def _as_numpy(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)


@lru_cache(maxsize=4096)
def _is_float32(comparison: f.Compare) -> bool:
    """Whether all columns that are compared are float32, plain or in arithmetic.

    They are compared in float32 then: 0.1 beside ``x * 1`` is float32's 0.1, as beside ``x``.
    """
    kinds = {
        part.type if isinstance(part, f.ColumnValue) else "float64"
        for part in f.walk(comparison)
        if isinstance(part, f.ColumnValue | f.Probability | f.Quantile | f.Calculated)
    }
    return kinds == {"float32"}


def as_float32(values: np.ndarray) -> np.ndarray:
    """Numbers rounded to float32; those beyond its range, large or small, stay."""
    limits = np.finfo(np.float32)
    size = np.abs(values)
    outside = (size < float(limits.tiny)) | (size > float(limits.max))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        rounded = values.astype(np.float32)
    return np.where(outside, values, rounded) if outside.any() else rounded


def _value_as_float32(formula: f.Formula, sources: Sources | DrawnSources) -> np.ndarray:
    """`as_float32` of the number for every source, which has float32 columns only."""
    match formula:
        case f.Operation(
            "+" | "-" as name, (f.ColumnValue() as left, f.ColumnValue() as right)
        ) if isinstance(sources, Sources):
            # A sum is the same whether it is rounded at once or by way of float64.
            found = apply(name, sources.stored(left), sources.stored(right))
            if not np.isinf(found).any():
                return found
    return as_float32(value(formula, sources))


def _combined(
    join: Callable[[np.ndarray, np.ndarray], np.ndarray],
    parts: tuple[f.Formula, ...],
    sources: Sources | DrawnSources,
) -> np.ndarray:
    result = holds(parts[0], sources)
    for part in parts[1:]:
        result = join(result, holds(part, sources))
    return result


# --- several conditions --------------------------------------------------------------------------


class Filter:
    """Sources from which one condition after another removes some.

    A condition is only evaluated on the sources that are left; but a plain comparison is quicker
    for all rows than copying some of them out, until few are left.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._rows: np.ndarray | None = None  # of the sources we began with
        self._left = np.ones(len(sources), dtype=bool)
        self._n = len(sources)

    def __len__(self) -> int:
        return self._n

    def keep(self, condition: f.Formula) -> None:
        """Remove the sources for which the condition is not true."""
        if self._n == 0:
            return
        if self._n * FEW < len(self._left) or (self._n < len(self._left) and cost(condition)):
            self._rows = self.rows
            self._sources = self._sources.take(self._left)
            self._left = np.ones(self._n, dtype=bool)
        self._left &= holds(condition, self._sources)
        self._n = int(np.count_nonzero(self._left))

    @property
    def rows(self) -> np.ndarray:
        """Indices of the sources that are left, in increasing order."""
        return np.flatnonzero(self._left) if self._rows is None else self._rows[self._left]


def passing(conditions: Iterable[f.Formula], sources: Sources) -> np.ndarray:
    """Indices of the sources for which every condition is true, in increasing order."""
    left = Filter(sources)
    for condition in sorted(conditions, key=cost):
        left.keep(condition)
    return left.rows


def all_hold(conditions: Iterable[f.Formula], sources: Sources) -> np.ndarray:
    """Whether every condition is true for each source, shape (N,)."""
    mask = np.zeros(len(sources), dtype=bool)
    mask[passing(conditions, sources)] = True
    return mask


@lru_cache(maxsize=4096)
def cost(formula: f.Formula) -> int:
    """Relative cost of a condition: 0 to compare, 1 to look up, 2 to integrate a posterior."""
    parts = list(f.walk(formula))
    if any(isinstance(part, f.Probability | f.Quantile) for part in parts):
        return 2
    return int(any(isinstance(part, f.Lookup | f.Calculated) for part in parts))


# --- probabilities -------------------------------------------------------------------------------


def probability(condition: f.Formula, sources: Sources) -> np.ndarray:
    """P(condition) over each source's posterior, shape (N,).

    NaN where the posterior of a proxy is missing, or a measured value on which it depends: as
    outside P, the condition is true where its other parts make it true whatever that value is.
    """
    unknown = _unknown(condition, sources)
    if unknown.any():
        likely = np.empty(len(sources))
        likely[~unknown] = probability(condition, sources.take(~unknown))
        low, high = _least_and_most(condition, sources.take(unknown))
        likely[unknown] = np.where(high - low <= SETTLED, low, np.nan)
        return likely
    low, high = _bounds(condition, sources)
    likely = (low + high) / 2
    undecided = high - low > SETTLED
    if undecided.any():
        joint = _joint(condition, sources.take(undecided))
        likely[undecided] = np.clip(joint, low[undecided], high[undecided])
    return likely


def _compared_with(
    limit: float, operator: str, condition: f.Formula, sources: Sources
) -> np.ndarray:
    """Whether P(condition) is more, or less, than a limit, shape (N,).

    The same as comparing `probability`, which is only computed where its bounds lie on both sides
    of the limit; usually that is one row in many.
    """
    if operator in ("==", "!="):
        return COMPARISONS[operator](probability(condition, sources), limit)
    unknown = _unknown(condition, sources)
    if unknown.any():
        answer = np.zeros(len(sources), dtype=bool)
        left = sources.take(~unknown)
        answer[~unknown] = _compared_with(limit, operator, condition, left)
        ends = _least_and_most(condition, sources.take(unknown))
        answer[unknown] = np.logical_and(*(COMPARISONS[operator](end, limit) for end in ends))
        return answer
    if operator in (">", ">="):
        possible = _may_reach(limit, condition, sources)
        if not possible.all():
            answer = np.zeros(len(sources), dtype=bool)
            left = sources.take(possible)
            answer[possible] = _compared_by_bounds(limit, operator, condition, left)
            return answer
    return _compared_by_bounds(limit, operator, condition, sources)


def _may_reach(limit: float, condition: f.Formula, sources: Sources) -> np.ndarray:
    """Whether P(condition) may be `limit` or more, shape (N,), by one quantile of each proxy.

    P(x > c) is less than the limit wherever a quantile that so few draws exceed lies below c.
    """
    possible = np.ones(len(sources), dtype=bool)
    exceeding = scipy.special.ndtr(-NORMAL_SCORES)  # share of the draws above each quantile
    above = np.flatnonzero(exceeding < limit)
    if not len(above):
        return possible
    for part in f.conjuncts(condition):
        if (bound := _bound(part)) is not None:
            name, operator, number = bound
            knots, least = sources.posterior.knots(name), value(number, sources)
            if operator in (">", ">="):
                possible &= ~(at_score(knots, above[0]) < least)
            else:
                possible &= ~(at_score(knots, len(exceeding) - 1 - above[0]) > least)
    return possible


def _compared_by_bounds(
    limit: float, operator: str, condition: f.Formula, sources: Sources
) -> np.ndarray:
    low, high = _bounds(condition, sources)
    answer = COMPARISONS[operator](low, limit)
    undecided = answer != COMPARISONS[operator](high, limit)
    if undecided.any():
        likely = probability(condition, sources.take(undecided))
        answer[undecided] = COMPARISONS[operator](likely, limit)
    return answer


def _bounds(condition: f.Formula, sources: Sources) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most that P(condition) can be, shape (N,), of sources whose measured
    values are known; NaN where it is missing."""
    low, high = _frechet(condition, sources)
    lacking = _without_posterior(condition, sources)
    return np.where(lacking, np.nan, low), np.where(lacking, np.nan, high)


def _frechet(condition: f.Formula, sources: Sources) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most that P(condition) can be, given the marginal probabilities of its
    parts, shape (N,). They are equal where a condition bounds a single proxy."""
    if isinstance(condition, f.Any):
        low, high = _frechet(f.negated(condition), sources)
        return 1 - high, 1 - low
    box, others = _box(condition, sources)
    known = [sources.posterior.probability_inside({name: box[name]}) for name in box]
    known += [holds(part, sources).astype(float) for part in others if not f.proxies(part)]
    bounds = [(likely, likely) for likely in known]
    for part in others:
        if f.proxies(part):
            find = _frechet if isinstance(part, f.Any) else _bounds_by_intervals
            bounds.append(find(part, sources))
    least, most = zip(*bounds, strict=True)
    low = np.maximum(sum(least) - (len(bounds) - 1), 0.0)
    return low, np.minimum.reduce(most)


def _bounds_by_intervals(part: f.Formula, sources: Sources) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most that P of a comparison can be, shape (N,).

    All K proxies lie between their quantiles at -s and s with a probability of at least
    1 - 2 K ndtr(-s). If the comparison is true, or false, for all such values, that bounds it.
    """
    low, high = np.zeros(len(sources)), np.ones(len(sources))
    if not isinstance(part, f.Compare) or part.operator in ("==", "!="):
        return low, high
    if any(column.role == "followed" for column in f.columns(part)):
        bound = _bound(part, "followed")
        if bound is None or not has_quantiles(bound[0], sources):
            return low, high
        return bounds_by_quantiles(bound[0], bound[1], value(bound[2], sources), sources)
    for place in range(len(NORMAL_SCORES) // 2):
        outside = 2 * len(f.proxies(part)) * scipy.special.ndtr(NORMAL_SCORES[place])
        if outside < 1:
            left, right = (_interval(side, sources, place) for side in (part.left, part.right))
            true = always(part.operator, left, right)
            false = always(NEGATED[part.operator], left, right)
            low = np.where(true, np.maximum(low, 1 - outside), low)
            high = np.where(false, np.minimum(high, outside), high)
    return low, high


def _interval(formula: f.Formula, sources: Sources, place: int) -> Interval:
    """Interval of a number when every proxy lies between two of its quantiles: the one at
    `place`, and the one as far from the other end."""
    if not f.proxies(formula):
        number = value(formula, sources)
        return number, number
    if isinstance(formula, f.ColumnValue):
        knots = sources.posterior.knots(formula.name)
        ends = (at_score(knots, each) for each in (place, len(NORMAL_SCORES) - 1 - place))
        return next(ends).astype(float), next(ends).astype(float)
    assert isinstance(formula, f.Operation)
    return apply_to_intervals(
        formula.name, *(_interval(part, sources, place) for part in formula.values)
    )


def _joint(condition: f.Formula, sources: Sources) -> np.ndarray:
    """P(condition), shape (N,), of sources that no measured number decides."""
    for formula, sign in ((condition, 1), (f.negated(condition), -1)):
        box, others = _box(formula, sources)
        if 0 < len(box) <= 2 and not any(f.proxies(part) for part in others):
            inside = sources.posterior.probability_inside(box)
            return inside if sign == 1 else 1 - inside
    return _share_of_draws(condition, sources)


def _box(condition: f.Formula, sources: Sources) -> tuple[dict[str, Sides], list[f.Formula]]:
    """The normal scores between which a condition keeps proxies, and its other conjuncts."""
    box: dict[str, Sides] = {}
    others = []
    for part in f.conjuncts(condition):
        bound = _bound(part)
        if bound is None:
            others.append(part)
            continue
        name, operator, limit = bound
        low, high = box.get(name, (None, None))
        score = sources.posterior.score(name, value(limit, sources))
        if operator in ("<", "<="):
            high = score if high is None else np.minimum(high, score)
        else:
            low = score if low is None else np.maximum(low, score)
        box[name] = low, high
    return box, others


def _bound(part: f.Formula, role: str = "predicted") -> Bound | None:
    """The comparison of a proxy with a number that has no predicted quantity, if it is one."""
    if not isinstance(part, f.Compare) or part.operator in ("==", "!="):
        return None
    operator, left, right = part.operator, part.left, part.right
    if f.proxies(right):
        operator, left, right = FLIPPED[operator], right, left
    if not (isinstance(left, f.ColumnValue) and left.role == role) or f.proxies(right):
        return None
    return left.name, operator, right


class PosteriorDraws(DrawnSources):
    """Sources with quasi-random draws of some proxies from their joint posterior.

    Draws are kept as normal scores, and become values only where arithmetic asks for them: a
    proxy is below a limit where its score is below the score of the limit.
    """

    def __init__(self, sources: Sources, names: tuple[str, ...]) -> None:
        super().__init__(sources, {})
        self.scores = sources.posterior.draw_scores(names, N_DRAWS)

    def column(self, column: f.ColumnValue) -> np.ndarray:
        if column.is_drawn:
            self._draw(column.name)
        return super().column(column)

    def missing(self, column: f.ColumnValue) -> np.ndarray:
        if column.is_drawn:
            self.column(column)
        return super().missing(column)

    def _draw(self, name: str) -> np.ndarray:
        """The draws of a proxy, or of what follows from proxies, (N, S); made on first use."""
        if name not in self.draws:
            if name in self.scores:
                self.draws[name] = self.sources.posterior.value(name, self.scores[name])
            else:
                assert self.sources.following is not None
                parents = self.sources.following.parents(name)
                drawn = {parent: self._draw(parent) for parent in parents}
                self.draws[name] = self.sources.followed(name, drawn)
        return self.draws[name]

    def within(self, bound: Bound) -> np.ndarray:
        """Whether each draw of a proxy keeps a bound, shape (N, S)."""
        name, operator, limit = bound
        score = self.sources.posterior.score(name, value(limit, self.sources))
        return COMPARISONS[operator](self.scores[name], score[:, None])


def _share_of_draws(condition: f.Formula, sources: Sources) -> np.ndarray:
    """The share of joint draws for which the condition is true, shape (N,); NaN without draws."""
    names = sources.drawn(f.proxies(condition))
    share = np.empty(len(sources))
    samples = sources.posterior.n_samples or N_DRAWS
    size = ROWS_OF_DRAWS * N_DRAWS // samples
    for start in range(0, len(sources), size):
        rows = np.arange(start, min(start + size, len(sources)))
        draws = PosteriorDraws(sources.take(rows), names)
        scores = draws.scores[names[-1]]
        true = np.broadcast_to(holds(condition, draws), scores.shape)
        unknown = np.isnan(scores).any(axis=1)
        share[rows] = np.where(unknown, np.nan, true.mean(axis=1))
    return share


def _without_posterior(condition: f.Formula, sources: Sources) -> np.ndarray:
    """Whether the posterior of any proxy of the condition is missing, shape (N,)."""
    names = f.proxies(condition)
    lacking = without_light(names, sources)
    for name in sources.drawn(names):
        lacking |= np.isnan(sources.posterior.knots(name)).any(axis=1)
    return lacking


# --- measured values that are missing ------------------------------------------------------------


def _unknown(condition: f.Formula, sources: Sources) -> np.ndarray:
    """Whether a measured value in the condition is missing, shape (N,)."""
    unknown = np.zeros(len(sources), dtype=bool)
    for part in _measured(condition):
        if isinstance(part, f.ColumnValue):
            unknown |= sources.missing(part)
        else:
            unknown |= np.isnan(value(part, sources))
    return unknown


def _least_and_most(condition: f.Formula, sources: Sources) -> tuple[np.ndarray, np.ndarray]:
    """P(condition) with all comparisons of missing values false, and with all true, shape (N,)."""
    parts = [*dict.fromkeys(_comparisons(condition))]
    unknown = np.array([_unknown(part, sources) for part in parts])
    patterns, which = np.unique(unknown, axis=1, return_inverse=True)
    ends = np.empty((2, len(sources)))
    for k, pattern in enumerate(patterns.T):
        rows = np.flatnonzero(which.ravel() == k)
        lost = {part for part, is_lost in zip(parts, pattern, strict=True) if is_lost}
        for end, outcome in zip(ends, (False, True), strict=True):
            end[rows] = _likely(_taken(condition, lost, outcome), sources.take(rows))
    ends[:, _without_posterior(condition, sources)] = np.nan
    return ends[0], ends[1]


def _likely(condition: f.Formula | bool, sources: Sources) -> np.ndarray:
    """P(condition), shape (N,), also of one that no posterior decides."""
    if isinstance(condition, bool):
        return np.full(len(sources), float(condition))
    if f.proxies(condition):
        return probability(condition, sources)
    return holds(condition, sources).astype(float)


def _comparisons(condition: f.Formula) -> Iterator[f.Formula]:
    """The conditions that `and` and `or` join."""
    if isinstance(condition, f.All | f.Any):
        for part in condition.parts:
            yield from _comparisons(part)
    else:
        yield condition


def _taken(condition: f.Formula, parts: set[f.Formula], outcome: bool) -> f.Formula | bool:
    """The condition with these parts taken to be true, or false."""
    if condition in parts:
        return outcome
    if not isinstance(condition, f.All | f.Any):
        return condition
    settles = isinstance(condition, f.Any)  # a part of this outcome gives it to the whole
    found = [_taken(part, parts, outcome) for part in condition.parts]
    left = tuple(part for part in found if not isinstance(part, bool))
    if settles in found:
        return settles
    if not left:
        return not settles
    return left[0] if len(left) == 1 else type(condition)(left)


def _measured(formula: f.Formula) -> Iterator[f.Formula]:
    """The numbers, flags and text of a condition without predicted quantities, except those that
    are only tested for being missing."""
    if isinstance(formula, f.Missing | f.Constant):
        return
    is_number = isinstance(formula, f.ColumnValue | f.Operation | f.Quantile | f.Calculated)
    if is_number and not f.proxies(formula):
        yield formula
    else:
        for child in formula.children:
            yield from _measured(child)
