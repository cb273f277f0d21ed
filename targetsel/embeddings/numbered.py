"""Vectors in columns of one number each, such as `feat_0`, `feat_1`, ..., which CSV holds, too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from targetsel.tables.types import is_number

FEWEST = 8  # columns; of fewer, such as mag_1 and mag_2, it is not known that they are a vector
_NUMBERED = re.compile(r"(.*?)[ _.-]?(\d+)")


def numbered_columns(schema: pa.Schema) -> Mapping[str, tuple[str, ...]]:
    """The columns of numbers that are called alike and numbered from 0 or 1 without a gap.

    Returns
    -------
    mapping of str to tuple of str
        By what stands before the number, such as "feat": the columns in the order of numbers.
    """
    found: dict[str, dict[int, str]] = {}
    for field in schema:
        if (parts := _NUMBERED.fullmatch(field.name)) and parts[1] and is_number(field.type):
            found.setdefault(parts[1], {})[int(parts[2])] = field.name
    return {
        name: tuple(columns[k] for k in sorted(columns))
        for name, columns in found.items()
        if len(columns) >= FEWEST
        and min(columns) in (0, 1)
        and max(columns) - min(columns) == len(columns) - 1
        and name not in schema.names
    }


def field_of(name: str, schema: pa.Schema, columns: Sequence[str]) -> pa.Field:
    """The column of lists that some columns stand for."""
    kinds = [schema.field(each).type for each in columns]
    single = all(pa.types.is_float16(each) or pa.types.is_float32(each) for each in kinds)
    return pa.field(name, pa.list_(pa.float32() if single else pa.float64(), len(columns)))


def as_lists(table: pa.Table, columns: Sequence[str], kind: pa.DataType) -> pa.Array:
    """The rows of some columns as lists of type `kind`; NaN where a number is missing."""
    numbers = [table[each].cast(pa.float64()).to_numpy() for each in columns]
    values = np.stack(numbers, axis=1).astype(kind.value_type.to_pandas_dtype())
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=kind)
