"""targetsel funnel: what every condition lets through, and what it alone keeps out."""

from __future__ import annotations

from pathlib import Path

import typer

from targetsel.cli.options import RulesOption, ScoredArgument
from targetsel.cli.select import only_scored_file
from targetsel.cli.terminal import counted, print_table
from targetsel.rules.rules import Rules
from targetsel.selection.funnel import funnel as count

HEADINGS = ("passes alone", "cumulatively", "missing", "only this rejects")


def funnel(rules: RulesOption, scored: ScoredArgument = None) -> None:
    """Count, condition by condition, the sources that RULES let through."""
    for each in count(Rules.read(rules), scored or only_scored_file(Path())):
        typer.echo(f"{each.name}: {each.n_passed:,} of {counted(each.n_sources, 'source')}")
        print_table(
            ("  condition", *HEADINGS),
            [(f"  {row.condition}", *(f"{n:,}" for n in row.counts)) for row in each.rows],
        )
