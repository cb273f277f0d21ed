"""Maps of the sky in HEALPix pixels, such as depth, seeing, extinction or the density of stars.

A map is named by its file, and by what the file leaves open: ``stars.fits``, one column of it,
``stars.fits:STARDENS``, or the order of its pixels, too: ``stars.fits:STARDENS:nested``. A table
without a header takes the nside behind that word: ``seeing.csv:fwhm:ring64``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, absent, counted
from targetsel.sky.positions import DEEPEST, centres_of, coarser, healpix_of, nested_of_ring
from targetsel.tables.any_format import footer_of
from targetsel.tables.columns import column_named, floats, matrix
from targetsel.tables.fits import open_fits
from targetsel.tables.formats import fits_tables_in, open_columns
from targetsel.tables.ids import exact_ids
from targetsel.tables.types import held, is_number

PIXEL_COLUMNS = ("pixel", "healpix", "ipix", "hpx", "pix", "hpxpixel", "hpix", "_healpix_29")
DEEPEST_MAP = 13  # order of the finest map that is read: nside 8192
UNSEEN = -1.6e30  # healpy's -1.6375e30 for "no value", whatever its rounding
CODES = (-99.0, -999.0, -9999.0, -99999.0)  # what others write for "no value"
SMOOTHER = 0.5  # scatter of neighbours, of that in the order a map states: a wrong order
_WHOLE_FILE = 1 << 62  # rows
_ORDERING = re.compile(r"(nested|nest|ring)([0-9]*)", re.IGNORECASE)
_EQUATORIAL = ("", "C", "Q", "CEL", "EQU", "EQUATORIAL", "CELESTIAL", "ICRS", "FK5")
_GALACTIC = ("G", "GAL", "GALACTIC")


@dataclass(frozen=True)
class SkyMap:
    """Values in pixels of the sky.

    Attributes
    ----------
    name : str
        As it was named.
    column : str
        The column that holds the values.
    order : int
        HEALPix order of the pixels; 29 for values at positions.
    pixels : ndarray of int64, shape (K,)
        In NESTED order, increasing.
    values : ndarray, shape (K,)
        All finite.
    galactic : bool
        Whether the pixels divide the sky in galactic coordinates.
    doubt : str
        What speaks against the order of its pixels that the user said, or against its values, in a
        sentence; empty where nothing does.
    """

    name: str
    column: str
    order: int
    pixels: np.ndarray = field(repr=False, compare=False)
    values: np.ndarray = field(repr=False, compare=False)
    galactic: bool = False
    doubt: str = ""

    def at(self, pixels: np.ndarray, order: int) -> np.ndarray:
        """The mean value in other pixels, shape (N,); NaN where the map has none.

        A galactic map is converted: its value is taken at 16 points of each pixel.

        Parameters
        ----------
        pixels : ndarray of int64, shape (N,)
            ICRS, in NESTED order.
        order : int
        """
        if self.galactic:
            finer = (pixels[:, None] << 4) + np.arange(16)
            found = self._at_points(*centres_of(finer.ravel(), order + 2), order + 2)
            return _mean(found.reshape(-1, 16))
        if self.order < order:
            return _looked_up(self.pixels, self.values, pixels >> 2 * (order - self.order))
        return _looked_up(*self._degraded(order), pixels)

    def _at_points(self, ra: np.ndarray, dec: np.ndarray, order: int) -> np.ndarray:
        """The values of a galactic map, no finer than this order, at positions [deg], (N,)."""
        from astropy.coordinates import SkyCoord

        there = SkyCoord(ra, dec, unit="deg").galactic
        own = min(order, self.order)
        pixels = coarser(healpix_of(np.asarray(there.l.deg), np.asarray(there.b.deg)), own)
        return _looked_up(*self._degraded(own), pixels)

    def _degraded(self, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Coarser pixels, and the mean of what is known within each."""
        pixels, place = np.unique(self.pixels >> 2 * (self.order - order), return_inverse=True)
        return pixels, np.bincount(place, self.values) / np.bincount(place)


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of each row's known values, shape (N,); NaN where there is none."""
    known = np.isfinite(values)
    n = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _looked_up(pixels: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The values of wanted pixels; NaN where they are not among the increasing `pixels`."""
    if not len(pixels):
        return np.full(len(wanted), np.nan)
    place = np.minimum(np.searchsorted(pixels, wanted), len(pixels) - 1)
    return np.where(pixels[place] == wanted, values[place], np.nan)


def map_of_sources(named: str, pixels: np.ndarray, values: np.ndarray) -> SkyMap:
    """The map of a value of sources, in their pixels of order 29, shape (N,) both.

    Raises
    ------
    CatalogError
        If no source has a value.
    """
    return _checked(SkyMap(named, named, DEEPEST, *_known(pixels, values)))


def file_of(named: str) -> Path:
    """The file of a map, by how it is named."""
    return _named(named)[0]


def is_map_file(named: str) -> bool:
    """Whether a map is named by a file that is there."""
    return file_of(named).is_file()


def read_map(named: str) -> SkyMap:
    """The map that a file holds; see the head of the module for how it is named.

    FITS files may list the value of every pixel in order, or numbers of pixels beside values, in
    RING or NESTED order. Any other table has a column of pixels. NaN, nulls, healpy's -1.6375e30
    and the BAD_DATA of a header are no values.

    Raises
    ------
    CatalogError
        If the file cannot be read, does not say which pixels its values are of, or has no value.
    """
    path, name, ordering, nside = _named(named)
    if not path.is_file():
        raise CatalogError(absent(path))
    extension, header = _header(path, name)
    table = open_columns(path, extension)
    names = table.schema.names
    pixel_column = _pixel_column(path, names, header)
    column = column_named(table.schema, name or _only_values(path, table.schema), path)
    wanted = [each for each in (pixel_column, column.name) if each]
    if pixel_column == column.name:
        raise CatalogError(f"{path}, column '{name}': holds pixels. Name a column of values.")
    content = pa.concat_tables([*table.batches(_WHOLE_FILE, wanted)]) if table.num_rows else None
    if content is None:
        raise CatalogError(f"{path}: has no rows. Name another map.")
    values = _values(content, column.name, header, path)
    told = _Told.of(path, table.schema, header, ordering, nside)
    if pixel_column is None:
        pixels, order = np.arange(len(values)), _order_of_whole(path, len(values), told.nside)
    elif pixel_column == "_healpix_29":
        known = _known(_numbers(content, pixel_column, path), values)
        return _checked(SkyMap(named, column.name, DEEPEST, *known))
    else:
        pixels = _numbers(content, pixel_column, path)
        order = _order_of_pixels(path, pixels, told.nside)
    if len(values) > len(pixels):
        raise CatalogError(
            f"{path}, column '{column.name}': has several values a pixel. Name a column of one."
        )
    nested, doubt = _in_nested(named, pixels, values, order, told)
    doubts = "; ".join(filter(None, (doubt, _code_in(named, values))))
    known = _known(nested, values)
    return _checked(SkyMap(named, column.name, order, *known, told.galactic, doubts))


def _named(named: str) -> tuple[Path, str, str, int | None]:
    """File, column, ordering and nside of a map; the last three may be empty."""
    path, name, ordering, nside = str(named), "", "", None
    if not Path(path).is_file() and ":" in path:
        rest, _, last = path.rpartition(":")
        if found := _ORDERING.fullmatch(last):
            path, ordering = rest, found[1].lower()[:4]
            nside = int(found[2]) if found[2] else None
    if not Path(path).is_file() and ":" in path:
        path, _, name = path.rpartition(":")
    return Path(path), name, ordering, nside


def _header(path: Path, column: str) -> tuple[str, Mapping[str, Any]]:
    """The extension of a FITS file that is meant, empty where it is the only one, and its header.

    Of several tables that is the first with the column, or the first.
    """
    tables = fits_tables_in(path)
    if not tables:
        return "", {}
    with open_fits(path) as hdus:
        found = [hdu for hdu in hdus if hdu.header.get("XTENSION") in ("BINTABLE", "TABLE")]
        found = [hdu for hdu in found if not hdu.header.get("ZIMAGE")]
        having = [k for k, hdu in enumerate(found) if column in hdu.columns.names]
        which = having[0] if having else 0
        return tables[which] if len(tables) > 1 else "", dict(found[which].header.items())


def _pixel_column(path: Path, names: list[str], header: Mapping[str, Any]) -> str | None:
    """The column with numbers of pixels; None for a FITS file that lists them all in order."""
    if str(header.get("INDXSCHM", "")).strip().upper() == "IMPLICIT":
        return None
    found = [name for name in names if name.lower() in PIXEL_COLUMNS]
    if len(found) > 1:
        found = [name for name in found if name.lower() != "_healpix_29"] or found
    if len(found) == 1:
        return found[0]
    if found or not header:
        told = f"several columns of pixels: {', '.join(found)}" if found else "no column of pixels"
        raise CatalogError(
            f"{path}: has {told}; expected one of {', '.join(PIXEL_COLUMNS)}. Rename it."
        )
    return None


def _only_values(path: Path, schema: pa.Schema) -> str:
    """The only column of numbers that are no pixels."""
    names = [
        each.name
        for each in schema
        if each.name.lower() not in (*PIXEL_COLUMNS, "ra", "dec") and _holds_numbers(each.type)
    ]
    if len(names) == 1:
        return names[0]
    if not names:
        raise CatalogError(f"{path}: has no column of numbers beside pixels. Name another map.")
    shown = ", ".join(names[:8])
    raise CatalogError(
        f"{path}: has several columns, {shown}. Name one behind a colon, such as "
        f"{path.name}:{names[0]}."
    )


def _holds_numbers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)
    return is_number(kind.value_type if is_list else kind)


def _values(table: pa.Table, name: str, header: Mapping[str, Any], path: Path) -> np.ndarray:
    """All values of a column in their order, NaN where there is none, shape (N,)."""
    column = table[name]
    if not _holds_numbers(column.type):
        raise CatalogError(
            f"{path}, column '{name}': holds {held(column.type)}; expected numbers. Name another "
            "column."
        )
    values = floats(column) if is_number(column.type) else matrix(column).ravel()
    values = np.where(np.isfinite(values) & (values > UNSEEN), values, np.nan)
    bad = header.get("BAD_DATA")
    if isinstance(bad, int | float):
        values[np.float32(bad) == values.astype(np.float32)] = np.nan
    return values


def _code_in(named: str, values: np.ndarray) -> str:
    """What speaks against a least value such as -99, in a sentence; empty where it is none."""
    least = float(np.nanmin(values, initial=np.inf))
    if least not in CODES:
        return ""
    return (
        f"{named}: its least value, of {counted(int((values == least).sum()), 'pixel')}, is "
        f"{least:g}, and taken as it stands; if it means that there is none, write NaN"
    )


def _numbers(table: pa.Table, name: str, path: Path) -> np.ndarray:
    numbers = exact_ids(table[name], name, path)
    if numbers.null_count or not pa.types.is_integer(numbers.type):
        raise CatalogError(
            f"{path}, column '{name}': holds {held(table[name].type)}, or has gaps; expected "
            "HEALPix pixels, which are whole numbers. Remove rows without one."
        )
    return np.asarray(numbers.to_numpy(), dtype=np.int64)


@dataclass(frozen=True)
class _Told:
    """What is told of a map's pixels, beside their numbers."""

    ordering: str  # "nest", "ring" or empty
    nside: int | None
    galactic: bool
    by_user: bool

    @classmethod
    def of(
        cls, path: Path, schema: pa.Schema, header: Mapping[str, Any], ordering: str,
        nside: int | None,
    ) -> _Told:  # fmt: skip
        told = {**_of_table(path, schema), **header}
        found = ordering or str(told.get("ORDERING", "")).strip().lower()[:4]
        if found == "nuni":
            raise CatalogError(f"{path}: is a MOC or a map of pixels of many sizes. Convert it.")
        if found not in ("", "nest", "ring"):
            raise CatalogError(
                f"{path}: its ORDERING is '{told['ORDERING']}'; expected RING or NESTED. Say which "
                f"behind a colon, such as {path.name}:nested."
            )
        stated = str(told.get("NSIDE", "")).strip()
        own = int(stated) if stated.isdigit() else None
        if None not in (own, nside) and own != nside:
            raise CatalogError(f"{path}: is of nside {own}, and not {nside}. Leave that out.")
        frame = str(told.get("COORDSYS", "")).strip().upper()
        if frame not in (*_EQUATORIAL, *_GALACTIC):
            raise CatalogError(
                f"{path}: its COORDSYS is '{frame}'; expected C (equatorial) or G (galactic), "
                "which is converted. Convert the map to one of these."
            )
        return cls(found, nside or own, frame in _GALACTIC, bool(ordering))


def _of_table(path: Path, schema: pa.Schema) -> dict[str, Any]:
    """What a table that is not FITS says of its pixels, under the names of FITS keywords."""
    told: dict[str, Any] = {}
    for key, value in (schema.metadata or {}).items():
        if key.decode(errors="replace").upper() in ("ORDERING", "NSIDE", "COORDSYS"):
            told[key.decode().upper()] = value.decode(errors="replace")
    nside = footer_of(path).get("nside")
    return told | ({"NSIDE": nside, "ORDERING": "NESTED"} if isinstance(nside, int) else {})


def _order_of_whole(path: Path, n: int, nside: int | None) -> int:
    """The order of a map that lists all pixels."""
    orders = {12 * 4**order: order for order in range(DEEPEST_MAP + 1)}
    if n not in orders or nside not in (None, 1 << orders[n]):
        expected = f"{12 * nside**2:,} for its nside {nside}" if nside else "12 nside**2"
        raise CatalogError(
            f"{path}: has {n:,} values and no column of pixels; expected {expected}, nside a power "
            f"of two, or one of the columns {', '.join(PIXEL_COLUMNS)}. Write the map anew."
        )
    return orders[n]


def _order_of_pixels(path: Path, pixels: np.ndarray, nside: int | None) -> int:
    """The order of a map with numbers of pixels, which must say its nside if it is not whole."""
    if nside is None:
        whole = len(pixels) in {12 * 4**order for order in range(DEEPEST_MAP + 1)}
        if not (whole and pixels.min() == 0 and pixels.max() == len(pixels) - 1):
            raise CatalogError(
                f"{path}: does not say the nside of its pixels. Say it behind a colon, such as "
                f"{path.name}:nested64 or {path.name}:ring64."
            )
        nside = round((len(pixels) / 12) ** 0.5)
    if nside not in (1 << order for order in range(DEEPEST_MAP + 1)):
        raise CatalogError(
            f"{path}: nside {nside}; expected a power of two from 1 to {1 << DEEPEST_MAP}. Write "
            "the map anew."
        )
    if pixels.min() < 0 or pixels.max() >= 12 * nside**2:
        raise CatalogError(
            f"{path}: has pixel {pixels.max() if pixels.min() >= 0 else pixels.min()}; expected 0 "
            f"to {12 * nside**2 - 1:,}, which nside {nside} has. Correct the nside."
        )
    if len(np.unique(pixels)) < len(pixels):
        n = len(pixels) - len(np.unique(pixels))
        raise CatalogError(
            f"{path}: has {counted(n, 'row')} of a pixel that has another row. Leave one of each."
        )
    return nside.bit_length() - 1


def _in_nested(
    named: str, pixels: np.ndarray, values: np.ndarray, order: int, told: _Told
) -> tuple[np.ndarray, str]:
    """The pixels in NESTED order, and what speaks against the order that the user said.

    Raises
    ------
    CatalogError
        If no ordering is told, or the file tells one in which values are much rougher.
    """
    both = {"nest": pixels, "ring": nested_of_ring(pixels, order)}
    scatter = {name: _scatter(each, values, order) for name, each in both.items()}
    smoother = min(scatter, key=lambda name: scatter[name])
    words = {"nest": "nested", "ring": "ring"}
    is_clear = min(scatter.values()) < SMOOTHER * max(scatter.values())
    if not told.ordering:
        hint = f" Its values are smoother as {words[smoother]}." * is_clear
        raise CatalogError(
            f"{named}: does not say whether its pixels are in RING or NESTED order.{hint} Say it "
            f"behind a colon: {named}:ring or {named}:nested."
        )
    if not is_clear or smoother == told.ordering:
        return both[told.ordering], ""
    if not told.by_user:
        raise CatalogError(
            f"{named}: says that its pixels are in {words[told.ordering].upper()} order, but its "
            f"values are much smoother in the other. Say which it is behind a colon, such as "
            f"{named}:{words[smoother]}."
        )
    return both[told.ordering], f"{named}: its values would be much smoother as {words[smoother]}"


def _scatter(pixels: np.ndarray, values: np.ndarray, order: int) -> float:
    """Mean square difference of neighbours on the sky, of nside 64 at most, in ranks of values."""
    import cdshealpix.nested

    known = np.isfinite(values)
    ranks = np.argsort(np.argsort(values[known])).astype(float)  # few extremes do not decide
    own = min(order, 6)
    coarse, place = np.unique(pixels[known] >> 2 * (order - own), return_inverse=True)
    mean = np.bincount(place, ranks) / np.bincount(place)
    beside = cdshealpix.nested.neighbours(coarse.astype(np.uint64), own, num_threads=1)
    apart = _looked_up(coarse, mean, beside.astype(np.int64).ravel()).reshape(-1, 9) - mean[:, None]
    return float(np.nanmean(apart**2)) if known.any() else 0.0


def _known(pixels: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels with a value, increasing, and their values."""
    known = np.isfinite(values)
    order = np.lexsort((values[known], pixels[known]))  # whatever the order of equal pixels
    return pixels[known][order], values[known][order]


def _checked(found: SkyMap) -> SkyMap:
    """A map, unless it has no value.

    Raises
    ------
    CatalogError
    """
    if not len(found.values):
        raise CatalogError(
            f"{found.name}: all its values are masked, NaN or unseen. Name another map."
        )
    return found
