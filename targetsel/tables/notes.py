"""What is said about the columns of a table, carried to where other programs would lose it.

Arrow keeps units, descriptions and provenance as metadata of a schema. Formats and programs that
have no place for these keep them packed, as one text in ASCII.
"""

from __future__ import annotations

import base64
import zlib

import pyarrow as pa

SCHEMA = "targetsel_schema"  # name of the packed schema in VOTable, ECSV and HATS properties


def packed_schema(schema: pa.Schema) -> str:
    """The types and metadata of all columns and of the whole; `unpacked_schema` undoes it."""
    return base64.b64encode(zlib.compress(schema.serialize().to_pybytes(), 9)).decode("ascii")


def unpacked_schema(text: str) -> pa.Schema:
    """The schema of `packed_schema`."""
    return pa.ipc.read_schema(pa.py_buffer(zlib.decompress(base64.b64decode(text))))


def with_notes(schema: pa.Schema, told: pa.Schema) -> pa.Schema:
    """The columns of a schema, with the metadata of another one's columns of the same names."""
    fields = [
        each.with_metadata(told.field(each.name).metadata) if each.name in told.names else each
        for each in schema
    ]
    return pa.schema(fields, schema.metadata)
