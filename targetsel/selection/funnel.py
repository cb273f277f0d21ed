"""The funnel: what every condition of a class lets through, and what it alone keeps out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.selection import formula as f
from targetsel.selection.candidates import classes_in
from targetsel.selection.evaluation import Sources, holds
from targetsel.selection.rules import Rules
from targetsel.selection.scan import scored_file
from targetsel.selection.steps import Condition


@dataclass(frozen=True)
class FunnelRow:
    """What became of all sources at one condition.

    Attributes
    ----------
    condition : str
        As the rule file writes it, or in words; see `steps` for those beside ``where``.
    alone : int
        Sources of which it is true, whatever the other conditions say.
    cumulative : int
        Sources of which it and all conditions before it are true.
    missing : int
        Sources of which something that it looks at is missing.
    rejected_by_this_alone : int
        Sources of which every condition is true but this one: what would be gained without it.
    """

    condition: str
    alone: int
    cumulative: int
    missing: int
    rejected_by_this_alone: int

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """All four."""
        return self.alone, self.cumulative, self.missing, self.rejected_by_this_alone


@dataclass(frozen=True)
class Funnel:
    """The funnel of one class, condition by condition in the order of `steps`."""

    name: str
    n_sources: int
    rows: tuple[FunnelRow, ...]

    @property
    def n_passed(self) -> int:
        """Sources of which every condition is true: before dedup and limit."""
        return self.rows[-1].cumulative


class FunnelCounts:
    """A funnel in the making: it sees sources piece by piece, and keeps counts only."""

    def __init__(self, name: str, conditions: tuple[Condition, ...]) -> None:
        self.name = name
        self.conditions = conditions
        self._n_sources = 0
        self._counts = np.zeros((4, len(conditions)), dtype=np.int64)

    def see(self, sources: Sources) -> None:
        """Ask every condition of every one of these sources."""
        so_far = np.ones(len(sources), dtype=bool)
        n_failed, sum_failed = np.zeros((2, len(sources)), dtype=np.uint16)  # and their numbers
        for c, each in enumerate(self.conditions):
            true = np.broadcast_to(holds(each.formula, sources), len(sources))
            so_far &= true
            n_failed += ~true
            sum_failed += np.multiply(~true, c, dtype=np.uint16)
            self._counts[0, c] += np.count_nonzero(true)
            self._counts[1, c] += np.count_nonzero(so_far)
            self._counts[2, c] += np.count_nonzero(unknown(each.formula, sources))
        self._counts[3] += np.bincount(sum_failed[n_failed == 1], minlength=len(self.conditions))
        self._n_sources += len(sources)

    def result(self) -> Funnel:
        """The funnel of all sources seen."""
        rows = tuple(
            FunnelRow(each.text, *(int(n) for n in counts))
            for each, counts in zip(self.conditions, self._counts.T, strict=True)
        )
        return Funnel(self.name, self._n_sources, rows)


def funnel(rules: Rules, scored: Path) -> tuple[Funnel, ...]:
    """The funnels of all classes over a scored file."""
    with scored_file(scored) as file:
        classes = classes_in(file, rules).values()
        counts = [FunnelCounts(each.name, each.conditions) for each in classes]
        for block in file.sources(part for each in classes for part in each.where):
            for each in counts:
                each.see(block)
    return tuple(each.result() for each in counts)


def unknown(condition: f.Formula, sources: Sources) -> np.ndarray:
    """Whether something that a condition looks at is missing, shape (N,)."""
    lost = np.zeros(len(sources), dtype=bool)
    for column in looked_at(condition):
        lost |= sources.missing(column)
    return lost


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
