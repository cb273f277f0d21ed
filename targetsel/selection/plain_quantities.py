"""Magnitudes, colours and sizes of a catalog, as rules write them and as numbers.

They are what a cut of a published target selection may compare: nothing that a network predicts, no
error, no position and no redshift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, RuleError, did_you_mean
from targetsel.expressions.units import UNITS
from targetsel.photometry.columns import CatalogPhotometry, PhotometricColumn, photometric_columns
from targetsel.rules.binding import Binder
from targetsel.rules.catalog_part import unseen_columns
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.scored.columns import column_names
from targetsel.selection.evaluation import value
from targetsel.selection.sources import Sources
from targetsel.tables.columns import unit_of
from targetsel.tables.types import is_number

SIZES = ("arcsec", "arcmin")
MOST_BANDS = 8  # colours are of every two of them
RIDGE = 1.0  # of the logistic regression, in sources
STEPS = 12
LEAST_SHARE = 0.05  # of the largest coefficient: smaller ones are left out of the combination


@dataclass(frozen=True, eq=False)
class PlainQuantity:
    """A quantity that a cut may compare.

    Attributes
    ----------
    text : str
        As rules write it.
    unit : str
        Written behind the threshold; empty for plain numbers.
    values : ndarray, shape (N,)
        NaN where it is missing.
    """

    text: str
    unit: str
    values: np.ndarray


def plain_quantities(table: pa.Table, columns: Sequence[str] = ()) -> list[PlainQuantity]:
    """The magnitudes, colours and sizes of N sources.

    Parameters
    ----------
    table : pa.Table, N rows
        A catalog, or a scored one, whose predictions are left alone.
    columns : sequence of str
        Columns of numbers to compare besides, or in place of those in one band.

    Raises
    ------
    CatalogError
        If there is no such column, it holds no numbers, or it depends on a network; or if nothing
        is left to compare.
    """
    unseen = unseen_columns(table.schema)
    seen = [name for name in table.column_names if name not in unseen]
    for name in columns:
        if name not in seen:
            raise CatalogError(
                f"'{name}' is no column of the catalog alone, without predictions."
                f"{did_you_mean(name, seen)} Name another with --column, or leave it out."
            )
        if not is_number(table.schema.field(name).type):
            raise CatalogError(
                f"column '{name}' holds {table.schema.field(name).type}; expected numbers. Name "
                "another with --column, or leave it out."
            )
    catalog = table.select(seen)
    bright = _magnitudes(catalog)
    own = {*column_names(table.schema).values(), "_healpix_29"}
    texts = [_text(each) for each in bright]
    texts += [f"{_text(one)} - {_text(two)}" for one, two in combinations(bright, 2)]
    photometric = {each.name for each in photometric_columns(catalog.schema)}
    for field in catalog.schema:
        is_size = is_number(field.type) and unit_of(field) in SIZES and "err" not in field.name
        is_size &= field.name.isidentifier()
        wanted = field.name in columns or (is_size and field.name not in own)
        if wanted and field.name not in photometric:
            texts.append(field.name)
    found = []
    for text in texts:
        try:
            found.append(_quantity(text, catalog))
        except RuleError:
            if text in columns:
                raise
            continue  # such as a colour of two columns of which one declares its unit
    found = [each for each in found if np.isfinite(each.values).any()]
    if not found:
        raise CatalogError(
            "the catalog has no magnitudes, fluxes or sizes that cuts could compare. Name columns "
            "with --column, or say with --brightness when scoring which are magnitudes."
        )
    return found


def _magnitudes(catalog: pa.Table) -> list[PhotometricColumn]:
    """The column of each band, blue first; one for each wavelength."""
    photometry = CatalogPhotometry.of(catalog)
    found = [photometry.columns["flux", band, False] for band in photometry.bands()]
    known = [each for each in found if _is_readable(each, catalog.schema)]
    order = {name: k for k, name in enumerate("FNugrizyYJHK")}
    known.sort(key=lambda each: (order.get(each.band.name[0], len(order)), each.band.name))
    first: dict[str, PhotometricColumn] = {}
    for each in known:  # one system: colours across systems are of little use
        first.setdefault(each.band.name, each)
    return list(first.values())[:MOST_BANDS]


def _is_readable(column: PhotometricColumn, schema: pa.Schema) -> bool:
    """Whether rules can write the magnitude of a column."""
    if not column.name.isidentifier():
        return False
    if column.is_magnitude:
        return unit_of(schema.field(column.name)) in ("mag", "")
    return unit_of(schema.field(column.name)) in ("nJy", "Jy", "nanomaggy", "nmgy")


def _text(column: PhotometricColumn) -> str:
    return column.name if column.is_magnitude else f"mag({column.name})"


def _quantity(text: str, catalog: pa.Table) -> PlainQuantity:
    """What rules understand by a text, evaluated as they do."""
    read = Binder(CatalogColumns(catalog.schema)).read_number(parse(text))
    values = np.array(value(read.formula, Sources(catalog)), dtype=np.float64)
    unit = str(read.unit or "")
    return PlainQuantity(text, unit if unit in UNITS else "", values)


def linear_combination(
    table: pa.Table, wanted: np.ndarray, rows: np.ndarray
) -> PlainQuantity | None:
    """The combination of colours and one magnitude that tells wanted sources best from others.

    By logistic regression, with coefficients of two decimals, the largest of which is 1.

    Parameters
    ----------
    table : pa.Table, N rows
    wanted : ndarray, shape (N,)
        How much each source is wanted, 0 to 1.
    rows : ndarray of bool, shape (N,)
        The sources to learn from.

    Returns
    -------
    PlainQuantity or None
        None with fewer than three bands.
    """
    unseen = unseen_columns(table.schema)
    catalog = table.select([name for name in table.column_names if name not in unseen])
    bright = _magnitudes(catalog)
    if len(bright) < 3:
        return None
    texts = [f"({_text(one)} - {_text(two)})" for one, two in pairwise(bright)]
    texts.append(_text(bright[len(bright) // 2]))
    try:
        matrix = np.stack([_quantity(text, catalog).values for text in texts], axis=1)
    except RuleError:
        return None
    learn = rows & np.isfinite(matrix).all(axis=1)
    if learn.sum() < 10 * len(texts):
        return None
    centre, scale = matrix[learn].mean(axis=0), matrix[learn].std(axis=0)
    if not (scale > 0).all():
        return None
    slopes = _logistic((matrix[learn] - centre) / scale, wanted[learn]) / scale
    slopes /= np.abs(slopes).max() or 1.0
    kept = [
        (round(float(slope), 2), text)
        for slope, text in zip(slopes, texts, strict=True)
        if abs(slope) >= LEAST_SHARE
    ]
    if len(kept) < 2:
        return None
    kept.sort(key=lambda each: -abs(each[0]))
    sign = np.sign(kept[0][0])
    text = kept[0][1]
    for slope, part in kept[1:]:
        number = f"{abs(slope):g}"
        text += f" {'+' if slope * sign > 0 else '-'} {number} * {part}"
    return _quantity(text, catalog)


def _logistic(matrix: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Slopes of a logistic regression on columns (N, K) of unit width, by Newton's steps."""
    design = np.column_stack([np.ones(len(matrix)), matrix])
    penalty = RIDGE * np.diag([0.0, *np.ones(matrix.shape[1])])
    slopes = np.zeros(design.shape[1])
    for _ in range(STEPS):
        expected = 1 / (1 + np.exp(-np.clip(design @ slopes, -30, 30)))
        weight = np.maximum(expected * (1 - expected), 1e-6)
        gradient = design.T @ (wanted - expected) - penalty @ slopes
        curvature = (design * weight[:, None]).T @ design + penalty
        slopes = slopes + np.linalg.solve(curvature, gradient)
    return slopes[1:]
