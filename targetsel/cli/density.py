"""targetsel density: how dense targets lie, and how they crowd around one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.terminal import number, print_table
from targetsel.selection.reports.density import density as measure
from targetsel.selection.target_list import TargetList

HEADINGS = ("class", "targets", "mean /deg2", "5 %", "median", "95 %", "most")


def density(
    targets: Annotated[Path, typer.Argument(help="Target list.")],
    reach: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Radius within which targets compete for a fiber, arcsec; DESI's by default.",
        ),
    ] = 88.8,
    nside: Annotated[int, typer.Option(help="Of the HEALPix pixels to count in.")] = 64,
    scored: Annotated[
        Path | None,
        typer.Option(help="Scored catalog, whose pixels without targets are then counted too."),
    ] = None,
) -> None:
    """Measure the density of TARGETS on the sky and their neighbours within a fiber's REACH."""
    found = measure(TargetList.read(targets), reach, nside, scored)
    near = ("neighbours", "at most", "with any")
    rows = [
        (
            each.name,
            f"{each.n_targets:,}",
            *(number(value, ".4g") for value in each.per_deg2),
            number(each.neighbours, ".3g"),
            f"{each.most_neighbours:,}",
            number(each.crowded, ".1%"),
        )
        for each in found
    ]
    print_table((*HEADINGS, *near), rows)
    which = "that hold a target" if scored is None else f"where {scored} has sources"
    typer.echo(
        f"Densities in HEALPix pixels of nside {nside} {which}; neighbours within {reach:g} arcsec."
    )
