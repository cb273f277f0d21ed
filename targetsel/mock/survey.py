"""The cameras and skies that the mock images are taken with.

What is said to be rounded was written from memory of the papers named, not checked against them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targetsel.photometry.bands import Band, passbands
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT

# Stacks are resampled, which correlates the noise of neighbours: white noise is blurred by
# (EDGE, 1 - 2 EDGE, EDGE) along both axes. Set by hand; neighbours then correlate by 0.24.
EDGE = 0.1


@dataclass(frozen=True)
class Survey:
    """A survey's bands, seeing, depth and sky.

    Attributes
    ----------
    name : str
    system : str
        Photometric system, of `photometry.bands.PASSBANDS`.
    bands : tuple of B strings
    pixel_scale : float
        [arcsec]
    seeing : ndarray, shape (B,)
        Median full width at half maximum [arcsec].
    depth : ndarray, shape (B,)
        Magnitude of a point source at 5 sigma.
    sky : ndarray, shape (B,)
        Sky brightness [mag / arcsec^2]; sets how much noise a source's own light adds.
    """

    name: str
    system: str
    bands: tuple[str, ...]
    pixel_scale: float
    seeing: np.ndarray
    depth: np.ndarray
    sky: np.ndarray

    @property
    def white_sigma(self) -> np.ndarray:
        """Noise of one pixel before it is blurred [nanomaggy], shape (B,).

        From the depth: a point source's flux is measured through a Gaussian PSF of variance s^2
        pixels, whose power keeps exp(-m^2 / 4 s^2) of the noise's correlation at lag m.
        """
        variance = (self.seeing / 2.3548 / self.pixel_scale) ** 2
        correlation = np.correlate(_KERNEL, _KERNEL, "full")[2:]
        lags = np.exp(-(np.arange(3)[:, None] ** 2) / (4 * variance))
        kept = correlation @ (np.array([1.0, 2.0, 2.0])[:, None] * lags)  # of the power, per axis
        five_sigma = 10 ** (-0.4 * (self.depth - NANOMAGGY_ZERO_POINT))
        return five_sigma / 5 / np.sqrt(4 * np.pi * variance) / kept

    @property
    def sky_sigma(self) -> np.ndarray:
        """Noise of one pixel [nanomaggy], shape (B,)."""
        return self.white_sigma * (_KERNEL**2).sum()

    @property
    def sky_flux(self) -> np.ndarray:
        """Sky light in one pixel [nanomaggy], shape (B,)."""
        return 10 ** (-0.4 * (self.sky - NANOMAGGY_ZERO_POINT)) * self.pixel_scale**2

    @property
    def passbands(self) -> tuple[Band, ...]:
        return passbands(self.system, self.bands)

    @property
    def wavelength(self) -> np.ndarray:
        """Effective wavelength of each band [Angstrom], shape (B,)."""
        return np.array([band.wavelength for band in self.passbands])


_KERNEL = np.array([EDGE, 1 - 2 * EDGE, EDGE])

# Pan-STARRS 3pi stacks: seeing and depth of Chambers et al. (2016, arXiv:1612.05560), table 11
# and section 6; sky brightness of the bands rounded from Tonry et al. (2012, ApJ 750, 99).
PAN_STARRS = Survey(
    name="ps1",
    system="ps1",
    bands=("g", "r", "i", "z", "y"),
    pixel_scale=0.25,
    seeing=np.array([1.31, 1.19, 1.11, 1.07, 1.02]),
    depth=np.array([23.3, 23.2, 23.1, 22.3, 21.3]),
    sky=np.array([21.9, 20.9, 19.8, 19.2, 18.3]),
)

# DECam Legacy Survey at three visits, rounded from Dey et al. (2019, AJ 157, 168).
LEGACY = Survey(
    name="legacy",
    system="decam_noatm",
    bands=("g", "r", "z"),
    pixel_scale=0.262,
    seeing=np.array([1.29, 1.18, 1.11]),
    depth=np.array([24.8, 24.2, 23.3]),
    sky=np.array([22.0, 20.9, 18.7]),
)

# Rubin: seeing, sky and depth of one visit rounded from Ivezic et al. (2019, ApJ 873, 111),
# table 2; a tenth of the visits of ten years (6, 8, 18, 18, 16, 16) deepens it by 1.25 log10 n.
LSST_YEAR_1 = Survey(
    name="lsst",
    system="lsst",
    bands=("u", "g", "r", "i", "z", "y"),
    pixel_scale=0.2,
    seeing=np.array([0.92, 0.87, 0.83, 0.80, 0.78, 0.76]),
    depth=np.array([24.8, 25.9, 26.0, 25.5, 24.8, 23.9]),
    sky=np.array([22.9, 22.3, 21.2, 20.5, 19.6, 18.6]),
)

SURVEYS = {survey.name: survey for survey in (PAN_STARRS, LEGACY, LSST_YEAR_1)}
