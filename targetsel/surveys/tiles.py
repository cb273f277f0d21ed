"""The part of the sky that a catalog is asked for, and how it is cut into single questions.

A question is a tile: a HEALPix cell, and the cone around what lies in it of the region. A tile of
too many sources is cut into its four children. Each source lies in one tile alone, and tiles in
order hold sources in the order of `_healpix_29`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cdshealpix.nested
import numpy as np
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from mocpy import MOC

from targetsel.errors import CatalogError
from targetsel.sky.catalog import Catalog
from targetsel.sky.footprint import Footprint

DEEPEST = 29
_FINENESS = 100  # of a cone's edge
_CELLS = 400  # that stand for a piece of the region


@dataclass(frozen=True)
class SkyTile:
    """A HEALPix cell, nested."""

    order: int
    pixel: int

    @property
    def name(self) -> str:
        return f"{self.order}-{self.pixel}"

    def children(self) -> list[SkyTile]:
        return [SkyTile(self.order + 1, 4 * self.pixel + k) for k in range(4)]

    def holds(self, healpix: np.ndarray) -> np.ndarray:
        """Whether pixels of order 29 lie in the cell, shape (N,)."""
        return healpix >> (2 * (DEEPEST - self.order)) == self.pixel


@dataclass(frozen=True)
class Cone:
    """A position [deg, ICRS] and a radius [deg]."""

    ra: float
    dec: float
    radius: float

    def sql(self, ra: str, dec: str) -> str:
        """The condition that the columns `ra` and `dec` [deg] lie in the box around the cone.

        Some archives know ADQL's geometry in name only; every dialect of SQL understands a box.
        Sources outside the cone must be dropped afterwards.
        """
        south, north = max(self.dec - self.radius, -90.0), min(self.dec + self.radius, 90.0)
        between = f"{dec} BETWEEN {south:.9f} AND {north:.9f}"
        if south == -90 or north == 90:
            return between
        # Where meridians touch the cone: sin(width) = sin(radius) / cos(dec).
        sine = np.sin(np.radians(self.radius)) / np.cos(np.radians(self.dec))
        width = np.degrees(np.arcsin(sine))
        west, east = (self.ra - width) % 360, (self.ra + width) % 360
        if west <= east:
            return f"{between} AND {ra} BETWEEN {west:.9f} AND {east:.9f}"
        return f"{between} AND ({ra} >= {west:.9f} OR {ra} <= {east:.9f})"


@dataclass(frozen=True)
class Region:
    """A part of the sky.

    Attributes
    ----------
    moc : MOC
        Covers the region, a little generously at its edge.
    footprint : Footprint
        The exact edge, where the region is a cone.
    words : str
        How it was asked for.
    """

    moc: MOC
    words: str
    footprint: Footprint = field(default_factory=Footprint.everywhere)

    @classmethod
    def cone(cls, ra: float, dec: float, radius: float) -> Region:
        """Everything within `radius` of a place [deg]."""
        footprint = Footprint.cone(ra, dec, radius)
        cell = np.degrees(np.sqrt(4 * np.pi / 12))  # of order 0
        depth = int(np.clip(np.ceil(np.log2(_FINENESS * cell / radius)), 3, DEEPEST))
        center = Longitude(ra, u.deg), Latitude(dec, u.deg)
        moc = MOC.from_cone(*center, radius=radius * u.deg, max_depth=depth)
        return cls(moc, f"cone {ra!r},{dec!r},{radius!r}", footprint)

    @classmethod
    def parse_cone(cls, text: str) -> Region:
        """The cone in `"ra,dec,radius"` [deg]."""
        try:
            ra, dec, radius = map(float, text.split(","))
        except ValueError:
            raise CatalogError(
                f"--cone {text}: expected RA,DEC,RADIUS in degrees, such as 150.1,2.2,0.5."
            ) from None
        return cls.cone(ra, dec, radius)

    @classmethod
    def read(cls, path: Path) -> Region:
        """The region of a MOC file: FITS, JSON, or text (.txt, .ascii)."""
        kinds = {".fits": "fits", ".json": "json", ".txt": "ascii", ".ascii": "ascii"}
        if not path.is_file():
            raise CatalogError(f"{path}: no such file; expected a MOC in FITS, JSON or text.")
        kind = kinds.get(path.suffix.lower())
        if kind is None:
            raise CatalogError(
                f"{path}: '{path.suffix}' is no ending of a MOC; expected {', '.join(kinds)}."
            )
        try:
            moc = MOC.load(path, kind)
        except Exception as error:  # its readers raise nearly anything on a damaged file
            cause = str(error).split("\n")[0]
            raise CatalogError(f"{path}: could not be read as a MOC ({cause}).") from error
        if moc.empty():
            raise CatalogError(f"{path}: the MOC is empty; expected a part of the sky.")
        ranges = np.ascontiguousarray(moc.to_depth29_ranges, dtype="<u8")
        return cls(moc, f"MOC sha256 {hashlib.sha256(ranges.tobytes()).hexdigest()}")

    def tiles(self, largest: float) -> Iterator[SkyTile]:
        """Cells that cover the region by cones of at most `largest` [deg], in order."""
        waiting = [SkyTile(0, pixel) for pixel in reversed(range(12))]
        while waiting:
            tile = waiting.pop()
            cone = self.within(tile)
            if cone is None:
                continue
            if cone.radius <= largest:
                yield tile
            else:
                waiting += reversed(tile.children())

    def within(self, tile: SkyTile) -> Cone | None:
        """A cone around what lies in a cell of the region, or None where nothing does."""
        start, end = (np.array([0, 1]) + tile.pixel) << (2 * (DEEPEST - tile.order))
        first = np.searchsorted(self._ranges[:, 1], start, side="right")
        last = np.searchsorted(self._ranges[:, 0], end, side="left")
        ranges = np.clip(self._ranges[first:last], start, end)
        if not len(ranges):
            return None
        return _around(ranges)

    def trimmed(self, catalog: Catalog, tile: SkyTile) -> Catalog:
        """The sources that lie in the region and in the cell, by HEALPix pixel."""
        healpix = catalog.healpix
        place = np.searchsorted(self._ranges[:, 0], healpix, side="right") - 1
        inside = (place >= 0) & (healpix < self._ranges[place, 1]) & tile.holds(healpix)
        return self.footprint.select(catalog.take(inside))

    @cached_property
    def _ranges(self) -> np.ndarray:
        """First pixel of order 29 and one past the last, shape (K, 2), increasing."""
        return np.asarray(self.moc.to_depth29_ranges).astype(np.int64).reshape(-1, 2)


def _around(ranges: np.ndarray) -> Cone:
    """A cone around ranges of pixels of order 29, generous by some 5 % of their size."""
    size = float((ranges[:, 1] - ranges[:, 0]).sum())
    order = int(np.clip(DEEPEST - np.log2(size / _CELLS) / 2, 0, DEEPEST))
    shift = 2 * (DEEPEST - order)
    cells = np.concatenate([np.arange(a >> shift, ((b - 1) >> shift) + 1) for a, b in ranges])
    lon, lat = cdshealpix.nested.vertices(np.unique(cells), order, num_threads=1)
    corners = _vectors(lon.rad.ravel(), lat.rad.ravel())
    axis = corners.mean(axis=0)
    axis /= np.linalg.norm(axis)
    cosine = np.clip(corners @ axis, -1, 1).min()
    # Edges between corners bulge outwards by far less than a tenth of a cell.
    margin = 0.1 * np.sqrt(4 * np.pi / 12) / 2**order
    radius = np.degrees(min(np.arccos(cosine) + margin, np.pi))
    ra = np.degrees(np.arctan2(axis[1], axis[0])) % 360
    return Cone(float(ra), float(np.degrees(np.arcsin(axis[2]))), float(radius))


def _vectors(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
