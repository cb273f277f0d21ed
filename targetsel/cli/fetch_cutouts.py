"""`targetsel fetch cutouts`: a catalog's cutouts from a survey into a cutout store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeRemainingColumn,
)

from targetsel.cli.printed import counted

SOURCES_PER_BATCH = 4096


class SurveyName(StrEnum):
    """Where cutouts come from."""

    ps1 = "ps1"
    legacy = "legacy"
    sia2 = "sia2"
    local = "local"


def cutouts(
    catalog: Annotated[
        Path, typer.Argument(help="Parquet (file or folder), FITS, VOTable, ECSV or CSV.")
    ],
    survey: Annotated[
        SurveyName,
        typer.Option(
            help="Pan-STARRS1, Legacy Survey viewer, any SIA2 service (--url), FITS tiles (--tiles)"
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Store to write, a folder.")],
    bands: Annotated[str, typer.Option(help="Bands in order, such as grz.")] = "grizy",
    size: Annotated[int, typer.Option(min=1, max=3000, help="Width and height, in pixels.")] = 64,
    pixel_scale: Annotated[
        float | None, typer.Option(help="In arcsec; sia2 needs it, legacy resamples to it.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="SIA2 query URL, or a mirror of another survey.")
    ] = None,
    tiles: Annotated[
        Path | None, typer.Option(help="Folder of FITS tiles, for --survey local.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer of the Legacy viewer. Default: ls-dr10.")
    ] = None,
    zeropoint: Annotated[
        float | None, typer.Option(help="AB magnitude of one count, where images do not tell.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Requests a second, at most.")
    ] = 10.0,
    ra_col: Annotated[str | None, typer.Option(help="Column of right ascension.")] = None,
    dec_col: Annotated[str | None, typer.Option(help="Column of declination.")] = None,
    id_col: Annotated[str | None, typer.Option(help="Column of source ids.")] = None,
) -> None:
    """Fetch cutouts of every source of CATALOG; run it again after a kill, and it goes on."""
    from targetsel.photometry.bands import parse_bands
    from targetsel.sky.catalog import CatalogFile
    from targetsel.surveys.cutout_registry import Wanted, open_survey
    from targetsel.surveys.fetching_cutouts import fetch
    from targetsel.surveys.http import Web

    wanted = Wanted(parse_bands(bands), size, pixel_scale, url, tiles, layer, zeropoint)
    service = open_survey(survey.value, wanted, Web(rate))
    sources = CatalogFile.open(catalog, ra_col=ra_col, dec_col=dec_col, id_col=id_col)
    console = Console(stderr=True)
    columns = (TextColumn("fetching"), BarColumn(), MofNCompleteColumn(), Rate(""))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("fetching", total=None)
        fetched = fetch(
            service,
            lambda: sources.batches(SOURCES_PER_BATCH),
            output,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    if fetched.known:
        typer.echo(f"{fetched.known:>10,}  known from an earlier run")
    for status, count in sorted(fetched.statuses.items(), key=lambda item: -item[1]):
        typer.echo(f"{count:>10,}  {status}")
    typer.echo(f"{counted(fetched.written, 'cutout')} written to {output}")
    if fetched.unfinished:
        typer.echo(
            f"{counted(fetched.unfinished, 'source')} failed: run the command again to try again"
        )


class Rate(TextColumn):
    """Sources a second."""

    def render(self, task: Task):
        self.text_format = f"{task.speed or 0:.1f}/s"
        return super().render(task)
