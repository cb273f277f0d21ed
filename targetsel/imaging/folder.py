"""A folder of image files as a source of cutouts.

Three kinds of folder are understood:

- one FITS cube per source, `<id>.fits`;
- one FITS image per source and band, `<id>.<band>.fits` (or with _ or -), or `<band>/<id>.fits`;
- one array per source, `<id>.npy`, shape (B, H, W) or (H, W, B).

`image_file` tells how each is calibrated. Files whose names say that they are masks, weights or the
like are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from targetsel.errors import CutoutError
from targetsel.imaging.cutout import Cutouts, crop_to_centre
from targetsel.imaging.image_file import Image, read_image, zeropoint_fault
from targetsel.imaging.image_names import (
    NPY,
    USUAL,
    band_called,
    names_no_image,
    names_understood,
    split_band,
    split_suffix,
)
from targetsel.imaging.orientation import UNKNOWN, Orientation, common
from targetsel.imaging.survey_images import KnownImages, check_of_survey

if TYPE_CHECKING:
    from targetsel.sky.catalog import Catalog

ROWS_PER_PIECE = 256
WHOLE = ""  # stands for the band of a file that holds all of them


@dataclass(frozen=True)
class Folder:
    """Cutouts in a folder of image files, one source or one band of a source per file.

    Attributes
    ----------
    path : Path
    files : dict
        For each source id, as text, its file of each band, or of all bands under "".
    bands : tuple of B strings
    pixel_scale : float
        [arcsec]
    size : int
        Width and height [pixel]; larger images are cut down to their centre.
    zeropoint : float or None
        AB magnitude of one count, for files without a calibration of their own.
    check_scale : bool
        Whether the pixel scale that a file gives must be `pixel_scale`, within 1 %.
    left_out : tuple of str
        Names of masks, weights and the like.
    known : KnownImages or None
        The survey of the images, where it is known.
    """

    path: Path
    files: dict[str, dict[str, Path]]
    bands: tuple[str, ...]
    pixel_scale: float
    size: int
    zeropoint: float | None = None
    check_scale: bool = True
    left_out: tuple[str, ...] = ()
    known: KnownImages | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        bands: tuple[str, ...] | None = None,
        pixel_scale: float | None = None,
        size: int | None = None,
        zeropoint: float | None = None,
        known: KnownImages | None = None,
    ) -> Folder:
        """The folder at `path`; what is not given is read from its first source.

        What the files do not say either is taken from a `known` survey's card. For files that do
        not name their bands, `bands` is the order of their planes. Otherwise it chooses and orders
        them. A `pixel_scale` holds whatever the files say.

        Raises
        ------
        CutoutError
            If the folder or its first image cannot be used, or bands, pixel scale or size are not
            known.
        """
        path = Path(path)
        check_given(path, pixel_scale, size, zeropoint)
        names = known.band_names if known else USUAL
        files, left_out = _list_files(path, names)
        first = files[min(files)]
        if WHOLE not in first:
            bands = bands or tuple(b for b in names if any(b in held for held in files.values()))
        a_file = next(iter(first.values()))
        if known is not None:
            check_of_survey(path, bands or (), None, known)
        n_bands = len(bands or (known.band_names if known else ())) or None
        image = read_image(a_file, zeropoint, n_bands, pixel_scale, known)
        bands = bands or image.bands
        if known is not None:
            bands = bands or (names if len(names) == len(image.flux) else ())
            check_of_survey(a_file, bands, None if pixel_scale else image.pixel_scale, known)
        if not bands:
            raise CutoutError(
                f"{a_file}: neither the header nor the file's name tells the bands of its "
                f"{len(image.flux)} planes. Give --bands in the order of the planes, or name files "
                f"so: {names_understood(names)}."
            )
        scale = pixel_scale or image.pixel_scale or (known.pixel_scale if known else None)
        if scale is None:
            raise CutoutError(
                f"{a_file}: does not say how large a pixel is. Give --pixel-scale [arcsec]."
            )
        largest = min(image.flux.shape[1:])
        if size is not None and size > largest:
            raise CutoutError(
                f"{a_file}: has {largest} pixels on its shorter side, expected at least {size}. "
                "Give a smaller --size."
            )
        check_scale = pixel_scale is None
        size = size or largest
        return cls(path, files, bands, scale, size, zeropoint, check_scale, left_out, known)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, source_ids: np.ndarray) -> Cutouts:
        """The cutouts of these sources, in this order; all NaN and not present without a file."""
        ids = np.asarray(source_ids)
        flux = np.full((len(ids), len(self.bands), self.size, self.size), np.nan, np.float32)
        ra, dec = np.full((2, len(ids)), np.nan)
        lies = [UNKNOWN] * len(ids)
        present = np.array([str(source_id) in self.files for source_id in ids], dtype=bool)
        for row in np.flatnonzero(present):
            found = []
            for band, file in self.files[str(ids[row])].items():
                image = self._image(file, band)
                found.append(image.lie)
                if np.isnan(ra[row]):
                    ra[row], dec[row] = image.centre
                for plane, name in zip(image.flux, image.bands, strict=True):
                    if name in self.bands:
                        flux[row, self.bands.index(name)] = plane
            lies[row] = common(found)
        place, lie = (ra, dec), Orientation.of(lies)
        return Cutouts(ids, flux, self.bands, self.pixel_scale, present, place, lie)

    def cutouts_of(self, sources: Catalog) -> Cutouts:
        """The cutouts of sources of a catalog, in their order."""
        return self.read(sources.source_id)

    @property
    def names(self) -> Collection[str]:
        """The ids of all sources that have a file, as text."""
        return self.files.keys()

    @property
    def settings(self) -> dict[str, Any]:
        """All that the pixels of a source depend on, beside its files."""
        return {
            "images": self.path.name,
            "bands": self.bands,
            "pixel_scale": self.pixel_scale,
            "size": self.size,
            "zeropoint": self.zeropoint,
            **({} if self.known is None else {"survey": self.known.name}),
        }

    @property
    def rows_per_piece(self) -> int:
        """Sources whose files are read at a time."""
        return ROWS_PER_PIECE

    def check_asked(self, not_asked: Collection[str], first: str) -> None:
        """Raise a CutoutError if no image is of a source of the catalog, whose `first` is told."""
        if len(not_asked) == len(self):
            source_id = min(not_asked)
            file = next(iter(self.files[source_id].values()))
            raise CutoutError(
                f"{self.path}: has no image of a source of the catalog{first}; {file.name} is of "
                f"source '{source_id}'. Names that are understood: {self._names_understood}."
            )

    @property
    def _names_understood(self) -> str:
        return names_understood(self.known.band_names if self.known else USUAL)

    def only(self, source_ids: Collection[str]) -> Folder:
        """The folder with the images of these sources alone, given as text."""
        return replace(self, files={name: self.files[name] for name in source_ids})

    def sky_sigma(self, n_sources: int = 256) -> np.ndarray:
        """Standard deviation of the sky [nanomaggy/pixel], shape (B,), from some of the sources."""
        names = np.array(sorted(self.files), dtype=object)
        chosen = names[:: max(1, len(names) // n_sources)][:n_sources]
        return self.read(chosen).sky_sigma()

    def _image(self, file: Path, band: str) -> Image:
        """One file, checked and cut to size."""
        given = None if self.check_scale else self.pixel_scale
        image = read_image(file, self.zeropoint, len(self.bands), given, self.known)
        expected = image.bands or self.bands if band == WHOLE else (band,)
        if len(image.flux) != len(expected):
            hint = " by its name" if band else "; its name tells no known band"
            raise CutoutError(
                f"{file}: has {len(image.flux)} plane(s), expected {len(expected)} "
                f"({', '.join(expected)}){hint}. Move other files away, or name images so: "
                f"{self._names_understood}."
            )
        if image.bands and image.bands != expected:
            raise CutoutError(
                f"{file}: the header says band {image.bands[0]}, the name says {band}. Rename it."
            )
        scale = image.pixel_scale or self.pixel_scale
        if self.check_scale and abs(scale / self.pixel_scale - 1) > 0.01:
            raise CutoutError(
                f"{file}: its pixels are {scale:g} arcsec, expected {self.pixel_scale:g} as in the "
                "first file. Keep images of one scale together, or give --pixel-scale."
            )
        height, width = image.flux.shape[1:]
        if min(height, width) < self.size:
            raise CutoutError(
                f"{file}: has {height} x {width} pixels, expected at least {self.size} x "
                f"{self.size}. Give a smaller --size."
            )
        flux = crop_to_centre(image.flux, self.size)
        return replace(image, flux=flux, bands=expected, pixel_scale=scale)


def check_given(
    path: Path, pixel_scale: float | None, size: int | None, zeropoint: float | None
) -> None:
    """Refuse numbers that no image could have."""
    if pixel_scale is not None and not 0 < pixel_scale < 1e4:
        raise CutoutError(f"{path}: pixel scale {pixel_scale:g}, expected arcsec above zero.")
    if size is not None and size < 1:
        raise CutoutError(f"{path}: size {size}, expected a number of pixels above zero.")
    if zeropoint is not None and (fault := zeropoint_fault(zeropoint)):
        raise CutoutError(
            f"{path}: zero point {fault}, such as 22.5 for nanomaggies, 0 for maggies."
        )


def _list_files(
    path: Path, names: tuple[str, ...]
) -> tuple[dict[str, dict[str, Path]], tuple[str, ...]]:
    """The files of each source id, see `Folder.files`, and the names of those left out."""
    if not path.is_dir():
        raise CutoutError(f"{path}: no such folder. Expected a folder of FITS or .npy files.")
    files: dict[str, dict[str, Path]] = {}
    left_out = []
    for file, band_of_all in _files_in(path, names):
        name, suffix = split_suffix(file.name)
        if not suffix:
            continue
        if names_no_image(name):
            left_out.append(file.name)
            continue
        source_id, band = (name, WHOLE) if suffix == NPY else split_band(name, names)
        if band_of_all and band != band_of_all:
            source_id, band = name, band_of_all
        held = files.setdefault(source_id, {})
        if band in held or (held and WHOLE in (band, *held)):
            raise CutoutError(
                f"{file}: source '{source_id}' has another file, {next(iter(held.values())).name}. "
                "Keep one cube, or one image per band."
            )
        held[band] = file
    if not files:
        raise CutoutError(
            f"{path}: no image in this folder. Names that are understood: "
            f"{names_understood(names)}."
        )
    return files, tuple(left_out)


def _files_in(path: Path, names: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """The files of a folder without band, and those in folders called like a band with it."""
    for entry in sorted(path.iterdir()):
        if not entry.is_dir():
            yield entry, ""
        elif band := band_called(entry.name, names):
            yield from ((file, band) for file in sorted(entry.iterdir()) if file.is_file())
