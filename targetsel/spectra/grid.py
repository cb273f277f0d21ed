"""The rest-frame wavelength grid that every decoded spectrum lives on.

Portillo et al. (2020, AJ 160, 45): 1000 pixels, log10(wavelength / Angstrom) = 3.53 + 0.00039 i,
vacuum; 3388.4 to 8310.2 Angstrom, 269 km/s per pixel.
"""

from __future__ import annotations

import numpy as np

N_PIXELS = 1000
LOG_START = 3.53
LOG_STEP = 0.00039


def wavelengths(first: int = 0, last: int = N_PIXELS) -> np.ndarray:
    """Pixel centres [Angstrom, vacuum] of pixels `first` to `last` - 1 of the grid's sequence.

    Pixels below 0 and from 1000 on continue the same steps beyond the grid's ends.
    """
    return 10 ** (LOG_START + LOG_STEP * np.arange(first, last))


def edges(first: int = 0, last: int = N_PIXELS) -> np.ndarray:
    """Pixel edges [Angstrom, vacuum], one more than there are pixels."""
    return 10 ** (LOG_START + LOG_STEP * (np.arange(first, last + 1) - 0.5))
