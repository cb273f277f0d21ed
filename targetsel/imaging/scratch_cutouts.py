"""Cutouts in a scratch file, for images that are read once in their order, and then by id.

Pixels are plain float32, so that nothing is lost and no time goes into their compression.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.store import Layout
from targetsel.tables.files import disk_errors
from targetsel.tables.ids import IdIndex, keys_of

ROWS_HASHED = 64  # at a time


class ScratchCutouts:
    """Cutouts in a scratch file, which it writes; they are read as those of a cutout store.

    Parameters
    ----------
    path : Path
        The scratch file to write. Whoever asks for it removes it.
    pieces : iterable of Cutouts
        Of different sources; those that are not present are left out.
    layout : Layout
        What they are.
    place : Path
        Where they come from.

    Attributes
    ----------
    path : Path
        Where they come from.
    layout : Layout
    sha256 : str
        Fingerprint of ids, pixels and layout; the same for any order of the sources.
    simulated : bool
        False, as nothing marks them so.

    Raises
    ------
    OutputError
        If the disk is full.
    """

    simulated = False

    def __init__(self, path: Path, pieces: Iterable[Cutouts], layout: Layout, place: Path) -> None:
        self.path, self.layout = place, layout
        found = []
        with disk_errors(path), open(path, "wb") as out:
            for piece in pieces:
                kept = piece.take(piece.present)
                out.write(np.ascontiguousarray(kept.flux, dtype=np.float32).data)
                found.append(kept.source_id)
        ids = np.concatenate(found) if found else np.empty(0, dtype=object)
        self._id, self._index = ids, IdIndex(ids)
        by_id = np.argsort(ids, kind="stable")
        self._order = by_id[np.argsort(keys_of(ids[by_id]), kind="stable")]
        shape = (len(ids), *layout.shape)
        empty = np.empty(shape, np.float32)
        self._flux = np.memmap(path, np.float32, "r", shape=shape) if len(ids) else empty
        self.sha256 = self._fingerprint()

    def __len__(self) -> int:
        return len(self._id)

    def source_ids(self, first: int | None = None) -> np.ndarray:
        """The ids of all sources, or of some, shape (N,)."""
        return self._id[self._order[:first]]

    def has(self, source_ids: np.ndarray) -> np.ndarray:
        """Whether there is a cutout of each source, boolean, shape (N,)."""
        return self._index.rows(source_ids) >= 0

    def read(self, source_ids: np.ndarray) -> Cutouts:
        """The cutouts of these sources, in this order; all NaN and not present without one."""
        rows = self._index.rows(source_ids)
        present = rows >= 0
        flux = np.full((len(rows), *self.layout.shape), np.nan, np.float32)
        flux[present] = self._flux[rows[present]]
        return Cutouts(
            np.asarray(source_ids), flux, self.layout.bands, self.layout.pixel_scale, present
        )

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self.layout.model_dump_json().encode())
        for start in range(0, len(self), ROWS_HASHED):
            rows = self._order[start : start + ROWS_HASHED]
            digest.update(json.dumps(self._id[rows].tolist()).encode())
            digest.update(self._flux[rows].tobytes())
        return digest.hexdigest()
