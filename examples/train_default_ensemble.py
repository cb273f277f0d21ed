"""Train the ensemble that ships with targetsel, on the first mock sky.

    python examples/train_default_ensemble.py -o targetsel/latents/ensembles/mock-ps1

About 25 minutes on two cores. The real galaxies whose ids the demonstration uses are left out, and
a tenth of the others is held out of training to measure with. All images are simulated.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

import targetsel
from targetsel.identity import uniform
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.stretch import Stretch
from targetsel.latents.ensemble import SCHEMA, Ensemble
from targetsel.latents.network import Network, NetworkPlan
from targetsel.latents.novelty import NoveltyReference
from targetsel.latents.training import Recipe, train_network
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.sky import CUTOUT_SIZE, observe
from targetsel.mock.survey import PAN_STARRS
from targetsel.spectra.decoder import train_decoder
from targetsel.weights import load_weights, read_safetensors, write_safetensors

SEED = 20261122
REALISATIONS = 3  # mock draws for each real galaxy
WIDTH = 0.25
STRETCH = Stretch("linear", tuple(float(s) for s in PAN_STARRS.sky_sigma), scale=20.0, clip=2000.0)


def simulate(folder: Path) -> None:
    """Stretched cutouts, spectra and galaxy ids of the training sky, as arrays in a folder."""
    galaxies = Galaxies.of_demonstration(shown=False)
    n, b = len(galaxies), len(PAN_STARRS.bands)
    shape = (n * REALISATIONS, b, CUTOUT_SIZE, CUTOUT_SIZE)
    flux = np.lib.format.open_memmap(folder / "flux.npy", "w+", np.float16, shape)
    spectra, ids, row = [], [], 0
    for realisation in range(REALISATIONS):
        for sources in observe(galaxies, seed=SEED + realisation):
            flux[row : row + len(sources.flux)] = STRETCH.apply(sources.flux)
            spectra.append(sources.spectra.astype(np.float32))
            ids.append(sources.galaxies.source_id)
            row += len(sources.flux)
    np.save(folder / "spectra.npy", np.concatenate(spectra))
    np.save(folder / "ids.npy", np.concatenate(ids))


def train_member(folder: Path, rows: np.ndarray, latents: np.ndarray, seed: int) -> Path:
    """Train one member in its own process; its weights end up in the folder."""
    torch.set_num_threads(1)
    flux = np.load(folder / "flux.npy", mmap_mode="r")

    def read(chosen: np.ndarray) -> np.ndarray:
        return flux[chosen].astype(np.float32)

    plan = NetworkPlan(len(PAN_STARRS.bands), latents.shape[1], WIDTH)
    with open(folder / f"member-{seed}.log", "w") as log:
        network = train_network(
            read,
            rows,
            latents,
            plan,
            Recipe(seed=seed),
            lambda line: print(line, file=log, flush=True),
        )
    path = folder / f"member-{seed}.safetensors"
    write_safetensors(network.state_dict(), path)
    return path


def features(network: Network, flux: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Pooled features of some rows, shape (N, F)."""
    with torch.inference_mode():
        parts = [
            network.features(torch.from_numpy(flux[rows[k : k + 256]].astype(np.float32))).numpy()
            for k in range(0, len(rows), 256)
        ]
    return np.concatenate(parts).astype(np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the simulated arrays here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "ids.npy").exists():
            simulate(folder)
        build(folder, arguments.output, arguments.members, arguments.workers)


def build(folder: Path, output: Path, n_members: int, workers: int) -> None:
    """Train decoder and members on the simulated arrays, measure them, and write the ensemble."""
    ids, spectra = np.load(folder / "ids.npy"), np.load(folder / "spectra.npy")
    held_out = uniform(ids, SEED, "held out")[:, 0] < 0.1
    train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    print(f"{len(train)} mock sources to learn from, {len(test)} held out")
    decoder = train_decoder(spectra[train], epochs=40, seed=SEED)
    latents, _ = decoder.encode(spectra)
    fraction = np.abs(decoder.decode(latents[test][:, None]).flux[:, 0] / spectra[test] - 1)
    print(f"decoder: median |residual| {np.median(fraction):.4f} on held-out spectra")

    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        jobs = [
            pool.submit(train_member, folder, train, latents, seed) for seed in range(n_members)
        ]
        paths = [job.result() for job in jobs]
    plan = NetworkPlan(len(PAN_STARRS.bands), latents.shape[1], WIDTH)
    networks = []
    for path in paths:
        networks.append(Network(plan))
        load_weights(networks[-1], read_safetensors(path), path)
        networks[-1].eval()
    flux = np.load(folder / "flux.npy", mmap_mode="r")
    reference = NoveltyReference.fit(
        np.stack([features(net, flux, train[:8000]) for net in networks]),
        np.stack([features(net, flux, test) for net in networks]),
    )
    net = decoder.network
    card = {
        "schema": SCHEMA,
        "name": output.name,
        "description": "Hybrid networks; simulated Pan-STARRS images of real SDSS galaxies",
        "code_version": targetsel.__version__,
        "input": {
            "bands": list(PAN_STARRS.bands),
            "pixel_scale": PAN_STARRS.pixel_scale,
            "size": CUTOUT_SIZE,
            "flux_unit": "nanomaggy",
            "stretch": STRETCH.to_card(),
        },
        "network": plan.to_card(),
        "latents": {
            "decoder": "InfoVAE 1000-549-110-6 on the rest-frame grid 10**(3.53 + 0.00039 i) A",
            "scaler_mean": [round(float(v), 6) for v in net.latent_mean],
            "scaler_std": [round(float(v), 6) for v in net.latent_std],
        },
        "training": {
            "sky": "targetsel mock sky, first version (simulated images)",
            "seed": SEED,
            "n_sources": len(train),
            "n_real_galaxies": len(np.unique(ids[train])),
            "split": "by real galaxy; the demonstration's galaxies take no part",
            "recipe": asdict(Recipe()) | {"seed": list(range(n_members))},
        },
        "files": {},
    }
    ensemble = Ensemble(networks, decoder, reference, card)
    raw = STRETCH.undo(flux[test].astype(np.float32))
    cutouts = Cutouts(ids[test], raw, PAN_STARRS.bands, PAN_STARRS.pixel_scale)
    posterior = ensemble.predict(cutouts)
    error = posterior.mean - latents[test]
    member_error = posterior.member_mean - latents[test][:, None]
    delta = np.linalg.solve(posterior.cov, error[:, :, None])[:, :, 0]
    distance = (error * delta).sum(axis=1)
    card["validation"] = {
        "on": f"{len(test)} held-out mock sources (simulated images)",
        "rmse": round(float(np.sqrt((error**2).mean())), 4),
        "rmse_of_each_member": [
            round(float(v), 4) for v in np.sqrt((member_error**2).mean(axis=(0, 2)))
        ],
        "r2_per_latent": [
            round(float(v), 4) for v in 1 - (error**2).mean(0) / latents[test].var(0)
        ],
        "mean_mahalanobis_squared_per_latent": round(float(distance.mean() / error.shape[1]), 4),
        "decoder_median_absolute_residual": round(float(np.median(fraction)), 5),
    }
    ensemble.write(output)
    print(card["validation"])


if __name__ == "__main__":
    main()
