"""Training of the spectral autoencoder, in memory or as a folder.

The recipe is that of Portillo et al. (2020, AJ 160, 45): Adam, a learning rate that falls tenfold
when the held-out loss has not improved for five epochs, and an end after ten. One cycle of the
learning rate over a fixed number of epochs (Smith & Topin 2017, arXiv:1708.07120) is an
alternative. All random numbers of an epoch follow from the seed and the epoch's number, and
arithmetic uses one thread, so a resumed training ends with exactly the weights of an uninterrupted
one on the same processor.

A training's folder holds `decoder.safetensors`, `training.json` and `training.png` at the end;
until then its state is in the folder `training`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from targetsel.errors import SpectrumError
from targetsel.extras import installed
from targetsel.spectra.autoencoder import LatentSpace, LossParts, SpectralAutoencoder
from targetsel.spectra.decoder import FILE_NAME, Decoder
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.spectra.lines import PROXIES
from targetsel.spectra.lines.table import LineTable
from targetsel.spectra.spectrum import ERROR_FLOOR
from targetsel.tables.files import written_beside
from targetsel.training.optimisation import (
    EpochTraining,
    Optimiser,
    check_unfinished,
    copy_of,
    one_cycle,
    one_thread,
    unfinished,
)
from targetsel.training.training_spectra import TrainingSpectra
from targetsel.version import __version__

SMALLEST_GAIN = 1e-3  # smallest relative improvement of the held-out loss that counts
CYCLE_UP = 0.3  # share of one cycle in which the learning rate rises
CYCLE_LAST = 4e-6  # last learning rate over the peak
REGIONS = {
    "3388-3800": (3388.0, 3800.0),
    "3800-4200": (3800.0, 4200.0),
    "4200-5500": (4200.0, 5500.0),
    "5500-7000": (5500.0, 7000.0),
    "7000-8311": (7000.0, 8311.0),
}
RESULTS = ("training.json", "training.png")  # beside the decoder
NOISE_RANGE = (8.0, 200.0)  # signal-to-noise ratio per pixel with added noise


@dataclass(frozen=True)
class DecoderRecipe:
    """Settings of an autoencoder's training; `alpha` and `lambda_` as in Zhao et al. (2019).

    With `one_cycle` the learning rate peaks at `learning_rate`, every epoch is run, and the
    weights of the last one are kept. Pixels that proxies are measured on have `proxy_weight`
    times the weight of others in the fit.
    """

    space: LatentSpace = field(default_factory=lambda: LatentSpace(6))
    epochs: int = 200
    batch: int = 64
    learning_rate: float = 1e-3
    alpha: float = 0.0
    lambda_: float = 100.0
    held_out: float = 0.1
    patience_rate: int = 5
    patience_stop: int = 10
    one_cycle: bool = False
    proxy_weight: float = 1.0
    seed: int = 0

    def cycle(self, share: float) -> float:
        """The learning rate after a share (0 to 1) of one cycle: cosines up, then down."""
        return one_cycle(share, self.learning_rate, CYCLE_UP, CYCLE_LAST)[0]


@dataclass
class DecoderState:
    """State of an autoencoder's training after an epoch, without the weights."""

    epoch: int = 0
    learning_rate: float = 0.0
    best: float = float("inf")
    since_best: int = 0
    since_cut: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def after(self, loss: float, recipe: DecoderRecipe) -> bool:
        """Record an epoch's held-out loss; return True if it is the best so far."""
        self.epoch += 1
        better = recipe.one_cycle or loss < self.best * (1 - SMALLEST_GAIN)
        if better:
            self.best, self.since_best, self.since_cut = loss, 0, 0
        else:
            self.since_best += 1
            self.since_cut += 1
        if self.since_cut > recipe.patience_rate:
            self.learning_rate *= 0.1
            self.since_cut = 0
        return better

    def is_over(self, recipe: DecoderRecipe) -> bool:
        return self.epoch >= recipe.epochs or self.since_best >= recipe.patience_stop


@dataclass(frozen=True)
class Trained:
    """A trained autoencoder, and the history of its training.

    Attributes
    ----------
    network : SpectralAutoencoder
        The network with the weights of the best epoch and the scaler of the training spectra.
    history : list of dict
        Mean loss of each epoch on training and held-out rows, and the terms of the latter.
    kept_epoch : int
        The epoch of these weights; the first is 1.
    held_out : ndarray of int
        Rows that were used only to choose the epoch.
    """

    network: SpectralAutoencoder
    history: list[dict[str, float]]
    kept_epoch: int
    held_out: np.ndarray


def train(
    spectra: TrainingSpectra,
    recipe: DecoderRecipe,
    checkpoint: Path | None = None,
    report: Callable[[dict[str, float]], object] = lambda line: None,
) -> Trained:
    """Train an autoencoder.

    Parameters
    ----------
    checkpoint : Path, optional
        Written after each epoch; if it exists, training resumes from it. It must be of the
        same recipe and spectra.
    report : callable
        Called with the figures of each epoch.
    """
    rows, held_out = split(len(spectra.flux), recipe)
    with one_thread():
        training = DecoderTraining(spectra, recipe, rows, held_out)
        network = training.run(checkpoint, report)
        _fit_scaler(network, training.flux, rows)
    state = training.state
    return Trained(network, state.history, state.epoch - state.since_best, held_out)


def split(n: int, recipe: DecoderRecipe) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training rows and of the held-out rows.

    Raises
    ------
    SpectrumError
        If less than one batch is left to train on.
    """
    order = np.random.default_rng(recipe.seed).permutation(n)
    n_held = max(1, round(recipe.held_out * n))
    if n - n_held < recipe.batch:
        raise SpectrumError(
            f"{n} spectra are too few to train on: {n - n_held} remain after {n_held} are held "
            f"out, expected at least one batch of {recipe.batch}"
        )
    return np.sort(order[n_held:]), np.sort(order[:n_held])


def pixel_counts(proxy_weight: float) -> np.ndarray:
    """Weights of the pixels in the fit, shape (1000,), float32.

    Larger than 1 in the lines and on both sides of the breaks that `PROXIES` are measured on:
    these are few pixels, but most rules depend on them.
    """
    table, wavelength = LineTable.shipped().choose(PROXIES), wavelengths()
    counts = np.ones(N_PIXELS, dtype=np.float32)
    for _, index in table.measured:
        for band in index.features:
            counts[(band.start <= wavelength) & (wavelength <= band.end)] = proxy_weight
    return counts


class DecoderTraining(EpochTraining):
    """Training state of one autoencoder."""

    error = SpectrumError

    def __init__(
        self,
        spectra: TrainingSpectra,
        recipe: DecoderRecipe,
        rows: np.ndarray,
        held_out: np.ndarray,
    ):
        self.recipe, self.rows, self.held_out = recipe, rows, held_out
        self.flux = torch.from_numpy(spectra.flux)
        self.ivar = None if spectra.ivar is None else torch.from_numpy(spectra.ivar)
        self.counts = torch.from_numpy(pixel_counts(recipe.proxy_weight))
        self.identity = {"recipe": asdict(recipe), "spectra": spectra.sha256}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = SpectralAutoencoder(recipe.space)
        self.network.mean_spectrum.copy_(self.flux[torch.from_numpy(rows)].mean(dim=0))
        adam = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self.optimiser = Optimiser(adam)
        self.state = DecoderState(learning_rate=recipe.learning_rate)
        self.best = copy_of(self.network)

    @property
    def is_over(self) -> bool:
        return self.state.is_over(self.recipe)

    @property
    def n_epochs(self) -> int:
        return self.recipe.epochs

    def epoch(self, report: Callable[[dict[str, float]], object]) -> None:
        """Train on every row once, and evaluate the held-out rows.

        Raises
        ------
        SpectrumError
            If the held-out loss is not finite.
        """
        recipe, state = self.recipe, self.state
        generator = _generator(recipe.seed, state.epoch + 1)
        n_rows = len(self.rows)
        order = torch.from_numpy(self.rows)[torch.randperm(n_rows, generator=generator)]
        self.network.train()
        total = 0.0
        n_batches = len(order) // recipe.batch
        for k, chosen in enumerate(order[: n_batches * recipe.batch].split(recipe.batch)):
            if recipe.one_cycle:
                share = (state.epoch + k / n_batches) / recipe.epochs
                state.learning_rate = recipe.cycle(share)
            self.optimiser.set(state.learning_rate)
            loss = self._loss(chosen, generator).total(recipe.alpha, recipe.lambda_) / recipe.batch
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1e3)
            self.optimiser.step()
            total += loss.item()
        parts = self._held_out(torch.from_numpy(self.held_out))
        loss_held = float(parts.total(recipe.alpha, recipe.lambda_))
        if not math.isfinite(loss_held):
            raise SpectrumError(
                f"training diverged in epoch {state.epoch + 1}: the held-out loss is "
                f"{loss_held}. Look for extreme values in the spectra or their inverse variance."
            )
        figures = {
            "epoch": state.epoch + 1,
            "learning_rate": state.learning_rate,
            "loss": total / n_batches,
            "held_out_loss": loss_held,
            "held_out_fit": float(parts.fit),
            "held_out_divergence": float(parts.divergence),
            "held_out_mismatch": float(parts.mismatch),
        }
        state.history.append(figures)
        if state.after(loss_held, recipe):
            self.best = copy_of(self.network)
        report(figures)

    def _loss(self, chosen: Tensor, generator: torch.Generator) -> LossParts:
        spectrum, weight = self._seen(chosen, generator)
        return self.network.loss_parts(spectrum - self.network.mean_spectrum, weight, generator)

    def _seen(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Network input for some rows, and the weights of their pixels.

        Noise-free spectra get fresh Gaussian noise each time they are used, of a
        signal-to-noise ratio per pixel drawn log-uniformly from `NOISE_RANGE`.
        """
        spectrum = self.flux[chosen]
        if self.ivar is not None:
            ivar = self.ivar[chosen]
            return spectrum, self.counts * ivar / (1 + ivar * ERROR_FLOOR)
        low, high = np.log(NOISE_RANGE)
        ratio = (low + (high - low) * torch.rand((len(chosen), 1), generator=generator)).exp()
        sigma = spectrum.abs().mean(dim=1, keepdim=True) / ratio
        noise = torch.randn(spectrum.shape, generator=generator) * sigma
        return spectrum + noise, self.counts / (sigma**2 + ERROR_FLOOR)

    @torch.no_grad()
    def _held_out(self, held_out: Tensor) -> LossParts:
        """Terms of the loss per held-out spectrum, with the same random numbers each time."""
        self.network.eval()
        generator = _generator(self.recipe.seed, 0)
        parts = [self._loss(chosen, generator) for chosen in held_out.split(1024)]
        n = len(held_out)
        return LossParts(
            *(sum((getattr(p, name) for p in parts), torch.zeros(())) / n for name in _PARTS)
        )


_PARTS = ("fit", "divergence", "mismatch")


def _generator(seed: int, epoch: int) -> torch.Generator:
    words = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 20 ^ int(words[1]))


@torch.no_grad()
def _fit_scaler(network: SpectralAutoencoder, flux: Tensor, rows: np.ndarray) -> None:
    parts = torch.from_numpy(rows).split(4096)
    means = [network.encode(flux[part] - network.mean_spectrum)[0] for part in parts]
    network.fit_scaler(torch.cat(means))


# ---------------------------------------------------------------------- a training as a folder


def train_decoder_into(
    source: Path, folder: Path, recipe: DecoderRecipe, report: Callable[[str], object] = print
) -> dict[str, Any]:
    """Train a decoder on the spectra of `source` and write it into `folder`.

    If the folder holds a checkpoint of the same training, it is resumed.

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
    check_unfinished(folder, FILE_NAME, "trained decoder")
    spectra = TrainingSpectra.read(source)
    with unfinished(folder, (FILE_NAME, *RESULTS), source) as work:
        checkpoint = work / "checkpoint.safetensors"
        noise = "without noise" if spectra.ivar is None else "with their own noise"
        more = f"; {spectra.n_unusable} more are not usable" if spectra.n_unusable else ""
        report(f"{len(spectra.flux)} spectra {noise} from {source}{more}")
        if checkpoint.exists():
            report(f"resuming from {checkpoint}")
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
        history, picture = (folder / name for name in RESULTS)
        with written_beside(history) as beside:
            beside.write_text(json.dumps(about, indent=1) + "\n")
        if installed("plots"):
            draw_training(decoder, spectra, trained, picture)
        decoder.write(folder / FILE_NAME)
    return figures


def validate(decoder: Decoder, spectra: TrainingSpectra, held_out: np.ndarray) -> dict[str, Any]:
    """Errors of the decoder on held-out spectra.

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
    """Fractional residuals (N, 1000), NaN where masked, and the encoder's deviations (N, D)."""
    flux = spectra.flux[rows].astype(np.float64)
    mean, std = decoder.encode(flux)
    decoded = decoder.decode(mean[:, None]).flux[:, 0]
    usable = flux > 0
    if spectra.ivar is not None:
        usable &= spectra.ivar[rows] > 0
    return np.divide(decoded, flux, out=np.full_like(flux, np.nan), where=usable) - 1, std


def draw_training(decoder: Decoder, spectra: TrainingSpectra, trained: Trained, path: Path) -> None:
    """Draw the losses, the residuals along wavelength, and three held-out spectra, as PNG."""
    from targetsel.plots import Figure

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


def _progress(line: dict[str, float], recipe: DecoderRecipe) -> str:
    return (
        f"epoch {line['epoch']:.0f} of at most {recipe.epochs}: loss {line['loss']:.1f}, held out "
        f"{line['held_out_loss']:.1f} (fit {line['held_out_fit']:.1f}, divergence "
        f"{line['held_out_divergence']:.2f}, mismatch {line['held_out_mismatch']:.3f})"
    )
