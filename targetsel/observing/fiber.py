"""How much of a galaxy's light enters a fiber."""

from __future__ import annotations

import numpy as np
from scipy.special import j1

HALF_LIGHT = 1.678347  # half-light radius of an exponential disk, in scale lengths
FWHM = 2.354820  # full width at half maximum of a Gaussian, in sigma
_FARTHEST = 6.0  # the seeing has removed what is beyond, in units of 1 / sigma
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def share_in_fiber(half_light_radius: np.ndarray, aperture: float, seeing: float) -> np.ndarray:
    """Share of the light of exponential disks that falls into a fiber centred on them, shape (N,).

    A disk's transform is (1 + (k h)^2)^(-3/2) for the scale length h and seeing multiplies it by a
    Gaussian, so that the light within R is the integral over k of R J1(k R) times both.

    Parameters
    ----------
    half_light_radius : ndarray, shape (N,)
        Before seeing [arcsec], of a face-on disk; 0 is a point source.
    aperture, seeing : float
        The fiber's diameter, and the FWHM of a point source [arcsec].
    """
    radius, sigma = aperture / 2, seeing / FWHM
    scale = np.asarray(half_light_radius, dtype=np.float64)[..., None] / HALF_LIGHT
    k = _FARTHEST / sigma * (_NODES + 1) / 2
    weights = _FARTHEST / sigma * _WEIGHTS / 2
    blurred = radius * j1(k * radius) * np.exp(-((k * sigma) ** 2) / 2) * weights
    return np.clip((blurred * (1 + (k * scale) ** 2) ** -1.5).sum(axis=-1), 0.0, 1.0)
