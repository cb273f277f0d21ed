"""Broad-band fluxes of spectra, through the passbands that the package `speclite` carries."""

from __future__ import annotations

from functools import cache

import numpy as np

PANSTARRS = ("g", "r", "i", "z", "y")
SDSS = ("u", "g", "r", "i", "z")
SPEED_OF_LIGHT = 2.997_924_58e18  # Angstrom/s
NANOMAGGY = 3.630_780_548e-29  # erg/s/cm2/Hz


@cache
def _passband(group: str, band: str) -> tuple[np.ndarray, np.ndarray]:
    from speclite.filters import load_filter

    response = load_filter(f"{group}-{band}")
    return np.asarray(response.wavelength, dtype=float), np.asarray(response.response, dtype=float)


def response(
    group: str, bands: tuple[str, ...], wavelength: np.ndarray, redshift: np.ndarray
) -> np.ndarray:
    """Linear map from rest-frame flux density to AB band fluxes, shape (N, B, L).

    Its product with a flux density in 1e-17 erg/s/cm2/Angstrom, on the pixels of `wavelength`
    and *already dimmed to the observed frame*, is a flux in nanomaggies: Fukugita et al.
    (1996, AJ 111, 1748), eq. 7, for a photon counter.

    Parameters
    ----------
    group : str
        `speclite` filter group: "panstarrs" or "sdss2010".
    wavelength : ndarray, shape (L,)
        Rest-frame wavelengths [Angstrom], steps equal in the logarithm.
    redshift : ndarray, shape (N,)
    """
    observed = wavelength * (1 + np.asarray(redshift)[:, None])
    step = np.log(wavelength[-1] / wavelength[0]) / (len(wavelength) - 1)
    maps = []
    for band in bands:
        wave, curve = _passband(group, band)
        shape = np.interp(observed, wave, curve, left=0.0, right=0.0)
        reference = np.trapezoid(curve / wave, wave) * SPEED_OF_LIGHT * NANOMAGGY
        maps.append(1e-17 * shape * observed**2 * step / reference)
    return np.stack(maps, axis=1)
