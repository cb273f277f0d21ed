"""Fluxes and magnitudes among a catalog's columns.

Columns are called ``flux_<band>_<system>`` or ``mag_<band>_<system>`` for whole sources, and
``fiberflux_...`` or ``fibermag_...`` for the light within a fiber; the system may be missing.
``rmag`` and ``r_mag`` are magnitudes in r. Errors end in ``_err``. Names that surveys give are
known too (`usual_names`), and a column's metadata may say what it holds (`NOTE`), as `score` notes
it and users say it (`brightness`). Units decide: a flux column may hold magnitudes. A magnitude
without a unit is on its survey's system, and AB where that is not known, except outside of ugrizy,
where such magnitudes may be Vega's and are left alone. Inside, everything is in nanojansky.
Magnitudes beyond 50 of either sign, such as 99 and -999, and fluxes of -999 or beyond that of
magnitude -11, such as 1e20, are codes for unknown ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, did_you_mean
from targetsel.photometry.bands import Band, find_passband
from targetsel.photometry.flux import (
    MAGNITUDES,
    NO_FLUX,
    NO_MAGNITUDE,
    ab_magnitude,
    known_magnitudes,
    magnitude_error,
    njy_per_unit,
)
from targetsel.photometry.systems import AB, MagnitudeSystem, find_system, usual_system
from targetsel.photometry.usual_names import PSF, UsualName, usual_name
from targetsel.tables.columns import floats, numbers_named, unit_of
from targetsel.tables.types import is_number

Kind = Literal["flux", "fiberflux"]
KINDS: tuple[Kind, ...] = ("flux", "fiberflux")
NOTE = b"brightness"  # entry of a field's metadata: what the column holds
CODES = (-999.0, -9999.0, -99.0)  # for unknown fluxes
_OPTICAL = re.compile(r"[ugrizy]\d?")
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
        Whether it holds standard deviations, or inverse variances if `is_ivar`.
    is_corrected : bool
        Whether it is corrected for Galactic extinction, by its description, its name or its user.
    system : MagnitudeSystem
        What magnitudes mean.
    light : str
        Whose light, such as "Kron" or "PSF", where it is known.
    of : str
        Of errors, the column that they are of; empty where the names' pattern tells.
    found_by : "given", "note", "name" or "usual name"
        How it is known what the column holds.
    rank : int
        The smallest among columns of usual names in one band is taken.
    """

    name: str
    band: Band
    kind: Kind
    unit: str
    is_error: bool = False
    is_corrected: bool = False
    system: MagnitudeSystem = AB
    light: str = ""
    is_ivar: bool = False
    of: str = ""
    found_by: Literal["given", "note", "name", "usual name"] = "name"
    rank: int = 0

    @property
    def is_magnitude(self) -> bool:
        return self.unit in MAGNITUDES

    @property
    def is_of_points(self) -> bool:
        """Whether it holds the light of a point, which misses some of a galaxy's."""
        return self.light == PSF

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
                f"(AB) mag. Say which it is in, as in --brightness {self.band}={self.name},unit=nJy"
            )

    def flux(self, table: pa.Table) -> np.ndarray:
        """Flux [nJy] of N sources, shape (N,); NaN where unknown.

        Raises
        ------
        CatalogError
            If the unit is none of a flux density or of a magnitude.
        """
        if self.is_magnitude:
            return self.system.flux(self._magnitudes(table))
        self.check()
        values = floats(table[self.name])
        values = np.where(np.isin(values, CODES), np.nan, values)
        flux = values * (njy_per_unit(self.unit) or np.nan)
        return np.where(np.abs(flux) < NO_FLUX, flux, np.nan)

    def magnitude(self, table: pa.Table) -> np.ndarray:
        """AB magnitude of N sources, shape (N,); NaN where unknown or the flux is not positive."""
        if self.is_magnitude and not self.system.softening:
            return self._magnitudes(table) + self.system.offset
        return ab_magnitude(self.flux(table))

    def deviation(self, table: pa.Table, flux: np.ndarray) -> np.ndarray:
        """Standard deviation [nJy] of fluxes [nJy] that this column holds the errors of, (N,)."""
        if self.is_ivar:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = 1 / np.sqrt(floats(table[self.name]))
            return np.where(
                np.isfinite(values), values * (njy_per_unit(self.unit) or np.nan), np.nan
            )
        if self.is_magnitude:
            return self.system.flux_error(flux, self._magnitudes(table))
        return self.flux(table)

    def note(self) -> bytes:
        """The description of the column that its field's metadata keep under `NOTE`."""
        told: dict[str, Any] = {"band": str(self.band), "kind": self.kind, "unit": self.unit}
        told |= {"role": "ivar" if self.is_ivar else "error" if self.is_error else "value"}
        told |= {"corrected": self.is_corrected, "light": self.light, "of": self.of}
        told |= {"system": self.system.name, "offset": self.system.offset}
        told |= {"source": self.system.source}
        return json.dumps({key: each for key, each in told.items() if each not in ("", 0, False)},
                          sort_keys=True).encode()  # fmt: skip

    def _magnitudes(self, table: pa.Table) -> np.ndarray:
        values = known_magnitudes(floats(table[self.name]))
        # Legacy Surveys write 0 where Gaia knows no source.
        absent = (values == 0) & (self.band.system == "gaia") & (not self.is_error)
        return np.where(absent, np.nan, values)


@dataclass(frozen=True)
class CatalogPhotometry:
    """The fluxes of N sources.

    Attributes
    ----------
    table : pa.Table
    columns : mapping
        The column of each kind and band, and of its errors (True).
    others : tuple of PhotometricColumn
        Columns of such bands that are not taken, as others come first.
    """

    table: pa.Table
    columns: Mapping[tuple[Kind, Band, bool], PhotometricColumn]
    others: tuple[PhotometricColumn, ...] = ()

    @classmethod
    def of(cls, table: pa.Table, given: Iterable[PhotometricColumn] = ()) -> CatalogPhotometry:
        """The fluxes among a table's columns; those `given` come first.

        Where a band has several columns, those noted in the fields' metadata come before those
        found by their names; then whole sources' light before that of points, not corrected for
        extinction before corrected, and fluxes before magnitudes.
        """
        given = list(given)
        own = {each.name for each in given}
        found = [each for each in photometric_columns(table.schema) if each.name not in own]
        columns: dict[tuple[Kind, Band, bool], PhotometricColumn] = {}
        others = []
        for each in (*given, *sorted(found, key=_preference)):
            key = (each.kind, each.band, each.is_error)
            value = columns.get((each.kind, each.band, False))
            if each.is_error and each.of and (not value or value.name.lower() != each.of.lower()):
                continue
            if columns.setdefault(key, each) is not each and not each.is_error:
                others.append(each)
        return cls(table, columns, tuple(others))

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
        if column is None:
            return self._unknown()
        flux = column.flux(self.table)
        error = self.columns.get((kind, band, True))
        if error is not None and error.is_ivar:  # none of its pixels were seen
            flux = np.where(floats(self.table[error.name]) == 0, np.nan, flux)
        return flux

    def flux_error(self, band: Band, kind: Kind = "flux") -> np.ndarray:
        """Standard deviation of the flux [nJy], shape (N,); NaN where unknown."""
        column = self.columns.get((kind, band, True))
        if column is None:
            return self._unknown()
        return column.deviation(self.table, self.flux(band, kind))

    def magnitude(self, band: Band, kind: Kind = "flux") -> np.ndarray:
        """AB magnitude, shape (N,); NaN where the flux is unknown or not positive."""
        return ab_magnitude(self.flux(band, kind))

    def magnitude_error(self, band: Band, kind: Kind = "flux") -> np.ndarray:
        """Standard deviation of the magnitude [mag], shape (N,); NaN where unknown."""
        return magnitude_error(self.flux(band, kind), self.flux_error(band, kind))

    def _unknown(self) -> np.ndarray:
        return np.full(self.table.num_rows, np.nan)


def photometric_columns(schema: pa.Schema) -> list[PhotometricColumn]:
    """The columns of numbers that hold fluxes or magnitudes, by notes or names, in their order."""
    names = schema.names
    found = (
        _noted(field) or _of_survey(field, usual_name(field.name, names)) or _by_name(field)
        for field in schema
        if is_number(field.type)
    )
    return [each for each in found if each is not None]


def _noted(field: pa.Field) -> PhotometricColumn | None:
    """The column as its field's metadata describe it; None without a valid description."""
    try:
        told = json.loads((field.metadata or {}).get(NOTE, b"null"))
        if not isinstance(told, dict):
            return None
        band, role = Band.parse(str(told["band"])), told.get("role")
        offset = float(told.get("offset", 0))
        name = str(told.get("system", "AB"))
        system = AB
        if name == "asinh":
            system = find_system(name, band)
        elif name != "AB" or offset:
            system = MagnitudeSystem(name, offset, source=str(told.get("source", "")))
        return PhotometricColumn(
            field.name,
            band,
            "fiberflux" if told.get("kind") == "fiberflux" else "flux",
            str(told.get("unit", "")) or _unit(field),
            role in ("error", "ivar"),
            bool(told.get("corrected", False)),
            system,
            str(told.get("light", "")),
            role == "ivar",
            str(told.get("of", "")),
            "note",
        )
    except (KeyError, ValueError, TypeError, RecursionError, CatalogError):
        return None


def _of_survey(field: pa.Field, usual: UsualName | None) -> PhotometricColumn | None:
    """The column that a survey calls so."""
    if usual is None:
        return None
    band = Band.parse(usual.band)
    unit = usual.unit if usual.role == "ivar" else unit_of(field) or usual.unit
    system = AB if "AB" in unit or usual.system == "AB" else find_system(usual.system, band)
    return PhotometricColumn(
        field.name,
        band,
        "fiberflux" if usual.of_fiber else "flux",
        unit,
        usual.role != "value",
        usual.corrected or _is_corrected(field),
        system,
        usual.light,
        usual.role == "ivar",
        usual.of if usual.role != "value" else "",
        "usual name",
        usual.rank,
    )


def _by_name(field: pa.Field) -> PhotometricColumn | None:
    """The column whose name says what it holds, such as ``flux_r_sdss`` or ``rmag``."""
    parts = _PREFIXED.fullmatch(field.name.lower()) or _BARE.fullmatch(field.name.lower())
    if parts is None:
        return None
    groups = parts.groupdict()
    band = Band.parse("_".join(filter(None, (groups["band"], groups.get("system")))))
    kind: Kind = "fiberflux" if groups.get("fiber") else "flux"
    unit = _unit(field)
    if unit == "mag" and not band.system and not _OPTICAL.fullmatch(band.name):
        return None  # of J or W1, say: AB or Vega, nobody can say
    system = usual_system(band, unit) if unit in MAGNITUDES else AB
    error = groups["error"] is not None
    return PhotometricColumn(field.name, band, kind, unit, error, _is_corrected(field), system)


def named_column(schema: pa.Schema, name: str, band: str, place: str) -> PhotometricColumn:
    """The column of a name that a user gave for a band, with the unit that it declares.

    `place` begins the errors, such as "--brightness 'r_sdss=rmag'".

    Raises
    ------
    CatalogError
        If the band or the column is not known, or it holds no numbers.
    """
    try:
        known = find_passband(band)
    except CatalogError as error:
        swapped = f"'{band}' is a column. The band comes first: {name}={band}."
        raise CatalogError(f"{place}: {swapped if band in schema.names else error}") from None
    if name not in schema.names and not did_you_mean(name, schema.names):
        numbers = [each.name for each in schema if is_number(each.type)]
        raise CatalogError(
            f"{place}: no column '{name}'; expected one of numbers: {', '.join(numbers[:12])}"
            f"{' ...' if numbers[12:] else ''}."
        )
    field = numbers_named(schema, name, place, expected="magnitudes or fluxes")
    unit = _unit(field)
    found = PhotometricColumn(name, known, "flux", unit, is_corrected=_is_corrected(field))
    return replace(found, system=usual_system(known, unit), found_by="given")


def noted(schema: pa.Schema, columns: Iterable[PhotometricColumn]) -> pa.Schema:
    """The schema with a note on each of the columns in its field's metadata (see `NOTE`)."""
    for each in columns:
        place = schema.get_field_index(each.name)
        field = schema.field(place)
        told = {**(field.metadata or {}), NOTE: each.note()}
        schema = schema.set(place, field.with_metadata(told))
    return schema


def notes_in(schema: pa.Schema) -> dict[str, str]:
    """The notes on columns of brightness in the fields' metadata, by column."""
    return {
        each.name: (each.metadata or {})[NOTE].decode()
        for each in schema
        if NOTE in (each.metadata or {})
    }


def without_codes(values: pa.Array, field: pa.Field) -> pa.Array:
    """A column of magnitudes with null for codes such as 99 and -999; any other as it is."""
    about = tuple((field.metadata or {}).items())
    if not is_number(field.type) or not _are_magnitudes(field.name, about):
        return values
    is_plain = pa.types.is_float32(values.type) or pa.types.is_float64(values.type)
    size = np.abs(values.to_numpy(zero_copy_only=False) if is_plain else floats(values))
    if not (size >= NO_MAGNITUDE).any():
        return values
    import pyarrow.compute as pc

    return pc.if_else(pa.array(size < NO_MAGNITUDE), values, pa.scalar(None, values.type))


@lru_cache(maxsize=4096)
def _are_magnitudes(name: str, metadata: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Whether a column of numbers with this name and metadata is said to hold magnitudes."""
    return unit_said(pa.field(name, pa.float64(), metadata=dict(metadata))) in MAGNITUDES


def _unit(field: pa.Field) -> str:
    """The unit of a column, that of magnitudes if only its name says that it holds some."""
    return unit_of(field) or ("mag" if _has_name_of_magnitudes(field.name) else "")


def unit_said(field: pa.Field) -> str:
    """The unit of a column: as it declares or a note says, or mag if its name is of magnitudes."""
    noted = _noted(field)
    return _unit(field) if noted is None else noted.unit


def _is_corrected(field: pa.Field) -> bool:
    """Whether a column's description says that it is corrected for extinction."""
    about = (field.metadata or {}).get(b"description", b"").decode(errors="replace").lower()
    said = "dereddened" in about or ("corrected" in about and "extinction" in about)
    return said and not re.search(r"\b(not|un-?) ?(extinction-)?(corrected|dereddened)", about)


def _has_name_of_magnitudes(name: str) -> bool:
    usual = usual_name(name)
    if usual is not None:
        return usual.unit == "mag"
    parts = _PREFIXED.fullmatch(name.lower()) or _BARE.fullmatch(name.lower())
    return parts is not None and parts["kind"] == "mag"


def _preference(column: PhotometricColumn) -> tuple[Any, ...]:
    """Sorts the columns of a band, the one to take first; see `CatalogPhotometry.of`."""
    is_magnitude = column.is_magnitude
    return (
        column.found_by != "note",
        column.is_of_points,
        column.is_corrected and column.found_by == "usual name",
        is_magnitude,
        is_magnitude and not column.band.system,
        column.rank,
        column.is_error,
    )
