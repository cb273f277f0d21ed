"""`targetsel fetch catalog`: sources of a part of the sky, or the answer to a question."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.printed import counted
from targetsel.errors import CatalogError


class ArchiveName(StrEnum):
    """Where catalogs come from."""

    ps1 = "ps1"
    sdss = "sdss"
    legacy = "legacy"
    desi = "desi"


def catalog(
    survey: Annotated[
        ArchiveName,
        typer.Option(
            help="Pan-STARRS1 DR2 mean objects (MAST), SDSS DR17 galaxies, Legacy Surveys DR10, or "
            "DESI DR1 redshifts."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet file to write.")],
    cone: Annotated[
        str | None, typer.Option(metavar="RA,DEC,RADIUS", help="All within a radius, in deg.")
    ] = None,
    moc: Annotated[
        Path | None, typer.Option(help="All inside a MOC: .fits, .json or .txt.")
    ] = None,
    adql: Annotated[
        str | None, typer.Option(help="A question in ADQL, or in SkyServer's SQL for sdss.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="A mirror of the service.")] = None,
    rate: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Requests a second, at most.")
    ] = 5.0,
) -> None:
    """Fetch a catalog under our column names, fluxes in nJy; run it again after a kill."""
    from targetsel.surveys.catalog_registry import open_archive
    from targetsel.surveys.fetching_catalogs import fetch_query, fetch_region
    from targetsel.surveys.http import Web
    from targetsel.surveys.region import Region

    if sum(given is not None for given in (cone, moc, adql)) != 1:
        raise CatalogError("fetch catalog: expected one of --cone, --moc and --adql.")
    archive = open_archive(survey.value, Web(rate), url, adql is not None)
    if adql is not None:
        fetched = fetch_query(archive, adql, output)
    else:
        region = Region.parse_cone(cone) if cone is not None else Region.read(Path(moc or ""))
        fetched = fetch_region(archive, region, output, lambda line: typer.echo(line, err=True))
    for reason, count in fetched.dropped.items():
        typer.echo(f"{count:>10,}  rows dropped: {reason}")
    typer.echo(f"{counted(fetched.n_sources, 'row')} written to {output}")
