"""targetsel train: an ensemble from a cutout store and spectra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from targetsel.cli.score import Device, chosen_device
from targetsel.cli.terminal import available_cores, say, visible

if TYPE_CHECKING:
    from targetsel.training.members import MemberProgress


def train(
    store: Annotated[Path, typer.Argument(help="Cutout store.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new ensemble.")],
    spectra: Annotated[
        Path | None,
        typer.Option(
            help="Parquet or .npz with source_id, flux (N, 1000) on the rest-frame grid, and "
            "optionally ivar."
        ),
    ] = None,
    latents: Annotated[
        Path | None, typer.Option(help="Latents written by 'targetsel spectra encode'.")
    ] = None,
    decoder: Annotated[
        Path | None, typer.Option(help="Decoder of the latents, a folder or file.")
    ] = None,
    catalog: Annotated[
        Path | None, typer.Option(help="Catalog with groups, weights, redshifts, magnitudes.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Column of CATALOG; sources of one group stay together, in training or in "
            "testing. Default: group_id, or else every source is its own group."
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="Recipe: default or wu-peek-2020.")] = "default",
    members: Annotated[
        int | None,
        typer.Option(min=1, help="Number of networks. Default: 5, or as many as in --init."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs of all phases. Default: 12, or 10 for wu-peek-2020."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Members trained at the same time, one core each. Default: all cores."
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Ensemble to start from: a folder, or the name of a shipped one."),
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Bands, such as g,r,i. Default: those of the store.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Width of the central part of the cutouts to use, in pixels. Default: all."
        ),
    ] = None,
    bin: Annotated[
        int | None, typer.Option(min=1, help="Sum pixels in blocks of this width. Default: 1.")
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(help="Relative width of the networks. Default: 0.5, or 1 for wu-peek-2020."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, batches and splits.")] = 0,
    device: Annotated[Device, typer.Option(help="Device to train on.")] = Device.auto,
) -> None:
    """Train an ensemble on the cutouts in STORE; resumes if interrupted."""
    from targetsel.training.ensemble_training import train_into
    from targetsel.training.plan import TrainingFiles, TrainingInputs

    inputs = TrainingInputs.read(
        TrainingFiles(store, spectra, latents, decoder, catalog, group, init),
        preset,
        bands=None if bands is None else tuple(band.strip() for band in bands.split(",")),
        size=size,
        binning=bin,
        seed=seed,
        members=members,
        epochs=epochs,
        width=width,
    )
    chosen = chosen_device(device)
    plan = replace(inputs.plan, workers=workers or available_cores(), device=chosen)
    with _Live(plan.members) as report:
        card = train_into(output, inputs.store, inputs.labels, plan, inputs.decoder, report)
    rmse = card["validation"]["rmse"]
    say(
        f"written to {output}: RMSE of standardised latents {rmse['value']:.4f} "
        f"({rmse['low']:.4f} to {rmse['high']:.4f}) on {card['validation']['on']}"
    )


class _Live:
    """Progress on a terminal, a line for each member; elsewhere a line for each epoch."""

    def __init__(self, members: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        self.is_terminal = console.is_terminal
        columns = (
            TextColumn("member {task.fields[member]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
        )
        self.bars = Progress(*columns, console=console, disable=not self.is_terminal)
        self.tasks = [self.bars.add_task("waiting", member=k, total=1.0) for k in range(members)]

    def __enter__(self) -> Callable[[str | MemberProgress], None]:
        self.bars.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def _show(self, message: str | MemberProgress) -> None:
        if isinstance(message, str):
            self.bars.console.print(visible(message), highlight=False, markup=False)
        elif self.is_terminal:
            progress = message.progress
            minutes, seconds = divmod(round(progress.remaining), 60)
            self.bars.update(
                self.tasks[message.member],
                completed=progress.share,
                description=f"{progress}, {minutes}:{seconds:02d} left",
            )
        elif message.progress.whole:
            say(str(message), err=True)
