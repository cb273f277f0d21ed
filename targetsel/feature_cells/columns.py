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
CELL_TARGETS = Column(
    "cell_targets", pa.int64(), "", "meta.number",
    "those of them that are on the target list that was named", _WITHOUT,
)  # fmt: skip
COLUMNS = (CELL, CELL_SOURCES, CELL_KNOWN, CELL_TARGETS)
FOOTER = "cells"  # the entry of a file's footer that describes the cells


def cell_numbers(sources: pa.Table) -> np.ndarray:
    """The cell of each of N sources, shape (N,); -1 where it is in none.

    Programs that rewrite a catalog may keep them as floats.
    """
    cell = floats(sources.column(CELL.name))
    return np.where(np.isnan(cell), -1, cell).astype(np.int64)


def information(sources: np.ndarray, known: np.ndarray, n_sources: int) -> np.ndarray:
    """What one more spectrum of each cell takes from the variance of a mean over cells, shape (N,).

    With n + 1 spectra in a cell (one counts as a prior, so that cells without any do not win by
    being small) its own mean has the variance s^2 / (n + 1), and in the mean over all sources it
    has the weight W, its share of them. A spectrum more takes away W^2 s^2 (1/(n+1) - 1/(n+2));
    here s is 1. To go on where this is largest is Neyman's allocation (1934, JRSS 97, 558), one by
    one.

    Parameters
    ----------
    sources, known : ndarray, shape (N,)
        The columns `CELL_SOURCES` and `CELL_KNOWN`.
    n_sources : int
        Of the whole catalog.
    """
    after = np.maximum(known, 0) + 1
    return (sources / max(n_sources, 1)) ** 2 / (after * (after + 1))


def diminished(known: np.ndarray, before: np.ndarray) -> np.ndarray:
    """`information` of a spectrum after `before` others of its cell, in units of that of the first.

    Parameters
    ----------
    known, before : ndarray, shape (N,)
        Spectra of the cell that are there already, and those that are chosen before this one.
    """
    first, after = np.maximum(known, 0) + 1.0, np.maximum(known, 0) + before + 1.0
    ratio: np.ndarray = first * (first + 1) / (after * (after + 1))
    return ratio
