"""Distances of mock galaxies: a flat universe of H0 = 70 km/s/Mpc and Omega_m = 0.3."""

from __future__ import annotations

from functools import cache

import numpy as np


def distance_modulus(redshift: np.ndarray) -> np.ndarray:
    """Distance modulus [mag] at redshifts from 0.005 to 1."""
    known, modulus, _ = _table()
    return np.interp(np.log(redshift), np.log(known), modulus)


def arcsec_per_kpc(redshift: np.ndarray) -> np.ndarray:
    """Angle of a proper length [arcsec / kpc] at redshifts from 0.005 to 1."""
    known, _, angle = _table()
    return np.exp(np.interp(np.log(redshift), np.log(known), np.log(angle)))


def comoving_distance(redshift: np.ndarray) -> np.ndarray:
    """Comoving distance [Mpc] at redshifts from 0.005 to 1; its cube goes as the volume within."""
    return 10 ** (0.2 * distance_modulus(redshift) - 5) / (1 + redshift)


def redshift_at(distance: np.ndarray) -> np.ndarray:
    """Redshift at a comoving distance [Mpc]."""
    known = _table()[0]
    return np.interp(distance, comoving_distance(known), known)


@cache
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Redshifts, distance moduli and arcsec per kpc, in steps of half a percent.

    Computed once: astropy's units keep references to frames, and so to their callers' data.
    """
    from astropy.cosmology import FlatLambdaCDM

    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    redshift = np.geomspace(0.005, 1.0, 1060)
    modulus = cosmology.distmod(redshift).value
    return redshift, modulus, cosmology.arcsec_per_kpc_proper(redshift).value
