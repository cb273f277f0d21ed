"""Cutouts, catalogs, spectra and training sets from surveys.

A function for each word of `targetsel fetch`: what they take and write is different.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath, in_silence, path_of
from targetsel.errors import CatalogError, SpectrumError
from targetsel.remote.copies import with_addresses
from targetsel.scoring import DEFAULT
from targetsel.tables.any_form import AnyTable

if TYPE_CHECKING:
    from targetsel.sky.footprint import Footprint
    from targetsel.surveys.fetching import FetchSummary
    from targetsel.surveys.registry import SkySurvey
    from targetsel.training.from_archives import TrainingSetSummary

SOURCES_PER_BATCH = 4096


def fetch_surveys() -> dict[str, SkySurvey]:
    """The surveys and what each offers, as `targetsel fetch surveys` lists them.

    Returns
    -------
    dict of SkySurvey, by name

    See Also
    --------
    fetch_cutouts : Fetch cutouts.
    fetch_catalog : Fetch a catalog.
    fetch_spectra : Fetch spectra.

    Examples
    --------
    >>> import targetsel as ts
    >>> ts.fetch_surveys()["ps1"].offers
    ['catalog', 'query', 'cutouts']
    """
    from targetsel.surveys import registry

    return dict(registry.surveys())


@with_addresses("output")
def fetch_cutouts(
    catalog: AnyTable,
    output: AnyPath,
    survey: str,
    *,
    bands: str | None = None,
    size: int | None = None,
    url: str | None = None,
    options: Mapping[str, str] | None = None,
    rate: float = 10.0,
    ra_col: str | None = None,
    dec_col: str | None = None,
    id_col: str | None = None,
) -> FetchSummary:
    """Fetch cutouts of a catalog, as `targetsel fetch cutouts` does; resumes if interrupted.

    The store of a HATS catalog is partitioned as the catalog, as `pack` does it.

    Parameters
    ----------
    catalog : str, Path, Catalog or table
        Sources with ids and positions [deg, ICRS].
    output : str or Path
        Cutout store to write, a folder.
    survey : str
        Such as "ps1", "legacy"; `fetch_surveys` lists them.
    bands : str, optional
        Bands in their order, such as "grz"; by default those on the survey's card, or "grizy".
    size : int, optional
        Width and height [pixel]; by default that on the survey's card, or 64.
    url : str, optional
        SIA2 query URL, or a mirror of another survey.
    options : dict, optional
        Options of the survey, such as ``{"layer": "ls-dr9"}``.
    rate : float
        Most requests per second.
    ra_col, dec_col, id_col : str, optional
        Names of columns that are not found by themselves.

    Returns
    -------
    FetchSummary
        Sources by outcome, and the number that another call should ask for again.

    Raises
    ------
    CatalogError
        If the catalog cannot be read, has no column of ids or positions, or repeats an id.
    CutoutError
        If there is no such survey or option, the service gives no good answer, or no source has a
        cutout. What came is kept.
    OutputError
        If `output` cannot be written, or is there and no cutout store.

    See Also
    --------
    fetch_surveys : The surveys and their options.
    pack : Pack images that you have.
    score : Takes the store.

    Examples
    --------
    It asks an archive:

    >>> import targetsel as ts
    >>> summary = ts.fetch_cutouts("catalog.parquet", "fetched", "ps1", bands="grizy")
    """
    from targetsel.photometry.bands import parse_bands
    from targetsel.sky.catalog import CatalogFile
    from targetsel.sky.partitions import partitions_of
    from targetsel.surveys.cutouts import fetch_cutouts as fetch
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_cutouts
    from targetsel.tables.hats_properties import is_hats

    asked = None if bands is None else parse_bands(bands)
    service = open_cutouts(survey, Web(rate), asked, size, **{"url": url, **(options or {})})
    sources = CatalogFile.open(catalog, ra_col, dec_col, id_col)
    parts = None
    if isinstance(sources.path, Path) and is_hats(sources.path):
        parts = (
            (pixel, partial(part.batches, SOURCES_PER_BATCH))
            for pixel, part in partitions_of(sources)
        )
    return fetch(service, lambda: sources.batches(SOURCES_PER_BATCH), Path(output), parts)


@with_addresses("output")
def fetch_catalog(
    output: AnyPath,
    survey: str,
    *,
    cone: tuple[float, float, float] | None = None,
    moc: AnyPath | Footprint | None = None,
    adql: str | None = None,
    url: str | None = None,
    rate: float = 5.0,
) -> FetchSummary:
    """Fetch a catalog of a survey, as `targetsel fetch catalog` does; resumes if interrupted.

    It has targetsel's names of columns, and fluxes in nJy.

    Parameters
    ----------
    output : str or Path
        Parquet file to write.
    survey : str
        Such as "ps1", "sdss"; `fetch_surveys` lists them.
    cone : three floats, optional
        Right ascension, declination and radius [deg].
    moc : str, Path or Footprint, optional
        Part of the sky: a MOC, a DS9 region file, or a footprint.
    adql : str, optional
        A query in ADQL, or in SkyServer's SQL for "sdss".
    url : str, optional
        A mirror of the service.
    rate : float
        Most requests per second.

    Returns
    -------
    FetchSummary

    Raises
    ------
    CatalogError
        If not one of `cone`, `moc` and `adql` is given, there is no such survey, or the service
        gives no good answer. What came is kept.
    OutputError
        If `output` cannot be written.

    See Also
    --------
    fetch_cutouts : Fetch cutouts of its sources.
    Footprint.read : Read a part of the sky.

    Examples
    --------
    It asks an archive:

    >>> import targetsel as ts
    >>> summary = ts.fetch_catalog("ps1.parquet", "ps1", cone=(150.1, 2.2, 0.1))
    """
    from targetsel.sky.footprint import Footprint
    from targetsel.surveys.catalogs import fetch_query, fetch_region
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_catalog, open_query

    if sum(given is not None for given in (cone, moc, adql)) != 1:
        raise CatalogError("fetch catalog: expected one of --cone, --moc and --adql.")
    if adql is not None:
        return fetch_query(open_query(survey, Web(rate), url), adql, Path(output))
    service = open_catalog(survey, Web(rate), url)
    if cone is not None:
        footprint = Footprint.cone(*cone)
    else:
        footprint = moc if isinstance(moc, Footprint) else Footprint.read(Path(moc or ""))
    return fetch_region(service, footprint, Path(output))


@with_addresses("output")
def fetch_spectra(
    output: AnyPath,
    survey: str,
    catalog: AnyTable = None,
    *,
    query: str | None = None,
    url: str | None = None,
    rate: float = 10.0,
    ra_col: str | None = None,
    dec_col: str | None = None,
    id_col: str | None = None,
) -> FetchSummary:
    """Fetch spectra of a catalog or query, as `targetsel fetch spectra`; resumes if interrupted.

    Parameters
    ----------
    output : str or Path
        Parquet file to write.
    survey : str
        "sdss" or "desi"; `fetch_surveys` lists them.
    catalog : str, Path, Catalog or table, optional
        With plate, mjd, fiber (and run2d) for "sdss", or targetid for "desi".
    query : str, optional
        A query in the survey's SQL or ADQL, in place of the catalog.
    url : str, optional
        A mirror of the service.
    rate : float
        Most requests per second.
    ra_col, dec_col, id_col : str, optional
        Names of columns that are not found by themselves.

    Returns
    -------
    FetchSummary

    Raises
    ------
    SpectrumError
        If not one of `catalog` and `query` is given, there is no such survey, or the service gives
        no good answer. What came is kept.
    CatalogError
        If the catalog cannot be read, or lacks the columns that name spectra.
    OutputError
        If `output` cannot be written.

    See Also
    --------
    encode_spectra : The latents of these spectra.
    measure_spectra : Their line strengths.

    Examples
    --------
    It asks an archive:

    >>> import targetsel as ts
    >>> wanted = "select top 5 plate, mjd, fiberid, run2d from SpecObj where class = 'GALAXY'"
    >>> summary = ts.fetch_spectra("sdss.parquet", "sdss", query=wanted)
    """
    from targetsel.sky.catalog import Catalog
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_query, open_spectra
    from targetsel.surveys.spectra import fetch_spectra as fetch
    from targetsel.surveys.spectra import wanted_in

    web = Web(rate)
    service = open_spectra(survey, web, url)
    if (catalog is None) == (query is None):
        raise SpectrumError("fetch spectra: expected CATALOG, or --query in its place.")
    if catalog is not None:
        sources = Catalog.read(catalog, ra_col, dec_col, id_col)
        renamed = {sources.columns["source_id"]: "source_id"}
        names = [renamed.get(name, name) for name in sources.table.column_names]
        table, place = sources.table.rename_columns(names), _said(catalog)
    else:
        table, place = open_query(survey, web).query(query or ""), "--query"
    return fetch(service, wanted_in(table, service, place), Path(output))


def _said(catalog: AnyTable) -> str:
    from targetsel.tables.any_form import is_path

    return str(catalog) if is_path(catalog) else "the catalog"


@with_addresses("output")
def trainingset(
    output: AnyPath,
    n: int,
    *,
    sample: str = "sdss-main",
    survey: str = "ps1",
    options: Mapping[str, str] | None = None,
    bands: str | None = None,
    size: int | None = None,
    ensemble: AnyPath = DEFAULT,
    decoder: AnyPath | None = None,
    seed: int = 0,
    rate: float = 10.0,
    report: Callable[[str], object] | None = print,
) -> TrainingSetSummary:
    """Make a training set of real sources, as `targetsel trainingset`; resumes if interrupted.

    It queries sources, fetches their spectra and cutouts, and finds their latents.

    Parameters
    ----------
    output : str or Path
        Folder to write.
    n : int
        Number of sources to query.
    sample : str
        "sdss-main": the SDSS main galaxies up to redshift 0.36.
    survey : str
        Survey of the cutouts; `fetch_surveys` lists them.
    options : dict, optional
        Options of the survey, such as ``{"layer": "ls-dr9"}``.
    bands : str, optional
        Bands in their order, such as "grz"; by default those on the survey's card, or "grizy".
    size : int, optional
        Width and height of cutouts [pixel]; by default that on the survey's card, or 64.
    ensemble : str or Path
        Ensemble whose decoder gives the latents.
    decoder : str or Path, optional
        Another decoder, a folder or file.
    seed : int
        Seed of the random choice of sources.
    rate : float
        Most requests per second to each host.
    report : function of a str, optional
        Called with a line for each step; None: nothing is said.

    Returns
    -------
    TrainingSetSummary

    Raises
    ------
    CatalogError
        If there is no such sample, or the service gives no good answer. What came is kept.
    CutoutError
        If there is no such survey or option, or no source has a cutout.
    SpectrumError
        If no spectrum can be used.
    EnsembleError
        If there is no such ensemble or decoder.
    OutputError
        If the folder cannot be written.

    See Also
    --------
    train : Takes the folder's files.
    mock_sky : A simulated training set.

    Examples
    --------
    It asks archives:

    >>> import targetsel as ts
    >>> summary = ts.trainingset("training", 100, survey="legacy", bands="grz")
    """
    from targetsel.photometry.bands import parse_bands
    from targetsel.scoring.ensemble import decoder_file
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_cutouts
    from targetsel.surveys.sdss import SdssSpectra, SkyServer
    from targetsel.training.from_archives import TrainingServices, find_sample, make_training_set

    web = Web(rate)
    asked = None if bands is None else parse_bands(bands)
    cutouts = open_cutouts(survey, web, asked, size, **(options or {}))
    services = TrainingServices(SkyServer(web), SdssSpectra(web), cutouts)
    chosen = decoder_file(fspath(ensemble), path_of(decoder))
    return make_training_set(
        Path(output), find_sample(sample), n, services, chosen, seed, report or in_silence
    )
