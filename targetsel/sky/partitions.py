"""Catalogs cut into pixels of the sky, each in a file of its own: HATS catalogs.

Where sources are many, pixels are small: each partition is the largest pixel around its sources
that holds no more than so many of them. Whatever the order of a catalog's rows, its format or the
way it is split into files, the partitions are the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import OutputError
from targetsel.sky.catalog import HEALPIX, ROWS_PER_READ, CatalogFile
from targetsel.sky.chunks import sorted_rows
from targetsel.sky.positions import DEEPEST
from targetsel.tables.files import check_apart, folder_written_beside
from targetsel.tables.hats import HatsCatalog, Pixel, finish_hats, is_hats
from targetsel.tables.hats_properties import properties_of
from targetsel.tables.parquet import write_table
from targetsel.tasks import tracked


def partition_catalog(file: CatalogFile, root: Path, rows: int) -> HatsCatalog:
    """Write a catalog as a HATS catalog.

    Each partition is the pixel of the lowest order that holds no more than `rows` sources. Its
    rows are in the order of (`_healpix_29`, id), with all columns of the catalog. Only sources of
    one pixel of order 29 stay together however many they are.

    It sorts on disk (see `chunks.sorted_rows`), beside `root`, and holds a partition in memory.

    Parameters
    ----------
    file : CatalogFile
    root : Path
        The folder to write; it appears whole, or not at all. A HATS catalog that targetsel wrote
        there is replaced.
    rows : int
        The most rows of a partition, at least 1.

    Returns
    -------
    HatsCatalog

    Raises
    ------
    CatalogError
        If the catalog cannot be used (see `CatalogFile.check`).
    OutputError
        If something else is at `root`, or it cannot be written.
    """
    root = Path(root)
    if rows < 1:
        raise OutputError(f"{root}: partitions of {rows} rows; expected at least 1.")
    _check_place(root, file)
    file.check()
    with folder_written_beside(root) as beside:
        spill = beside / ".runs"
        spill.mkdir()
        pieces = tracked(sorted_rows(file, spill), "writing partitions", file.num_rows, size=len)
        pixels = [_write(pixel, table, beside, file) for pixel, table in _cut(pieces, rows)]
        shutil.rmtree(spill)
        finish_hats(
            beside,
            root.resolve().name,
            pixels,
            ra_column=file.columns["ra"],
            dec_column=file.columns["dec"],
            properties={"hats_max_rows": str(rows)},
        )
    return HatsCatalog.open(root)


def open_partition(
    catalog: HatsCatalog, pixel: Pixel, id_col: str | None = None, check: bool = False
) -> CatalogFile:
    """One partition of a HATS catalog, as a catalog; its properties name the positions.

    Parameters
    ----------
    catalog : HatsCatalog
    pixel : Pixel
        One of the catalog's.
    id_col : str, optional
        Name of the column of ids; by default the usual names are looked for.
    check : bool
        Whether all rows are read at once, to refuse any that lie outside of the pixel.

    Raises
    ------
    CatalogError
        As `CatalogFile.open`, and if rows lie outside.
    """
    ra, dec = (catalog.properties.get(f"hats_col_{role}") for role in ("ra", "dec"))
    file = CatalogFile.open(catalog.path_of(pixel), ra, dec, id_col)
    for piece in file.batches(ROWS_PER_READ) if check else ():
        catalog.check_inside(pixel, piece.healpix)
    return file


def partitions_of(file: CatalogFile) -> Iterator[tuple[Pixel, CatalogFile]]:
    """The partitions of a catalog that was opened, in the order of the sky; its columns are theirs.

    Parameters
    ----------
    file : CatalogFile
        Of the folder of a HATS catalog.

    Raises
    ------
    CatalogError
        As `HatsCatalog.open`, and `CatalogFile.open` of each.
    """
    catalog = HatsCatalog.open(file.path)
    names = file.columns
    for pixel in catalog.pixels:
        path = catalog.path_of(pixel)
        yield pixel, CatalogFile.open(path, names["ra"], names["dec"], names["source_id"])


def _check_place(root: Path, file: CatalogFile) -> None:
    """Refuse a place where something is that is not ours to replace, or that is read."""
    if not root.parent.is_dir():
        raise OutputError(f"{root}: the folder {root.parent} does not exist. Create it first.")
    ours = is_hats(root) and properties_of(root).get("hats_builder", "").startswith("targetsel")
    if root.exists() and not ours and not (root.is_dir() and not any(root.iterdir())):
        raise OutputError(
            f"{root}: is there already, and no HATS catalog that targetsel wrote. Choose another "
            "name, or remove it."
        )
    if isinstance(file.path, Path):
        check_apart([root], [file.path])
        if root.resolve() in file.path.resolve().parents:
            raise OutputError(f"{root}: holds {file.path}, which is read. Choose another name.")


def _write(pixel: Pixel, table: pa.Table, root: Path, file: CatalogFile) -> Pixel:
    path = pixel.file(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path, {"columns": dict(file.columns)})
    return pixel


def _cut(pieces: Iterable[pa.Table], rows: int) -> Iterator[tuple[Pixel, pa.Table]]:
    """Sorted rows by partition; no more than one partition and one piece are held.

    A pixel around the next row holds no more than `rows` sources, and is no part of a larger one
    that does, if it is the lowest order of those without the row before and the row `rows` on.
    """
    source = iter(pieces)
    waiting = _Waiting()
    before: int | None = None
    while waiting.fill(source, rows + 1):
        first = int(waiting.healpix[0])
        after = int(waiting.healpix[rows]) if len(waiting.healpix) > rows else None
        apart = [_order_apart(first, each) for each in (before, after) if each is not None]
        order = max(apart, default=0)
        pixel = Pixel(order, first >> 2 * (DEEPEST - order))
        table = waiting.taken_below(pixel.range29[1], source)
        before = int(table[HEALPIX.name][-1].as_py())
        yield pixel, table


def _order_apart(one: int, other: int) -> int:
    """The lowest order at which two pixels of order 29 lie in different ones; at most 29."""
    differing = (one ^ other).bit_length()
    return min(max(DEEPEST - (differing - 1) // 2, 0), DEEPEST)


class _Waiting:
    """Sorted rows that were read and belong to no partition yet."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self.healpix = np.empty(0, dtype=np.int64)

    def fill(self, source: Iterator[pa.Table], rows: int) -> bool:
        """Read until so many rows wait, or all are read; whether any wait."""
        while len(self.healpix) < rows and self._read(source):
            pass
        return len(self.healpix) > 0

    def taken_below(self, end: int, source: Iterator[pa.Table]) -> pa.Table:
        """The first rows, of pixels below `end`, which wait no longer."""
        while self.healpix[-1] < end and self._read(source):
            pass
        n = int(np.searchsorted(self.healpix, end))
        table = pa.concat_tables(self._tables)
        self._tables, self.healpix = [table.slice(n)], self.healpix[n:]
        return table.slice(0, n)

    def _read(self, source: Iterator[pa.Table]) -> bool:
        piece = next(source, None)
        if piece is None:
            return False
        self._tables.append(piece)
        self.healpix = np.concatenate([self.healpix, piece[HEALPIX.name].to_numpy()])
        return True
