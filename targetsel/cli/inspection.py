"""targetsel inspect: pages on which people look at targets and note what they see."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import EnsembleOption, KnownOption, KnownRadiusOption, both
from targetsel.cli.terminal import print_table, say, say_written
from targetsel.documents.text_table import number
from targetsel.errors import counted
from targetsel.inspection import PORT
from targetsel.scoring import DEFAULT


def inspect(
    targets: Annotated[Path, typer.Argument(help="Target list, or scored catalog.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder to write; a page that is there already is replaced."
        ),
    ],
    cutouts: Annotated[
        Path | None,
        typer.Option(help="Cutout store. Default: the one that was scored, if it lies beside."),
    ] = None,
    scored: Annotated[
        Path | None,
        typer.Option(
            help="Scored catalog that a target list was selected from. Default: the one beside it."
        ),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rules",
            help="Rule file whose conditions are shown; may be repeated. Default: the list's own.",
        ),
    ] = None,
    spectra: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of measured spectra, or folder of such files, drawn over the predicted "
            "ones; may be repeated."
        ),
    ] = None,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
    like: Annotated[
        Path | None,
        typer.Option(
            help="Scored catalog of labelled sources, such as those of a training or calibration: "
            "the three most alike to each target are shown beside it. Needs --truth."
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="Table in any format with what was measured of the sources in --like."),
    ] = None,
    ensemble: EnsembleOption = DEFAULT,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Serve the page to browsers of this machine, and keep notes in a file."
        ),
    ] = False,
    notes: Annotated[
        Path | None,
        typer.Option(
            help="With --serve: CSV file to keep notes in; those that are there stay. Default: "
            "beside the page's folder, named as it, such as page.notes.csv."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="With --serve: port on 127.0.0.1; 0 takes one that is free.")
    ] = PORT,
) -> None:
    """Write a page to look at targets one by one and note what is seen: index.html in a folder.

    It works from disk in any browser, without a network. It shows each target's cutout, predicted
    and measured spectrum, line strengths, typicality and why it was selected; the list can be
    filtered and sorted by any column. Notes stay in the browser until they are exported; with
    --serve they are kept in a file as they are made, until Ctrl-C.

    Example:
        targetsel inspect emission.targets.parquet -o page
    """
    from targetsel.api import inspection as api

    page = api.inspect(
        targets,
        output,
        cutouts=cutouts,
        scored=scored,
        rules=rules,
        spectra=spectra,
        known=known,
        known_radius=known_radius,
        like=both(like, truth, "--like"),
        ensemble=ensemble,
        serve=serve,
        notes=notes,
        port=port,
    )
    for line in page.said:
        say(line)
    written = f"{counted(page.n_targets, 'target')}, {page.n_bytes / 1e6:.2f} MB."
    if page.served is None:
        say(f"{written} Open {page.path} in a browser.")
        return
    with contextlib.suppress(KeyboardInterrupt):  # which may come at any moment from here on
        say(f"{written} Notes are kept in {page.served.notes}. Ctrl-C ends the server.")
        say(f"Open {page.served.address} in a browser of this machine.")
        page.served.wait()
    say(page.served.close())


def inspect_merge(
    notes: Annotated[
        list[Path],
        typer.Argument(help="CSV files of notes: exported, kept by --serve, or of prospect."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Table to write, in the format of its ending."),
    ],
) -> None:
    """Join the NOTES of several people by source, and tell how far they agree.

    'targetsel select --known' takes the table: known are then the sources with a redshift
    on which people do not differ, and a mean quality of 2.5 or more.

    Example, with notes that two people exported:
        targetsel inspect-merge ada.csv bea.csv -o inspected.parquet
    """
    from targetsel.api import inspection as api

    merged = api.inspect_merge(notes, output)
    rows = [
        (
            f"{each.one} and {each.other}" if each.other else "all",
            f"{each.n_sources:,}",
            number(each.share, ".3f") if each.n_sources else "",
            number(each.kappa, ".3f") if each.kappa == each.kappa else "",
        )
        for each in merged.agreements
    ]
    print_table(("quality by", "sources", "same", "kappa"), rows)
    say(f"{counted(len(merged.table), 'source')}, {merged.n_disputes:,} of them disputed")
    say_written(output)
