"""targetsel show: one source, its expected spectrum and lines, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    scored: Annotated[Path, typer.Argument(help="Scored catalog.")],
    id: Annotated[str, typer.Option("--id", help="Id of the source in the catalog.")],
    cutouts: Annotated[Path, typer.Option(help="Cutout store that SCORED was made from.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Picture to write: .png or .svg.")],
    ensemble: Annotated[
        str, typer.Option(help="Ensemble of SCORED: a folder, or the name of a shipped one.")
    ] = "mock-ps1",
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", help="Rule file whose classes are listed; may be repeated."),
    ] = None,
) -> None:
    """Draw a source's cutout, expected spectrum, line strengths and the verdicts of rules."""
    from targetsel.imaging.store import CutoutStore
    from targetsel.report.source import draw_source
    from targetsel.rules.rules import Rules
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.tables.files import check_output

    check_output(output, (scored, cutouts))
    chosen = [Rules.read(each) for each in rules or ()]
    draw_source(scored, id, CutoutStore.open(cutouts), Ensemble.read(ensemble), output, chosen)
    typer.echo(f"source {id} drawn in {output}")
