"""Cutouts, catalogs, spectra and training sets from surveys.

A function for each word of `targetsel fetch`: what they take and write is different.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.api.given import AnyPath, path_of
from targetsel.errors import CatalogError, SpectrumError
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
    """
    from targetsel.surveys import registry

    return dict(registry.surveys())


def fetch_cutouts(
    catalog: AnyTable,
    output: AnyPath,
    survey: str,
    *,
    bands: str = "grizy",
    size: int = 64,
    url: str | None = None,
    options: Mapping[str, str] | None = None,
    rate: float = 10.0,
    ra_col: str | None = None,
    dec_col: str | None = None,
    id_col: str | None = None,
) -> FetchSummary:
    """Fetch cutouts of every source of a catalog; resumes if interrupted.

    Parameters
    ----------
    catalog : str, Path, Catalog or table
        Sources with ids and positions [deg, ICRS].
    output : str or Path
        Cutout store to write, a folder.
    survey : str
        Such as "ps1", "legacy"; `fetch_surveys` lists them.
    bands : str
        Bands in their order, such as "grz".
    size : int
        Width and height [pixel].
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
    CatalogError, CutoutError, OutputError
    """
    from targetsel.photometry.bands import parse_bands
    from targetsel.sky.catalog import CatalogFile
    from targetsel.surveys.cutouts import fetch_cutouts as fetch
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_cutouts

    asked = parse_bands(bands)
    service = open_cutouts(survey, Web(rate), asked, size, **{"url": url, **(options or {})})
    sources = CatalogFile.open(catalog, ra_col, dec_col, id_col)
    return fetch(service, lambda: sources.batches(SOURCES_PER_BATCH), Path(output))


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
    """Fetch a catalog with targetsel's column names and fluxes in nJy; resumes if interrupted.

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
    CatalogError, OutputError
        If not one of `cone`, `moc` and `adql` is given, too.
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
    """Fetch the spectra of every source of a catalog or query; resumes if interrupted.

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
    CatalogError, SpectrumError, OutputError
        If not one of `catalog` and `query` is given, too.
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


def trainingset(
    output: AnyPath,
    n: int,
    *,
    sample: str = "sdss-main",
    survey: str = "ps1",
    options: Mapping[str, str] | None = None,
    bands: str = "grizy",
    size: int = 64,
    ensemble: AnyPath = DEFAULT,
    decoder: AnyPath | None = None,
    seed: int = 0,
    rate: float = 10.0,
    report: Callable[[str], object] = print,
) -> TrainingSetSummary:
    """Make a training set: query, spectra, latents, cutouts; resumes if interrupted.

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
    bands : str
        Bands in their order, such as "grz".
    size : int
        Width and height of cutouts [pixel].
    ensemble : str or Path
        Ensemble whose decoder gives the latents.
    decoder : str or Path, optional
        Another decoder, a folder or file.
    seed : int
        Seed of the random choice of sources.
    rate : float
        Most requests per second to each host.
    report : function of a str
        Called with a line for each step.

    Returns
    -------
    TrainingSetSummary

    Raises
    ------
    CatalogError, CutoutError, SpectrumError, EnsembleError, OutputError
    """
    from targetsel.photometry.bands import parse_bands
    from targetsel.scoring.ensemble import decoder_file
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_cutouts
    from targetsel.surveys.sdss import SdssSpectra, SkyServer
    from targetsel.training.from_archives import TrainingServices, find_sample, make_training_set

    web = Web(rate)
    asked = parse_bands(bands)
    cutouts = open_cutouts(survey, web, asked, size, **(options or {}))
    services = TrainingServices(SkyServer(web), SdssSpectra(web), cutouts)
    chosen = decoder_file(fspath(ensemble), path_of(decoder))
    return make_training_set(Path(output), find_sample(sample), n, services, chosen, seed, report)
