"""Fetching of cutouts from a survey into a cutout store."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from targetsel.errors import CutoutError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.orientation import Orientation, common
from targetsel.imaging.packing import Piece, Positions, check_replaceable, write_store
from targetsel.imaging.partitioned_packing import write_partitions
from targetsel.surveys.fetching import (
    Fetched,
    FetchFolder,
    FetchSummary,
    Reply,
    batches_of,
    manifest_of,
)
from targetsel.tables.files import check_output
from targetsel.tables.hats_pixels import Pixel
from targetsel.tables.ids import uniform

SOURCES_PER_PIECE = 64
SKY_SOURCES = 256

Batches = Callable[[], Iterable[Positions]]


class ImageService(Protocol):
    """A source of cutouts; threads may share one."""

    @property
    def bands(self) -> tuple[str, ...]: ...

    @property
    def pixel_scale(self) -> float:
        """[arcsec]"""
        ...

    @property
    def size(self) -> int:
        """Width and height of a cutout [pixel]."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """All that the pixels depend on, apart from the source; plain values for JSON."""
        ...

    def fetch(self, ra: float, dec: float) -> list[Reply]:
        """One reply for each band, in order, with the pixels around (ra, dec) [deg, ICRS].

        Their value is a float32 array of shape (H, W) [nanomaggy], NaN where there is no data.

        Raises
        ------
        Unanswered
            If there is no good answer about any band.
        """
        ...


@dataclass(frozen=True)
class SourcePosition:
    """One row of a catalog; ra and dec in deg, ICRS."""

    source_id: int | str
    ra: float
    dec: float

    def key(self) -> str:
        """A text of id and position, so that a source that has moved counts as another one."""
        return f"{self.source_id}:{self.ra!r},{self.dec!r}"


def fetch_cutouts(
    service: ImageService,
    batches: Batches,
    store: Path,
    partitions: Iterable[tuple[Pixel, Batches]] | None = None,
) -> FetchSummary:
    """Fetch the cutouts that are still missing, then write the store and its manifest.

    The manifest, `<store>.manifest.parquet`, has a row for each source and band; `fetching` tells
    what is kept for another run.

    Parameters
    ----------
    service : ImageService
    batches : callable
        Gives the catalog, in pieces, each time it is called.
    store : Path
        Cutout store to write, a folder.
    partitions : iterable of (Pixel, callable), optional
        The pixels of a HATS catalog in the order of the sky, and what gives the part of the catalog
        in each; the store is partitioned so.

    Raises
    ------
    CutoutError
        If the service does not answer any more, or no source has a cutout.
    OutputError
        If something else is where the store or the manifest goes, another run is at work, or
        what is there was fetched with other settings.
    """
    check_replaceable(store)
    check_output(manifest_of(store))

    def ask(some: Sequence[SourcePosition]) -> list[Fetched]:
        return [_ask(service, source) for source in some]

    with FetchFolder.open(store, service.settings(), SourcePosition.key, CutoutError) as fetched:
        known = fetched.fetch_missing(lambda: _sources(batches), ask, what="fetching cutouts")
        statuses, unfinished = fetched.write_manifest(
            manifest_of(store), map(_rows, batches()), _id_type(batches), service.bands
        )
        sigma = _sky_sigma(service, batches, fetched)
        if partitions is None:
            written = write_store(store, _pieces(service, batches, fetched), sigma)
        else:
            parts = ((each, _pieces(service, some, fetched)) for each, some in partitions)
            written = write_partitions(store, parts, sigma)
    return FetchSummary(written, known, statuses, unfinished)


def _ask(service: ImageService, source: SourcePosition) -> Fetched:
    """Replies of all bands; their pixels (B, H, W), NaN for a band without data, and how they lie.

    The content is that array, then the position angle and the parity, each float32.
    """
    replies = service.fetch(source.ra, source.dec)
    if all(reply.value is None for reply in replies):
        return Fetched(replies)
    blank = np.full((service.size, service.size), np.nan)
    planes = [blank if reply.value is None else reply.value for reply in replies]
    lie = common(reply.lie for reply in replies)
    return Fetched(replies, np.append(np.stack(planes), lie).astype("<f4").tobytes())


def _rows(batch: Positions) -> list[SourcePosition]:
    columns = batch.source_id.tolist(), batch.ra.tolist(), batch.dec.tolist()
    return [SourcePosition(*row) for row in zip(*columns, strict=True)]


def _sources(batches: Batches) -> Iterator[SourcePosition]:
    return itertools.chain.from_iterable(map(_rows, batches()))


def _id_type(batches: Batches) -> pa.DataType:
    first = next(iter(batches()))
    return pa.int64() if first.source_id.dtype.kind in "iu" else pa.string()


def _cutouts(
    service: ImageService,
    fetched: FetchFolder[SourcePosition],
    sources: Sequence[SourcePosition],
) -> Cutouts:
    """The cutouts of some sources; not present where none has come."""
    shape = len(service.bands), service.size, service.size
    flux = np.full((len(sources), *shape), np.nan, np.float32)
    present = np.zeros(len(sources), dtype=bool)
    lie = np.full((2, len(sources)), np.nan, np.float32)
    for row, source in enumerate(sources):
        if content := fetched.content(source):
            numbers = np.frombuffer(content, "<f4")
            flux[row], present[row] = numbers[:-2].reshape(shape), True
            lie[:, row] = numbers[-2:]
    ids = [source.source_id for source in sources]
    source_id = np.array(ids, dtype=np.int64 if isinstance(ids[0], int) else object)
    return Cutouts(
        source_id, flux, service.bands, service.pixel_scale, present, None, Orientation(*lie)
    )


def _pieces(
    service: ImageService, batches: Batches, fetched: FetchFolder[SourcePosition]
) -> Iterator[Piece]:
    """The cutouts of all finished sources, for `write_store`."""
    for some in batches_of(_sources(batches), SOURCES_PER_PIECE):
        ra, dec = np.array([(source.ra, source.dec) for source in some]).T
        yield _cutouts(service, fetched, some), ra, dec


def _sky_sigma(
    service: ImageService, batches: Batches, fetched: FetchFolder[SourcePosition]
) -> np.ndarray:
    """Standard deviation of the sky [nanomaggy/pixel], shape (B,).

    From sources that a hash of their ids chooses, so that their order does not matter.
    """

    def has_pixels(source: SourcePosition) -> bool:
        record = fetched.record(source)
        return record is not None and record["length"] > 0

    def chance(source: SourcePosition) -> float:
        return float(uniform(np.array([source.source_id]), 0, "sky sigma")[0, 0])

    chosen = heapq.nsmallest(SKY_SOURCES, filter(has_pixels, _sources(batches)), key=chance)
    if not chosen:
        raise CutoutError(
            f"{fetched.folder}: no source has a cutout. See the manifest beside it, which "
            "says why, source by source."
        )
    return _cutouts(service, fetched, chosen).sky_sigma()
