"""The magnitudes, sizes and redshifts among a catalog's columns."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from targetsel.imaging.measurements import MAGNITUDE
from targetsel.photometry.columns import PhotometricColumn, floats, photometric_columns
from targetsel.photometry.flux import ab_magnitude, njy_per_unit
from targetsel.tables.columns import is_number

SIZES = ("half_light_radius", "petro_r50", "r50", "petro_rad_r", "radius", "size", "disk_radius")
REDSHIFTS = ("redshift", "z_spec", "zspec")


def magnitudes(table: pa.Table) -> dict[str, np.ndarray]:
    """Every magnitude of N sources, by its column's name; NaN where it is not known.

    Columns of whole sources' fluxes or magnitudes, and the magnitude on the cutouts. A flux
    without a unit gives a magnitude up to a constant.
    """
    columns = {each.name: each for each in _columns(table)}
    found = {}
    for name in table.column_names:
        if name in columns:
            found[name] = _of_column(table, columns[name])
        elif name == MAGNITUDE and is_number(table.schema.field(name).type):
            found[name] = numbers(table, name)
    return found


def red_magnitude(table: pa.Table) -> str | None:
    """The column that says how bright a source is: in r, or on its cutout."""
    in_r = [each.name for each in _columns(table) if each.band.name == "r"]
    in_r.sort(key=lambda name: name.lower().startswith("flux_"))
    return next((name for name in (*in_r, MAGNITUDE) if name in table.column_names), None)


def first_of(table: pa.Table, names: Iterable[str]) -> str | None:
    """The first of some columns of numbers that is there."""
    return next(
        (n for n in names if n in table.column_names and is_number(table.schema.field(n).type)),
        None,
    )


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column as float64, shape (N,); NaN where it is missing or infinite."""
    values = floats(table[name])
    return np.where(np.isfinite(values), values, np.nan)


def features(table: pa.Table) -> tuple[np.ndarray, list[str]]:
    """Magnitudes, the colours of neighbouring ones of one system, and size: (N, F), and names."""
    known = magnitudes(table)
    names, columns = list(known), list(known.values())
    colours = [name for name in known if name.lower().startswith(("flux_", "mag_"))]
    for one, other in itertools.pairwise(colours):
        names.append(f"{one} - {other}")
        columns.append(known[one] - known[other])
    size = first_of(table, SIZES)
    if size is not None:
        names.append(size)
        columns.append(numbers(table, size))
    return (np.column_stack(columns) if columns else np.zeros((table.num_rows, 0))), names


def _columns(table: pa.Table) -> list[PhotometricColumn]:
    found = photometric_columns(table.schema)
    return [each for each in found if each.kind == "flux" and not each.is_error]


def _of_column(table: pa.Table, column: PhotometricColumn) -> np.ndarray:
    values = numbers(table, column.name)
    if column.is_magnitude:
        return values
    return ab_magnitude(values * (njy_per_unit(column.unit) or 1.0))
