"""Real SDSS galaxies: positions, redshifts and magnitudes that the mock sky begins with.

They are the 10,000 galaxies in the tests of the package `kcorrect` (Blanton & Roweis 2007, AJ 133,
734; BSD-3-Clause; SDSS public data), less those outside 0.02 < redshift < 0.28 or 13.5 < r < 18.5.

`examples/make_mock_data.py` makes the shipped file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import as_file, files

import numpy as np
import pyarrow.parquet as pq

from targetsel.mock.anchor import Anchor
from targetsel.mock.cosmology import distance_modulus
from targetsel.photometry.flux import ab_magnitude
from targetsel.tables.ids import uniform

SDSS = ("u", "g", "r", "i", "z")
DEMONSTRATION_SHARE = 0.25
ID_STEP = 100_000  # between the ids of two realisations of a galaxy
POSITION_STEP = 0.01  # [deg] to the east, between their positions
MOST_DIMMED = 2.0  # [mag] largest dimming of a galaxy in a further realisation


@dataclass(frozen=True)
class Galaxies:
    """Rows of the shipped catalog.

    Attributes
    ----------
    source_id : ndarray of int64, shape (N,)
        `group_id`, plus `ID_STEP` times the number of the realisation.
    group_id : ndarray of int64, shape (N,)
        The real galaxy: one more than the row in kcorrect's file. Split by it, not by source.
    ra, dec : ndarray, shape (N,)
        [deg, ICRS]
    redshift : ndarray, shape (N,)
    flux : ndarray, shape (N, 5)
        Petrosian fluxes in ugriz, corrected for Galactic extinction [nJy].
    known : ndarray, shape (N, 3)
        Features of the spectrum known from the broad bands: `Anchor`'s first two colour
        components, and log10 luminosity in its unit.
    k_correction : ndarray, shape (N,)
        Of r [mag]; one magnitude per unit redshift where galaxies really are.
    """

    source_id: np.ndarray
    group_id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    redshift: np.ndarray
    flux: np.ndarray
    known: np.ndarray
    k_correction: np.ndarray

    @classmethod
    def shipped(cls) -> Galaxies:
        """The galaxies shipped with the package."""
        with as_file(files("targetsel.mock") / "data" / "galaxies.parquet") as path:
            table = pq.read_table(path)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        return cls(
            columns["source_id"],
            columns["source_id"],
            columns["ra"],
            columns["dec"],
            columns["redshift"].astype(float),
            np.stack([columns[f"flux_{band}"] for band in SDSS], axis=1).astype(float),
            np.stack([columns[f"known_{k}"] for k in range(3)], axis=1).astype(float),
            columns["redshift"].astype(float),
        )

    @classmethod
    def of_demonstration(cls, shown: bool = True) -> Galaxies:
        """The galaxies of the demonstration, or else those that ensembles may be trained on."""
        galaxies = cls.shipped()
        chance = uniform(galaxies.source_id, 0, "demonstration")[:, 0]
        return galaxies.take(np.flatnonzero((chance < DEMONSTRATION_SHARE) == shown))

    @property
    def absolute_magnitude(self) -> np.ndarray:
        """Absolute r magnitude, shape (N,)."""
        apparent = ab_magnitude(self.flux[:, SDSS.index("r")])
        return apparent - distance_modulus(self.redshift) - self.k_correction

    def __len__(self) -> int:
        return len(self.source_id)

    def take(self, rows: np.ndarray) -> Galaxies:
        """Some of the galaxies, by mask or indices."""
        return Galaxies(**{name: values[rows] for name, values in vars(self).items()})

    def realised(self, seed: int, realisation: int, fainter: bool = True) -> Galaxies:
        """The same galaxies again, as other sources; realisation 0 is the unchanged galaxies.

        Ids and positions are moved by `ID_STEP` and `POSITION_STEP` for each realisation. Galaxies
        become `fainter` by up to `MOST_DIMMED` magnitudes, uniformly, if that is asked for: the
        real sample is bright, but spectra are also needed for fainter and bluer galaxies.
        """
        if realisation == 0:
            return self
        source_id = self.group_id + ID_STEP * realisation
        east = POSITION_STEP * realisation / np.cos(np.radians(self.dec))
        moved = replace(self, source_id=source_id, ra=(self.ra + east) % 360.0)
        if not fainter:
            return moved
        return moved.dimmed(seed)

    def dimmed(self, seed: int) -> Galaxies:
        """The galaxies less luminous by up to `MOST_DIMMED` magnitudes, each by its own number."""
        return self.fainter(MOST_DIMMED * uniform(self.source_id, seed, "dimming")[:, 0])

    def fainter(self, magnitudes: np.ndarray) -> Galaxies:
        """Galaxies of the same redshift that are less luminous, and accordingly bluer.

        Parameters
        ----------
        magnitudes : ndarray, shape (N,)
            Dimming in r [mag]. Other bands follow `broad_colours` of the new features.
        """
        known = Anchor.shipped().less_luminous(self.known, magnitudes)
        redder = broad_colours(known, self.redshift) - broad_colours(self.known, self.redshift)
        fainter = magnitudes[:, None] + redder
        return replace(self, flux=self.flux * 10 ** (-0.4 * fainter), known=known)


def broad_colours(known: np.ndarray, redshift: np.ndarray) -> np.ndarray:
    """Mean magnitudes of galaxies in ugriz, minus that in r, shape (N, 5).

    Parameters
    ----------
    known : ndarray, shape (N, 3)
        Known features; only the two colour components are used.
    """
    return np.einsum("ni,ij->nj", _colour_terms(known, redshift), _colour_fit())


def _colour_terms(known: np.ndarray, redshift: np.ndarray) -> np.ndarray:
    """Terms linear in the colour components and quadratic in redshift, shape (N, 9)."""
    linear = np.column_stack([np.ones(len(known)), known[:, :2]])
    powers = redshift[:, None] ** np.arange(3)
    return (linear[:, :, None] * powers[:, None]).reshape(len(known), -1)


@cache
def _colour_fit() -> np.ndarray:
    """Coefficients of `_colour_terms`, by least squares to the real galaxies, shape (9, 5)."""
    galaxies = Galaxies.shipped()
    magnitude = -2.5 * np.log10(galaxies.flux)
    terms = _colour_terms(galaxies.known, galaxies.redshift)
    return np.linalg.lstsq(terms, magnitude - magnitude[:, 2:3], rcond=None)[0]
