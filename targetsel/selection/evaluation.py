"""Numbers and conditions for every row: formulas evaluated on scored sources.

Outside P a column has one value per source, shape (N,). Inside P a proxy has S draws from its
posterior, shape (N, S), everything else one value for all draws, shape (N, 1), and arithmetic
broadcasts. NaN stands for missing, and a comparison with it is not true.

P is found in three steps, each for the rows that the one before left open. The proxies' marginal
probabilities bound it (Frechet 1935), and so does what arithmetic makes of the intervals that hold
most of each marginal. A condition that bounds no more than two proxies is a
rectangle under the normal copula, which has a closed form (Owen 1956). All others are a share of
quasi-random draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtr

from targetsel.errors import CatalogError
from targetsel.rules import formula as f
from targetsel.rules.binding import correlated, proxy_names
from targetsel.rules.functions import COMPARISONS, FLIPPED, NEGATED, apply
from targetsel.rules.intervals import Interval, always, apply_to_intervals
from targetsel.spectra.proxies import (
    CORRELATION,
    NORMAL_SCORES,
    QUANTILES,
    ProxyPosterior,
    Sides,
)

N_DRAWS = 4096
ROWS_OF_DRAWS = 16  # rows drawn at a time: half a MiB per proxy, which stays in the cache
SETTLED = 1e-6  # bounds on a probability that are no further apart are its value


class Columnar(Protocol):
    """What sources are made of: an Arrow table, or a part of a file whose columns are read when
    they are asked for."""

    @property
    def num_rows(self) -> int: ...
    @property
    def schema(self) -> pa.Schema: ...
    def column(self, name: str, /) -> pa.Array | pa.ChunkedArray: ...


class Sources:
    """Rows of a scored catalog, as the numbers that formulas are made of.

    Parameters
    ----------
    table : Columnar
        The scored layout. No column is touched before a formula asks for it.
    rows : ndarray, shape (N,), optional
        Indices of the rows that are meant; without it, all of them.
    """

    def __init__(self, table: Columnar, rows: np.ndarray | None = None) -> None:
        self._whole = table
        self._rows = rows
        self._arrays: dict[tuple[str, str], Any] = {}  # of the whole table; all who `take` share it
        self._truths: dict[f.Formula, np.ndarray] = {}

    def __len__(self) -> int:
        return self._whole.num_rows if self._rows is None else len(self._rows)

    def take(self, rows: np.ndarray) -> Sources:
        """The rows with these indices (or where this mask is true), in that order.

        Nothing is copied until a column is asked for.
        """
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        taken = Sources(self._whole, rows if self._rows is None else self._rows[rows])
        taken._arrays = self._arrays
        return taken

    @property
    def table(self) -> pa.Table | pa.RecordBatch:
        """The rows as a table, where they come from one."""
        assert isinstance(self._whole, pa.Table | pa.RecordBatch)
        return self._whole if self._rows is None else self._whole.take(pa.array(self._rows))

    def _array(self, kind: str, name: str, read: Callable[[pa.Array], np.ndarray]) -> np.ndarray:
        """What `read` makes of a column, narrowed to our rows."""
        if (kind, name) not in self._arrays:
            self._arrays[kind, name] = read(_in_one_piece(self._whole.column(name)))
        array = self._arrays[kind, name]
        return array if self._rows is None else array[self._rows]

    def truth(self, condition: f.Formula) -> np.ndarray:
        """Whether a condition holds (see `holds`); found once for all rows, however often asked."""
        if self._rows is not None:
            return _holds(condition, self)
        if condition not in self._truths:
            self._truths[condition] = _holds(condition, self)
        return self._truths[condition]

    def column(self, column: f.Column) -> np.ndarray:
        """A column as float64, shape (N,), NaN where it is missing."""
        return self._array("number", column.name, numbers)

    def stored(self, column: f.Column) -> np.ndarray:
        """A column of float32 or float64 as it is stored, shape (N,), NaN where it is missing."""
        return self._array("stored", column.name, _as_numpy)

    def integers(self, column: f.Column) -> tuple[np.ndarray, np.ndarray]:
        """A column of integers, exactly, and whether each is there, both of shape (N,)."""
        known = self._array("known", column.name, lambda values: _as_numpy(values.is_valid()))
        integers = self._array(
            "integer", column.name, lambda values: _as_numpy(pc.fill_null(values, 0))
        )
        return integers, known

    def flags(self, column: f.Column, value: bool) -> np.ndarray:
        """Whether a column of true and false is `value`, shape (N,); false where missing."""
        return self._array(
            f"is {value}",
            column.name,
            lambda values: _as_numpy(pc.fill_null(pc.equal(values, pa.scalar(value)), False)),
        )

    def missing(self, column: f.Column) -> np.ndarray:
        """Whether a column of any type is missing, shape (N,)."""
        return self._array("missing", column.name, _missing)

    def found(self, lookup: f.Lookup) -> np.ndarray:
        """Whether a finder finds each source, shape (N,)."""
        values = (self._array("stored", each.name, _as_numpy) for each in lookup.of)
        return lookup.finder.found(*values) ^ lookup.negated

    def quantile(self, quantile: f.Quantile) -> np.ndarray:
        return self.posterior.quantile(quantile.name, quantile.probability)

    def probability(self, condition: f.Formula) -> np.ndarray:
        return probability(condition, self)

    @cached_property
    def posterior(self) -> ProxyPosterior:
        """The joint posterior of the proxies; each proxy's is read when it is asked for."""
        schema = self._whole.schema
        quantiles = {
            name: partial(self._matrix, name + QUANTILES, len(NORMAL_SCORES))
            for name in proxy_names(schema)
        }
        correlation = {
            (other, name): partial(self._matrix, name + CORRELATION, len(others), place)
            for name, others in correlated(schema).items()
            for place, other in enumerate(others)
        }
        return ProxyPosterior(tuple(quantiles), _WhenAsked(quantiles), _WhenAsked(correlation))

    def _matrix(self, name: str, width: int, place: int | slice = slice(None)) -> np.ndarray:
        """A column of `width` numbers each, or the one at `place`, NaN where it is missing."""
        return self._array("matrix", name, lambda lists: _matrix(lists, name, width))[:, place]


_Key = TypeVar("_Key")


class _WhenAsked(Mapping[_Key, np.ndarray]):
    """Arrays that are made when they are asked for, and then kept."""

    def __init__(self, makers: Mapping[_Key, Callable[[], np.ndarray]]) -> None:
        self._makers = makers
        self._known: dict[_Key, np.ndarray] = {}

    def __getitem__(self, key: _Key) -> np.ndarray:
        if key not in self._known:
            self._known[key] = self._makers[key]()
        return self._known[key]

    def __contains__(self, key: object) -> bool:
        return key in self._makers

    def __iter__(self) -> Iterator[_Key]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


class DrawnSources:
    """The same rows, with draws of the proxies in place of the proxies' medians."""

    def __init__(self, sources: Sources, draws: dict[str, np.ndarray]) -> None:
        self.sources = sources
        self.draws = draws

    def column(self, column: f.Column) -> np.ndarray:
        if column.role == "predicted":
            return self.draws[column.name]
        return self.sources.column(column)[:, None]

    def integers(self, column: f.Column) -> tuple[np.ndarray, np.ndarray]:
        values, known = self.sources.integers(column)
        return values[:, None], known[:, None]

    def flags(self, column: f.Column, value: bool) -> np.ndarray:
        return self.sources.flags(column, value)[:, None]

    def missing(self, column: f.Column) -> np.ndarray:
        if column.role == "predicted":
            return np.isnan(self.draws[column.name])
        return self.sources.missing(column)[:, None]

    def found(self, lookup: f.Lookup) -> np.ndarray:
        return self.sources.found(lookup)[:, None]

    def quantile(self, quantile: f.Quantile) -> np.ndarray:
        return self.sources.quantile(quantile)[:, None]

    def probability(self, condition: f.Formula) -> np.ndarray:
        raise TypeError("P() cannot stand inside P()")


class PosteriorDraws(DrawnSources):
    """Sources with quasi-random draws of some proxies from their joint posterior.

    Draws are kept as normal scores, and become values only where arithmetic asks for them: a
    proxy is below a limit where its score is below the score of the limit.
    """

    def __init__(self, sources: Sources, names: tuple[str, ...]) -> None:
        super().__init__(sources, {})
        self.scores = sources.posterior.draw_scores(names, N_DRAWS)

    def column(self, column: f.Column) -> np.ndarray:
        if column.role == "predicted" and column.name not in self.draws:
            posterior = self.sources.posterior
            self.draws[column.name] = posterior.value(column.name, self.scores[column.name])
        return super().column(column)

    def missing(self, column: f.Column) -> np.ndarray:
        self.column(column)
        return super().missing(column)

    def within(self, bound: Bound) -> np.ndarray:
        """Whether each draw of a proxy keeps a bound, shape (N, S)."""
        name, operator, limit = bound
        score = self.sources.posterior.score(name, value(limit, self.sources))
        return COMPARISONS[operator](self.scores[name], score[:, None])


# A proxy, an operator and the limit it is compared with, a number without predicted quantities.
Bound = tuple[str, str, f.Formula]


def _in_one_piece(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _as_numpy(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)


def numbers(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """An Arrow column of numbers as float64, NaN where it is null."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _missing(values: pa.Array) -> np.ndarray:
    if pa.types.is_float32(values.type) or pa.types.is_float64(values.type):
        return np.isnan(_as_numpy(values))
    return _as_numpy(pc.is_null(values, nan_is_null=True))


def _matrix(lists: pa.Array, name: str, width: int) -> np.ndarray:
    """A column of lists as a matrix, shape (N, width), NaN where null; a view where it can be.

    Raises
    ------
    CatalogError
        If the lists are not that long.
    """
    flat = _as_numpy(lists.flatten())
    known = len(lists) - lists.null_count
    if flat.size != known * width:
        raise CatalogError(
            f"column '{name}' does not hold {width} numbers per source; score the catalog again "
            "with this version of targetsel"
        )
    if known == len(lists):
        return flat.reshape(-1, width)
    matrix = np.full((len(lists), width), np.nan, dtype=flat.dtype)
    matrix[_as_numpy(lists.is_valid())] = flat.reshape(-1, width)
    return matrix


# --- formulas ------------------------------------------------------------------------------------


def value(formula: f.Formula, sources: Sources | DrawnSources) -> np.ndarray:
    """The number for every source, float64, NaN where it is missing."""
    match formula:
        case f.Constant(number):
            return np.asarray(number, dtype=np.float64)
        case f.Column():
            return sources.column(formula)
        case f.Operation(name, parts):
            return apply(name, *(value(part, sources) for part in parts))
        case f.Quantile():
            return sources.quantile(formula)
        case f.Probability(condition):
            return sources.probability(condition)
    raise TypeError(f"not a number: {formula}")


def holds(formula: f.Formula, sources: Sources | DrawnSources) -> np.ndarray:
    """Whether the condition is true for every source; false where it is false or unknown."""
    if isinstance(sources, Sources):
        return sources.truth(formula)
    return _holds(formula, sources)


def _holds(formula: f.Formula, sources: Sources | DrawnSources) -> np.ndarray:
    match formula:
        case f.Compare(operator, f.Column(type="integer") as left, f.Constant(int() as right)):
            integers, known = sources.integers(left)
            return COMPARISONS[operator](integers, right) & known
        case f.Compare(operator, f.Probability(condition), f.Constant(limit)):
            assert isinstance(sources, Sources)  # there is no P inside P
            return _compared_with(limit, operator, condition, sources)
        case f.Compare(operator, f.Column(type="float32") as left, f.Constant(limit)) if isinstance(
            sources, Sources
        ) and abs(limit) <= float(np.finfo(np.float32).max):
            return COMPARISONS[operator](sources.stored(left), np.float32(limit))
        case f.Compare() if isinstance(sources, PosteriorDraws) and (bound := _bound(formula)):
            return sources.within(bound)
        case f.Compare(operator, left, right):
            return COMPARISONS[operator](value(left, sources), value(right, sources))
        case f.Missing(f.Column() as column, negated):
            return sources.missing(column) ^ negated
        case f.Missing(inner, negated):
            return np.isnan(value(inner, sources)) ^ negated
        case f.Flag(column, negated):
            return sources.flags(column, not negated)
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


def _combined(
    join: Callable, parts: tuple[f.Formula, ...], sources: Sources | DrawnSources
) -> np.ndarray:
    result = holds(parts[0], sources)
    for part in parts[1:]:
        result = join(result, holds(part, sources))
    return result


# --- probabilities -------------------------------------------------------------------------------


def probability(condition: f.Formula, sources: Sources) -> np.ndarray:
    """P(condition) over each source's posterior, shape (N,).

    NaN where the posterior of a proxy, or a measured number that takes part, is missing.
    """
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

    The same as asking `probability`, which is only done where its bounds lie on both sides of the
    limit; usually that is one row in many.
    """
    if operator in ("==", "!="):
        return COMPARISONS[operator](probability(condition, sources), limit)
    if operator in (">", ">="):
        hopeful = _may_reach(limit, condition, sources)
        if not hopeful.all():
            answer = np.zeros(len(sources), dtype=bool)
            left = sources.take(hopeful)
            answer[hopeful] = _compared_by_bounds(limit, operator, condition, left)
            return answer
    return _compared_by_bounds(limit, operator, condition, sources)


def _may_reach(limit: float, condition: f.Formula, sources: Sources) -> np.ndarray:
    """Where P(condition) may be `limit` or more, shape (N,), by one quantile of each proxy.

    P(x > c) is less than the limit wherever a quantile that so few draws exceed lies below c.
    """
    hopeful = np.ones(len(sources), dtype=bool)
    above = np.flatnonzero(ndtr(-NORMAL_SCORES) < limit)  # quantiles that fewer draws exceed
    if not len(above):
        return hopeful
    for part in f.conjuncts(condition):
        if (bound := _bound(part)) is not None:
            name, operator, number = bound
            knots, least = sources.posterior.knots(name), value(number, sources)
            if operator in (">", ">="):
                hopeful &= ~(knots[:, above[0]] < least)
            else:
                hopeful &= ~(knots[:, -1 - above[0]] > least)
    return hopeful


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
    """The least and the most that P(condition) can be, shape (N,); NaN where it is missing."""
    low, high = _frechet(condition, sources)
    lacking = _lacking(condition, sources)
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
    for place in range(len(NORMAL_SCORES) // 2):
        outside = 2 * len(f.proxies(part)) * ndtr(NORMAL_SCORES[place])
        if outside < 1:
            left, right = (_interval(side, sources, place) for side in (part.left, part.right))
            true = always(part.operator, left, right)
            false = always(NEGATED[part.operator], left, right)
            low = np.where(true, np.maximum(low, 1 - outside), low)
            high = np.where(false, np.minimum(high, outside), high)
    return low, high


def _interval(formula: f.Formula, sources: Sources, place: int) -> Interval:
    """Between which values a number lies if every proxy lies between two of its quantiles, the
    one at `place` and the one as far from the other end."""
    if not f.proxies(formula):
        number = value(formula, sources)
        return number, number
    if isinstance(formula, f.Column):
        knots = sources.posterior.knots(formula.name)
        return knots[:, place].astype(float), knots[:, -1 - place].astype(float)
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


def _bound(part: f.Formula) -> Bound | None:
    """The comparison of a proxy with a number that has no predicted quantity, if it is one."""
    if not isinstance(part, f.Compare) or part.operator in ("==", "!="):
        return None
    operator, left, right = part.operator, part.left, part.right
    if f.proxies(right):
        operator, left, right = FLIPPED[operator], right, left
    if not (isinstance(left, f.Column) and left.role == "predicted") or f.proxies(right):
        return None
    return left.name, operator, right


def _share_of_draws(condition: f.Formula, sources: Sources) -> np.ndarray:
    """The share of joint draws for which the condition is true, shape (N,)."""
    involved = f.proxies(condition)
    names = tuple(name for name in sources.posterior.names if name in involved)
    share = np.empty(len(sources))
    for start in range(0, len(sources), ROWS_OF_DRAWS):
        rows = np.arange(start, min(start + ROWS_OF_DRAWS, len(sources)))
        true = holds(condition, PosteriorDraws(sources.take(rows), names))
        share[rows] = np.broadcast_to(true, (len(rows), N_DRAWS)).mean(axis=1)
    return share


def _lacking(condition: f.Formula, sources: Sources) -> np.ndarray:
    """Whether something that P(condition) rests on is missing, shape (N,)."""
    lacking = np.zeros(len(sources), dtype=bool)
    for name in f.proxies(condition):
        lacking |= np.isnan(sources.posterior.knots(name)).any(axis=1)
    for part in _measured(condition):
        if isinstance(part, f.Column):
            lacking |= sources.missing(part)
        else:
            lacking |= np.isnan(value(part, sources))
    return lacking


def _measured(formula: f.Formula) -> Iterator[f.Formula]:
    """The numbers and flags of a condition that no predicted quantity takes part in, except those
    that are only asked whether they are missing."""
    if isinstance(formula, f.Missing | f.Constant):
        return
    if isinstance(formula, f.Column | f.Operation | f.Quantile) and not f.proxies(formula):
        yield formula
    else:
        for child in formula.children:
            yield from _measured(child)
