"""targetsel train: an ensemble from a cutout store and spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.score import Device, chosen_device
from targetsel.cli.terminal import say, say_aside
from targetsel.workers.pool import available_cores


def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new ensemble.")],
    store: Annotated[
        Path | None,
        typer.Argument(help="Cutout store. Without it networks see the vectors of --embeddings."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Table with an id and a list of numbers in each row, such as a foundation model's "
            "embeddings of images: in place of cutouts, or beside them. Any format but CSV."
        ),
    ] = None,
    embedding_col: Annotated[
        str | None,
        typer.Option(help="Column of the vectors. Default: the only one, or that of --init."),
    ] = None,
    photometry: Annotated[
        bool,
        typer.Option(
            "--photometry", help="Take the magnitudes in CATALOG too, beside the embeddings."
        ),
    ] = False,
    spectra: Annotated[
        Path | None,
        typer.Option(
            help="Table in any format but CSV, or .npz, with source_id, flux (N, 1000) on the "
            "rest-frame grid, and optionally ivar."
        ),
    ] = None,
    latents: Annotated[
        Path | None,
        typer.Option(help="Latents as 'targetsel spectra encode' writes them; in any format."),
    ] = None,
    decoder: Annotated[
        Path | None,
        typer.Option(
            help="Decoder of the latents: a folder, a file, or the name of a shipped ensemble such "
            "as mock-ps1, for its decoder. With --init it is known already."
        ),
    ] = None,
    catalog: Annotated[
        Path | None, typer.Option(help="Catalog with groups, weights, redshifts, magnitudes.")
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="Catalog of the sources that predictions are for: labelled sources are weighted "
            "so that their magnitudes and colours, in CATALOG, are distributed as there."
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Column of CATALOG; sources of one group stay together, in training or in "
            "testing. Default: group_id, or else every source is its own group."
        ),
    ] = None,
    survey: Annotated[
        str | None,
        typer.Option(
            help="Survey of the images, such as hsc ('targetsel surveys' lists them): its card "
            "gives bands, size and bin that are not given here, and the pixels of STORE must be "
            "its."
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
        str | None, typer.Option(help="Bands, such as gri or VIS,Y,J. Default: those of the store.")
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
    redshift: Annotated[
        bool,
        typer.Option(
            help="Whether to learn the redshift too, where CATALOG has it in a column such as "
            "redshift or z_spec; with --init, where that ensemble predicts it."
        ),
    ] = True,
    aperture: Annotated[
        float | None,
        typer.Option(
            help="Diameter of the fiber that the spectra were taken with, in arcsec, for the card "
            "and scored files: line strengths are of the light in it. Default: as the file of "
            "spectra states it, which mock skies do, or else that of --init."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, batches and splits.")] = 0,
    device: Annotated[Device, typer.Option(help="Device to train on.")] = Device.auto,
) -> None:
    """Train an ensemble on the cutouts in STORE, on embeddings or both; resumes if interrupted.

    Example:
        targetsel train cutouts --spectra spectra.parquet --init mock-ps1 \\
            --members 1 --epochs 2 -o mine
    """
    from targetsel.api import training as api

    card = api.train(
        store,
        output,
        embeddings=embeddings,
        embedding_col=embedding_col,
        photometry=photometry,
        spectra=spectra,
        latents=latents,
        decoder=decoder,
        catalog=catalog,
        like=like,
        group=group,
        survey=survey,
        preset=preset,
        members=members,
        epochs=epochs,
        workers=workers or available_cores(),
        init=init,
        bands=bands,
        size=size,
        bin=bin,
        width=width,
        redshift=redshift,
        aperture=aperture,
        seed=seed,
        device=chosen_device(device),
        report=say_aside,
    ).card
    rmse = card["validation"]["rmse"]
    say(
        f"written to {output}: RMSE of standardised latents {rmse['value']:.4f} "
        f"({rmse['low']:.4f} to {rmse['high']:.4f}) on {card['validation']['on']}"
    )
    if errors := card["validation"].get("redshift"):
        say(
            f"redshift: scatter {errors['nmad']['value']:.4f} of dz / (1 + z), "
            f"{errors['outliers']['value']:.1%} outliers on the same sources"
        )
