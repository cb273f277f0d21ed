"""Bands of wavelength, the pixels that share in them, and wavelengths in air."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from targetsel.errors import SpectrumError
from targetsel.spectra import grid


@dataclass(frozen=True)
class Band:
    """An interval of wavelength [Angstrom, vacuum]."""

    start: float
    end: float

    @property
    def centre(self) -> float:
        return 0.5 * (self.start + self.end)

    @property
    def width(self) -> float:
        return self.end - self.start

    def shared(self, other: Band) -> float:
        """Angstrom that two bands have in common."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))


def air_to_vacuum(wavelength: float) -> float:
    """Vacuum wavelength of one given in air [Angstrom]; Ciddor (1996), as in VALD3's inverse."""
    s2 = (1e4 / wavelength) ** 2
    index = 1.0 + (
        8.336624212083e-5
        + 2.408926869968e-2 / (130.1065924522 - s2)
        + 1.599740894897e-4 / (38.92568793293 - s2)
    )
    return wavelength * index


@dataclass(frozen=True, eq=False)
class Pixels:
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
    def of(cls, wavelength: np.ndarray) -> Pixels:
        """The pixels around some wavelengths; an edge lies at the geometric mean of neighbours.

        Raises
        ------
        SpectrumError
            If the wavelengths do not increase, or are not positive numbers.
        """
        wavelength = np.asarray(wavelength, dtype=np.float64)
        known = cls.of_decoder()
        if np.array_equal(wavelength, known.centres):
            return known
        if wavelength.ndim != 1 or len(wavelength) < 2:
            raise SpectrumError(f"wavelength has shape {wavelength.shape}, expected (L,)")
        if not np.isfinite(wavelength).all() or wavelength[0] <= 0:
            raise SpectrumError("wavelengths are not all positive numbers; remove those pixels")
        if (backward := np.flatnonzero(np.diff(wavelength) <= 0)).size:
            k = int(backward[0])
            raise SpectrumError(
                f"wavelengths do not increase: {wavelength[k]:.6g} is followed by "
                f"{wavelength[k + 1]:.6g} (pixel {k + 1}). Sort the pixels by wavelength."
            )
        middle = np.sqrt(wavelength[1:] * wavelength[:-1])
        first, last = wavelength[0] ** 2 / middle[0], wavelength[-1] ** 2 / middle[-1]
        return cls(wavelength, np.concatenate([[first], middle, [last]]))

    @staticmethod
    @cache
    def of_decoder() -> Pixels:
        """The pixels of every decoded spectrum."""
        return Pixels(grid.wavelengths(), grid.edges())

    def cover(self, band: Band) -> bool:
        return bool(self.edges[0] <= band.start and band.end <= self.edges[-1])

    def overlap(self, band: Band) -> tuple[slice, np.ndarray]:
        """The pixels that touch a band, and how many Angstrom of each lie in it.

        Raises
        ------
        SpectrumError
            If the band reaches beyond the spectrum.
        """
        if not self.cover(band):
            raise SpectrumError(
                f"the band {band.start:.1f}-{band.end:.1f} Angstrom reaches beyond the spectrum, "
                f"which covers {self.edges[0]:.1f}-{self.edges[-1]:.1f} Angstrom "
                "(rest frame, vacuum)"
            )
        first = int(np.searchsorted(self.edges, band.start, side="right")) - 1
        last = int(np.searchsorted(self.edges, band.end, side="left"))
        edges = np.clip(self.edges[first : last + 1], band.start, band.end)
        return slice(first, last), np.diff(edges)
