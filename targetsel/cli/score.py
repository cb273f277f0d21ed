"""targetsel score: from an imaging catalog and its cutouts to a scored catalog."""

from __future__ import annotations

import os
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.options import (
    BrightnessOption,
    DaskOption,
    DecOption,
    EnsembleOption,
    IdOption,
    RaOption,
    SchedulerOption,
    SeedOption,
    ShardOption,
    ThreadsOption,
    TimeLimitOption,
    WithoutFailedOption,
    WorkersOption,
)
from targetsel.cli.terminal import say, say_written
from targetsel.errors import EnsembleError, counted
from targetsel.scoring import DEFAULT
from targetsel.workers.pool import available_cores


class Device(StrEnum):
    """Devices that networks run on; `auto` takes CUDA where there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class EngineChoice(StrEnum):
    """Programs that run the networks; all but torch run on the CPU, from an extra of their name."""

    torch = "torch"
    onnxruntime = "onnxruntime"
    openvino = "openvino"


UNCALIBRATED = (
    "not calibrated: uncertainties are those that the networks learnt, and P() is not checked "
    "against known spectra. 'targetsel calibrate' does that"
)


def score(
    catalog: Annotated[
        Path,
        typer.Argument(
            help="Imaging catalog: Parquet (file or folder), FITS, VOTable, ECSV or CSV."
        ),
    ],
    cutouts: Annotated[
        Path | None,
        typer.Option(
            help="Cutout store; or CATALOG itself, for the images in its column image. Default: "
            "the folder cutouts/ beside CATALOG; where there is none, these images."
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Table with the vectors that the ensemble was trained on, in place of cutouts or "
            "beside them, in the same column. Any format but CSV."
        ),
    ] = None,
    ensemble: EnsembleOption = DEFAULT,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Scored catalog to write: .parquet, .fits, .vot, .ecsv or .csv (without "
            "posteriors); for a catalog in HATS also a folder, which becomes one. Default: "
            "<catalog>.scored.parquet beside CATALOG, or the folder <catalog>.scored for HATS.",
        ),
    ] = None,
    device: Annotated[
        Device,
        typer.Option(help="Device that the networks run on; auto takes CUDA if there is one."),
    ] = Device.auto,
    engine: Annotated[
        EngineChoice,
        typer.Option(
            help="What runs the networks. onnxruntime and openvino are faster on a CPU; each needs "
            "the extra of its name."
        ),
    ] = EngineChoice.torch,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Do not apply the ensemble's calibration.")
    ] = False,
    brightness: BrightnessOption = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            help="Rule file, or the name of a shipped one: predict only sources that a class of "
            "it could choose, and read no pixels of the others. May be repeated."
        ),
    ] = None,
    zeropoint: Annotated[
        float | None,
        typer.Option(help="AB magnitude of one count, of images in CATALOG that do not give it."),
    ] = None,
    slim: Annotated[
        bool,
        typer.Option(
            "--slim",
            help="Leave out the posterior of the latents and round what is predicted: all that "
            "rules read, in a quarter of the bytes.",
        ),
    ] = False,
    workers: WorkersOption = None,
    dask: DaskOption = False,
    scheduler: SchedulerOption = None,
    shard: ShardOption = None,
    time_limit: TimeLimitOption = None,
    without_failed: WithoutFailedOption = False,
    ra_col: RaOption = None,
    dec_col: DecOption = None,
    id_col: IdOption = None,
) -> None:
    """Predict latents and line strengths of every source of CATALOG; resumes if interrupted.

    A catalog in HATS is scored partition by partition, by several processes, a Dask cluster or the
    tasks of an array job. A partition that fails three times, or ends its process five times,
    costs only itself: the others are scored, and the exit status is 3.

    Files and folders may be addresses, such as s3://bucket/catalog.parquet. For such an output,
    unfinished work is in the working directory; for a catalog in HATS, in a folder of its name.

    Example:
        targetsel score catalog.parquet
        targetsel score catalog.parquet --rules one-field.yaml -o field.scored.parquet
    """
    from targetsel.api import scoring as api
    from targetsel.api.given import ensemble_of, store_of
    from targetsel.api.images import is_catalog_itself, usual_cutouts
    from targetsel.api.partitions import is_partitioned
    from targetsel.cli.partitions import say_partitions
    from targetsel.partitions.scoring import PartitionedScore
    from targetsel.photometry.brightness import brightness_lines, find_brightness
    from targetsel.rules.rules import Rules
    from targetsel.scoring.stream import ScoreRun
    from targetsel.sky.catalog import CatalogFile

    chosen = [Rules.read(name) for name in rules or ()]
    catalog = named(catalog)
    output = output or default_output(catalog)
    score_it = partial(
        api.score,
        output=output,
        seed=seed,
        brightness=brightness or (),
        rules=chosen,
        zeropoint=zeropoint,
        slim=slim,
        dask=dask,
        scheduler=scheduler,
        shard=shard,
        time_limit=time_limit,
        without_failed=without_failed,
    )
    if is_partitioned(catalog, output):
        partitioned = score_it(
            catalog,
            cutouts,
            ensemble,
            embeddings=embeddings,
            calibrated=not uncalibrated,
            device=chosen_device(device, engine),
            engine=engine.value,
            workers=workers or available_cores(),
            ra_col=ra_col,
            dec_col=dec_col,
            id_col=id_col,
        ).run
        assert isinstance(partitioned, PartitionedScore)
        if partitioned.redshift_left_out:
            say(partitioned.redshift_left_out)
        say_partitions(partitioned)
        return
    file = CatalogFile.open(catalog, ra_col=ra_col, dec_col=dec_col, id_col=id_col)
    read = ensemble_of(ensemble, chosen_device(device, engine), not uncalibrated, engine.value)
    where = cutouts or (usual_cutouts(file) if read.inputs.cutouts is not None else None)
    is_inside = where is not None and is_catalog_itself(where, file)
    scored = score_it(
        file,
        where if is_inside or where is None else store_of(where),
        read,
        embeddings=embeddings,
        threads=threads or available_cores(),
    ).run
    assert isinstance(scored, ScoreRun)
    if scored.changed:
        say(f"started anew: an earlier run was of another {' and '.join(scored.changed)}")
    if scored.n_resumed:
        say(f"resumed an earlier run that had finished {counted(scored.n_resumed, 'chunk')}")
    n = sum(scored.statuses.values())
    if is_inside:
        read_of = f"images of {scored.n_cutouts:,} of {n:,} sources were read from {where}"
        say(f"{read_of}, column image")
    elif where is None:
        say(f"{scored.n_cutouts:,} of {n:,} sources are in {embeddings}")
    else:
        say(f"{scored.n_cutouts:,} of {n:,} sources have a cutout in {where}")
    for status, count in sorted(scored.statuses.items(), key=lambda item: -item[1]):
        say(f"{count:>10,}  {status}")
    if scored.n_not_needed:
        say("no pixels were read of those not needed: by their catalog alone no class chooses them")
    elif scored.all_needed:
        say(f"every source is needed: {scored.all_needed}")
    if scored.n_unmeasured:
        say(
            f"{scored.n_unmeasured:>10,}  of the ok lack some line or index, named in the column "
            "'unmeasured': it cannot be measured on more than 5 % of their spectra"
        )
    say(read.calibration.summary if read.calibration else UNCALIBRATED)
    if read.how_decoded:
        say(read.how_decoded)
    if known := scored.support.summary:
        say(
            f"{known['share']:.1%} of them have support: the ensemble was trained on sources of "
            f"such magnitude, colour and size. The {known['held_out']:,} sources that were held "
            f"out of the training, weighted to resemble these, count as {known['effective']:,.0f}"
        )
    for line in brightness_lines(find_brightness(file.schema, brightness or (), catalog)):
        say(line)
    if scored.redshift_left_out:
        say(scored.redshift_left_out)
    if scored.caution:
        say(f"caution: {scored.caution}")
    say_written(scored.output)


score.in_parts = ("catalog",)  # type: ignore[attr-defined]  # see `cli.guarded`
score.resumes_here = True  # type: ignore[attr-defined]  # unfinished work is no remote file's copy


def restore(
    scored: Annotated[
        Path, typer.Argument(help="Scored catalog that another program has filtered or rewritten.")
    ],
    original: Annotated[
        Path, typer.Option("--from", help="The scored catalog that it was made from.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Scored catalog to write.")],
) -> None:
    """Give SCORED the units, correlations and provenance of the catalog that it was made from.

    Its sources must be among those of the original, with the same values. Columns that were added
    are kept.

    Example:
        targetsel restore catalog.scored.parquet --from catalog.scored.parquet -o whole.parquet
    """
    from targetsel.api import scoring as api

    n = len(api.restore(scored, original, output))
    say(f"{counted(n, 'source')}, found in {original}, written to {output}")


def default_output(catalog: Path) -> Path:
    """`<stem>.scored.parquet` beside the catalog; the folder `<name>.scored` for one in HATS."""
    from targetsel.tables.hats_properties import is_hats

    if is_hats(catalog):
        return catalog.with_name(f"{catalog.name}.scored")
    name = catalog.name.removesuffix(".gz")
    stem = Path(name).stem if catalog.is_file() else name
    return catalog.parent / f"{stem}.scored.parquet"


def named(folder: Path) -> Path:
    """The same path, resolved if it is `.` or ends in `..`, so that it has a name."""
    return folder if folder.name not in ("", "..") else Path(os.path.abspath(folder))


def chosen_device(device: Device, engine: EngineChoice = EngineChoice.torch) -> str:
    """The torch device of this choice; `auto` takes CUDA where there is one and the engine can.

    Raises
    ------
    EnsembleError
        If the choice is CUDA and there is none.
    """
    import torch

    if device is Device.cuda and not torch.cuda.is_available():
        raise EnsembleError("--device cuda: this machine or PyTorch has no CUDA. Use cpu or auto.")
    if device is Device.auto:
        return "cuda" if engine is EngineChoice.torch and torch.cuda.is_available() else "cpu"
    return device.value
