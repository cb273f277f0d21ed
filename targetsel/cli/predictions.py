"""The commands evaluate, compare and show: predictions beside known spectra, and one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from targetsel.cli.options import (
    BrightnessOption,
    DaskOption,
    EnsembleOption,
    KnownOption,
    KnownRadiusOption,
    SchedulerOption,
    ScoredArgument,
    ScoredOrFolder,
    SeedOption,
    ShardOption,
    TimeLimitOption,
    TruthFileOption,
    WithoutFailedOption,
    WorkersOption,
)
from targetsel.cli.terminal import print_table, say, say_joined, say_written
from targetsel.errors import CatalogError, counted
from targetsel.scoring import DEFAULT
from targetsel.workers.pool import available_cores

if TYPE_CHECKING:
    from targetsel.report.counts import Count
    from targetsel.report.figures import Figures


def evaluate(
    scored: ScoredArgument,
    truth: TruthFileOption,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder to write a table and an HTML page to; made if missing."
        ),
    ],
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", help="Rule file; may be repeated. Default: the shipped ones."),
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(
            help="Condition on proxies whose probability is checked, such as 'd4000 > 1.6'; may be "
            "repeated."
        ),
    ] = None,
    joint: Annotated[
        bool,
        typer.Option(
            "--joint",
            help="Also count claims whose probabilities take draws: sums, differences and ratios "
            "of proxies, BPT and WHAN classes. Takes up to 4 minutes.",
        ),
    ] = False,
    brightness: BrightnessOption = None,
) -> None:
    """Measure the quality of the predictions in SCORED on sources with known spectra.

    Figures are also given in bins of magnitude, size and redshift. The magnitude is that in r; the
    first --brightness names another.

    Example:
        targetsel evaluate catalog.scored.parquet --truth truth.parquet -o quality
    """
    from targetsel.api import reports as api
    from targetsel.report.evaluation import COUNTS, PAGE, TABLE

    found = api.evaluate(
        scored,
        truth,
        output,
        rules=rules or (),
        claims=claim,
        joint=joint,
        brightness=brightness or (),
    )
    say_joined(found.about["n"], found.about["left_out"], found.about["simulated"])
    print_departure(found.figures)
    print_local_coverage(found.figures)
    print_counts(found.counts)
    say(f"{len(found.figures):,} figures of merit written to {output / TABLE}")
    say(f"{len(found.counts):,} expected and true counts written to {output / COUNTS}")
    say(f"page written to {output / PAGE}")


def print_departure(figures: Figures) -> None:
    """Print the joint test of proxies, and the pair whose correlation is farthest from stated."""
    from targetsel.report.joint_proxies import DEPARTURE, DIFFERENCE, OBSERVED, STATED, TOGETHER

    found = figures.find(DEPARTURE, TOGETHER)
    if found is None:
        return
    say(
        f"joint departure of proxies: {found.value:.3f} ({found.low:.3f} to {found.high:.3f}); "
        "0 where the stated correlations of their errors are right"
    )
    far = max(figures.named(DIFFERENCE), key=lambda each: abs(each.value))
    stated, observed = (figures.find(name, far.of) for name in (STATED, OBSERVED))
    assert stated is not None
    assert observed is not None
    say(f"farthest: {far.of}, stated {stated.value:+.2f}, observed {observed.value:+.2f}")


def print_local_coverage(figures: Figures) -> None:
    """Print how many true values 90 % intervals hold in the worst cell of like sources."""
    from targetsel.report.figures import BY_CHANCE
    from targetsel.report.local_coverage import WORST, n_cells

    worst = figures.named(WORST)
    if not worst:
        return
    chance = {each.of: each for each in figures.named(WORST + BY_CHANCE)}
    print_table(
        ("90 % intervals", f"in the worst of {n_cells(figures)} cells", "by chance alone"),
        [
            (
                each.of,
                f"{each.value:.1%}",
                f"{chance[each.of].low:.1%} to {chance[each.of].high:.1%}",
            )
            for each in worst
        ],
    )


def print_counts(counts: Sequence[Count], n_worst: int = 10) -> None:
    """Print, by kind of claim, how many are off, and the worst of them."""
    from targetsel.report.counts import by_kind, worst

    print_table(
        ("kind of claim", "claims", "off", "beyond their interval", "log score"),
        [
            (each.kind, f"{each.n}", f"{each.n_off}", f"{each.n_beyond}", f"{each.log_score:.4f}")
            for each in by_kind(counts)
        ],
    )
    if found := worst(counts, n_worst):
        say("off by over 5 % of the true count, and beyond the 95 % interval, the worst first:")
        print_table(
            ("kind", "claim", "expected", "true", "expected less true"),
            [
                (
                    each.kind,
                    each.claim,
                    f"{each.expected:,.1f}",
                    f"{each.true:,.0f}",
                    f"{each.difference:+,.1f} ({each.low:+,.1f} to {each.high:+,.1f})",
                )
                for each in found
            ],
            n_texts=2,
        )


def compare(
    scored: ScoredArgument,
    spectra: Annotated[
        Path,
        typer.Option(
            help="Latents of measured spectra, as 'targetsel spectra encode' writes them; in any "
            "format."
        ),
    ],
    output: ScoredOrFolder,
    ensemble: EnsembleOption = DEFAULT,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    dask: DaskOption = False,
    scheduler: SchedulerOption = None,
    shard: ShardOption = None,
    time_limit: TimeLimitOption = None,
    without_failed: WithoutFailedOption = False,
) -> None:
    """Add to SCORED the surprise of each measured spectrum, and where it disagrees most.

    A scored catalog in HATS is compared partition by partition, as 'targetsel score' scores one,
    where the output is a folder.

    Example:
        targetsel spectra encode measured-spectra.parquet -o latents.parquet
        targetsel compare catalog.scored.parquet --spectra latents.parquet -o compared.parquet
    """
    from targetsel.api import scoring as api
    from targetsel.cli.partitions import say_partitions
    from targetsel.partitions.comparing import PartitionedCompared
    from targetsel.tables.any_format import is_simulated

    found = api.compare(
        scored,
        spectra,
        output,
        ensemble=ensemble,
        seed=seed,
        workers=workers or available_cores(),
        dask=dask,
        scheduler=scheduler,
        shard=shard,
        time_limit=time_limit,
        without_failed=without_failed,
    ).run
    assert found is not None
    simulated = is_simulated(scored) or is_simulated(spectra)
    if isinstance(found, PartitionedCompared):
        if found.is_finished:
            say_joined(found.outcome.n, found.outcome.left_out, simulated)
        say_partitions(found)
        return
    say_joined(found.n, found.left_out, simulated)
    say_written(output)


compare.in_parts = ("scored",)  # type: ignore[attr-defined]  # see `cli.guarded`


def show(
    scored: Annotated[Path, typer.Argument(help="Scored catalog; with --all also a target list.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg; --all: .pdf."),
    ],
    cutouts: Annotated[
        Path | None,
        typer.Option(
            help="Cutout store, which ensembles of cutouts need. Default: the one that was scored, "
            "if it lies beside."
        ),
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="Id of the source in the catalog.")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Draw every source, many on a page, in the file's order.")
    ] = False,
    ensemble: EnsembleOption = DEFAULT,
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", help="Rule file whose verdicts are given; may be repeated."),
    ] = None,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--scored",
            help="Scored catalog that a target list was selected from. Default: the one beside it.",
        ),
    ] = None,
) -> None:
    """Draw a source, or with --all every source of a list: image, spectrum, lines and verdicts.

    Example:
        targetsel show --all emission.targets.parquet -o sheet.pdf
    """
    from targetsel.api import pictures as api

    if all_ == (id is not None):
        raise CatalogError(
            f"{scored}: give --id ID for one source, or --all for a sheet of all of them."
        )
    given = {"--rules": rules, "--known": known} if all_ else {"--scored": predictions}
    if unused := [name for name, value in given.items() if value]:
        told = "a sheet of all sources" if all_ else "a picture of one source"
        raise CatalogError(f"{scored}: {told} takes no {' and no '.join(unused)}. Leave it out.")
    if id is not None:
        api.show(
            scored,
            id,
            cutouts,
            output,
            rules=rules,
            known=known,
            known_radius=known_radius,
            ensemble=ensemble,
        )
        say(f"source {id} drawn in {output}")
        return
    n = api.show_all(scored, cutouts, output, scored=predictions, ensemble=ensemble)
    say(f"{counted(n, 'source')} drawn in {output}")
