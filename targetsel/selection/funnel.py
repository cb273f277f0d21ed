"""Funnels: the sources that pass each condition of a class, and those that it alone rejects."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from targetsel.documents.text_table import number, text_table
from targetsel.errors import counted
from targetsel.rules import formula as f
from targetsel.rules.catalog_part import CatalogPart
from targetsel.rules.plan import ClassFormulas, Condition
from targetsel.scored.known_columns import REDSHIFT
from targetsel.selection.evaluation import Filter, cost, holds
from targetsel.selection.sources import Sources


@dataclass(frozen=True)
class FunnelRow:
    """The counts of all sources at one condition.

    Attributes
    ----------
    condition : str
        As the rule file writes it, or in words; see `rules.plan` for those beside ``where``.
    cumulative : int
        Sources for which it and all conditions before it are true.
    alone : int or None
        Sources for which it is true, whatever the other conditions say. This and the following
        are None where not every condition was evaluated on every source.
    missing : int or None
        Sources that lack something that it depends on.
    rejected_by_this_alone : int or None
        Sources for which every other condition is true but not this one: the gain without it.
    """

    condition: str
    cumulative: int
    alone: int | None = None
    missing: int | None = None
    rejected_by_this_alone: int | None = None

    @property
    def counts(self) -> tuple[int | None, ...]:
        """Alone, cumulative, missing, and rejected by this alone."""
        return self.alone, self.cumulative, self.missing, self.rejected_by_this_alone


@dataclass(frozen=True)
class Funnel:
    """The funnel of one class.

    Attributes
    ----------
    name : str
    n_sources : int
    rows : tuple of FunnelRow
        One for each condition: those on the catalog alone come first, then those that predictions
        take part in, each in the order of `rules.plan`.
    n_not_needed : int
        Sources that are not among those, since `score` was given rules and no class of them could
        choose these by their catalog alone.
    """

    name: str
    n_sources: int
    rows: tuple[FunnelRow, ...]
    n_not_needed: int = 0

    @property
    def n_passed(self) -> int:
        """Sources for which every condition is true, before dedup and limit."""
        return self.rows[-1].cumulative

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row for each condition."""
        return [{"class": self.name, **asdict(row)} for row in self.rows]

    def __repr__(self) -> str:
        headings = ("passes alone", "cumulatively", "missing", "only this rejects")
        rows = [(f"  {row.condition}", *(number(n, ",") for n in row.counts)) for row in self.rows]
        lines = text_table(("  condition", *headings), rows)
        passed = f"{self.n_passed:,} of {counted(self.n_sources, 'source')}"
        if self.n_not_needed:
            passed += f"; {self.n_not_needed:,} more were not needed when the catalog was scored"
        return "\n".join((f"{self.name}: {passed}", *lines))


class ConditionCounter:
    """Evaluates the conditions of a class on sources, piece by piece, and counts them.

    Parameters
    ----------
    target_class : ClassFormulas
    part : CatalogPart
        Says which conditions the catalog decides alone.
    whole : bool
        Evaluate every condition on every source. Otherwise a source is dropped at the first
        condition that is not true, and only the cumulative counts are known.
    with_redshifts : bool
        Keep `known_redshifts`; the sources then have that column.

    Attributes
    ----------
    known_redshifts : list of ndarray
        Of the sources that pass all conditions before `not known` and are known, in pieces; NaN
        where a redshift is not known.
    """

    def __init__(
        self,
        target_class: ClassFormulas,
        part: CatalogPart,
        whole: bool = False,
        with_redshifts: bool = False,
    ) -> None:
        self.name, self.conditions = target_class.name, part.in_order(target_class.conditions)
        self.whole = whole
        formulas = [each.formula for each in self.conditions]
        self._parts = [sorted(f.conjuncts(each), key=cost) for each in formulas]
        self._counts = np.zeros((4, len(formulas)), dtype=np.int64)
        self._at_known = next(
            (
                c
                for c, each in enumerate(self.conditions)
                if each.step == "known" and with_redshifts
            ),
            None,
        )
        self.known_redshifts: list[np.ndarray] = []
        self._one_at_a_time = threading.Lock()

    def passing(self, sources: Sources) -> np.ndarray:
        """Count these sources; returns whether every condition is true for each, shape (N,)."""
        counts = np.zeros_like(self._counts)
        passing = self._in_whole(sources, counts) if self.whole else self._in_turn(sources, counts)
        with self._one_at_a_time:
            self._counts += counts
        return passing

    def _in_turn(self, sources: Sources, counts: np.ndarray) -> np.ndarray:
        left = Filter(sources)
        for c, parts in enumerate(self._parts):
            before = left.rows if c == self._at_known else None
            for part in parts:
                left.keep(part)
            counts[0, c] = len(left)
            if before is not None:
                self._note_known(sources, np.setdiff1d(before, left.rows))
        passing = np.zeros(len(sources), dtype=bool)
        passing[left.rows] = True
        return passing

    def _in_whole(self, sources: Sources, counts: np.ndarray) -> np.ndarray:
        everyone = np.ones(len(sources), dtype=bool)
        true = [holds(each.formula, sources) for each in self.conditions]
        # Passing all conditions before each, and after each.
        before = list(itertools.accumulate(true, np.logical_and, initial=everyone))
        if (k := self._at_known) is not None:
            self._note_known(sources, np.flatnonzero(before[k] & ~true[k]))
        after = everyone
        for c, each in reversed([*enumerate(self.conditions)]):
            others = (before[c] & after) > true[c]
            missing = unknown(each.formula, sources)
            for row, mask in enumerate((before[c + 1], true[c] & everyone, missing, others)):
                counts[row, c] = np.count_nonzero(mask)
            after = after & true[c]
        return before[-1]

    def _note_known(self, sources: Sources, rows: np.ndarray) -> None:
        if len(rows):
            found = sources.take(rows).column(f.ColumnValue(REDSHIFT.name, "measured"))
            with self._one_at_a_time:
                self.known_redshifts.append(found)

    def left_out(self, n_sources: int) -> dict[Condition, int]:
        """The sources that each condition rejects of those that pass all conditions before it."""
        passing = [n_sources, *self._counts[0].tolist()]
        return dict(zip(self.conditions, (-np.diff(passing)).tolist(), strict=True))

    def result(self, n_sources: int, n_not_needed: int = 0) -> Funnel:
        """The funnel of a catalog of `n_sources`, of which those not counted pass no condition."""
        known = self._counts if self.whole else self._counts[:1]
        rows = tuple(
            FunnelRow(each.text, *(int(n) for n in counts))
            for each, counts in zip(self.conditions, known.T, strict=True)
        )
        return Funnel(self.name, n_sources, rows, n_not_needed)


def unknown(condition: f.Formula, sources: Sources) -> np.ndarray:
    """Whether something that a condition depends on is missing, shape (N,)."""
    masks = (sources.missing(column) for column in _needed(condition))
    first = next(masks, None)
    if first is None:
        return np.zeros(len(sources), dtype=bool)
    return reduce(np.logical_or, masks, first)


@lru_cache(maxsize=4096)
def _needed(formula: f.Formula) -> frozenset[f.ColumnValue]:
    """The columns whose absence leaves a formula unknown.

    Not those that `is missing` asks for, and none of an ``unless``, which holds for what is
    unknown. A posterior is there exactly where its proxy is.
    """
    if isinstance(formula, f.Missing | f.Except):
        return frozenset()
    if isinstance(formula, f.ColumnValue):
        return frozenset({formula})
    if isinstance(formula, f.Quantile):
        return frozenset({f.ColumnValue(formula.name, "predicted")})
    return frozenset(column for child in formula.children for column in _needed(child))
