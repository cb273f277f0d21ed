"""targetsel diff: what a change of rules changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import CalibrationOption, TruthOption, both
from targetsel.cli.select import SCORED, only_scored_file
from targetsel.cli.terminal import print_table
from targetsel.errors import RuleError
from targetsel.rules.rules import Rules
from targetsel.selection.reports.difference import ClassDifference, compare_lists, compare_rules
from targetsel.selection.target_list import TargetList

LIST = ".parquet"


def diff(
    before: Annotated[str, typer.Argument(help="Rule file or target list.")],
    after: Annotated[str, typer.Argument(help="The same kind of file, changed.")],
    scored: Annotated[
        Path | None,
        typer.Option(
            help="Scored catalog to ask for reasons. Default for rule files: the only "
            f"*{SCORED} of this folder."
        ),
    ] = None,
    calibration: CalibrationOption = None,
    truth: TruthOption = None,
) -> None:
    """Show who enters and who leaves from BEFORE to AFTER, and which condition did it."""
    lists = [each.endswith(LIST) for each in (before, after)]
    if lists[0] != lists[1]:
        raise RuleError(f"{before}, {after}: compare two rule files, or two target lists ({LIST})")
    if lists[0]:
        found = compare_lists(TargetList.read(Path(before)), TargetList.read(Path(after)), scored)
    else:
        catalog = scored or only_scored_file(Path())
        known = both(calibration, truth)
        found = compare_rules(Rules.read(before), Rules.read(after), catalog, known)
    show(found)
    if lists[0] and scored is None:
        typer.echo("Name the scored catalog with --scored to see which condition did it.")


def show(differences: tuple[ClassDifference, ...]) -> None:
    """Print what changed, class by class."""
    print_table(
        ("class", "before", "after", "entered", "left"),
        [(each.name, *(f"{n:,}" for n in each.counts)) for each in differences],
    )
    for each in differences:
        _reasons(f"{each.name}: entered, kept out before by", each.entered_by)
        _reasons(f"{each.name}: left, kept out now by", each.left_by)


def _reasons(title: str, reasons: Mapping[str, int]) -> None:
    if reasons:
        typer.echo(title)
    for condition, n in reasons.items():
        typer.echo(f"  {n:>9,}  {condition}")
