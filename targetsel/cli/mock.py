"""targetsel mock: a simulated sky with images, spectra and the truth about them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.terminal import available_cores, counted, progress_bar

REAL = ("real galaxy", "real galaxies")


class CameraName(StrEnum):
    """Pan-STARRS 3pi (grizy), DECam Legacy Survey (grz), Rubin after one year (ugrizy)."""

    ps1 = "ps1"
    legacy = "legacy"
    lsst = "lsst"


def mock(
    n: Annotated[int, typer.Option("--n", help="Number of sources.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    seed: Annotated[int, typer.Option(help="Another seed, another sky.")] = 0,
    survey: Annotated[CameraName, typer.Option(help="Whose camera.")] = CameraName.ps1,
    variation: Annotated[
        Path | None, typer.Option(help="YAML file of changes to camera and galaxies.")
    ] = None,
    held_out: Annotated[
        bool,
        typer.Option(
            "--held-out", help="Of the galaxies that no shipped ensemble has learnt from."
        ),
    ] = False,
    show: Annotated[Path | None, typer.Option(help="PNG file to draw the first ones in.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: as many as there are cores.")
    ] = None,
) -> None:
    """Simulate images and spectra of real galaxies, and write what is true of them."""
    from targetsel.mock.camera import CAMERAS
    from targetsel.mock.variation import Variation
    from targetsel.mock.writing import CUTOUTS, TABLES, SkyPlan, check_folder, draw_page, write_sky
    from targetsel.tables.files import check_output

    varied = Variation.read(variation) if variation is not None else None
    plan = SkyPlan.of(n, seed, CAMERAS[survey.value], varied, held_out)
    check_folder(output)
    if show is not None:
        drawn_from = [output / CUTOUTS, *(output / f"{name}.parquet" for name in TABLES)]
        check_output(show, drawn_from if variation is None else [*drawn_from, variation])
    with progress_bar("simulating") as progress:
        write_sky(output, plan, workers or available_cores(), progress)
    typer.echo(
        f"{counted(n, 'mock source')} of {counted(min(n, len(plan.galaxies)), *REAL)} in "
        f"{output}/; images and spectra are simulated, with link {plan.variation.link:g} between "
        "shapes and spectra."
    )
    if show is not None:
        drawn = draw_page(output, show)
        typer.echo(f"{drawn} of them drawn in {show}")
