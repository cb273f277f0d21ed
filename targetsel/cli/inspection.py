"""targetsel inspect: pages on which people look at targets and note what they see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import (
    SCORED,
    EnsembleOption,
    KnownOption,
    KnownRadiusOption,
    only_scored_file,
)
from targetsel.cli.terminal import say
from targetsel.errors import counted
from targetsel.scoring import DEFAULT


def inspect(
    targets: Annotated[Path, typer.Argument(help="Target list, or scored catalog.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder to write; a page that is there already is replaced."
        ),
    ],
    cutouts: Annotated[
        Path | None,
        typer.Option(help="Cutout store that was scored. Default: a page without pictures."),
    ] = None,
    scored: Annotated[
        Path | None,
        typer.Option(
            help="Scored catalog that a target list was selected from. Default: the only "
            f"*{SCORED} of this folder."
        ),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rules",
            help="Rule file whose conditions are shown; may be repeated. Default: the list's own.",
        ),
    ] = None,
    spectra: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of measured spectra, or folder of such files, drawn over the predicted "
            "ones; may be repeated."
        ),
    ] = None,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
    ensemble: EnsembleOption = DEFAULT,
) -> None:
    """Write a page to look at targets one by one and note what is seen: index.html in a folder.

    It works from disk in any browser, without a network. It shows each target's cutout, predicted
    and measured spectrum, line strengths, typicality and why it was selected; the list can be
    filtered and sorted by any column. Notes stay in the browser until they are exported.

    Example:
        targetsel inspect emission.targets.parquet --cutouts cutouts -o page
    """
    from targetsel.api import inspection as api
    from targetsel.report.sheet import is_scored

    source = targets if is_scored(targets) else scored or only_scored_file()
    page = api.inspect(
        targets,
        output,
        cutouts=cutouts,
        scored=source,
        rules=rules,
        spectra=spectra,
        known=known,
        known_radius=known_radius,
        ensemble=ensemble,
    )
    if page.said:
        say(page.said)
    say(
        f"{counted(page.n_targets, 'target')}, {page.n_bytes / 1e6:.2f} MB. Open {page.path} in a "
        "browser."
    )
