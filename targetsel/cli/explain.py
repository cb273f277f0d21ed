"""targetsel explain: why a source was chosen, or was not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import RulesOption, ScoredArgument
from targetsel.cli.select import only_scored_file
from targetsel.cli.terminal import number, print_table
from targetsel.rules.rules import Rules
from targetsel.selection.reports.explain import explain as explain_source

HEADINGS = ("  condition", "is", "value", "threshold", "margin (sigma)", "P")


def explain(
    rules: RulesOption,
    id: Annotated[str, typer.Option("--id", help="Id of a source, as the catalog has it.")],
    scored: ScoredArgument = None,
) -> None:
    """Show every condition of RULES for one source: value, threshold, margin and probability."""
    scored = scored or only_scored_file(Path())
    for each in explain_source(Rules.read(rules), id, scored):
        typer.echo(f"{each.name}: {each.verdict}")
        print_table(
            HEADINGS,
            [
                (
                    f"  {'  ' * row.depth}{row.text}",
                    row.outcome,
                    number(row.value),
                    number(row.threshold),
                    number(row.margin, "+.2f"),
                    number(row.probability, ".3f"),
                )
                for row in each.rows
            ],
        )
