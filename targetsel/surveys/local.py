"""Mosaics on disk: FITS tiles of one band each, cut from the tile whose edges are farthest away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from astropy.coordinates import angular_separation
from astropy.wcs import WCS

from targetsel.errors import CutoutError
from targetsel.imaging.image_file import (
    NoImage,
    bands_of,
    calibrated,
    find_image,
    header_of,
    pixel_scale_of,
    wcs_of,
)
from targetsel.imaging.image_names import NPY, USUAL, band_within, names_no_image, split_suffix
from targetsel.imaging.orientation import lie_at
from targetsel.surveys.fetching import OUTSIDE, Reply, unanswered
from targetsel.surveys.http import Answer, Unanswered
from targetsel.surveys.images import (
    Zeropoint,
    least_lost,
    pixel_of,
    reply_of_pixels,
    window,
)
from targetsel.surveys.registry import SkySurvey
from targetsel.tables.fits import open_fits
from targetsel.tables.reading import reading


@dataclass(frozen=True)
class MosaicTile:
    """One image of a mosaic.

    Attributes
    ----------
    path : Path
    extension : int
        Number of the HDU that holds the image.
    band : str
    shape : (H, W)
    wcs : WCS
    """

    path: Path
    extension: int
    band: str
    shape: tuple[int, int]
    wcs: WCS

    @classmethod
    def open(
        cls, path: Path, zeropoint: float | None, bands: tuple[str, ...] = USUAL
    ) -> MosaicTile | None:
        """The tile that a file's headers describe; None for a mask, a weight or the like.

        Its band is one of `bands` or else an optical one.

        Raises
        ------
        CutoutError
            If the file is no 2-D FITS image with sky coordinates, or its band or calibration is
            not known.
        """
        with open_fits(path, CutoutError) as hdus:
            try:
                hdu = find_image(hdus, path)
            except NoImage:
                return None
            number, header, shape = hdus.index(hdu), header_of(hdus, hdu), hdu.shape
            wcs = wcs_of(hdu.header)
        if wcs is None or len(shape) != 2:
            raise CutoutError(
                f"{path}: expected a 2-D FITS image with sky coordinates. Repair it or take it out "
                "of the folder."
            )
        names = tuple(dict.fromkeys([*bands, *USUAL]))
        band = "".join(bands_of(header, 1, names)) or band_within(path.name, names)
        if not band:
            raise CutoutError(
                f"{path}: neither its header (FILTER) nor its name (tile.g.fits) says its band. "
                "Rename it."
            )
        tile = cls(path, number, band, shape, wcs)
        calibrated(np.zeros((1, 1, 1)), header, tile.pixel_scale, path, zeropoint)
        return tile

    @cached_property
    def pixel_scale(self) -> float:
        """[arcsec]"""
        return pixel_scale_of(self.wcs, self.path) or np.nan

    @cached_property
    def cap(self) -> tuple[float, float, float]:
        """Centre and radius [rad] of a circle around the tile."""
        height, width = self.shape
        x = np.array([(width - 1) / 2, -0.5, -0.5, width - 0.5, width - 0.5])
        y = np.array([(height - 1) / 2, -0.5, height - 0.5, -0.5, height - 0.5])
        corners = self.wcs.pixel_to_world(x, y).icrs
        ra, dec = corners.ra.rad, corners.dec.rad
        radius = angular_separation(ra[0], dec[0], ra[1:], dec[1:]).max()
        return float(ra[0]), float(dec[0]), float(radius)

    def depth(self, ra: float, dec: float) -> float:
        """Distance of a position from the nearest edge [pixel]; negative outside."""
        ra0, dec0, radius = self.cap
        if not angular_separation(ra0, dec0, *np.radians([ra, dec])) <= radius * 1.001:
            return -1.0
        x, y = pixel_of(self.wcs, ra, dec)
        height, width = self.shape
        inside = min(x + 0.5, width - 0.5 - x, y + 0.5, height - 0.5 - y)
        return inside if np.isfinite(inside) else -1.0

    def cut(self, ra: float, dec: float, size: int, zeropoint: float | None) -> np.ndarray:
        """The pixels around a position [nanomaggy], shape (size, size); NaN beyond the edge."""
        inside, made_of = window(self.wcs, self.shape, ra, dec, size)
        with open_fits(self.path, CutoutError) as hdus:
            hdu = hdus[self.extension]
            with reading(str(self.path), CutoutError, "a FITS image"):
                counts = np.array(hdu.section[inside])
            header = header_of(hdus, hdu)
            flux = calibrated(counts[None], header, self.pixel_scale, self.path, zeropoint)[0]
        made = np.full((size, size), np.nan, dtype=np.float32)
        made[made_of] = flux
        return made


@dataclass(frozen=True)
class Mosaic:
    """Cutouts of FITS tiles in a folder; tiles may overlap, and turn as they like.

    Attributes
    ----------
    path : Path
    tiles : dict
        The tiles of each band.
    bands : tuple of B strings
    size : int
        Width and height [pixel].
    pixel_scale : float
        [arcsec]
    zeropoint : float or None
        AB magnitude of one count, for tiles that do not give it.
    """

    path: Path
    tiles: Mapping[str, list[MosaicTile]]
    bands: tuple[str, ...]
    size: int
    pixel_scale: float
    zeropoint: float | None = None

    @classmethod
    def open(
        cls,
        tiles: Annotated[Path, "folder of FITS tiles"],
        bands: tuple[str, ...],
        size: int,
        zeropoint: Zeropoint = None,
    ) -> Mosaic:
        """The mosaic in the folder `tiles`.

        Raises
        ------
        CutoutError
            If a file is no tile, a band has none, or their pixel scales differ by over 1 %.
        """
        if not tiles.is_dir():
            raise CutoutError(f"{tiles}: no such folder. Expected a folder of FITS tiles.")
        files = [file for file in sorted(tiles.iterdir()) if _may_be_tile(file.name)]
        opened = [MosaicTile.open(file, zeropoint, bands) for file in files]
        used = [tile for tile in opened if tile is not None and tile.band in bands]
        by_band = {band: [tile for tile in used if tile.band == band] for band in bands}
        for band, found in by_band.items():
            if not found:
                raise CutoutError(f"{tiles}: no FITS tile of band {band}. Leave it out of --bands.")
        scale = used[0].pixel_scale
        for tile in used:
            if not abs(tile.pixel_scale / scale - 1) <= 0.01:
                raise CutoutError(
                    f"{tile.path}: its pixels are {tile.pixel_scale:.4g} arcsec, expected "
                    f"{scale:.4g} as in {used[0].path.name}. Keep mosaics of one scale together."
                )
        return cls(tiles, by_band, bands, size, float(f"{scale:.6g}"), zeropoint)

    def settings(self) -> Mapping[str, Any]:
        """See `ImageService.settings`."""
        return {
            "survey": "local",
            "tiles": str(self.path.resolve()),
            "bands": list(self.bands),
            "size": self.size,
            "pixel_scale": self.pixel_scale,
            "zeropoint": self.zeropoint,
        }

    def fetch(self, ra: float, dec: float) -> list[Reply]:
        """See `ImageService.fetch`."""
        return [self._band(band, ra, dec) for band in self.bands]

    def _band(self, band: str, ra: float, dec: float) -> Reply:
        """The reply of the tile with the source deepest inside, or of one that lost fewer."""
        depths = [(-tile.depth(ra, dec), tile.path.name, tile) for tile in self.tiles[band]]
        inside = [tile for depth, _, tile in sorted(depths, key=lambda d: d[:2]) if depth <= 0]
        try:
            return least_lost(self._reply(tile, ra, dec) for tile in inside) or Reply(OUTSIDE)
        except CutoutError as error:
            return unanswered(Unanswered(str(error), str(self.path)))

    def _reply(self, tile: MosaicTile, ra: float, dec: float) -> Reply:
        """The reply of a tile, with its name for an address and the pixels for an answer."""
        flux = tile.cut(ra, dec, self.size, self.zeropoint)
        lie = lie_at(tile.wcs, *pixel_of(tile.wcs, ra, dec))
        return reply_of_pixels(Answer(tile.path.name, content=flux.tobytes()), flux, lie)


def _may_be_tile(name: str) -> bool:
    name, suffix = split_suffix(name)
    return suffix not in ("", NPY) and not names_no_image(name)


SURVEY = SkySurvey(name="local", title="FITS tiles in a folder, one band each", cutouts=Mosaic.open)
