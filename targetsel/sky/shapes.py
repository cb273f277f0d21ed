"""Shapes on the sky, and the files that hold them, as regions of HEALPix pixels.

A pixel that an edge runs through is inside. Pixels are `FINENESS` times finer than a shape; where
hundreds of shapes or thousands of corners come together, they are coarser: 30 times finer at least.
"""

from __future__ import annotations

import gzip
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from targetsel.errors import CatalogError
from targetsel.sky.positions import DEEPEST, Region, unit_vectors
from targetsel.tables.fits import open_fits
from targetsel.tables.reading import reading, reason

if TYPE_CHECKING:
    from mocpy import MOC

FILES = "a MOC (.fits, .json, .txt), a DS9 region file (.reg)"
FRAMES = ("icrs", "fk5", "j2000", "fk4", "b1950", "galactic", "ecliptic")
FRAMES_OF_PIXELS = ("image", "physical", "detector", "amplifier", "linear")
DRAWN = ("circle", "ellipse", "box", "annulus", "polygon", "point", "line", "vector", "text")
SHAPES = "circles, boxes, ellipses, annuli or polygons"
FINENESS = 500
MANY_SHAPES, MANY_CORNERS = 50, 2000  # from here on pixels are coarser
COARSEST = 0.06  # share of `FINENESS`
LARGEST_FILE = 256 * 1024**2  # bytes of text


def depth_for(radius: Any, fineness: float = FINENESS) -> Any:
    """The orders whose pixels (58.6 deg / 2^order) are so many times finer than shapes [deg]."""
    order = np.ceil(np.log2(58.6 * fineness / np.maximum(radius, 1e-9)))
    return np.clip(order, 8, DEEPEST).astype(int)


def fineness_of(count: int, many: int = MANY_SHAPES) -> float:
    """The ratio of the size of `count` shapes that come together to that of their pixels."""
    return FINENESS * float(np.clip(many / max(count, 1), COARSEST, 1.0))


# --- shapes --------------------------------------------------------------------------------------


def cones(
    ra: np.ndarray, dec: np.ndarray, radius: np.ndarray, fineness: float | None = None
) -> Region:
    """Everything within K angles of K positions [deg]; by default as fine as K allows."""
    depths = depth_for(np.minimum(radius, 180.0), fineness or fineness_of(len(ra)))
    wide = radius > 90
    regions = [_wide_cone(*of) for of in np.stack([ra, dec, radius, depths])[:, wide].T]
    for depth in np.unique(depths[~wide]):
        of = ~wide & (depths == depth)
        regions.append(_narrow_cones(ra[of], dec[of], radius[of], depth))
    return Region.union(regions)


def _narrow_cones(ra: np.ndarray, dec: np.ndarray, radius: np.ndarray, depth: int) -> Region:
    from astropy import units as u
    from mocpy import MOC

    given = {"lon": ra * u.deg, "lat": dec * u.deg, "radius": radius * u.deg}
    fixed = {"max_depth": depth, "delta_depth": 0, "n_threads": 1}
    return region_of(MOC.from_cones(**given, **fixed, union_strategy="large_cones"))


def _wide_cone(ra: float, dec: float, radius: float, depth: int) -> Region:
    """A cone of over 90 deg: all pixels but those wholly nearer to the opposite point."""
    import cdshealpix.nested
    from astropy.coordinates import Angle, Latitude, Longitude

    centre = Longitude((ra + 180) % 360, "deg"), Latitude(-dec, "deg")
    reach = Angle(max(180 - radius, 0.0), "deg")
    pixels, order, whole = cdshealpix.nested.cone_search(*centre, reach, int(depth))
    outside = Region.of_pixels(pixels[whole].astype(np.int64), order[whole])
    return Region.everywhere().without(outside)


def box(
    ra: float,
    dec: float,
    width: float,
    height: float,
    angle: float = 0.0,
    fineness: float = FINENESS,
) -> Region:
    """A rectangle of sides `width` and `height` [deg] around a position.

    At an `angle` [deg] of 0 the width runs along ra; it turns from there to the west and north, as
    in DS9.
    """
    return _tilted("box", ra, dec, width / 2, height / 2, angle, fineness)


def ellipse(
    ra: float,
    dec: float,
    semi_x: float,
    semi_y: float,
    angle: float = 0.0,
    fineness: float = FINENESS,
) -> Region:
    """An ellipse of such semi-axes [deg], the first along ra at an `angle` of 0 (see `box`)."""
    return _tilted("ellipse", ra, dec, semi_x, semi_y, angle, fineness)


def _tilted(
    kind: str, ra: float, dec: float, x: float, y: float, angle: float, fineness: float
) -> Region:
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from mocpy import MOC

    if not np.isfinite(angle):
        raise CatalogError(f"{kind}: its angle is {angle:g}; expected degrees")
    if not (0 < min(x, y) and max(x, y) <= 90):
        raise CatalogError(f"{kind}: sides of {2 * x:g} and {2 * y:g} deg; expected 0 to 180 deg")
    # mocpy takes the angle of the longer axis from the north to the east, from 0 to 180.
    turned = (angle + 90 if x >= y else angle) % 180.0
    place = {"lon": Longitude(ra, u.deg), "lat": Latitude(dec, u.deg)}
    axes = {"a": max(x, y) * u.deg, "b": min(x, y) * u.deg}
    axes["max_depth"] = depth_for(min(x, y), fineness)
    if kind == "box" and x == y:
        axes["a"] *= 1 + 1e-12  # which has to be the longer one
    if kind == "box":
        return region_of(MOC.from_box(**place, **axes, angle=turned * u.deg))
    return region_of(MOC.from_elliptical_cone(**place, **axes, pa=turned * u.deg))


def polygon(
    corners: Sequence[tuple[float, float]] | np.ndarray, fineness: float = FINENESS
) -> Region:
    """The smaller part of the sky that great circles between corners (ra, dec) [deg] enclose.

    Raises
    ------
    CatalogError
        If sides cross, or there are not three different corners.
    """
    from astropy.coordinates import SkyCoord
    from mocpy import MOC

    at = np.asarray(corners, dtype=float)
    at = at[(at != np.roll(at, 1, axis=0)).any(axis=1)]  # a corner given twice in a row counts once
    if len(np.unique(at, axis=0)) < 3:
        raise CatalogError("polygon: expected at least three different corners")
    vectors = unit_vectors(at[:, 0], at[:, 1])
    crossing = _crossing(vectors)
    if crossing is not None:
        one, other = (f"from ({at[k][0]:g}, {at[k][1]:g})" for k in crossing)
        raise CatalogError(f"polygon: its sides {one} and {other} cross; list corners in turn")
    radius = float(np.degrees(np.linalg.norm(vectors - vectors[0], axis=1).max())) / 2
    depth = depth_for(radius, min(fineness, fineness_of(len(at), MANY_CORNERS)))
    return region_of(MOC.from_polygon_skycoord(SkyCoord(at, unit="deg"), max_depth=depth))


def _crossing(vectors: np.ndarray) -> tuple[int, int] | None:
    """Two sides of a closed chain of unit vectors that cross each other; None if none do."""
    n = len(vectors)
    starts, ends = vectors, np.roll(vectors, -1, axis=0)
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    # Great circles bulge beyond the box of their ends, by no more than this.
    bulge = 1 - np.sqrt(np.maximum(1 - (np.linalg.norm(ends - starts, axis=1) / 2) ** 2, 0.0))
    low, high = low - bulge[:, None], high + bulge[:, None]
    axis = int(np.argmax(high.max(axis=0) - low.min(axis=0)))
    order = np.argsort(low[:, axis])
    normals = np.cross(starts, ends)
    for step in range(1, n):
        first, second = order[:-step], order[step:]
        near = low[second, axis] <= high[first, axis]
        if not near.any():
            return None
        first, second = first[near], second[near]
        apart = (np.abs(first - second) > 1) & (np.abs(first - second) < n - 1)
        first, second = first[apart], second[apart]
        # Both ends of each side lie on different sides of the other, in the same half of the sky.
        one = _sides(normals[first], starts[second])
        two = _sides(normals[first], ends[second])
        three = _sides(normals[second], starts[first])
        four = _sides(normals[second], ends[first])
        same = ((starts + ends)[first] * (starts + ends)[second]).sum(axis=1) > 0
        found = np.flatnonzero((one * two < 0) & (three * four < 0) & (one * three < 0) & same)
        if len(found):
            return int(first[found[0]]), int(second[found[0]])
    return None


def _sides(normals: np.ndarray, points: np.ndarray) -> np.ndarray:
    """1 or -1 for the side of a great circle that a point lies on, 0 on the circle."""
    height = (normals * points).sum(axis=1)
    return np.where(np.abs(height) < 1e-15, 0.0, np.sign(height))


# --- files ---------------------------------------------------------------------------------------


def region_of(moc: MOC) -> Region:
    """The region of a MOC."""
    return Region.of(moc.to_depth29_ranges)


def read_region(path: Path) -> Region:
    """The region that a MOC or DS9 region file holds.

    Raises
    ------
    CatalogError
        If the file is neither, is damaged, holds nothing, or something that we cannot read.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    readers = {
        ".fits": _fits_moc,
        ".moc": _fits_moc,
        ".json": _json_moc,
        ".txt": _text_moc,
        ".reg": _ds9_regions,
    }
    if suffix not in readers:
        raise CatalogError(f"{path}: its name ends in '{suffix}'; expected {FILES}.")
    region = readers[suffix](path)
    if not len(region.ranges):
        raise CatalogError(f"{path}: covers no part of the sky; expected {FILES}.")
    if region.ranges[0, 0] < 0 or region.ranges[-1, 1] > 12 * 4**DEEPEST:
        raise CatalogError(f"{path}: has pixels that are not on the sky. Make it again.")
    return region


def _text_in(path: Path) -> str:
    with reading(path, CatalogError, FILES):
        contents = path.read_bytes()
        if contents[:2] == b"\x1f\x8b":
            with gzip.open(path) as stream:
                contents = stream.read(LARGEST_FILE + 1)
        text = contents.decode("utf-8-sig")
    if len(contents) > LARGEST_FILE:
        raise CatalogError(
            f"{path}: expected at most {LARGEST_FILE >> 20} MiB of text. Split the file."
        )
    return text


def _text_moc(path: Path) -> Region:
    from mocpy import MOC

    text = _text_in(path)
    with reading(path, CatalogError, "a MOC in ASCII"):
        return region_of(_without_panic(MOC.from_string, text, "ascii"))


def _json_moc(path: Path) -> Region:
    text = _text_in(path)
    with reading(path, CatalogError, "a MOC in JSON"):
        orders = json.loads(text)
    if not isinstance(orders, Mapping):
        orders = {"?": []}
    regions = []
    for key, pixels in orders.items():
        order = int(key) if re.fullmatch("[12]?[0-9]", key) else -1
        whole = isinstance(pixels, list) and all(type(each) is int for each in pixels)
        largest = 12 * 4 ** max(order, 0)
        if not (whole and order >= 0 and all(0 <= each < largest for each in pixels)):
            raise CatalogError(
                f"{path}: not a MOC in JSON, which lists HEALPix pixels by order such as "
                f'{{"3": [1, 2]}}; faulty at "{key[:40]}". Make it again.'
            )
        regions.append(Region.of_pixels(np.array(pixels, dtype=np.int64), order))
    return Region.union(regions)


def _fits_moc(path: Path) -> Region:
    from mocpy import MOC

    with open_fits(path) as units, reading(path, CatalogError, "a MOC in FITS"):
        headers = [each.header for each in units if each.header.get("XTENSION") == "BINTABLE"]
        is_moc = [str(each.get("ORDERING")).strip() in ("NUNIQ", "RANGE") for each in headers]
        if sum(is_moc) != 1:
            raise CatalogError(
                f"{path}: has {sum(is_moc)} tables that are a MOC (by ORDERING); expected one."
            )
        header = headers[is_moc.index(True)]
        kind, frame = str(header.get("MOCDIM", "SPACE")), str(header.get("COORDSYS", "C"))
        if kind.strip() != "SPACE" or frame.strip() not in ("C", "ICRS"):
            raise CatalogError(
                f"{path}: is a MOC of {kind} in the frame {frame}; expected SPACE and C (ICRS)."
            )
        if is_moc[0] is False:
            raise CatalogError(f"{path}: its MOC is not the first table. Save it in a file alone.")
    with reading(path, CatalogError, "a MOC in FITS"):
        return region_of(_without_panic(MOC.load, str(path), "fits"))


def _without_panic(read: Any, *given: str) -> MOC:
    """The result of a function of mocpy, which on damaged files may end in what is no Exception."""
    try:
        return read(*given)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError("its reader gives up") from None


def _ds9_regions(path: Path) -> Region:
    """DS9's regions: those to include together, or the whole sky, without those to exclude."""
    from astropy.utils.exceptions import AstropyUserWarning
    from regions import Regions, SkyRegion, TextSkyRegion

    text = _text_in(path)
    _check_lines(path, text)
    excluded = bool(re.search(r"^\s*global\b.*\binclude\s*=\s*0", text, re.MULTILINE))
    if excluded and re.search(r"^\s*\+|^(?!\s*global).*\binclude\s*=\s*1", text, re.MULTILINE):
        raise CatalogError(
            f"{path}: excludes regions by 'global include=0', and includes some. Begin each line "
            "of those to exclude with a minus sign instead."
        )
    with (
        reading(path, CatalogError, "a DS9 region file"),
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always", AstropyUserWarning)  # it warns of lines that it ignores
        parsed = Regions.parse(text, format="ds9")
    if said:
        line = reason(AstropyUserWarning(said[0].message)).removesuffix(", skipping")
        raise CatalogError(f"{path}: {line}; expected {SHAPES} in fk5, icrs, galactic or ecliptic.")
    shapes = [each for each in parsed if not isinstance(each, TextSkyRegion)]  # labels
    for each in shapes:
        if not isinstance(each, SkyRegion):
            raise CatalogError(
                f"{path}: is in pixels of an image; save it in sky coordinates (fk5, icrs)."
            )
    sides: tuple[list[Any], list[Any]] = ([], [])
    for each in shapes:
        sides[excluded or not each.meta.get("include", 1)].append(each)
    try:
        included, left_out = (_together(side) for side in sides)
    except CatalogError as error:
        raise CatalogError(f"{path}: {error}.") from None
    return (included if sides[0] or not sides[1] else Region.everywhere()).without(left_out)


def _check_lines(path: Path, text: str) -> None:
    """Refuse lines of a DS9 file of which its reader would pass over a part without a word."""
    framed = False
    for number, line in enumerate(text.splitlines(), start=1):
        for part in line.split("#")[0].split(";"):
            words = re.findall(r"[^\s(),]+", part)
            first = words[0].lower().lstrip("+-") if words else ""
            framed |= first in (*FRAMES, *FRAMES_OF_PIXELS)
            joined = re.search(r"\|\||&", part)
            if joined:
                wrong = f"joins regions by '{joined[0]}', which is not read; list them alone"
            elif part.count("(") != part.count(")"):
                wrong = f"'{part.strip()[:60]}' is cut short; copy the file again"
            elif len(words) > 1 and first in FRAMES:
                wrong = f"'{words[0]}' is followed by '{words[1][:40]}'; give a frame a line alone"
            elif first in FRAMES_OF_PIXELS:
                wrong = f"is in the frame '{first}', of pixels; save it in fk5 or icrs"
            elif first in DRAWN and not framed:
                wrong = f"'{first}' has no frame; put a line before it with the frame, such as fk5"
            elif first == "circle" and len(words) > 4:
                wrong = f"a circle has {len(words) - 1} numbers; expected ra, dec and radius"
            else:
                continue
            raise CatalogError(f"{path}, line {number}: {wrong}.")


def _together(shapes: Sequence[Any]) -> Region:
    """The union of DS9's regions on the sky."""
    kinds = [type(each).__name__.removesuffix("SkyRegion") for each in shapes]
    for kind in kinds:
        if kind.removesuffix("Annulus") not in ("Circle", "Ellipse", "Rectangle", "Polygon"):
            raise CatalogError(f"holds a {kind}; expected {SHAPES}")
    places = _places(shapes)
    for kind, at in zip(kinds, places, strict=True):
        if not np.isfinite(at).all():
            raise CatalogError(f"holds a {kind} whose position is no number. Correct or remove it")
    together = list(zip(kinds, shapes, places, strict=True))
    circles = [
        (*at[:2, 0], _degrees(each.radius)) for kind, each, at in together if kind == "Circle"
    ]
    fineness = fineness_of(len(shapes))
    others = [_region_of_shape(*each, fineness) for each in together if each[0] != "Circle"]
    return Region.union([cones(*np.array(circles).reshape(-1, 3).T), *others])


def _region_of_shape(kind: str, shape: Any, at: np.ndarray, fineness: float) -> Region:
    if kind == "Polygon":
        return polygon(at[:2].T, fineness)
    ra, dec, north = at[:, 0]
    if kind == "CircleAnnulus":
        outer, inner = (
            np.array([_degrees(each)]) for each in (shape.outer_radius, shape.inner_radius)
        )
        return cones(at[0], at[1], outer, fineness).without(cones(at[0], at[1], inner, fineness))
    make: Callable[..., Region] = ellipse if kind.startswith("Ellipse") else box
    scale = 0.5 if kind.startswith("Ellipse") else 1.0
    angle = float(shape.angle.to_value("deg") + north)

    def shape_of(end: str) -> Region:
        width, height = (
            scale * _degrees(getattr(shape, end + side)) for side in ("width", "height")
        )
        return make(ra, dec, width, height, angle, fineness)

    if kind.endswith("Annulus"):
        return shape_of("outer_").without(shape_of("inner_"))
    return shape_of("")


def _degrees(angle: Any) -> float:
    degrees = float(angle.to_value("deg"))
    if not np.isfinite(degrees):
        raise CatalogError("holds a shape whose size is no number. Correct or remove it")
    return degrees


def _places(shapes: Sequence[Any]) -> list[np.ndarray]:
    """The centre or the corners of each of DS9's regions, shape (3, K).

    The rows are ra and dec [deg, ICRS], and the position angle there of the north of the region's
    own frame [deg].
    """
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    own = [each.vertices if hasattr(each, "vertices") else each.center for each in shapes]
    frames = [each.frame.name for each in own]
    found: list[np.ndarray] = [np.empty((3, 0))] * len(shapes)
    for name in set(frames):  # all of a frame together, as each conversion takes milliseconds
        which = [k for k, frame in enumerate(frames) if frame == name]
        data = [own[k].frame.data for k in which]
        lon, lat = (
            [np.atleast_1d(getattr(each, axis).deg) for each in data] for axis in ("lon", "lat")
        )
        frame = own[which[0]].frame.replicate_without_data()
        there = SkyCoord(np.concatenate(lon), np.concatenate(lat), unit="deg", frame=frame)
        here = there.icrs
        north = here.position_angle(there.directional_offset_by(0 * u.deg, 1 * u.arcsec).icrs)
        rows = np.stack([here.ra.deg, here.dec.deg, north.deg])
        ends = np.cumsum([len(each) for each in lon])[:-1]
        for k, part in zip(which, np.split(rows, ends, axis=1), strict=True):
            found[k] = part
    return found
