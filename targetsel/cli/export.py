"""targetsel export and import-assignment: files for assignment tools, and their results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from targetsel.cli.terminal import counted
from targetsel.handoff.assignment import Assignment, Pointing, join
from targetsel.handoff.export import check
from targetsel.handoff.export import export as export_targets
from targetsel.handoff.prepare import ExportOptions
from targetsel.handoff.registry import TOOLS, find_tool
from targetsel.handoff.tool import Tool
from targetsel.selection.target_list import TargetList
from targetsel.tables.files import check_output

TARGETS = ".targets.parquet"


def _list_tools(wanted: bool) -> None:
    if wanted:
        show_tools()
        raise typer.Exit


def export(
    targets: Annotated[Path, typer.Argument(help="Target list, as targetsel select wrote it.")],
    tool_name: Annotated[str, typer.Option("--for", help="The tool; --list shows them all.")],
    config: Annotated[
        Path | None, typer.Option(help="The tool's settings, a YAML file; --list names them.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Default: TARGETS with the tool's name and ending."),
    ] = None,
    bin_priorities: Annotated[
        bool, typer.Option("--bin-priorities", help="Merge priorities where the tool has fewer.")
    ] = False,
    assume_still: Annotated[
        bool,
        typer.Option(
            "--assume-still", help="Targets without a proper motion stand still (galaxies)."
        ),
    ] = False,
    magnitude: Annotated[
        list[str] | None,
        typer.Option(help="BAND=COLUMN, such as r_sdss=rmag; may be repeated."),
    ] = None,
    read_back: Annotated[
        bool, typer.Option("--check", help="Read the file back, compare, and report.")
    ] = False,
    tools: Annotated[
        bool,
        typer.Option("--list", callback=_list_tools, is_eager=True, help="Show the tools."),
    ] = False,
) -> None:
    """Write TARGETS as a fiber- or slit-assignment tool reads them."""
    tool = find_tool(tool_name)
    settings = tool.settings.read(config, tool.name)
    output = output or targets.with_name(
        f"{targets.name.removesuffix(TARGETS).removesuffix('.parquet')}.{tool.name}{tool.suffix}"
    )
    check_output(output, [targets, *([config] if config else [])])
    options = ExportOptions(bin_priorities, assume_still, tuple(magnitude or ()))
    done = export_targets(TargetList.read(targets), tool, settings, output, options)
    n = len(done.targets)
    typer.echo(f"{counted(n, 'target')} for {tool.title} written to {output}")
    for beside in done.files[1:]:
        typer.echo(f"  and {beside}")
    if tool.experimental:
        typer.echo(
            f"experimental: the format was not checked against {tool.title} itself. "
            "Look at the file before you send it."
        )
    if read_back:
        report = check(done.targets, output)
        order = ", priorities" if report.with_priorities else ""
        typer.echo(
            f"read back by {report.reader}: {report.n_targets:,} ids{order} and positions are the "
            f"same (to {report.largest_offset:.5f} arcsec)"
        )


def import_assignment(
    targets: Annotated[Path, typer.Argument(help="The target list that was exported.")],
    assigned: Annotated[
        list[Path],
        typer.Argument(help="DESI fba-*.fits or fiberassign-*.fits; PFS pfsDesign-*.fits."),
    ],
    ids: Annotated[
        Path | None,
        typer.Option(help="The map FILE.ids.ecsv that export wrote, where the tool has own ids."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Default: TARGETS with 'left-over' in its name."),
    ] = None,
) -> None:
    """Count the TARGETS that got a fiber, and write those left over as a target list."""
    output = output or targets.with_name(
        f"{targets.name.removesuffix(TARGETS).removesuffix('.parquet')}.left-over{TARGETS}"
    )
    check_output(output, [targets, *assigned, *([ids] if ids else [])])
    result = join(TargetList.read(targets), map(Pointing.read, assigned), ids)
    show_assignment(result)
    left = result.left_over()
    left.write(output)
    typer.echo(
        f"{len(left):,} of {len(result.targets):,} targets are left over, written to {output}"
    )


def show_tools() -> None:
    """Print every tool with its order of priorities and its settings."""
    for tool in TOOLS.values():
        experimental = " (experimental)" if tool.experimental else ""
        typer.echo(f"{tool.name}: {tool.title}{experimental}")
        typer.echo(f"    priorities        {_order(tool)}")
        for key in tool.settings.model_fields:
            typer.echo(f"    {key:<17} {tool.settings.meaning(key)}")


def _order(tool: Tool) -> str:
    scale = tool.priorities
    if scale is None:
        return "none"
    if scale.kept:
        return f"as in the list, {'higher' if scale.step < 0 else 'smaller'} first"
    return f"{scale.best} (best) to {scale.worst} (worst)"


def show_assignment(result: Assignment) -> None:
    """Print the assigned share of each class and priority."""
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for heading in ("priority", "targets", "in reach", "assigned", "share"):
        table.add_column(heading, justify="right")
    for each in result.summary():
        table.add_row(
            each.program,
            str(each.priority),
            f"{each.n_targets:,}",
            "-" if each.n_in_reach is None else f"{each.n_in_reach:,}",
            f"{each.n_assigned:,}",
            f"{each.fraction:.0%}",
        )
    Console(soft_wrap=True).print(table, highlight=False)
