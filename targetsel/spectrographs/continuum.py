"""The continuum under a line, from magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.photometry.brightness import given_columns
from targetsel.photometry.columns import CatalogPhotometry, Kind, PhotometricColumn
from targetsel.photometry.flux import NJY, SPEED_OF_LIGHT, extinction


@dataclass(frozen=True)
class Magnitudes:
    """Columns of a catalog that hold fluxes or magnitudes in known bands.

    Attributes
    ----------
    columns : tuple of PhotometricColumn
        In the order of their wavelengths.
    in_fiber : bool
        Whether they are of the light within a fiber already.
    dereddened : bool
        Whether they are corrected for Galactic extinction, also where the columns do not say so.
    """

    columns: tuple[PhotometricColumn, ...]
    in_fiber: bool = False
    dereddened: bool = False

    @classmethod
    def find(
        cls,
        schema: pa.Schema,
        given: Sequence[str],
        in_fiber: bool,
        dereddened: bool,
        catalog: Path | None = None,
    ) -> Magnitudes:
        """The columns `given` as BAND=COLUMN or named in a file beside the catalog.

        Without them all in bands with known curves: the light of points only if there is no other.

        Raises
        ------
        CatalogError
            If a band or a column is not known, there is none, or it has no fit unit.
        """
        kind: Kind = "fiberflux" if in_fiber else "flux"
        if given:
            named = given_columns(schema, given)
            columns = {e.band: replace(e, kind=kind) for e in named if not e.is_error}
        else:
            named = given_columns(schema, (), catalog)
            photometry = CatalogPhotometry.of(schema.empty_table(), named)
            columns = {
                band: photometry.columns[kind, band, False]
                for band in photometry.bands(kind)
                if band.curve
            }
            whole = {band: each for band, each in columns.items() if not each.is_of_points}
            columns = whole or columns
        if not columns:
            raise CatalogError(
                f"no column such as {kind}_r_sdss or {kind}_g_ps1. Name the magnitudes with "
                "--brightness BAND=COLUMN, such as r_sdss=rmag."
            )
        for column in columns.values():
            column.check()
        ordered = sorted(columns.values(), key=lambda column: column.band.wavelength)
        return cls(tuple(ordered), in_fiber, dereddened)

    def flux(self, piece: pa.Table) -> np.ndarray:
        """Flux [nJy] of N sources in B bands, shape (N, B); NaN where unknown or not positive."""
        flux = np.stack([column.flux(piece) for column in self.columns], axis=1)
        return np.where(np.isfinite(flux) & (flux > 0), flux, np.nan)

    def continuum(
        self, flux: np.ndarray, wavelength: np.ndarray, reddening: np.ndarray
    ) -> np.ndarray:
        """Flux density [erg/s/cm2/Angstrom] as it arrives on Earth, shape (N, S).

        The logarithm of the flux density is straight against that of wavelength between one band
        and the next; beyond the outermost ones the flux per unit frequency is level. A band's flux
        counts as that of the continuum at its effective wavelength: strong lines in it are not
        taken off.

        Parameters
        ----------
        flux : ndarray, shape (N, B)
            [nJy], as `flux` gives it.
        wavelength : ndarray, shape (N, S)
            [Angstrom].
        reddening : ndarray, shape (N,)
            E(B-V) [mag] on the scale of Schlegel et al. (1998).
        """
        return arriving(self.centres, self.corrected(flux, reddening), wavelength, reddening)

    @property
    def centres(self) -> np.ndarray:
        """Effective wavelengths of the bands [Angstrom], shape (B,)."""
        return np.array([column.band.wavelength for column in self.columns])

    def corrected(self, flux: np.ndarray, reddening: np.ndarray) -> np.ndarray:
        """Fluxes corrected for Galactic extinction, in the shapes and units of `continuum`."""
        reddened = [not (self.dereddened or column.is_corrected) for column in self.columns]
        return flux * 10 ** (0.4 * reddening[:, None] * extinction(self.centres) * reddened)


def arriving(
    centres: np.ndarray, flux: np.ndarray, wavelength: np.ndarray, reddening: np.ndarray
) -> np.ndarray:
    """Flux density of `Magnitudes.continuum`, shape (N, S), from fluxes corrected for extinction.

    Parameters
    ----------
    centres : ndarray, shape (B,)
        Increasing [Angstrom].
    flux : ndarray, shape (N, B)
        [nJy], NaN where unknown.
    wavelength, reddening : ndarray
        As there.
    """
    per_hertz = NJY * 10 ** _between_bands(np.log10(centres), np.log10(flux), wavelength)
    if reddening.any():
        per_hertz = per_hertz * 10 ** (-0.4 * reddening[:, None] * extinction(wavelength))
    return per_hertz * SPEED_OF_LIGHT / wavelength**2


def _between_bands(x: np.ndarray, y: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    """Straight lines through the known points (x, y), shapes (B,) and (N, B), at log wavelength."""
    found = np.full(wavelength.shape, np.nan)
    at = np.log10(wavelength)
    known = np.isfinite(y)
    for pattern in np.unique(known, axis=0):
        if not pattern.any():
            continue
        rows = (known == pattern).all(axis=1)
        centres, values = x[pattern], y[rows][:, pattern]
        here = np.clip(at[rows], centres[0], centres[-1])
        right = np.clip(np.searchsorted(centres, here), 1, max(len(centres) - 1, 1))
        left = right - 1
        right = np.minimum(right, len(centres) - 1)
        step = np.maximum(centres[right] - centres[left], 1e-9)
        low, high = (np.take_along_axis(values, each, axis=1) for each in (left, right))
        found[rows] = low + (high - low) * (here - centres[left]) / step
    return found
