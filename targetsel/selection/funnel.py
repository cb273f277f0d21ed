"""The funnel: what every condition of a class lets through, and what it alone keeps out."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas
from targetsel.rules.rules import Rules
from targetsel.selection.candidates import classes_in
from targetsel.selection.evaluation import Filter, cost, holds
from targetsel.selection.scan import scored_file
from targetsel.selection.sources import Sources


@dataclass(frozen=True)
class FunnelRow:
    """What became of all sources at one condition.

    Attributes
    ----------
    condition : str
        As the rule file writes it, or in words; see `rules.plan` for those beside ``where``.
    cumulative : int
        Sources of which it and all conditions before it are true.
    alone : int or None
        Sources of which it is true, whatever the other conditions say. This and what follows is
        None where not every condition was asked of every source.
    missing : int or None
        Sources of which something that it looks at is missing.
    rejected_by_this_alone : int or None
        Sources of which every condition is true but this one: what would be gained without it.
    """

    condition: str
    cumulative: int
    alone: int | None = None
    missing: int | None = None
    rejected_by_this_alone: int | None = None

    @property
    def counts(self) -> tuple[int | None, ...]:
        """All four, in the order in which they are shown."""
        return self.alone, self.cumulative, self.missing, self.rejected_by_this_alone


@dataclass(frozen=True)
class Funnel:
    """The funnel of one class, condition by condition in the order of `rules.plan`."""

    name: str
    n_sources: int
    rows: tuple[FunnelRow, ...]

    @property
    def n_passed(self) -> int:
        """Sources of which every condition is true: before dedup and limit."""
        return self.rows[-1].cumulative


class FunnelCounts:
    """A funnel in the making: it judges sources piece by piece, and keeps counts only.

    Parameters
    ----------
    target_class : ClassFormulas
    whole : bool
        Ask every condition of every source. Without it, a source is let go at the first condition
        that it does not obey, and only the cumulative counts are known.
    """

    def __init__(self, target_class: ClassFormulas, whole: bool = False) -> None:
        self.name, self.conditions = target_class.name, target_class.conditions
        self.whole = whole
        formulas = [each.formula for each in self.conditions]
        self._parts = [sorted(f.conjuncts(each), key=cost) for each in formulas]
        self._looked_at = [looked_at(each) for each in formulas]
        self._counts = np.zeros((4, len(formulas)), dtype=np.int64)
        self._one_at_a_time = threading.Lock()

    def judged(self, sources: Sources) -> np.ndarray:
        """Count these sources; which of them obey every condition, shape (N,)."""
        counts = np.zeros_like(self._counts)
        obey = self._in_whole(sources, counts) if self.whole else self._in_turn(sources, counts)
        with self._one_at_a_time:
            self._counts += counts
        return obey

    def _in_turn(self, sources: Sources, counts: np.ndarray) -> np.ndarray:
        left = Filter(sources)
        for c, parts in enumerate(self._parts):
            for part in parts:
                left.keep(part)
            counts[0, c] = len(left)
        obey = np.zeros(len(sources), dtype=bool)
        obey[left.rows] = True
        return obey

    def _in_whole(self, sources: Sources, counts: np.ndarray) -> np.ndarray:
        n = len(sources)
        true = [np.broadcast_to(holds(each.formula, sources), n) for each in self.conditions]
        before = [np.ones(n, dtype=bool)]  # which obey all conditions before each, and after each
        for each in true:
            before.append(before[-1] & each)
        after = before[0]
        for c in reversed(range(len(true))):
            missing = _any_missing(self._looked_at[c], sources)
            others = before[c] & after & ~true[c]
            for row, mask in enumerate((before[c + 1], true[c], missing, others)):
                counts[row, c] = np.count_nonzero(mask)
            after = after & true[c]
        return before[-1]

    def result(self, n_sources: int) -> Funnel:
        """The funnel of all sources judged, and of those known to obey no first condition."""
        known = self._counts if self.whole else self._counts[:1]
        rows = tuple(
            FunnelRow(each.text, *(int(n) for n in counts))
            for each, counts in zip(self.conditions, known.T, strict=True)
        )
        return Funnel(self.name, n_sources, rows)


def funnel(rules: Rules, scored: Path) -> tuple[Funnel, ...]:
    """The funnels of all classes over a scored file."""
    with scored_file(scored) as file:
        classes = classes_in(file, rules).values()
        counts = [FunnelCounts(each, whole=True) for each in classes]
        for block in file.sources(part for each in classes for part in each.where):
            for each in counts:
                each.judged(block)
        return tuple(each.result(len(file)) for each in counts)


def unknown(condition: f.Formula, sources: Sources) -> np.ndarray:
    """Whether something that a condition looks at is missing, shape (N,)."""
    return _any_missing(looked_at(condition), sources)


def _any_missing(columns: set[f.Column], sources: Sources) -> np.ndarray:
    masks = [sources.missing(column) for column in columns]
    return np.logical_or.reduce(masks) if masks else np.zeros(len(sources), dtype=bool)


def looked_at(formula: f.Formula) -> set[f.Column]:
    """The columns whose absence leaves a formula unknown.

    Not those that it only asks whether they are missing, and none of an ``unless``, which holds
    of what is unknown. A posterior is there exactly where its proxy is.
    """
    if isinstance(formula, f.Missing | f.Except):
        return set()
    if isinstance(formula, f.Column):
        return {formula}
    if isinstance(formula, f.Quantile):
        return {f.Column(formula.name, "predicted")}
    return {column for child in formula.children for column in looked_at(child)}
