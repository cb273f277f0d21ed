"""Input of an ensemble: bands, size and pixel scale of its cutouts, binning and stretch."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from targetsel.documents.models import DocumentModel, Expected, FromList, validate_values
from targetsel.errors import CutoutError, EnsembleError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.store import CutoutStore, check_suits
from targetsel.imaging.stretch import Stretch
from targetsel.networks.aperture_photometry import ASINH_SCALE

# Linear, to keep colours; one sky sigma becomes a small number, so that bright cores still differ.
# [sky sigma]; `benchmarks/contenders.py` compares stretches.
SOFTENING, CLIP = 10.0, 2000.0
SMALLEST = 4  # fewest pixels on a side from which a cutout's quality can be measured


class InputPlan(DocumentModel):
    """Cutouts that the networks take.

    Attributes
    ----------
    bands : tuple of B strings
    pixel_scale : float
        Pixel scale of the stored cutouts [arcsec].
    size : int
        Width and height of the stored cutouts [pixel]; larger ones are cropped.
    stretch : Stretch
        Stretch of the binned pixels.
    binning : int
        Pixels on a side that are added up to one, before the stretch.
    flux_unit : "nanomaggy"
    """

    bands: Annotated[tuple[str, ...], FromList, Field(min_length=1), Expected("a list of bands")]
    pixel_scale: Annotated[float, Field(gt=0, description="arcsec")]
    size: Annotated[int, Field(ge=1, description="pixels")]
    stretch: Stretch
    binning: Annotated[int, Field(ge=1)] = 1
    flux_unit: Literal["nanomaggy"] = "nanomaggy"

    @model_validator(mode="after")
    def _check_binning(self) -> InputPlan:
        if self.size % self.binning:
            raise ValueError(
                f"binning is {self.binning}; expected a divisor of the size, {self.size} pixels"
            )
        return self

    @property
    def n_pixels(self) -> int:
        """Width and height of a network's input [binned pixel]."""
        return self.size // self.binning

    def select(self, cutouts: Cutouts) -> Cutouts:
        """The bands and central pixels of cutouts that the networks take.

        Raises
        ------
        CutoutError
            If a band is missing, or the cutouts are too small.
        """
        return cutouts.select_bands(self.bands).crop(self.size)

    def prepare(self, flux: np.ndarray) -> np.ndarray:
        """Network input from cutouts of these bands and size, (N, B, n_pixels, n_pixels).

        A bin with a pixel without data is without data itself.
        """
        return self.stretch.apply(binned(flux, self.binning))

    @classmethod
    def of_store(
        cls,
        store: CutoutStore,
        bands: tuple[str, ...] | None = None,
        size: int | None = None,
        binning: int = 1,
    ) -> InputPlan:
        """The usual input from a store: asinh, softened at 10 sky sigma and clipped at 2000.

        The sky noise of a binned pixel is computed for independent pixels.

        Raises
        ------
        CutoutError, EnsembleError
            If the store lacks a band, or its cutouts are too small.
        """
        bands, size = bands or store.bands, size or min(store.shape[1:])
        if size < SMALLEST:
            raise CutoutError(f"size is {size} pixels, expected {SMALLEST} or more")
        if twice := [band for band in bands if bands.count(band) > 1]:
            raise CutoutError(f"band {twice[0]} is named twice, expected each once")
        check_suits(store, bands, store.pixel_scale, size, "this training")
        sky = dict(zip(store.bands, store.sky_sigma, strict=True))
        stretch = {
            "kind": "asinh",
            "sky_sigma": [sky[band] * binning for band in bands],
            "scale": ASINH_SCALE,
            "softening": SOFTENING,
            "clip": CLIP,
        }
        values = {
            "bands": bands,
            "pixel_scale": store.pixel_scale,
            "size": size,
            "stretch": stretch,
            "binning": binning,
        }
        return validate_values(values, cls, "input", EnsembleError)


def binned(flux: np.ndarray, binning: int) -> np.ndarray:
    """Sums of `binning` x `binning` pixels, shape (N, B, H / binning, W / binning)."""
    if binning == 1:
        return flux
    # Whole planes added one by one take a tenth of the time of a sum over two axes.
    places = [(y, x) for y in range(binning) for x in range(binning)]
    total = flux[..., ::binning, ::binning].copy()
    for y, x in places[1:]:
        total += flux[..., y::binning, x::binning]
    return total
