"""A few cuts that keep a given number of sources, and of those the most that are wanted.

One cut after another is added. Each new one is tried at quantiles of every quantity, and beside it
the last cut, which closes the list at its length, is found anew; then all are tried again with
the others in place. This is the peeling of Friedman & Fisher (1999, Statistics and Computing 9,
123), with the length of the list held fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVELS = np.linspace(0.02, 0.98, 25)  # quantiles at which thresholds are tried
LEAST_GAIN = 0.002  # of the share of wanted sources: a cut that gives less is not worth its line
ROUNDS = 3  # in which every cut is tried again


@dataclass(frozen=True)
class PlainCut:
    """One comparison: the number of a quantity, whether sources above are kept, and where."""

    quantity: int
    above: bool
    threshold: float

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Which sources it keeps, of quantities of shape (K, N); none where a value is missing."""
        column = values[self.quantity]
        with np.errstate(invalid="ignore"):
            found: np.ndarray = column > self.threshold if self.above else column < self.threshold
        return found


def kept_by(cuts: Sequence[PlainCut], values: np.ndarray) -> np.ndarray:
    """Which of N sources all cuts keep, shape (N,)."""
    kept = np.ones(values.shape[1], dtype=bool)
    for each in cuts:
        kept &= each.holds(values)
    return kept


def best_cuts(
    values: np.ndarray, wanted: np.ndarray, n_kept: int, most: int, digits: int = 2
) -> list[PlainCut]:
    """At most so many cuts that keep so many sources, and as many wanted ones as may be.

    Parameters
    ----------
    values : ndarray, shape (K, N)
        Quantities; NaN where missing.
    wanted : ndarray, shape (N,)
        How much each source is wanted.
    n_kept : int
        Sources to keep; as near to it as `digits` and ties allow.
    most : int
        The most cuts.
    digits : int
        Decimals of the thresholds; the closing cut has two more.

    Returns
    -------
    list of PlainCut
        The closing cut is the last.
    """
    search = _CutSearch(values, wanted, n_kept, digits)
    cuts: list[PlainCut] = []
    gained, closing = search.closed(cuts)
    while closing is not None and len(cuts) + 1 < most:
        found, more, last = search.with_one_more(cuts)
        if last is None or found <= gained + LEAST_GAIN:
            break
        cuts, gained, closing = more, found, last
        for _ in range(ROUNDS):
            again, better, last = search.tried_again(cuts)
            if last is None or again <= gained + 1e-9:
                break
            cuts, gained, closing = better, again, last
    return [] if closing is None else _without_idle([*cuts, closing], values)


def _without_idle(cuts: list[PlainCut], values: np.ndarray) -> list[PlainCut]:
    """The cuts without those that remove no source that the others keep."""
    kept = kept_by(cuts, values)
    for each in cuts[:-1]:
        others = [cut for cut in cuts if cut is not each]
        if (kept_by(others, values) == kept).all():
            cuts = others
    return cuts


class _CutSearch:
    """Cuts tried on the same sources."""

    def __init__(self, values: np.ndarray, wanted: np.ndarray, n_kept: int, digits: int) -> None:
        self.values, self.wanted, self.n_kept, self.digits = values, wanted, n_kept, digits
        self._orders = []
        for k, column in enumerate(values):
            order = np.argsort(column, kind="stable")  # missing ones come last
            order = order[: int(np.isfinite(column).sum())]
            self._orders += [(k, False, order), (k, True, order[::-1])]
        self.levels = [
            np.unique(np.round(np.nanquantile(column, LEVELS), digits))
            if np.isfinite(column).any()
            else np.empty(0)
            for column in values
        ]

    def closed(
        self, cuts: Sequence[PlainCut], only: PlainCut | None = None
    ) -> tuple[float, PlainCut | None]:
        """The share of wanted sources with the best cut that closes the list, and that cut.

        `only` names a quantity and direction that the closing cut must have.
        """
        kept = kept_by(cuts, self.values)
        best: tuple[float, PlainCut | None] = (-np.inf, None)
        if kept.sum() < self.n_kept:
            return best
        for k, above, order in self._orders:
            if only is not None and (only.quantity, only.above) != (k, above):
                continue
            rows = order[kept[order]]
            if len(rows) < self.n_kept:
                continue
            share = float(self.wanted[rows[: self.n_kept]].mean())
            if share > best[0] + 1e-12:
                best = share, PlainCut(k, above, self._between(k, above, rows))
        return best

    def _between(self, k: int, above: bool, rows: np.ndarray) -> float:
        """A threshold behind the last source to keep, with as few digits as divide it from the
        next."""
        column = self.values[k]
        last = column[rows[self.n_kept - 1]]
        after = column[rows[self.n_kept]] if len(rows) > self.n_kept else last - (above - 0.5)
        middle = (last + after) / 2
        for digits in range(self.digits, self.digits + 3):
            rounded = round(float(middle), digits)
            if min(last, after) < rounded < max(last, after):
                return rounded
        return round(float(middle), self.digits + 2)

    def _trials(self) -> list[PlainCut]:
        return [
            PlainCut(k, above, float(level))
            for k, levels in enumerate(self.levels)
            for level in levels
            for above in (False, True)
        ]

    def with_one_more(self, cuts: list[PlainCut]) -> tuple[float, list[PlainCut], PlainCut | None]:
        """The best list of one cut more: its share, its cuts and the closing one.

        A new cut is first tried with the closing cut's quantity; the best few with any.
        """
        _, closing = self.closed(cuts)
        rated = [(self.closed([*cuts, each], closing)[0], each) for each in self._trials()]
        rated.sort(key=lambda each: -each[0])
        best: tuple[float, list[PlainCut], PlainCut | None] = (-np.inf, cuts, None)
        for _, each in rated[:40]:
            share, last = self.closed([*cuts, each])
            if share > best[0] + 1e-12:
                best = share, [*cuts, each], last
        return best

    def tried_again(self, cuts: list[PlainCut]) -> tuple[float, list[PlainCut], PlainCut | None]:
        """The best list with one threshold or quantity of these cuts exchanged."""
        share, closing = self.closed(cuts)
        best: tuple[float, list[PlainCut], PlainCut | None] = (share, cuts, closing)
        for place in range(len(cuts)):
            others = [*best[1][:place], *best[1][place + 1 :]]
            found = self.with_one_more(others)
            if found[2] is not None and found[0] > best[0] + 1e-12:
                best = found
        return best
