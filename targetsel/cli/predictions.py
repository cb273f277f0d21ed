"""The commands evaluate, compare and show: predictions beside known spectra, and one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import (
    EnsembleOption,
    ScoredArgument,
    ScoredOutput,
    SeedOption,
    SourceIdOption,
    TruthFileOption,
)
from targetsel.cli.terminal import say, say_joined


def evaluate(
    scored: ScoredArgument,
    truth: TruthFileOption,
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
            help="Condition on proxies whose probability is checked, such as 'd4000 > 1.6'; may be "
            "repeated."
        ),
    ] = None,
) -> None:
    """Measure the quality of the predictions in SCORED on sources with known spectra."""
    from targetsel.report.evaluation import PAGE, TABLE, write_evaluation

    def tell(done: str) -> None:
        say(done, err=True)

    found = write_evaluation(scored, truth, output, rules or (), claim, tell)
    say_joined(found.about["n"], found.about["left_out"], found.about["simulated"])
    say(f"{len(found.figures):,} figures of merit written to {output / TABLE}")
    say(f"page written to {output / PAGE}")


def compare(
    scored: ScoredArgument,
    spectra: Annotated[
        Path,
        typer.Option(help="Latents of measured spectra, written by 'targetsel spectra encode'."),
    ],
    output: ScoredOutput,
    ensemble: EnsembleOption = "mock-ps1",
    seed: SeedOption = 0,
) -> None:
    """Add to SCORED the surprise of each measured spectrum, and where it disagrees most."""
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.scoring.surprise import compare as compare_with
    from targetsel.tables.files import check_table_output
    from targetsel.tables.parquet import is_simulated

    check_table_output(output, (scored, spectra), parquet=True)
    found = compare_with(scored, spectra, Ensemble.read(ensemble, calibrated=False), output, seed)
    say_joined(found.n, found.left_out, is_simulated(scored) or is_simulated(spectra))
    say(f"compared in {output}")


def show(
    scored: ScoredArgument,
    id: SourceIdOption,
    cutouts: Annotated[Path, typer.Option(help="Cutout store that SCORED was made from.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png or .svg.")],
    ensemble: EnsembleOption = "mock-ps1",
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", help="Rule file whose classes are listed; may be repeated."),
    ] = None,
) -> None:
    """Draw one source: its cutout, expected spectrum and line strengths, and its classes."""
    from targetsel.imaging.store import CutoutStore
    from targetsel.report.source import draw_source
    from targetsel.rules.rules import Rules
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.tables.files import check_output

    check_output(output, (scored, cutouts))
    chosen = [Rules.read(each) for each in rules or ()]
    draw_source(scored, id, CutoutStore.open(cutouts), Ensemble.read(ensemble), output, chosen)
    say(f"source {id} drawn in {output}")
