"""A catalog's columns of brightness as they would be of fainter sources, or of noisier images."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.injection.steps import ImageStep
from targetsel.photometry.columns import CODES, PhotometricColumn, photometric_columns
from targetsel.photometry.flux import NO_MAGNITUDE
from targetsel.tables.columns import floats


def brightness_names(schema: pa.Schema) -> tuple[str, ...]:
    """The columns that `with_brightness_of` changes, in their order: values and errors."""
    return tuple(each.name for each in photometric_columns(schema))


def with_brightness_of(table: pa.Table, step: ImageStep) -> pa.Table:
    """The rows with fluxes and magnitudes as after a step.

    Fluxes are scaled, magnitudes grow by as much as sources are fainter, without new scatter.
    Errors of fluxes grow with the noise, and those of magnitudes also as the flux falls. Codes for
    unknown values stay. Blurring changes nothing here.

    Columns of whole or decimal numbers become float64, whatever the step.
    """
    for column in photometric_columns(table.schema):
        place = table.schema.get_field_index(column.name)
        field, values = table.schema.field(place), table[column.name]
        if not pa.types.is_floating(field.type) or pa.types.is_float16(field.type):
            field = field.with_type(pa.float64())
        found = pa.array(_changed(floats(values), column, step)).cast(field.type)
        missing = pc.is_null(values.combine_chunks())
        found = pc.if_else(missing, pa.scalar(None, field.type), found)
        table = table.set_column(place, field, found)
    return table


def _changed(values: np.ndarray, column: PhotometricColumn, step: ImageStep) -> np.ndarray:
    if column.is_error:
        return _error(values, column, step)
    if not column.is_magnitude:
        return np.where(np.isin(values, CODES), values, values * step.factor)
    known = np.abs(values) < NO_MAGNITUDE
    fainter = values + step.dim
    if column.system.softening and step.dim:
        flux = column.system.flux(np.where(known, values, 0.0))
        fainter = column.system.magnitude(flux * step.factor)
    # Gaia's 0 of sources that it does not know is a code, too.
    known &= (values != 0) | (column.band.system != "gaia")
    return np.where(known, fainter, values)


def _error(values: np.ndarray, column: PhotometricColumn, step: ImageStep) -> np.ndarray:
    if column.is_ivar:
        return values / step.noisier**2
    if not column.is_magnitude:
        return np.where(np.isin(values, CODES), values, values * step.noisier)
    grown = values * step.noisier / step.factor
    return np.where(np.abs(values) < NO_MAGNITUDE, grown, values)
