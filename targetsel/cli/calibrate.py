"""targetsel calibrate: fit posteriors so that intervals cover as often as they claim."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from targetsel.cli.options import EnsembleOption, TruthFileOption
from targetsel.cli.terminal import print_table, say
from targetsel.errors import OutputError
from targetsel.scoring import DEFAULT

if TYPE_CHECKING:
    from targetsel.calibration.calibration import Calibration

HEADINGS = ("90 % intervals of", "before", "after", "worst bin before", "worst bin after")


def calibrate(
    scored: Annotated[
        Path, typer.Argument(help="Catalog scored by the ensemble with --uncalibrated.")
    ],
    truth: TruthFileOption,
    ensemble: EnsembleOption = DEFAULT,
    local: Annotated[
        bool,
        typer.Option(
            help="Also correct intervals by all that is predicted of a source, so that they hold "
            "what they claim for each kind of galaxies."
        ),
    ] = True,
    like: Annotated[
        Path | None,
        typer.Option(
            help="Catalog of the sources that predictions are for: labelled ones are weighted so "
            "that their magnitudes and colours, in SCORED, are distributed as there."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing calibration.")
    ] = False,
) -> None:
    """Fit a calibration to the sources of SCORED whose spectra are known.

    These sources must not have been used in training. The result, calibration.json, is written to
    the ensemble's folder, and `score` then applies it. To leave a shipped ensemble unchanged,
    copy its folder first.

    Example:
        targetsel train cutouts --spectra spectra.parquet --init mock-ps1 \\
            --members 1 --epochs 2 -o mine
        targetsel score catalog.parquet --ensemble mine --uncalibrated -o mine.parquet
        targetsel calibrate mine.parquet --truth truth.parquet --ensemble mine
    """
    from targetsel.api import scoring as api
    from targetsel.calibration.calibration import FILE_NAME
    from targetsel.scoring.ensemble import find_ensemble
    from targetsel.spectra.apertures import of_other_light
    from targetsel.tables.any_format import footer_of
    from targetsel.tables.files import check_output

    folder = find_ensemble(ensemble)
    place = folder / FILE_NAME
    check_output(place, (scored, truth))
    if place.exists() and not force:
        raise OutputError(f"{place}: already exists. Replace it with --force.")
    calibration = api.calibrate(scored, truth, folder, local=local, like=like)
    calibration.write(folder)
    print_coverages(calibration)
    simulated = "; images and spectra are simulated" if calibration.simulated else ""
    say(
        f"fitted to {calibration.n_fitted:,} sources; these are the intervals of "
        f"{calibration.n_checked:,} of them, after a first fit to the others{simulated}"
    )
    for line in calibration.selection.lines() if calibration.selection else ():
        say(line)
    for why, count in calibration.left_out.items():
        say(f"left out: {count:,} {why}")
    if unlike := of_other_light(footer_of(scored), footer_of(truth)):
        say(f"caution: {unlike}; calibrated ones are of the former")
    say_uncalibrated(calibration, truth)
    say(f"written to {place}")


def say_uncalibrated(calibration: Calibration, truth: Path) -> None:
    """Say which line strengths a calibration leaves as they are, why, and what to do.

    And the same of redshifts.
    """
    from targetsel.calibration.fitting import FEWEST
    from targetsel.spectra.photoz import PHOTOZ, TRUE
    from targetsel.tables.any_format import table_reader

    if not calibration.not_calibrated:
        return
    with table_reader(truth) as file:
        names = {*file.schema.names}
    if PHOTOZ in calibration.not_calibrated:
        few = f"tells that of fewer than {FEWEST} sources; give more"
        none = f"has no column '{TRUE}'; join true redshifts to it"
        say(f"{PHOTOZ} stays uncalibrated: {truth} {few if TRUE in names else none}")
    without = [name for name in calibration.not_calibrated if name != PHOTOZ]
    if not without:
        return
    what = ", ".join(without) if calibration.maps else "line strengths"
    held = {*without} & names
    why = f"holds those of fewer than {FEWEST} sources" if held else "holds none"
    todo = (
        "give more" if held else "measure them with 'targetsel spectra measure' and join them to it"
    )
    say(f"{what} stay uncalibrated: {truth} {why}; {todo}")


def print_coverages(calibration: Calibration) -> None:
    """Print the coverage of intervals, overall and in the worst bin of brightness."""
    shares = ("before", "after", "worst_before", "worst_after")
    found = calibration.coverage_of_90_percent.items()
    print_table(
        HEADINGS, [(name, *(f"{getattr(each, s):.1%}" for s in shares)) for name, each in found]
    )
