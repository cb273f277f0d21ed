"""The commands targetsel fetch, which queries surveys, and targetsel trainingset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from targetsel.cli.options import (
    DecoderOption,
    DecOption,
    EnsembleOption,
    IdOption,
    ParquetOutput,
    RaOption,
)
from targetsel.cli.terminal import say, say_aside
from targetsel.errors import CatalogError, CutoutError, counted
from targetsel.scoring import DEFAULT

if TYPE_CHECKING:
    from targetsel.surveys.fetching import FetchSummary


app = typer.Typer(
    help="Fetch from surveys, at a limited rate; resumes if interrupted.", no_args_is_help=True
)

SurveyOption = Annotated[
    str, typer.Option(help="Name of the survey; 'targetsel fetch surveys' lists them.")
]
UrlOption = Annotated[str | None, typer.Option(help="URL of a mirror of the service.")]
SurveyOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="Option of the survey, such as layer=ls-dr9 for legacy; may be repeated. "
        "'targetsel fetch surveys' lists them.",
    ),
]
RateOption = Annotated[float, typer.Option(min=0.01, max=1000, help="Most requests per second.")]


@app.command()
def surveys() -> None:
    """List the surveys, the kinds of data that each offers, and the options of its cutouts.

    Example:
        targetsel fetch surveys
    """
    from targetsel.api.archives import fetch_surveys
    from targetsel.surveys import registry

    for survey in fetch_surveys().values():
        if not survey.offers:
            continue
        say(f"{survey.name:<7} {', '.join(survey.offers)}: {survey.title}")
        options = registry.options_of(survey.cutouts) if survey.cutouts else {}
        for name, option in options.items():
            if name != "url":
                usual = f"; default: {option.default}" if option.default is not None else ""
                ending = "; required" if option.required else usual
                flag = f"--option {registry.written(name)}=..."
                say(f"{'':<7} {flag:<25} {option.meaning}{ending}")


@app.command()
def cutouts(
    catalog: Annotated[
        Path, typer.Argument(help="Catalog: Parquet (file or folder), FITS, VOTable, ECSV or CSV.")
    ],
    survey: SurveyOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Store to write, a folder.")],
    bands: Annotated[
        str | None,
        typer.Option(help="Bands in order, such as grz. Default: the survey's, or grizy."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=3000,
            help="Width and height of a cutout, in pixels. Default: the survey's, or 64.",
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="SIA2 query URL, or a mirror of another survey.")
    ] = None,
    options: SurveyOptions = None,
    rate: RateOption = 10.0,
    ra_col: RaOption = None,
    dec_col: DecOption = None,
    id_col: IdOption = None,
) -> None:
    """Fetch cutouts of every source of CATALOG; resumes if interrupted.

    Example:
        targetsel fetch cutouts catalog.parquet --survey ps1 -o fetched
    """
    from targetsel.api import archives as api

    fetched = api.fetch_cutouts(
        catalog,
        output,
        survey,
        bands=bands,
        size=size,
        url=url,
        options=_named(options),
        rate=rate,
        ra_col=ra_col,
        dec_col=dec_col,
        id_col=id_col,
    )
    _print_summary(fetched, counted(fetched.written, "cutout"), output)


@app.command()
def catalog(
    survey: SurveyOption,
    output: ParquetOutput,
    cone: Annotated[
        str | None,
        typer.Option(
            metavar="RA,DEC,RADIUS", help="Fetch all sources within a radius; all in deg."
        ),
    ] = None,
    moc: Annotated[
        Path | None,
        typer.Option(
            help="Fetch all sources inside a MOC (.fits, .json, .txt) or DS9 region (.reg)."
        ),
    ] = None,
    adql: Annotated[
        str | None, typer.Option(help="Query in ADQL, or in SkyServer's SQL for sdss.")
    ] = None,
    url: UrlOption = None,
    rate: RateOption = 5.0,
) -> None:
    """Fetch a catalog with targetsel's column names and fluxes in nJy; resumes if interrupted.

    Example:
        targetsel fetch catalog --survey ps1 --cone 150.1,2.2,0.1 -o ps1.parquet
    """
    from targetsel.api import archives as api

    fetched = api.fetch_catalog(
        output,
        survey,
        cone=None if cone is None else _cone(cone),
        moc=moc,
        adql=adql,
        url=url,
        rate=rate,
    )
    _print_summary(fetched, counted(fetched.written, "row"), output)


@app.command()
def spectra(
    survey: SurveyOption,
    output: ParquetOutput,
    catalog: Annotated[
        Path | None,
        typer.Argument(
            help="Catalog with plate, mjd, fiber (and run2d) for sdss, or targetid for desi."
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(help="Query in the survey's SQL or ADQL, in place of CATALOG."),
    ] = None,
    url: UrlOption = None,
    rate: RateOption = 10.0,
    ra_col: RaOption = None,
    dec_col: DecOption = None,
    id_col: IdOption = None,
) -> None:
    """Fetch the spectra of every source of CATALOG; resumes if interrupted.

    Example:
        targetsel fetch spectra --survey sdss -o sdss.parquet \\
            --query "select top 5 plate, mjd, fiberid, run2d from SpecObj where class = 'GALAXY'"
    """
    from targetsel.api import archives as api

    fetched = api.fetch_spectra(
        output,
        survey,
        catalog,
        query=query,
        url=url,
        rate=rate,
        ra_col=ra_col,
        dec_col=dec_col,
        id_col=id_col,
    )
    _print_summary(fetched, counted(fetched.written, "spectrum", "spectra"), output)


def _cone(text: str) -> tuple[float, float, float]:
    """Right ascension, declination and radius of "ra,dec,radius" [deg]."""
    try:
        ra, dec, radius = map(float, text.split(","))
    except ValueError:
        raise CatalogError(
            f"--cone {text}: expected RA,DEC,RADIUS in degrees, such as 150.1,2.2,0.5."
        ) from None
    return ra, dec, radius


def _named(options: list[str] | None) -> dict[str, str]:
    """The options of a survey by name, from words such as "layer=ls-dr9"."""
    named = {}
    for text in options or []:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise CutoutError(f"--option {text}: expected NAME=VALUE, such as layer=ls-dr9.")
        if name in named:
            raise CutoutError(f"--option {text}: {name} is given twice. Give it once.")
        named[name] = value
    return named


def _print_summary(fetched: FetchSummary, written: str, output: Path) -> None:
    """Print the outcomes of a fetch, with counts."""
    if fetched.known:
        say(f"{fetched.known:>10,}  known from an earlier run")
    for status, count in fetched.statuses.most_common():
        say(f"{count:>10,}  {status}")
    for reason, count in fetched.dropped.items():
        say(f"{count:>10,}  rows dropped: {reason}")
    say(f"{written} written to {output}")
    if fetched.unfinished:
        say(f"{counted(fetched.unfinished, 'source')} failed: run the command again to try again")


def trainingset(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to write the training set to.")
    ],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of sources to query.")],
    sample: Annotated[
        str, typer.Option(help="Sources: sdss-main, the SDSS main galaxies up to redshift 0.36.")
    ] = "sdss-main",
    survey: Annotated[
        str,
        typer.Option(help="Survey of the cutouts; 'targetsel fetch surveys' lists them."),
    ] = "ps1",
    options: SurveyOptions = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands in order, such as grz. Default: the survey's, or grizy."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=3000,
            help="Width and height of a cutout, in pixels. Default: the survey's, or 64.",
        ),
    ] = None,
    ensemble: EnsembleOption = DEFAULT,
    decoder: DecoderOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choice of sources.")] = 0,
    rate: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Most requests per second to each host.")
    ] = 10.0,
) -> None:
    """Make a training set: query, spectra, latents, cutouts; resumes if interrupted.

    Example:
        targetsel trainingset --n 100 -o training
    """
    from targetsel.api import archives as api

    summary = api.trainingset(
        output,
        n,
        sample=sample,
        survey=survey,
        options=_named(options),
        bands=bands,
        size=size,
        ensemble=ensemble,
        decoder=decoder,
        seed=seed,
        rate=rate,
        report=say_aside,
    )
    for (step, reason), count in summary.dropped.items():
        say(f"{count:>10,}  dropped: {step}: {reason}")
    say(f"{summary.ready} of {summary.asked} sources are ready in {output}. Train on them:")
    say(
        f"targetsel train {output / 'cutouts'} --latents {output / 'latents.parquet'} "
        f"--decoder {output / 'decoder'} --catalog {output / 'catalog.parquet'} -o ENSEMBLE"
    )
    if summary.unfinished:
        say(f"{counted(summary.unfinished, 'source')} got no answer: run the command again")
