"""Training of the spectral autoencoder, which can be killed at any time and goes on.

The recipe is that of Portillo et al. (2020, AJ 160, 45): Adam, a learning rate that falls tenfold
when the held-out loss has not improved for five epochs, and an end after ten. One cycle of the
learning rate over a fixed number of epochs (Smith & Topin 2017, arXiv:1708.07120) is an
alternative. A checkpoint is written after every epoch. All random numbers of an epoch follow from
the seed and the epoch's number, and the arithmetic is done by one thread, so a resumed training
ends with exactly the weights of one that ran through on the same processor.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from targetsel.errors import SpectrumError
from targetsel.spectra.autoencoder import LatentSpace, LossParts, SpectralAutoencoder
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.spectra.lines import PROXIES
from targetsel.spectra.lines.index import Break, Width
from targetsel.spectra.lines.table import LineTable
from targetsel.spectra.spectrum import ERROR_FLOOR
from targetsel.tables.files import written_beside
from targetsel.training.training_spectra import TrainingSpectra

SMALLEST_GAIN = 1e-3  # relative improvement of the held-out loss that counts
CYCLE_UP = 0.3  # share of one cycle in which the learning rate rises
NOISE_RANGE = (8.0, 200.0)  # signal-to-noise ratio per pixel that noise-free spectra are seen at


@dataclass(frozen=True)
class Recipe:
    """How an autoencoder is trained; `alpha` and `lambda_` as in Zhao et al. (2019).

    With `one_cycle` the learning rate peaks at `learning_rate`, every epoch is run, and the
    weights of the last one are kept. Pixels that proxies are measured on count `proxy_weight`
    times in the fit.
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
        start, end = self.learning_rate / 25, self.learning_rate / 250_000
        if share < CYCLE_UP:
            low, way = start, share / CYCLE_UP
        else:
            low, way = end, (1 - share) / (1 - CYCLE_UP)
        return low + (self.learning_rate - low) * (1 - math.cos(math.pi * way)) / 2


@dataclass
class Progress:
    """Where a training stands after an epoch; all of it but the weights."""

    epoch: int = 0
    learning_rate: float = 0.0
    best: float = float("inf")
    since_best: int = 0
    since_cut: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def after(self, loss: float, recipe: Recipe) -> bool:
        """Take note of an epoch's held-out loss; True if it is the best so far."""
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

    def is_over(self, recipe: Recipe) -> bool:
        return self.epoch >= recipe.epochs or self.since_best >= recipe.patience_stop


@dataclass(frozen=True)
class Trained:
    """A trained autoencoder, and how it came about.

    Attributes
    ----------
    network : SpectralAutoencoder
        With the weights of the epoch that is kept and the scaler of the training spectra.
    history : list of dict
        Mean loss of each epoch on both parts, and the parts of the held-out loss.
    kept_epoch : int
        The one whose weights these are, the first being 1.
    held_out : ndarray of int
        Rows that took no part but in choosing the epoch.
    """

    network: SpectralAutoencoder
    history: list[dict[str, float]]
    kept_epoch: int
    held_out: np.ndarray


def train(
    spectra: TrainingSpectra,
    recipe: Recipe,
    checkpoint: Path | None = None,
    report: Callable[[dict[str, float]], None] = lambda line: None,
) -> Trained:
    """Train an autoencoder.

    Parameters
    ----------
    checkpoint : Path, optional
        Written after each epoch; where it exists, training goes on from it. It must be of the
        same recipe and spectra.
    report : callable
        Called with the figures of each epoch.
    """
    rows, held_out = split(len(spectra.flux), recipe)
    with one_thread():
        run = _Run(spectra, recipe, rows)
        if checkpoint is not None and checkpoint.exists():
            run.read(checkpoint)
        while not run.progress.is_over(recipe):
            figures = run.epoch(rows, held_out)
            if checkpoint is not None:
                run.write(checkpoint)
            report(figures)
        run.network.load_state_dict(run.best)
        _fit_scaler(run.network.eval(), run.flux, rows)
    progress = run.progress
    return Trained(run.network, progress.history, progress.epoch - progress.since_best, held_out)


def train_decoder(flux: np.ndarray, n_latents: int = 6, epochs: int = 60, seed: int = 0) -> Decoder:
    """A decoder trained on noise-free spectra, to which noise is added while training.

    Parameters
    ----------
    flux : ndarray, shape (N, 1000)
        Rest-frame flux density; each is scaled to a sum of squares of 1.
    epochs : int
        Length of the one cycle of the learning rate.
    """
    recipe = Recipe(LatentSpace(n_latents), epochs, one_cycle=True, seed=seed)
    return Decoder(train(TrainingSpectra.of(flux), recipe).network)


def split(n: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and rows held out."""
    order = np.random.default_rng(recipe.seed).permutation(n)
    n_held = max(1, round(recipe.held_out * n))
    if n - n_held < recipe.batch:
        raise SpectrumError(
            f"{n} spectra are too few to train on: {n - n_held} remain after {n_held} are held "
            f"out, expected at least one batch of {recipe.batch}"
        )
    return np.sort(order[n_held:]), np.sort(order[:n_held])


def pixel_counts(proxy_weight: float) -> np.ndarray:
    """How often each pixel counts, shape (1000,), float32.

    More than once in the lines and in both sides of the break that `PROXIES` are measured on:
    they are few pixels, but most of what is asked of a spectrum.
    """
    table, wavelength = LineTable.shipped(), wavelengths()
    counts = np.ones(N_PIXELS, dtype=np.float32)
    for name in PROXIES:
        index = table[name].index
        assert isinstance(index, Width | Break)
        for band in (index.line,) if isinstance(index, Width) else (index.blue, index.red):
            counts[(band.start <= wavelength) & (wavelength <= band.end)] = proxy_weight
    return counts


class _Run:
    """Network, optimiser and progress of one training."""

    def __init__(self, spectra: TrainingSpectra, recipe: Recipe, rows: np.ndarray):
        self.recipe = recipe
        self.flux = torch.from_numpy(spectra.flux)
        self.ivar = None if spectra.ivar is None else torch.from_numpy(spectra.ivar)
        self.counts = torch.from_numpy(pixel_counts(recipe.proxy_weight))
        self.identity = {"recipe": asdict(recipe), "spectra": spectra.sha256}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = SpectralAutoencoder(recipe.space)
        self.network.mean_spectrum.copy_(self.flux[torch.from_numpy(rows)].mean(dim=0))
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self.progress = Progress(learning_rate=recipe.learning_rate)
        self.best = self._copy()

    def epoch(self, rows: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
        """Learn from every row once, and look at the held-out rows."""
        recipe, progress = self.recipe, self.progress
        generator = _generator(recipe.seed, progress.epoch + 1)
        order = torch.from_numpy(rows)[torch.randperm(len(rows), generator=generator)]
        self.network.train()
        total = 0.0
        n_batches = len(order) // recipe.batch
        for k, chosen in enumerate(order[: n_batches * recipe.batch].split(recipe.batch)):
            if recipe.one_cycle:
                share = (progress.epoch + k / n_batches) / recipe.epochs
                progress.learning_rate = recipe.cycle(share)
            for group in self.optimiser.param_groups:
                group["lr"] = progress.learning_rate
            loss = self._loss(chosen, generator).total(recipe.alpha, recipe.lambda_) / recipe.batch
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1e3)
            self.optimiser.step()
            total += loss.item()
        parts = self._held_out(torch.from_numpy(held_out))
        loss_held = float(parts.total(recipe.alpha, recipe.lambda_))
        if not math.isfinite(loss_held):
            raise SpectrumError(
                f"training diverged in epoch {progress.epoch + 1}: the held-out loss is "
                f"{loss_held}. Look for extreme values in the spectra or their inverse variance."
            )
        figures = {
            "epoch": progress.epoch + 1,
            "learning_rate": progress.learning_rate,
            "loss": total / n_batches,
            "held_out_loss": loss_held,
            "held_out_fit": float(parts.fit),
            "held_out_divergence": float(parts.divergence),
            "held_out_mismatch": float(parts.mismatch),
        }
        progress.history.append(figures)
        if progress.after(loss_held, recipe):
            self.best = self._copy()
        return figures

    def _loss(self, chosen: Tensor, generator: torch.Generator) -> LossParts:
        spectrum, weight = self._seen(chosen, generator)
        return self.network.loss_parts(spectrum - self.network.mean_spectrum, weight, generator)

    def _seen(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Spectra of some rows as the network sees them, and the weights of their pixels.

        Spectra free of noise get fresh Gaussian noise each time they are seen, of a
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
        """Parts of the loss per held-out spectrum, under the same random numbers each time."""
        self.network.eval()
        generator = _generator(self.recipe.seed, 0)
        parts = [self._loss(chosen, generator) for chosen in held_out.split(1024)]
        n = len(held_out)
        return LossParts(
            *(sum((getattr(p, name) for p in parts), torch.zeros(())) / n for name in _PARTS)
        )

    def _copy(self) -> dict[str, Tensor]:
        return {name: t.detach().clone() for name, t in self.network.state_dict().items()}

    # ------------------------------------------------------------------ checkpoints

    def write(self, path: Path) -> None:
        """Everything that the next epoch depends on: tensors, and the rest as JSON beside them."""
        from safetensors.torch import save_file

        tensors = {f"now.{name}": t for name, t in self._copy().items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": t.detach().clone() for name, t in state.items()}
        about = {"identity": self.identity, "progress": asdict(self.progress)}
        with written_beside(path) as beside:
            save_file(tensors, beside, {"training": json.dumps(about)})

    def read(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe and spectra."""
        tensors, about = _read_checkpoint(path)
        known = json.loads(json.dumps(self.identity))
        for key, what in (("recipe", "another recipe"), ("spectra", "other spectra")):
            if about["identity"].get(key) != known[key]:
                raise SpectrumError(
                    f"{path}: a checkpoint of a training on {what}, so it cannot go on from "
                    "there. Choose another output folder, or delete this file to start anew."
                )
        try:
            self.network.load_state_dict(_under("now.", tensors))
            self.best = _under("best.", tensors)
            slots = {}
            for number in range(len(list(self.network.parameters()))):
                slots[number] = _under(f"adam.{number}.", tensors)
            groups = self.optimiser.state_dict()["param_groups"]
            self.optimiser.load_state_dict({"state": slots, "param_groups": groups})
            self.progress = Progress(**about["progress"])
        except (RuntimeError, TypeError, KeyError) as error:
            raise SpectrumError(f"{path}: a damaged checkpoint ({error}). Delete it.") from None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine; batches are too small for more threads anyway."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_PARTS = ("fit", "divergence", "mismatch")


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {})["training"])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise SpectrumError(
            f"{path}: not a whole checkpoint of a decoder's training ({error}). Delete it to "
            "start anew."
        ) from None


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _generator(seed: int, epoch: int) -> torch.Generator:
    words = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 20 ^ int(words[1]))


@torch.no_grad()
def _fit_scaler(network: SpectralAutoencoder, flux: Tensor, rows: np.ndarray) -> None:
    parts = torch.from_numpy(rows).split(4096)
    means = [network.encode(flux[part] - network.mean_spectrum)[0] for part in parts]
    network.fit_scaler(torch.cat(means))
