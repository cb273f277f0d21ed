"""The listing of a cutout store that is partitioned as its catalog.

Such a store has a file for each partition of a HATS catalog that has cutouts, at the same place in
its folder, and `store.json` beside them, written last, which lists the files. Each of them is a
cutout store by itself. So nobody opens all files to know what the store is, and whoever needs the
cutouts of one part of the sky opens the files of that part alone::

    cutouts/store.json                          the listing
    cutouts/dataset/Norder=2/Dir=0/Npix=33.parquet
    cutouts/packing.json                        what is packed, for a run that goes on with it
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from targetsel.documents.models import DocumentModel
from targetsel.errors import CutoutError
from targetsel.tables.files import written_beside
from targetsel.tables.hats_pixels import DEEPEST, Pixel
from targetsel.tables.reading import reading

LISTING, SETTINGS = "store.json", "packing.json"


class ListedFile(DocumentModel):
    """One file of a partitioned store.

    Attributes
    ----------
    order, number : int
        HEALPix pixel of the partition, nested.
    rows : int
    sha256 : str
        Hash that the file's own footer says.
    """

    order: Annotated[int, Field(ge=0, le=DEEPEST)]
    number: Annotated[int, Field(ge=0)]
    rows: Annotated[int, Field(ge=1)]
    sha256: str

    @property
    def pixel(self) -> Pixel:
        return Pixel(self.order, self.number)


class StoreListing(DocumentModel):
    """The content of `store.json`: the files of a store in partitions.

    Attributes
    ----------
    simulated : bool
        Whether images of any file are marked as simulated.
    files : tuple of ListedFile
        In the order of the sky.
    """

    version: Literal[1] = 1
    simulated: bool
    files: Annotated[tuple[ListedFile, ...], Field(min_length=1)]

    @classmethod
    def read(cls, folder: Path) -> StoreListing:
        """The listing of a folder.

        Raises
        ------
        CutoutError
            If there is none, as its packing has not ended, or it is damaged.
        """
        path = folder / LISTING
        if not path.is_file():
            raise CutoutError(
                f"{folder}: the packing of this cutout store has not ended (no {LISTING}). Run "
                "the same 'targetsel cutouts pack' again, which goes on with it."
            )
        with reading(path, CutoutError, "a list of files"):
            text = path.read_text(encoding="utf-8")
        try:
            return cls.model_validate_json(text)
        except ValidationError as faults:
            fault = faults.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"]))
            raise CutoutError(
                f"{path}: is damaged, or of another version of targetsel "
                f"({where}{': ' * bool(where)}{fault['msg']}). Pack the cutouts again."
            ) from None

    def write(self, folder: Path) -> None:
        with written_beside(folder / LISTING) as beside:
            beside.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def within(self, pixel: Pixel) -> tuple[ListedFile, ...]:
        """The files that may have sources in a pixel, of whatever order: inside or around it."""
        first, end = pixel.range29
        spans = ((each, each.pixel.range29) for each in self.files)
        return tuple(each for each, (start, stop) in spans if start < end and first < stop)

    def holding(self, healpix: np.ndarray) -> tuple[ListedFile, ...]:
        """The files whose pixels hold some of these cells of order 29, int64, shape (N,)."""
        spans = np.array([each.pixel.range29 for each in self.files])
        place = np.searchsorted(spans[:, 0], healpix, side="right") - 1
        inside = (place >= 0) & (healpix < spans[place, 1])
        return tuple(self.files[k] for k in np.unique(place[inside]))


def is_listed(folder: Path) -> bool:
    """Whether a folder is a partitioned store, or one whose packing has not ended."""
    return any((folder / name).is_file() for name in (LISTING, SETTINGS))
