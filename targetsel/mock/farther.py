"""The real galaxies again at higher redshifts, as deeper surveys see them.

The real sample ends at r = 18.5. Most galaxies of r 19 to 20.5 are no dwarfs but the same kinds of
galaxies farther away. A galaxy keeps its colours and luminosity in its rest frame: nothing here
evolves. Luminous galaxies, of which the real sample has too many, are moved less often, so that
those beyond its limit are as luminous as the luminosity function says.
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

FAINTEST = 20.8  # r of the faintest galaxies [mag]
R = SDSS.index("r")
REDSHIFTS = np.linspace(0.01, 0.60, 60)  # at which magnitudes are computed; none is beyond
# Schechter function of Blanton et al. (2003, ApJ 592, 819) in SDSS's r moved to redshift 0.1, from
# memory: the break is -20.44 for H0 = 100 km/s/Mpc. The last is what it adds to r, set by hand.
BREAK, FAINT_END, TO_BAND = -20.44 + 5 * np.log10(0.7), -1.05, 0.2


def with_farther(galaxies: Galaxies, whole: Galaxies, seed: int, share: float) -> Galaxies:
    """Galaxies, a share of them replaced by the same ones at a higher redshift.

    Whether a source is replaced depends on the seed, its id and its luminosity alone: the chance
    is `share` times its `want`, and at most 1.

    Parameters
    ----------
    whole : Galaxies
        The same sources with the luminosity of the real galaxies, which those farther away keep.
    """
    chance = share * want(whole)
    chosen = np.flatnonzero(uniform(whole.source_id, seed, "farther")[:, 0] < chance)
    if not len(chosen):
        return galaxies
    moved = drawn_farther(whole.take(chosen), seed)
    columns = {name: values.copy() for name, values in vars(galaxies).items()}
    for name, values in vars(moved).items():
        columns[name][chosen] = values
    return Galaxies(**columns)


def drawn_farther(galaxies: Galaxies, seed: int) -> Galaxies:
    """The galaxies at redshifts drawn by comoving volume, where they are brighter than `FAINTEST`.

    The volume is that between a galaxy's redshift and the highest one, at most 0.6, at which it is
    bright enough; a galaxy that is too faint already stays.
    """
    magnitude = mean_magnitudes(galaxies.known)
    highest = np.maximum(galaxies.redshift, _highest_redshift(galaxies, magnitude[:, :, R]))
    inner, outer = (comoving_distance(z) ** 3 for z in (galaxies.redshift, highest))
    place = uniform(galaxies.source_id, seed, "redshift")[:, 0]
    redshift = redshift_at(np.cbrt(inner + place * (outer - inner)))
    return at_redshift(galaxies, redshift, magnitude)


def want(galaxies: Galaxies) -> np.ndarray:
    """How often galaxies are wanted farther away, (N,), 1 on average over the real ones.

    As often as galaxies of their luminosity are found between their redshift and the highest one
    at which they are bright enough, over the number of real galaxies of that luminosity.
    """
    bins, log_number, mean = _real_sample()
    number = np.exp(np.interp(galaxies.absolute_magnitude, bins, log_number))
    return _expected_number(galaxies) / number / mean


@cache
def _real_sample() -> tuple[np.ndarray, np.ndarray, float]:
    """Real galaxies: bins of absolute magnitude, ln of the number in each, and the mean want."""
    galaxies = Galaxies.shipped()
    edges = np.arange(-24.0, -17.4, 0.25)
    number = np.histogram(galaxies.absolute_magnitude, edges)[0].clip(1)
    bins, log_number = 0.5 * (edges[1:] + edges[:-1]), np.log(number)
    at_own = np.exp(np.interp(galaxies.absolute_magnitude, bins, log_number))
    return bins, log_number, float((_expected_number(galaxies) / at_own).mean())


def _expected_number(galaxies: Galaxies) -> np.ndarray:
    """Galaxies of their luminosity in the volume beyond them, in any unit, shape (N,)."""
    absolute = galaxies.absolute_magnitude
    light = 10 ** (-0.4 * (absolute + TO_BAND - BREAK))
    fading = distance_modulus(REDSHIFTS) + REDSHIFTS  # K-corrected as real galaxies are
    highest = np.interp(FAINTEST - absolute, fading, REDSHIFTS)
    inner = comoving_distance(galaxies.redshift) ** 3
    volume = np.maximum(comoving_distance(highest) ** 3 - inner, 0.0)
    return light ** (FAINT_END + 1) * np.exp(-light) * volume


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


def _highest_redshift(galaxies: Galaxies, r: np.ndarray) -> np.ndarray:
    """Redshifts at which galaxies of mean magnitudes `r` (N, Z) have become `FAINTEST`, (N,)."""
    nearer = ab_magnitude(galaxies.flux[:, R]) - distance_modulus(galaxies.redshift)
    known = nearer - _interpolated(r, galaxies.redshift)
    apparent = known[:, None] + r + distance_modulus(REDSHIFTS)
    fainter = np.maximum.accumulate(apparent, axis=1)
    return np.array([np.interp(FAINTEST, row, REDSHIFTS) for row in fainter])


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
