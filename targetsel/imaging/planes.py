"""Images of sources that come as planes, one for each band, as the Multimodal Universe has them.

`nested_images` takes the planes out of a column of a catalog, `hdf5_images` out of HDF5 files; here
they become cutouts. Pixels with an inverse variance of zero have no data, as in FITS files.

Masks are not read: the Legacy Survey images of the Multimodal Universe have True where a pixel is
clean, others where it is bad, and no file says which it means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.errors import CutoutError
from targetsel.imaging.cutout import Cutouts, crop_to_centre
from targetsel.imaging.image_file import flux_density, nanomaggies, per_count
from targetsel.imaging.image_names import band_called, band_of_filter
from targetsel.photometry.bands import BANDS

ROWS_PER_PIECE = 32


@dataclass(frozen=True)
class Plane:
    """One band of one source.

    Attributes
    ----------
    name : str
        The band as the file writes it.
    scale : float or None
        Width of a pixel [arcsec], where it is known.
    flux : ndarray of float, shape (H, W)
        Counts; NaN where there is no data.
    """

    name: str
    scale: float | None
    flux: np.ndarray

    @classmethod
    def of(
        cls, name: str, scale: float | None, flux: np.ndarray, ivar: np.ndarray | None, place: str
    ) -> Plane:
        """A plane as files hold it; `place` names it in messages.

        Raises
        ------
        CutoutError
            If the inverse variance is of another shape than the flux.
        """
        if ivar is not None:
            if ivar.shape != flux.shape:
                raise CutoutError(
                    f"{place}: its inverse variance has the shape {ivar.shape}, but the image "
                    f"{flux.shape}. Write both again, or take the inverse variance out."
                )
            flux = np.where(ivar > 0, flux, np.nan)
        known = float(scale) if scale is not None and 0 < scale < np.inf else None
        return cls(name, known, flux)

    @property
    def band(self) -> str:
        """The band by one of our names; empty for others."""
        last = self.name.rpartition("-")[2]
        optical = band_of_filter(self.name) or band_of_filter(self.name.lower())
        return optical or band_called(last, tuple(BANDS))


@dataclass(frozen=True)
class PlaneImages:
    """Images of planes, and the bands, pixels and unit that cutouts of them have.

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
        Whether the pixel scale that a plane gives must be `pixel_scale`, within 1 %.
    """

    path: Path
    bands: tuple[str, ...]
    pixel_scale: float
    size: int
    worth: float
    check_scale: bool = True

    def cut(
        self,
        source_ids: np.ndarray,
        images: Iterable[tuple[int, list[Plane]]],
        position: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Cutouts:
        """Cutouts of sources, from the planes of those rows that have any.

        Raises
        ------
        CutoutError
            If a plane is too small, or its pixels have another scale.
        """
        n = len(source_ids)
        flux = np.full((n, len(self.bands), self.size, self.size), np.nan, np.float32)
        present = np.zeros(n, dtype=bool)
        for row, planes in images:
            for plane in planes:
                if plane.band in self.bands:
                    self._check(plane, f"{self.path}, source '{source_ids[row]}'")
                    pixels = nanomaggies(plane.flux, self.worth)
                    flux[row, self.bands.index(plane.band)] = crop_to_centre(pixels, self.size)
            present[row] = True
        return Cutouts(source_ids, flux, self.bands, self.pixel_scale, present, position)

    @property
    def left_out(self) -> tuple[str, ...]:
        return ()

    @property
    def rows_per_piece(self) -> int:
        """Sources whose pixels are read at a time."""
        return ROWS_PER_PIECE

    @property
    def settings(self) -> dict[str, Any]:
        """All that the pixels of a source depend on, beside what holds them."""
        return {
            "images": self.path.name,
            "bands": self.bands,
            "pixel_scale": self.pixel_scale,
            "size": self.size,
            "worth": self.worth,
        }

    def _check(self, plane: Plane, place: str) -> None:
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


def plan_of(
    planes: list[Plane],
    place: str,
    bands: tuple[str, ...] | None,
    pixel_scale: float | None,
    size: int | None,
) -> tuple[tuple[str, ...], float, int]:
    """Bands, pixel scale [arcsec] and size; what is not given is that of the first source.

    Raises
    ------
    CutoutError
        If the bands or the pixel scale are not known.
    """
    found = {plane.band: plane for plane in planes if plane.band}
    if not found:
        written = ", ".join(plane.name for plane in planes)
        raise CutoutError(
            f"{place}: its bands are {written or 'none'}; expected some of {', '.join(BANDS)}, "
            "also as in 'des-g'."
        )
    first = next(iter(found.values()))
    scale = pixel_scale or first.scale
    if scale is None:
        raise CutoutError(
            f"{place}: does not say how large a pixel is (no field 'scale'). Pack the images with "
            "--pixel-scale [arcsec]."
        )
    bands = bands or tuple(band for band in BANDS if band in found)
    return bands, float(f"{scale:.6g}"), size or min(first.flux.shape)  # as float32 was written


def worth_of(place: str, units: Iterable[str], zeropoint: float | None) -> float:
    """Nanomaggies of one count; a unit that the file declares comes before a zero point.

    Raises
    ------
    CutoutError
        If neither is known.
    """
    for unit in filter(None, units):
        flux, per_area = flux_density(unit)
        if flux is not None and not per_area:
            return flux
    if zeropoint is None:
        raise CutoutError(
            f"{place}: does not say what one count is worth (no unit of a flux density). Give "
            "--zeropoint, the AB magnitude of one count (22.5 for nanomaggies, as those of the "
            "Legacy Surveys)."
        )
    return per_count(zeropoint)
