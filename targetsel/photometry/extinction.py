"""Galactic extinction.

The law of Fitzpatrick (1999, PASP 111, 63) for R_V = 3.1: a cubic spline through the points of his
Table 3. Schlafly & Finkbeiner (2011, ApJ 737, 103) found that the reddening map of Schlegel,
Finkbeiner & Davis (1998), which catalogs quote, has to be taken times 0.86 for this law.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

RECALIBRATION = 0.86
_MICRON = np.array([np.inf, 2.65, 1.22, 0.6, 0.547, 0.467, 0.411, 0.27, 0.26])
_PER_REDDENING = np.array([0.0, 0.265, 0.829, 2.688, 3.055, 3.806, 4.315, 6.265, 6.591])
_LAW = CubicSpline(1 / _MICRON, _PER_REDDENING)


def extinction(wavelength: np.ndarray) -> np.ndarray:
    """Extinction [mag] per magnitude of E(B-V) on the scale of Schlegel et al. (1998).

    Parameters
    ----------
    wavelength : ndarray
        Observed [Angstrom], 2600 and more.
    """
    return RECALIBRATION * _LAW(1e4 / np.asarray(wavelength, dtype=np.float64))
