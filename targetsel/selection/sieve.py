"""Sources from which condition after condition takes some away."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from targetsel.rules import formula as f
from targetsel.selection.evaluation import Sources, holds
from targetsel.selection.steps import cost

FEW = 8  # when fewer than one in so many are left, they are picked out


class Sieve:
    """The sources that are left of some.

    A condition is only asked of those that are left; but simple comparisons are quicker for all
    rows than picking some out, until few are left.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._rows: np.ndarray | None = None  # of the sources we began with
        self._left = np.ones(len(sources), dtype=bool)
        self._n = len(sources)

    def __len__(self) -> int:
        return self._n

    def keep(self, condition: f.Formula) -> None:
        """Let go of all of which this is not true."""
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


def obeyed(conditions: Iterable[f.Formula], sources: Sources) -> np.ndarray:
    """Indices of the sources of which every condition is true, in increasing order."""
    sieve = Sieve(sources)
    for condition in sorted(conditions, key=cost):
        sieve.keep(condition)
    return sieve.rows
