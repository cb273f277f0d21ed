"""Conditions that can never be true, that always are, or that others make needless.

Columns declare the range of their values (`tables.columns.Column.range`). What arithmetic makes of
it is bounded as in P(), and conditions that must all hold are compared with one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from targetsel.documents.source_location import SourceLocation
from targetsel.expressions.functions import apply_to_intervals
from targetsel.rules import formula as f
from targetsel.tables.columns import ANYTHING

Range = tuple[float, float]
Placed = tuple[SourceLocation, str]  # a place, and a remark about it


def bounds_of(formula: f.Formula, range_of: Callable[[str], Range]) -> Range:
    """The least and the largest value that a number can have.

    Parameters
    ----------
    formula : Formula
    range_of : callable
        Gives the range of a column, by its name.
    """
    match formula:
        case f.Constant(number):
            return float(number), float(number)
        case f.Probability():
            return 0.0, 1.0
        case f.ColumnValue(name) | f.Quantile(name):
            return range_of(name)
        case f.Calculated(calculation):
            return calculation.range
        case f.CatalogQuantile(inner):
            return bounds_of(inner, range_of)
        case f.Operation(name, parts):
            sides = [bounds_of(each, range_of) for each in parts]
            arrays = [(np.asarray(low), np.asarray(high)) for low, high in sides]
            low, high = (float(end) for end in apply_to_intervals(name, *arrays))
            return ANYTHING if math.isnan(low) else (low, high)
    return ANYTHING


def settled(condition: f.Formula, range_of: Callable[[str], Range]) -> str:
    """The remark on a comparison with a constant that has one outcome only; else empty."""
    match condition:
        case f.Compare(operator, left, f.Constant(limit)):
            low, high = bounds_of(left, range_of)
        case _:
            return ""
    name = subject(left)
    is_ = f"{name} is {in_words(low, high)}"
    match operator:
        case "<":
            always, never = high < limit, low >= limit
        case "<=":
            always, never = high <= limit, low > limit
        case ">":
            always, never = low > limit, high <= limit
        case ">=":
            always, never = low >= limit, high < limit
        case _:
            outside = not low <= limit <= high
            always, never = outside and operator == "!=", outside and operator == "=="
    if never:
        return f"can never be true: {is_}"
    return f"is true wherever {name} is known: {is_.replace(name, 'it', 1)}" if always else ""


def in_words(low: float, high: float) -> str:
    """A range as a text, such as "0 to 1" or "0 or more"."""
    if math.isinf(high):
        return f"{low:g} or more"
    return f"{high:g} or less" if math.isinf(low) else f"{low:g} to {high:g}"


def subject(formula: f.Formula) -> str:
    """A short name of the quantity that is compared."""
    if isinstance(formula, f.ColumnValue):
        return formula.name
    if isinstance(formula, f.Calculated):
        return formula.calculation.written
    return "a probability" if isinstance(formula, f.Probability) else "what it compares"


# --- conditions that must all hold --------------------------------------------------------------


@dataclass(frozen=True)
class _Bound:
    """A bound on a number: its value, whether values must be beyond it, and where it is written."""

    value: float
    strict: bool
    place: SourceLocation


@dataclass
class _Left:
    """The values that conditions leave a number, a text or a flag; `allowed` None for all."""

    low: _Bound = _Bound(-math.inf, False, SourceLocation())
    high: _Bound = _Bound(math.inf, False, SourceLocation())
    allowed: set[object] | None = None
    excluded: set[object] = field(default_factory=set)

    def bound(self, operator: str, value: float, place: SourceLocation) -> Placed | None:
        """Take a bound into account; the remark on it, or on the one that it makes needless."""
        new = _Bound(value, len(operator) == 1, place)
        old = self.low if operator[0] == ">" else self.high
        sign = 1 if operator[0] == ">" else -1
        is_tighter = (sign * new.value, new.strict) > (sign * old.value, old.strict)
        if is_tighter and operator[0] == ">":
            self.low = new
        elif is_tighter:
            self.high = new
        if math.isinf(old.value):
            return None
        loose, tight = (old, new) if is_tighter else (new, old)
        line = tight.place.line
        if (old.value, old.strict) == (new.value, new.strict):
            return place, f"says the same as line {line}" if line != place.line else "is said twice"
        asks = f"{operator[0]}{'' if tight.strict else '='} {tight.value:g}"
        where = f" in line {line}" if line != loose.place.line else ""
        return loose.place, f"has no effect beside {asks}{where}"

    def allow(self, values: set[object]) -> None:
        self.allowed = values if self.allowed is None else self.allowed & values

    @property
    def contradiction(self) -> str:
        """Why no value is left; empty where one may be."""
        low, high = self.low, self.high
        if low.value > high.value or (low.value == high.value and (low.strict or high.strict)):
            below = f"<{'' if high.strict else '='} {high.value:g}"
            return f"has no value both {below} and >{'' if low.strict else '='} {low.value:g}"
        if self.allowed is not None and not any(map(self._holds, self.allowed)):
            return "has no value that all these conditions allow"
        return ""

    def _holds(self, value: object) -> bool:
        if value in self.excluded:
            return False
        if not isinstance(value, int | float):
            return True
        low, high = self.low, self.high
        above = value > low.value or (value == low.value and not low.strict)
        return above and (value < high.value or (value == high.value and not high.strict))


def remarks_on_all(parts: Iterable[tuple[SourceLocation, f.Formula]]) -> Iterator[Placed]:
    """Remarks on conditions that must all hold, of which some exclude or repeat others."""
    left: dict[f.Formula, _Left] = {}
    missing: set[f.Formula] = set()
    done: set[f.Formula] = set()
    for place, part in parts:
        about, remark = _taken(part, place, left)
        if isinstance(part, f.Missing) and not part.negated:
            about = part.value
            missing.add(_untyped(about))
        if about is None or (about := _untyped(about)) in done:
            continue
        why = left[about].contradiction if about in left else ""
        if about in missing and about in left:
            why = "is missing, or has a value"
        if why:
            done.add(about)
            remark = place, contradiction(subject(about), why)
        if remark is not None:
            yield remark


def contradiction(name: str, why: str) -> str:
    """The remark on conditions of which no source obeys all."""
    return f"can never be true ({name} {why})"


def _taken(
    part: f.Formula, place: SourceLocation, left: dict[f.Formula, _Left]
) -> tuple[f.Formula | None, Placed | None]:
    """Take a condition into account: what it is about, and the remark on it."""
    remark = None
    match part:
        case f.Compare(operator, about, f.Constant(value)) if operator[0] in "<>":
            remark = left.setdefault(_untyped(about), _Left()).bound(operator, value, place)
        case f.Compare("==", about, f.Constant(value)):
            left.setdefault(_untyped(about), _Left()).allow({value})
        case f.Compare("!=", about, f.Constant(value)):
            left.setdefault(_untyped(about), _Left()).excluded.add(value)
        case f.Any(options) if (found := _options(options)) is not None:
            about = found[0]
            left.setdefault(_untyped(about), _Left()).allow(found[1])
        case f.TextIn(about, texts, False):
            left.setdefault(_untyped(about), _Left()).allow({*texts})
        case f.TextIn(about, texts, True):
            left.setdefault(_untyped(about), _Left()).excluded |= {*texts}
        case f.Flag(about, negated):
            left.setdefault(_untyped(about), _Left()).allow({not negated})
        case _:
            return None, None
    return about, remark


def _untyped(formula: f.Formula) -> f.Formula:
    """A column without its type, which without a catalog may be known later than the column."""
    return replace(formula, type="") if isinstance(formula, f.ColumnValue) else formula


def _options(parts: tuple[f.Formula, ...]) -> tuple[f.Formula, set[object]] | None:
    """The left side of `in`, and the values that it lists."""
    found: set[object] = set()
    about: set[f.Formula] = set()
    for part in parts:
        match part:
            case f.Compare("==", left, f.Constant(value)):
                about.add(left)
                found.add(value)
            case _:
                return None
    return (about.pop(), found) if len(about) == 1 else None
