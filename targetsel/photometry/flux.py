"""Fluxes and AB magnitudes, and Galactic extinction.

Fluxes are in nanojansky inside, m_AB = 31.4 - 2.5 log10(f / nJy); a nanomaggy is the flux of
magnitude 22.5.

The extinction law is that of Fitzpatrick (1999, PASP 111, 63) for R_V = 3.1: a cubic spline
through the points of his Table 3. Schlafly & Finkbeiner (2011, ApJ 737, 103) found that the
reddening map of Schlegel, Finkbeiner & Davis (1998), which catalogs quote, has to be taken times
0.86 for this law.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from targetsel.documents.units import exact_factor

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

AB_ZERO_POINT = 31.4  # AB magnitude of one nanojansky
NANOMAGGY_ZERO_POINT = 22.5  # AB magnitude of one nanomaggy
NJY_PER_NANOMAGGY = 3630.780548
NANOMAGGY = 3.630_780_548e-29  # [erg/s/cm2/Hz]
NJY = 1e-32  # [erg/s/cm2/Hz]
SPEED_OF_LIGHT = 2.997_924_58e18  # [Angstrom/s]
NANOMAGGIES = ("nanomaggy", "nanomaggies", "nanomaggie", "nmgy")
MAGNITUDES = ("mag", "mag(AB)", "ABmag", "AB mag")

# What surveys write for unknown magnitudes lies beyond: 99, -99, -999, -9999, 1e20.
NO_MAGNITUDE = 50.0  # [mag], either sign
NO_FLUX = 1e17  # [nJy], of magnitude -11

RECALIBRATION = 0.86
_MICRON = np.array([np.inf, 2.65, 1.22, 0.6, 0.547, 0.467, 0.411, 0.27, 0.26])
_PER_REDDENING = np.array([0.0, 0.265, 0.829, 2.688, 3.055, 3.806, 4.315, 6.265, 6.591])


def ab_magnitude(flux: np.ndarray, zero_point: float = AB_ZERO_POINT) -> np.ndarray:
    """AB magnitude of a flux [nJy, or the unit of `zero_point`]; NaN if unknown or not positive."""
    flux = np.asarray(flux, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux > 0, zero_point - 2.5 * np.log10(flux), np.nan)


def flux_of_magnitude(magnitude: np.ndarray, zero_point: float = AB_ZERO_POINT) -> np.ndarray:
    """Flux [nJy, or the unit of `zero_point`] of an AB magnitude."""
    return 10 ** ((zero_point - np.asarray(magnitude, dtype=np.float64)) / 2.5)


def known_magnitudes(values: np.ndarray) -> np.ndarray:
    """Magnitudes as float64, NaN where they are codes for unknown ones, such as 99 and -999."""
    values = np.asarray(values, dtype=np.float64)
    return np.where(np.abs(values) < NO_MAGNITUDE, values, np.nan)


def magnitude_error(flux: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Error of a magnitude [mag], 2.5 / ln 10 of the flux's relative error; NaN if not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = error / flux
    return np.where(relative > 0, 2.5 / np.log(10) * relative, np.nan)


def flux_error(flux: np.ndarray, magnitude_error: np.ndarray) -> np.ndarray:
    """Error of a flux, in its own unit, from that of its magnitude [mag]."""
    return magnitude_error * np.log(10) / 2.5 * flux


def njy_per_unit(unit: str) -> float | None:
    """Nanojansky in one `unit` of flux density; None if it is no such unit."""
    from astropy import units

    if unit in NANOMAGGIES:
        return NJY_PER_NANOMAGGY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of several slashes, say
        meant = units.Unit(unit, parse_strict="silent")
    if not unit or not meant.is_equivalent(units.nJy):
        return None
    return float(exact_factor(meant, units.nJy))


def extinction(wavelength: np.ndarray) -> np.ndarray:
    """Extinction [mag] per magnitude of E(B-V) on the scale of Schlegel et al. (1998).

    Parameters
    ----------
    wavelength : ndarray
        Observed [Angstrom], 2600 and more.
    """
    return RECALIBRATION * _law()(1e4 / np.asarray(wavelength, dtype=np.float64))


@cache
def _law() -> CubicSpline:
    from scipy.interpolate import CubicSpline

    return CubicSpline(1 / _MICRON, _PER_REDDENING)
