"""The columns of a list that its page of inspection filters, sorts and draws by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.photometry.columns import CatalogPhotometry
from targetsel.report.photometry import REDSHIFTS, first_of
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import CORRELATION, QUANTILES, proxy_names
from targetsel.tables.columns import floats, unit_of
from targetsel.tables.types import is_number, is_text

LARGEST = 2**53  # beyond it, JavaScript's numbers are no longer those of the file
HIDDEN = ("_healpix_29", "target_bits", "copula_group", "source_id")
# Of a scored catalog, beside what a target list has itself.
OF_SCORED = (
    *REDSHIFTS, "typicality", "typicality_reason", "epistemic", "support", "status", "cutout_mag",
    "cutout_colour",
)  # fmt: skip
DIGITS = {"ra": 12, "dec": 12}


class Listing:
    """Columns of sources as a page has them, gathered page by page.

    Attributes
    ----------
    columns : dict of str to list
        The values by name: numbers, texts, true and false; None where missing.
    units : dict of str to str
    """

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}
        self.units: dict[str, str] = {}

    def add(self, tables: Sequence[pa.Table], ids: Sequence[str], classes: Sequence[str]) -> None:
        """Add N sources, whose columns are in tables; of columns of one name the first counts."""
        found: dict[str, list[Any]] = {"class": list(classes)}
        for table in tables:
            for name, values in _shown(table).items():
                found.setdefault(name, values)
                self.units.setdefault(name, unit_of(table.schema.field(name)))
        for name, values in _colours(tables[-1]).items():
            found.setdefault(name, values)
            self.units.setdefault(name, "mag")
        n = len(self.columns.get("id", []))
        for name, values in {"id": list(ids), **found}.items():
            self.columns.setdefault(name, [None] * n).extend(values)
        for values in self.columns.values():
            values.extend([None] * (n + len(ids) - len(values)))

    @property
    def records(self) -> list[dict[str, Any]]:
        """One for each column that has a value: name, unit, kind and values."""
        return [
            {
                "name": name,
                "unit": self.units.get(name, ""),
                "kind": _kind(values),
                "values": values,
            }
            for name, values in self.columns.items()
            if name == "id" or any(each is not None and each != "" for each in values)
        ]


def of_scored(schema: pa.Schema) -> list[str]:
    """The columns of a scored catalog that the page of a target list shows beside the list's."""
    wanted = {*OF_SCORED, *proxy_names(schema), PHOTOZ}
    return [name for name in schema.names if name in wanted]


def _shown(table: pa.Table) -> dict[str, list[Any]]:
    return {
        field.name: _values(table[field.name], field)
        for field in table.schema
        if field.name not in HIDDEN
        and not field.name.endswith((QUANTILES, CORRELATION, "_std"))
        and (is_number(field.type) or is_text(field.type) or pa.types.is_boolean(field.type))
    }


def _values(column: pa.ChunkedArray, field: pa.Field) -> list[Any]:
    values = column.to_pylist()
    if pa.types.is_floating(field.type) or pa.types.is_decimal(field.type):
        return [rounded(each, DIGITS.get(field.name, 6)) for each in values]
    if pa.types.is_integer(field.type) and any(abs(each or 0) > LARGEST for each in values):
        return [None if each is None else str(each) for each in values]
    return values


def rounded(value: Any, digits: int = 6) -> float | None:
    """A number of so many digits; None where it is missing or infinite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{float(value):.{digits}g}")


def _kind(values: Sequence[Any]) -> str:
    known = [each for each in values if each is not None]
    if known and all(isinstance(each, bool) for each in known):
        return "flag"
    is_numeric = known and all(type(each) in (int, float) for each in known)
    return "number" if is_numeric else "text"


def _colours(table: pa.Table) -> dict[str, list[Any]]:
    """Two colours next to each other, of the first survey that has three bands."""
    known = CatalogPhotometry.of(table)
    for system in dict.fromkeys(band.system for band in known.bands()):
        bands = [band for band in known.bands() if band.system == system]
        names = [band.name for band in bands]
        optical = [band for band in bands if band.name in "griz"]
        chosen = (optical if len(optical) >= 3 else bands)[:3]
        if len(names) < 3:
            continue
        magnitudes = [known.magnitude(band) for band in chosen]
        return {
            f"{one.name} - {other.name}": [
                rounded(each, 4) for each in magnitudes[k] - magnitudes[k + 1]
            ]
            for k, (one, other) in enumerate(itertools.pairwise(chosen))
        }
    return {}


def redshifts_of(table: pa.Table) -> tuple[np.ndarray, str]:
    """The redshift of N sources, NaN where unknown, and the column that it is from."""
    for name in (*REDSHIFTS, PHOTOZ):
        if first_of(table, [name]):
            values = floats(table[name])
            if np.isfinite(values).any():
                return np.where(np.isfinite(values) & (values > -1), values, np.nan), name
    return np.full(table.num_rows, np.nan), ""
