"""Places on the sky that lie near sources, with proper motion where it is known.

The places are held; the sources come some at a time, so that there may be any number of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from targetsel.sky.positions import chord, unit_vectors

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

ARCSEC = 3600.0  # in a degree
RADIANS = np.radians(1 / ARCSEC)  # in an arcsecond
# Separations are told apart to this [arcsec]: rounding must not choose between sources.
_FINEST = 1e-6
PAIR = np.dtype(
    [
        ("place", np.int64),
        ("source", np.int64),
        ("sep", np.float64),  # [arcsec]
        ("east", np.float32),  # of the place from the source [arcsec]
        ("north", np.float32),
    ],
    align=True,
)


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


@dataclass(frozen=True)
class Moving:
    """N sources, which may move.

    Attributes
    ----------
    ra, dec : ndarray, shape (N,)
        [deg, ICRS].
    motion : Motion, optional
    """

    ra: np.ndarray
    dec: np.ndarray
    motion: Motion | None = None

    def __len__(self) -> int:
        return len(self.ra)

    def at(self, rows: np.ndarray, years: np.ndarray | None = None) -> np.ndarray:
        """Unit vectors of some sources in some years, shape (K, 3).

        They move on straight lines through space, without radial velocity.

        Parameters
        ----------
        rows : ndarray, shape (K,)
        years : ndarray, shape (K,), optional
            Julian years; where one is NaN, as without `years`, the source stays in place.
        """
        ra, dec = self.ra[rows], self.dec[rows]
        place = unit_vectors(ra, dec)
        if self.motion is None or years is None:
            return place
        passed = np.nan_to_num(years - self.motion.epoch[rows])
        east = self.motion.pmra[rows] * passed * 1e-3 * RADIANS
        north = self.motion.pmdec[rows] * passed * 1e-3 * RADIANS
        a, d = np.radians(ra), np.radians(dec)
        zero = np.zeros_like(a)
        to_east = np.stack([-np.sin(a), np.cos(a), zero], axis=1)
        to_north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=1)
        place = place + east[:, None] * to_east + north[:, None] * to_north
        return place / np.linalg.norm(place, axis=1, keepdims=True)

    def furthest(self, years: np.ndarray) -> np.ndarray:
        """How far each source moves at most until any of these years [arcsec], shape (N,)."""
        known = years[~np.isnan(years)]
        if self.motion is None or not len(known):
            return np.zeros(len(self))
        ends = np.stack([known.min() - self.motion.epoch, known.max() - self.motion.epoch])
        passed = np.abs(np.nan_to_num(ends)).max(axis=0)
        return np.hypot(self.motion.pmra, self.motion.pmdec) * passed * 1e-3


class HeldPlaces:
    """K places on the sky.

    Parameters
    ----------
    ra, dec : ndarray, shape (K,)
        [deg, ICRS].
    years : ndarray, shape (K,), optional
        Julian year in which each was taken; NaN where it is not known.
    """

    def __init__(self, ra: np.ndarray, dec: np.ndarray, years: np.ndarray | None = None) -> None:
        self._vectors, self._years = unit_vectors(ra, dec), years
        self._tree: cKDTree | None = None

    def __len__(self) -> int:
        return len(self._vectors)

    def near(self, sources: Moving, radius: float) -> np.ndarray:
        """All pairs of a place and a source within a radius of each other, in no order.

        Parameters
        ----------
        sources : Moving
            They are where they were when each place was taken.
        radius : float
            [arcsec].

        Returns
        -------
        ndarray of `PAIR`, shape (P,)
        """
        if not len(self) or not len(sources):
            return np.empty(0, PAIR)
        furthest = np.zeros(len(sources))
        if self._years is not None:
            furthest = sources.furthest(self._years)
        # Whatever moves far is looked for by itself, so that all others have few pairs to try.
        step = np.ceil(np.log2(1 + furthest / radius))
        found = [np.empty(0, PAIR)]
        for each in np.unique(step):
            rows = np.flatnonzero(step == each)
            found.append(self._within(sources, rows, radius, furthest[rows].max()))
        return np.concatenate(found)

    def _within(
        self, sources: Moving, rows: np.ndarray, radius: float, furthest: float
    ) -> np.ndarray:
        from scipy.spatial import cKDTree  # which takes a quarter of a second to import

        if self._tree is None:
            # Sorted and plain trees find the same; these are made in half the time.
            self._tree = cKDTree(self._vectors, balanced_tree=False, compact_nodes=False)
        tree = cKDTree(sources.at(rows), balanced_tree=False, compact_nodes=False)
        reach = chord((radius + furthest) * (1 + _FINEST) / ARCSEC)
        near = tree.sparse_distance_matrix(self._tree, reach, output_type="ndarray")
        pairs = self.pairs(sources, near["j"], rows[near["i"]])
        return pairs[pairs["sep"] <= radius]

    def pairs(self, sources: Moving, places: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """How far these places lie from the sources in these rows, shape (P,), of `PAIR`."""
        years = None if self._years is None else self._years[places]
        place, source = self._vectors[places], sources.at(rows, years)
        apart = place - source
        half = np.minimum(np.linalg.norm(apart, axis=1) / 2, 1.0)
        x, y, z = place.T
        across = np.maximum(np.hypot(x, y), np.finfo(float).tiny)
        found = np.empty(len(places), PAIR)
        found["place"], found["source"] = places, rows
        found["sep"] = np.round(2 * np.arcsin(half) / RADIANS / _FINEST) * _FINEST
        found["east"] = (x * apart[:, 1] - y * apart[:, 0]) / across / RADIANS
        towards = (x * apart[:, 0] + y * apart[:, 1]) / across
        found["north"] = (across * apart[:, 2] - z * towards) / RADIANS
        return found
