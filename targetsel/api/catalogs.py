"""Catalogs cut into partitions of the sky."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath
from targetsel.remote.copies import with_addresses
from targetsel.tables.any_form import AnyTable

if TYPE_CHECKING:
    from targetsel.tables.hats import HatsCatalog


@with_addresses("output")
def partition(
    catalog: AnyTable,
    output: AnyPath,
    *,
    rows: int = 100_000,
    ra_col: str | None = None,
    dec_col: str | None = None,
    id_col: str | None = None,
) -> HatsCatalog:
    """Cut a catalog into pixels of the sky, as `targetsel partition` does: a HATS catalog.

    The packages hats and lsdb read it, and so does whatever takes a catalog here. Where sources
    are many, pixels are small. The same sources give the same bytes, whatever their order.

    Parameters
    ----------
    catalog : str, Path, Catalog or table
        Sources with ids and positions [deg, ICRS], with any other columns. Parquet is read piece
        by piece, other formats into memory.
    output : str or Path
        The folder to write; a HATS catalog that targetsel wrote there is replaced.
    rows : int
        The most sources of a partition.
    ra_col, dec_col, id_col : str, optional
        Names of columns that are not found by themselves.

    Returns
    -------
    HatsCatalog

    Raises
    ------
    CatalogError
        If the catalog cannot be read, has no column of ids or positions, or repeats an id.
    OutputError
        If something else is at `output`, or it cannot be written.

    See Also
    --------
    CatalogFile.open : Opens the folder as one catalog.
    score : Takes the folder as a catalog.

    Examples
    --------
    >>> import targetsel as ts
    >>> sky = ts.partition("catalog.parquet", "sky", rows=100)
    >>> sky.num_rows, max(sky.rows_of(pixel) for pixel in sky.pixels) <= 100
    (300, True)
    """
    from targetsel.sky.catalog import CatalogFile
    from targetsel.sky.partitions import partition_catalog

    return partition_catalog(CatalogFile.open(catalog, ra_col, dec_col, id_col), Path(output), rows)
