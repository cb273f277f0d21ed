"""targetsel observe: signal-to-noise ratios and exposure times of predicted lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import (
    AirmassOption,
    BrightnessOption,
    DaskOption,
    HorizonOption,
    NightOrNoneOption,
    SchedulerOption,
    ScoredArgument,
    ScoredOrFolder,
    ShardOption,
    SiteOrNoneOption,
    TimeLimitOption,
    TwilightOption,
    WithoutFailedOption,
    WorkersOption,
)
from targetsel.cli.terminal import say, say_written
from targetsel.nights.visibility import AIRMASS
from targetsel.workers.pool import available_cores


def observe(
    scored: ScoredArgument,
    output: ScoredOrFolder,
    spectrograph: Annotated[
        str, typer.Option(help="Spectrograph: 4most, boss, desi, pfs, sdss, or a YAML file.")
    ] = "desi",
    line: Annotated[
        list[str] | None,
        typer.Option(help="Emission line, such as halpha; may be repeated. Default: all."),
    ] = None,
    exposure: Annotated[
        str | None,
        typer.Option(help="Exposure time, such as 1000s or 15min. Default: the spectrograph's."),
    ] = None,
    snr: Annotated[float, typer.Option(help="Line S/N that exposure times must reach.")] = 5.0,
    size: Annotated[
        str | None,
        typer.Option(help="Half-light radius: a column, or one value for all such as 1.5arcsec."),
    ] = None,
    brightness: BrightnessOption = None,
    in_fiber: Annotated[
        bool,
        typer.Option(
            "--in-fiber", help="Use magnitudes of the light within the fiber (fiberflux_BAND)."
        ),
    ] = False,
    redshift: Annotated[
        str,
        typer.Option(
            help="Redshift: a column, one value for all such as 0.1, or a column of densities. "
            "Default: redshift, or where there is none, photoz with its errors."
        ),
    ] = "",
    redshift_error: Annotated[
        str,
        typer.Option(
            help="Standard deviation of the redshift: a column, or one value for all such as 0.02."
        ),
    ] = "",
    redshift_grid: Annotated[
        str | None,
        typer.Option(
            help="START:END, the redshifts of the first and last density, where each source has "
            "a list of densities."
        ),
    ] = None,
    redshift_pdf: Annotated[
        Path | None,
        typer.Option(
            help="File of redshifts, joined by id as 'targetsel join-redshifts' does; --redshift "
            "and --redshift-error are then its columns."
        ),
    ] = None,
    ebv: Annotated[
        str,
        typer.Option(
            help="Column of Galactic E(B-V) in mag, Schlegel et al. (1998). Default: no dust."
        ),
    ] = "",
    dereddened: Annotated[
        bool,
        typer.Option(
            "--dereddened", help="Treat magnitudes as already corrected for Galactic dust."
        ),
    ] = False,
    site: SiteOrNoneOption = None,
    night: NightOrNoneOption = None,
    airmass: AirmassOption = AIRMASS,
    horizon: HorizonOption = 0.0,
    twilight: TwilightOption = "astronomical",
    workers: WorkersOption = None,
    dask: DaskOption = False,
    scheduler: SchedulerOption = None,
    shard: ShardOption = None,
    time_limit: TimeLimitOption = None,
    without_failed: WithoutFailedOption = False,
) -> None:
    """Predict line fluxes, signal-to-noise ratios and exposure times for every source of SCORED.

    Rules can use these columns, as in P(snr_halpha > 5) or P(exposure_time_oii < 1800). A scored
    catalog in HATS is observed partition by partition, as 'targetsel score' scores one, where the
    output is a folder. With --site and --night, columns such as hours_up say whether and when
    sources are up.

    Example:
        targetsel observe catalog.scored.parquet --size 2arcsec -o observed.parquet
    """
    from targetsel.api import scoring as api
    from targetsel.cli.partitions import say_partitions
    from targetsel.partitions.catalog_job import PartitionedRun

    run = api.observe(
        scored,
        size,
        output,
        spectrograph=spectrograph,
        lines=line or (),
        exposure=exposure,
        snr=snr,
        brightness=brightness or (),
        in_fiber=in_fiber,
        redshift=redshift,
        redshift_error=redshift_error,
        redshift_grid=redshift_grid,
        redshift_pdf=redshift_pdf,
        ebv=ebv,
        dereddened=dereddened,
        site=site,
        night=night,
        airmass=airmass,
        horizon=horizon,
        twilight=twilight,
        workers=workers or available_cores(),
        dask=dask,
        scheduler=scheduler,
        shard=shard,
        time_limit=time_limit,
        without_failed=without_failed,
    ).run
    assert run is not None
    if isinstance(run, PartitionedRun):
        say_partitions(run)
        return
    for status, count in sorted(run.statuses.items(), key=lambda item: (-item[1], item[0])):
        say(f"{count:>10,}  {status}")
    dust = f"dimmed by dust of '{ebv}'" if ebv else "without Galactic dust"
    if run.joined is not None:
        say(f"redshifts of {redshift_pdf} for {run.joined.n_matched:,} sources, else photoz")
    elif run.predicted:
        say("redshifts as in photoz, with their errors")
    say(f"continuum from {', '.join(run.continuum)}")
    say(f"{run.exposure.spectrograph.name}, {run.exposure.time:g} s, lines {dust}")
    for remark in run.nights:
        say(remark)
    if run.caution:
        say(f"caution: {run.caution}")
    say_written(output)


observe.in_parts = ("scored",)  # type: ignore[attr-defined]  # see `cli.guarded`
