"""The camera and sky that the mock images are taken with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Survey:
    """A survey's bands, seeing, depth and sky.

    Attributes
    ----------
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

    bands: tuple[str, ...]
    pixel_scale: float
    seeing: np.ndarray
    depth: np.ndarray
    sky: np.ndarray

    @property
    def sky_sigma(self) -> np.ndarray:
        """Noise of one pixel [nanomaggy], shape (B,), from the depth for a Gaussian PSF."""
        psf_sigma = self.seeing / 2.3548 / self.pixel_scale
        return 10 ** (-0.4 * (self.depth - 22.5)) / 5 / np.sqrt(4 * np.pi * psf_sigma**2)

    @property
    def sky_flux(self) -> np.ndarray:
        """Sky light in one pixel [nanomaggy], shape (B,)."""
        return 10 ** (-0.4 * (self.sky - 22.5)) * self.pixel_scale**2


# Pan-STARRS 3pi stacks: seeing and depth of Chambers et al. (2016, arXiv:1612.05560), table 11
# and section 6; sky brightness of the bands rounded from Tonry et al. (2012, ApJ 750, 99).
PAN_STARRS = Survey(
    bands=("g", "r", "i", "z", "y"),
    pixel_scale=0.25,
    seeing=np.array([1.31, 1.19, 1.11, 1.07, 1.02]),
    depth=np.array([23.3, 23.2, 23.1, 22.3, 21.3]),
    sky=np.array([21.9, 20.9, 19.8, 19.2, 18.3]),
)
