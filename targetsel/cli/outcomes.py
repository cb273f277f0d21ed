"""targetsel outcomes: what came of a target list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.api import outcomes as api
from targetsel.cli.terminal import print_table, say


def outcomes(
    targets: Annotated[Path, typer.Argument(help="Target list whose spectra were taken.")],
    assigned: Annotated[
        list[Path] | None,
        typer.Option(
            help="Assignment: DESI fba-*.fits or fiberassign-*.fits; PFS pfsDesign-*.fits or "
            "pfsConfig-*.fits; may be repeated. Default: the targets that have a row in --truth, "
            "or a spectrum, are those that were observed."
        ),
    ] = None,
    spectra: Annotated[
        list[Path] | None,
        typer.Option(help="Spectra, as 'spectra measure' takes them; may be repeated."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Table in any format in place of --spectra: ids, and redshifts, lines or both. A "
            "row without any, with success false, a zwarn other than 0, a status other than "
            "ok or a quality (NQ, ZQUALITY) below 3 is a failure."
        ),
    ] = None,
    redshifts: Annotated[
        Path | None,
        typer.Option(help="Table of redshifts by id, for --spectra without their own."),
    ] = None,
    inclusion: Annotated[
        Path | None,
        typer.Option(
            help="Inclusion probabilities that 'selection-function' wrote for this list, so that "
            "figures stand for all candidates."
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(help="Map FILE.ids.ecsv written by export, for tools with their own ids."),
    ] = None,
    proposal: Annotated[
        list[str] | None,
        typer.Option(
            help="PFS: catId or proposalId of your targets, for shared designs; may be repeated."
        ),
    ] = None,
    window: Annotated[
        list[str] | None,
        typer.Option(
            help="Window of redshift, as 0.7-1.1, whose share is wanted; may be repeated. Default: "
            "equal steps, on the page and in the table's footer alone."
        ),
    ] = None,
    succeeds: Annotated[
        list[str] | None,
        typer.Option(
            help="When a spectrum should succeed, as 'snr_halpha > 7' or 'exposure_time_oii < 30 "
            "min', by what 'observe' predicted; may be repeated, and any suffices. Default: a line "
            "of the list with S/N above 5."
        ),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Report of one page to write, .html.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Table to write, in the format of its ending. Default: TARGETS with 'outcomes' in "
            "its name.",
        ),
    ] = None,
) -> None:
    """Count what came of TARGETS, class by class, beside what the list had stated.

    Example:
        targetsel outcomes quiescent.targets.parquet --assigned fba-simulated.fits \\
            --truth truth.parquet --page quiescent.html
    """
    from targetsel.api.handoff import stem_of
    from targetsel.report.outcome_redshifts import RedshiftOutcome, window_of
    from targetsel.report.outcome_success import SuccessOutcome
    from targetsel.report.outcomes import ClassOutcome, LineOutcome

    output = output or targets.with_name(f"{stem_of(targets)}.outcomes.parquet")
    found = api.outcomes(
        targets,
        output,
        assigned=assigned or None,
        spectra=spectra or None,
        truth=truth,
        redshifts=redshifts,
        inclusion=inclusion,
        page=page,
        ids=ids,
        proposal=proposal or (),
        succeeds=succeeds or (),
        windows=[window_of(each) for each in window or ()],
    )
    print_table(ClassOutcome.headings, [each.cells for each in found.classes])
    if found.forecasts:
        print_table(SuccessOutcome.headings, [each.cells for each in found.forecasts], 2)
    if found.lines:
        print_table(LineOutcome.headings, [each.cells for each in found.lines])
    if found.redshifts:
        print_table(RedshiftOutcome.headings, [each.cells for each in found.redshifts])
    if found.windows:
        print_table(RedshiftOutcome.window_headings, found.windows)
    for line in found.sentences:
        say(line)
    say(f"written to {output}{f' and {page}' if page else ''}")
