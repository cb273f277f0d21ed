"""The nearest of many sources to each of many positions, with proper motion where it is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from targetsel.sky.positions import chord, unit_vectors

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

ARCSEC = 3600.0  # in a degree
RADIANS = np.radians(1 / ARCSEC)  # in an arcsecond
# Distances that differ by less, as a share, are equal: rounding must not choose between sources.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Motion:
    """Proper motions of N sources.

    Attributes
    ----------
    pmra, pmdec : ndarray, shape (N,)
        [mas/yr], `pmra` times cos(dec); 0 where it is not known.
    epoch : ndarray, shape (N,)
        Julian year of the positions; NaN where it is not known.
    """

    pmra: np.ndarray
    pmdec: np.ndarray
    epoch: np.ndarray


@dataclass
class NearestSources:
    """N sources, of which the nearest to any position is found.

    Attributes
    ----------
    ra, dec : ndarray, shape (N,)
        [deg, ICRS].
    order : ndarray, shape (N,)
        Among sources at the same distance the one of the least order is the nearest.
    motion : Motion, optional
    """

    ra: np.ndarray
    dec: np.ndarray
    order: np.ndarray
    motion: Motion | None = None
    _tree: tuple[float, cKDTree] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ra)

    def at(self, rows: np.ndarray, epoch: float = np.nan) -> np.ndarray:
        """Unit vectors of some sources at a Julian year, shape (K, 3); NaN leaves them in place.

        They move on straight lines through space, without radial velocity.
        """
        ra, dec = self.ra[rows], self.dec[rows]
        place = unit_vectors(ra, dec)
        if self.motion is None or np.isnan(epoch):
            return place
        years = np.nan_to_num(epoch - self.motion.epoch[rows])
        east = self.motion.pmra[rows] * years * 1e-3 * RADIANS
        north = self.motion.pmdec[rows] * years * 1e-3 * RADIANS
        a, d = np.radians(ra), np.radians(dec)
        zero = np.zeros_like(a)
        to_east = np.stack([-np.sin(a), np.cos(a), zero], axis=1)
        to_north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=1)
        place = place + east[:, None] * to_east + north[:, None] * to_north
        return place / np.linalg.norm(place, axis=1, keepdims=True)

    def nearest(
        self, ra: np.ndarray, dec: np.ndarray, radius: float, epoch: float = np.nan
    ) -> tuple[np.ndarray, np.ndarray]:
        """The source nearest to each position, and the next one, within a radius.

        Parameters
        ----------
        ra, dec : ndarray, shape (K,)
            [deg, ICRS].
        radius : float
            [deg].
        epoch : float
            Julian year of the positions; NaN where it is not known.

        Returns
        -------
        nearest, next : ndarray of int64, shape (K,)
            Rows of the sources; -1 where there is none.
        """
        if not len(self) or not len(ra):
            nowhere = np.full(len(ra), -1, dtype=np.int64)
            return nowhere, nowhere
        tree = self._tree_at(epoch)
        vectors = unit_vectors(ra, dec)
        # The query takes what is strictly nearer.
        reach = np.nextafter(chord(radius), np.inf)
        distance, rows = tree.query(vectors, k=2, distance_upper_bound=reach)
        rows = np.where(np.isfinite(distance), rows, -1).astype(np.int64)
        margin = _EQUAL * reach
        near = np.flatnonzero(np.isfinite(distance[:, 1]))
        for k in near[distance[near, 1] - distance[near, 0] <= margin]:
            alike = distance[k, 0] + margin
            among = np.array(tree.query_ball_point(vectors[k], alike))
            among = among[np.argsort(self.order[among], kind="stable")]
            rows[k] = among[:2]
        return rows[:, 0], rows[:, 1]

    def offsets(
        self, rows: np.ndarray, ra: np.ndarray, dec: np.ndarray, epoch: float = np.nan
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Separations of positions [deg] from the sources in these rows, shape (K,) each.

        Returns
        -------
        separation, east, north : ndarray
            [arcsec]: how far, and how far to the east and north of the source each position lies.
        """
        source, other = self.at(rows, epoch), unit_vectors(ra, dec)
        apart = other - source
        half = np.minimum(np.linalg.norm(apart, axis=1) / 2, 1.0)
        a, d = np.radians(ra), np.radians(dec)
        east = -np.sin(a) * apart[:, 0] + np.cos(a) * apart[:, 1]
        north = (
            -np.sin(d) * (np.cos(a) * apart[:, 0] + np.sin(a) * apart[:, 1])
            + np.cos(d) * apart[:, 2]
        )
        return 2 * np.arcsin(half) / RADIANS, east / RADIANS, north / RADIANS

    def _tree_at(self, epoch: float) -> cKDTree:
        from scipy.spatial import cKDTree  # which takes a quarter of a second to import

        epoch = np.nan if self.motion is None else epoch
        if self._tree is None or not (
            self._tree[0] == epoch or (np.isnan(self._tree[0]) and np.isnan(epoch))
        ):
            self._tree = None  # one at a time in memory
            everyone = np.arange(len(self))
            # Sorted and plain trees find the same; this one is made in half the time.
            tree = cKDTree(self.at(everyone, epoch), balanced_tree=False, compact_nodes=False)
            self._tree = (epoch, tree)
        return self._tree[1]
