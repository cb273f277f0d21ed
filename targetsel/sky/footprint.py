"""Footprints: where on the sky a rule file's classes live.

    footprint:
      include: [survey.moc.fits, {cone: {ra: 150.1, dec: 2.2, radius: 1.5 deg}}]
      exclude: [bright_stars.reg, {healpix: {nside: 64, pixels: [12, 13]}}]

A source is inside if any entry of `include` holds it (the whole sky where there is none) and no
entry of `exclude` does. Every shape becomes a Multi-Order Coverage map (IVOA MOC 2.0), so that
whether a source is inside follows from its HEALPix pixel of order 29 alone. The edges of cones,
polygons and region files are as fine as 1/500 of their size; a pixel that an edge runs through
is inside.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Latitude, Longitude, SkyCoord
from astropy.utils.exceptions import AstropyUserWarning

from targetsel.documents.document import Map, Node, Scalar, Sequence
from targetsel.documents.source_location import SourceLocation
from targetsel.errors import CatalogError, did_you_mean
from targetsel.expressions import grammar as expression
from targetsel.sky.external_files import Attachments, remembered
from targetsel.tables.formats import open_table

if TYPE_CHECKING:
    from mocpy import MOC

DEEPEST = 29
SHAPES = {
    "cone": ("ra", "dec", "radius"),
    "polygon": (),
    "healpix": ("nside", "pixels"),
}
FILES = "a MOC (.fits, .json, .txt), a DS9 region file (.reg)"
_PIXEL_COLUMNS = ("pixel", "healpix", "ipix", "hpx", "pix")
_FINENESS = 500


@dataclass(frozen=True)
class Region:
    """A part of the sky as ranges of HEALPix pixels.

    Attributes
    ----------
    ranges : ndarray of int64, shape (K, 2)
        First pixel of order 29, and one past the last, increasing and apart.
    sha256 : str
        Of the ranges.
    """

    ranges: np.ndarray = field(repr=False, compare=False)
    sha256: str

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
        return healpix < ends[place]  # place -1 is the end that nothing is below

    def overlaps(self, first: int, last: int) -> bool:
        """Whether any pixel from `first` to `last` is inside."""
        below = int(np.searchsorted(self.ranges[:, 0], last, side="right"))
        return below > 0 and bool(self.ranges[below - 1, 1] > first)

    def covered(self, pixels: np.ndarray, order: int) -> np.ndarray:
        """The share of each pixel of a coarser order that is inside, shape (N,)."""
        size = 4 ** (DEEPEST - order)
        return (self._area(pixels * size + size) - self._area(pixels * size)) / size

    def _area(self, pixel: np.ndarray) -> np.ndarray:
        """How many pixels of order 29 below each of these are inside."""
        starts, ends = self.ranges.T
        total = np.concatenate([[0], np.cumsum(ends - starts)])
        place = np.searchsorted(starts, pixel, side="right")
        beyond = np.concatenate([[0], ends])[place] - pixel
        return total[place] - np.maximum(beyond, 0)


@dataclass(frozen=True)
class Shape:
    """One entry of a footprint: its kind, "file" or one of `SHAPES`, and its parameters."""

    kind: str
    parameters: Any  # what JSON can hold
    place: SourceLocation = field(compare=False, repr=False)

    def region(self, files: Attachments) -> Region:
        """The part of the sky that the shape covers."""
        from mocpy import MOC

        if self.kind == "file":
            return region_in(self.parameters, self.place, files)
        if self.kind == "cone":
            ra, dec, radius = self.parameters
            lon, lat = Longitude(ra, u.deg), Latitude(dec, u.deg)
            return _region(MOC.from_cone(lon, lat, radius=radius * u.deg, max_depth=_depth(radius)))
        if self.kind == "polygon":
            corners = SkyCoord(self.parameters, unit=u.deg)
            radius = float(corners.separation(corners[0]).max().deg) / 2
            return _region(MOC.from_polygon_skycoord(corners, max_depth=_depth(radius)))
        nside, pixels = self.parameters
        order = nside.bit_length() - 1
        if isinstance(pixels, str):
            pixels = _pixels_listed(pixels, self.place, files)
        pixels = np.asarray(pixels, dtype=np.int64)
        if len(pixels) and not 0 <= pixels.min() <= pixels.max() < 12 * nside**2:
            raise self.place.error(f"pixels of nside {nside} are 0 to {12 * nside**2 - 1}")
        size = 4 ** (DEEPEST - order)
        return Region.of(np.stack([pixels * size, pixels * size + size], axis=1))


@dataclass(frozen=True)
class Footprint:
    """What to include and what to exclude; see the top of this module."""

    include: tuple[Shape, ...] = ()
    exclude: tuple[Shape, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    @cached_property
    def canonical(self) -> Any:
        """What the footprint says, in a form that JSON can hold."""
        return [
            [[each.kind, each.parameters] for each in side] for side in (self.include, self.exclude)
        ]

    def region(self, files: Attachments) -> Region:
        """The part of the sky inside.

        Raises
        ------
        RuleError
            If a file is missing or does not hold a region.
        """
        inside = [each.region(files) for each in self.include]
        outside = [each.region(files) for each in self.exclude]
        whole = Region.of(np.array([[0, 12 * 4**DEEPEST]]))
        return (Region.union(inside) if inside else whole).without(Region.union(outside))


def region_in(name: str, place: SourceLocation, files: Attachments) -> Region:
    """The region that a MOC or DS9 region file holds.

    Raises
    ------
    RuleError
        If the file is missing or is neither.
    """
    path = files.path(name, place)
    try:
        return remembered(_read_region, path)
    except BaseException as error:
        # A damaged MOC can end in a panic of the library, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise place.error(f"'{name}' is not {FILES}, or is damaged ({reason})") from None


def _region(moc: MOC) -> Region:
    return Region.of(moc.to_depth29_ranges)


def _read_region(path: Path) -> Region:
    from mocpy import MOC

    formats = {".fits": "fits", ".json": "json", ".txt": "ascii", ".moc": "fits"}
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in formats:
        return _region(MOC.load(str(path), formats[suffix]))
    if suffix != ".reg":
        raise CatalogError(f"its name ends in '{suffix}'")
    from regions import Regions

    with warnings.catch_warnings():
        warnings.simplefilter("error", AstropyUserWarning)  # it warns of lines that it leaves out
        shapes = Regions.read(str(path), format="ds9")
    if not len(shapes):
        raise CatalogError("it holds no region")
    mocs = [MOC.from_astropy_regions(each, max_depth=_depth(_radius(each))) for each in shapes]
    return Region.union([_region(moc) for moc in mocs])


def _radius(region: Any) -> float:
    """About half the size of a DS9 region [deg]."""
    if hasattr(region, "vertices"):
        corners = region.vertices
        return float(corners.separation(corners[0]).max().deg) / 2
    for name in ("radius", "outer_radius", "width"):
        if hasattr(region, name):
            size = getattr(region, name)
            if not isinstance(size, u.Quantity):
                raise CatalogError("it is in pixels of an image; save it in sky coordinates")
            return float(size.to_value(u.deg))
    raise CatalogError(f"it holds a {type(region).__name__}; circles, boxes, ... are read")


def _pixels_listed(name: str, place: SourceLocation, files: Attachments) -> np.ndarray:
    path = files.path(name, place)
    try:
        return remembered(_pixels_in, path)
    except CatalogError as error:
        raise place.error(str(error)) from None


def _pixels_in(path: Path) -> np.ndarray:
    table = open_table(path)
    for name in table.schema.names:
        if name.lower() in _PIXEL_COLUMNS:
            pieces = [piece[name].to_numpy() for piece in table.batches(1 << 20, [name])]
            return np.concatenate([np.empty(0, dtype=np.int64), *pieces]).astype(np.int64)
    raise CatalogError(f"{path}: no column of pixels; looked for {', '.join(_PIXEL_COLUMNS)}.")


def _depth(radius: float) -> int:
    """The order whose pixels (58.6 deg / 2^order) are finer than a shape by `_FINENESS`."""
    return int(np.clip(math.ceil(math.log2(58.6 * _FINENESS / max(radius, 1e-9))), 8, DEEPEST))


# --- from YAML -----------------------------------------------------------------------------------


def footprint_of(node: Map) -> Footprint:
    """The footprint that a map with `include` and `exclude` describes."""
    for name, key in node.keys_at.items():
        if name not in ("include", "exclude"):
            hint = did_you_mean(name, ("include", "exclude")) or " Known here: include, exclude."
            raise key.error(f"unknown key '{name}' in footprint.{hint}")
    return Footprint(*(_shapes(node.get(side)) for side in ("include", "exclude")))


def _shapes(node: Node | None) -> tuple[Shape, ...]:
    if node is None:
        return ()
    return tuple(_shape(each) for each in (node if isinstance(node, Sequence) else [node]))


def _shape(node: Node) -> Shape:
    if isinstance(node, Scalar):
        return Shape("file", node, node.place)
    if not isinstance(node, Map) or len(node) != 1:
        raise node.place.error(
            f"a shape is the name of a file ({FILES}) or one of cone, polygon and healpix, "
            "e.g. {cone: {ra: 150.1, dec: 2.2, radius: 1.5 deg}}"
        )
    ((kind, inner),) = node.items()
    place = node.keys_at[kind]
    if kind not in SHAPES:
        hint = did_you_mean(kind, SHAPES) or f" Known: {', '.join(SHAPES)}."
        raise place.error(f"unknown shape '{kind}'.{hint}")
    if kind == "polygon":
        return Shape(kind, _corners(inner), place)
    if not isinstance(inner, Map) or set(inner) != set(SHAPES[kind]):
        raise inner.place.error(f"{kind} is a map of {', '.join(SHAPES[kind])}")
    if kind == "cone":
        center = _position(inner["ra"], inner["dec"])
        return Shape(kind, [*center, angle(inner["radius"])], place)
    return Shape(kind, [nside_of(inner["nside"]), _pixels(inner["pixels"])], place)


def _corners(node: Node) -> list[list[float]]:
    corners = node if isinstance(node, Sequence) else []
    pairs = [each if isinstance(each, Sequence) else [] for each in corners]
    if not 3 <= len(pairs) <= 10_000 or any(len(pair) != 2 for pair in pairs):
        raise node.place.error("a polygon is a list of corners, [[ra, dec], [ra, dec], [ra, dec]]")
    positions = [_position(*pair) for pair in pairs]
    if len(set(map(tuple, positions))) < 3:
        raise node.place.error("a polygon has three different corners at least")
    return positions


def _position(ra: Node, dec: Node) -> list[float]:
    position = [number_of(ra, "deg"), number_of(dec, "deg")]
    for node, value, low, high in ((ra, position[0], 0, 360), (dec, position[1], -90, 90)):
        if not low <= value <= high:
            raise node.place.error(f"expected {low} to {high} deg, not {value:g}")
    return position


def _pixels(node: Node) -> str | list[int]:
    """Pixel numbers, or the name of a file that lists them."""
    if isinstance(node, Scalar) and not node.isdigit():
        return node
    items = node if isinstance(node, Sequence) else [node]
    for each in items:
        if not isinstance(each, Scalar) or not (each.isdigit() and len(each) < 19):
            raise each.place.error("pixels are whole numbers, or the name of a table with them")
    return [int(each) for each in items if isinstance(each, Scalar)]


def nside_of(node: Node) -> int:
    """A HEALPix resolution, 1 to 2^24."""
    text = node if isinstance(node, Scalar) else ""
    nside = int(text) if text.isdigit() and len(text) < 10 else 0
    if nside < 1 or nside > 2**24 or nside & (nside - 1):
        raise node.place.error("nside is a power of two, e.g. 64 (pixels of 0.92 deg)")
    return nside


def angle(node: Node) -> float:
    """A positive angle in degrees; it has to name its unit."""
    value = number_of(node, "deg", unit_needed=True)
    if not 0 < value <= 180:
        raise node.place.error(f"expected an angle above 0 and up to 180 deg, not {value:g} deg")
    return value


def number_of(node: Node, unit: str, unit_needed: bool = False) -> float:
    """A number in `unit`, from a text such as ``1.5 arcsec``; a bare number is in `unit`."""
    if not isinstance(node, Scalar):
        raise node.place.error(f"expected a number, e.g. 1.5 {unit}")
    tree = expression.parse(node, node.place)
    sign = 1.0
    if isinstance(tree, expression.Branch) and tree.word == "negative":
        sign, tree = -1.0, tree.parts[0]
    if not isinstance(tree, expression.Number):
        raise node.place.error(f"expected a number, e.g. 1.5 {unit}")
    if not tree.unit:
        if unit_needed:
            raise node.place.error(f"the angle needs a unit: deg, arcmin or arcsec, not {tree}")
        return sign * tree.value
    written = u.Unit(expression.UNITS[tree.unit])
    if not written.is_equivalent(u.Unit(unit)):
        raise node.place.error(f"expected a number in {unit}, not in {tree.unit}")
    return sign * float((tree.value * written).to_value(unit))
