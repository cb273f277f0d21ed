"""Positions on the sky, and regions of it as ranges of HEALPix pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from targetsel.errors import CatalogError, TargetselError

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

DEEPEST = 29  # HEALPix order of `_healpix_29`
SQUARE_DEGREES = 4 * np.pi * (180 / np.pi) ** 2  # of the whole sky
# Two files that are joined by id give a source the same place within this [arcsec]. Rounded
# positions, another epoch and proper motion stay below it; a lost sign, hours for degrees, or
# another source of the same number do not.
SAME_PLACE = 60.0


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Directions as unit vectors, shape (N, 3), from ra and dec [deg]."""
    ra, dec = np.radians(ra.astype(np.float64)), np.radians(dec.astype(np.float64))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def separation(
    ra: np.ndarray, dec: np.ndarray, other_ra: np.ndarray, other_dec: np.ndarray
) -> np.ndarray:
    """Angles [deg] between pairs of positions [deg], shape (N,)."""
    apart = unit_vectors(ra, dec) - unit_vectors(other_ra, other_dec)
    half = np.minimum(np.linalg.norm(apart, axis=1) / 2, 1.0)
    return 2 * np.degrees(np.arcsin(half))


def check_same_places(
    ids: np.ndarray,
    position: tuple[np.ndarray, np.ndarray],
    other_position: tuple[np.ndarray, np.ndarray],
    place: object,
    other: object,
    error: type[TargetselError] = CatalogError,
) -> None:
    """Refuse sources that two files, joined by id, have at different positions.

    Parameters
    ----------
    ids : ndarray, shape (N,)
        Sources that are in both files.
    position, other_position : tuple of two ndarrays, shape (N,)
        Their ra and dec [deg] in either file; pairs with NaN are passed over.
    place, other : Path or str
        Names of the two files, for errors.

    Raises
    ------
    TargetselError
        Of class `error`, if a pair is more than `SAME_PLACE` arcseconds apart, with the number of
        such pairs and the largest distance.
    """
    apart = separation(*position, *other_position) * 3600
    wrong = apart > SAME_PLACE
    if wrong.any():
        worst = int(np.nanargmax(apart))
        n = int(wrong.sum())
        raise apart_error(n, len(ids), float(apart[worst]), ids[worst], place, other, error)


def apart_error(
    n: int,
    n_joined: int,
    furthest: float,
    worst: object,
    place: object,
    other: object,
    error: type[TargetselError] = CatalogError,
) -> TargetselError:
    """The error that sources of two files, joined by id, are at different positions.

    Parameters
    ----------
    n, n_joined : int
        Number of them, and of all that were joined.
    furthest : float
        The largest distance [arcsec].
    worst : int or str
        The id of the source that has it.
    place, other : Path or str
        Names of the two files.
    """
    return error(
        f"{place}: {n:,} of {n_joined:,} sources are over {SAME_PLACE:g} arcsec "
        f"from their positions in {other}; the largest distance is {_angle(furthest)}, of "
        f"source {worst}. Check the signs and units of both, or join files of one survey."
    )


def _angle(arcsec: float) -> str:
    return f"{arcsec:.1f} arcsec" if arcsec < 120 else f"{arcsec / 3600:.3g} deg"


def chord(angle: float) -> float:
    """The straight distance between two points of the unit sphere that are `angle` [deg] apart."""
    return 2 * np.sin(np.radians(min(angle, 180.0)) / 2)


def healpix_of(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """HEALPix pixels, nested, order 29, shape (N,), int64, from ra and dec [deg]."""
    import cdshealpix.nested
    from astropy.coordinates import Latitude, Longitude

    lon, lat = Longitude(ra, "deg"), Latitude(dec, "deg")
    pixels = cdshealpix.nested.lonlat_to_healpix(lon, lat, DEEPEST, num_threads=1)
    return pixels.astype(np.int64)


def coarser(healpix: np.ndarray, order: int) -> np.ndarray:
    """The pixels of a lower order that hold pixels of order 29, shape (N,)."""
    return healpix >> 2 * (DEEPEST - order)


def nested_of_ring(pixels: np.ndarray, order: int) -> np.ndarray:
    """The numbers in NESTED order, shape (N,), int64, of pixels of that order in RING order."""
    import cdshealpix.nested
    import cdshealpix.ring

    lon, lat = cdshealpix.ring.healpix_to_lonlat(pixels.astype(np.uint64), 1 << order)
    return cdshealpix.nested.lonlat_to_healpix(lon, lat, order, num_threads=1).astype(np.int64)


def centres_of(pixels: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The centres [deg], two arrays of shape (N,), of pixels in NESTED order."""
    import cdshealpix.nested

    lon, lat = cdshealpix.nested.healpix_to_lonlat(pixels.astype(np.uint64), order, num_threads=1)
    return np.asarray(lon.to_value("deg")), np.asarray(lat.to_value("deg"))


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


@dataclass(frozen=True)
class Region:
    """A part of the sky as ranges of HEALPix pixels.

    Attributes
    ----------
    ranges : ndarray of int64, shape (K, 2)
        First pixel of order 29, and one past the last, increasing and apart.
    sha256 : str
        Hash of the ranges.
    """

    ranges: np.ndarray = field(repr=False, compare=False)
    sha256: str

    @classmethod
    def everywhere(cls) -> Region:
        """The whole sky."""
        return cls.of(np.array([[0, 12 * 4**DEEPEST]]))

    @classmethod
    def of_pixels(cls, pixels: np.ndarray, order: int | np.ndarray) -> Region:
        """The region of pixels, nested, of one order or of one for each."""
        size = 4 ** (DEEPEST - np.asarray(order, dtype=np.int64))
        return cls.of(np.stack([pixels * size, pixels * size + size], axis=1))

    @classmethod
    def of(cls, ranges: np.ndarray) -> Region:
        """The region that ranges of pixels make up; they may touch and overlap."""
        ranges = np.asarray(ranges).reshape(-1, 2).astype("<i8")
        ranges = ranges[np.argsort(ranges[:, 0])]
        if len(ranges):
            reached = np.maximum.accumulate(ranges[:, 1])
            new = np.flatnonzero(np.append(True, ranges[1:, 0] > reached[:-1]))
            last = np.append(new[1:], len(ranges)) - 1
            ranges = np.stack([ranges[new, 0], reached[last]], axis=1)
        return cls(ranges, hashlib.sha256(ranges.tobytes()).hexdigest())

    @classmethod
    def union(cls, regions: list[Region]) -> Region:
        """The region that is in any of these."""
        return cls.of(
            np.concatenate([np.empty((0, 2), np.int64), *(each.ranges for each in regions)])
        )

    def without(self, other: Region) -> Region:
        """The part of this region that is not in the other."""
        edges = np.unique(np.concatenate([self.ranges.ravel(), other.ranges.ravel()]))
        pieces = np.stack([edges[:-1], edges[1:]], axis=1)
        return Region.of(pieces[self.found(pieces[:, 0]) & ~other.found(pieces[:, 0])])

    def found(self, healpix: np.ndarray) -> np.ndarray:
        """Whether pixels of order 29 are inside, shape (N,)."""
        place = np.searchsorted(self.ranges[:, 0], healpix, side="right") - 1
        ends = np.concatenate([self.ranges[:, 1], [-1]])
        return healpix < ends[place]  # index -1 is the end of the last range

    def overlaps(self, first: int, last: int) -> bool:
        """Whether any pixel from `first` to `last` is inside."""
        below = int(np.searchsorted(self.ranges[:, 0], last, side="right"))
        return below > 0 and bool(self.ranges[below - 1, 1] > first)

    def covered(self, pixels: np.ndarray, order: int) -> np.ndarray:
        """The share of each pixel of a coarser order that is inside, shape (N,)."""
        size = 4 ** (DEEPEST - order)
        return (self._area(pixels * size + size) - self._area(pixels * size)) / size

    def pixels(self, order: int) -> np.ndarray:
        """The pixels of an order that the region touches, increasing."""
        shift = 2 * (DEEPEST - order)
        first, last = self.ranges[:, 0] >> shift, (self.ranges[:, 1] - 1) >> shift
        n = last - first + 1
        skipped = np.repeat(np.cumsum(n) - n, n)
        return np.unique(np.repeat(first, n) + np.arange(n.sum()) - skipped)

    def _area(self, pixel: np.ndarray) -> np.ndarray:
        """Number of pixels of order 29 inside the region, below each of these pixels."""
        starts, ends = self.ranges.T
        total = np.concatenate([[0], np.cumsum(ends - starts)])
        place = np.searchsorted(starts, pixel, side="right")
        beyond = np.concatenate([[0], ends])[place] - pixel
        return total[place] - np.maximum(beyond, 0)
