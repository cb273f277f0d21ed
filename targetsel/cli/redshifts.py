"""targetsel join-redshifts: redshifts from elsewhere in a scored catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import ScoredArgument, ScoredOutput
from targetsel.cli.terminal import say, say_written

WHAT = {
    "elsewhere": "with the redshift of the file",
    "both": "with the redshifts of the file and of the image combined",
    "disagree": "without a redshift, since file and image have none in common",
    "image": "with the image's own redshift",
    "": "without a redshift",
}


def join_redshifts(
    scored: ScoredArgument,
    redshift_pdf: Annotated[
        Path,
        typer.Option(
            help="Redshifts: a file of qp (HDF5, Parquet), or a table of values and errors or of "
            "nested densities."
        ),
    ],
    output: ScoredOutput,
    redshift: Annotated[
        str,
        typer.Option(help="Column of the table with values or densities. Default: usual names."),
    ] = "",
    redshift_error: Annotated[
        str,
        typer.Option(help="Column with standard deviations, or one for all. Default: usual names."),
    ] = "",
    id_col: Annotated[
        str | None, typer.Option(help="Column of ids of the redshifts. Default: usual names.")
    ] = None,
    combine: Annotated[
        bool,
        typer.Option("--combine", help="Multiply the densities with those of the image."),
    ] = False,
) -> None:
    """Write SCORED with redshifts from elsewhere as photoz, and line strengths as they follow.

    Sources are joined by id; those that the file lacks keep the image's redshift. Rules and
    'targetsel observe' then mean these redshifts. With --combine the two must rest on different
    data.

    Example:
        targetsel join-redshifts catalog.scored.parquet --redshift-pdf known-spectra.parquet \\
            --redshift-error 0.001 -o with-redshifts.parquet
    """
    from targetsel.api import redshifts as api

    run = api.join_redshifts(
        scored,
        redshift_pdf,
        output,
        redshift=redshift,
        redshift_error=redshift_error,
        id_col=id_col,
        combine=combine,
    ).run
    assert run is not None
    say(
        f"{run.n_matched:,} of {run.n_sources:,} sources matched, of {run.n_given:,} in "
        f"{redshift_pdf}"
    )
    for origin, what in WHAT.items():
        if run.origins[origin]:
            say(f"{run.origins[origin]:>10,}  {what}")
    say_written(output)
