"""targetsel select: from a scored catalog and rule files to a target list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from targetsel.cli.options import CalibrationOption, ScoredArgument, TruthOption, both
from targetsel.cli.terminal import counted
from targetsel.errors import CatalogError
from targetsel.rules.rules import Rules, find_rules
from targetsel.selection.select import Summary
from targetsel.selection.select import select as select_targets

SCORED = ".scored.parquet"


def select(
    rules: Annotated[
        list[str],
        typer.Option(
            help="Rule file, or the name of a shipped one, such as emission. May be repeated: "
            "all classes come into one list."
        ),
    ],
    scored: ScoredArgument = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Default: <rules>.targets.parquet beside SCORED."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count; nothing is written.")
    ] = False,
    with_funnels: Annotated[
        bool,
        typer.Option(
            "--funnel", help="Keep in the list's footer also what each condition rejects alone."
        ),
    ] = False,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Looking side by side.")] = 1,
    calibration: CalibrationOption = None,
    truth: TruthOption = None,
) -> None:
    """Choose the targets of a scored catalog that obey RULES."""
    scored = scored or only_scored_file(Path())
    stem = "+".join(find_rules(name).stem for name in rules)
    output = output or scored.parent / f"{stem}.targets.parquet"
    together = Rules.together(Rules.read(name) for name in rules)
    known = both(calibration, truth)
    show(select_targets(scored, together, output, threads, dry_run, known, with_funnels))


def only_scored_file(folder: Path) -> Path:
    """The only scored catalog of a folder.

    Raises
    ------
    CatalogError
        If there is none, or if there are several; it lists them.
    """
    found = sorted(folder.glob(f"*{SCORED}"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise CatalogError(
            f"{folder.resolve()}: no *{SCORED} here. Name one, or make one with targetsel score."
        )
    names = ", ".join(path.name for path in found)
    raise CatalogError(f"several scored catalogs here: {names}. Name the one to select from.")


def show(summary: Summary) -> None:
    """Print what was selected, class by class."""
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for heading in ("priority", "passed", "selected", "expected true", "expected purity"):
        table.add_column(heading, justify="right")
    for each in summary.classes:
        purity = each.expected_purity
        table.add_row(
            each.name,
            str(each.priority),
            f"{each.n_passed:,}",
            f"{each.n_selected:,}",
            "-" if each.expected_true is None else f"{each.expected_true:,.1f}",
            "-" if purity is None else f"{purity:.0%}",
        )
    console = Console(soft_wrap=True, markup=False)
    console.print(table)
    sources = counted(summary.n_sources, "source")
    targets = counted(summary.n_targets, "target")
    where = f"written to {summary.output}" if summary.written else "chosen; nothing was written"
    console.print(f"{targets} of {sources} {where}", highlight=False)
