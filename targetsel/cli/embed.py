"""targetsel embed: what an ensemble's networks see in each source, as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import (
    DecOption,
    EnsembleOption,
    IdOption,
    RaOption,
    ThreadsOption,
)
from targetsel.cli.score import Device, chosen_device
from targetsel.cli.terminal import say, say_written
from targetsel.scoring import DEFAULT
from targetsel.workers.pool import available_cores


def embed(
    catalog: Annotated[
        Path,
        typer.Argument(
            help="Imaging catalog: Parquet (file or folder), FITS, VOTable, ECSV or CSV."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Table to write, with a vector in each row.")
    ],
    cutouts: Annotated[
        Path | None,
        typer.Option(help="Cutout store. Default: the folder cutouts/ beside CATALOG."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Table with the vectors that the ensemble itself takes, if it does."),
    ] = None,
    ensemble: EnsembleOption = DEFAULT,
    device: Annotated[
        Device,
        typer.Option(help="Device that the networks run on; auto takes CUDA if there is one."),
    ] = Device.auto,
    threads: ThreadsOption = None,
    ra_col: RaOption = None,
    dec_col: DecOption = None,
    id_col: IdOption = None,
) -> None:
    """Write what an ensemble's networks see in each source of CATALOG, as vectors of features.

    Sources that look alike have vectors that are near each other: for clustering, for the search
    of similar sources, or to train on with 'targetsel train --embeddings'.

    Example:
        targetsel embed catalog.parquet -o features.parquet
    """
    from targetsel.api import embeddings as api

    statuses = api.embed(
        catalog,
        cutouts,
        ensemble,
        output,
        embeddings=embeddings,
        threads=threads or available_cores(),
        device=chosen_device(device),
        ra_col=ra_col,
        dec_col=dec_col,
        id_col=id_col,
    )
    for status, count in sorted(statuses.items(), key=lambda item: -item[1]):
        say(f"{count:>10,}  {status}")
    say_written(output)
