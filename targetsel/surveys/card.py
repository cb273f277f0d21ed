"""Survey cards: what is known of a survey's images, as one record.

Each file of a survey in this folder has a card. The mock sky, the packer, the fetching of cutouts
and the training take what they need from it. Values marked as rounded were written from memory of
the papers named, not checked against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from targetsel.photometry.bands import Band, find_passband

NO_BITS: Mapping[str, int] = {}


@dataclass(frozen=True)
class CardBand:
    """One band of a survey.

    Attributes
    ----------
    name : str
        As cutouts call it, such as "g" or "VIS"; upper and lower case differ.
    passband : str or Band
        Its curve: a name of `photometry.bands.PASSBANDS` such as "g_hsc", or a `Band.between`.
    seeing : float
        Median full width at half maximum of the PSF [arcsec].
    depth : float
        AB magnitude of a point source at 5 sigma.
    sky : float
        Sky brightness [AB mag / arcsec^2].
    """

    name: str
    passband: str | Band
    seeing: float
    depth: float
    sky: float

    @property
    def curve(self) -> Band:
        """The passband, with its wavelength and response."""
        return find_passband(self.passband) if isinstance(self.passband, str) else self.passband

    @property
    def wavelength(self) -> float:
        """Effective wavelength [Angstrom]."""
        return self.curve.wavelength


@dataclass(frozen=True)
class Wings:
    """Shape of a survey's PSF beyond its width: a Moffat profile with an aureole.

    The values that are given here were measured by benchmarks/real_images.py on a mosaic of KiDS
    and VIKING and on PSFs of HSC. Surveys whose own are not known take them.

    Attributes
    ----------
    beta : float
        Median exponent of the Moffat profiles.
    aureole : float
        Median share of the light in the aureole.
    offset : float
        Scatter of each band's image about the common place, along each axis [arcsec].
    """

    beta: float = 2.2
    aureole: float = 0.08
    offset: float = 0.05


@dataclass(frozen=True)
class Correlation:
    """Correlation of the noise of neighbouring pixels, as resampling leaves it.

    White noise is blurred by (e, 1 - 2 e, e) along both axes. The range given here was measured by
    benchmarks/real_images.py on a mosaic of KiDS and VIKING: neighbours correlate by -0.08 (KiDS,
    resampled by a Lanczos kernel), 0.3 (VIKING) or 0.46. Surveys whose own is not known take it.

    Attributes
    ----------
    edges : (float, float)
        Smallest and largest e.
    """

    edges: tuple[float, float] = (-0.04, 0.17)


MEASURED_WINGS, MEASURED_CORRELATION = Wings(), Correlation()


@dataclass(frozen=True)
class SurveyCard:
    """What is known of a survey's images.

    Attributes
    ----------
    name : str
        The word after ``--survey``.
    about : str
        Which images, in a few words.
    bands : tuple of B CardBand
        In their order.
    pixel_scale : float
        [arcsec]
    zeropoint : float or None
        AB magnitude of one count of the survey's own images; 22.5 for nanomaggies. None where
        their headers alone tell it.
    unit : str
        The count in words; empty where the headers tell it.
    cutout_size : int
        Usual width and height of cutouts [pixel].
    binning : int
        Pixels on a side that a network's input adds up to one.
    wings : Wings
    correlation : Correlation
    mask_bits : mapping of str to int
        Number of the bit, from 0, by the name of what it says of a pixel; those alone that make
        the pixel unusable. A name that ends in a band, such as SATUR_G, is of that band.
    sources : tuple of str
        Where the figures are from.
    """

    name: str
    about: str
    bands: tuple[CardBand, ...]
    pixel_scale: float
    zeropoint: float | None
    unit: str
    cutout_size: int = 64
    binning: int = 1
    wings: Wings = MEASURED_WINGS
    correlation: Correlation = MEASURED_CORRELATION
    mask_bits: Mapping[str, int] = field(default_factory=lambda: NO_BITS, hash=False)
    sources: tuple[str, ...] = ()

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in their order."""
        return tuple(band.name for band in self.bands)

    @property
    def passbands(self) -> tuple[Band, ...]:
        """Curves of the bands."""
        return tuple(band.curve for band in self.bands)

    def column(self, name: str) -> np.ndarray:
        """One number of each band, such as "seeing", shape (B,)."""
        return np.array([getattr(band, name) for band in self.bands])

    @property
    def unusable(self) -> int:
        """All of `mask_bits` as one number."""
        return sum(1 << bit for bit in set(self.mask_bits.values()))
