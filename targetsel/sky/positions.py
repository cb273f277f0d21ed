"""Positions on the sky, and regions of it as ranges of HEALPix pixels."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from targetsel.errors import CatalogError, TargetselError

if TYPE_CHECKING:
    from mocpy import MOC
    from scipy.spatial import cKDTree

DEEPEST = 29  # HEALPix order of `_healpix_29`
SQUARE_DEGREES = 4 * np.pi * (180 / np.pi) ** 2  # of the whole sky
REGION_FILES = "a MOC (.fits, .json, .txt), a DS9 region file (.reg)"
_FINENESS = 500
# Two files give one source the same place within this [arcsec]: far above astrometry, its epoch and
# frame, far below what a lost sign, hours for degrees or another source with the same number give.
SAME_PLACE = 5.0


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
        raise error(
            f"{place}: {int(wrong.sum()):,} of {len(ids):,} sources are over {SAME_PLACE:g} arcsec "
            f"from their positions in {other}; the largest distance is {_angle(apart[worst])}, of "
            f"source {ids[worst]}. Check the signs and units of both, or join files of one survey."
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
    def of_moc(cls, moc: MOC) -> Region:
        """The region of a MOC."""
        return cls.of(moc.to_depth29_ranges)

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

    def _area(self, pixel: np.ndarray) -> np.ndarray:
        """Number of pixels of order 29 inside the region, below each of these pixels."""
        starts, ends = self.ranges.T
        total = np.concatenate([[0], np.cumsum(ends - starts)])
        place = np.searchsorted(starts, pixel, side="right")
        beyond = np.concatenate([[0], ends])[place] - pixel
        return total[place] - np.maximum(beyond, 0)


def depth_for(radius: float) -> int:
    """The order whose pixels (58.6 deg / 2^order) are 500 times finer than a shape [deg]."""
    return int(np.clip(math.ceil(math.log2(58.6 * _FINENESS / max(radius, 1e-9))), 8, DEEPEST))


def read_region(path: Path) -> Region:
    """The region that a MOC or DS9 region file holds.

    Raises
    ------
    CatalogError
        If the file is neither, or is damaged.
    """
    try:
        return _region_in(path)
    except BaseException as error:
        # A damaged MOC can end in a panic of the library, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CatalogError(f"{path}: not {REGION_FILES}, or damaged ({reason}).") from None


def _region_in(path: Path) -> Region:
    from mocpy import MOC

    formats = {".fits": "fits", ".json": "json", ".txt": "ascii", ".moc": "fits"}
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in formats:
        return Region.of_moc(MOC.load(str(path), formats[suffix]))
    if suffix != ".reg":
        raise CatalogError(f"its name ends in '{suffix}'")
    from astropy.utils.exceptions import AstropyUserWarning
    from regions import Regions

    with warnings.catch_warnings():
        warnings.simplefilter("error", AstropyUserWarning)  # it warns of lines that it ignores
        shapes = Regions.read(str(path), format="ds9")
    if not len(shapes):
        raise CatalogError("it holds no region")
    mocs = [MOC.from_astropy_regions(each, max_depth=depth_for(_radius(each))) for each in shapes]
    return Region.union([Region.of_moc(moc) for moc in mocs])


def _radius(region: Any) -> float:
    """About half the size of a DS9 region [deg]."""
    if hasattr(region, "vertices"):
        corners = region.vertices
        return float(corners.separation(corners[0]).max().deg) / 2
    for name in ("radius", "outer_radius", "width"):
        if hasattr(region, name):
            size = getattr(region, name)
            if not hasattr(size, "to_value"):  # a number, not a quantity
                raise CatalogError("it is in pixels of an image; save it in sky coordinates")
            return float(size.to_value("deg"))
    raise CatalogError(f"it holds a {type(region).__name__}; circles, boxes, ... are read")
