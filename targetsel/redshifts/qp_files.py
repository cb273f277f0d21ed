"""Files of qp, in which RAIL keeps redshift distributions: read, and written as histograms.

In HDF5 a file has the groups `meta`, `data` and `ancil`; in Parquet `NAME.pq` stands for the files
`NAMEmeta.pq`, `NAMEdata.pq` and `NAMEancil.pq`. `meta` names the form and has what all sources
share, `data` has a row for each source, and `ancil` further columns, such as their ids.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, OutputError, SpectrumError
from targetsel.extras import require
from targetsel.redshifts.distributions import (
    RedshiftDistributions,
    in_parts,
    of_densities,
    of_histogram,
    of_mixtures,
    of_quantiles,
)
from targetsel.sky.catalog import USUAL_NAMES
from targetsel.tables.columns import in_one_piece
from targetsel.tables.files import check_output, written_beside
from targetsel.tables.formats import open_table
from targetsel.tables.ids import exact_ids
from targetsel.tables.reading import reading
from targetsel.tables.types import is_list

HDF5 = (".hdf5", ".h5", ".hf5", ".hd5")
PARQUET = (".pq", ".parquet", ".parq")
PARTS = ("meta", "data", "ancil")
ROWS = 1024  # sources at a time
Tables = Mapping[str, Mapping[str, np.ndarray]]
FORMS = {  # of qp: what of it is in `meta`, and in `data`
    "interp": (("xvals",), ("yvals",)),
    "interp_irregular": ((), ("xvals", "yvals")),
    "hist": (("bins",), ("pdfs",)),
    "quant": (("quants",), ("locs",)),
    "mixmod": ((), ("weights", "means", "stds")),
    "norm": ((), ("loc", "scale")),
}


def is_qp_file(path: Path) -> bool:
    """Whether a path is that of an HDF5 file, or of one that stands for qp's files in Parquet."""
    return path.suffix.lower() in HDF5 or (
        path.suffix.lower() in PARQUET and _part(path, "meta").is_file()
    )


def read_qp(path: Path, ids: str = "") -> RedshiftDistributions:
    """The distributions of a file of qp, with the ids of its table `ancil`.

    Parameters
    ----------
    path : Path
    ids : str
        Column of the ids in `ancil`; by default `source_id`, or another usual name.

    Raises
    ------
    CatalogError
        If the file cannot be read, is none of qp, or has no ids.
    SpectrumError
        If what it holds are no distributions.
    ExtraError
        If it is HDF5, and h5py is not installed.
    """
    hdf5 = path.suffix.lower() in HDF5
    tables = _of_hdf5(path) if hdf5 else _of_parquet(path)
    form = _form(path, tables)
    shared, own = FORMS[form]
    meta = [np.ravel(_column(path, tables, "meta", name)) for name in shared]
    data = [_column(path, tables, "data", name) for name in own]
    source_id = _ids(path, tables, ids, len(data[0]))
    for name, values in zip(own, data, strict=True):
        if values.ndim != 2 or len(values) != len(source_id):
            raise CatalogError(
                f"{path}, data: '{name}' has the shape {values.shape}; expected a row for each of "
                f"its {len(source_id):,} sources. Write the file again with qp."
            )
    _check_widths(path, form, meta, data)

    def part(rows: slice) -> np.ndarray:
        return _quantiles(form, meta, [each[rows] for each in data], source_id[rows])

    try:
        return RedshiftDistributions(source_id, in_parts(len(source_id), ROWS, part), form)
    except SpectrumError as fault:
        raise SpectrumError(f"{path}: {fault}") from None


def write_qp(path: Path, source_id: np.ndarray, levels: np.ndarray, values: np.ndarray) -> None:
    """Write quantiles (N, K) of N redshifts at these probabilities as a file of qp.

    Raises
    ------
    OutputError
        If a file cannot be written.
    ExtraError
        If it is HDF5, and h5py is not installed.
    """
    meta = {
        "pdf_name": np.array([b"quant"]),
        "pdf_version": np.array([0]),
        "pdf_constructor_name": np.array([b"piecewise_linear"]),
        "ensure_extent": np.array([True]),
        "quants": np.asarray(levels, float)[None],
    }
    tables: Tables = {
        "meta": meta,
        "data": {"locs": np.asarray(values, float)},
        "ancil": {"source_id": source_id},
    }
    if path.suffix.lower() not in HDF5:
        for name, columns in tables.items():
            with written_beside(_part(path, name)) as beside:
                pq.write_table(pa.table({k: _arrow(v) for k, v in columns.items()}), beside)
        return
    require("hdf5", "A file of qp in HDF5")
    import h5py

    with written_beside(path) as beside, h5py.File(beside, "w", track_order=True) as file:
        for name, columns in tables.items():
            group = file.create_group(name)
            for key, values_of in columns.items():
                text = values_of.dtype.kind in "OU"
                stored = np.array([str(v).encode() for v in values_of]) if text else values_of
                group.create_dataset(key, data=stored)


def check_qp_output(path: Path, inputs: list[Path]) -> None:
    """Refuse a place for a file of qp before any work is done.

    Raises
    ------
    OutputError, ExtraError
    """
    ending = path.suffix.lower()
    if ending not in (*HDF5, *PARQUET):
        raise OutputError(
            f"{path}: qp reads files by their ending, {', '.join((*HDF5[:1], *PARQUET[:1]))}. "
            "Choose one of these."
        )
    if ending in HDF5:
        require("hdf5", "A file of qp in HDF5")
        check_output(path, inputs)
        return
    for name in PARTS:
        check_output(_part(path, name), inputs)


def _part(path: Path, name: str) -> Path:
    """The file of a table of qp, in Parquet."""
    return path.with_name(f"{path.stem}{name}{path.suffix}")


def _arrow(values: np.ndarray) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values.tolist() if values.dtype.kind in "OUS" else values)
    return pa.array(list(values), pa.list_(pa.float64()))


def _of_hdf5(path: Path) -> Tables:
    require("hdf5", "A file of qp in HDF5")
    if not path.is_file():
        open_table(path)  # which says what is there
    import h5py

    with reading(path, CatalogError, "a file of qp in HDF5"), h5py.File(path, "r") as file:
        found = {}
        for name in PARTS:
            group = file.get(name)
            if isinstance(group, h5py.Group):
                sets = {k: v for k, v in group.items() if isinstance(v, h5py.Dataset)}
                found[name] = {key: np.asarray(each[()]) for key, each in sets.items()}
        return found


def _of_parquet(path: Path) -> Tables:
    found = {}
    for name in PARTS:
        if (part := _part(path, name)).is_file():
            rows = open_table(part)
            pieces = list(rows.batches(65_536, rows.schema.names))
            table = pa.concat_tables(pieces) if pieces else rows.schema.empty_table()
            found[name] = {each: _array(table[each]) for each in table.column_names}
    return found


def _array(column: pa.ChunkedArray) -> np.ndarray:
    """A column as an array; lists of one length have two axes, lists of several are left out."""
    values = in_one_piece(column)
    if is_list(values.type):
        rows = values.to_pylist()
        if len({len(row) if row is not None else -1 for row in rows}) != 1 or rows[0] is None:
            return np.empty((0, 0))
        with contextlib.suppress(ValueError, TypeError):
            return np.array(rows, dtype=float)
        return np.empty((0, 0))
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _form(path: Path, tables: Tables) -> str:
    names = np.ravel(tables.get("meta", {}).get("pdf_name", np.array([])))
    if not len(names) or "data" not in tables:
        raise CatalogError(
            f"{path}: not a file of qp; expected its tables 'meta', with 'pdf_name', and 'data'. "
            "Write one with qp's write_to."
        )
    form = names[0].decode() if isinstance(names[0], bytes) else str(names[0])
    if form not in FORMS:
        raise CatalogError(
            f"{path}: its distributions are of the form '{form}'; expected {', '.join(FORMS)}. "
            "Convert them with qp's convert_to."
        )
    return form


def _column(path: Path, tables: Tables, table: str, name: str) -> np.ndarray:
    found = tables[table].get(name)
    if found is None or found.dtype.kind not in "fiu":
        what = "has no" if found is None else "holds something else than numbers in"
        raise CatalogError(f"{path}, {table}: {what} '{name}'. Write the file again with qp.")
    return np.asarray(found, float)


def _check_widths(path: Path, form: str, meta: list[np.ndarray], data: list[np.ndarray]) -> None:
    widths = [each.shape[1] for each in data]
    expected = widths[0] + (form == "hist")
    if {*widths} != {widths[0]} or any(len(each) != expected for each in meta):
        raise CatalogError(
            f"{path}: has {widths[0]:,} numbers for each source, which do not fit "
            f"{', '.join((*FORMS[form][0], *FORMS[form][1][1:]))}. Write the file again with qp."
        )


def _ids(path: Path, tables: Tables, name: str, n: int) -> np.ndarray:
    ancil = tables.get("ancil", {})
    usual = [each for each in ancil if each.lower() in USUAL_NAMES["source_id"]]
    chosen = name or ("source_id" if "source_id" in ancil else usual[0] if usual else "")
    if chosen not in ancil:
        there = f" It has {', '.join(ancil)}." if ancil else ""
        raise CatalogError(
            f"{path}: its table 'ancil' has no column of ids '{chosen or 'source_id'}', by which "
            f"sources are joined.{there} Add it with qp's add_to_ancil, or name another."
        )
    values = ancil[chosen]
    if values.ndim != 1 or len(values) != n:
        raise CatalogError(
            f"{path}, ancil: '{chosen}' has the shape {values.shape}; expected an id for each of "
            f"its {n:,} sources. Write the file again with qp."
        )
    ids = exact_ids(pa.array(values.tolist()), chosen, path)
    if ids.null_count:
        raise CatalogError(f"{path}, ancil: '{chosen}' has rows without an id. Remove them.")
    return np.asarray(ids.to_numpy(zero_copy_only=False))


def _quantiles(
    form: str, meta: list[np.ndarray], data: list[np.ndarray], names: np.ndarray
) -> np.ndarray:
    match form:
        case "interp":
            return of_densities(meta[0], data[0], names)
        case "interp_irregular":
            return of_densities(data[0], data[1], names)
        case "hist":
            return of_histogram(meta[0], data[0], names)
        case "quant":
            return of_quantiles(meta[0], data[0], names)
        case "mixmod":
            return of_mixtures(data[0], data[1], data[2], names)
    return of_mixtures(np.ones(data[0].shape), data[0], data[1], names)
