"""Tiles of the sky, which divide a region into single requests for its sources.

A tile is a HEALPix cell; a request is for the cone around the part of the region inside it. A tile
of too many sources is cut into its four children. Each source lies in one tile alone, and tiles in
order hold sources in the order of `_healpix_29`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cdshealpix.nested
import numpy as np

from targetsel.sky.positions import DEEPEST, Region, unit_vectors

_CELLS = 400  # that stand for a piece of the region


@dataclass(frozen=True)
class SkyTile:
    """A HEALPix cell, nested."""

    order: int
    pixel: int

    @property
    def name(self) -> str:
        return f"{self.order}-{self.pixel}"

    @property
    def pixels(self) -> tuple[int, int]:
        """First pixel of order 29, and one past the last."""
        size = 4 ** (DEEPEST - self.order)
        return self.pixel * size, (self.pixel + 1) * size

    def children(self) -> list[SkyTile]:
        return [SkyTile(self.order + 1, 4 * self.pixel + k) for k in range(4)]

    def holds(self, healpix: np.ndarray) -> np.ndarray:
        """Whether pixels of order 29 lie in the cell, shape (N,)."""
        first, end = self.pixels
        return (first <= healpix) & (healpix < end)


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


def tiles_of(region: Region, largest: float) -> Iterator[SkyTile]:
    """Tiles that cover a region by cones of at most `largest` [deg], in order."""
    waiting = [SkyTile(0, pixel) for pixel in reversed(range(12))]
    while waiting:
        tile = waiting.pop()
        cone = cone_around(region, tile)
        if cone is None:
            continue
        if cone.radius <= largest:
            yield tile
        else:
            waiting += reversed(tile.children())


def cone_around(region: Region, tile: SkyTile) -> Cone | None:
    """A cone around the part of a region in a tile, or None where there is none.

    The cone is generous by some 5 % of its size.
    """
    start, end = tile.pixels
    first = np.searchsorted(region.ranges[:, 1], start, side="right")
    last = np.searchsorted(region.ranges[:, 0], end, side="left")
    ranges = np.clip(region.ranges[first:last], start, end)
    if not len(ranges):
        return None
    size = float((ranges[:, 1] - ranges[:, 0]).sum())
    order = int(np.clip(DEEPEST - np.log2(size / _CELLS) / 2, 0, DEEPEST))
    shift = 2 * (DEEPEST - order)
    cells = np.concatenate([np.arange(a >> shift, ((b - 1) >> shift) + 1) for a, b in ranges])
    lon, lat = cdshealpix.nested.vertices(np.unique(cells), order, num_threads=1)
    corners = unit_vectors(lon.deg.ravel(), lat.deg.ravel())
    axis = corners.mean(axis=0)
    axis /= np.linalg.norm(axis)
    cosine = np.clip(corners @ axis, -1, 1).min()
    # Edges between corners bulge outwards by far less than a tenth of a cell.
    margin = 0.1 * np.sqrt(4 * np.pi / 12) / 2**order
    radius = np.degrees(min(np.arccos(cosine) + margin, np.pi))
    ra = np.degrees(np.arctan2(axis[1], axis[0])) % 360
    return Cone(float(ra), float(np.degrees(np.arcsin(axis[2]))), float(radius))
