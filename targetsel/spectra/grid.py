"""Wavelengths: the decoder's grid, bands and pixels, and wavelengths in air.

All decoded spectra are on the grid of Portillo et al. (2020, AJ 160, 45): 1000 pixels,
log10(wavelength / Angstrom) = 3.53 + 0.00039 i, vacuum, rest frame; 3388.4 to 8310.2 Angstrom,
269 km/s per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from targetsel.errors import SpectrumError, counted

N_PIXELS = 1000
LOG_START = 3.53
LOG_STEP = 0.00039
Lengths = TypeVar("Lengths", float, np.ndarray)


def wavelengths(first: int = 0, last: int = N_PIXELS) -> np.ndarray:
    """Pixel centres [Angstrom, vacuum] of pixels `first` to `last` - 1 of the grid's sequence.

    Pixels below 0 and from 1000 on continue the same steps beyond the grid's ends.
    """
    return 10 ** (LOG_START + LOG_STEP * np.arange(first, last))


def edges(first: int = 0, last: int = N_PIXELS) -> np.ndarray:
    """Pixel edges [Angstrom, vacuum], one more than there are pixels."""
    return 10 ** (LOG_START + LOG_STEP * (np.arange(first, last + 1) - 0.5))


def edges_between(wavelength: np.ndarray) -> np.ndarray:
    """Pixel edges, (L,) to (L + 1,): the geometric means of neighbouring wavelengths."""
    middle = np.sqrt(wavelength[1:] * wavelength[:-1])
    first, last = wavelength[0] ** 2 / middle[0], wavelength[-1] ** 2 / middle[-1]
    return np.concatenate([[first], middle, [last]])


def check_increasing(wavelength: np.ndarray, place: str = "") -> None:
    """Check that wavelengths are positive numbers that increase.

    Raises
    ------
    SpectrumError
        With `place`, if they are not.
    """
    place = place and f"{place}: "
    if wavelength.ndim != 1:
        raise SpectrumError(f"{place}wavelength has shape {wavelength.shape}, expected (L,)")
    if len(wavelength) < 2:
        raise SpectrumError(f"{place}has {counted(len(wavelength), 'pixel')}; expected at least 2.")
    if n_bad := int((~np.isfinite(wavelength)).sum()):
        raise SpectrumError(f"{place}wavelength is NaN in {counted(n_bad, 'pixel')}. Remove them.")
    if (backward := np.flatnonzero(np.diff(wavelength) <= 0)).size:
        k = int(backward[0])
        raise SpectrumError(
            f"{place}wavelengths do not increase: {wavelength[k]:.6g} is followed by "
            f"{wavelength[k + 1]:.6g} (pixel {k + 1}). Sort the pixels by wavelength, each once."
        )
    if wavelength[0] <= 0:
        raise SpectrumError(f"{place}wavelengths are not all positive. Remove those pixels.")


@dataclass(frozen=True)
class WavelengthBand:
    """An interval of wavelength [Angstrom, vacuum]."""

    start: float
    end: float

    @property
    def centre(self) -> float:
        """Middle of the band [Angstrom]."""
        return 0.5 * (self.start + self.end)

    @property
    def width(self) -> float:
        """Width of the band [Angstrom]."""
        return self.end - self.start

    def shared(self, other: WavelengthBand) -> float:
        """Width of the overlap with another band [Angstrom]."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))


def air_to_vacuum(wavelength: Lengths) -> Lengths:
    """Vacuum wavelength of a wavelength in air [Angstrom]; Ciddor (1996), inverted as in VALD3."""
    s2 = (1e4 / wavelength) ** 2
    index = 1.0 + (
        8.336624212083e-5
        + 2.408926869968e-2 / (130.1065924522 - s2)
        + 1.599740894897e-4 / (38.92568793293 - s2)
    )
    return wavelength * index


@dataclass(frozen=True, eq=False)
class SpectrumPixels:
    """The pixels of a spectrum.

    Attributes
    ----------
    centres : ndarray, shape (L,)
        Rest-frame vacuum wavelength [Angstrom], increasing.
    edges : ndarray, shape (L + 1,)
    """

    centres: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(cls, wavelength: np.ndarray) -> SpectrumPixels:
        """Pixels around these wavelengths; edges lie at the geometric means of neighbours.

        Raises
        ------
        SpectrumError
            If the wavelengths are not positive and increasing.
        """
        wavelength = np.asarray(wavelength, dtype=np.float64)
        known = cls.of_decoder()
        if np.array_equal(wavelength, known.centres):
            return known
        check_increasing(wavelength)
        return cls(wavelength, edges_between(wavelength))

    @staticmethod
    @cache
    def of_decoder() -> SpectrumPixels:
        """The pixels of every decoded spectrum."""
        return SpectrumPixels(wavelengths(), edges())

    def cover(self, band: WavelengthBand) -> bool:
        """Whether the pixels cover a band completely."""
        return bool(self.edges[0] <= band.start and band.end <= self.edges[-1])

    def overlap(self, band: WavelengthBand) -> tuple[slice, np.ndarray]:
        """The pixels that overlap a band, and the width of each inside it [Angstrom].

        Raises
        ------
        SpectrumError
            If the band reaches beyond the spectrum.
        """
        if not self.cover(band):
            raise SpectrumError(
                f"the band {band.start:.1f}-{band.end:.1f} Angstrom reaches beyond the spectrum, "
                f"which covers {self.edges[0]:.1f}-{self.edges[-1]:.1f} Angstrom "
                "(rest frame, vacuum). Choose a band within it."
            )
        first = int(np.searchsorted(self.edges, band.start, side="right")) - 1
        last = int(np.searchsorted(self.edges, band.end, side="left"))
        edges = np.clip(self.edges[first : last + 1], band.start, band.end)
        return slice(first, last), np.diff(edges)
