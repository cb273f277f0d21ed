"""Catalogs from archives: tile by tile, resumable, the same bytes however often it was stopped."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import targetsel
from targetsel.errors import CatalogError
from targetsel.sky.catalog import HEALPIX, Catalog
from targetsel.surveys.archive import Archive, TooMany
from targetsel.surveys.http import AT_ONCE, Unanswered
from targetsel.surveys.region import Region, Tile
from targetsel.tables.files import check_output, held
from targetsel.tables.journal import check_settings
from targetsel.tables.parquet import ParquetSink, read_footer, write_table

FAILURES_IN_A_ROW = 20
ROLES = {"source_id": "source_id", "ra": "ra", "dec": "dec"}
Report = Callable[[str], None]


@dataclass(frozen=True)
class Fetched:
    """How many sources a fetched catalog has, and how many rows were dropped, by reason."""

    n_sources: int
    dropped: dict[str, int] = field(default_factory=dict)


def fetch_region(
    archive: Archive, region: Region, output: Path, report: Report = lambda line: None
) -> Fetched:
    """Write an archive's sources in a region to a Parquet catalog, sorted by `_healpix_29`.

    What has been fetched is kept in `<output>.parts` until the catalog is whole; the same call
    goes on there.

    Raises
    ------
    CatalogError
        If a tile got no good answer.
    OutputError
        If `output` cannot be written, or was begun with another question.
    """
    check_output(output)
    folder = output.with_name(output.name + ".parts")
    question = {"archive": archive.name, "url": archive.url, "region": region.words}
    with held(folder):
        check_settings(folder / "settings.json", question)
        tiles = list(region.tiles(archive.largest_cone))
        report(f"{archive.name}: {len(tiles)} questions")
        failures = _fetch_tiles(archive, region, tiles, folder, report)
        if failures:
            tile, reason = failures[0]
            raise CatalogError(
                f"{output}: {len(failures)} of {len(tiles)} parts of the sky got no good answer "
                f"from {archive.url}; the first, HEALPix cell {tile.name}: {reason}. Run the same "
                "command again: what was fetched is kept."
            )
        fetched = _merge(output, archive, _parts(folder, tiles), question)
        shutil.rmtree(folder)
    return fetched


def fetch_query(archive: Archive, question: str, output: Path) -> Fetched:
    """Write the answer to a question in ADQL or SQL to a Parquet file."""
    check_output(output)
    try:
        rows = archive.query(question)
    except Unanswered as error:
        raise CatalogError(f"{archive.url}: no good answer: {error}. Try again later.") from error
    if not rows.num_rows:
        raise CatalogError(f"{archive.url}: the answer has no rows; nothing was written.")
    footer = {"archive": archive.name, "url": archive.url, "question": question}
    write_table(rows, output, footer | {"code_version": targetsel.__version__})
    return Fetched(rows.num_rows)


def _fetch_tiles(
    archive: Archive, region: Region, tiles: list[Tile], folder: Path, report: Report
) -> list[tuple[Tile, str]]:
    """Fetch the tiles that are missing; those that failed, and why. Gives up where none succeed."""

    def fetch(tile: Tile) -> str | None:
        try:
            _fetch_tile(archive, region, tile, folder)
        except Unanswered as error:
            return str(error)
        return None

    failures: list[tuple[Tile, str]] = []
    in_a_row = 0
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")
    try:
        reasons = pool.map(fetch, tiles)
        for number, (tile, reason) in enumerate(zip(tiles, reasons, strict=True), start=1):
            in_a_row = 0 if reason is None else in_a_row + 1
            if reason is not None:
                failures.append((tile, reason))
            if in_a_row == FAILURES_IN_A_ROW:
                break
            if number % 100 == 0 or number == len(tiles):
                report(f"{archive.name}: {number} of {len(tiles)} questions answered")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return failures


def _fetch_tile(archive: Archive, region: Region, tile: Tile, folder: Path) -> None:
    """Leave `<tile>.parquet` in a folder, or those of its children and `<tile>.split`."""
    cone = region.within(tile)
    if cone is None or (folder / f"{tile.name}.parquet").exists():
        return
    split = folder / f"{tile.name}.split"
    if not split.exists():
        try:
            found = Catalog(archive.cone(cone), ROLES)
        except TooMany:
            if tile.order >= 16:
                raise Unanswered(
                    f"too many sources within {cone.radius * 3600:.0f} arcsec of "
                    f"{cone.ra:.6f}, {cone.dec:.6f}"
                ) from None
            split.touch()
        else:
            table, dropped = _judged(found, region, tile)
            write_table(table, folder / f"{tile.name}.parquet", {"dropped": dropped})
            return
    for child in tile.children():
        _fetch_tile(archive, region, child, folder)


def _judged(found: Catalog, region: Region, tile: Tile) -> tuple[pa.Table, dict[str, int]]:
    """The sources that lie in the region and in the cell, sorted, and what was dropped beside."""
    known = np.isfinite(found.ra) & (np.abs(found.dec) <= 90)
    known &= ~pc.is_null(found.table["source_id"]).to_numpy()
    inside = region.trimmed(found.take(known), tile)
    table = inside.table.append_column(HEALPIX, pa.array(inside.healpix))
    table = table.sort_by([(HEALPIX.name, "ascending"), ("source_id", "ascending")])
    _, first = np.unique(table["source_id"].to_numpy(), return_index=True)
    kept = table.take(pa.array(np.sort(first)))
    dropped = {
        "no id or no place on the sky": int((~known).sum()),
        "the same id again": table.num_rows - kept.num_rows,
    }
    return kept, dropped


def _parts(folder: Path, tiles: list[Tile]) -> Iterator[Path]:
    """The files of the tiles, in the order of the sky."""
    for tile in tiles:
        if (folder / f"{tile.name}.split").exists():
            yield from _parts(folder, tile.children())
        elif (path := folder / f"{tile.name}.parquet").exists():
            yield path


def _merge(
    output: Path, archive: Archive, parts: Iterator[Path], question: dict[str, str]
) -> Fetched:
    """One catalog of all parts."""
    schema = pa.schema([*archive.columns.schema, HEALPIX])
    n_sources = 0
    dropped: Counter[str] = Counter()
    with ParquetSink(output, schema) as sink:
        for path in parts:
            table = pq.read_table(path)
            n_sources += table.num_rows
            dropped.update(read_footer(path)["dropped"])
            sink.write(table)
        if not n_sources:
            raise CatalogError(
                f"{archive.url}: has no sources in {question['region']}; nothing was written."
            )
        sink.footer.update(question, code_version=targetsel.__version__, columns=ROLES)
    return Fetched(n_sources, {reason: n for reason, n in sorted(dropped.items()) if n})
