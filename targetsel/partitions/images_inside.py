"""Images inside the partitions of a HATS catalog, which are scored without a cutout store.

The pixels of one partition at a time are put into a scratch file, where temporary files go
(TMPDIR): they are then found by id, in whatever order the rows of the partition are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from targetsel.imaging.nested_images import NestedImages
from targetsel.imaging.packing import of_needed
from targetsel.imaging.scratch_cutouts import ScratchCutouts
from targetsel.imaging.store import FLOAT, Layout
from targetsel.partitions.remote_parts import RemoteHats, files_of_rows
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.tables.hats import HatsCatalog


@dataclass(frozen=True)
class ImagesInside:
    """The images in the column `image` of a HATS catalog.

    Attributes
    ----------
    images : NestedImages
    sha256 : str
        Changes with the catalog's files and with what is read of their images.
    """

    images: NestedImages
    sha256: str
    simulated = False

    @classmethod
    def open(
        cls,
        catalog: HatsCatalog,
        whole: CatalogFile,
        columns: Mapping[str, str | None],
        zeropoint: float | None = None,
    ) -> Self:
        """The images of a catalog; bands, pixel scale and size are those of the first one.

        Raises
        ------
        CatalogError, CutoutError
            As `NestedImages.open`.
        """
        if isinstance(catalog, RemoteHats):
            parts = files_of_rows(catalog, whole)
            images = NestedImages.of(catalog.root, whole.schema, parts, zeropoint=zeropoint)
        else:
            images = NestedImages.open(catalog.root, zeropoint=zeropoint, columns=columns)
        return cls._of(images, catalog)

    @classmethod
    def told(cls, settings: Mapping[str, Any], catalog: HatsCatalog) -> Self:
        """The images as `settings` tells of them."""
        known = {**settings, "bands": tuple(settings["bands"])}
        return cls._of(NestedImages(catalog.root, **known), catalog)

    @classmethod
    def _of(cls, images: NestedImages, catalog: HatsCatalog) -> Self:
        said = {"catalog": catalog.fingerprint, "images": _settings(images)}
        return cls(images, hashlib.sha256(json.dumps(said).encode()).hexdigest())

    @property
    def settings(self) -> dict[str, Any]:
        """What `told` takes, as JSON keeps it."""
        return _settings(self.images)

    @property
    def path(self) -> Path:
        return self.images.path

    @property
    def layout(self) -> Layout:
        images = self.images
        return Layout(
            bands=images.bands,
            pixel_scale=images.pixel_scale,
            height=images.size,
            width=images.size,
            encoding=FLOAT,
            sky_sigma=(1.0,) * len(images.bands),  # on which float32 pixels do not depend
        )

    @contextlib.contextmanager
    def unpacked(
        self,
        file: CatalogFile,
        needed: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> Iterator[ScratchCutouts]:
        """The cutouts of one partition, or of its needed sources, within the block.

        Parameters
        ----------
        file : CatalogFile
            The partition.
        needed : function, optional
            Gives the ids of the partition, and whether the cutout of each is needed; by default
            all are. Arrays of shape (N,).

        Raises
        ------
        CutoutError
            If an image cannot be used.
        """
        images = replace(self.images, path=Path(file.path))
        pieces: Iterable[Catalog] = file.batches(images.rows_per_piece)
        if needed is not None:
            pieces = of_needed(pieces, *needed())
        with tempfile.TemporaryDirectory(prefix="targetsel-") as folder:
            found = map(images.cutouts_of, pieces)
            yield ScratchCutouts(Path(folder) / "pixels", found, self.layout, self.path)


def _settings(images: NestedImages) -> dict[str, Any]:
    return {
        "bands": list(images.bands),
        "pixel_scale": images.pixel_scale,
        "size": images.size,
        "worth": images.worth,
        "check_scale": images.check_scale,
    }
