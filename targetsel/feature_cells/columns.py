"""The columns that tell the cell of each source, and how much is known of that cell."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from targetsel.tables.columns import Column, floats

_WITHOUT = "the source lacks one of the features, and is in no cell"
CELL = Column(
    "cell", pa.int32(), "", "meta.code", "cell of the space of features, counted from 0", _WITHOUT
)
CELL_SOURCES = Column(
    "cell_sources", pa.int64(), "", "meta.number", "sources of the catalog in the cell", _WITHOUT
)
CELL_KNOWN = Column(
    "cell_known", pa.int64(), "", "meta.number",
    "those of them that have a spectrum without a warning already", _WITHOUT,
)  # fmt: skip
COLUMNS = (CELL, CELL_SOURCES, CELL_KNOWN)
FOOTER = "cells"  # the entry of a file's footer that describes the cells


def cell_numbers(sources: pa.Table) -> np.ndarray:
    """The cell of each of N sources, shape (N,); -1 where it is in none.

    Programs that rewrite a catalog may keep them as floats.
    """
    cell = floats(sources.column(CELL.name))
    return np.where(np.isnan(cell), -1, cell).astype(np.int64)
