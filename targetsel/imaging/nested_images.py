"""Images inside a catalog, as the Multimodal Universe and nested-pandas write them.

A column holds the bands of each source with the pixels of each: a list of structs, or a struct of
lists, with the fields `band`, `flux` (also called `array`; rows of pixels), and, where they are
known, `ivar` and `scale` [arcsec]. What a number is worth is told by the unit of the column or of
`flux`, or by a zero point that the caller gives. `planes` says what is not read.
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
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.folder import check_given
from targetsel.imaging.planes import ROWS_PER_PIECE, Plane, PlaneImages, plan_of, worth_of
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.sky.partitions import partitions_of
from targetsel.tables.columns import unit_of
from targetsel.tables.hats import is_hats
from targetsel.tables.types import is_list

COLUMN = "image"
PIXELS = ("flux", "array")  # names of the field of pixels
SKY_SOURCES = 256


@dataclass(frozen=True)
class NestedImages(PlaneImages):
    """The images in the column `image` of a catalog.

    Attributes
    ----------
    columns : mapping
        Names of the columns "ra_col", "dec_col" and "id_col" that are not found by themselves.
    first : str
        The first source that has an image.
    """

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
                place = f"{path}, column '{COLUMN}'"
                plan = plan_of(planes, place, bands, pixel_scale, size)
                first = str(piece.source_id[row])
                return cls(path, *plan, worth, pixel_scale is None, columns, first)
        raise CutoutError(
            f"{path}, column '{COLUMN}': no source has an image; expected one of some source. Name "
            "a catalog of sources with images."
        )

    def cutouts_of(self, sources: Catalog) -> Cutouts:
        """The cutouts of rows of the catalog; not present where a row has no image."""
        return self.cut(sources.source_id, _images(self.path, sources))

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

    def check_asked(self, not_asked: Collection[str], first: str) -> None:
        """Nothing to check: a store without any cutout is refused where it is written."""


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
    units = map(unit_of, [column, *_fields(path, column)])
    return worth_of(f"{path}, column '{COLUMN}'", units, zeropoint)


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


def _images(path: Path, sources: Catalog) -> Iterator[tuple[int, list[Plane]]]:
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

    def plane(self, k: int, row: int) -> Plane:
        place = f"{self.path}, source '{self.ids[row]}', band {self.names[k]}"
        flux = self.flux.read(k, place)
        ivar = self.ivar.read(k, place) if self.ivar and self.ivar.has(k) else None
        scale = self.scale[k] if self.scale is not None else None
        return Plane.of(self.names[k] or "", scale, flux, ivar, place)

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
