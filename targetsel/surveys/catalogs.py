"""Fetching of catalogs from surveys: a part of the sky tile by tile, or one query.

A tile is a HEALPix cell; a request is for the cone around the part of the region inside it. A tile
of too many sources is cut into its four children. Each source lies in one tile alone, and tiles in
order hold sources in the order of `_healpix_29`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cdshealpix.nested
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import targetsel
from targetsel.errors import CatalogError
from targetsel.sky.catalog import HEALPIX, Catalog
from targetsel.sky.footprint import Footprint
from targetsel.sky.positions import DEEPEST, Region, unit_vectors
from targetsel.surveys.archives import Cone, ConeSearch, QueryService, TooMany
from targetsel.surveys.fetching import (
    OK,
    Fetched,
    FetchFolder,
    FetchSummary,
    Reply,
    bytes_of_table,
    table_of_bytes,
)
from targetsel.surveys.http import Answer, Unanswered
from targetsel.tables.files import check_table_output
from targetsel.tables.parquet import ParquetSink, write_table

ROLES = {"source_id": "source_id", "ra": "ra", "dec": "dec"}
SPLIT = "too many sources, cut into four"
DEEPEST_TILE = 16  # HEALPix order, cells of 3 arcsec
_CELLS = 400  # that stand for the part of a region in a tile


@dataclass(frozen=True)
class SkyTile:
    """A HEALPix cell, nested."""

    order: int
    pixel: int

    @property
    def name(self) -> str:
        return f"{self.order}-{self.pixel}"

    @property
    def pixels(self) -> tuple[int, int]:
        """First pixel of order 29, and one past the last."""
        size = 4 ** (DEEPEST - self.order)
        return self.pixel * size, (self.pixel + 1) * size

    def children(self) -> list[SkyTile]:
        return [SkyTile(self.order + 1, 4 * self.pixel + k) for k in range(4)]

    def holds(self, healpix: np.ndarray) -> np.ndarray:
        """Whether pixels of order 29 lie in the cell, shape (N,)."""
        first, end = self.pixels
        return (first <= healpix) & (healpix < end)


def fetch_region(
    catalog: ConeSearch,
    footprint: Footprint,
    output: Path,
) -> FetchSummary:
    """Write a survey's sources in a part of the sky to a Parquet catalog, sorted by `_healpix_29`.

    Tiles that came are kept in `<output>.fetched` until the catalog is whole; the same call
    resumes there.

    Raises
    ------
    CatalogError
        If the footprint is empty or holds no sources, or a tile got no good answer.
    OutputError
        If `output` cannot be written, or was begun with another question.
    """
    check_table_output(output)
    region = footprint.region()
    if not len(region.ranges):
        raise CatalogError("the footprint is empty; expected a part of the sky.")
    question = {"archive": catalog.name, "url": catalog.url, "region": _words(footprint, region)}
    with FetchFolder.open(output, question, _key, CatalogError) as fetched:
        tiles = list(tiles_of(region, catalog.largest_cone))
        waiting = tiles
        while waiting:
            fetched.fetch_missing(
                lambda: waiting,  # noqa: B023
                lambda some: [_ask(catalog, footprint, region, tile) for tile in some],
                unit="tiles of the sky",
            )
            _check_whole(output, catalog, fetched, waiting)
            waiting = [
                child
                for tile in waiting
                if fetched.statuses(tile) == [SPLIT]
                for child in tile.children()
            ]
        summary = _write(output, catalog, question, _tables(fetched, tiles))
        fetched.remove()
    return summary


def fetch_query(service: QueryService, query: str, output: Path) -> FetchSummary:
    """Write the answer to a query in ADQL or SQL to a Parquet file.

    Raises
    ------
    CatalogError
        If the service does not answer or understand, or no row is selected.
    OutputError
        If `output` cannot be written.
    """
    check_table_output(output)
    try:
        rows = service.query(query)
    except Unanswered as error:
        raise CatalogError(f"{service.url}: no good answer: {error}. Try again later.") from error
    if not rows.num_rows:
        raise CatalogError(
            f"{service.url}: the answer has no rows; nothing was written. Ask for more of the sky, "
            "or with fewer conditions."
        )
    footer = {"archive": service.name, "url": service.url, "question": query}
    write_table(rows, output, footer | {"code_version": targetsel.__version__})
    return FetchSummary(rows.num_rows)


def _key(tile: SkyTile) -> str:
    return tile.name


def _words(footprint: Footprint, region: Region) -> str:
    """The footprint in words: a cone by its numbers, any other by the hash of its pixels."""
    included, excluded = footprint.canonical
    if len(included) == 1 and not excluded and included[0][0] == "cone":
        return f"cone {','.join(map(repr, included[0][1]))}"
    return f"MOC sha256 {region.sha256}"


def _ask(catalog: ConeSearch, footprint: Footprint, region: Region, tile: SkyTile) -> Fetched:
    """The sources of a tile, or the note that it has to be cut into four."""
    cone = cone_around(region, tile)
    if cone is None:
        return Fetched([Reply(OK)])
    try:
        rows = catalog.cone(cone)
    except TooMany:
        if tile.order < DEEPEST_TILE:
            return Fetched([Reply(SPLIT)])
        place = f"{cone.radius * 3600:.0f} arcsec of {cone.ra:.6f}, {cone.dec:.6f}"
        raise Unanswered(f"too many sources within {place}", catalog.url) from None
    table = _sources_inside(Catalog(rows, ROLES), footprint, region, tile)
    return Fetched([Reply(OK, None, Answer(catalog.url))], bytes_of_table(table))


def _sources_inside(
    found: Catalog, footprint: Footprint, region: Region, tile: SkyTile
) -> pa.Table:
    """The sources inside footprint and tile, sorted; metadata "dropped" counts rows left out."""
    known = np.isfinite(found.ra) & (np.abs(found.dec) <= 90)
    known &= ~pc.is_null(found.table["source_id"]).to_numpy()
    placed = found.take(known)
    near = tile.holds(placed.healpix) & region.found(placed.healpix)
    inside = footprint.select(placed.take(near))
    table = inside.table.append_column(HEALPIX, pa.array(inside.healpix))
    table = table.sort_by([(HEALPIX.name, "ascending"), ("source_id", "ascending")])
    _, first = np.unique(table["source_id"].to_numpy(), return_index=True)
    kept = table.take(pa.array(np.sort(first)))
    dropped = {
        "no id or no place on the sky": int((~known).sum()),
        "the same id again": table.num_rows - kept.num_rows,
    }
    return kept.replace_schema_metadata({"dropped": json.dumps(dropped)})


def _check_whole(
    output: Path, catalog: ConeSearch, fetched: FetchFolder[SkyTile], tiles: list[SkyTile]
) -> None:
    failed = [tile for tile in tiles if not fetched.is_finished(tile)]
    if failed:
        (reason,) = fetched.statuses(failed[0]) or ["not asked"]
        raise CatalogError(
            f"{output}: {len(failed)} of {len(tiles)} parts of the sky got no good answer from "
            f"{catalog.url}; the first, HEALPix cell {failed[0].name}: {reason}. Run the same "
            "command again: what was fetched is kept."
        )


def _tables(fetched: FetchFolder[SkyTile], tiles: Iterable[SkyTile]) -> Iterator[pa.Table]:
    """The tables of the tiles, in the order of the sky."""
    for tile in tiles:
        if fetched.statuses(tile) == [SPLIT]:
            yield from _tables(fetched, tile.children())
        elif content := fetched.content(tile):
            yield table_of_bytes(content)


def _write(
    output: Path, catalog: ConeSearch, question: dict[str, str], tables: Iterator[pa.Table]
) -> FetchSummary:
    """Write one catalog of all tables."""
    n_sources, dropped = 0, Counter[str]()
    with ParquetSink(output, pa.schema([*catalog.columns.schema, HEALPIX])) as sink:
        for table in tables:
            n_sources += table.num_rows
            dropped.update(json.loads(table.schema.metadata[b"dropped"]))
            sink.write(table)
        if not n_sources:
            raise CatalogError(
                f"{catalog.url}: has no sources in {question['region']}; nothing was written. Ask "
                "for more of the sky."
            )
        sink.footer.update(question, code_version=targetsel.__version__, columns=ROLES)
    return FetchSummary(
        n_sources, dropped={reason: n for reason, n in sorted(dropped.items()) if n}
    )


def tiles_of(region: Region, largest: float) -> Iterator[SkyTile]:
    """Tiles that cover a region by cones of at most `largest` [deg], in order."""
    waiting = [SkyTile(0, pixel) for pixel in reversed(range(12))]
    while waiting:
        tile = waiting.pop()
        cone = cone_around(region, tile)
        if cone is None:
            continue
        if cone.radius <= largest:
            yield tile
        else:
            waiting += reversed(tile.children())


def cone_around(region: Region, tile: SkyTile) -> Cone | None:
    """A cone around the part of a region in a tile, or None where there is none.

    The cone is generous by some 5 % of its size.
    """
    start, end = tile.pixels
    first = np.searchsorted(region.ranges[:, 1], start, side="right")
    last = np.searchsorted(region.ranges[:, 0], end, side="left")
    ranges = np.clip(region.ranges[first:last], start, end)
    if not len(ranges):
        return None
    size = float((ranges[:, 1] - ranges[:, 0]).sum())
    order = int(np.clip(DEEPEST - np.log2(size / _CELLS) / 2, 0, DEEPEST))
    shift = 2 * (DEEPEST - order)
    cells = np.concatenate([np.arange(a >> shift, ((b - 1) >> shift) + 1) for a, b in ranges])
    lon, lat = cdshealpix.nested.vertices(np.unique(cells), order, num_threads=1)
    corners = unit_vectors(lon.deg.ravel(), lat.deg.ravel())
    axis = corners.mean(axis=0)
    axis /= np.linalg.norm(axis)
    cosine = np.clip(corners @ axis, -1, 1).min()
    # Edges between corners bulge outwards by far less than a tenth of a cell.
    margin = 0.1 * np.sqrt(4 * np.pi / 12) / 2**order
    radius = np.degrees(min(np.arccos(cosine) + margin, np.pi))
    ra = np.degrees(np.arctan2(axis[1], axis[0])) % 360
    return Cone(float(ra), float(np.degrees(np.arcsin(axis[2]))), float(radius))
