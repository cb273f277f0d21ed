"""Images inside a catalog, as the Multimodal Universe and nested-pandas write them.

A column holds the bands of each source with the pixels of each: a list of structs, or a struct of
lists, with the fields `band`, `flux` (also called `array`; rows of pixels), and, where they are
known, `ivar` and `scale` [arcsec]. What a number is worth is told by the unit of the column or of
`flux`, or by a zero point that the caller gives. Pixels with an inverse variance of zero have no
data, as in FITS files.

Fields called `mask` are not read: the Legacy Survey images of the Multimodal Universe have True
where a pixel is clean, others where it is bad, and no file says which it means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import CutoutError
from targetsel.imaging.cutout import Cutouts, crop_to_centre
from targetsel.imaging.folder import check_given
from targetsel.imaging.image_file import flux_density, nanomaggies, per_count
from targetsel.imaging.image_names import band_of_filter
from targetsel.photometry.bands import BANDS
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.sky.partitions import partitions_of
from targetsel.tables.columns import unit_of
from targetsel.tables.hats import is_hats
from targetsel.tables.types import is_list

COLUMN = "image"
PIXELS = ("flux", "array")  # names of the field of pixels
SKY_SOURCES, ROWS_PER_PIECE = 256, 32


@dataclass(frozen=True)
class NestedImages:
    """The images in the column `image` of a catalog.

    Attributes
    ----------
    path : Path
    bands : tuple of B strings
    pixel_scale : float
        [arcsec]
    size : int
        Width and height [pixel]; larger images are cut down to their centre.
    worth : float
        Nanomaggies of one count.
    check_scale : bool
        Whether the pixel scale that a row gives must be `pixel_scale`, within 1 %.
    columns : mapping
        Names of the columns "ra_col", "dec_col" and "id_col" that are not found by themselves.
    first : str
        The first source that has an image.
    """

    path: Path
    bands: tuple[str, ...]
    pixel_scale: float
    size: int
    worth: float
    check_scale: bool = True
    columns: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    first: str = ""

    @classmethod
    def open(
        cls,
        path: Path,
        bands: tuple[str, ...] | None = None,
        pixel_scale: float | None = None,
        size: int | None = None,
        zeropoint: float | None = None,
        columns: Mapping[str, str | None] = {},
    ) -> NestedImages:
        """The images of a catalog; what is not given is read from its first source with one.

        Raises
        ------
        CatalogError
            If the catalog cannot be read.
        CutoutError
            If it has no such column, or bands, pixel scale or the worth of a count are not known.
        """
        schema = CatalogFile.open(path, **columns).schema
        return cls.of(
            path, schema, _parts(path, columns), bands, pixel_scale, size, zeropoint, columns
        )

    @classmethod
    def of(
        cls,
        path: Path,
        schema: pa.Schema,
        parts: Iterable[CatalogFile],
        bands: tuple[str, ...] | None = None,
        pixel_scale: float | None = None,
        size: int | None = None,
        zeropoint: float | None = None,
        columns: Mapping[str, str | None] = {},
    ) -> NestedImages:
        """As `open`, of a catalog whose parts come one by one, as far as they are needed.

        Raises
        ------
        CatalogError, CutoutError
            As `open`.
        """
        check_given(path, pixel_scale, size, zeropoint)
        worth = _worth(path, schema, zeropoint)
        for piece in (piece for part in parts for piece in part.batches(ROWS_PER_PIECE)):
            for row, planes in _images(path, piece):
                found = {plane.band: plane for plane in planes if plane.band}
                if not found:
                    written = ", ".join(plane.name for plane in planes)
                    raise CutoutError(
                        f"{path}, column '{COLUMN}': its bands are {written or 'none'}; expected "
                        f"some of {', '.join(BANDS)}, also as in 'des-g'."
                    )
                plane = next(iter(found.values()))
                scale = pixel_scale or plane.scale
                if scale is None:
                    raise CutoutError(
                        f"{path}, column '{COLUMN}': does not say how large a pixel is (no field "
                        "'scale'). Pack the images with --pixel-scale [arcsec]."
                    )
                bands = bands or tuple(band for band in BANDS if band in found)
                size = size or min(plane.flux.shape)
                scale = float(f"{scale:.6g}")  # which float32 has written
                first = str(piece.source_id[row])
                return cls(path, bands, scale, size, worth, pixel_scale is None, columns, first)
        raise CutoutError(
            f"{path}, column '{COLUMN}': no source has an image; expected one of some source. Name "
            "a catalog of sources with images."
        )

    def cutouts_of(self, sources: Catalog) -> Cutouts:
        """The cutouts of rows of the catalog; not present where a row has no image."""
        n = len(sources)
        flux = np.full((n, len(self.bands), self.size, self.size), np.nan, np.float32)
        present = np.zeros(n, dtype=bool)
        for row, planes in _images(self.path, sources):
            for plane in planes:
                if plane.band in self.bands:
                    place = f"{self.path}, source '{sources.source_id[row]}'"
                    self._check(plane, place)
                    pixels = nanomaggies(plane.flux, self.worth)
                    flux[row, self.bands.index(plane.band)] = crop_to_centre(pixels, self.size)
            present[row] = True
        return Cutouts(sources.source_id, flux, self.bands, self.pixel_scale, present)

    def sky_sigma(self) -> np.ndarray:
        """Standard deviation of the sky [nanomaggy/pixel], shape (B,).

        From the first sources on the sky, whatever the order of the rows and the partitions.
        """
        first: list[tuple[int, Any, np.ndarray]] = []
        for part in _parts(self.path, self.columns):
            for piece in part.batches(ROWS_PER_PIECE):
                cutouts = self.cutouts_of(piece)
                for row in np.flatnonzero(cutouts.present):
                    pixels = cutouts.flux[row].copy()
                    first.append((int(piece.healpix[row]), piece.source_id[row], pixels))
                first = sorted(first, key=itemgetter(0, 1))[:SKY_SOURCES]
            if len(first) == SKY_SOURCES:
                break
        flux = np.stack([pixels for _, _, pixels in first])
        return Cutouts(np.arange(len(flux)), flux, self.bands, self.pixel_scale).sky_sigma()

    @property
    def names(self) -> tuple[str, ...]:
        """Nothing, as the ids are those of the catalog."""
        return ()

    @property
    def left_out(self) -> tuple[str, ...]:
        return ()

    @property
    def rows_per_piece(self) -> int:
        """Sources whose pixels are read at a time."""
        return ROWS_PER_PIECE

    def check_asked(self, not_asked: Collection[str], first: str) -> None:
        """Nothing to check: a store without any cutout is refused where it is written."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that the pixels of a source depend on, beside its row."""
        return {
            "images": self.path.name,
            "bands": self.bands,
            "pixel_scale": self.pixel_scale,
            "size": self.size,
            "worth": self.worth,
        }

    def _check(self, plane: _Plane, place: str) -> None:
        scale = plane.scale or self.pixel_scale
        if self.check_scale and abs(scale / self.pixel_scale - 1) > 0.01:
            raise CutoutError(
                f"{place}: its pixels are {scale:g} arcsec in {plane.band}, expected "
                f"{self.pixel_scale:g} as of the first source. Pack them with --pixel-scale, or "
                "keep images of one scale together."
            )
        height, width = plane.flux.shape
        if min(height, width) < self.size:
            raise CutoutError(
                f"{place}: has {height} x {width} pixels in {plane.band}, expected at least "
                f"{self.size} x {self.size}. Pack them with a smaller --size."
            )


def without_images(file: CatalogFile) -> CatalogFile:
    """The catalog without its column of images, which is far larger than all others together."""
    if not has_images(file.schema):
        return file
    kept = [each for each in file.schema if each.name != COLUMN]
    return replace(file, schema=pa.schema(kept, file.schema.metadata))


def has_images(schema: pa.Schema) -> bool:
    """Whether the rows of a catalog have images inside."""
    return COLUMN in schema.names and _is_nested(schema.field(COLUMN))


def has_rows(path: Path) -> bool:
    """Whether a path is a table, which may have images inside, and no folder of image files."""
    return path.is_file() or is_hats(path)


@dataclass(frozen=True)
class _Plane:
    """One band of one source: its name as it is written, what is known of it, pixels (H, W)."""

    name: str
    scale: float | None
    flux: np.ndarray

    @property
    def band(self) -> str:
        return band_of_filter(self.name) or band_of_filter(self.name.lower())


def _parts(path: Path, columns: Mapping[str, str | None]) -> Iterator[CatalogFile]:
    """A catalog, or the partitions of one in HATS: a large one is read part by part."""
    file = CatalogFile.open(path, **columns)
    if is_hats(path):
        yield from (part for _, part in partitions_of(file))
    else:
        yield file


def _worth(path: Path, schema: pa.Schema, zeropoint: float | None) -> float:
    """Nanomaggies of one count; a unit that the column declares comes before a zero point."""
    if COLUMN not in schema.names:
        raise CutoutError(
            f"{path}: has no column '{COLUMN}' of images. Name images or cutouts outside of it, "
            "or a catalog that has them inside."
        )
    column = schema.field(COLUMN)
    said = [unit_of(column), *map(unit_of, _fields(path, column))]
    for unit in filter(None, said):
        flux, per_area = flux_density(unit)
        if flux is not None and not per_area:
            return flux
    if zeropoint is None:
        raise CutoutError(
            f"{path}, column '{COLUMN}': does not say what one count is worth (no unit of a flux "
            "density). Give --zeropoint, the AB magnitude of one count (22.5 for nanomaggies, as "
            "those of the Legacy Surveys)."
        )
    return per_count(zeropoint)


def _is_nested(column: pa.Field) -> bool:
    """Whether a column has the fields of images, whichever way they are nested."""
    kind = column.type.value_type if is_list(column.type) else column.type
    names = {each.name for each in kind} if pa.types.is_struct(kind) else set()
    return "band" in names and not names.isdisjoint(PIXELS)


def _fields(path: Path, column: pa.Field) -> list[pa.Field]:
    """The fields of the bands, whichever way they are nested."""
    if not _is_nested(column):
        raise CutoutError(
            f"{path}, column '{COLUMN}': is {column.type}; expected a list of structs, or a struct "
            f"of lists, with the fields band and {PIXELS[0]}."
        )
    return list(column.type.value_type if is_list(column.type) else column.type)


def _images(path: Path, sources: Catalog) -> Iterator[tuple[int, list[_Plane]]]:
    """The rows that have an image, with its bands."""
    bands = _Bands(path, sources)
    start = 0
    for row, n in enumerate(bands.counts.tolist()):
        if n:
            yield row, [bands.plane(k, row) for k in range(start, start + n)]
        start += n


class _Bands:
    """All bands of some rows, one after another; `counts` has the number of each row."""

    def __init__(self, path: Path, sources: Catalog) -> None:
        self.path, self.ids = path, sources.source_id
        column = sources.table[COLUMN].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0)
        names = [each.name for each in _fields(path, sources.table.schema.field(COLUMN))]
        if is_list(column.type):
            lengths, inside = _opened(column, path)
            parts = dict(zip(names, inside.flatten(), strict=True))
        else:
            opened = {
                name: _opened(each, path)
                for name, each in zip(names, column.flatten(), strict=True)
                if is_list(each.type)
            }
            if "band" not in opened:
                raise CutoutError(
                    f"{path}, column '{COLUMN}': holds one band for each source; expected lists."
                )
            lengths = opened["band"][0]
            self._check_lengths({name: each[0] for name, each in opened.items()}, lengths)
            parts = {name: each[1] for name, each in opened.items()}
        self.counts = lengths
        self.names = parts["band"].to_pylist()
        self.flux = _Planes(parts[next(name for name in PIXELS if name in parts)], path)
        self.ivar = _Planes(parts["ivar"], path) if "ivar" in parts else None
        self.scale = parts["scale"].to_pylist() if "scale" in parts else None

    def plane(self, k: int, row: int) -> _Plane:
        place = f"{self.path}, source '{self.ids[row]}', band {self.names[k]}"
        flux = self.flux.read(k, place)
        if self.ivar is not None and self.ivar.has(k):
            ivar = self.ivar.read(k, place)
            if ivar.shape != flux.shape:
                raise CutoutError(
                    f"{place}: its inverse variance has the shape {ivar.shape}, but the image "
                    f"{flux.shape}. Write both again, or take the inverse variance out."
                )
            flux = np.where(ivar > 0, flux, np.nan)
        scale = self.scale[k] if self.scale is not None else None
        known = float(scale) if scale is not None and 0 < scale < np.inf else None
        return _Plane(self.names[k] or "", known, flux)

    def _check_lengths(self, found: dict[str, np.ndarray], expected: np.ndarray) -> None:
        for name in {*PIXELS, "scale"} & {*found}:
            wrong = np.flatnonzero(found[name] != expected)
            if len(wrong):
                row = wrong[0]
                raise CutoutError(
                    f"{self.path}, source '{self.ids[row]}': {found[name][row]} of {name} for "
                    f"{expected[row]} bands in the column '{COLUMN}'; expected one for each."
                )


class _Planes:
    """Arrays of rows of pixels, of whatever shapes."""

    def __init__(self, column: pa.Array, path: Path) -> None:
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        self.heights, rows = _opened(column, path)
        self.widths, pixels = _opened(rows, path)
        self.pixels = pc.cast(pixels, pa.float32(), safe=False).to_numpy(zero_copy_only=False)
        self._row = np.concatenate([[0], np.cumsum(self.heights)])
        self._pixel = np.concatenate([[0], np.cumsum(self.widths)])

    def has(self, k: int) -> bool:
        return bool(self.heights[k])

    def read(self, k: int, place: str) -> np.ndarray:
        """The pixels of one plane, float32, shape (H, W)."""
        first, end = self._row[k], self._row[k + 1]
        widths = {*self.widths[first:end].tolist()}
        if len(widths) != 1 or 0 in widths:
            raise CutoutError(
                f"{place}: its {end - first} rows have {', '.join(map(str, sorted(widths))) or 0} "
                "pixels; expected as many in each. Write the images again."
            )
        pixels = self.pixels[self._pixel[first] : self._pixel[end]]
        return pixels.reshape(end - first, -1)


def _opened(column: pa.Array, path: Path) -> tuple[np.ndarray, pa.Array]:
    """The length of each list, 0 where it is null, and what all lists hold."""
    if not is_list(column.type):
        raise CutoutError(
            f"{path}, column '{COLUMN}': holds {column.type} where lists are expected, such as of "
            "rows of pixels. Write the images again."
        )
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64), column.flatten()
