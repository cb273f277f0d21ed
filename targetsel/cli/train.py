"""targetsel train: an ensemble from a cutout store and spectra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from targetsel.cli.score import Device, chosen_device
from targetsel.cli.terminal import available_cores
from targetsel.errors import CatalogError, EnsembleError, SpectrumError

if TYPE_CHECKING:
    from targetsel.imaging.store import CutoutStore
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.spectra.decoder import Decoder
    from targetsel.training.labels import Labels
    from targetsel.training.members import MemberStanding
    from targetsel.training.plan import TrainingPlan


def train(
    store: Annotated[Path, typer.Argument(help="Cutout store.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new ensemble.")],
    spectra: Annotated[
        Path | None,
        typer.Option(
            help="Parquet or .npz with source_id, flux (N, 1000) on the rest-frame grid, and "
            "perhaps ivar."
        ),
    ] = None,
    latents: Annotated[
        Path | None, typer.Option(help="Latents as 'targetsel spectra encode' writes them.")
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
            help="Column of CATALOG: sources of one group are never parted between learning and "
            "testing. Default: group_id, or else each source is its own."
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="Recipe: default or wu-peek-2020.")] = "default",
    members: Annotated[
        int | None,
        typer.Option(min=1, help="Networks. Default: 5, or as many as in --init."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of all phases. Default: 12, or 10 as published.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Members trained at once, each by one core. Default: all cores."),
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Ensemble to go on from: a folder, or a shipped one's name.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Such as g,r,i. Default: those of the store.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Central pixels of the cutouts. Default: all.")
    ] = None,
    bin: Annotated[
        int | None, typer.Option(min=1, help="Add up so many pixels on a side. Default: 1.")
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Of the networks. Default: 0.5, or 1 as published.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, batches and splits.")] = 0,
    device: Annotated[Device, typer.Option(help="Where the networks learn.")] = Device.auto,
) -> None:
    """Train an ensemble on the cutouts in STORE; run it again after a kill, and it goes on."""
    from targetsel.imaging.store import CutoutStore
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.sky.catalog import Catalog
    from targetsel.tables.parquet import is_simulated
    from targetsel.training.run import train_into

    if group is not None and catalog is None:
        raise CatalogError(f"--group {group}: is a column of what? Name it with --catalog.")
    start = None if init is None else Ensemble.read(init)
    chosen, place = _decoder(decoder, init, start)
    cutouts = CutoutStore.open(store)
    named = None if bands is None else tuple(band.strip() for band in bands.split(","))
    plan = _plan(
        preset,
        cutouts,
        chosen,
        start,
        {"bands": named, "size": size, "binning": bin},
        {"members": members, "epochs": epochs, "width": width, "seed": seed},
    )
    labels = _labels(spectra, latents, chosen, place, seed)
    if catalog is not None:
        simulated = labels.simulated or is_simulated(catalog)
        labels = labels.with_catalog(Catalog.read(catalog), group)
        labels = replace(labels, simulated=simulated)
    plan = replace(plan, workers=workers or available_cores(), device=chosen_device(device))
    with _Live(plan.members) as report:
        card = train_into(output, cutouts, labels, plan, chosen, report)
    rmse = card["validation"]["rmse"]
    typer.echo(
        f"written to {output}: RMSE of standardised latents {rmse['value']:.4f} "
        f"({rmse['low']:.4f} to {rmse['high']:.4f}) on {card['validation']['on']}"
    )


def _decoder(path: Path | None, init: str | None, start: Ensemble | None) -> tuple[Decoder, Path]:
    """The decoder, and the file that it is in."""
    from targetsel.scoring.ensemble import find_ensemble
    from targetsel.spectra.decoder import FILE_NAME, Decoder

    if path is not None:
        file = path / FILE_NAME if path.is_dir() else path
    elif init is not None:
        file = find_ensemble(init) / FILE_NAME
    else:
        raise EnsembleError("--decoder is missing: the latents are those of which decoder?")
    decoder = Decoder.read(file)
    if start is not None and not _same_weights(decoder, start.decoder):
        raise EnsembleError(
            f"--decoder {path}: is not the decoder of {init}. Leave it out: a training that "
            "starts from an ensemble keeps its decoder."
        )
    return decoder, file


def _same_weights(one: Decoder, other: Decoder) -> bool:
    import torch

    ours, theirs = one.network.state_dict(), other.network.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def _labels(
    spectra: Path | None, latents: Path | None, decoder: Decoder, place: Path, seed: int
) -> Labels:
    from targetsel.training.labels import Labels

    if spectra is not None and latents is None:
        return Labels.of_spectra(spectra, decoder, seed)
    if latents is not None and spectra is None:
        return Labels.of_latents(latents, decoder, place)
    both = "both are given" if spectra is not None else "neither is"
    raise SpectrumError(f"--spectra or --latents: {both}, expected one of them")


def _plan(
    preset: str,
    store: CutoutStore,
    decoder: Decoder,
    start: Ensemble | None,
    asked: dict[str, Any],
    options: dict[str, Any],
) -> TrainingPlan:
    """The plan of the options that were given; the others are the preset's, or those of `start`."""
    from targetsel.networks.input_plan import InputPlan
    from targetsel.training.plan import fine_tuning, named_plan

    asked = {name: value for name, value in asked.items() if value is not None}
    options = {name: value for name, value in options.items() if value is not None}
    if start is None:
        return named_plan(preset, InputPlan.of_store(store, **asked), decoder.n_latents, **options)
    return fine_tuning(preset, start, replace(start.input, **asked), **options)


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

    def __enter__(self) -> Callable[[str | MemberStanding], None]:
        self.bars.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def _show(self, message: str | MemberStanding) -> None:
        if isinstance(message, str):
            self.bars.console.print(message, highlight=False, markup=False)
        elif self.is_terminal:
            standing = message.standing
            minutes, seconds = divmod(round(standing.remaining), 60)
            self.bars.update(
                self.tasks[message.member],
                completed=standing.share,
                description=f"{standing}, {minutes}:{seconds:02d} left",
            )
        elif message.standing.whole:
            typer.echo(str(message), err=True)
