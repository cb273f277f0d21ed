"""Cutouts of one part of the sky at a time, so that no process keeps the ids of all sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.imaging.store import CutoutStore, Layout, fingerprint, listed_parts
from targetsel.imaging.store_listing import ListedFile, StoreListing, is_listed
from targetsel.tables.hats_pixels import Pixel


@dataclass(frozen=True)
class PartitionedStore:
    """A cutout store, of which only the files of one partition are open at a time.

    Of a store that is not partitioned, every partition gets the whole.

    Attributes
    ----------
    path : Path
    layout : Layout
    sha256 : str
        Fingerprint of the whole content; see `CutoutStore`.
    simulated : bool
    """

    path: Path
    layout: Layout
    sha256: str
    simulated: bool
    _files: StoreListing | CutoutStore

    @classmethod
    def open(cls, path: Path) -> PartitionedStore:
        """The store at `path`; of one that is partitioned, the listing and one footer are read.

        Raises
        ------
        CutoutError
            If it is missing, damaged, incomplete or no cutout store.
        """
        path = Path(path)
        if not path.is_dir() or not is_listed(path):
            store = CutoutStore.open(path)
            return cls(path, store.layout, store.sha256, store.simulated, store)
        listing = StoreListing.read(path)
        (first,) = listed_parts(path, listing.files[:1])
        layout = first.entry.layout
        sha256 = fingerprint(layout, [each.sha256 for each in listing.files])
        return cls(path, layout, sha256, listing.simulated, listing)

    def of(self, pixel: Pixel) -> CutoutStore:
        """The cutouts of the sources in a pixel, and maybe of others; none where no file has any.

        It bears the fingerprint of the whole, as all that is made from it shall name one store.

        Raises
        ------
        CutoutError
            If a file of that part of the sky is missing, damaged or not the one that was listed.
        """
        if isinstance(self._files, CutoutStore):
            return self._files
        return self._store(self._files.within(pixel))

    def around(self, healpix: np.ndarray) -> CutoutStore:
        """As `of`, for sources in these cells of order 29, int64, shape (N,)."""
        if isinstance(self._files, CutoutStore):
            return self._files
        return self._store(self._files.holding(healpix))

    def _store(self, files: Sequence[ListedFile]) -> CutoutStore:
        store = CutoutStore(self.path, listed_parts(self.path, files), self.layout)
        store.sha256, store.simulated = self.sha256, self.simulated
        return store
