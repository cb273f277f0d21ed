"""Catalogs cut into partitions of the sky, and compared with one another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath
from targetsel.remote.copies import with_addresses
from targetsel.tables.any_form import AnyTable

if TYPE_CHECKING:
    from targetsel.photometry.selection_weights import SelectionWeights
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


@with_addresses()
def selection_weights(labelled: AnyTable, target: AnyTable) -> SelectionWeights:
    """Weights with which labelled sources are as bright and as coloured as those of a catalog.

    Sources with spectra are brighter and redder than those that one wants to predict. Each gets
    the ratio of the densities of both samples at its magnitude and colours, from its ten nearest
    neighbours (Lima et al. 2008, MNRAS 390, 118). ``targetsel train --like`` and
    ``calibrate --like`` use such weights. Sources that differ in spectrum at the same magnitude
    and colours are not corrected for.

    Parameters
    ----------
    labelled, target : str, Path or table
        Catalogs with fluxes or magnitudes of the same bands. Compared are the r magnitude, or that
        of the band next to it, and the colours of neighbouring bands from g to z; a file
        ``CATALOG.photometry.yaml`` beside a catalog says what its columns hold. A column `weight`
        is what sources count for before.

    Returns
    -------
    SelectionWeights
        `weight`, of mean 1, in the order of `labelled`, and a `record` that says how many labelled
        sources count effectively and which share of the target catalog has none near.

    Raises
    ------
    CatalogError
        If a catalog cannot be read, they have no band in common, one is corrected for extinction
        and the other not, more than half of the target catalog has no labelled sources near, or
        fewer than 30 labelled sources count effectively.

    See Also
    --------
    train : Takes such weights by its parameter `like`.
    calibrate : So does it.

    Examples
    --------
    >>> import targetsel as ts
    >>> catalog = ts.read("catalog.parquet", "catalog")
    >>> bright = catalog[catalog["rmag"] < 17.3]
    >>> weights = ts.selection_weights(bright, catalog)
    >>> len(weights) == len(bright), weights.record.bands
    (True, ['g_sdss', 'r_sdss', 'i_sdss', 'z_sdss'])
    >>> 30 < weights.record.effective < len(bright)
    True
    """
    from targetsel.photometry.selection_weights import weights_like
    from targetsel.sky.catalog import Catalog, CatalogFile
    from targetsel.tables.columns import weights_of

    place = CatalogFile.open(labelled).path
    ours = Catalog.read(labelled)
    return weights_like(
        CatalogFile.open(target), ours.table, ours.source_id, weights_of(ours.table, place), place
    )
