"""targetsel evaluate: how good predictions are, against sources of known spectra."""

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
        Path, typer.Option("--output", "-o", help="Folder for a table and a page; made if missing.")
    ],
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", help="Rule file, may be repeated. Default: the shipped ones."),
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="Condition on proxies whose P is checked, such as 'd4000 > 1.6'."),
    ] = None,
) -> None:
    """Say how far the predictions in SCORED can be trusted, by sources of known spectra."""

    def tell(done: str) -> None:
        typer.echo(done, err=True)

    found = write_evaluation(scored, truth, output, rules or (), claim, tell)
    typer.echo(f"{len(found.figures):,} figures written to {output / TABLE}")
    typer.echo(f"page written to {output / PAGE}")
