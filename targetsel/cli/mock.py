"""The commands targetsel mock, which simulates a sky, and targetsel demo, the whole walk on one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import ThreadsOption
from targetsel.cli.terminal import print_table, say
from targetsel.documents.text_table import number
from targetsel.errors import counted
from targetsel.workers.pool import available_cores

REAL = ("real galaxy", "real galaxies")
NEXT = """\
  # rules to begin with: change them, and see what each condition rejects
  targetsel funnel --rules my-first-rules.yaml
  # the targets of a list, with what is expected of their spectra
  targetsel show --all emission.targets.parquet --cutouts cutouts -o sheet.pdf
  # a list for DESI; settings/ has a file for each of the other tools, too
  targetsel export quiescent.targets.parquet --for desi --config settings/desi.yaml"""


def mock(
    n: Annotated[int, typer.Option("--n", help="Number of sources.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 0,
    survey: Annotated[
        str,
        typer.Option(
            help="Survey whose camera is simulated: ps1 (grizy), sdss (ugriz), legacy (DECam's "
            "grz), hsc (grizy), kids (KiDS and VIKING, nine bands), lsst (Rubin after one year, "
            "ugrizy) or euclid (VIS, Y, J, H)."
        ),
    ] = "ps1",
    variation: Annotated[
        Path | None, typer.Option(help="YAML file with changes to the camera and the galaxies.")
    ] = None,
    held_out: Annotated[
        bool,
        typer.Option(
            "--held-out", help="Use only galaxies that no shipped ensemble was trained on."
        ),
    ] = False,
    page: Annotated[
        Path | None, typer.Option("--show", help="PNG file for a picture of the first sources.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of worker processes. Default: all cores.")
    ] = None,
) -> None:
    """Simulate images and spectra of galaxies, and write them with their true properties.

    Galaxies are real ones of SDSS, two in five of them moved farther away; where there are no more,
    they are repeated, fainter. Images have the trouble of real ones. A variation of `realism: 0`
    and `farther: 0` is a tidy sky of the galaxies where they are.

    Example:
        targetsel mock --n 200 -o sky --show sky.png
    """
    from targetsel.api.mock_skies import mock_sky

    plan = mock_sky(
        output,
        n,
        seed=seed,
        survey=survey,
        variation=variation,
        held_out=held_out,
        picture=page,
        workers=workers or available_cores(),
    )
    say(
        f"{counted(n, 'mock source')} of {counted(min(n, len(plan.galaxies)), *REAL)} in "
        f"{output}/; images and spectra are simulated, with link {plan.variation.link:g} between "
        "shapes and spectra."
    )
    if page is not None:
        say(f"the first of them drawn in {page}")


def demo(
    output: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to write all files to.")
    ] = Path("demo"),
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="Number of sources. Default: all 2,437.")
    ] = None,
    threads: ThreadsOption = None,
) -> None:
    """Simulate a catalog and its images, score it, select from it, and compare with the truth.

    Example:
        targetsel demo smaller --n 100
    """
    from targetsel.api import mock_skies as api

    outcomes = api.demo(output, n, threads=threads or available_cores())
    print_table(
        ("rules", "class", "selected", "expected true", "actual true"),
        [
            (
                each.rules,
                each.name,
                f"{each.selected:,}",
                number(each.expected_true, ",.1f"),
                number(each.actual_true, ",d"),
            )
            for each in outcomes
        ],
        n_texts=2,
    )
    say(
        "Galaxies are real ones of SDSS, two in five of them moved farther away; images and "
        "spectra are\nsimulated, so these counts show how the code works, not how well it does on "
        "the sky."
    )
    say(f"catalog, cutouts, truth, scores and target lists are in {output}/. Try there:")
    say(NEXT)
    say("Each command's --help ends with an example that works in this folder.")
