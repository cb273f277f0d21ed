"""Formulas: expressions whose names, units and types are known, as numbers and conditions.

A formula is free of surprises: defined names are written out, units are folded into constants,
chains and `between` are taken apart, and `not` has been pushed down into the comparisons. A
comparison with a missing value is never true, and a row is chosen only by what is true; because
no `not` is left above a comparison, plain true and false are then all that is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Protocol

import numpy as np

from targetsel.documents.units import steps, times
from targetsel.expressions.functions import NEGATED
from targetsel.expressions.units import Unit


@dataclass(frozen=True)
class Formula:
    """A number or a condition.

    Formulas share parts: a class left out by ``unless`` is a part of every class that names it.
    So a hash is calculated once, and `walk` comes by every part once; else a file of a few dozen
    classes would take for ever.
    """

    def __init_subclass__(cls) -> None:
        cls.__hash__ = Formula._known_hash  # type: ignore[assignment]

    def _known_hash(self) -> int:
        if "_hash" not in self.__dict__:
            values = tuple(getattr(self, each.name) for each in fields(self) if each.compare)
            self.__dict__["_hash"] = hash((type(self), values))
        return self.__dict__["_hash"]

    def __getstate__(self) -> dict[str, object]:
        # Hashes of text differ between processes.
        return {name: value for name, value in self.__dict__.items() if name != "_hash"}

    @property
    def children(self) -> tuple[Formula, ...]:
        """The formulas directly below this one."""
        found: list[Formula] = []
        for each in fields(self):
            part = getattr(self, each.name)
            if isinstance(part, Formula):
                found.append(part)
            elif isinstance(part, tuple):
                found += [inner for inner in part if isinstance(inner, Formula)]
        return tuple(found)


@dataclass(frozen=True)
class Constant(Formula):
    value: int | float


ZERO = Constant(0)


@dataclass(frozen=True)
class ColumnValue(Formula):
    """A column; `role` is "measured", "predicted", "followed" or "statistic".

    A *predicted* column is a proxy with a posterior; a *followed* one follows from proxies, draw by
    draw within P (``snr_halpha``); a *statistic* (``ew_halpha_std``) describes such a posterior.
    `type` is "float32", "float64", "integer", "condition", "text" or "other".
    """

    name: str
    role: str = "measured"
    type: str = "float64"

    @property
    def is_drawn(self) -> bool:
        """Whether it has draws within P, and not one value."""
        return self.role in ("predicted", "followed")


@dataclass(frozen=True)
class Operation(Formula):
    name: str
    values: tuple[Formula, ...]


@dataclass(frozen=True)
class Quantile(Formula):
    """A quantile of a proxy's posterior."""

    name: str
    probability: float


@dataclass(frozen=True)
class CatalogQuantile(Formula):
    """The smallest value that a share `probability` of the catalog's sources does not exceed.

    One number for the whole catalog; it becomes a `Constant` before any source is evaluated.
    """

    value: Formula
    probability: float


class Calculation(Protocol):
    """Something outside the catalog that gives each source a number by a few of its columns."""

    @property
    def written(self) -> str:
        """It in the words of the rule language."""

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest number that it gives."""

    @property
    def is_flag(self) -> bool:
        """Whether it is 1 and 0 for true and false, and stands as a condition of its own."""

    @property
    def cautions(self) -> tuple[str, ...]:
        """What to be careful about."""

    @property
    def values(self) -> Callable[..., np.ndarray]:
        """The number of each of N sources, NaN where it is missing, from columns, shape (N,)."""


@dataclass(frozen=True)
class Calculated(Formula):
    """A number that a `Calculation` gives each source."""

    calculation: Calculation
    of: tuple[ColumnValue, ...]


@dataclass(frozen=True)
class Probability(Formula):
    """The share of the posterior that obeys a condition."""

    condition: Formula


@dataclass(frozen=True)
class Compare(Formula):
    operator: str
    left: Formula
    right: Formula


@dataclass(frozen=True)
class Missing(Formula):
    """Whether a value is missing; with `negated`, whether it is there."""

    value: Formula
    negated: bool = False


@dataclass(frozen=True)
class Flag(Formula):
    """Whether a column of true and false is true; with `negated`, whether it is false."""

    column: ColumnValue
    negated: bool = False


@dataclass(frozen=True)
class TextIn(Formula):
    """Whether a column of text is one of these texts; with `negated`, whether it is another."""

    column: ColumnValue
    texts: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True)
class SameText(Formula):
    """Whether two columns hold the same text; with `negated`, whether they hold different texts."""

    left: ColumnValue
    right: ColumnValue
    negated: bool = False


@dataclass(frozen=True)
class HasBit(Formula):
    """Whether a column of integers has any of these bits set; with `negated`, whether none."""

    column: ColumnValue
    bits: int
    negated: bool = False


class Finder(Protocol):
    """Something outside the catalog that knows sources by a few of their columns."""

    @property
    def found(self) -> Callable[..., np.ndarray]:
        """Whether each of N sources is found, from columns of shape (N,)."""


@dataclass(frozen=True)
class Lookup(Formula):
    """Whether a `Finder` finds a source (a region, a list); with `negated`, whether it does not.

    The columns are never missing: positions and ids.
    """

    finder: Finder
    of: tuple[ColumnValue, ...]
    negated: bool = False


@dataclass(frozen=True)
class Except(Formula):
    """Whether a condition is not true: where it is false, and where it is unknown."""

    condition: Formula


@dataclass(frozen=True)
class All(Formula):
    parts: tuple[Formula, ...]


@dataclass(frozen=True)
class Any(Formula):
    parts: tuple[Formula, ...]


@dataclass(frozen=True)
class TypedExpression:
    """A formula with its type.

    Attributes
    ----------
    formula : Formula
    kind : str
        "number", "probability", "condition" or "text"; "undeclared" for a column that may be a
        number, true or false, or text.
    unit : Unit or None
        None for a pure number and for a column that declares no unit.
    """

    formula: Formula
    kind: str = "number"
    unit: Unit | None = None

    @property
    def constant(self) -> int | float | None:
        """The value, if it is the same for every source; else None."""
        return self.formula.value if isinstance(self.formula, Constant) else None


def scaled(formula: Formula, factor: Fraction) -> Formula:
    """The formula times a number."""
    if factor == 1:
        return formula
    if isinstance(formula, Constant):
        return Constant(times(formula.value, factor))
    for sign, number in steps(factor):
        formula = Operation(sign, (formula, Constant(number)))
    return formula


def negated(condition: Formula) -> Formula:
    """The condition that is true exactly where this one is false; unknown stays unknown."""
    match condition:
        case Compare(operator, left, right):
            return Compare(NEGATED[operator], left, right)
        case Missing(value, is_negated):
            return Missing(value, not is_negated)
        case Flag(column, is_negated):
            return Flag(column, not is_negated)
        case TextIn() | SameText() | HasBit() | Lookup():
            return replace(condition, negated=not condition.negated)
        case All(parts):
            return Any(tuple(negated(part) for part in parts))
        case Any(parts):
            return All(tuple(negated(part) for part in parts))
    raise TypeError(f"not a condition: {condition}")


def walk(formula: Formula) -> Iterator[Formula]:
    """The formula and all formulas below it, each once."""
    waiting, seen = [formula], set()
    while waiting:
        part = waiting.pop()
        if id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting += reversed(part.children)


def columns(formula: Formula) -> set[ColumnValue]:
    """All columns below a formula, except those that a `Quantile` names."""
    return {part for part in walk(formula) if isinstance(part, ColumnValue)}


def proxies(formula: Formula) -> set[str]:
    """Names of the predicted quantities in the formula, and of those that follow from them."""
    return {column.name for column in columns(formula) if column.is_drawn}


def conjuncts(condition: Formula) -> list[Formula]:
    """The conditions that must all hold for this one to hold."""
    if isinstance(condition, All):
        return [part for each in condition.parts for part in conjuncts(each)]
    return [condition]


def with_values(formula: Formula, values: Mapping[Formula, float]) -> Formula:
    """The formula with these parts of it, such as quantiles of the catalog, replaced by numbers."""
    done: dict[Formula, Formula] = {part: Constant(value) for part, value in values.items()}

    def replaced(part: Formula) -> Formula:
        if part not in done:
            changed: dict[str, Formula | tuple[Formula, ...]] = {}
            for each in fields(part):
                inner = getattr(part, each.name)
                if isinstance(inner, Formula):
                    changed[each.name] = replaced(inner)
                elif isinstance(inner, tuple) and inner and isinstance(inner[0], Formula):
                    changed[each.name] = tuple(replaced(item) for item in inner)
            done[part] = replace(part, **changed) if changed else part
        return done[part]

    return replaced(formula) if values else formula


# --- claims of a class about its members ---------------------------------------------------------


def truth(where: tuple[Formula, ...]) -> Formula | None:
    """The claim of a class about the true, measured proxies of its members; None without one.

    The conditions of `where` must all hold; of each, this is kept:

    - ``P(c) >= p`` claims `c`, and ``P(c) <= p`` claims its contrary. A probability bounded from
      both sides (``0.2 < P(c) < 0.8``: undecided) claims nothing, nor does any other use of P.
    - a comparison with a proxy outside P claims itself;
    - comparisons with widths and quantiles of the posterior describe our knowledge, not the
      source, and claim nothing; nor does a condition without any predicted quantity;
    - an ``or`` with a claim in it claims that one of its claims holds, or one of its other
      conditions, which are then taken as they stand.
    """
    flat = [part for condition in where for part in conjuncts(condition)]
    return _joined(_claims(flat))


def _joined(claims: list[Formula]) -> Formula | None:
    distinct = list(dict.fromkeys(part for claim in claims for part in conjuncts(claim)))
    if not distinct:
        return None
    return distinct[0] if len(distinct) == 1 else All(tuple(distinct))


def _claims(parts: list[Formula]) -> list[Formula]:
    claims = [(part, claim) for part in parts if (claim := _claim(part)) is not None]
    said = {claim for _, claim in claims}
    return [claim for part, claim in claims if not (_bounds_p(part) and negated(claim) in said)]


def _bounds_p(part: Formula) -> bool:
    return isinstance(part, Compare) and isinstance(part.left, Probability)


def _claim(part: Formula) -> Formula | None:
    match part:
        case Compare(operator, Probability(condition), bound):
            if _speaks_of_posterior(bound) or proxies(bound) or operator in ("==", "!="):
                return None
            return condition if operator in (">", ">=") else negated(condition)
        case Compare():
            return part if proxies(part) and not _speaks_of_posterior(part) else None
        case All(parts):
            return _joined(_claims(list(parts)))
        case Any(parts):
            claims = [_claim(each) for each in parts]
            if all(claim is None for claim in claims):
                return None
            pairs = zip(parts, claims, strict=True)
            return Any(tuple(each if claim is None else claim for each, claim in pairs))
    return None


def _speaks_of_posterior(formula: Formula) -> bool:
    """Whether P, std or q, or a column of such a statistic, takes part."""
    return any(
        isinstance(part, Probability | Quantile)
        or (isinstance(part, ColumnValue) and part.role == "statistic")
        for part in walk(formula)
    )
