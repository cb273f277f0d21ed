"""targetsel status: how far the partitions of a large catalog have come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from targetsel.cli.terminal import say
from targetsel.errors import counted

if TYPE_CHECKING:
    from targetsel.jobs.job import PartState
    from targetsel.partitions.catalog_job import PartitionedRun

SOME_FAILED = 3  # exit status
MOST_NAMED = 5


def status(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder that 'targetsel score', observe or compare writes of a HATS catalog; or "
            "the address, in the directory where the job was begun."
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Say how far the partitions have come of a catalog that is being scored or observed.

    Ends with exit status 3 if some failed.

    Example:
        targetsel partition catalog.parquet -o sky --rows 1000
        targetsel score sky
        targetsel status sky.scored
    """
    from targetsel.api import partitions as api

    found = api.status(folder)
    if json:
        say(found.as_json())
    else:
        for name, count in found.counts.items():
            say(f"{count:>10,}  {name}")
        say(f"{found.n_rows:,} rows are done, {found.rate:,.1f} a second")
        if seconds := found.remaining:
            say(f"about {in_words(seconds)} left at this rate")
        if at := found.longest:
            say(
                f"the one in work for longest, {in_words(at.seconds)}, is {at.part} in process "
                f"{at.process} on {at.host}"
            )
        say_failed(found.failed)
    if found.failed:
        raise typer.Exit(SOME_FAILED)


status.knows_addresses = True  # type: ignore[attr-defined]  # see `cli.guarded`


def say_partitions(run: PartitionedRun) -> None:
    """Say what a run did, and how to go on; exit status 3 if some partitions failed."""
    for name, count in run.statuses.items():
        say(f"{count:>10,}  {name}")
    for remark in run.remarks:
        say(remark)
    for caution in run.cautions:
        say(f"caution: {caution}")
    say(f"{run.n_done:,} of {counted(len(run.states), 'partition')} are done, {run.n_rows:,} rows")
    say_failed(run.failed)
    if run.is_finished:
        rest = f", without {counted(len(run.failed), 'partition')}" if run.failed else ""
        say(f"written to {run.published or run.output}, a HATS catalog{rest}")
    elif run.failed:
        say(
            f"{run.output} is no catalog yet: mend the cause and run the same command again, or "
            "leave these partitions out with --without-failed"
        )
    else:
        say(f"{run.output} is no catalog yet: others are in work, or not begun")
    if run.failed:
        raise typer.Exit(SOME_FAILED)


def say_failed(failed: tuple[PartState, ...]) -> None:
    """Say which partitions failed, and why."""
    for each in failed[:MOST_NAMED]:
        say(f"failed after {counted(each.attempts, 'attempt')}: {each.name}: {each.reason}")
    if len(failed) > MOST_NAMED:
        say(f"and {len(failed) - MOST_NAMED:,} more, all in 'targetsel status --json'")


def in_words(seconds: float) -> str:
    """A time in a unit that suits it, such as "3.5 hours"."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
