"""Tables of ours in FITS, VOTable and ECSV, brought back to what they were in Parquet.

Beside the provenance that `writing` puts into such a file stands the Arrow schema of the table.
"""

from __future__ import annotations

import json

import pyarrow as pa

from targetsel.tables.notes import unpacked_schema
from targetsel.tables.types import is_number

FOOTER = b"targetsel"  # entry of a schema's metadata, as in Parquet


def with_provenance(table: pa.Table, told: object, packed: object) -> pa.Table:
    """The table with the provenance of its file, and the types and notes of its packed schema.

    Where nothing of ours is told, or it is damaged, the table stays as it is.
    """
    try:
        footer = json.loads(told) if isinstance(told, str) else None
        if not isinstance(footer, dict):
            return table
        schema = unpacked_schema(packed) if isinstance(packed, str) else table.schema
    except Exception:  # whatever unpacking a damaged text raises
        return table
    arrays, fields = [], []
    for field in table.schema:
        place = schema.get_field_index(field.name)
        wanted = schema.field(place) if place >= 0 else field
        values = _as_type(_without_nan(table[field.name]), wanted.type)
        arrays.append(values)
        notes = {**(field.metadata or {}), **(wanted.metadata or {})}
        fields.append(pa.field(field.name, values.type, metadata=notes or None))
    entries = {FOOTER: json.dumps(footer, sort_keys=True).encode()}
    return pa.table(arrays, schema=pa.schema(fields, entries))


def _without_nan(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers with null for NaN, which ECSV has in its place, also in lists of equal length."""
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type):
        pieces = []
        for each in values.chunks:
            if each.null_count:
                return values
            flat = _without_nan(pa.chunked_array([each.flatten()])).combine_chunks()
            pieces.append(pa.FixedSizeListArray.from_arrays(flat, type=kind))
        return pa.chunked_array(pieces, kind)
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
    return values


def _as_type(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The column in the type that it had; as it is where that is not possible."""
    if values.type == kind:
        return values
    try:
        if pa.types.is_fixed_size_list(kind) and is_number(values.type) and kind.list_size == 1:
            flat = values.combine_chunks().cast(kind.value_type)
            return pa.chunked_array([pa.FixedSizeListArray.from_arrays(flat, type=kind)])
        return values.cast(kind)
    except (pa.ArrowException, ValueError, TypeError):
        return values
