"""targetsel randoms: random points under the footprint and masks of a rule file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import RulesOption
from targetsel.cli.terminal import print_table
from targetsel.errors import CatalogError
from targetsel.rules.rules import Rules, find_rules
from targetsel.selection.reports.randoms import randoms as write_randoms


def randoms(
    rules: RulesOption,
    points: Annotated[
        Path | None, typer.Argument(help="Table of random points with ra and dec.")
    ] = None,
    per_deg2: Annotated[
        float | None,
        typer.Option(min=0.0, help="Without POINTS: make this many per square degree."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: <rules>.randoms.parquet.")
    ] = None,
) -> None:
    """Keep the random POINTS at which RULES could have targets."""
    if (points is None) == (per_deg2 is None):
        raise CatalogError("name a table of random points, or give --per-deg2 to make some")
    output = output or Path(f"{find_rules(rules).stem}.randoms.parquet")
    source = points if points is not None else per_deg2
    assert source is not None
    done = write_randoms(Rules.read(rules), output, source)
    print_table(
        ("class", "points kept"), [(each.name, f"{each.n_kept:,}") for each in done.classes]
    )
    for each in done.classes:
        if each.left_out:
            typer.echo(f"{each.name}: not asked of points: {', '.join(each.left_out)}")
    typer.echo(f"{done.n_written:,} of {done.n_points:,} points written to {done.output}")
