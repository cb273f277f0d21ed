"""The order of exposures of most value in one night, each within the times at which it may begin.

Times are whole seconds. A plan is a sequence: an exposure begins when the one before is over and
the overhead has passed, or when its source comes up. Of a sequence the earliest and the latest
begin of every exposure are known, so that it is told at once whether another fits in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POOL = 1000  # sources that are tried in place of planned ones
ROUNDS = 30
_PIECE = 4096
_FAR = np.int64(1) << 40


@dataclass(frozen=True)
class PossibleExposures:
    """What may be exposed.

    Attributes
    ----------
    begin, end : ndarray, shape (N, W)
        The first and the last second at which an exposure may begin, for W times of the night;
        the end is before the begin where there is none.
    length : ndarray, shape (N,)
        Seconds from the begin of an exposure until another may begin.
    value : ndarray, shape (N,)
        Above 0.
    """

    begin: np.ndarray
    end: np.ndarray
    length: np.ndarray
    value: np.ndarray

    @property
    def possible(self) -> np.ndarray:
        """Which exposures may begin at all, shape (N,)."""
        found: np.ndarray = np.any(self.end >= self.begin, axis=1)
        return found

    def orders(self, rows: np.ndarray) -> list[np.ndarray]:
        """Rows in the orders in which they are tried; of equals the first row goes first."""
        value, length = self.value[rows], self.length[rows].astype(np.float64)
        return [
            rows[np.argsort(-worth, kind="stable")]
            for worth in (value / length, value, value / np.sqrt(length))
        ]


@dataclass(frozen=True)
class NightSequence:
    """PossibleExposures one after the other.

    Attributes
    ----------
    row, window : ndarray of int, shape (K,)
        The exposures, and in which of its W times each is.
    """

    row: np.ndarray
    window: np.ndarray

    def earliest(self, of: PossibleExposures) -> np.ndarray:
        """The earliest begin of each, shape (K,)."""
        found, free = [], -_FAR
        for row, window in zip(self.row, self.window, strict=True):
            found.append(max(of.begin[row, window], free))
            free = found[-1] + of.length[row]
        return np.array(found, dtype=np.int64)

    def latest(self, of: PossibleExposures) -> np.ndarray:
        """The latest begin of each, so that all after it can follow, shape (K,)."""
        found, until = [], _FAR
        for row, window in zip(self.row[::-1], self.window[::-1], strict=True):
            found.append(min(of.end[row, window], until - of.length[row]))
            until = found[-1]
        return np.array(found[::-1], dtype=np.int64)

    def without(self, place: int) -> NightSequence:
        return NightSequence(np.delete(self.row, place), np.delete(self.window, place))

    def value(self, of: PossibleExposures) -> float:
        return float(np.sort(of.value[self.row]).sum())

    def filled(self, of: PossibleExposures, rows: np.ndarray) -> NightSequence:
        """The sequence with those of `rows` inserted that fit, tried in their order."""
        found, tried = self, 0
        while tried < len(rows):
            piece = rows[tried : tried + _PIECE]
            first, place, window = found._first_that_fits(of, piece)
            if first == len(piece):
                tried += len(piece)
                continue
            found = NightSequence(
                np.insert(found.row, place, piece[first]), np.insert(found.window, place, window)
            )
            tried += first + 1  # what did not fit does not fit beside one more
        return found

    def _first_that_fits(self, of: PossibleExposures, rows: np.ndarray) -> tuple[int, int, int]:
        """The first of `rows` with a place in the sequence, that place, and the time of it.

        Of several places it is the one with most seconds to spare.
        """
        free = np.append(-_FAR, self.earliest(of) + of.length[self.row])
        until = np.append(self.latest(of), _FAR)
        length = of.length[rows][:, None, None]
        begin = np.maximum(of.begin[rows][:, None, :], free[None, :, None])
        end = np.minimum(of.end[rows][:, None, :], until[None, :, None] - length)
        spare = (end - begin).reshape(len(rows), -1)
        fits = np.flatnonzero((spare >= 0).any(axis=1))
        if not len(fits):
            return len(rows), 0, 0
        place, window = divmod(int(np.argmax(spare[fits[0]])), of.begin.shape[1])
        return int(fits[0]), place, window


NOTHING = NightSequence(np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp))


def most_valuable(of: PossibleExposures) -> NightSequence:
    """A sequence of high value: greedy by value per time, then improved by exchanges.

    Every planned exposure is taken out once and the gap filled by others, in several orders; the
    exchange that gains most is kept, until none gains. It need not be the best sequence of all.

    Parameters
    ----------
    of : PossibleExposures
    """
    possible = np.flatnonzero(of.possible)
    starts = [NOTHING.filled(of, rows) for rows in of.orders(possible)]
    best = max(starts, key=lambda each: each.value(of))
    for _ in range(ROUNDS):
        better = _exchanged(of, best, possible)
        if not better.value(of) > best.value(of):
            break
        best = better
    return best


def _exchanged(
    of: PossibleExposures, planned: NightSequence, possible: np.ndarray
) -> NightSequence:
    """The best of the sequences with one exposure taken out and the gap filled."""
    left = np.setdiff1d(possible, planned.row)
    pool = np.unique(np.concatenate([order[:POOL] for order in of.orders(left)]))
    orders = of.orders(pool)
    best = planned
    for place, row in enumerate(planned.row):
        rest = planned.without(place)
        for order in orders:
            found = rest.filled(of, order).filled(of, np.array([row]))
            if found.value(of) > best.value(of):
                best = found
    return best


def begins(of: PossibleExposures, planned: NightSequence, wanted: np.ndarray) -> np.ndarray:
    """The begin of each planned exposure [s], as near to the wanted one as the others allow.

    Parameters
    ----------
    of : PossibleExposures
    planned : NightSequence
        Of K exposures.
    wanted : ndarray, shape (N,)
        Such as that around the transit [s].

    Returns
    -------
    ndarray of int, shape (K,)
    """
    earliest = planned.earliest(of)
    found, until = [], _FAR
    for row, window, first in zip(
        planned.row[::-1], planned.window[::-1], earliest[::-1], strict=True
    ):
        last = min(of.end[row, window], until - of.length[row])
        found.append(min(max(wanted[row], first), last))
        until = found[-1]
    return np.array(found[::-1], dtype=np.int64)
