"""Cutouts: the pixels around each source, band by band."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import numpy as np

from targetsel.errors import CutoutError
from targetsel.extras import installed
from targetsel.imaging.orientation import Orientation
from targetsel.sky.positions import check_same_places

if TYPE_CHECKING:
    from targetsel.sky.catalog import Catalog


@dataclass(frozen=True, repr=False)
class Cutouts:
    """The pixels around N sources in B bands.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
        int64, or object array of str.
    flux : ndarray of float32, shape (N, B, H, W)
        [nanomaggy]; NaN where there is no data.
    bands : tuple of B strings
    pixel_scale : float
        [arcsec]
    present : ndarray of bool, shape (N,)
        False where there was no cutout at all; by default every cutout is there.
    position : tuple of two ndarrays, shape (N,), or None
        Ra and dec [deg, ICRS] that the images were made for, NaN where not present; None where
        they are not known.
    orientation : Orientation or None
        Which way north and east are; None where nothing is known of any.
    """

    source_id: np.ndarray
    flux: np.ndarray
    bands: tuple[str, ...]
    pixel_scale: float
    present: np.ndarray = None  # type: ignore[assignment]
    position: tuple[np.ndarray, np.ndarray] | None = None
    orientation: Orientation | None = None

    def __post_init__(self) -> None:
        n = len(self.source_id)
        if self.present is None:
            object.__setattr__(self, "present", np.ones(n, dtype=bool))
        if self.flux.ndim != 4 or self.flux.shape[:2] != (n, len(self.bands)):
            raise ValueError(
                f"flux has shape {self.flux.shape}, expected ({n}, {len(self.bands)}, H, W)"
            )
        if self.present.shape != (n,):
            raise ValueError(f"present has shape {self.present.shape}, expected ({n},)")
        if self.position is not None and {each.shape for each in self.position} != {(n,)}:
            raise ValueError(f"position is not that of {n} sources")
        if self.orientation is not None and self.orientation.known.shape != (n,):
            raise ValueError(f"orientation is not that of {n} sources")

    def __len__(self) -> int:
        return len(self.source_id)

    def __repr__(self) -> str:
        height, width = self.flux.shape[2:]
        statuses = Counter(self.status.tolist()).most_common(4)
        return (
            f"Cutouts of {len(self):,} sources in {', '.join(self.bands)}, {height} x {width} "
            f"pixels of {self.pixel_scale:g} arcsec [nanomaggy]: "
            + ", ".join(f"{n:,} {status}" for status, n in statuses)
        )

    def _repr_html_(self) -> str | None:
        if not installed("plots"):
            return None  # notebooks show the line of text then
        # By its name, as that module builds on this one.
        pictures = import_module("targetsel.imaging.picture")
        return str(pictures.html_of(self, repr(self)))

    @property
    def size(self) -> int:
        """Width and height [pixel]; the shorter one, should they differ."""
        return min(self.flux.shape[2:])

    @cached_property
    def masked_fraction(self) -> np.ndarray:
        """Share of the pixels, over all bands, that hold no data, shape (N,)."""
        return np.isnan(self.flux).mean(axis=(1, 2, 3))

    @cached_property
    def status(self) -> np.ndarray:
        """ "ok", or the reason why a cutout is not used; object array of str, shape (N,).

        A band is lost if every pixel is NaN, or all have one value, as some surveys mark missing
        data by 0 or -999.
        "mostly NaN pixels" stands for more than half of them, over all bands.
        """
        low, high = self.flux.min(axis=(2, 3)), self.flux.max(axis=(2, 3))
        gaps = np.flatnonzero(np.isnan(low).any(axis=1))  # whose numbers are those of other pixels
        some, missing = self.flux[gaps], np.isnan(self.flux[gaps])
        low[gaps] = np.where(missing, np.inf, some).min(axis=(2, 3))
        high[gaps] = np.where(missing, -np.inf, some).max(axis=(2, 3))
        lost = high <= low
        gone = lost.all(axis=1)
        gone[gone] = (self.flux[gone] == 0).any(axis=(1, 2, 3))
        status = np.full(len(self), "ok", dtype=object)
        status[self.masked_fraction > 0.5] = "mostly NaN pixels"
        for row in np.flatnonzero(lost.any(axis=1)):
            names = [band for band, gone in zip(self.bands, lost[row], strict=True) if gone]
            status[row] = f"lost band{'s' if len(names) > 1 else ''}: {', '.join(names)}"
        status[gone] = "all-zero image"
        status[~self.present] = "no cutout"
        return status

    def take(self, rows: np.ndarray | slice) -> Cutouts:
        """Some of the sources, by mask, indices or slice."""
        position = self.position
        return replace(
            self,
            source_id=self.source_id[rows],
            flux=self.flux[rows],
            present=self.present[rows],
            position=None if position is None else (position[0][rows], position[1][rows]),
            orientation=self.orientation and self.orientation.take(rows),
        )

    def select_bands(self, bands: tuple[str, ...]) -> Cutouts:
        """The same cutouts with these bands, in this order.

        Raises
        ------
        CutoutError
            If there is no such band.
        """
        bands = tuple(bands)
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise CutoutError(
                f"cutouts have the bands {', '.join(self.bands)}, not {', '.join(missing)}. "
                "Use cutouts with every band asked for."
            )
        if bands == self.bands:
            return self
        order = [self.bands.index(band) for band in bands]
        return replace(self, flux=self.flux[:, order], bands=bands)

    def crop(self, size: int) -> Cutouts:
        """The central `size` x `size` pixels.

        Raises
        ------
        CutoutError
            If the cutouts are smaller.
        """
        if self.flux.shape[2:] == (size, size):
            return self
        return replace(self, flux=crop_to_centre(self.flux, size))

    def sky_sigma(self) -> np.ndarray:
        """Standard deviation of the sky in each band [nanomaggy/pixel], shape (B,).

        From the median absolute deviation in each cutout's outer eighth, where a source hardly
        reaches; the median over cutouts, so that a few crowded ones do not matter. NaN for a
        band without data.
        """
        height, width = self.flux.shape[2:]
        edge = np.ones((height, width), dtype=bool)
        rim = max(1, self.size // 8)
        edge[rim : height - rim, rim : width - rim] = False
        values = self.flux[:, :, edge]
        middle = _nanmedian(values, axis=2)
        deviation = _nanmedian(np.abs(values - middle[..., None]), axis=2)
        return 1.4826 * _nanmedian(deviation, axis=0)


class Images(Protocol):
    """A source of cutouts: a store, or a folder of image files."""

    def read(self, source_ids: np.ndarray) -> Cutouts:
        """The cutouts of these sources, in this order; all NaN and not present if unknown."""
        ...


def cut_out(catalog: Catalog, images: Images) -> Cutouts:
    """The cutout of every source of the catalog, in its order.

    A source that `images` does not know keeps its row: all NaN, with the status "no cutout".

    Parameters
    ----------
    catalog : Catalog
        N sources.
    images : CutoutStore or Folder
        B bands of H x W pixels.

    Returns
    -------
    Cutouts
        `flux` of shape (N, B, H, W) [nanomaggy/pixel].

    Raises
    ------
    CutoutError
        If the images cannot be read, or were made for positions other than the catalog's.

    See Also
    --------
    score_rows : Predict what these cutouts show.
    pack : Make a cutout store.

    Examples
    --------
    >>> import targetsel as ts
    >>> catalog = ts.read("catalog.parquet", "catalog")[:3]
    >>> cutouts = ts.cut_out(catalog, ts.read("cutouts", "cutouts"))
    >>> cutouts.flux.shape
    (3, 5, 64, 64)
    """
    cutouts = images.read(catalog.source_id)
    if cutouts.position is not None:
        place = str(getattr(images, "path", "the images"))
        ours = catalog.ra, catalog.dec
        check_same_places(
            cutouts.source_id, ours, cutouts.position, "the catalog", place, CutoutError
        )
    return cutouts


def crop_to_centre(flux: np.ndarray, size: int) -> np.ndarray:
    """The central `size` x `size` pixels, shape (..., size, size).

    If an odd number of pixels is cut, one more goes at the high end.

    Raises
    ------
    CutoutError
        If the cutouts are smaller.
    """
    height, width = flux.shape[-2:]
    if min(height, width) < size:
        raise CutoutError(
            f"cutouts of {height} x {width} pixels cannot give {size} x {size}. "
            "Ask for a smaller size, or cut larger images."
        )
    top, left = (height - size) // 2, (width - size) // 2
    return flux[..., top : top + size, left : left + size]


def _nanmedian(values: np.ndarray, axis: int) -> np.ndarray:
    """`np.nanmedian`, silently NaN where there is no data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(values, axis=axis)
