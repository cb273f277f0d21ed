"""Fluxes and magnitudes among a catalog's columns.

Columns are called ``flux_<band>_<system>`` or ``mag_<band>_<system>`` for whole sources, and
``fiberflux_...`` or ``fibermag_...`` for the light within a fiber; the system may be missing.
``rmag`` and ``r_mag`` are magnitudes in r. Errors end in ``_err``; inverse variances,
``flux_ivar_...``, are left alone. Units decide: a flux column may hold magnitudes. A magnitude
column without a unit is taken to be AB. Inside, everything is in nanojansky. Magnitudes beyond 50
of either sign, such as 99 and -999, and fluxes beyond that of magnitude -11, such as 1e20, are
codes for unknown ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.photometry.bands import Band, find_passband
from targetsel.photometry.flux import (
    MAGNITUDES,
    NO_FLUX,
    NO_MAGNITUDE,
    ab_magnitude,
    flux_error,
    flux_of_magnitude,
    known_magnitudes,
    magnitude_error,
    njy_per_unit,
)
from targetsel.tables.columns import floats, numbers_named, unit_of
from targetsel.tables.types import is_number

Kind = Literal["flux", "fiberflux"]
KINDS: tuple[Kind, ...] = ("flux", "fiberflux")
_BAND = r"(?!(?:ivar|err|psf)(?:_|$))(?P<band>[a-z]{1,3}(?:\d{1,4}[a-z]?)?)"
_PREFIXED = re.compile(
    rf"(?P<fiber>fiber)?(?P<kind>flux|mag)_{_BAND}"
    r"(?:_(?P<system>(?!err$)[a-z0-9_]+?))?(?P<error>_err)?"
)
_BARE = re.compile(r"(?P<band>[a-z]\d?)_?(?P<kind>mag)(?P<error>_?err)?")


@dataclass(frozen=True)
class PhotometricColumn:
    """A column of fluxes or magnitudes in one band.

    Attributes
    ----------
    name : str
    band : Band
    kind : "flux" or "fiberflux"
        Light of the whole source, or within a fiber.
    unit : str
        Unit of the column; "mag" for magnitudes without a unit.
    is_error : bool
        Whether it holds standard deviations.
    is_corrected : bool
        Whether its description says that it is corrected for Galactic extinction.
    """

    name: str
    band: Band
    kind: Kind
    unit: str
    is_error: bool = False
    is_corrected: bool = False

    @property
    def is_magnitude(self) -> bool:
        return self.unit in MAGNITUDES

    def check(self) -> None:
        """Refuse a unit that is none of a flux density or of a magnitude.

        Raises
        ------
        CatalogError
        """
        if not self.is_magnitude and njy_per_unit(self.unit) is None:
            own = f"has the unit '{self.unit}'" if self.unit else "has no unit"
            raise CatalogError(
                f"the column '{self.name}' {own}; expected nJy, another flux density, nanomaggy or "
                "(AB) mag. Give the catalog's column its unit and select anew."
            )

    def flux(self, table: pa.Table) -> np.ndarray:
        """Flux [nJy] of N sources, shape (N,); NaN where unknown.

        Raises
        ------
        CatalogError
            If the unit is none of a flux density or of a magnitude.
        """
        values = floats(table[self.name])
        if self.is_magnitude:
            return flux_of_magnitude(known_magnitudes(values))
        self.check()
        flux = values * (njy_per_unit(self.unit) or np.nan)
        return np.where(np.abs(flux) < NO_FLUX, flux, np.nan)

    def magnitude(self, table: pa.Table) -> np.ndarray:
        """AB magnitude of N sources, shape (N,); NaN where unknown or the flux is not positive."""
        if self.is_magnitude:
            return known_magnitudes(floats(table[self.name]))
        return ab_magnitude(self.flux(table))


@dataclass(frozen=True)
class CatalogPhotometry:
    """The fluxes of N sources.

    Attributes
    ----------
    table : pa.Table
    columns : mapping
        The column of each kind and band, and of its errors (True).
    """

    table: pa.Table
    columns: Mapping[tuple[Kind, Band, bool], PhotometricColumn]

    @classmethod
    def of(cls, table: pa.Table, given: Iterable[str] = ()) -> CatalogPhotometry:
        """The fluxes among a table's columns; those `given` as BAND=COLUMN come first.

        Where a band has several columns, fluxes are taken before magnitudes.
        """
        named = [named_column(table.schema, each) for each in given]
        found = sorted(photometric_columns(table.schema), key=_preference)
        columns: dict[tuple[Kind, Band, bool], PhotometricColumn] = {}
        for each in (*named, *found):
            columns.setdefault((each.kind, each.band, each.is_error), each)
        return cls(table, columns)

    def bands(self, kind: Kind = "flux") -> list[Band]:
        """The bands with fluxes of this kind, in the order of the table's columns."""
        return [band for known, band, is_error in self.columns if known == kind and not is_error]

    def is_corrected(self, band: Band, kind: Kind = "flux") -> bool:
        """Whether a band's fluxes are said to be corrected for Galactic extinction."""
        column = self.columns.get((kind, band, False))
        return column is not None and column.is_corrected

    def flux(self, band: Band, kind: Kind = "flux") -> np.ndarray:
        """Flux [nJy] of each source, shape (N,); NaN where unknown or not measured in it."""
        column = self.columns.get((kind, band, False))
        return self._unknown() if column is None else column.flux(self.table)

    def flux_error(self, band: Band, kind: Kind = "flux") -> np.ndarray:
        """Standard deviation of the flux [nJy], shape (N,); NaN where unknown."""
        column = self.columns.get((kind, band, True))
        if column is None:
            return self._unknown()
        if column.is_magnitude:
            return flux_error(self.flux(band, kind), column.magnitude(self.table))
        return column.flux(self.table)

    def magnitude(self, band: Band, kind: Kind = "flux") -> np.ndarray:
        """AB magnitude, shape (N,); NaN where the flux is unknown or not positive."""
        return ab_magnitude(self.flux(band, kind))

    def magnitude_error(self, band: Band, kind: Kind = "flux") -> np.ndarray:
        """Standard deviation of the magnitude [mag], shape (N,); NaN where unknown."""
        return magnitude_error(self.flux(band, kind), self.flux_error(band, kind))

    def _unknown(self) -> np.ndarray:
        return np.full(self.table.num_rows, np.nan)


def photometric_columns(schema: pa.Schema) -> list[PhotometricColumn]:
    """The columns of numbers whose names are those of fluxes or magnitudes, in their order."""
    found = []
    for field in schema:
        parts = _PREFIXED.fullmatch(field.name.lower()) or _BARE.fullmatch(field.name.lower())
        if parts and is_number(field.type):
            groups = parts.groupdict()
            band = Band.parse("_".join(filter(None, (groups["band"], groups.get("system")))))
            kind: Kind = "fiberflux" if groups.get("fiber") else "flux"
            error = groups["error"] is not None
            corrected = _is_corrected(field)
            found.append(PhotometricColumn(field.name, band, kind, _unit(field), error, corrected))
    return found


def named_column(schema: pa.Schema, text: str, kind: Kind = "flux") -> PhotometricColumn:
    """The column that BAND=COLUMN names, such as "r_sdss=rmag".

    Raises
    ------
    CatalogError
        If the text is no such pair, the band or the column is not known, or the column does not
        hold fluxes or magnitudes.
    """
    band, equals, name = (part.strip() for part in text.partition("="))
    if not (band and equals and name):
        raise CatalogError(f"magnitude '{text}': expected BAND=COLUMN, such as r_sdss=rmag.")
    known = find_passband(band)
    field = numbers_named(schema, name, f"magnitude '{text}'", expected="magnitudes or fluxes")
    corrected = _is_corrected(field)
    column = PhotometricColumn(name, known, kind, _unit(field), is_corrected=corrected)
    column.check()
    return column


def without_codes(values: pa.Array, field: pa.Field) -> pa.Array:
    """A column of magnitudes with null for codes such as 99 and -999; any other as it is."""
    if not is_number(field.type) or _unit(field) not in MAGNITUDES:
        return values
    import pyarrow.compute as pc

    ends = pc.min_max(values)  # without NaN and nulls
    if not any(end.is_valid and abs(end.as_py()) >= NO_MAGNITUDE for end in ends.values()):
        return values
    known = np.abs(floats(values)) < NO_MAGNITUDE
    return pc.if_else(pa.array(known), values, pa.scalar(None, values.type))


def _unit(field: pa.Field) -> str:
    """The unit of a column, that of magnitudes if only its name says that it holds some."""
    return unit_of(field) or ("mag" if _has_name_of_magnitudes(field.name) else "")


def _is_corrected(field: pa.Field) -> bool:
    """Whether a column's description says that it is corrected for extinction."""
    about = (field.metadata or {}).get(b"description", b"").decode(errors="replace").lower()
    said = "dereddened" in about or ("corrected" in about and "extinction" in about)
    return said and not re.search(r"\b(not|un-?) ?(extinction-)?(corrected|dereddened)", about)


def _has_name_of_magnitudes(name: str) -> bool:
    parts = _PREFIXED.fullmatch(name.lower()) or _BARE.fullmatch(name.lower())
    return parts is not None and parts["kind"] == "mag"


def _preference(column: PhotometricColumn) -> tuple[bool, bool]:
    """Sorts fluxes before magnitudes, and magnitudes of known systems before others."""
    is_magnitude = _has_name_of_magnitudes(column.name)
    return is_magnitude, is_magnitude and not column.band.system
