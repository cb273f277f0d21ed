"""Columns of scored catalogs, as rules see them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import CatalogError
from targetsel.expressions.units import ANY_UNIT, MAG, declared
from targetsel.photometry.columns import unit_said
from targetsel.photometry.flux import MAGNITUDES
from targetsel.rules import formula as f
from targetsel.rules.formula import TypedExpression
from targetsel.scored.columns import (
    CATALOG,
    column_names,
    is_scored,
    posterior_columns,
    predicts_redshift,
    ranges,
    scored_columns,
)
from targetsel.scored.known_columns import COLUMNS as KNOWN_COLUMNS
from targetsel.spectra.lines import PREDICTABLE, PROXIES
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import proxy_names
from targetsel.spectrographs.following import Following, stored_following
from targetsel.spectrographs.lines import OBSERVED_UNITS
from targetsel.tables.columns import ANYTHING, Column, schema_of, unit_of
from targetsel.tables.parquet import footer_in
from targetsel.tables.types import is_bytes, is_number, is_text

STATISTICS = ("_std", "_q16", "_q84")


class CatalogColumns:
    """The columns of a catalog for rules: their types, units and roles.

    Parameters
    ----------
    schema : pa.Schema
        Units are in the field metadata ``unit``; quantities with a posterior have a column of
        quantiles.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.proxies = proxy_names(schema)
        self.following: Following | None = None
        self.lost = ""  # why quantities of observed lines cannot be followed, where they should be
        try:
            self.following = stored_following(schema)
        except CatalogError as error:
            self.lost = str(error)
        self._fields = {field.name: field for field in schema}
        self._typed: dict[str, TypedExpression] = {}  # of names that were asked for
        self.names = tuple(self._fields)
        self._ranges = ranges(schema)

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def __getitem__(self, name: str) -> TypedExpression:
        if name not in self._typed:  # to read units of all columns would take its time
            self._typed[name] = self._expression(self._fields[name])
        return self._typed[name]

    def inside_p(self, name: str) -> TypedExpression:
        """A column as it is meant within P: places of lines follow from the redshift there."""
        typed = self[name]
        if self.following is None or name not in self.following:
            return typed
        assert isinstance(typed.formula, f.ColumnValue)
        return replace(typed, formula=replace(typed.formula, role="followed"))

    def range_of(self, name: str) -> tuple[float, float]:
        """The least and the largest value that a column can have."""
        return self._ranges.get(name, ANYTHING)

    def called_otherwise(self, name: str) -> str:
        """The hint for `source_id`, `ra` or `dec` where this catalog's has another name, for a
        predicted redshift where none is, and for what files of known spectra tell; empty for other
        names."""
        if name in {each.name for each in KNOWN_COLUMNS}:
            return " Name the files of spectra that sources may have already with --known."
        without = is_scored(self.schema) and not predicts_redshift(self.schema)
        if without and name.startswith(PHOTOZ):
            return " No redshift is predicted in it: score it with an ensemble that predicts one."
        own = column_names(self.schema).get(name, name)
        if own == name:
            return ""
        return f" The {name.removeprefix('source_')} column of this catalog is '{own}'."

    def field(self, name: str) -> pa.Field:
        """The Arrow field of an existing column."""
        return self.schema.field(name)

    def role(self, role: str, place: SourceLocation) -> f.ColumnValue:
        """The column of "source_id", "ra", "dec" or "_healpix_29", asked for at `place`.

        Raises
        ------
        RuleError
            If the catalog does not have it.
        """
        name = column_names(self.schema).get(role, role)
        if name not in self:
            raise place.error(
                f"this needs a column '{name}', which the catalog does not have; 'targetsel rules "
                "columns CATALOG' lists those that it has"
            )
        formula = self[name].formula
        assert isinstance(formula, f.ColumnValue)
        return formula

    def _expression(self, field: pa.Field) -> TypedExpression:
        if self.following is not None and field.name in self.following.quantities:
            role = "followed"
        elif field.name in self.proxies:
            role = "predicted"
        elif any(field.name == name + end for name in self.proxies for end in STATISTICS):
            role = "statistic"
        else:
            role = "measured"
        type_ = _type(field.type)
        kind = type_ if type_ in ("condition", "text") else "number"
        unit = declared(unit_of(field))
        if unit is None and is_number(field.type) and unit_said(field) in MAGNITUDES:
            unit = MAG
        return TypedExpression(f.ColumnValue(field.name, role, type_), kind, unit)


def footer(schema: pa.Schema) -> dict[str, Any]:
    """The provenance that a scored file carries; empty where there is none."""
    return footer_in(schema.metadata)


def _type(type_: pa.DataType) -> str:
    if pa.types.is_boolean(type_):
        return "condition"
    if pa.types.is_integer(type_):
        return "integer"
    if pa.types.is_float16(type_) or pa.types.is_float32(type_):
        return "float32"
    if pa.types.is_float64(type_):
        return "float64"
    return "text" if is_text(type_) or is_bytes(type_) else "other"


class UnseenColumns(CatalogColumns):
    """Columns without a catalog: those that every scored file has, and any other name.

    The first use of such a name says whether its column holds numbers, true and false, or text.
    P() may ask for `photoz`, which ensembles that know redshifts predict, and for what `observe`
    predicts of lines, such as `snr_halpha`; elsewhere these may be columns of the catalog's own.
    """

    def __init__(self) -> None:
        columns = [*CATALOG, *scored_columns(1, 1, redshift=True), *KNOWN_COLUMNS]
        super().__init__(schema_of([*columns, *_of_observed_lines()]))
        always = {each.name for each in (*CATALOG, *scored_columns(1, 1), *KNOWN_COLUMNS)}
        self.expected = self.names  # also of redshifts and of `observe`
        self.names = tuple(name for name in self.names if name in always)
        self._used: dict[str, tuple[str, SourceLocation]] = {}

    def __contains__(self, name: str) -> bool:
        return True

    def __getitem__(self, name: str) -> TypedExpression:
        if name in self._fields:
            return super().__getitem__(name)
        return TypedExpression(f.ColumnValue(name), "undeclared", ANY_UNIT)

    def known_use(self, name: str) -> str | None:
        """The kind of which a column has turned out to be; None where it was not used before."""
        return self._used[name][0] if name in self._used else None

    def used_as(self, kind: str, typed: TypedExpression, place: SourceLocation) -> TypedExpression:
        """An undeclared column as a "number", a "condition" or "text", as it is used at `place`.

        Raises
        ------
        RuleError
            If it was used as another before.
        """
        column = typed.formula
        assert isinstance(column, f.ColumnValue)
        before, first = self._used.setdefault(column.name, (kind, place))
        if before != kind:
            raise place.error(
                f"'{column.name}' is used as {_USES[kind]} here and as {_USES[before]} in line "
                f"{first.line}; use it as one of the two"
            )
        if kind == "number":
            return replace(typed, kind=kind)
        column = replace(column, type=kind)
        if kind == "text":
            return TypedExpression(column, kind)
        return TypedExpression(f.Flag(column), kind)


def _of_observed_lines() -> Iterator[Column]:
    """The columns that `observe` adds for each line."""
    before = [*PREDICTABLE]
    for line in (name.removeprefix("ew_") for name in PROXIES if name.startswith("ew_")):
        yield Column(f"wavelength_{line}", pa.float32(), "Angstrom")
        for place in ("in_range", "clear_of_sky"):
            yield Column(f"{place}_{line}", pa.float32())
        for quantity, unit in OBSERVED_UNITS.items():
            name = f"{quantity}_{line}"
            yield Column(name, pa.float32(), unit)
            yield from posterior_columns(name, "", unit, tuple(before))
            before.append(name)


_USES = {"number": "a number", "condition": "a condition", "text": "text"}
