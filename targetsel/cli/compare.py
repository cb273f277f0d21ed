"""targetsel compare: measured spectra against what images had made expect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.terminal import counted


def compare(
    scored: Annotated[Path, typer.Argument(help="Scored catalog.")],
    spectra: Annotated[
        Path, typer.Option(help="Latents of measured spectra, by 'targetsel spectra encode'.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet file to write.")],
    ensemble: Annotated[
        str, typer.Option(help="The ensemble that scored it: a folder, or a shipped one's name.")
    ] = "mock-ps1",
    seed: Annotated[int, typer.Option(help="Seed of the posterior's draws.")] = 0,
) -> None:
    """Add to SCORED how surprising each measured spectrum is, and in what it disagrees."""
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.scoring.surprise import compare as compare_with
    from targetsel.tables.files import check_output

    check_output(output, (scored, spectra))
    n = compare_with(scored, spectra, Ensemble.read(ensemble, calibrated=False), output, seed)
    typer.echo(f"{counted(n, 'source')} compared with known spectra in {output}")
