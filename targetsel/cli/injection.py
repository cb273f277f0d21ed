"""targetsel inject: the selection function of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import EnsembleOption, ParquetOutput, RulesOption, ThreadsOption
from targetsel.cli.terminal import print_table, say
from targetsel.scoring import DEFAULT
from targetsel.workers.pool import available_cores


def inject(
    targets: Annotated[Path, typer.Argument(help="Target list, or scored catalog.")],
    cutouts: Annotated[Path, typer.Option(help="Cutout store that was scored.")],
    rules: RulesOption,
    output: ParquetOutput,
    dim: Annotated[
        str,
        typer.Option(help="Magnitudes by which galaxies are made fainter, such as 0.5,1."),
    ] = "",
    blur: Annotated[
        str,
        typer.Option(
            help="Full widths at half maximum in arcsec of Gaussians that images are blurred by, "
            "such as 0.3,0.6. A seeing of s becomes sqrt(s^2 + blur^2)."
        ),
    ] = "",
    noisier: Annotated[
        str, typer.Option(help="Factors on the noise of a pixel, 1 or more, such as 1.5,2.")
    ] = "",
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", help="Class of the rules; may be repeated. Default: all."),
    ] = None,
    sources: Annotated[
        int, typer.Option(help="Number of sources, chosen by a hash of their ids.")
    ] = 500,
    seed: Annotated[
        int, typer.Option("--seed", help="Seed that chooses sources and draws the noise.")
    ] = 0,
    survey: Annotated[
        str | None,
        typer.Option(
            help="Survey of the images, such as ps1: the brightness of its sky tells the noise of "
            "a galaxy's own light. Default: that noise is not restored."
        ),
    ] = None,
    ensemble: EnsembleOption = DEFAULT,
    threads: ThreadsOption = None,
    page: Annotated[Path | None, typer.Option(help="Report of one page to write, .html.")] = None,
) -> None:
    """Tell which share of TARGETS would be selected if they were fainter, or their images worse.

    Images are changed, scored by the ensemble that scored the catalog, and judged by the conditions
    of the rules. The values of --dim, --blur and --noisier are taken one at a time, and then the
    last of each together. A row of the output is a source after one step.

    Example:
        targetsel inject catalog.scored.parquet --cutouts cutouts --rules quiescent --dim 1,2 \\
            --sources 40 -o fainter.parquet
    """
    from targetsel.api import injection as api
    from targetsel.injection.figures import ClassShare, StepState

    found = api.inject(
        targets,
        cutouts,
        rules,
        output,
        dim=dim,
        blur=blur,
        noisier=noisier,
        classes=class_ or (),
        sources=sources,
        seed=seed,
        survey=survey,
        ensemble=ensemble,
        threads=threads or available_cores(),
        page=page,
    )
    print_table(ClassShare.headings, [each.cells for each in found.shares if each.is_whole])
    print_table(StepState.headings, [each.cells for each in found.states], 0)
    for line in found.facts:
        say(line)
    say(f"written to {output}{f' and {page}' if page else ''}")
