"""targetsel compare: measured spectra against the predictions from images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.terminal import counted


def compare(
    scored: Annotated[Path, typer.Argument(help="Scored catalog.")],
    spectra: Annotated[
        Path,
        typer.Option(help="Latents of measured spectra, written by 'targetsel spectra encode'."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Scored catalog to write.")],
    ensemble: Annotated[
        str, typer.Option(help="Ensemble of SCORED: a folder, or the name of a shipped one.")
    ] = "mock-ps1",
    seed: Annotated[int, typer.Option(help="Seed of the posterior draws.")] = 0,
) -> None:
    """Add to SCORED the surprise of each measured spectrum, and where it disagrees most."""
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.scoring.surprise import compare as compare_with
    from targetsel.tables.files import check_output

    check_output(output, (scored, spectra))
    n = compare_with(scored, spectra, Ensemble.read(ensemble, calibrated=False), output, seed)
    typer.echo(f"{counted(n, 'source')} compared with known spectra in {output}")
