"""targetsel forecast: how many targets will turn out true, and how many true ones are missed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import (
    CalibrationOption,
    RulesOption,
    ScoredArgument,
    TruthOption,
    both,
)
from targetsel.cli.select import only_scored_file
from targetsel.cli.terminal import print_table
from targetsel.rules.rules import Rules
from targetsel.selection.reports.forecast import Expected, forecasts

HEADINGS = ("class", "members", "sum of P", "expected true", "purity", "completeness")


def forecast(
    rules: RulesOption,
    scored: ScoredArgument = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="Only this class. Default: all with a claim.")
    ] = None,
    calibration: CalibrationOption = None,
    truth: TruthOption = None,
) -> None:
    """Say how many members of each class of RULES are expected to be what the class claims."""
    known = both(calibration, truth)
    found = forecasts(Rules.read(rules), scored or only_scored_file(Path()), known, class_)
    rows = [
        (
            each.name,
            f"{each.n_selected:,}",
            f"{each.stated:,.1f}",
            _text(each.true, "{:,.1f}"),
            _text(each.purity, "{:.1%}"),
            _text(each.completeness, "{:.1%}"),
        )
        for each in found
    ]
    print_table(HEADINGS, rows)
    if known is None:
        typer.echo("Without a calibration there are no intervals: give --calibration and --truth.")


def _text(expected: Expected, form: str) -> str:
    if expected.value != expected.value:
        return "-"
    text = form.format(expected.value)
    if expected.interval is None:
        return text
    low, high = (form.format(each) for each in expected.interval)
    return f"{text} ({low} to {high})"
