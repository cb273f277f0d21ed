"""The brightness of a catalog's sources: what users say of its columns, what is found, in words.

Options come first, then the YAML file beside the catalog, then notes in the columns' metadata, and
last usual names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.photometry.columns import (
    CatalogPhotometry,
    PhotometricColumn,
    named_column,
    noted,
)
from targetsel.photometry.systems import find_system
from targetsel.photometry.usual_names import EXTINCTION_COLUMNS, PSF, usual_name

if TYPE_CHECKING:
    from targetsel.photometry.photometry_file import BandBrightness

OPTION = "--brightness"


def find_brightness(
    schema: pa.Schema, given: Iterable[str] = (), catalog: Path | None = None
) -> CatalogPhotometry:
    """The brightness of a catalog with these columns, without its rows.

    Parameters
    ----------
    schema : pa.Schema
    given : iterable of str
        Options such as "r_sdss=rmag" or "j_2mass=jmag,error=e_jmag,system=Vega".
    catalog : Path, optional
        The catalog, beside which a YAML file may lie.

    Raises
    ------
    CatalogError
        If an option or the file says what cannot be, or names a column that is not there.
    """
    return CatalogPhotometry.of(schema.empty_table(), given_columns(schema, given, catalog))


def brightness_columns(schema: pa.Schema, catalog: Path | str) -> list[str]:
    """The names of the columns of values and of errors that `find_brightness` finds.

    `catalog` is a name without a file for a table in memory.
    """
    found = find_brightness(schema, catalog=catalog if isinstance(catalog, Path) else None)
    return [each.name for each in found.columns.values()]


def given_columns(
    schema: pa.Schema, given: Iterable[str] = (), catalog: Path | None = None
) -> tuple[PhotometricColumn, ...]:
    """The columns that options and the file beside the catalog name.

    Errors as `find_brightness`.
    """
    bands: dict[str, tuple[str, BandBrightness]] = {}
    if catalog is not None:
        bands |= _in_file(catalog)
    for text in given:
        band, told = parse_option(text)
        bands[band.lower()] = (f"{OPTION} '{text}'", told)
    return tuple(
        column
        for band, (place, told) in bands.items()
        for column in _columns(schema, band, told, place)
    )


def with_brightness(
    schema: pa.Schema, given: Iterable[str] = (), catalog: Path | None = None
) -> pa.Schema:
    """The schema with notes on the columns of brightness whose names alone do not say it.

    So everything downstream knows what they hold. Errors as `find_brightness`.
    """
    found = find_brightness(schema, given, catalog).columns.values()
    return noted(schema, (each for each in found if each.found_by != "name"))


def parse_option(text: str) -> tuple[str, BandBrightness]:
    """The band and the brightness that an option such as "r_sdss=rmag,error=e_rmag" gives.

    Raises
    ------
    CatalogError
    """
    from targetsel.documents.models import validate_values
    from targetsel.photometry.photometry_file import BandBrightness

    first, *more = (part.partition("=") for part in text.split(","))
    pairs = [(key.strip(), equals, value.strip()) for key, equals, value in (first, *more)]
    if not all(key and equals and value for key, equals, value in pairs):
        raise CatalogError(
            f"{OPTION} '{text}': expected BAND=COLUMN, such as r_sdss=rmag, and more behind commas "
            "if need be: r_sdss=rmag,error=e_rmag,unit=mag,system=Vega,extinction=corrected."
        )
    values: dict[str, Any] = {key: value for key, _, value in pairs[1:]}
    if isinstance(values.get("offset"), str):
        values["offset"] = values["offset"].strip()
    told = {"column": pairs[0][2], **values}
    return pairs[0][0], validate_values(told, BandBrightness, f"{OPTION} '{text}'", CatalogError)


def _in_file(catalog: Path) -> dict[str, tuple[str, BandBrightness]]:
    from targetsel.photometry.photometry_file import photometry_file_of, read_photometry_file

    path = photometry_file_of(catalog)
    if path is None:
        return {}
    found = read_photometry_file(path).brightness
    return {band.lower(): (f"{path}, '{band}'", each) for band, each in found.items()}


def _columns(
    schema: pa.Schema, band: str, told: BandBrightness, place: str
) -> list[PhotometricColumn]:
    """The column of values that is named, and that of errors."""
    column = named_column(schema, told.column, band, place)
    unit = told.unit or column.unit
    column = replace(
        column,
        kind="fiberflux" if told.light == "fiber" else "flux",
        light=PSF if told.light == "psf" else "",
        unit=unit,
        is_corrected=column.is_corrected if told.extinction is None
        else told.extinction == "corrected",
    )  # fmt: skip
    column.check()
    if told.system is not None or told.offset is not None:
        if not column.is_magnitude:
            raise CatalogError(
                f"{place}: 'system' and 'offset' are of magnitudes, and the column "
                f"'{column.name}' is in {unit}. Leave them out."
            )
        try:
            system = find_system(told.system or "AB", column.band, told.offset, told.source)
        except CatalogError as fault:
            raise CatalogError(f"{place}: {fault}") from None
        column = replace(column, system=system)
    if told.error is None:
        return [column]
    error = named_column(schema, told.error, band, place)
    return [
        column,
        replace(column, name=error.name, unit=error.unit or unit, is_error=True, of=column.name),
    ]


# --- in words -------------------------------------------------------------------------------------


def brightness_lines(photometry: CatalogPhotometry) -> list[str]:
    """Lines on the brightness that was taken, where names alone do not say what columns hold."""
    values = [each for each in photometry.columns.values() if not each.is_error]
    lines = []
    found = [each for each in values if each.found_by != "name"]
    for _, group in itertools.groupby(sorted(found, key=_group), _group):
        columns = list(group)
        bands = {each.band for each in columns}
        kind = columns[0].kind
        others = [e for e in photometry.others if e.band in bands and e.kind == kind]
        lines.append(f"brightness: {_taken(columns, photometry)}{_not_taken(others)}")
    known = {each.band.name for each in values if each.band.system}
    bare = [e for e in values if not e.band.system and e.band.name not in known and e.is_magnitude]
    if bare:
        first = bare[0]
        lines.append(
            f"brightness: {_names(bare)} taken as AB magnitudes of a survey that is not said; say "
            f"which with {OPTION} {first.band.name}_sdss={first.name}, for example"
        )
    return lines


def _group(column: PhotometricColumn) -> tuple[Any, ...]:
    return (
        column.band.system,
        column.kind,
        column.light,
        column.is_corrected,
        column.system.name,
        column.unit,
    )


def _taken(columns: Sequence[PhotometricColumn], photometry: CatalogPhotometry) -> str:
    first = columns[0]
    survey = first.band.survey or first.band.system
    bands = ", ".join(each.band.name for each in columns)
    what = f"{first.system.name} magnitudes" if first.is_magnitude else f"fluxes in {first.unit}"
    if first.system.name == "Vega":
        shifts = sorted({f"{each.system.offset:+.3f}" for each in columns})
        what += f", {' '.join(shifts)} mag to AB by {first.system.source}"
    light = f"{first.light}, " if first.light else ""
    fiber = ", within a fiber" if first.kind == "fiberflux" else ""
    if first.is_corrected:
        dust = "corrected for extinction"
    else:
        dust = "not corrected for extinction"
        if usual_name(first.name, photometry.table.column_names) and first.found_by != "given":
            dust += f" (as {survey} publishes)"
        pattern = EXTINCTION_COLUMNS.get(first.band.system, "")
        there = {name.lower(): name for name in photometry.table.column_names}
        beside = [there.get(pattern.format(b=each.band.name)) for each in columns]
        if pattern and any(beside):
            dust += f", which is in {next(filter(None, beside))}{' ...' if beside[1:] else ''}"
    return f"{bands} of {survey} from {_names(columns)} ({light}{what}{fiber}); {dust}"


def _not_taken(others: Sequence[PhotometricColumn]) -> str:
    if not others:
        return ""
    points = any(each.is_of_points for each in others)
    why = ", as the light of points misses some of a galaxy's" if points else ""
    return f"; not taken: {_names(others)}{why}"


def _names(columns: Sequence[PhotometricColumn]) -> str:
    names = [each.name for each in columns]
    return ", ".join(names) if len(names) < 3 else f"{names[0]} ... {names[-1]}"
