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
from targetsel.cli.terminal import say
from targetsel.errors import CatalogError, CutoutError, SpectrumError, counted

if TYPE_CHECKING:
    from targetsel.sky.footprint import Footprint

SOURCES_PER_BATCH = 4096

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
    from targetsel.surveys import registry

    for survey in registry.surveys().values():
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
    bands: Annotated[str, typer.Option(help="Bands in order, such as grz.")] = "grizy",
    size: Annotated[
        int, typer.Option(min=1, max=3000, help="Width and height of a cutout, in pixels.")
    ] = 64,
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
    from targetsel.photometry.bands import parse_bands
    from targetsel.sky.catalog import CatalogFile
    from targetsel.surveys.cutouts import fetch_cutouts
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_cutouts

    service = open_cutouts(
        survey,
        Web(rate),
        parse_bands(bands),
        size,
        **{"url": url, **_named(options)},
    )
    sources = CatalogFile.open(catalog, ra_col=ra_col, dec_col=dec_col, id_col=id_col)
    fetched = fetch_cutouts(service, lambda: sources.batches(SOURCES_PER_BATCH), output)
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
    from targetsel.sky.footprint import Footprint
    from targetsel.surveys.catalogs import fetch_query, fetch_region
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_catalog, open_query

    if sum(given is not None for given in (cone, moc, adql)) != 1:
        raise CatalogError("fetch catalog: expected one of --cone, --moc and --adql.")
    if adql is not None:
        fetched = fetch_query(open_query(survey, Web(rate), url), adql, output)
    else:
        service = open_catalog(survey, Web(rate), url)
        footprint = _cone(cone) if cone is not None else Footprint.read(Path(moc or ""))
        fetched = fetch_region(service, footprint, output)
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
    from targetsel.sky.catalog import Catalog
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_query, open_spectra
    from targetsel.surveys.spectra import fetch_spectra, wanted_in

    web = Web(rate)
    service = open_spectra(survey, web, url)
    if (catalog is None) == (query is None):
        raise SpectrumError("fetch spectra: expected CATALOG, or --query in its place.")
    if catalog is not None:
        sources = Catalog.read(catalog, ra_col, dec_col, id_col)
        renamed = {sources.columns["source_id"]: "source_id"}
        table = sources.table.rename_columns(
            [renamed.get(name, name) for name in sources.table.column_names]
        )
    else:
        table = open_query(survey, web).query(query or "")
    wanted = wanted_in(table, service, str(catalog or "--query"))
    fetched = fetch_spectra(service, wanted, output)
    _print_summary(fetched, counted(fetched.written, "spectrum", "spectra"), output)


def _cone(text: str) -> Footprint:
    """The footprint of "ra,dec,radius" [deg]."""
    from targetsel.sky.footprint import Footprint

    try:
        ra, dec, radius = map(float, text.split(","))
    except ValueError:
        raise CatalogError(
            f"--cone {text}: expected RA,DEC,RADIUS in degrees, such as 150.1,2.2,0.5."
        ) from None
    return Footprint.cone(ra, dec, radius)


def _named(options: list[str] | None) -> dict[str, str]:
    """The options of a survey by name, from words such as "layer=ls-dr9"."""
    named = {}
    for text in options or []:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise CutoutError(f"--option {text}: expected NAME=VALUE, such as layer=ls-dr9.")
        if name in named:
            raise CutoutError(f"--option {text}: is given twice.")
        named[name] = value
    return named


def _print_summary(fetched, written: str, output: Path) -> None:
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
    bands: Annotated[str, typer.Option(help="Bands in order, such as grz.")] = "grizy",
    size: Annotated[
        int, typer.Option(min=1, max=3000, help="Width and height of a cutout, in pixels.")
    ] = 64,
    ensemble: EnsembleOption = "mock-ps1",
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
    from targetsel.photometry.bands import parse_bands
    from targetsel.scoring.ensemble import find_ensemble
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_cutouts
    from targetsel.surveys.sdss import SdssSpectra, SkyServer
    from targetsel.training.from_archives import TrainingServices, find_sample, make_training_set

    web = Web(rate)
    cutouts = open_cutouts(survey, web, parse_bands(bands), size, **_named(options))
    services = TrainingServices(SkyServer(web), SdssSpectra(web), cutouts)
    chosen = decoder or find_ensemble(ensemble)
    chosen = chosen / "decoder.safetensors" if chosen.is_dir() else chosen
    summary = make_training_set(
        output,
        find_sample(sample),
        n,
        services,
        chosen,
        seed,
        lambda line: say(line, err=True),
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
