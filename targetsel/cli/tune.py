"""targetsel tune: the bound that spends a fiber budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import ClassOption, RulesOption, ScoredArgument
from targetsel.cli.select import only_scored_file
from targetsel.cli.terminal import counted
from targetsel.rules.rules import Rules
from targetsel.selection.reports.tuning import tune as find_threshold


def tune(
    rules: RulesOption,
    class_: ClassOption,
    targets: Annotated[int, typer.Option(min=1, help="How many targets there may be.")],
    scored: ScoredArgument = None,
) -> None:
    """Find the bound of a class that TARGETS sources keep."""
    found = find_threshold(Rules.read(rules), class_, targets, scored or only_scored_file(Path()))
    if found.written is not None:
        typer.echo(f"now:   {found.text} {found.written}: {counted(found.n_written, 'source')}")
    if found.n_members:
        typer.echo(
            f"tuned: {found.text} {found.operator} {found.threshold!r}: "
            f"{counted(found.n_members, 'source')}"
        )
    if found.n_tied:
        typer.echo(
            f"next:  {found.text} {found.operator} {found.next_threshold!r}: "
            f"{counted(found.n_members + found.n_tied, 'source')}"
        )
    elif found.n_members < targets:
        typer.echo("No bound gives more: the other conditions let no more sources through.")
