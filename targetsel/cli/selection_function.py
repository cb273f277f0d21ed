"""targetsel selection-function: how probable it was that a source would be chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import CalibrationOption, RulesOption, ScoredArgument, TruthOption, both
from targetsel.cli.select import only_scored_file
from targetsel.cli.terminal import print_table
from targetsel.rules.rules import Rules, find_rules
from targetsel.selection.reports.selection_function import write_selection_function


def selection_function(
    rules: RulesOption,
    scored: ScoredArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: <rules>.inclusion.parquet.")
    ] = None,
    map_: Annotated[
        Path | None, typer.Option("--map", help="Default: <rules>.inclusion-map.parquet.")
    ] = None,
    nside: Annotated[int, typer.Option(help="Of the map's HEALPix pixels.")] = 64,
    calibration: CalibrationOption = None,
    truth: TruthOption = None,
) -> None:
    """Write every target's inclusion probability, and a sky map of their mean."""
    scored = scored or only_scored_file(Path())
    stem = find_rules(rules).stem
    output = output or scored.parent / f"{stem}.inclusion.parquet"
    map_ = map_ or scored.parent / f"{stem}.inclusion-map.parquet"
    known = both(calibration, truth)
    found = write_selection_function(Rules.read(rules), scored, output, map_, nside, known)
    print_table(
        ("class", "candidates", "selected", "weights"),
        [
            (
                each.name,
                f"{each.n_candidates:,}",
                f"{each.n_selected:,}",
                "unbiased" if each.randomised else "descriptive: not only chance decided",
            )
            for each in found
        ],
    )
    typer.echo(f"written to {output} and {map_}")
