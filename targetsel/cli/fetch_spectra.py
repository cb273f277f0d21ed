"""`targetsel fetch spectra`: the spectra of a catalog's sources into a spectrum store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.printed import counted
from targetsel.errors import SpectrumError


class ServiceName(StrEnum):
    """Where spectra come from."""

    sdss = "sdss"
    desi = "desi"


def spectra(
    survey: Annotated[
        ServiceName,
        typer.Option(help="SDSS by plate, mjd and fiber; DESI DR1 by targetid (SPARCL)."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet file to write.")],
    catalog: Annotated[
        Path | None, typer.Argument(help="With plate, mjd, fiber (and run2d), or targetid.")
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="In place of CATALOG: SkyServer's SQL, for sdss.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="A mirror of the service.")] = None,
    rate: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Requests a second, at most.")
    ] = 10.0,
    ra_col: Annotated[str | None, typer.Option(help="Column of right ascension.")] = None,
    dec_col: Annotated[str | None, typer.Option(help="Column of declination.")] = None,
    id_col: Annotated[str | None, typer.Option(help="Column of source ids.")] = None,
) -> None:
    """Fetch the spectra of every source of CATALOG; run it again after a kill, and it goes on."""
    from targetsel.sky.catalog import Catalog
    from targetsel.surveys.fetching_spectra import fetch_spectra, wanted_in
    from targetsel.surveys.http import Web
    from targetsel.surveys.spectra_registry import open_service

    web = Web(rate)
    service = open_service(survey.value, web, url)
    if (catalog is None) == (query is None):
        raise SpectrumError("fetch spectra: expected CATALOG, or --query in its place.")
    if catalog is not None:
        sources = Catalog.read(catalog, ra_col, dec_col, id_col)
        renamed = {sources.columns["source_id"]: "source_id"}
        table = sources.table.rename_columns(
            [renamed.get(name, name) for name in sources.table.column_names]
        )
    else:
        from targetsel.surveys.catalog_registry import open_archive

        if survey is not ServiceName.sdss:
            raise SpectrumError("--query: SkyServer knows SDSS only. Use --survey sdss.")
        table = open_archive("sdss", web).query(query or "")
    wanted = wanted_in(table, service, str(catalog or "--query"))
    fetched = fetch_spectra(
        service,
        wanted,
        output,
        lambda done, total: (
            typer.echo(f"{done} of {total} asked for", err=True)
            if done and (done % 1000 == 0 or done == total)
            else None
        ),
    )
    if fetched.known:
        typer.echo(f"{fetched.known:>10,}  known from an earlier run")
    for status, count in fetched.statuses.most_common():
        typer.echo(f"{count:>10,}  {status}")
    typer.echo(f"{counted(fetched.written, 'spectrum', 'spectra')} written to {output}")
    if fetched.unfinished:
        typer.echo(
            f"{counted(fetched.unfinished, 'source')} failed: run the command again to try again"
        )
