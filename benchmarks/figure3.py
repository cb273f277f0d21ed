"""The three contenders of Wu & Peek (2020, arXiv:2009.12318, Fig. 3), trained by their recipe.

    python benchmarks/figure3.py --store cutouts/ --latents latents.csv --epochs 10 --seeds 3
    python benchmarks/figure3.py --mock 600 --size 64 --width 0.125 --epochs 2

Hybrid, batch normalisation and full deconvolution learn the same latents from the same cutouts:
ranger (Lookahead around RAdam, weight decay 0.01 but for biases and normalisation), one cycle of
the learning rate up to 0.03 (0.003 for full deconvolution), batches of 128, the square root of the
mean squared error, random flips, quarter turns and rotations by up to 10 degrees. Prints one row
for each, with the mean and scatter over seeds of the root mean square error on held-out sources, in
standardised latents (1 is what guessing the mean gives): as trained, and with running statistics
recomputed afterwards.

Latents come from a Parquet or CSV file with the column source_id and either a list column
latent_mean (as `targetsel spectra encode` writes it) or the columns VAE1, VAE2, ...; they are
standardised over all rows of the file, as the authors did. `--mock N` simulates N sources instead,
at most 64 pixels wide.

Unlike the paper, the input is normalised over 1024 sources, not over one batch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from targetsel.imaging.cutout import crop_to_centre
from targetsel.imaging.store import CutoutStore, check_suits
from targetsel.networks.network import Network, count_parameters, presets
from targetsel.scoring.ensemble import find_ensemble
from targetsel.scoring.published import BANDS, PIXEL_SCALE
from targetsel.tables.ids import uniform
from targetsel.training.examples import augmented
from targetsel.training.network_training import recompute_statistics
from targetsel.training.optimisation import one_cycle, ranger, rms_error

PEAKS = {"hybrid": 3e-2, "batch-normalisation": 3e-2, "full-deconvolution": 3e-3}
HELD_OUT = 0.2
N_NORMALISE = 1024


@dataclass(frozen=True)
class Sky:
    """Cutouts to read by row numbers, and what is to be learnt.

    Attributes
    ----------
    read : callable
        Normalised cutouts (N, 5, size, size) float32 of row numbers.
    latents : ndarray, shape (all, D)
        Standardised.
    train, test : ndarray of int
        Row numbers.
    """

    read: Callable[[np.ndarray], np.ndarray]
    latents: np.ndarray
    train: np.ndarray
    test: np.ndarray

    @classmethod
    def of(
        cls, raw: Callable[[np.ndarray], np.ndarray], ids: np.ndarray, latents: np.ndarray
    ) -> Sky:
        """The sky of raw cutouts [nanomaggy] and standardised latents, split by a hash of ids."""
        held_out = uniform(ids, 0, "figure 3, held out")[:, 0] < HELD_OUT
        train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        first = np.nan_to_num(raw(train[:N_NORMALISE])).astype(np.float64)
        mean = first.mean(axis=(0, 2, 3), keepdims=True)[0].astype(np.float32)
        std = first.std(axis=(0, 2, 3), keepdims=True)[0].astype(np.float32)
        return cls(
            lambda rows: (np.nan_to_num(raw(rows)) - mean) / std,
            latents.astype(np.float32),
            train,
            test,
        )


def sky_of_store(path: Path, latents: Path, size: int) -> Sky:
    """The sources of a cutout store that have latents and all their pixels."""
    store = CutoutStore.open(path)
    check_suits(store, BANDS, PIXEL_SCALE, size, "this benchmark")
    table = read_latents(latents)
    ids = store.source_ids()
    ids = ids[np.isin(ids.astype(str), table.index)]
    whole = np.zeros(len(ids), dtype=bool)
    for start in range(0, len(ids), 256):
        rows = slice(start, start + 256)
        whole[rows] = store.read(ids[rows]).status == "ok"
    ids = ids[whole]

    def raw(rows: np.ndarray) -> np.ndarray:
        return store.read(ids[rows]).select_bands(BANDS).crop(size).flux

    return Sky.of(raw, ids, table.loc[ids.astype(str)].to_numpy())


def read_latents(path: Path) -> pd.DataFrame:
    """Latents (N, D), standardised over the file, indexed by source id as text."""
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    table = table.set_index(table["source_id"].astype(str))
    if not table.index.is_unique:
        raise SystemExit(
            f"{path}: the source id {table.index[table.index.duplicated()][0]} is twice"
        )
    if "latent_mean" in table:
        column = table["latent_mean"].dropna()
        return standardised(pd.DataFrame(np.stack(column.to_list()), index=column.index))
    names = [f"VAE{k}" for k in range(1, 100) if f"VAE{k}" in table]
    if not names:
        raise SystemExit(f"{path}: neither a column 'latent_mean' nor 'VAE1', 'VAE2', ...")
    return standardised(table[names].dropna())


def standardised(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of mean 0 and variance 1 over all rows."""
    return (table - table.mean()) / table.std()


def mock_sky(n: int, size: int) -> Sky:
    """Simulated sources, their latents those of the shipped decoder."""
    from targetsel.mock.camera import PAN_STARRS
    from targetsel.mock.galaxies import Galaxies
    from targetsel.mock.sky import observe
    from targetsel.spectra.decoder import Decoder

    galaxies = Galaxies.shipped()
    galaxies = galaxies.take(np.linspace(0, len(galaxies) - 1, n).astype(int))
    blocks = list(observe(galaxies, seed=1))
    order = [list(PAN_STARRS.bands).index(band) for band in BANDS]
    flux = np.concatenate([crop_to_centre(block.flux[:, order], size) for block in blocks])
    decoder = Decoder.read(find_ensemble("mock-ps1") / "decoder.safetensors")
    latents, _ = decoder.encode(np.concatenate([block.spectra for block in blocks]))
    scaled = standardised(pd.DataFrame(latents)).to_numpy()
    return Sky.of(lambda rows: flux[rows], galaxies.source_id, scaled)


class OnDevice(nn.Module):
    """A network that fetches its input to where it is."""

    def __init__(self, network: Network, device: str):
        super().__init__()
        self.network, self.device = network.to(device), device

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = self.network(x.to(self.device))
        return result


@dataclass(frozen=True)
class Result:
    """Errors on held-out sources and what they cost."""

    as_trained: float
    recomputed: float
    seconds: float


def contend(name: str, sky: Sky, arguments: argparse.Namespace, seed: int) -> Result:
    """Train one contender with one seed, and measure it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    plan = presets()[name].model_copy(
        update={"width": arguments.width, "n_latents": sky.latents.shape[1]}
    )
    network = OnDevice(Network(plan), arguments.device)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    optimiser = ranger(groups, PEAKS[name])
    target = torch.from_numpy(sky.latents)
    per_epoch = len(sky.train) // arguments.batch
    steps = arguments.epochs * per_epoch
    start = time.perf_counter()
    network.train()
    for step in range(steps):
        if step % per_epoch == 0:
            order = rng.permutation(sky.train)
        first = step % per_epoch * arguments.batch
        rows = order[first : first + arguments.batch]
        optimiser.set(*one_cycle(step / steps, PEAKS[name]))
        mean, factor = network(augmented(sky.read(rows), rng))
        loss = rms_error(mean, factor, target[torch.from_numpy(rows)].to(arguments.device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    seconds = time.perf_counter() - start
    as_trained = held_out_error(network, sky, arguments.batch)
    recompute_statistics(network, sky.read, sky.train[: 32 * arguments.batch], arguments.batch)
    return Result(as_trained, held_out_error(network, sky, arguments.batch), seconds)


@torch.inference_mode()
def held_out_error(network: nn.Module, sky: Sky, batch: int) -> float:
    """Root mean square error over held-out sources and latents."""
    network.eval()
    total = 0.0
    for start in range(0, len(sky.test), batch):
        rows = sky.test[start : start + batch]
        mean, _ = network(torch.from_numpy(sky.read(rows)))
        total += float(((mean.cpu().numpy() - sky.latents[rows]) ** 2).sum())
    return float(np.sqrt(total / (len(sky.test) * sky.latents.shape[1])))


def _read_arguments() -> tuple[argparse.Namespace, Sky]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, help="cutout store with the bands g, r, i, z, y")
    parser.add_argument("--latents", type=Path, help="Parquet or CSV file")
    parser.add_argument("--mock", type=int, metavar="N", help="simulate N sources instead")
    parser.add_argument("--size", type=int, default=224, help="[pixel]")
    parser.add_argument("--width", type=float, default=1.0, help="of the networks; 1 as published")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each, with seeds 0, 1, ...")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.mock:
        sky = mock_sky(arguments.mock, arguments.size)
    elif arguments.store and arguments.latents:
        sky = sky_of_store(arguments.store, arguments.latents, arguments.size)
    else:
        parser.error("give --store and --latents, or --mock")
    if len(sky.train) < arguments.batch or not len(sky.test):
        parser.error(f"{len(sky.train)} sources to learn from, expected {arguments.batch} or more")
    return arguments, sky


def main() -> None:
    arguments, sky = _read_arguments()
    print(
        f"{len(sky.train)} sources to learn from, {len(sky.test)} held out; {arguments.size} px, "
        f"width {arguments.width:g}, {arguments.epochs} epochs of batches of {arguments.batch}, "
        f"seeds 0 to {arguments.seeds - 1}, {arguments.device}"
    )
    print(f"{'network':<20} {'parameters':>10} {'rmse as trained':>17} {'recomputed':>17} {'s':>7}")
    for name in PEAKS:
        results = [contend(name, sky, arguments, seed) for seed in range(arguments.seeds)]
        plan = presets()[name].model_copy(
            update={"width": arguments.width, "n_latents": sky.latents.shape[1]}
        )
        columns = [
            f"{np.mean(values):.4f} +- {np.std(values):.4f}"
            for values in zip(
                *((each.as_trained, each.recomputed) for each in results), strict=True
            )
        ]
        seconds = np.mean([each.seconds for each in results])
        print(
            f"{name:<20} {count_parameters(plan):>10,} {columns[0]:>17} {columns[1]:>17} "
            f"{seconds:>7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
