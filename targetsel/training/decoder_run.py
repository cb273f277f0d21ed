"""A decoder's training as a folder: the weights, what was measured of them, and a picture.

`decoder.safetensors`, `training.json` and `training.png` appear at the end; until then
`checkpoint.safetensors` holds where the training stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.errors import OutputError
from targetsel.spectra.decoder import FILE_NAME, Decoder
from targetsel.spectra.grid import wavelengths
from targetsel.tables.files import written_beside
from targetsel.training.decoder_training import Recipe, Trained, train
from targetsel.training.training_spectra import TrainingSpectra
from targetsel.version import __version__

REGIONS = {
    "3388-3800": (3388.0, 3800.0),
    "3800-4200": (3800.0, 4200.0),
    "4200-5500": (4200.0, 5500.0),
    "5500-7000": (5500.0, 7000.0),
    "7000-8311": (7000.0, 8311.0),
}


def train_into(
    source: Path, folder: Path, recipe: Recipe, report: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train a decoder on the spectra of `source` and write it into `folder`.

    Where the folder holds a checkpoint of the same training, this goes on from it.

    Returns
    -------
    dict
        The figures of `validate`.

    Raises
    ------
    OutputError
        If the folder holds a finished decoder.
    """
    folder = Path(folder)
    if (folder / FILE_NAME).exists():
        raise OutputError(
            f"{folder}: holds a trained decoder already. Choose another folder, or delete it."
        )
    spectra = TrainingSpectra.read(source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: could not be made: {error.strerror or error}") from None
    checkpoint = folder / "checkpoint.safetensors"
    noise = "without noise" if spectra.ivar is None else "with their own noise"
    report(f"{len(spectra.flux)} spectra {noise} from {source}")
    if checkpoint.exists():
        report(f"going on from {checkpoint}")
    trained = train(spectra, recipe, checkpoint, lambda line: report(_progress(line, recipe)))
    decoder = Decoder(trained.network)
    figures = validate(decoder, spectra, trained.held_out)
    about = {
        "code_version": __version__,
        "recipe": asdict(recipe) | {"space": recipe.space.name},
        "spectra_sha256": spectra.sha256,
        "n_spectra": len(spectra.flux),
        "kept_epoch": trained.kept_epoch,
        "validation": figures,
        "history": trained.history,
    }
    with written_beside(folder / "training.json") as beside:
        beside.write_text(json.dumps(about, indent=1) + "\n")
    draw_training(decoder, spectra, trained, folder / "training.png")
    decoder.write(folder / FILE_NAME)
    for leftover in (checkpoint, *folder.glob(f".{checkpoint.name}.*.tmp")):  # of a killed run
        leftover.unlink(missing_ok=True)
    return figures


def validate(decoder: Decoder, spectra: TrainingSpectra, held_out: np.ndarray) -> dict[str, Any]:
    """What the decoder makes of held-out spectra.

    Residuals are |reconstruction / flux - 1| of measured pixels; a latent's `encoder_std` is the
    median of the encoder's standard deviation, in units of that latent's scatter.
    """
    residual, std = _residual(decoder, spectra, held_out)
    size = np.abs(residual)
    grid = wavelengths()
    by_region = {
        name: round(float(np.nanmedian(size[:, (grid >= low) & (grid < high)])), 5)
        for name, (low, high) in REGIONS.items()
    }
    return {
        "n_held_out": len(held_out),
        "median_residual": round(float(np.nanmedian(size)), 5),
        "p90_residual": round(float(np.nanpercentile(size, 90)), 5),
        "median_residual_by_region_in_angstrom": by_region,
        "encoder_std": [round(float(v), 4) for v in np.median(std, axis=0)],
    }


def _residual(
    decoder: Decoder, spectra: TrainingSpectra, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fractional residuals (N, 1000), NaN where masked, and the latents' deviations (N, D)."""
    flux = spectra.flux[rows].astype(np.float64)
    mean, std = decoder.encode(flux)
    decoded = decoder.decode(mean[:, None]).flux[:, 0]
    usable = flux > 0
    if spectra.ivar is not None:
        usable &= spectra.ivar[rows] > 0
    return np.divide(decoded, flux, out=np.full_like(flux, np.nan), where=usable) - 1, std


def draw_training(decoder: Decoder, spectra: TrainingSpectra, trained: Trained, path: Path) -> None:
    """Draw the losses, the residuals along wavelength, and three held-out spectra, as PNG."""
    from matplotlib.figure import Figure

    residual, _ = _residual(decoder, spectra, trained.held_out)
    figure = Figure(figsize=(10, 9), layout="constrained")
    losses, along, examples = figure.subplots(3, 1, height_ratios=(1, 1, 1.4))
    epochs = [row["epoch"] for row in trained.history]
    losses.semilogy(epochs, [row["loss"] for row in trained.history], label="training")
    losses.semilogy(epochs, [row["held_out_loss"] for row in trained.history], label="held out")
    losses.axvline(trained.kept_epoch, color="0.7", lw=0.8, label="kept")
    losses.set(xlabel="epoch", ylabel="loss per spectrum")
    losses.legend(frameon=False, fontsize=8)
    grid = wavelengths()
    low, middle, high = np.nanpercentile(residual, (16, 50, 84), axis=0)
    along.fill_between(grid, low, high, color="#cfd6df", label="16 to 84 %")
    along.plot(grid, middle, color="#24507a", lw=0.9, label="median")
    along.axhline(0, color="0.6", lw=0.6)
    along.set(ylabel="decoded / flux - 1", xlim=(grid[0], grid[-1]))
    along.legend(frameon=False, fontsize=8, ncols=2)
    order = np.argsort(np.nanmedian(np.abs(residual), axis=1))
    for step, (name, rank) in enumerate((("best", 0), ("median", len(order) // 2), ("worst", -1))):
        flux = spectra.flux[trained.held_out[order[rank]]]
        shift = 2.0 * step
        level = np.median(flux)
        decoded = (residual[order[rank]] + 1) * flux
        examples.plot(grid, flux / level + shift, color="0.6", lw=0.8)
        examples.plot(grid, decoded / level + shift, color="#b3261e", lw=0.8)
        examples.text(grid[5], shift + 1.9, name, fontsize=8)
    examples.set(xlim=(grid[0], grid[-1]), ylim=(0, 8), ylabel="flux (grey), decoded (red)")
    examples.set_xlabel("rest-frame vacuum wavelength [Å]")
    with written_beside(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def _progress(line: dict[str, float], recipe: Recipe) -> str:
    return (
        f"epoch {line['epoch']:.0f} of at most {recipe.epochs}: loss {line['loss']:.1f}, held out "
        f"{line['held_out_loss']:.1f} (fit {line['held_out_fit']:.1f}, divergence "
        f"{line['held_out_divergence']:.2f}, mismatch {line['held_out_mismatch']:.3f})"
    )
