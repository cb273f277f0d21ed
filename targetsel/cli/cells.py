"""targetsel cells: parts of the space of features, and which of them have spectra."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import (
    BrightnessOption,
    KnownRadiusOption,
    ScoredArgument,
    ScoredOutput,
)
from targetsel.cli.terminal import say, say_written
from targetsel.errors import counted


class FeatureKind(StrEnum):
    latents = "latents"
    colours = "colours"


def cells(
    scored: ScoredArgument,
    output: ScoredOutput,
    cells: Annotated[int, typer.Option(help="Number of cells to find, 2 to 5000.")] = 200,
    features: Annotated[
        FeatureKind,
        typer.Option(
            help="What cells are of: latents (means of the predicted posterior) or colours (a "
            "magnitude and the colours of neighbouring bands)."
        ),
    ] = FeatureKind.latents,
    like: Annotated[
        Path | None,
        typer.Option(
            help="File that this command wrote, whose cells are taken over; --cells, --features "
            "and --seed do not matter then."
        ),
    ] = None,
    known: Annotated[
        list[Path] | None,
        typer.Option(
            help="Spectra that were taken, as of 'targetsel select --known'; may be repeated. "
            "Default: the column 'known' of SCORED, if it has one."
        ),
    ] = None,
    known_radius: KnownRadiusOption = 1.0,
    targets: Annotated[
        Path | None,
        typer.Option(
            help="Target list that was chosen from SCORED, whose targets are counted, too."
        ),
    ] = None,
    brightness: BrightnessOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample of which cells are found.")] = 0,
    picture: Annotated[
        Path | None,
        typer.Option(help="Picture to write (.png, .pdf, .svg): cells with and without spectra."),
    ] = None,
) -> None:
    """Write SCORED with the cell of each source: a part of the space of features with its spectra.

    The columns cell, cell_sources and cell_known tell rules which sources are of a kind of which
    few have spectra, as in 'limit: {per_cell: 5}' or 'where: cell_known < 3'. Sources without the
    features are in no cell.

    Example:
        targetsel cells catalog.scored.parquet --cells 20 --known known-spectra.parquet \\
            -o cells.parquet
    """
    from targetsel.api import cells as api

    run = api.cells(
        scored,
        output,
        cells=cells,
        features=features.value,
        like=like,
        known=known or None,
        known_radius=known_radius,
        targets=targets,
        brightness=brightness or (),
        seed=seed,
        picture=picture,
    ).run
    assert run is not None
    names = run.centres.names
    kinds = f"{len(names)} latents" if run.centres.kind == "latents" else ", ".join(names)
    said = f"{counted(run.n_sources, 'source')} in {len(run.centres):,} cells of {kinds}"
    if run.n_without_cell:
        said += f"; {run.n_without_cell:,} of them lack these and are in none"
    say(said)
    if run.match is not None:
        for line in run.match.lines:
            say(line)
    if run.says_known:
        say(
            f"{int(run.known.sum()):,} sources of cells have a spectrum; {run.n_unknown:,} cells, "
            f"with {run.share_unknown:.0%} of the sources, have none"
        )
    else:
        say("nothing says which sources have a spectrum; name files of spectra with --known")
    if run.targets is not None:
        bare = int(((run.known == 0) & (run.targets == 0)).sum())
        lack = " without a spectrum have no target either" if run.says_known else " have no target"
        say(f"{run.n_listed:,} sources are targets; {counted(bare, 'cell')}{lack}")
    say_written(output)
    if picture is not None:
        say(f"picture written to {picture}")
