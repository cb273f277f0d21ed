"""Images in HDF5 files, as the Multimodal Universe had them before its catalogs in HATS.

A folder `healpix=NNNN` for each part of the sky holds files such as `001-of-001.hdf5`, with a row
for each source and the data sets

- `object_id` (N,), and `ra` and `dec` (N,) [deg, ICRS] where they are known;
- `image_array` (N, B, H, W), `image_band` (N, B), and, where they are known, `image_ivar`
  (N, B, H, W) and `image_scale` (N, B) [arcsec].

What a number is worth is told by an attribute `unit` of `image_array`, or by a zero point that the
caller gives. `planes` says what is not read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from targetsel.errors import CutoutError
from targetsel.extras import require
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.folder import check_given
from targetsel.imaging.planes import Plane, PlaneImages, plan_of, worth_of
from targetsel.tables.reading import reading

if TYPE_CHECKING:
    from targetsel.sky.catalog import Catalog

SUFFIXES = (".hdf5", ".h5")
IDS, PIXELS, BANDS_OF = "object_id", "image_array", "image_band"
WEIGHTS, SCALES = "image_ivar", "image_scale"
SKY_SOURCES = 256


@dataclass(frozen=True)
class Hdf5Images(PlaneImages):
    """The images in the HDF5 files of a folder.

    Attributes
    ----------
    places : dict
        For each source id, as text, its file and its row there.
    """

    places: dict[str, tuple[Path, int]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(
        cls,
        path: Path,
        bands: tuple[str, ...] | None = None,
        pixel_scale: float | None = None,
        size: int | None = None,
        zeropoint: float | None = None,
    ) -> Hdf5Images:
        """The images of a folder or file; what is not given is read from the first source.

        Raises
        ------
        CutoutError
            If a file cannot be read or lacks a data set, an id is repeated, or bands, pixel scale
            or the worth of a count are not known.
        ExtraError
            If h5py is not installed.
        """
        require("hdf5", "A folder of HDF5 files")
        check_given(path, pixel_scale, size, zeropoint)
        places: dict[str, tuple[Path, int]] = {}
        units: list[str] = []
        for file in files_in(path):
            for row, source_id in enumerate(_ids_and_unit(file, units)):
                if source_id in places:
                    raise CutoutError(
                        f"{file}: source '{source_id}' is in {places[source_id][0]} too; expected "
                        "it once. Take one of them out."
                    )
                places[source_id] = file, row
        if not places:
            raise CutoutError(f"{path}: its files have no source. Name a folder of sources.")
        if len({*units}) > 1:
            raise CutoutError(
                f"{path}: its files have images in {' and '.join(sorted({*units}))}; expected one "
                "unit. Keep those of one unit in a folder."
            )
        file, row = places[min(places)]
        ((_, planes),) = _planes_of(file, np.array([row]))
        plan = plan_of(planes, str(file), bands, pixel_scale, size)
        worth = worth_of(str(file), units, zeropoint)
        return cls(path, *plan, worth, pixel_scale is None, places)

    def read(self, source_ids: np.ndarray) -> Cutouts:
        """The cutouts of these sources, in this order; all NaN and not present without an image."""
        ids = np.asarray(source_ids)
        by_file: dict[Path, list[tuple[int, int]]] = {}
        for k, source_id in enumerate(map(str, ids)):
            if source_id in self.places:
                file, row = self.places[source_id]
                by_file.setdefault(file, []).append((row, k))
        ra, dec = np.full((2, len(ids)), np.nan)

        def images() -> Iterator[tuple[int, list[Plane]]]:
            for file, wanted in sorted(by_file.items()):
                rows, places = np.array(sorted(wanted)).T
                ra[places], dec[places] = _positions(file, rows)
                for k, planes in _planes_of(file, rows):
                    yield int(places[k]), planes

        return self.cut(ids, images(), (ra, dec))

    def cutouts_of(self, sources: Catalog) -> Cutouts:
        """The cutouts of sources of a catalog, in their order."""
        return self.read(sources.source_id)

    def sky_sigma(self) -> np.ndarray:
        """Standard deviation of the sky [nanomaggy/pixel], shape (B,), from some of the sources."""
        names = np.array(sorted(self.places), dtype=object)
        return self.read(names[:: max(1, len(names) // SKY_SOURCES)][:SKY_SOURCES]).sky_sigma()

    @property
    def names(self) -> Collection[str]:
        """The ids of all sources, as text."""
        return self.places.keys()

    def check_asked(self, not_asked: Collection[str], first: str) -> None:
        """Raise a CutoutError if no image is of a source of the catalog, whose `first` is told."""
        if len(not_asked) == len(self.places):
            raise CutoutError(
                f"{self.path}: has no image of a source of the catalog{first}; its first is "
                f"'{min(not_asked)}'. Use the same ids in the catalog and in '{IDS}'."
            )


def files_in(path: Path) -> list[Path]:
    """The HDF5 files of a folder, those of its folders `healpix=NNNN` too, or the file itself."""
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else []
    found = [*path.glob("*"), *path.glob("healpix=*/*")]
    return sorted(file for file in found if file.suffix.lower() in SUFFIXES and file.is_file())


def _ids_and_unit(file: Path, units: list[str]) -> list[str]:
    """The ids of a file, as text; the unit of its pixels is added to `units`."""
    with _opened(file) as content:
        ids, pixels = _data_set(file, content, IDS), _data_set(file, content, PIXELS)
        _data_set(file, content, BANDS_OF)
        if pixels.ndim != 4 or ids.shape != pixels.shape[:1]:
            raise CutoutError(
                f"{file}: '{PIXELS}' has the shape {pixels.shape} for {ids.shape} ids; expected "
                "(sources, bands, height, width). Write the images again."
            )
        for name in (BANDS_OF, WEIGHTS, SCALES):
            wanted = pixels.shape if name == WEIGHTS else pixels.shape[:2]
            if name in content and _data_set(file, content, name).shape != wanted:
                raise CutoutError(
                    f"{file}: '{name}' has the shape {content[name].shape}, expected {wanted} as "
                    f"of '{PIXELS}'. Write the images again."
                )
        said = [_text(pixels.attrs[name]) for name in ("unit", "units") if name in pixels.attrs]
        units.append(next(iter(said), ""))
        return [_text(each) for each in ids[:]]


def _planes_of(file: Path, rows: np.ndarray) -> Iterator[tuple[int, list[Plane]]]:
    """The planes of some rows, which increase; each with its place among them."""
    with _opened(file) as content:
        flux, bands = _numbers(file, content, PIXELS, rows), content[BANDS_OF][rows]
        ivar = _numbers(file, content, WEIGHTS, rows) if WEIGHTS in content else None
        scales = _numbers(file, content, SCALES, rows) if SCALES in content else None
    for k, (row, of_bands) in enumerate(zip(rows, bands, strict=True)):
        place = f"{file}, row {row}"
        yield (
            k,
            [
                Plane.of(
                    _text(name),
                    None if scales is None else float(scales[k, b]),
                    flux[k, b],
                    None if ivar is None else ivar[k, b],
                    f"{place}, band {_text(name)}",
                )
                for b, name in enumerate(of_bands)
            ],
        )


def _positions(file: Path, rows: np.ndarray) -> np.ndarray:
    """Ra and dec [deg] of some rows, shape (2, N); NaN where the file has none."""
    with _opened(file) as content:
        n = len(content[IDS])
        there = all(name in content and content[name].shape == (n,) for name in ("ra", "dec"))
        if not there:
            return np.full((2, len(rows)), np.nan)
        return np.stack([_numbers(file, content, name, rows) for name in ("ra", "dec")])


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """An HDF5 file, open for reading; whatever h5py raises in the block names the file."""
    import h5py

    with reading(file, CutoutError, "an HDF5 file"), h5py.File(file, "r") as content:
        yield content


def _data_set(file: Path, content: Any, name: str) -> Any:
    import h5py

    found = content.get(name)
    if not isinstance(found, h5py.Dataset):
        raise CutoutError(
            f"{file}: has no data set '{name}'. Expected {IDS}, {PIXELS} and {BANDS_OF}, as files "
            "of the Multimodal Universe have them."
        )
    return found


def _numbers(file: Path, content: Any, name: str, rows: np.ndarray) -> np.ndarray:
    found = _data_set(file, content, name)
    if found.dtype.kind not in "fiu":
        raise CutoutError(f"{file}: '{name}' holds {found.dtype}; expected numbers.")
    return found[rows]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
