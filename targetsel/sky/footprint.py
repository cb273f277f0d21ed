"""Footprints: parts of the sky, as rule files, fetching and the library describe them.

    footprint:
      include: [survey.moc.fits, {cone: {ra: 150.1, dec: 2.2, radius: 1.5 deg}}]
      exclude: [bright_stars.reg, {healpix: {nside: 64, pixels: [12, 13]}}]

A source is inside if any entry of `include` holds it (the whole sky where there is none) and no
entry of `exclude` does. `Footprint.region` gives a Multi-Order Coverage map (IVOA MOC 2.0), so
that whether a source is inside follows from its HEALPix pixel of order 29 alone: the edges of
cones, boxes, polygons and region files are then as fine as 1/500 of their size (1/30 where
hundreds come together), and a pixel that an edge runs through is inside. `Footprint.contains` and
`select` know the exact edge of a cone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from targetsel.documents.models import (
    Angle,
    DocumentModel,
    Expected,
    FieldError,
    OneOrMany,
    Parsed,
    PlacedText,
    Quantity,
    map_of,
)
from targetsel.documents.source_location import SourceLocation
from targetsel.errors import CatalogError
from targetsel.sky.external_files import ExternalFiles
from targetsel.sky.positions import Region, chord, healpix_of, unit_vectors
from targetsel.sky.shapes import (
    FILES,
    FINENESS,
    box,
    cones,
    fineness_of,
    polygon,
    read_region,
)

if TYPE_CHECKING:
    from targetsel.sky.catalog import Catalog

MANY_CONES = 30  # from here on sources are searched for by cone, and not the reverse
_WHOLE = re.compile(r"[0-9]{1,18}")
RightAscension = Annotated[float, Quantity("deg", 0, 360)]
Declination = Annotated[float, Quantity("deg", -90, 90)]


def _nside(value: Any) -> int:
    nside = int(value) if _WHOLE.fullmatch(str(value)) else 0
    if nside < 1 or nside > 2**24 or nside & (nside - 1):
        raise ValueError("nside must be a power of two, e.g. 64 (pixels of 0.92 deg)")
    return nside


def _pixels(value: Any) -> str | list[int]:
    """Pixel numbers, or the name of a file that lists them."""
    if isinstance(value, str) and not _WHOLE.fullmatch(value):
        return value
    items = value if isinstance(value, list | tuple) else [value]
    for each in items:
        if not (isinstance(each, str | int) and _WHOLE.fullmatch(str(each))):
            raise ValueError("pixels must be whole numbers, or the name of a table with them")
    return [int(each) for each in items]


Nside = Annotated[
    int,
    Parsed(
        _nside,
        {"type": "integer", "minimum": 1, "maximum": 2**24, "description": "A power of two."},
    ),
]
Pixels = Annotated[
    str | list[int],
    Parsed(
        _pixels,
        {
            "anyOf": [
                {"type": "string"},
                {"type": "integer"},
                {"type": "array", "items": {"type": "integer"}},
            ]
        },
    ),
]


class ConeShape(DocumentModel):
    """Everything within an angle of a position."""

    ra: RightAscension
    dec: Declination
    radius: Angle

    def contains(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Whether positions [deg] are inside, the edge included, shape (N,)."""
        from astropy.coordinates import angular_separation

        here, there = np.radians([ra, dec]), np.radians([self.ra, self.dec])
        return angular_separation(*here, *there) <= np.radians(self.radius)


class BoxShape(DocumentModel):
    """A rectangle around a position, its sides parallel to ra and dec there."""

    ra: RightAscension
    dec: Declination
    width: Angle
    height: Angle


class HealpixShape(DocumentModel):
    """HEALPix pixels, nested."""

    nside: Nside
    pixels: Pixels


class Shape(DocumentModel):
    """One entry of a footprint: the name of a file, or one of the shapes."""

    model_config = ConfigDict(
        json_schema_extra={"type": ["object", "string"], "minProperties": 1, "maxProperties": 1}
    )

    file: PlacedText | None = Field(default=None, description="A MOC or a DS9 region file.")
    cone: ConeShape | None = None
    box: BoxShape | None = None
    polygon: (
        Annotated[
            tuple[tuple[RightAscension, Declination], ...],
            Field(min_length=3, max_length=10_000),
            Expected("a list of corners, [[ra, dec], [ra, dec], [ra, dec]], in deg"),
        ]
        | None
    ) = None
    healpix: HealpixShape | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_of_file(cls, data: Any) -> Any:
        return map_of("file", data)

    @model_validator(mode="after")
    def _one_shape(self) -> Shape:
        if len(self.model_fields_set) != 1:
            raise ValueError(
                f"a shape must be the name of a file ({FILES}) or one of cone, box, polygon and "
                "healpix, e.g. {cone: {ra: 150.1, dec: 2.2, radius: 1.5 deg}}"
            )
        if self.polygon is not None and len(set(self.polygon)) < 3:
            raise FieldError("polygon", "a polygon has three different corners at least")
        return self

    @property
    def parameters(self) -> Any:
        """The shape as plain values for JSON."""
        (kind,) = self.model_fields_set
        inner = getattr(self, kind)
        if isinstance(inner, DocumentModel):
            return [kind, list(inner.model_dump().values())]
        return [kind, str(inner) if kind == "file" else [list(corner) for corner in inner]]

    def region(self, files: ExternalFiles, fineness: float = FINENESS) -> Region:
        """The part of the sky that the shape covers; `fineness` as in `sky.shapes`."""
        if self.file is not None:
            return files.region(self.file, getattr(self.file, "place", SourceLocation()))
        if self.healpix is not None:
            return self._of_pixels(self.healpix, files)
        if self.cone is not None:
            return _cones([self.cone])
        try:
            if self.polygon is not None:
                return polygon(self.polygon, fineness)
            assert self.box is not None
            of = (self.box.ra, self.box.dec, self.box.width, self.box.height)
            return box(*of, fineness=fineness)
        except CatalogError as error:
            raise self.place_of().error(str(error)) from None

    def _of_pixels(self, shape: HealpixShape, files: ExternalFiles) -> Region:
        pixels, nside, place = shape.pixels, shape.nside, self.place_of()
        listed = files.pixels(pixels, place, nside) if isinstance(pixels, str) else pixels
        numbers = np.asarray(listed, dtype=np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < 12 * nside**2:
            raise place.error(
                f"expected pixels from 0 to {12 * nside**2 - 1}, which nside {nside} has"
            )
        return Region.of_pixels(numbers, nside.bit_length() - 1)


def _cones(shapes: Sequence[ConeShape]) -> Region:
    return cones(*np.array([(each.ra, each.dec, each.radius) for each in shapes]).reshape(-1, 3).T)


def _union(shapes: Sequence[Shape], files: ExternalFiles) -> Region:
    """The region of all these shapes; many cones together take much less time than one by one."""
    fineness = fineness_of(len(shapes))
    others = [each.region(files, fineness) for each in shapes if each.cone is None]
    return Region.union([_cones([each.cone for each in shapes if each.cone is not None]), *others])


class Footprint(DocumentModel):
    """A part of the sky: shapes to include and shapes to exclude."""

    model_config = ConfigDict(title="footprint")

    include: Annotated[tuple[Shape, ...], OneOrMany()] = Field(
        default=(), description="Shapes and files; the whole sky if there is none."
    )
    exclude: Annotated[tuple[Shape, ...], OneOrMany()] = Field(
        default=(), description="Shapes and files that are taken out."
    )

    @classmethod
    def everywhere(cls) -> Footprint:
        """The whole sky."""
        return cls()

    @classmethod
    def cone(cls, ra: float, dec: float, radius_deg: float) -> Footprint:
        """Everything within `radius_deg` of (ra, dec) [deg], the edge included.

        Raises
        ------
        CatalogError
            If there is no such cone.
        """
        place = f"cone {ra:g},{dec:g},{radius_deg:g}"
        if not (-180 <= ra <= 360 and -90 <= dec <= 90):
            raise CatalogError(f"{place}: the center is not on the sky; give ra and dec in deg.")
        if not 0 < radius_deg <= 180:
            raise CatalogError(f"{place}: radius {radius_deg:g} deg; expected 0 to 180 deg.")
        center = {"ra": ra % 360 if ra < 0 else ra, "dec": dec, "radius": radius_deg}
        return cls.model_validate({"include": [{"cone": center}]})

    @classmethod
    def read(cls, path: Path) -> Footprint:
        """The footprint in a MOC (.fits, .json, .txt) or DS9 region file (.reg).

        Raises
        ------
        CatalogError
            If the file is missing or is neither.
        """
        path = Path(path).resolve()
        if not path.is_file():
            raise CatalogError(f"{path}: no such file; expected {FILES}.")
        read_region(path)
        return cls.model_validate({"include": [{"file": str(path)}]})

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    @property
    def canonical(self) -> Any:
        """The footprint as plain values for JSON."""
        return [[each.parameters for each in side] for side in (self.include, self.exclude)]

    def region(self, files: ExternalFiles | None = None) -> Region:
        """The part of the sky inside, generous by a pixel at its edges.

        Raises
        ------
        RuleError
            If a file is missing or does not hold a region.
        """
        files = files or ExternalFiles()
        whole = _union(self.include, files) if self.include else Region.everywhere()
        return whole.without(_union(self.exclude, files))

    def contains(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Whether positions [deg, ICRS] are inside, shape (N,)."""
        ra, dec = np.atleast_1d(ra).astype(float), np.atleast_1d(dec).astype(float)
        if not self:
            return np.ones(len(ra), dtype=bool)
        cones, region = self._pieces[0]
        inside = _found(cones, region, ra, dec) if self.include else np.ones(len(ra), dtype=bool)
        cones, region = self._pieces[1]
        return inside & ~_found(cones, region, ra, dec)

    def select(self, catalog: Catalog) -> Catalog:
        """The sources of `catalog` inside, in their order."""
        return catalog.take(self.contains(catalog.ra, catalog.dec)) if self else catalog

    @cached_property
    def _pieces(self) -> list[tuple[list[ConeShape], Region]]:
        """The cones, and the region of the other shapes, of each side."""
        files = ExternalFiles()
        return [
            (
                [each.cone for each in side if each.cone is not None],
                _union([each for each in side if each.cone is None], files),
            )
            for side in (self.include, self.exclude)
        ]


def _found(cones: list[ConeShape], region: Region, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    inside = np.zeros(len(ra), dtype=bool)
    if len(region.ranges):
        inside = region.found(healpix_of(ra, dec))
    if len(cones) > MANY_CONES and len(ra):
        from scipy.spatial import cKDTree

        at = np.array([(each.ra, each.dec, each.radius) for each in cones])
        reach = np.nextafter([chord(radius) for radius in at[:, 2]], np.inf)
        tree = cKDTree(unit_vectors(ra, dec))
        for found in tree.query_ball_point(unit_vectors(at[:, 0], at[:, 1]), reach):
            inside[found] = True
        return inside
    for cone in cones:
        inside |= cone.contains(ra, dec)
    return inside
