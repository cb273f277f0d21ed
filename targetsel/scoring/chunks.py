"""Chunks of a catalog on their way through the networks: in pieces, put together once scored.

However many sources of a chunk are needed, a piece holds so few that its cutouts take little
memory. Several threads may score the pieces of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import numpy as np
import pyarrow as pa

from targetsel.scored.columns import NOT_NEEDED, STATUS
from targetsel.sky.catalog import Catalog
from targetsel.spectra.copula import GROUP


class NeededRows(Protocol):
    """The sources that rules need, and why where they need all (see `selection.needed`)."""

    @property
    def reason(self) -> str: ...
    def rows(self, catalog: pa.Table) -> np.ndarray: ...


@dataclass(frozen=True)
class Piece:
    """Some sources of a chunk.

    Attributes
    ----------
    chunk : Chunk
    place : int
        Place among the chunk's pieces.
    sources : Catalog
    """

    chunk: Chunk
    place: int
    sources: Catalog


class Chunk:
    """The rows of a catalog that are scored together, and their scored pieces.

    Parameters
    ----------
    number : int
        Number of the chunk.
    rows : Catalog
    needed : NeededRows, optional
        The sources that are scored; by default all.
    """

    def __init__(self, number: int, rows: Catalog, needed: NeededRows | None = None) -> None:
        self.number, self._rows = number, rows
        self._mask = None if needed is None else needed.rows(rows.table)
        self._scored: dict[int, pa.Table] = {}
        self._n_pieces = 0
        self._lock = Lock()

    def pieces(self, most: int) -> Iterator[Piece]:
        """The needed sources in pieces of at most `most`; at least one piece."""
        needed = self._part(True)
        starts = range(0, max(needed.num_rows, 1), most)
        self._n_pieces = len(starts)
        for place, start in enumerate(starts):
            yield Piece(self, place, Catalog(needed.slice(start, most), self._rows.columns))

    def with_scored(self, place: int, rows: pa.Table) -> pa.Table | None:
        """All rows of the chunk in its order once the last piece is there; None before.

        Sources that are not needed have no predictions.
        """
        with self._lock:
            self._scored[place] = rows
            if len(self._scored) < self._n_pieces:
                return None
        pieces = [self._scored[k] for k in range(self._n_pieces)]
        if self._mask is None:
            return pa.concat_tables(pieces)
        pieces.append(rows_not_needed(self._part(False), rows.schema))
        order = np.concatenate([np.flatnonzero(self._mask), np.flatnonzero(~self._mask)])
        return pa.concat_tables(pieces).combine_chunks().take(pa.array(np.argsort(order)))

    def _part(self, needed: bool) -> pa.Table:
        """The rows that are needed, or the others."""
        if self._mask is None:
            return self._rows.table
        return self._rows.table.filter(pa.array(self._mask == needed))


def rows_not_needed(sources: pa.Table, schema: pa.Schema) -> pa.Table:
    """The scored rows of sources of which no prediction is needed."""
    said = {STATUS: NOT_NEEDED, GROUP: -1}
    arrays = [
        sources[field.name]
        if field.name in sources.column_names
        else pa.repeat(pa.scalar(said.get(field.name), field.type), sources.num_rows)
        if field.name in said
        else pa.nulls(sources.num_rows, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)
