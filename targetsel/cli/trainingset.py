"""`targetsel trainingset`: all that training takes, from surveys into one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.terminal import counted


def trainingset(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make it in.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Sources to ask for.")],
    sample: Annotated[
        str, typer.Option(help="Sources: sdss-main, the SDSS main galaxies up to redshift 0.36.")
    ] = "sdss-main",
    survey: Annotated[
        str,
        typer.Option(help="Survey of the cutouts that needs no further options: ps1 or legacy."),
    ] = "ps1",
    bands: Annotated[str, typer.Option(help="Bands in order, such as grz.")] = "grizy",
    size: Annotated[int, typer.Option(min=1, max=3000, help="Width and height, in pixels.")] = 64,
    ensemble: Annotated[
        str, typer.Option(help="Ensemble whose decoder to use: a folder, or a shipped one's name.")
    ] = "mock-ps1",
    decoder: Annotated[
        Path | None, typer.Option(help="A decoder's folder or file, in place of an ensemble's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of sources.")] = 0,
    rate: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Requests a second to each host, at most.")
    ] = 10.0,
) -> None:
    """Make a training set: query, spectra, latents, cutouts; resumes if interrupted."""
    from targetsel.photometry.bands import parse_bands
    from targetsel.scoring.ensemble import find_ensemble
    from targetsel.surveys.http import Web
    from targetsel.surveys.registry import open_cutouts
    from targetsel.surveys.sdss import SdssSpectra, SkyServer
    from targetsel.training.from_archives import TrainingServices, find_sample, make_training_set

    web = Web(rate)
    cutouts = open_cutouts(survey, web, parse_bands(bands), size)
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
        lambda line: typer.echo(line, err=True),
    )
    for (step, reason), count in summary.dropped.items():
        typer.echo(f"{count:>10,}  dropped: {step}: {reason}")
    typer.echo(f"{summary.ready} of {summary.asked} sources are ready in {output}. Train on them:")
    typer.echo(
        f"targetsel train {output / 'cutouts'} --latents {output / 'latents.parquet'} "
        f"--decoder {output / 'decoder'} --catalog {output / 'catalog.parquet'} -o ENSEMBLE"
    )
    if summary.unfinished:
        typer.echo(f"{counted(summary.unfinished, 'source')} got no answer: run the command again")
