"""What members of a class do to one another: `dedup` and `limit` (steps 7 to 9 of `rules.plan`).

The outcome does not depend on the order or the pieces in which the members come.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.spatial import cKDTree

from targetsel.rules.classes import TargetClass
from targetsel.sky.external_files import chord, unit_vectors
from targetsel.sky.footprint import DEEPEST, Region
from targetsel.tables.ids import uniform

# Once this many members have gathered, those beyond the limit are let go; and again whenever
# their number has doubled.
ROWS_BEFORE_THINNING = 200_000
SQUARE_DEGREES = 4 * np.pi * (180 / np.pi) ** 2


@dataclass(frozen=True)
class Members:
    """N members of a class.

    Attributes
    ----------
    row : ndarray of int64, shape (N,)
        Each member's place wherever the caller keeps its sources.
    rank : ndarray, shape (N,)
        NaN where it is missing, or where the class has none.
    luck : ndarray, shape (N,)
        Breaks ties, the larger first.
    target_id, healpix : ndarray of int64, shape (N,)
    ra, dec : ndarray, shape (N,)
        [deg]
    """

    row: np.ndarray
    rank: np.ndarray
    luck: np.ndarray
    target_id: np.ndarray
    healpix: np.ndarray
    ra: np.ndarray
    dec: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def take(self, places: np.ndarray) -> Members:
        return Members(*(getattr(self, each.name)[places] for each in fields(self)))

    @classmethod
    def concatenate(cls, pieces: list[Members]) -> Members:
        """All members; there is at least one piece."""
        return cls(
            *(np.concatenate([getattr(each, a.name) for each in pieces]) for a in fields(cls))
        )

    def best_first(self, by: str = "rank") -> np.ndarray:
        """Places in the order of preference."""
        rank = self.rank if by == "rank" else np.zeros(len(self))
        return np.lexsort((self.target_id, -self.luck, -rank))


class Contest:
    """The members of one class that compete for its places.

    Members are added piece by piece. Those that cannot win any more are let go now and then, so
    that a limit bounds the memory too. A class with `dedup` keeps all until the end: only then is
    it known which of them stay.

    Attributes
    ----------
    copies : ndarray of int64, shape (K, 2)
        After `settled`: the target ids of members that dedup has dropped, and of those that were
        kept instead.
    """

    def __init__(self, target_class: TargetClass, region: Region | None = None) -> None:
        self.rules = target_class
        self.region = region
        self.copies = np.empty((0, 2), dtype=np.int64)
        self._pieces: list[Members] = []
        self._enough = ROWS_BEFORE_THINNING
        self._least = -np.inf  # a rank below which no member wins any more

    @property
    def open(self) -> bool:
        """Whether there is anything to compete for."""
        return bool(self.rules.limit) or self.rules.dedup is not None

    def add(self, members: Members) -> None:
        """Let these members compete too."""
        if self._least > -np.inf:
            members = members.take(np.flatnonzero(members.rank >= self._least))
        self._pieces.append(members)
        n = sum(map(len, self._pieces))
        if self.rules.dedup is None and n > self._enough:
            best = self._within_limits(Members.concatenate(self._pieces))
            self._pieces = [best]
            self._enough = max(self._enough, 2 * len(best))
            if self.rules.limit.by == "rank" and len(best) == self.rules.limit.total:
                self._least = best.rank[-1]

    def settled(self) -> np.ndarray:
        """The rows of the winners, in increasing order."""
        if not self._pieces:
            return np.empty(0, dtype=np.int64)
        members = Members.concatenate(self._pieces)
        if self.rules.dedup is not None:
            members = self._without_copies(members, self.rules.dedup)
        return np.sort(self._within_limits(members).row)

    def _without_copies(self, members: Members, radius: float) -> Members:
        """The members of which no better one is kept within the radius."""
        members = members.take(members.best_first())
        pairs = cKDTree(unit_vectors(members.ra, members.dec)).query_pairs(
            chord(radius), output_type="ndarray"
        )
        pairs = pairs[np.lexsort((pairs.max(axis=1), pairs.min(axis=1)))]
        kept_instead: dict[int, int] = {}
        for better, worse in zip(
            pairs.min(axis=1).tolist(), pairs.max(axis=1).tolist(), strict=True
        ):
            if better not in kept_instead:
                kept_instead.setdefault(worse, better)
        copies = np.array(sorted(kept_instead.items()), dtype=np.int64).reshape(-1, 2)
        self.copies = members.target_id[copies]
        return members.take(np.delete(np.arange(len(members)), copies[:, 0]))

    def _within_limits(self, members: Members) -> Members:
        """The best of each pixel, and of these the best in all."""
        limit = self.rules.limit
        if not limit:
            return members
        members = members.take(members.best_first(limit.by))
        if limit.per_deg2 is not None:
            order = limit.nside.bit_length() - 1
            pixels, own = np.unique(members.healpix >> (2 * (DEEPEST - order)), return_inverse=True)
            members = members.take(_place_in_group(own) < self._caps(pixels, order)[own])
        return members.take(np.arange(len(members))[: limit.total])

    def _caps(self, pixels: np.ndarray, order: int) -> np.ndarray:
        """How many members each pixel may have.

        The density times the area of the pixel inside the footprint, rounded up or down by a hash
        of the pixel such that it is right on average.
        """
        assert self.rules.limit.per_deg2 is not None
        area = np.full(len(pixels), SQUARE_DEGREES / (12 * 4**order))
        if self.region is not None:
            area = area * self.region.covered(pixels, order)
        purpose = f"{self.rules.name}/pixels"
        luck = uniform(pixels, self.rules.preamble.seed, purpose)[:, 0]
        return np.floor(self.rules.limit.per_deg2 * area + luck)


def _place_in_group(group: np.ndarray) -> np.ndarray:
    """For each member how many of its group come before it, shape (N,)."""
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], group[order])
    place = np.empty(len(group), dtype=np.int64)
    place[order] = np.arange(len(group)) - first
    return place
