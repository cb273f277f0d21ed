"""Files of redshifts by hand, in the layout that qp writes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import norm

GRID = np.linspace(0, 1, 401)


def interp(ids, means, spread=0.02):
    """The tables of qp's form `interp`."""
    density = norm.pdf(GRID, np.asarray(means)[:, None], spread)
    return {
        "meta": {"pdf_name": np.array([b"interp"]), "pdf_version": np.array([0]),
                 "xvals": GRID[None]},
        "data": {"yvals": density},
        "ancil": {"source_id": np.asarray(ids), "zmode": np.asarray(means)},
    }  # fmt: skip


def write_hdf5(path, tables):
    import h5py

    with h5py.File(path, "w") as file:
        for name, columns in tables.items():
            file.create_group(name)
            for key, values in columns.items():
                stored = values.astype("S") if values.dtype.kind in "OU" else values
                file.create_dataset(f"{name}/{key}", data=stored)
    return path


def write_parquet(path, tables):
    for name, columns in tables.items():
        table = pa.table({k: pa.array(v.tolist()) for k, v in columns.items()})
        pq.write_table(table, path.with_name(f"{path.stem}{name}{path.suffix}"))
    return path


WRITERS = {".hdf5": write_hdf5, ".pq": write_parquet}
