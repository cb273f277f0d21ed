"""Numbers and conditions for every row: formulas evaluated on scored sources.

Outside P a column has one value per source, shape (N,). Inside P a proxy has S draws from its
posterior, shape (N, S), everything else one value for all draws, shape (N, 1), and arithmetic
broadcasts. NaN stands for missing, and a comparison with it is not true.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import CatalogError
from targetsel.selection import formula as f
from targetsel.selection.functions import COMPARISONS, FLIPPED, apply
from targetsel.selection.meaning import proxy_names
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior

N_DRAWS = 1024
ROWS_OF_DRAWS = 512  # rows drawn at a time: 4 MiB per proxy


class Sources:
    """Rows of a scored catalog, as the numbers that formulas are made of.

    Parameters
    ----------
    table : pa.Table or pa.RecordBatch
        N rows in the scored layout. Posterior columns are only needed where a formula asks for
        them.
    """

    def __init__(self, table: pa.Table | pa.RecordBatch) -> None:
        self.table = table

    def __len__(self) -> int:
        return self.table.num_rows

    def take(self, rows: np.ndarray) -> Sources:
        """The rows with these indices (or where this mask is true), in that order."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Sources(self.table.take(pa.array(rows)))

    def column(self, column: f.Column) -> np.ndarray:
        """A column as float64, shape (N,), NaN where it is missing."""
        return numbers(self.table.column(column.name))

    def integers(self, column: f.Column) -> tuple[np.ndarray, np.ndarray]:
        """A column of integers, exactly, and whether each is there, both of shape (N,)."""
        values = self.table.column(column.name)
        known = values.is_valid().to_numpy(zero_copy_only=False)
        return pc.fill_null(values, 0).to_numpy(zero_copy_only=False), known

    def flags(self, column: f.Column, value: bool) -> np.ndarray:
        """Whether a column of true and false is `value`, shape (N,); false where missing."""
        equal = pc.equal(self.table.column(column.name), pa.scalar(value))
        return pc.fill_null(equal, False).to_numpy(zero_copy_only=False)

    def missing(self, column: f.Column) -> np.ndarray:
        """Whether a column of any type is missing, shape (N,)."""
        values = self.table.column(column.name)
        return pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False)

    def quantile(self, quantile: f.Quantile) -> np.ndarray:
        return self.posterior.quantile(quantile.name, quantile.probability)

    def probability(self, condition: f.Formula) -> np.ndarray:
        return probability(condition, self)

    @cached_property
    def posterior(self) -> ProxyPosterior:
        """The joint posterior of the proxies."""
        return read_posterior(self.table)


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

    def quantile(self, quantile: f.Quantile) -> np.ndarray:
        return self.sources.quantile(quantile)[:, None]

    def probability(self, condition: f.Formula) -> np.ndarray:
        raise TypeError("P() cannot stand inside P()")


def numbers(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """An Arrow column of numbers as float64, NaN where it is null."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def read_posterior(table: pa.Table | pa.RecordBatch) -> ProxyPosterior:
    """The posterior that the columns `proxy_quantiles` and `proxy_correlation` hold.

    Raises
    ------
    CatalogError
        If the columns do not have the widths that their proxies ask for.
    """
    names = proxy_names(table.schema)
    k = len(names)
    quantiles = _matrix(table, "proxy_quantiles", k * len(NORMAL_SCORES))
    correlation = np.empty((table.num_rows, 0))
    if k > 1:
        correlation = _matrix(table, "proxy_correlation", k * (k - 1) // 2)
    return ProxyPosterior(names, quantiles.reshape(-1, k, len(NORMAL_SCORES)), correlation)


def _matrix(table: pa.Table | pa.RecordBatch, name: str, width: int) -> np.ndarray:
    """A column of lists as float64, shape (N, width), NaN where a list is null."""
    values = table.column(name)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    matrix = np.full((len(values), width), np.nan)
    flat = values.flatten().to_numpy(zero_copy_only=False)
    known = values.is_valid().to_numpy(zero_copy_only=False)
    if flat.size != known.sum() * width:
        raise CatalogError(
            f"column '{name}' does not hold {width} numbers per source, as its proxies ask for; "
            "score the catalog again with this version of targetsel"
        )
    matrix[known] = flat.reshape(-1, width)
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
    match formula:
        case f.Compare(operator, f.Column(type="integer") as left, f.Constant(int() as right)):
            integers, known = sources.integers(left)
            return COMPARISONS[operator](integers, right) & known
        case f.Compare(operator, f.Probability(condition), f.Constant(limit)):
            assert isinstance(sources, Sources)  # there is no P inside P
            return _compared_with(limit, operator, condition, sources)
        case f.Compare(operator, left, right):
            return COMPARISONS[operator](value(left, sources), value(right, sources))
        case f.Missing(f.Column() as column, negated):
            return sources.missing(column) ^ negated
        case f.Missing(inner, negated):
            return np.isnan(value(inner, sources)) ^ negated
        case f.Flag(column, negated):
            return sources.flags(column, not negated)
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

    A condition that bounds one proxy, from one side or both, is answered exactly; any other by
    the share of joint draws for which it is true. NaN where the posterior of a proxy, or a
    measured value that is compared, is missing.
    """
    bounds = half_spaces(condition)
    if bounds is None:
        result = _share_of_draws(condition, sources)
    else:
        result = _at_most(bounds, sources)
        if len(bounds) > 1:
            result = np.minimum(result, _share_of_draws(condition, sources))
    return np.where(_lacking(condition, sources), np.nan, result)


def _compared_with(
    limit: float, operator: str, condition: f.Formula, sources: Sources
) -> np.ndarray:
    """Whether P(condition) is more, or less, than a limit, shape (N,).

    The same as asking `probability`, but draws are only made where the marginal probabilities,
    which the joint one cannot exceed, leave the answer open; usually that is one row in many.
    """
    bounds = half_spaces(condition)
    if bounds is None or len(bounds) == 1:
        return COMPARISONS[operator](probability(condition, sources), limit)
    likely = _at_most(bounds, sources)
    undecided = likely >= limit
    likely[undecided] = probability(condition, sources.take(undecided))
    return COMPARISONS[operator](likely, limit)


def half_spaces(condition: f.Formula) -> dict[str, list[tuple[str, f.Formula]]] | None:
    """The bounds on each proxy, if the condition is nothing but such bounds, joined by `and`.

    Each bound is an operator and a formula without predicted quantities.
    """
    bounds: dict[str, list[tuple[str, f.Formula]]] = {}
    for part in f.conjuncts(condition):
        if not isinstance(part, f.Compare) or part.operator in ("==", "!="):
            return None
        operator, left, right = part.operator, part.left, part.right
        if f.proxies(right):
            operator, left, right = FLIPPED[operator], right, left
        if not (isinstance(left, f.Column) and left.role == "predicted") or f.proxies(right):
            return None
        bounds.setdefault(left.name, []).append((operator, right))
    return bounds


def _at_most(bounds: dict[str, list[tuple[str, f.Formula]]], sources: Sources) -> np.ndarray:
    """The least of the probabilities that each proxy keeps its own bounds, shape (N,).

    Exact for a single proxy; for several, an upper limit of their joint probability (Frechet).
    """
    likely = np.ones(len(sources))
    for name, limits in bounds.items():
        below, above = np.ones(len(sources)), np.zeros(len(sources))
        for operator, limit in limits:
            under = sources.posterior.probability_below(name, value(limit, sources))
            if operator in ("<", "<="):
                below = np.minimum(below, under)
            else:
                above = np.maximum(above, under)
        likely = np.minimum(likely, np.maximum(below - above, 0.0))
    return likely


def _share_of_draws(condition: f.Formula, sources: Sources) -> np.ndarray:
    """The share of joint draws for which the condition is true, shape (N,)."""
    involved = f.proxies(condition)
    names = tuple(name for name in sources.posterior.names if name in involved)
    share = np.empty(len(sources))
    for start in range(0, len(sources), ROWS_OF_DRAWS):
        rows = slice(start, start + ROWS_OF_DRAWS)
        block = Sources(sources.table.slice(start, ROWS_OF_DRAWS))
        posterior = ProxyPosterior(
            sources.posterior.names,
            sources.posterior.quantiles[rows],
            sources.posterior.correlation[rows],
        )
        block.__dict__["posterior"] = posterior  # already read: fill the cached property
        true = holds(condition, DrawnSources(block, posterior.draw(names, N_DRAWS)))
        share[rows] = np.broadcast_to(true, (len(block), N_DRAWS)).mean(axis=1)
    return share


def _lacking(condition: f.Formula, sources: Sources) -> np.ndarray:
    """Whether something that P(condition) rests on is missing, shape (N,)."""
    lacking = np.zeros(len(sources), dtype=bool)
    for name in f.proxies(condition):
        knots = sources.posterior.quantiles[:, sources.posterior.names.index(name)]
        lacking |= np.isnan(knots).any(axis=1)
    for column in _compared(condition):
        if column.role != "predicted":
            lacking |= sources.missing(column)
    return lacking


def _compared(formula: f.Formula) -> set[f.Column]:
    """The columns of a condition, except those only asked whether they are missing."""
    if isinstance(formula, f.Missing):
        return set()
    if isinstance(formula, f.Column):
        return {formula}
    return {column for child in formula.children for column in _compared(child)}
