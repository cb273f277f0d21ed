"""The densest pointings of a target list: where a fiber instrument takes most targets at once.

Targets that crowd so closely that fibers cannot take them all are thinned first: each small cell of
the sky keeps as many as it has fibers. Then the targets within the field are counted around
HEALPix centers a third of the field's radius apart or closer, and the best of them are moved in
ever smaller steps. Each further pointing is found among the targets that have no fiber yet. Where
targets are of different value, the values of the best that there are fibers for are added up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from targetsel.errors import HandoffError
from targetsel.handoff.simulation import (
    Instrument,
    PointingForecast,
    TargetsInOrder,
    check_instrument,
    forecast_at,
)
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import DEEPEST, chord, coarser, healpix_of, unit_vectors

FIBERS_A_CELL = 4  # at the least, so that neighbouring fibers may help one another
MOST_CENTERS = 500_000
N_REFINED = 8  # centers that are moved
STEPS = 5  # each half as long as the one before
MOST_POINTINGS = 1000


@dataclass(frozen=True)
class DensestPointing:
    """One pointing of a plan.

    Attributes
    ----------
    ra, dec : float
        Center of the field [deg].
    forecast : PointingForecast
        Of the targets that no earlier pointing gave a fiber.
    """

    ra: float
    dec: float
    forecast: PointingForecast


def densest_pointings(
    targets: TargetList, instrument: Instrument, n: int = 1
) -> list[DensestPointing]:
    """Up to `n` pointings, each where most of the targets left over can get a fiber.

    They are fewer where earlier ones leave nothing that a fiber can take. The order of the rows
    does not matter.

    Raises
    ------
    HandoffError
        If the list is not sound, or the numbers are impossible.
    """
    check_instrument(instrument)
    if not 1 <= n <= MOST_POINTINGS:
        raise HandoffError(f"{n:,} pointings; expected 1 to {MOST_POINTINGS:,}.")
    sources = TargetsInOrder.of(targets)
    search = DensestSearch(sources, instrument)
    found: list[DensestPointing] = []
    left = np.ones(len(sources.ra), dtype=bool)
    while len(found) < n and left.any():
        ra, dec = search.best()
        forecast = forecast_at(sources, instrument, ra, dec, left)
        if not forecast.assigned.any():
            break
        found.append(DensestPointing(ra, dec, forecast))
        left &= ~forecast.assigned
        search.recount(left, ra, dec)
    return found


class DensestSearch:
    """Counts of the targets that fibers can take around each center on a grid.

    Parameters
    ----------
    sources : TargetsInOrder
        Of M targets.
    instrument : Instrument
    value : ndarray, shape (M,), optional
        What a target counts; 1 without.
    left : ndarray of bool, shape (M,), optional
        The targets that count; all without.

    Attributes
    ----------
    radius : float
        Of the circle with the area of the field [deg].
    centers : ndarray, shape (K, 3)
        Unit vectors of the grid, all that may have a target in the field.
    count : ndarray, shape (K,)
    """

    def __init__(
        self,
        sources: TargetsInOrder,
        instrument: Instrument,
        value: np.ndarray | None = None,
        left: np.ndarray | None = None,
    ) -> None:
        self.sources, self.value, self.n_fibers = sources, value, instrument.n_fibers
        self.at = unit_vectors(sources.ra, sources.dec)
        self.radius = instrument.diameter / 2
        if instrument.shape == "hexagon":
            self.radius *= np.sqrt(1.5 * np.sqrt(3) / np.pi)
        healpix = healpix_of(sources.ra, sources.dec)
        cell_order, self.room = _cells(instrument, np.pi * self.radius**2)
        self.cell = coarser(healpix, cell_order)
        order = min(DEEPEST, _order_below(self.radius / 3))
        self.step = _side(order) / 2
        rows = np.arange(len(self.at)) if left is None else np.flatnonzero(left)
        self.centers = _centers(np.unique(coarser(healpix[rows], order)), order)
        self.tree = self._tree(rows)
        self.count = self._counted(self.tree, self.centers)

    def best(self) -> tuple[float, float]:
        """The densest center, ra and dec [deg], to a tenth of a millidegree."""
        first = np.argsort(-self.count, kind="stable")[:N_REFINED]
        refined = [self._moved(self.centers[k]) for k in first.tolist()]
        counts = self._counted(self.tree, np.array(refined))
        x, y, z = refined[int(counts.argmax())]
        ra = round(float(np.degrees(np.arctan2(y, x))) % 360, 4) % 360
        return ra, round(float(np.degrees(np.arcsin(np.clip(z, -1, 1)))), 4)

    def recount(self, left: np.ndarray, ra: float, dec: float) -> None:
        """Count anew without the targets that are not `left`, which lie around a pointing.

        Parameters
        ----------
        left : ndarray of bool, shape (M,)
        ra, dec : float
            The pointing [deg].
        """
        here = unit_vectors(np.array([ra]), np.array([dec]))[0]
        self.tree = self._tree(np.flatnonzero(left))
        reach = chord(2.5 * self.radius)  # the corners of a hexagon stick out of its circle
        near = np.linalg.norm(self.centers - here, axis=1) <= reach
        self.count[near] = self._counted(self.tree, self.centers[near])

    def _tree(self, rows: np.ndarray) -> cKDTree:
        """The targets of these rows that fibers can take, the first of each cell."""
        by_cell = rows[np.lexsort((self.sources.rank[rows], self.cell[rows]))]
        cell = self.cell[by_cell]
        start = np.maximum.accumulate(
            np.where(np.append(True, cell[1:] != cell[:-1])[: len(cell)], np.arange(len(cell)), 0)
        )
        kept = by_cell[np.arange(len(cell)) - start < self.room]
        if self.value is not None:
            best_first = kept[np.argsort(-self.value[kept], kind="stable")]
            self.best_sums = _BestSums(self.at[best_first], self.value[best_first], self.n_fibers)
        return cKDTree(self.at[kept])

    def _counted(self, tree: cKDTree, centers: np.ndarray) -> np.ndarray:
        reach = chord(self.radius)
        if self.value is not None:
            return self.best_sums.within(reach, centers)
        found = tree.query_ball_point(centers, reach, return_length=True)
        return np.asarray(found, dtype=np.int64)

    def _moved(self, center: np.ndarray) -> np.ndarray:
        """The best center nearby: moved in smaller and smaller steps, then amid its targets."""
        most, step = self._counted(self.tree, center[None])[0], np.radians(self.step)
        for _ in range(STEPS):
            around = _around(center, step)
            counts = self._counted(self.tree, around)
            if counts.max() > most:
                most, center = counts.max(), around[int(counts.argmax())]
            else:
                step /= 2
        inside = self.tree.data[self.tree.query_ball_point(center, chord(self.radius))]
        if len(inside):
            amid = inside.sum(axis=0)
            amid = amid / np.linalg.norm(amid)
            if self._counted(self.tree, amid[None])[0] >= most:
                return amid
        return center


class _BestSums:
    """The sums of the largest values around centers.

    Where targets crowd, the best of them alone are looked through: the first tree has few of them,
    each further one four times as many, and the last all.

    Parameters
    ----------
    at : ndarray, shape (K, 3)
        Unit vectors of targets, the most valuable first.
    value : ndarray, shape (K,)
    n : int
        Values that a sum has at most.
    """

    def __init__(self, at: np.ndarray, value: np.ndarray, n: int) -> None:
        self.value, self.n = value, n
        sizes = [len(at)]
        while sizes[-1] > 4 * n:
            sizes.append(sizes[-1] // 4)
        self.trees = [cKDTree(at[:size]) for size in sizes[::-1]]

    def within(self, reach: float, centers: np.ndarray) -> np.ndarray:
        """The sum at each of the centers, shape (C,), of the targets within a chord of them."""
        found, open_ = np.zeros(len(centers)), np.arange(len(centers))
        for tree in self.trees:
            here = centers[open_]
            told = tree is self.trees[-1] or self.n <= tree.query_ball_point(
                here, reach, return_length=True
            )
            told = np.broadcast_to(told, len(open_))
            near = tree.query_ball_point(here[told], reach, return_sorted=True)
            # Sorted, as sums of the same values then are the same to the last bit.
            found[open_[told]] = [
                np.sort(self.value[each[: self.n]]).sum() for each in near.tolist()
            ]
            open_ = open_[~told]
        return found


def _cells(instrument: Instrument, area: float) -> tuple[int, int]:
    """Order of the HEALPix cells that targets are thinned in, and the targets that each keeps."""
    if instrument.patrol is not None:
        a_cell = FIBERS_A_CELL * area / instrument.n_all
        order = min(DEEPEST, _order_below(2 * np.sqrt(a_cell)))
        return order, max(1, round(_side(order) ** 2 * instrument.n_all / area))
    if instrument.separation > 0:  # fibers go anywhere, but not closer
        return min(DEEPEST, _order_below(2 * instrument.separation / 3600)), 1
    return DEEPEST, 1


def _side(order: int) -> float:
    """The side of a HEALPix pixel [deg]."""
    return float(np.degrees(np.sqrt(np.pi / 3)) / 2**order)


def _order_below(side: float) -> int:
    """The lowest HEALPix order whose pixels have at most this side [deg]."""
    return max(0, int(np.ceil(np.log2(_side(0) / side))))


def _centers(pixels: np.ndarray, order: int) -> np.ndarray:
    """Unit vectors of the pixels and of those around them, within three pixels, shape (K, 3)."""
    from cdshealpix.nested import healpix_to_lonlat, neighbours

    for _ in range(3):
        if 9 * len(pixels) > 4 * MOST_CENTERS:
            break
        around = neighbours(pixels.astype(np.uint64), order, num_threads=1)
        pixels = np.unique(around[around >= 0]).astype(np.int64)
    lon, lat = healpix_to_lonlat(pixels.astype(np.uint64), order, num_threads=1)
    return unit_vectors(np.asarray(lon.deg), np.asarray(lat.deg))


def _around(center: np.ndarray, step: float) -> np.ndarray:
    """Eight directions a step [rad] away, and the center itself first, shape (9, 3)."""
    pole = np.eye(3)[np.abs(center).argmin()]
    across = np.cross(pole, center)
    across /= np.linalg.norm(across)
    up = np.cross(center, across)
    moves = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    there = center + step * np.array([a * across + b * up for a, b in moves])
    return there / np.linalg.norm(there, axis=1)[:, None]
