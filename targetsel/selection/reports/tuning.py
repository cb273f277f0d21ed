"""The bound that spends a fiber budget: the threshold of a class that gives N targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.errors import RuleError
from targetsel.expressions.functions import COMPARISONS
from targetsel.expressions.grammar import unwrapped
from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas, Condition
from targetsel.rules.rules import Rules
from targetsel.selection.evaluation import passing, value
from targetsel.selection.quantiles import Search
from targetsel.selection.scored_sources import scored_catalog


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
    n_tied : int
        The members that the next looser value, `next_threshold`, adds at once.
    written : str or None
        The bound as it stands in the rule file, such as "> 0.8"; None where there is none yet.
    n_written : int
        The members that the rules give as they stand.
    """

    text: str
    operator: str
    threshold: float
    n_members: int
    next_threshold: float
    n_tied: int
    written: str | None
    n_written: int


def tune(rules: Rules, name: str, n_targets: int, scored: Path) -> Tuned:
    """The bound on class `name` for which `n_targets` sources of a catalog obey its conditions.

    The bound that is moved is the one on the number that `rank` names; without such, the only
    bound on a probability; without that, a new one on `rank`. All other conditions stay, and
    ``limit`` is ignored.

    Raises
    ------
    RuleError
        If it is not clear which bound to move, or there is none.
    """
    with scored_catalog(scored, rules) as catalog:
        rank = rules[name].rank
        knob = _knob(catalog[name], "" if rank is None else unwrapped(rank))
        rest = [each.formula for each in knob.others]

        n_written = 0

        def values() -> Iterator[np.ndarray]:
            """The bounded number of all sources that obey the other conditions, larger better."""
            nonlocal n_written
            n_written = 0
            for block in catalog.file.sources((*rest, knob.formula)):
                members = block.take(passing(rest, block))
                numbers = np.broadcast_to(value(knob.formula, members), len(members))
                n_written += knob.passing(numbers)
                yield knob.sign * numbers[~np.isnan(numbers)]

        least, n_members, following, n_tied = _largest(values, n_targets)
    return Tuned(
        knob.text,
        ">=" if knob.sign > 0 else "<=",
        knob.sign * _short(least, following, _is_float32(knob.formula)),
        n_members,
        knob.sign * following,
        n_tied,
        None if knob.written is None else f"{knob.operator} {knob.written:.6g}",
        n_written,
    )


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


def _is_float32(formula: f.Formula) -> bool:
    return isinstance(formula, f.ColumnValue) and formula.type == "float32"


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

    def passing(self, values: np.ndarray) -> int:
        """Number of these values that are within the bound as it is written."""
        if self.written is None:
            return len(values)
        return int(COMPARISONS[self.operator](values, self.written).sum())


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
        return _Knob(text, bound.left, sign, bound.right.value, bound.operator, others)
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


def _largest(values: Callable[[], Iterable[np.ndarray]], n: int) -> tuple[float, int, float, int]:
    """The least value that no more than `n` values reach, and how many do; the value that follows
    downwards, and how many have it. In bounded memory.

    Parameters
    ----------
    values : callable
        Gives all values, in pieces, as often as it is called; without NaN.
    """
    search = Search(lambda total: total - n)
    while not search.done:
        for each in values():
            search.see(each)
        search.narrow()
    too_far = search.result  # NaN where no value is too many: then none is below or equal
    least, n_above, n_tied = np.inf, 0, 0
    for each in values():
        above = ~(each <= too_far)
        least = min(least, float(each[above].min(initial=np.inf)))
        n_above += int(np.count_nonzero(above))
        n_tied += int(np.count_nonzero(each == too_far))
    return least, n_above, -np.inf if np.isnan(too_far) else too_far, n_tied
