"""Photometry of a scored catalog, and probabilities of claims by gradient boosting on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from targetsel.imaging.measurements import MAGNITUDE
from targetsel.photometry.brightness import parse_option
from targetsel.photometry.columns import PhotometricColumn, photometric_columns
from targetsel.photometry.flux import ab_magnitude, njy_per_unit
from targetsel.tables.columns import floats, unit_of
from targetsel.tables.ids import uniform
from targetsel.tables.types import is_number

N_FOLDS = 5
SEED = 0
SIZES = ("half_light_radius", "petro_r50", "r50", "petro_rad_r", "radius", "size", "disk_radius")
REDSHIFTS = ("redshift", "z_spec", "zspec")


def magnitudes(table: pa.Table) -> dict[str, np.ndarray]:
    """Every magnitude of N sources, by its column's name; NaN where it is not known.

    Columns of whole sources' fluxes or magnitudes, and the magnitude on the cutouts. A flux
    without a unit gives a magnitude up to a constant.
    """
    columns = {each.name: each for each in columns_of(table)}
    found = {}
    for name in table.column_names:
        if name in columns:
            found[name] = _of_column(table, columns[name])
        elif name == MAGNITUDE and is_number(table.schema.field(name).type):
            found[name] = numbers(table, name)
    if MAGNITUDE in found and not np.isfinite(found[MAGNITUDE]).any():
        del found[MAGNITUDE]  # of an ensemble without images
    return found


@dataclass(frozen=True)
class BinnedBy:
    """A quantity of N sources, by which they may be binned.

    Attributes
    ----------
    title, unit : str
        Such as "r magnitude (SDSS)" and "mag".
    values : ndarray, shape (N,)
    """

    title: str
    unit: str
    values: np.ndarray


def band_magnitude(table: pa.Table, given: Iterable[str] = ()) -> BinnedBy | None:
    """The magnitude that bins sources: in the first band of `given`, in r, or on the cutout.

    Parameters
    ----------
    table : pa.Table
        With notes on the columns that `given` names; see `brightness.with_brightness`.
    given : iterable of str
        Options such as "g_sdss=gmag".
    """
    columns = columns_of(table)
    first = next((parse_option(text)[1].column for text in given), None)
    chosen = [each for each in columns if each.name == first]
    in_r = [each for each in columns if each.band.name == "r"]
    in_r.sort(key=lambda e: (e.is_of_points, not e.band.system, not e.is_magnitude))
    for column in (*chosen, *in_r):
        survey = column.band.survey if column.band.system else ""
        title = f"{column.band.name} magnitude" + (f" ({survey})" if survey else "")
        has_scale = column.is_magnitude or njy_per_unit(column.unit)
        unit = "mag" if has_scale else "mag up to a constant"
        return BinnedBy(title, unit, _of_column(table, column))
    if MAGNITUDE in table.column_names:
        values = numbers(table, MAGNITUDE)
        if np.isfinite(values).any():
            return BinnedBy("magnitude on the cutout", "mag", values)
    return None


def quantity(table: pa.Table, names: Iterable[str]) -> BinnedBy | None:
    """The first of some columns of numbers that is there, with its unit and a plain name."""
    name = first_of(table, names)
    if name is None:
        return None
    title = "redshift" if name in REDSHIFTS else name.replace("_", " ")
    return BinnedBy(title, unit_of(table.schema.field(name)), numbers(table, name))


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
    names, values = list(known), list(known.values())
    columns = {each.name: each for each in columns_of(table)}
    of_surveys = [name for name in known if name in columns and not _is_bare(columns[name])]
    for one, other in itertools.pairwise(of_surveys):
        names.append(f"{one} - {other}")
        values.append(known[one] - known[other])
    size = first_of(table, SIZES)
    if size is not None:
        names.append(size)
        values.append(numbers(table, size))
    return (np.column_stack(values) if values else np.zeros((table.num_rows, 0))), names


def columns_of(table: pa.Table) -> list[PhotometricColumn]:
    """The columns of whole sources' fluxes and magnitudes, in the order of the table."""
    found = photometric_columns(table.schema)
    return [each for each in found if each.kind == "flux" and not each.is_error]


def _is_bare(column: PhotometricColumn) -> bool:
    """Whether a magnitude is called like ``rmag``, of which nobody knows the survey."""
    return column.is_magnitude and not column.band.system and not column.name.startswith("mag_")


def _of_column(table: pa.Table, column: PhotometricColumn) -> np.ndarray:
    if column.is_magnitude or njy_per_unit(column.unit):
        return column.magnitude(table)
    return ab_magnitude(numbers(table, column.name))


# ---------------------------------------------------------------------- gradient boosting


def photometry_probability(
    features: np.ndarray, true: np.ndarray, group: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """The probability that a claim is true, from other groups' photometry, shape (n,).

    The boosting is trained on the sources of the evaluation, so it knows their population, which
    the ensemble need not; but each source is predicted by a model that saw no source of its group.

    Parameters
    ----------
    features : ndarray, shape (n, F)
        NaN where a magnitude is missing.
    true : ndarray of bool, shape (n,)
    group : ndarray of integers, shape (n,)
        Its hash assigns a source to one of `N_FOLDS` folds.
    weight : ndarray, shape (n,)
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    fold = (uniform(group, SEED, "photometry")[:, 0] * N_FOLDS).astype(int)
    found = np.full(len(true), float(np.average(true, weights=weight)))
    for each in np.unique(fold):
        seen, unseen = fold != each, fold == each
        if len(np.unique(true[seen])) == 2:
            model = HistGradientBoostingClassifier(
                learning_rate=0.05, max_iter=120, max_leaf_nodes=15, min_samples_leaf=10,
                early_stopping=False, random_state=0,
            )  # fmt: skip
            model.fit(features[seen], true[seen], sample_weight=weight[seen])
            found[unseen] = model.predict_proba(features[unseen])[:, 1]
    return found
