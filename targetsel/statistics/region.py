"""The region that a sample of points covers, and how dense other points are there: by neighbours.

Quantities are compared in units of half the width of the central 68 % of the sample in each, so
that their own units do not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import KDTree

NEIGHBOURS = 10
INSIDE = 0.99  # of the sample's own points lie in its region
BALLS_AT_ONCE = 64
ROUNDING = 1e-9  # a ball holds the point that its radius was taken from


@dataclass(frozen=True)
class CoveredRegion:
    """The region that N points of K quantities cover.

    Attributes
    ----------
    points : ndarray, shape (N, K)
        Finite.
    """

    points: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    @property
    def known(self) -> bool:
        """Whether there are enough points to define the region."""
        return len(self) > NEIGHBOURS

    @cached_property
    def scale(self) -> np.ndarray:
        """Half the width of the central 68 % in each quantity, shape (K,)."""
        low, high = np.quantile(self.points, [0.16, 0.84], axis=0)
        return np.maximum((high - low) / 2, 1e-6)

    @cached_property
    def tree(self) -> KDTree:
        """The points in units of `scale`."""
        return KDTree(self.points / self.scale)

    @cached_property
    def _to_tenth(self) -> np.ndarray:
        """Distance of each point to the tenth nearest other, shape (N,)."""
        distance, _ = self.tree.query(self.tree.data, NEIGHBOURS + 1)
        return distance[:, -1]

    @cached_property
    def reach(self) -> float:
        """Distance to the tenth nearest other that holds 99 % of the points."""
        return float(np.quantile(self._to_tenth, INSIDE))

    def holds(self, others: np.ndarray) -> np.ndarray:
        """Whether ten of the points lie near, (M, K) to (M,); False where `others` are NaN."""
        good = np.isfinite(others).all(axis=1)
        held = np.zeros(len(others), dtype=bool)
        if good.any() and self.known:
            distance, _ = self.tree.query(others[good] / self.scale, NEIGHBOURS)
            held[good] = distance[:, -1] <= self.reach
        return held

    def density_ratio(
        self, others: np.ndarray, other_weight: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """How dense other points are at each of these, over how dense these are, shape (N,).

        Lima et al. (2008, MNRAS 390, 118), section 3.2: the number of others within the distance
        to the tenth nearest neighbour, over the number of points there. The distances differ from
        point to point, so that the result is as coarse as the points are sparse, and is good up to
        a common factor near 1. The order of rows changes no bit of it.

        Parameters
        ----------
        others : ndarray, shape (M, K)
            Finite.
        other_weight : ndarray, shape (M,)
            What each of them counts for.
        weight : ndarray, shape (N,)
            What each point counts for, above 0.
        """
        radius = self._to_tenth * (1 + ROUNDING)
        centres, there = self.tree.data, KDTree(others / self.scale)
        return _within(there, centres, radius, other_weight) / _within(
            self.tree, centres, radius, weight
        )


def _within(
    tree: KDTree, centres: np.ndarray, radius: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Sum of the weights of a tree's points in each of N balls, shape (N,), exactly rounded."""
    if not len(weight) or (weight == weight[0]).all():
        count = tree.query_ball_point(centres, radius, return_length=True)
        return np.asarray(count) * float(weight[0] if len(weight) else 1.0)
    total = np.empty(len(centres))
    for start in range(0, len(centres), BALLS_AT_ONCE):
        part = slice(start, start + BALLS_AT_ONCE)
        found = tree.query_ball_point(centres[part], radius[part])
        total[part] = [math.fsum(weight[rows].tolist()) for rows in found]
    return total
