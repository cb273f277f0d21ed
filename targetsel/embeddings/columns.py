"""Columns of the files of embeddings that are written here, and the file of one ensemble's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from targetsel.tables.columns import ID, NEVER, Column, list_column, schema_of

VECTOR, STATUS = "embedding", "status"
COLUMNS = (
    Column("source_id", ID, "", "meta.id;meta.main", "id in the catalog", NEVER),
    Column(
        VECTOR,
        pa.list_(pa.float32()),
        meaning="features of all networks of the ensemble, one network behind the other",
        null_when="the status is not ok",
    ),
    Column(
        STATUS, pa.string(), "", "meta.code.status", "ok, or why there are no features", NEVER
    ),
)  # fmt: skip


def schema_of_vectors(length: int, ids: pa.DataType) -> pa.Schema:
    """The columns of a file of vectors of this length."""
    kinds = {"source_id": ids, VECTOR: pa.list_(pa.float32(), length)}
    fields = schema_of(COLUMNS)
    return pa.schema([each.with_type(kinds.get(each.name, each.type)) for each in fields])


def rows_of_vectors(
    ids: pa.Array, vectors: np.ndarray, status: np.ndarray, schema: pa.Schema
) -> pa.Table:
    """Rows of such a file from vectors (N, E), which are null where the status is not "ok"."""
    good = status == "ok"
    lists = list_column(vectors, schema.field(VECTOR).type)
    whole = pa.FixedSizeListArray.from_arrays(
        lists.flatten(), type=lists.type, mask=pa.array(~good)
    )
    return pa.table([ids, whole, pa.array(status, pa.string())], schema=schema)
