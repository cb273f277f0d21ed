"""Input of an ensemble: bands, size and pixel scale of its cutouts, binning and stretch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from targetsel.errors import CutoutError, EnsembleError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.store import CutoutStore, check_suits
from targetsel.imaging.stretch import Stretch
from targetsel.networks.aperture_photometry import ASINH_SCALE

FLUX_UNIT = "nanomaggy"
# Linear, to keep colours; one sky sigma becomes a small number, so that bright cores still differ.
# [sky sigma]; `benchmarks/contenders.py` compares stretches.
SOFTENING, CLIP = 10.0, 2000.0
SMALLEST = 4  # fewest pixels on a side from which a cutout's quality can be measured


@dataclass(frozen=True)
class InputPlan:
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
    """

    bands: tuple[str, ...]
    pixel_scale: float
    size: int
    stretch: Stretch
    binning: int = 1

    def __post_init__(self) -> None:
        if self.binning < 1 or self.size % self.binning:
            raise EnsembleError(
                f"input of {self.size} pixels: binning is {self.binning}, expected a divisor of "
                "the size"
            )

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
        sigma = tuple(sky[band] * binning for band in bands)
        stretch = Stretch(
            kind="asinh", sky_sigma=sigma, scale=ASINH_SCALE, softening=SOFTENING, clip=CLIP
        )
        return cls(tuple(bands), store.pixel_scale, size, stretch, binning)

    def to_card(self) -> dict[str, Any]:
        return {
            "bands": list(self.bands),
            "pixel_scale": self.pixel_scale,
            "size": self.size,
            "flux_unit": FLUX_UNIT,
            "stretch": self.stretch.to_card(),
            "binning": self.binning,
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> InputPlan:
        """Input plan from a card's entry "input", which `scoring.card` has checked."""
        stretch = Stretch.model_validate(card["stretch"])
        binning = card.get("binning", 1)
        return cls(tuple(card["bands"]), card["pixel_scale"], card["size"], stretch, binning)


def binned(flux: np.ndarray, binning: int) -> np.ndarray:
    """Sums of `binning` x `binning` pixels, shape (N, B, H / binning, W / binning)."""
    if binning == 1:
        return flux
    n, bands, height, width = flux.shape
    bins = flux.reshape(n, bands, height // binning, binning, width // binning, binning)
    return bins.sum(axis=(3, 5))
