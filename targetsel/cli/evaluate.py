"""targetsel evaluate: quality of predictions, measured on sources with known spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.report.evaluation import PAGE, TABLE, write_evaluation


def evaluate(
    scored: Annotated[Path, typer.Argument(help="Scored catalog.")],
    truth: Annotated[
        Path, typer.Option(help="Parquet with the ids and the true latents or proxies.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder to write a table and an HTML page to; made if missing."
        ),
    ],
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", help="Rule file; may be repeated. Default: the shipped ones."),
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(
            help="Condition on proxies whose probability is checked, such as 'd4000 > 1.6'."
        ),
    ] = None,
) -> None:
    """Measure the quality of the predictions in SCORED on sources with known spectra."""

    def tell(done: str) -> None:
        typer.echo(done, err=True)

    found = write_evaluation(scored, truth, output, rules or (), claim, tell)
    typer.echo(f"{len(found.figures):,} figures written to {output / TABLE}")
    typer.echo(f"page written to {output / PAGE}")
