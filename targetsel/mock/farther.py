"""Galaxies beyond the real sample, as deeper surveys see them.

The real sample thins out at r = 17.8. Most galaxies of r 19 to 20.5 are no dwarfs, but much the
same galaxies farther away. A real galaxy becomes one of them in two steps. It is made less luminous
by up to `MOST_DIMMED`, and bluer accordingly: the real sample has too many luminous ones. Then its
redshift is drawn by comoving volume, among those at which it is beyond the real sample and bright
enough. Nothing evolves.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from targetsel.mock.anchor import Anchor
from targetsel.mock.cosmology import comoving_distance, distance_modulus, redshift_at
from targetsel.mock.galaxies import SDSS, Galaxies
from targetsel.mock.spectra import N_NORMALS, draw_spectra
from targetsel.mock.ultraviolet import WHOLE
from targetsel.photometry.bands import passbands, synthetic_photometry
from targetsel.photometry.flux import ab_magnitude, flux_of_magnitude
from targetsel.tables.ids import uniform

BRIGHTEST, FAINTEST = 17.77, 20.8  # r [mag]: the limit of SDSS's main sample, and this one's
R = SDSS.index("r")
REDSHIFTS = np.linspace(0.01, 0.60, 60)  # at which magnitudes are computed; none is beyond


def with_farther(galaxies: Galaxies, whole: Galaxies, seed: int, share: float) -> Galaxies:
    """Galaxies, a share of them replaced by ones beyond the real sample.

    Whether a source is replaced depends on the seed and its id alone.

    Parameters
    ----------
    whole : Galaxies
        The same sources with the luminosity of the real galaxies.
    """
    chosen = np.flatnonzero(uniform(whole.source_id, seed, "farther")[:, 0] < share)
    if not len(chosen):
        return galaxies
    moved = drawn_farther(whole.take(chosen).dimmed(seed), seed)
    columns = {name: values.copy() for name, values in vars(galaxies).items()}
    for name, values in vars(moved).items():
        columns[name][chosen] = values
    return Galaxies(**columns)


def drawn_farther(galaxies: Galaxies, seed: int) -> Galaxies:
    """The galaxies where they have r between `BRIGHTEST` and `FAINTEST`, by comoving volume."""
    magnitude = mean_magnitudes(galaxies.known)
    limits = _redshifts_of(galaxies, magnitude[:, :, R], (BRIGHTEST, FAINTEST))
    inner, outer = comoving_distance(limits) ** 3
    place = uniform(galaxies.source_id, seed, "redshift")[:, 0]
    redshift = redshift_at(np.cbrt(inner + place * (outer - inner)))
    return at_redshift(galaxies, redshift, magnitude)


def at_redshift(galaxies: Galaxies, redshift: np.ndarray, magnitude: np.ndarray) -> Galaxies:
    """The same galaxies at other redshifts.

    Fluxes are those of their mean spectra, scaled to the r flux where they really are.

    Parameters
    ----------
    redshift : ndarray, shape (N,)
        From 0.01 to 0.6.
    magnitude : ndarray, shape (N, Z, 5)
        The galaxies' `mean_magnitudes`.
    """
    own = _interpolated(magnitude[:, :, R], galaxies.redshift)
    changed = np.stack(
        [_interpolated(magnitude[:, :, band], redshift) - own for band in range(len(SDSS))], axis=1
    )
    farther = distance_modulus(redshift) - distance_modulus(galaxies.redshift)
    apparent = (ab_magnitude(galaxies.flux[:, R]) + farther)[:, None] + changed
    return replace(
        galaxies,
        redshift=redshift,
        flux=flux_of_magnitude(apparent),
        k_correction=galaxies.k_correction + changed[:, R],
    )


def _redshifts_of(galaxies: Galaxies, r: np.ndarray, limits: tuple[float, ...]) -> np.ndarray:
    """Redshifts at which galaxies of mean magnitudes `r` (N, Z) have some magnitudes, (K, N)."""
    nearer = ab_magnitude(galaxies.flux[:, R]) - distance_modulus(galaxies.redshift)
    known = nearer - _interpolated(r, galaxies.redshift)
    apparent = known[:, None] + r + distance_modulus(REDSHIFTS)
    fainter = np.maximum.accumulate(apparent, axis=1)
    return np.array([np.interp(limits, row, REDSHIFTS) for row in fainter]).T


def _interpolated(values: np.ndarray, redshift: np.ndarray) -> np.ndarray:
    """Values (N, Z) known at `REDSHIFTS`, at one redshift (N,) of each row."""
    rows = zip(redshift, values, strict=True)
    return np.array([np.interp(each, REDSHIFTS, row) for each, row in rows])


def mean_magnitudes(known: np.ndarray) -> np.ndarray:
    """Magnitudes of mean spectra at `REDSHIFTS`, the distance left out, shape (N, Z, 5)."""
    spectra = draw_spectra(known, np.zeros((len(known), N_NORMALS)), Anchor.shipped())
    bluer = spectra.ultraviolet.sum(axis=1)
    return magnitudes_at(np.concatenate([bluer, spectra.total], axis=1))


def magnitudes_at(flux: np.ndarray) -> np.ndarray:
    """ugriz magnitudes at `REDSHIFTS` of spectra (N, L) on `WHOLE`, shape (N, Z, 5).

    The distance is left out, so that the difference of two redshifts is that of K-corrections
    (Hogg et al. 2002, arXiv:astro-ph/0210394). Spectra are per unit rest wavelength, in any unit.
    """
    fluxes = np.matmul(_maps()[None], flux[:, None, :, None])[..., 0]
    return -2.5 * np.log10(fluxes)


@cache
def _maps() -> np.ndarray:
    """Linear maps from spectra to fluxes, shape (Z, 5, L)."""
    maps = synthetic_photometry(passbands("sdss", SDSS), WHOLE, REDSHIFTS)
    return maps / (1 + REDSHIFTS)[:, None, None]
