"""targetsel demo: the whole walk on real galaxies with simulated images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from targetsel.cli.terminal import available_cores, progress_bar


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put everything.")] = Path("demo"),
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="Only this many sources. Default: all 2,400.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Workers.")] = None,
) -> None:
    """Simulate images of a real catalog, score it, select from it, and compare with the truth."""
    from targetsel.mock.demonstration import run

    with progress_bar("simulating and scoring") as progress:
        outcomes = run(folder, n, threads or available_cores(), progress)
    table = Table(box=None, pad_edge=False)
    for heading in ("rules", "class"):
        table.add_column(heading)
    for heading in ("selected", "expected true", "actual true"):
        table.add_column(heading, justify="right")
    for each in outcomes:
        table.add_row(
            each.rules,
            each.name,
            str(each.selected),
            "-" if each.expected_true is None else f"{each.expected_true:.1f}",
            "-" if each.actual_true is None else str(each.actual_true),
        )
    out = Console(soft_wrap=True, highlight=False, markup=False)
    out.print(table)
    out.print(
        "Positions, redshifts and magnitudes are real SDSS galaxies; images and spectra are "
        "simulated,\nso these counts show how the code works, not how well it does on the sky."
    )
    out.print(f"catalog, cutouts, truth, scores and target lists are in {folder}/")
