"""targetsel assign --simulate: how many targets of a list would a pointing take?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from targetsel.errors import HandoffError
from targetsel.handoff.simulation import INSTRUMENTS, PointingForecast, find_instrument
from targetsel.handoff.simulation import simulate as simulate_pointing
from targetsel.selection.target_list import TargetList


def assign(
    targets: Annotated[Path, typer.Argument(help="Target list, from targetsel select.")],
    ra: Annotated[float, typer.Option(help="Right ascension of the pointing [deg].")],
    dec: Annotated[float, typer.Option(help="Declination of the pointing [deg].")],
    instrument: Annotated[str, typer.Option("--for", help=f"One of {', '.join(INSTRUMENTS)}.")],
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Required: this is no real assignment.")
    ] = False,
    fibers: Annotated[
        int | None, typer.Option(help="Fibers for targets, without those for sky and stars.")
    ] = None,
    diameter: Annotated[float | None, typer.Option(help="Of the field of view [deg].")] = None,
    patrol: Annotated[float | None, typer.Option(help="Reach of a fiber [arcsec].")] = None,
    separation: Annotated[
        float | None, typer.Option(help="How close two fibers come [arcsec].")
    ] = None,
) -> None:
    """Forecast by a plain simulation how many targets one pointing can take.

    The numbers of the instrument can be replaced one by one.
    """
    chosen = find_instrument(instrument)
    if not simulate:
        raise HandoffError(
            f"targetsel assigns no fibers, it only forecasts: say --simulate. For {chosen.title} "
            f"use {chosen.real_tool}, with a file from targetsel export."
        )
    numbers: dict[str, Any] = {
        "n_fibers": fibers, "diameter": diameter, "patrol": patrol, "separation": separation
    }  # fmt: skip
    chosen = replace(chosen, **{name: n for name, n in numbers.items() if n is not None})
    list_of_targets = TargetList.read(targets)
    show(list_of_targets, simulate_pointing(list_of_targets, chosen, ra, dec))


def show(targets: TargetList, forecast: PointingForecast) -> None:
    """Print the forecast, target class by target class and priority by priority."""
    console, instrument = Console(soft_wrap=True, highlight=False), forecast.instrument
    reach = "the whole field" if instrument.patrol is None else f'{instrument.patrol:g}"'
    console.print(
        f"SIMULATION, not an assignment: {instrument.title}, {instrument.n_fibers} fibers in a "
        f"{instrument.shape} of {instrument.diameter:g} deg, reach {reach}, separation "
        f'{instrument.separation:g}"'
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for heading in ("priority", "in list", "in field", "with fiber", "share of field"):
        table.add_column(heading, justify="right")
    program = np.array(targets.table["program"].to_pylist(), dtype=object)
    priority = targets.table["priority"].to_numpy()
    groups = sorted(set(zip((-priority).tolist(), program.tolist(), strict=True)))
    for minus, name in groups:
        member = (priority == -minus) & (program == name)
        _add_row(table, name, str(-minus), member, forecast)
    if len(groups) > 1:
        _add_row(table, "all", "", np.ones(len(priority), bool), forecast)
    console.print(table)
    console.print(f"For a real assignment use {instrument.real_tool}.")
    console.print(f"Where the numbers come from: {instrument.source}.")


def _add_row(
    table: Table, name: str, priority: str, member: np.ndarray, forecast: PointingForecast
) -> None:
    inside, taken = (member & forecast.inside).sum(), (member & forecast.assigned).sum()
    share = f"{taken / inside:.0%}" if inside else "-"
    table.add_row(name, priority, f"{member.sum():,}", f"{inside:,}", f"{taken:,}", share)
