"""Positions on the sky: directions, HEALPix pixels, and sources near a list of positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

DEEPEST = 29  # HEALPix order of `_healpix_29`


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Directions as unit vectors, shape (N, 3), from ra and dec [deg]."""
    ra, dec = np.radians(ra.astype(np.float64)), np.radians(dec.astype(np.float64))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def chord(angle: float) -> float:
    """The straight distance between two points of the unit sphere that are `angle` [deg] apart."""
    return 2 * np.sin(np.radians(min(angle, 180.0)) / 2)


def healpix_of(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """HEALPix pixels, nested, order 29, shape (N,), int64, from ra and dec [deg]."""
    import cdshealpix.nested
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude

    lon, lat = Longitude(ra, u.deg), Latitude(dec, u.deg)
    pixels = cdshealpix.nested.lonlat_to_healpix(lon, lat, DEEPEST, num_threads=1)
    return pixels.astype(np.int64)


@dataclass(frozen=True)
class Places:
    """Positions on the sky; finds the sources within `radius` [deg] of any of them.

    Attributes
    ----------
    vectors : ndarray, shape (K, 3)
        The positions as unit vectors.
    radius : float
    sha256 : str
        Hash of the positions and the radius.
    """

    vectors: np.ndarray = field(repr=False, compare=False)
    radius: float
    sha256: str

    @cached_property
    def _tree(self) -> cKDTree:
        from scipy.spatial import cKDTree

        return cKDTree(self.vectors)

    def found(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Whether each source lies near one of the positions, shape (N,)."""
        if not len(self.vectors):
            return np.zeros(len(ra), dtype=bool)
        # The query takes what is strictly nearer.
        reach = np.nextafter(chord(self.radius), np.inf)
        distance, _ = self._tree.query(unit_vectors(ra, dec), distance_upper_bound=reach)
        return np.isfinite(distance)
