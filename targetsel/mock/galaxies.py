"""Real SDSS galaxies: the positions, redshifts and magnitudes that the mock sky is built on.

They are the 10,000 galaxies in the tests of the package `kcorrect` (Blanton & Roweis 2007, AJ 133,
734; BSD-3-Clause; SDSS public data), less those outside 0.02 < redshift < 0.28 or 13.5 < r < 18.5.

`python -m targetsel.mock.galaxies --kcorrect DIR -o FILE.parquet` makes the shipped file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.mock.anchor import Anchor
from targetsel.mock.templates import WAVELENGTH, read_templates
from targetsel.photometry.bands import passbands, synthetic_photometry
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT, NJY_PER_NANOMAGGY, ab_magnitude
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import described

SDSS = ("u", "g", "r", "i", "z")
DEMONSTRATION_SHARE = 0.25
ID_STEP = 100_000  # between the ids of two realisations of a galaxy
POSITION_STEP = 0.01  # [deg] to the east, between their positions
# What the templates make of the two colour components: this share of them, and an offset, as found
# with mock galaxies whose components are known.
TOLD_SHARE, TOLD_OFFSET = np.array([0.94, 0.62]), np.array([0.0, 0.015])
MOST_DIMMED = 2.0  # [mag] each galaxy of a realisation becomes fainter by up to that


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
        What the broad bands tell of the spectrum: `Anchor`'s first two colour components, and
        log10 luminosity in its unit.
    """

    source_id: np.ndarray
    group_id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    redshift: np.ndarray
    flux: np.ndarray
    known: np.ndarray

    @classmethod
    def shipped(cls) -> Galaxies:
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
        )

    @classmethod
    def of_demonstration(cls, shown: bool = True) -> Galaxies:
        """Those that the demonstration shows, or else those that ensembles may learn from."""
        galaxies = cls.shipped()
        chance = uniform(galaxies.source_id, 0, "demonstration")[:, 0]
        return galaxies.take(np.flatnonzero((chance < DEMONSTRATION_SHARE) == shown))

    def __len__(self) -> int:
        return len(self.source_id)

    def take(self, rows: np.ndarray) -> Galaxies:
        return Galaxies(**{name: values[rows] for name, values in vars(self).items()})

    def realised(self, seed: int, realisation: int) -> Galaxies:
        """The same galaxies once more, as other sources; number 0 is the galaxies as they are.

        Ids and positions are moved by `ID_STEP` and `POSITION_STEP` for each realisation. Galaxies
        become `fainter` by up to `MOST_DIMMED` magnitudes, uniformly: the real sample is a bright
        one, and spectra are asked for of fainter and bluer galaxies.
        """
        if realisation == 0:
            return self
        source_id = self.group_id + ID_STEP * realisation
        east = POSITION_STEP * realisation / np.cos(np.radians(self.dec))
        moved = replace(self, source_id=source_id, ra=(self.ra + east) % 360.0)
        return moved.fainter(MOST_DIMMED * uniform(source_id, seed, "dimming")[:, 0])

    def fainter(self, magnitudes: np.ndarray) -> Galaxies:
        """Galaxies of the same redshift that are less luminous, and bluer as such galaxies are.

        Parameters
        ----------
        magnitudes : ndarray, shape (N,)
            [mag] in r. Other bands differ by what `broad_colours` finds for the new spectra.
        """
        known = Anchor.shipped().less_luminous(self.known, magnitudes)
        redder = broad_colours(known, self.redshift) - broad_colours(self.known, self.redshift)
        fainter = magnitudes[:, None] + redder
        return replace(self, flux=self.flux * 10 ** (-0.4 * fainter), known=known)

    def table(self) -> pa.Table:
        """The catalog an observer would have: ids, position, redshift and ugriz, with units."""
        about = "the real galaxy behind the source: its row in kcorrect's file"
        fields = [
            described("source_id", pa.int64(), "", "meta.id;meta.main", "mock source"),
            described("group_id", pa.int64(), "", "meta.id", about),
            described("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "right ascension, ICRS"),
            described("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "declination, ICRS"),
            described("redshift", pa.float32(), "", "src.redshift", "SDSS spectroscopic redshift"),
        ]
        columns = [
            self.source_id,
            self.group_id,
            self.ra,
            self.dec,
            self.redshift.astype(np.float32),
        ]
        for k, band in enumerate(SDSS):
            about = f"SDSS Petrosian flux in {band}, corrected for Galactic extinction"
            fields.append(
                described(f"flux_{band}_sdss", pa.float32(), "nJy", "phot.flux.density", about)
            )
            columns.append(self.flux[:, k].astype(np.float32))
        magnitude = ab_magnitude(self.flux[:, 2])
        fields.append(
            described(
                "rmag", pa.float32(), "mag", "phot.mag;em.opt.R", "SDSS r, AB, extinction-free"
            )
        )
        columns.append(magnitude.astype(np.float32))
        return pa.table([pa.array(c) for c in columns], schema=pa.schema(fields))


def broad_colours(known: np.ndarray, redshift: np.ndarray) -> np.ndarray:
    """Magnitudes in ugriz, less that in r, that galaxies have on average, shape (N, 5).

    Parameters
    ----------
    known : ndarray, shape (N, 3)
        Of which the two colour components count.
    """
    return np.einsum("ni,ij->nj", _colour_terms(known, redshift), _colour_fit())


def _colour_terms(known: np.ndarray, redshift: np.ndarray) -> np.ndarray:
    """Linear in the colour components and quadratic in redshift, shape (N, 9)."""
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


def what_bands_tell(
    flux: np.ndarray, redshift: np.ndarray, templates: np.ndarray, anchor: Anchor
) -> np.ndarray:
    """Two colour components and log10 luminosity from ugriz, shape (N, 3).

    The templates are fitted to the fluxes without negative weights; the 12 bins of the same
    combination of the anchor's templates, which have no lines, give the colours, after what the
    templates get wrong (`TOLD_SHARE`) has been put right. The luminosity is the flux density at
    5500-6100 Angstrom in 1e-17 erg/s/cm2/Angstrom, times the luminosity distance in Mpc squared
    and 1 + redshift.

    Parameters
    ----------
    flux : ndarray, shape (N, 5)
        [nanomaggy]
    templates : ndarray, shape (5, L)
        The anchor's templates with their nebular lines, which the bands hold too.
    """
    from astropy.cosmology import FlatLambdaCDM
    from scipy.optimize import nnls

    distance = FlatLambdaCDM(H0=70, Om0=0.3).luminosity_distance(redshift).value
    known = np.empty((len(flux), 3))
    inside = [(WAVELENGTH >= a) & (WAVELENGTH < b) for a, b in pairwise(anchor.bin_edges)]
    for n in range(len(flux)):
        design = (
            synthetic_photometry(passbands("sdss", SDSS), WAVELENGTH, redshift[n : n + 1])[0]
            @ templates.T
        )
        error = np.hypot(0.02 * flux[n], 0.05 * flux[n].max() * np.array([1, 0, 0, 0, 0.2]))
        weights, _ = nnls(design / error[:, None], flux[n] / error)
        spectrum = weights @ anchor.templates
        bins = np.array([spectrum[pixels].mean() for pixels in inside])
        known[n, :2] = (anchor.colours(bins[None])[0, :2] - TOLD_OFFSET) / TOLD_SHARE
        known[n, 2] = np.log10(bins[7:9].mean() * distance[n] ** 2 * (1 + redshift[n]))
    return known


def main() -> None:
    """Make the shipped catalog (command line in the module's docstring)."""
    import argparse

    from astropy.io import fits

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--kcorrect", type=Path, required=True, help="data folder of the package kcorrect"
    )
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    with fits.open(arguments.kcorrect / "test" / "gst_tests_small.fits") as hdus:
        data = hdus[1].data
        clear = 10 ** (0.4 * np.asarray(data["EXTINCTION"], dtype=float))
        petrosian = np.asarray(data["PETROFLUX"], dtype=float) * clear
        model = np.asarray(data["MODELFLUX"], dtype=float) * clear
        redshift = np.asarray(data["Z"], dtype=float)
        ra, dec = np.asarray(data["RA"], dtype=float), np.asarray(data["DEC"], dtype=float)
    r = ab_magnitude(np.maximum(petrosian[:, 2], 1e-3), NANOMAGGY_ZERO_POINT)
    good = (redshift > 0.02) & (redshift < 0.28) & (r > 13.5) & (r < 18.5)
    good &= (model > 0).all(axis=1) & (petrosian > 0).all(axis=1)
    rows = np.flatnonzero(good)
    templates = read_templates(arguments.kcorrect)
    known = what_bands_tell(model[rows], redshift[rows], templates, Anchor.shipped())
    columns = {
        "source_id": (rows + 1).astype(np.int64),
        "ra": ra[rows],
        "dec": dec[rows],
        "redshift": redshift[rows].astype(np.float32),
    }
    for k, band in enumerate(SDSS):
        columns[f"flux_{band}"] = (petrosian[rows, k] * NJY_PER_NANOMAGGY).astype(np.float32)
    for k in range(3):
        columns[f"known_{k}"] = known[:, k].astype(np.float32)
    pq.write_table(pa.table(columns), arguments.output, compression="zstd")


if __name__ == "__main__":
    main()
