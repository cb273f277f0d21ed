"""targetsel relearn and recalibrate: learn from outcomes, and apply what was learnt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from targetsel.cli.options import (
    DaskOption,
    EnsembleOption,
    FoundScoredArgument,
    SchedulerOption,
    ScoredArgument,
    ScoredOrFolder,
    ShardOption,
    TimeLimitOption,
    WithoutFailedOption,
    WorkersOption,
)
from targetsel.cli.terminal import print_table, say, say_written
from targetsel.scoring import DEFAULT
from targetsel.workers.pool import available_cores

if TYPE_CHECKING:
    from targetsel.calibration.recalibration import QuantityRecord, Recalibration
    from targetsel.scoring.recalibrating import RecalibratedRun

HEADINGS = (
    *("quantity", "spectra", "count as", "68 % before", "68 % after", "90 % before", "90 % after"),
    *("width before", "width after"),
)

MOST_BEYOND = 0.1  # share of sources; 2 % are where outcomes are drawn from all of them


def relearn(
    scored: FoundScoredArgument,
    outcomes: Annotated[
        list[Path],
        typer.Option(
            help="Table that 'outcomes' wrote of a list chosen from SCORED, or another table with "
            "ids and measured values; may be repeated, the earliest first."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New folder for the recalibrated ensemble.")
    ],
    ensemble: EnsembleOption = DEFAULT,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the new version. Default: relearned-1, relearned-2, ..."),
    ] = None,
) -> None:
    """Recalibrate an ensemble with what came of targets chosen from SCORED.

    A quantity that was measured of too few sources stays as it was. 'score' with the new folder
    applies what was learnt; 'recalibrate' does so to a catalog that is scored already.

    Example:
        targetsel relearn catalog.scored.parquet --outcomes truth.parquet -o relearned
    """
    from targetsel.api import relearning as api

    found = api.relearn(scored, outcomes, output, ensemble=ensemble, name=name)
    for line in lines_of(found):
        say(line)
    rows = [_row(each, record) for each, record in found.quantities.items() if record.n_aside]
    print_table(HEADINGS, rows)
    say("these are the intervals of outcomes kept aside, after a first fit to the others")
    for line in remarks_on(found):
        say(line)
    if found.drift is not None:
        say(found.drift.summary)
    say(f"'{found.name}' is written to {output}")


def lines_of(found: Recalibration) -> list[str]:
    """How many outcomes there were, and what they stand for."""
    counts = found.counts
    lines = [
        f"{counts['used']:,} spectra of {counts['in the catalog']:,} targets in the catalog, of "
        f"{counts['rows']:,} rows; {counts['failed']:,} failed, and "
        f"{counts['without a fiber']:,} got no fiber"
    ]
    if found.unweighted:
        lines.append(
            f"{', '.join(found.unweighted)}: has no weights, so that each spectrum counts alike, "
            "as if targets had been drawn at random from the sources that predictions are for"
        )
    if found.of_lists:
        lines.append(
            f"{', '.join(found.of_lists)}: has weights that stand for the list, and not for all "
            "candidates; give 'outcomes' the --inclusion of a list with 'sample' or 'limit'"
        )
    if found.simulated:
        lines.append("images or spectra are simulated")
    return lines


def remarks_on(found: Recalibration) -> list[str]:
    """What is not changed, and why; and the classes by line ratios."""
    from targetsel.calibration.recalibration import FEWEST, TOO_FEW, WORSE

    lines = []
    few = [name for name, each in found.quantities.items() if each.stays == TOO_FEW]
    if few:
        lines.append(f"not changed, as fewer than {FEWEST} spectra count: {', '.join(few)}")
    worse = [name for name, each in found.quantities.items() if each.stays == WORSE]
    if worse:
        lines.append(
            "not changed, as a first fit was worse for the outcomes kept aside: " + ", ".join(worse)
        )
    classes = found.class_record
    if classes is not None and classes.log_loss is not None and not classes.stays:
        before, after = classes.log_loss
        lines.append(
            f"classes in the [NII] diagram, of {classes.n:,} spectra: log loss {before:.3f} "
            f"before and {after:.3f} after"
        )
    else:
        why = "a first fit was worse"
        if classes is None or classes.stays != WORSE:
            why = "too few spectra have all four lines"
        lines.append(f"not changed, as {why}: probabilities of classes in the [NII] diagram")
    return lines


def _row(name: str, record: QuantityRecord) -> tuple[str, ...]:
    shares = (*(record.coverage_of_68_percent or ()), *(record.coverage_of_90_percent or ()))
    return (
        name,
        f"{record.n:,}",
        f"{record.effective:,.0f}",
        *(f"{each:.1%}" for each in shares),
        *(f"{each:.3g}" for each in record.width_of_90_percent or ()),
    )


def recalibrate(
    scored: ScoredArgument,
    ensemble: Annotated[Path, typer.Option("--ensemble", help="Folder that 'relearn' wrote.")],
    output: ScoredOrFolder,
    workers: WorkersOption = None,
    dask: DaskOption = False,
    scheduler: SchedulerOption = None,
    shard: ShardOption = None,
    time_limit: TimeLimitOption = None,
    without_failed: WithoutFailedOption = False,
) -> None:
    """Write SCORED with what its ensemble learnt since, without running networks.

    The columns are the same as if the catalog were scored again with that ensemble. A scored
    catalog in HATS is recalibrated partition by partition, as 'targetsel score' scores one, where
    the output is a folder.

    Example:
        targetsel relearn catalog.scored.parquet --outcomes truth.parquet -o learnt
        targetsel recalibrate catalog.scored.parquet --ensemble learnt -o learnt.scored.parquet
    """
    from targetsel.api import relearning as api
    from targetsel.cli.partitions import say_partitions
    from targetsel.partitions.recalibrating import PartitionedRecalibrated

    found = api.recalibrate(
        scored,
        ensemble,
        output,
        workers=workers or available_cores(),
        dask=dask,
        scheduler=scheduler,
        shard=shard,
        time_limit=time_limit,
        without_failed=without_failed,
    ).run
    assert found is not None
    if isinstance(found, PartitionedRecalibrated):
        if found.is_finished:
            say_recalibrated(found.outcome)
        say_partitions(found)
        return
    say_recalibrated(found)
    say_written(output)


recalibrate.in_parts = ("scored",)  # type: ignore[attr-defined]  # see `cli.guarded`


def say_recalibrated(run: RecalibratedRun) -> None:
    """Say what was applied to how many sources, and where it is extrapolated."""
    names = ", ".join(f"'{each.name}'" for each in run.applied)
    moved = sorted({name for each in run.applied for name in each.maps})
    say(
        f"{run.n_predicted:,} of {run.n_sources:,} sources have predictions, which got {names}: "
        f"{', '.join(moved)}"
    )
    far = {name: n for name, n in run.n_beyond.items() if n > MOST_BEYOND * run.n_predicted}
    if far:
        shares = ", ".join(f"{name} of {n / run.n_predicted:.0%}" for name, n in far.items())
        say(
            f"caution: {shares} of them is predicted beyond what outcomes were of, so that what "
            "was learnt is extrapolated there"
        )
