"""A target list's fluxes, and what tools make of them.

The list's columns are called ``flux_<band>_<system>`` (of the whole source) or
``fiberflux_<band>_<system>`` (within a fiber), with errors in ``..._err``; inverse variances,
``flux_ivar_...``, are left alone. Inside, everything is in nanojansky:
m_AB = 31.4 - 2.5 log10(f / nJy).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from astropy import units

from targetsel.errors import HandoffError
from targetsel.handoff.soundness import is_number

NJY_PER_NANOMAGGY = 3630.780548  # 10^((31.4 - 22.5) / 2.5)
AB_ZERO_POINT = 31.4
_NAME = re.compile(r"(flux|fiberflux)_(?!ivar_)([A-Za-z0-9]+)(?:_([A-Za-z0-9_]+?))?(_err)?")
_NANOMAGGIES = ("nanomaggy", "nanomaggies", "nanomaggie", "nmgy")
_MAGNITUDES = ("mag", "mag(AB)", "ABmag", "AB mag")


@dataclass(frozen=True)
class Filter:
    """A band of one photometric system, as it is called in a target list: r of sdss."""

    band: str
    system: str

    def __str__(self) -> str:
        return f"{self.band}_{self.system}"


@dataclass(frozen=True)
class Photometry:
    """The fluxes of M targets.

    Attributes
    ----------
    table : pa.Table
        The target list's.
    columns : mapping
        From (kind, filter, is_error) to the name of a column; kind is "flux" or "fiberflux".
    """

    table: pa.Table
    columns: Mapping[tuple[str, Filter, bool], str]

    @classmethod
    def of(cls, table: pa.Table) -> Photometry:
        """The fluxes among a target list's columns."""
        columns = {}
        for name in table.column_names:
            parts = _NAME.fullmatch(name.lower())
            if parts and is_number(table.schema.field(name).type):
                kind, band, system, error = parts.groups()
                columns[kind, Filter(band, system or ""), error is not None] = name
        return cls(table, columns)

    def filters(self, kind: str = "flux") -> list[Filter]:
        """The filters with fluxes of this kind, in the order of the list's columns."""
        return [each for known, each, is_error in self.columns if known == kind and not is_error]

    def flux(self, filter: Filter, kind: str = "flux") -> np.ndarray:
        """Flux [nJy] of each target, shape (M,); NaN where unknown or not measured in it."""
        return self._njy((kind, filter, False))

    def flux_error(self, filter: Filter, kind: str = "flux") -> np.ndarray:
        """Standard deviation of the flux [nJy], shape (M,); NaN where unknown."""
        return self._njy((kind, filter, True))

    def magnitude(self, filter: Filter, kind: str = "flux") -> np.ndarray:
        """AB magnitude, shape (M,); NaN where the flux is unknown or not positive."""
        return ab_magnitude(self.flux(filter, kind))

    def magnitude_error(self, filter: Filter, kind: str = "flux") -> np.ndarray:
        """2.5 / ln 10 of the relative error of the flux [mag], shape (M,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = self.flux_error(filter, kind) / self.flux(filter, kind)
        return np.where(relative > 0, 2.5 / np.log(10) * relative, np.nan)

    def known(self, wanted: Iterable[Filter], tool: str, kind: str = "flux") -> list[Filter]:
        """Those of the wanted filters that the list has, in the order wanted.

        Raises
        ------
        HandoffError
            If there is none.
        """
        wanted, present = list(wanted), self.filters(kind)
        found = [each for each in wanted if each in present]
        if not found:
            has = ", ".join(f"{kind}_{each}".rstrip("_") for each in present) or "none"
            raise HandoffError(
                f"the list has no flux in any filter that '{tool}' knows: it has {has}, expected "
                f"one of {', '.join(f'{kind}_{each}' for each in wanted)} [nJy]."
            )
        return found

    def _njy(self, key: tuple[str, Filter, bool]) -> np.ndarray:
        name = self.columns.get(key)
        if name is None:
            return np.full(self.table.num_rows, np.nan)
        column = self.table.schema.field(name)
        unit = (column.metadata or {}).get(b"unit", b"").decode()
        values = self.table[name].cast(pa.float64()).to_numpy()
        if key[2] and unit in _MAGNITUDES:
            return values * np.log(10) / 2.5 * self.flux(key[1], key[0])
        return in_njy(values, unit, name)


def ab_magnitude(flux: np.ndarray) -> np.ndarray:
    """AB magnitude of a flux [nJy]; NaN where it is unknown or not positive."""
    flux = np.asarray(flux, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux > 0, AB_ZERO_POINT - 2.5 * np.log10(flux), np.nan)


def in_njy(values: np.ndarray, unit: str, name: str) -> np.ndarray:
    """Fluxes or AB magnitudes of the column `name` in nJy.

    Raises
    ------
    HandoffError
        If `unit` is none of a flux density or of a magnitude.
    """
    if unit in _NANOMAGGIES:
        return values * NJY_PER_NANOMAGGY
    if unit in _MAGNITUDES:
        return 10 ** ((AB_ZERO_POINT - values) / 2.5)
    meant = units.Unit(unit, parse_strict="silent")
    if unit and meant.is_equivalent(units.nJy):
        return values * meant.to(units.nJy)
    raise HandoffError(
        f"the column '{name}' has the unit '{unit}'; expected nJy, another flux density, "
        "nanomaggy or (AB) mag. Give the catalog's column its unit and select anew."
    )
