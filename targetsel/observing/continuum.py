"""The continuum under a line, from magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from targetsel.errors import HandoffError, SpectrographError, did_you_mean
from targetsel.handoff.soundness import is_number
from targetsel.photometry.catalog_fluxes import Filter, Photometry, in_njy
from targetsel.photometry.extinction import extinction

# What we call a photometric system, and speclite its filters.
SYSTEMS = {
    "sdss": ("sdss2010", "ugriz"),
    "ps1": ("panstarrs", "grizy"),
    "ls": ("decamDR1", "grz"),
    "des": ("decamDR1", "grizY"),
    "hsc": ("hsc2017", "grizy"),
    "lsst": ("lsst2023", "ugrizy"),
}
BANDS = tuple(f"{band}_{system}" for system, (_, bands) in SYSTEMS.items() for band in bands)
_PER_NJY = 1e-32  # [erg/s/cm2/Hz]
_SPEED_OF_LIGHT = 2.997_924_58e18  # [Angstrom/s]


@cache
def effective_wavelength(band: str) -> float:
    """Effective wavelength [Angstrom] of a band such as "r_sdss", by the curves of `speclite`.

    Raises
    ------
    SpectrographError
        If the band is not known.
    """
    if band not in BANDS:
        hint = did_you_mean(band, BANDS)
        raise SpectrographError(
            f"unknown band '{band}'.{hint or ' Known are ' + ', '.join(BANDS) + '.'}"
        )
    from speclite.filters import load_filter

    name, system = band.split("_")
    return float(load_filter(f"{SYSTEMS[system][0]}-{name}").effective_wavelength.value)


@dataclass(frozen=True)
class Magnitudes:
    """Which columns of a catalog hold fluxes or magnitudes in known bands.

    Attributes
    ----------
    columns : tuple of (str, str)
        Band and column, in the order of their wavelengths.
    in_fiber : bool
        Whether they are of the light within a fiber already.
    dereddened : bool
        Whether they are corrected for Galactic extinction.
    """

    columns: tuple[tuple[str, str], ...]
    in_fiber: bool = False
    dereddened: bool = False

    @classmethod
    def find(
        cls, schema: pa.Schema, given: Sequence[str], in_fiber: bool, dereddened: bool
    ) -> Magnitudes:
        """The columns `given` as BAND=COLUMN, or else all called flux_BAND (fiberflux_BAND).

        Raises
        ------
        SpectrographError
            If a band or a column is not known, there is none, or it has no fit unit.
        """
        kind = "fiberflux" if in_fiber else "flux"
        if given:
            pairs = dict(_parsed(each) for each in given)
        else:
            found = Photometry.of(schema.empty_table()).filters(kind)
            pairs = {str(each): _column(schema, kind, each) for each in found}
            pairs = {band: column for band, column in pairs.items() if band in BANDS}
        if not pairs:
            raise SpectrographError(
                f"no column such as {kind}_r_sdss or {kind}_g_ps1. Name the magnitudes with "
                "--magnitude BAND=COLUMN, such as r_sdss=rmag."
            )
        for band, column in pairs.items():
            effective_wavelength(band)
            _check(schema, column)
        ordered = sorted(pairs.items(), key=lambda pair: effective_wavelength(pair[0]))
        return cls(tuple(ordered), in_fiber, dereddened)

    def flux(self, piece: pa.Table) -> np.ndarray:
        """Flux [nJy] of N sources in B bands, shape (N, B); NaN where unknown or not positive."""
        columns = []
        for _, name in self.columns:
            values = piece[name].cast(pa.float64()).to_numpy()
            columns.append(in_njy(values, _unit(piece.schema, name), name))
        flux = np.stack(columns, axis=1)
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
        centres = np.array([effective_wavelength(band) for band, _ in self.columns])
        if not self.dereddened:
            flux = flux * 10 ** (0.4 * reddening[:, None] * extinction(centres))
        per_hertz = _PER_NJY * 10 ** _between_bands(np.log10(centres), np.log10(flux), wavelength)
        dimmed = 10 ** (-0.4 * reddening[:, None] * extinction(wavelength))
        return per_hertz * dimmed * _SPEED_OF_LIGHT / wavelength**2


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


def _parsed(pair: str) -> tuple[str, str]:
    band, equals, column = (part.strip() for part in pair.partition("="))
    if not (band and equals and column):
        raise SpectrographError(f"magnitude '{pair}', expected BAND=COLUMN such as r_sdss=rmag")
    return band, column


def _column(schema: pa.Schema, kind: str, band: Filter) -> str:
    return Photometry.of(schema.empty_table()).columns[kind, band, False]


def _unit(schema: pa.Schema, name: str) -> str:
    return (schema.field(name).metadata or {}).get(b"unit", b"").decode()


def _check(schema: pa.Schema, name: str) -> None:
    """Refuse a column that is missing, holds no numbers, or has a unit that is no flux."""
    if name not in schema.names:
        raise SpectrographError(f"no column '{name}'.{did_you_mean(name, schema.names)}")
    if not is_number(schema.field(name).type):
        raise SpectrographError(
            f"column '{name}' holds {schema.field(name).type}, expected magnitudes or fluxes"
        )
    try:
        in_njy(np.empty(0), _unit(schema, name), name)
    except HandoffError as error:
        raise SpectrographError(str(error)) from None
