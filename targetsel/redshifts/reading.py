"""One reader of redshifts from elsewhere: files of qp, and tables with values or densities.

In a table, which may be a folder in HATS, the redshift is a column of values with one of their
errors, or a nested column of densities: two lists in each row, the redshifts and the densities
there, as a struct of lists or a list of structs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import CatalogError, SpectrumError, did_you_mean
from targetsel.redshifts.distributions import (
    HIGHEST,
    SCORES,
    RedshiftDistributions,
    of_densities,
    of_values,
)
from targetsel.redshifts.qp_files import is_qp_file, read_qp
from targetsel.sky.catalog import find_column
from targetsel.spectra.photoz import COLUMNS, PHOTOZ
from targetsel.tables.columns import floats, in_one_piece, unit_of
from targetsel.tables.formats import open_table
from targetsel.tables.ids import exact_ids, repeated_ids
from targetsel.tables.types import held, is_list, is_number

ROWS = 8192
PLACES = ("z", "redshift", "redshifts", "grid", "zgrid", "z_grid", "xvals", "x")
DENSITIES = ("p", "pdf", "pz", "density", "prob", "probability", "yvals", "y")
ERRORS = ("{}_error", "{}_err", "{}_std", "{}_sigma", "{}_unc", "e_{}", "{}err", "{}_e")
PLAIN = ("", "1", "-", "none", "dimensionless", "redshift")


def read_distributions(
    path: Path, redshift: str = "", error: str = "", ids: str = ""
) -> RedshiftDistributions:
    """The redshift distributions of a file, each source once.

    Parameters
    ----------
    path : Path
        A file of qp, or a table in any format.
    redshift, error : str
        Columns of a table: values and standard deviations, or one nested column of densities. By
        default usual names.
    ids : str
        Column of ids; by default `source_id`, or another usual name.

    Raises
    ------
    CatalogError
        If the file cannot be read, lacks a column, or repeats an id.
    SpectrumError
        If what it holds are no distributions.
    ExtraError
        If it is HDF5, and h5py is not installed.
    """
    if is_qp_file(path):
        if redshift or error:
            raise CatalogError(
                f"{path}: a file of qp has no column '{redshift or error}' of redshifts. Leave the "
                "name out."
            )
        found = read_qp(path, ids)
    else:
        found = _of_table(path, redshift, error, ids)
    column = pa.array(found.source_id.tolist(), None if len(found) else pa.int64())
    if repeated := repeated_ids(lambda: [column], len(found)):
        raise CatalogError(f"{path}: has several rows of the id '{repeated[0]}'. Keep one of them.")
    if not found.known.any():
        raise CatalogError(
            f"{path}: tells the redshift of none of its {len(found):,} sources. Give another file, "
            "or other columns."
        )
    return found


def _of_table(path: Path, redshift: str, error: str, ids: str) -> RedshiftDistributions:
    rows = open_table(path)
    schema = rows.schema
    name = find_column(path, schema.names, "source_id", "--id-col", ids or None)
    value = redshift or _usual(path, schema)
    if value not in schema.names:
        hint = did_you_mean(value, schema.names)
        raise CatalogError(f"{path}: no column '{value}' (--redshift).{hint}")
    nested = _is_nested(schema.field(value).type)
    if nested and error:
        raise CatalogError(
            f"{path}, column '{value}': holds densities, which need no column of errors. Leave "
            "--redshift-error out."
        )
    spread = "" if nested else error or _error_of(path, schema, value)
    constant = _number(spread)
    wanted = [name, value] + ([spread] if spread and constant is None else [])
    if missing := [each for each in wanted if each not in schema.names]:
        hint = did_you_mean(missing[0], schema.names)
        raise CatalogError(f"{path}: no column '{missing[0]}' (--redshift-error).{hint}")
    names, quantiles = [np.empty(0, dtype=np.int64)], [np.empty((0, len(SCORES)))]
    try:
        for piece in rows.batches(ROWS, wanted):
            found = exact_ids(piece[name], name, path)
            if found.null_count:
                raise CatalogError(f"{path}, column '{name}': has rows without an id. Remove them.")
            names.append(found.to_numpy(zero_copy_only=False))
            quantiles.append(
                _of_nested(piece[value], value, names[-1])
                if nested
                else of_values(
                    values := _numbers(path, piece, value),
                    _numbers(path, piece, spread)
                    if constant is None
                    else np.full(len(values), constant),
                )
            )
    except SpectrumError as fault:
        raise SpectrumError(f"{path}: {fault}") from None
    told = [each for each in names if len(each)]
    return RedshiftDistributions(
        np.concatenate(told or names), np.concatenate(quantiles), "densities" if nested else value
    )


def _usual(path: Path, schema: pa.Schema) -> str:
    """The column of redshifts: the only nested one, or one of a usual name."""
    nested = [field.name for field in schema if _is_nested(field.type)]
    if len(nested) == 1:
        return nested[0]
    for name in (*COLUMNS, PHOTOZ, "z_phot", "zphot", "z"):
        found = [each for each in schema.names if each.lower() == name]
        if len(found) == 1:
            return found[0]
    raise CatalogError(
        f"{path}: no column of redshifts; expected one such as redshift, or one of densities. Name "
        "it by --redshift."
    )


def _error_of(path: Path, schema: pa.Schema, value: str) -> str:
    """The column with the errors of a column of redshifts."""
    wanted = [each.format(value).lower() for each in ERRORS]
    found = [name for name in schema.names if name.lower() in wanted]
    if len(found) != 1:
        said = f"several: {', '.join(found)}" if found else f"none, such as {wanted[0]}"
        raise CatalogError(
            f"{path}: expected one column with the errors of '{value}', found {said}. Name it by "
            "--redshift-error."
        )
    return found[0]


def _number(text: str) -> float | None:
    """One error for all sources, or None where the text names a column."""
    try:
        value = float(text)
    except ValueError:
        return None
    if not 0 < value <= HIGHEST:
        raise CatalogError(
            f"redshift error is {text}; expected more than 0, and {HIGHEST:g} at most. Give "
            "another."
        )
    return value


def _numbers(path: Path, piece: pa.Table, name: str) -> np.ndarray:
    field = piece.schema.field(name)
    if not is_number(field.type):
        raise CatalogError(
            f"{path}, column '{name}': holds {held(field.type)}; expected numbers, or densities in "
            "a nested column. Name another column."
        )
    if (unit := unit_of(field)) not in PLAIN:
        raise CatalogError(
            f"{path}, column '{name}': is in '{unit}'; expected redshifts, without a unit. Name "
            "another column."
        )
    return floats(piece[name])


# --- nested columns ---


def _fields(kind: pa.DataType) -> list[pa.Field]:
    """The fields of a struct of lists, or of a list of structs; none of another type."""
    if pa.types.is_struct(kind):
        fields = [kind.field(k) for k in range(kind.num_fields)]
        return fields if all(is_list(each.type) for each in fields) else []
    if is_list(kind) and pa.types.is_struct(kind.value_type):
        return [kind.value_type.field(k) for k in range(kind.value_type.num_fields)]
    return []


def _named(kind: pa.DataType) -> tuple[str, str] | None:
    """The names of the redshifts and of the densities among the fields, where both are there."""
    names = [each.name for each in _fields(kind)]
    places = [each for each in names if each.lower() in PLACES]
    tops = [each for each in names if each.lower() in DENSITIES]
    return (places[0], tops[0]) if len(places) == len(tops) == 1 else None


def _is_nested(kind: pa.DataType) -> bool:
    return _named(kind) is not None


def _of_nested(column: pa.ChunkedArray, name: str, ids: np.ndarray) -> np.ndarray:
    """Quantiles of N rows of densities, whose grids may differ in length."""
    values = in_one_piece(column)
    lists = [_lists(values, field) for field in _named(values.type) or ()]
    lengths = np.stack([_lengths(each) for each in lists])
    if (wrong := lengths[0] != lengths[1]).any():
        row = int(np.argmax(wrong))
        raise SpectrumError(
            f"source '{ids[row]}', column '{name}': {lengths[0][row]} redshifts and "
            f"{lengths[1][row]} densities. Give as many."
        )
    found = np.full((len(values), len(SCORES)), np.nan)
    flat = [each.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False) for each in lists]
    starts = np.concatenate([[0], np.cumsum(lengths[0])])
    for length in np.unique(lengths[0][lengths[0] > 1]):
        rows = np.flatnonzero(lengths[0] == length)
        places = starts[rows, None] + np.arange(length)
        found[rows] = of_densities(flat[0][places], flat[1][places], ids[rows])
    return found


def _lists(values: pa.Array, field: str) -> pa.Array:
    """One field of each row, as a list of numbers."""
    if pa.types.is_struct(values.type):
        return pc.struct_field(values, field)
    inner = pc.struct_field(values.flatten(), field)
    lengths = _lengths(values)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), inner)


def _lengths(lists: pa.Array) -> np.ndarray:
    found = pc.fill_null(pc.list_value_length(lists), 0)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)
