"""The magnitudes, sizes and redshifts among a catalog's columns."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from targetsel.imaging.brightness import MAGNITUDE

SIZES = ("half_light_radius", "petro_r50", "r50", "petro_rad_r", "radius", "size", "disk_radius")
REDSHIFTS = ("redshift", "z_spec", "zspec")
_MAGNITUDE = re.compile(r"(?P<a>[a-z])_?mag|mag_(?P<b>[a-z])(_[a-z0-9]+)?", re.I)
_FLUX = re.compile(r"flux_(?!ivar)(?P<a>[a-z]|w\d)(_(?!err|ivar)[a-z0-9]+)?", re.I)
_ZERO_POINTS = {"nJy": 31.4, "nanomaggy": 22.5, "nmgy": 22.5, "mag": 0.0}


def magnitudes(table: pa.Table) -> dict[str, np.ndarray]:
    """Every magnitude of N sources, by its column's name; NaN where it is not known.

    Columns such as ``flux_r_ps1``, ``rmag`` and ``mag_r``, and the magnitude on the cutouts. A
    flux without a unit gives a magnitude up to a constant.
    """
    found = {}
    for name in table.column_names:
        is_flux = _FLUX.fullmatch(name)
        if not _is_number(table, name):
            continue
        if is_flux or _MAGNITUDE.fullmatch(name) or name == MAGNITUDE:
            values = numbers(table, name)
            found[name] = _of_flux(values, table.schema.field(name)) if is_flux else values
    return found


def red_magnitude(table: pa.Table) -> str | None:
    """The column that says how bright a source is: in r, or on its cutout."""
    known = magnitudes(table)
    in_r = [name for name in known if _band(name) == "r"]
    in_r.sort(key=lambda name: bool(_FLUX.fullmatch(name)))
    return next((name for name in (*in_r, MAGNITUDE) if name in known), None)


def first_of(table: pa.Table, names: Iterable[str]) -> str | None:
    """The first of some columns of numbers that is there."""
    return next((n for n in names if n in table.column_names and _is_number(table, n)), None)


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column as float64, shape (N,); NaN where it is missing or infinite."""
    values = table[name].cast(pa.float64(), safe=False).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def features(table: pa.Table) -> tuple[np.ndarray, list[str]]:
    """Magnitudes, the colours of neighbouring ones of one system, and size: (N, F), and names."""
    known = magnitudes(table)
    names, columns = list(known), list(known.values())
    colours = [name for name in known if _FLUX.fullmatch(name) or "mag_" in name]
    for one, other in itertools.pairwise(colours):
        names.append(f"{one} - {other}")
        columns.append(known[one] - known[other])
    size = first_of(table, SIZES)
    if size is not None:
        names.append(size)
        columns.append(numbers(table, size))
    return (np.column_stack(columns) if columns else np.zeros((table.num_rows, 0))), names


def _of_flux(flux: np.ndarray, field: pa.Field) -> np.ndarray:
    unit = (field.metadata or {}).get(b"unit", b"").decode()
    if unit == "mag":
        return flux
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux > 0, _ZERO_POINTS.get(unit, 0.0) - 2.5 * np.log10(flux), np.nan)


def _band(name: str) -> str:
    parts = _FLUX.fullmatch(name) or _MAGNITUDE.fullmatch(name)
    return "" if parts is None else next(each for each in parts.groupdict().values() if each)


def _is_number(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)
