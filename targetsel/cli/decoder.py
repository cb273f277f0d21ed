"""`targetsel decoder`: train a spectral decoder, or import the published one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.terminal import say, say_aside

app = typer.Typer(
    help="Train a spectral decoder, or import the published one.", no_args_is_help=True
)


@app.command()
def train(
    spectra: Annotated[
        Path,
        typer.Argument(
            help="Folder of SDSS or DESI files, or .npz or .parquet with flux (N, 1000) on the "
            "rest-frame grid and optionally ivar."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write the decoder in.")],
    latents: Annotated[str, typer.Option(help="Latent space, such as vae6 or vae10pca6.")] = "vae6",
    epochs: Annotated[int, typer.Option(min=1, help="Largest number of epochs.")] = 200,
    batch: Annotated[int, typer.Option(min=2, help="Spectra per batch.")] = 64,
    one_cycle: Annotated[
        bool,
        typer.Option(
            help="Run all epochs in one cycle of the learning rate, without stopping early."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, noise and split.")] = 0,
) -> None:
    """Train a decoder on SPECTRA; resumes if interrupted.

    Example:
        targetsel decoder train spectra.parquet --epochs 2 -o decoder
    """
    from targetsel.api.training import train_decoder

    figures = train_decoder(
        spectra,
        output,
        latents=latents,
        epochs=epochs,
        batch=batch,
        one_cycle=one_cycle,
        seed=seed,
        report=say_aside,
    )
    say(
        f"decoder {latents} written to {output}: median |residual| "
        f"{figures['median_residual']:.4f} on {figures['n_held_out']} held-out spectra"
    )


@app.command("import")
def import_(
    weights: Annotated[Path, typer.Argument(help="Published autoencoder, .pth.")],
    pca: Annotated[Path, typer.Option(help="Pickled PCA of its latents, latent_pca.pkl.")],
    mean_spectrum: Annotated[
        Path, typer.Option(help="Mean of its training spectra, meanspec.npy.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Decoder to write: a folder or .safetensors.")
    ],
) -> None:
    """Import the published SDSS autoencoder; nothing in its pickles is executed.

    Example, with the files of its authors:
        targetsel decoder import 0057.pth --pca latent_pca.pkl --mean-spectrum meanspec.npy -o sdss
    """
    from targetsel.api.published import import_decoder

    imported = import_decoder(weights, output, pca=pca, mean_spectrum=mean_spectrum)
    for published, ours in imported.used.items():
        say(f"{published} -> {ours}")
    say(f"decoder {imported.decoder.space.name} written to {imported.path}")
