"""The commands export, import-assignment and assign, between target lists and their tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from targetsel.api import handoff as api
from targetsel.cli.options import BrightnessOption
from targetsel.cli.terminal import print_table, say
from targetsel.errors import counted
from targetsel.handoff.assignment import Assignment, Match, groups_of
from targetsel.handoff.densest import DensestPointing
from targetsel.handoff.export import TOOLS
from targetsel.handoff.simulation import (
    INSTRUMENTS,
    Instrument,
    PointingForecast,
    where_targets_are,
)
from targetsel.handoff.tool import Tool
from targetsel.photometry.brightness import brightness_lines
from targetsel.selection.target_list import TargetList

TARGETS = ".targets.parquet"


def _list_tools(wanted: bool) -> None:
    if wanted:
        show_tools()
        raise typer.Exit


def export(
    targets: Annotated[Path, typer.Argument(help="Target list written by 'targetsel select'.")],
    tool_name: Annotated[str, typer.Option("--for", help="Name of the tool; --list shows all.")],
    config: Annotated[
        Path | None, typer.Option(help="YAML file with the tool's settings; --list describes them.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write. Default: TARGETS with the tool's name and ending.",
        ),
    ] = None,
    bin_priorities: Annotated[
        bool,
        typer.Option(
            "--bin-priorities", help="Merge neighbouring priorities if the tool has fewer."
        ),
    ] = False,
    assume_still: Annotated[
        bool,
        typer.Option(
            "--assume-still",
            help="Targets without a proper motion stand still, as galaxies do, where others of "
            "the list have one. (Without any in the list, all do.)",
        ),
    ] = False,
    brightness: BrightnessOption = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Columns of the list, such as source_id,ra,dec, for --for table."),
    ] = None,
    read_back: Annotated[
        bool, typer.Option("--check", help="Read the file back and compare it with the list.")
    ] = False,
    tools: Annotated[
        bool,
        typer.Option(
            "--list", callback=_list_tools, is_eager=True, help="List the tools and exit."
        ),
    ] = False,
) -> None:
    """Write TARGETS in the format of a fiber- or slit-assignment tool.

    Example:
        targetsel export quiescent.targets.parquet --for desi --config settings/desi.yaml --check
    """
    done = api.export(
        targets,
        tool_name,
        output,
        config=config,
        bin_priorities=bin_priorities,
        assume_still=assume_still,
        brightness=brightness or (),
        columns=None if columns is None else [each.strip() for each in columns.split(",") if each],
        check=read_back,
    )
    tool = done.targets.tool
    n = len(done.targets)
    say(f"{counted(n, 'target')} for {tool.title} written to {done.files[0]}")
    for beside in done.files[1:]:
        say(f"  and {beside}")
    if tool.writes_fluxes:
        for line in brightness_lines(done.targets.photometry):
            say(line)
    if done.corrected:
        say(
            "brightnesses in the file are corrected for Galactic extinction, as in the list: "
            + ", ".join(done.corrected)
        )
    for assumed in done.assumed:
        say(assumed)
    if done.caution:
        say(f"caution: {done.caution}")
    if tool.experimental:
        say(
            f"experimental: the format was not checked against {tool.title} itself. "
            "Look at the file before you send it."
        )
    if report := done.read_back:
        order = ", priorities" if report.with_priorities else ""
        say(
            f"read back by {report.reader}: {report.n_targets:,} ids{order} and positions are the "
            f"same (to {report.largest_offset:.5f} arcsec)"
        )


def import_assignment(
    targets: Annotated[Path, typer.Argument(help="Target list that was exported.")],
    assigned: Annotated[
        list[Path],
        typer.Argument(
            help="Assignments: DESI fba-*.fits or fiberassign-*.fits; PFS pfsDesign-*.fits or "
            "pfsConfig-*.fits."
        ),
    ],
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
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Target list to write. Default: TARGETS with 'left-over' in its name.",
        ),
    ] = None,
) -> None:
    """Count the TARGETS that got a fiber, and write the others as a target list.

    Example:
        targetsel import-assignment quiescent.targets.parquet fba-simulated.fits
    """
    output = output or targets.with_name(f"{api.stem_of(targets)}.left-over{TARGETS}")
    result = api.import_assignment(targets, assigned, output, ids=ids, proposal=proposal or ())
    for match in result.matches:
        say(_matched(match))
    show_assignment(result)
    left = len(result.left_over())
    say(f"{left:,} of {len(result.targets):,} targets are left over, written to {output}")


def _matched(match: Match) -> str:
    """One line on a pointing's science fibers: how many count as observations, and why not all."""
    parts = [f"{match.path}: {match.n_on_list:,} of {counted(match.n_fibers, 'science fiber')} "
             "on targets of the list"]  # fmt: skip
    if match.n_failed:
        parts.append(f"{match.n_failed:,} of them not counted, as the fiber does not work")
    for owner, n in match.others.items():
        parts.append(f"{n:,} with ids of the list not counted, as they are of {owner}")
    return "; ".join(parts)


def show_tools() -> None:
    """Print every tool with its order of priorities and its settings."""
    for tool in TOOLS.values():
        experimental = " (experimental)" if tool.experimental else ""
        say(f"{tool.name}: {tool.title}{experimental}")
        say(f"    priorities        {_order(tool)}")
        for key in tool.settings.model_fields:
            required, meaning = tool.settings.required(key), tool.settings.meaning(key)
            say(f"    {key:<17} {required}{': ' if required else ''}{meaning}")
    say("To begin with, 'targetsel demo' writes a settings file for each, settings/TOOL.yaml.")


def _order(tool: Tool) -> str:
    scale = tool.priorities
    if scale is None:
        return "none"
    if scale.kept:
        return f"as in the list, {'higher' if scale.step < 0 else 'smaller'} first"
    return f"{scale.best} (best) to {scale.worst} (worst)"


def show_assignment(result: Assignment) -> None:
    """Print the assigned share of each class and priority."""
    print_table(result.headings, [each.cells for each in result.summary()])


def assign(
    targets: Annotated[Path, typer.Argument(help="Target list written by 'targetsel select'.")],
    instrument: Annotated[
        str, typer.Option("--for", help=f"Instrument: {', '.join(INSTRUMENTS)}.")
    ],
    ra: Annotated[
        float | None,
        typer.Option(
            help="Right ascension of the pointing, in deg. Default: of the densest pointing."
        ),
    ] = None,
    dec: Annotated[
        float | None, typer.Option(help="Declination of the pointing, in deg, with --ra.")
    ] = None,
    densest: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of pointings to propose, where most targets can get a fiber."
        ),
    ] = None,
    fibers: Annotated[
        int | None,
        typer.Option(help="Number of fibers for targets, without those for sky and stars."),
    ] = None,
    diameter: Annotated[
        float | None, typer.Option(help="Diameter of the field of view, in deg.")
    ] = None,
    patrol: Annotated[
        float | None, typer.Option(help="Patrol radius of a fiber, in arcsec.")
    ] = None,
    separation: Annotated[
        float | None, typer.Option(help="Smallest separation of two fibers, in arcsec.")
    ] = None,
) -> None:
    """Forecast with a simple simulation the number of targets that pointings can take.

    Without --ra and --dec it looks for the densest pointing of the list; --densest 3 for three,
    each among the targets that have no fiber yet. Fibers for sky and standard stars are set aside
    as the instrument's own tool does, where their number is published. Other options replace the
    instrument's numbers one by one.

    Example:
        targetsel assign quiescent.targets.parquet --for desi --densest 3
        targetsel assign quiescent.targets.parquet --for desi --ra 180 --dec 50
    """
    chosen = api.instrument_of(instrument, fibers, diameter, patrol, separation)
    say(f"SIMULATION, not an assignment: {_numbers(chosen)}")
    the_list = TargetList.read(targets, needs_footer=False)
    found = api.assign(
        the_list,
        instrument,
        ra=ra,
        dec=dec,
        densest=densest,
        fibers=fibers,
        diameter=diameter,
        patrol=patrol,
        separation=separation,
    )
    if ra is None or dec is None:
        show_pointings(found, densest or 1)
    show(the_list, [each.forecast for each in found])
    if ra is not None and dec is not None and len(the_list) and not found[0].forecast.inside.any():
        say(where_targets_are(the_list, ra, dec))
    say(f"For a real assignment use {chosen.real_tool}.")
    say(f"Source of the numbers: {chosen.source}.")


def _numbers(instrument: Instrument) -> str:
    """The numbers of an instrument, for the line above a forecast."""
    reach = "the whole field" if instrument.patrol is None else f'{instrument.patrol:g}"'
    aside = [
        f"{n} for {what}"
        for n, what in ((instrument.n_sky, "sky"), (instrument.n_stars, "standard stars"))
        if n
    ]
    apart = f"{' and '.join(aside)} set aside" if aside else "none set aside for sky and stars"
    return (
        f"{instrument.title}, {instrument.n_fibers:,} fibers for targets ({apart}) in a "
        f"{instrument.shape} of {instrument.diameter:g} deg, reach {reach}, separation "
        f'{instrument.separation:g}"'
    )


def show_pointings(found: Sequence[DensestPointing], wanted: int) -> None:
    """Print the densest pointings, one a line."""
    rows = [
        (
            str(number),
            f"{each.ra:.4f}",
            f"{each.dec:+.4f}",
            f"{each.forecast.inside.sum():,}",
            f"{each.forecast.assigned.sum():,}",
        )
        for number, each in enumerate(found, start=1)
    ]
    print_table(("pointing", "ra [deg]", "dec [deg]", "in field", "with fiber"), rows)
    if len(found) > 1:
        say("In later pointings, targets that have a fiber already are left out.")
    say("Dates, the Moon and guide stars are not looked at.")
    if len(found) < wanted:
        say(f"Further pointings would give no target a fiber; {wanted:,} were asked for.")
    say("")


def show(targets: TargetList, forecasts: Sequence[PointingForecast]) -> None:
    """Print what all pointings take together, class by class and priority by priority."""
    inside, taken = np.zeros((2, len(targets)), dtype=bool)
    for each in forecasts:
        inside |= each.inside
        taken |= each.assigned
    rows = [
        _row(name, str(priority), member, inside, taken)
        for name, priority, member in groups_of(targets)
    ]
    if len(rows) > 1:
        rows.append(_row("all", "", np.ones(len(targets), bool), inside, taken))
    field = "field" if len(forecasts) == 1 else "fields"
    headings = ("class", "priority", "in list", f"in {field}", "with fiber", f"share of {field}")
    print_table(headings, rows)


def _row(
    name: str, priority: str, member: np.ndarray, inside: np.ndarray, taken: np.ndarray
) -> tuple[str, ...]:
    n_inside, n_taken = (member & inside).sum(), (member & taken).sum()
    share = f"{n_taken / n_inside:.0%}" if n_inside else "-"
    return name, priority, f"{member.sum():,}", f"{n_inside:,}", f"{n_taken:,}", share
