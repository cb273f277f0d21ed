"""A sky to train on in seconds: blobs whose brightness and colour are the two latents."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from pydantic import BaseModel

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import CutoutStore
from targetsel.networks.input_plan import SOFTENING, InputPlan
from targetsel.networks.network import NetworkPlan
from targetsel.spectra.autoencoder import LatentSpace, SpectralAutoencoder
from targetsel.spectra.decoder import Decoder
from targetsel.training.labels import Labels
from targetsel.training.network_training import Recipe
from targetsel.training.plan import TrainingPlan

Model = TypeVar("Model", bound=BaseModel)

N = 240
BANDS = ("g", "r")
SKY = 0.05


def toy_flux(latents: np.ndarray, size: int = 16, seed: int = 3) -> np.ndarray:
    """Cutouts (N, 2, size, size) of latents (N, 2) [nanomaggy]."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) / 3.0
    light = np.exp(latents @ np.array([[0.5, 0.5], [-0.5, 0.5]]))
    flux = light[:, :, None, None] * np.exp(-(x**2 + y**2))
    return (flux + SKY * rng.normal(size=flux.shape)).astype(np.float32)


def toy_labels(n: int = N, noise: float = 0.1) -> Labels:
    """Labels of sources 1 to n, in pairs that make a group."""
    ids = np.arange(1, n + 1)
    latents = np.random.default_rng(7).normal(size=(n, 2))
    return Labels(ids, latents, np.full((n, 2), noise), group=ids // 2)


def toy_store(
    folder: Path, labels: Labels, size: int = 16, footer: dict[str, str] | None = None
) -> CutoutStore:
    """Their cutouts in a store; the last source has lost its r band."""
    flux = toy_flux(labels.mean, size)
    flux[-1, 1] = np.nan
    cutouts = Cutouts(labels.source_id, flux, BANDS, 0.25)
    n = len(labels)
    pieces = [(cutouts, np.linspace(0, 350, n), np.linspace(-50, 50, n))]
    write_store(folder, pieces, (SKY, SKY), footer=footer)
    return CutoutStore.open(folder)


def toy_decoder() -> Decoder:
    """An untrained decoder of two latents: a flat spectrum with small wiggles."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        autoencoder = SpectralAutoencoder(LatentSpace(2))
    autoencoder.mean_spectrum.fill_(1000**-0.5)
    with torch.no_grad():
        for parameter in autoencoder.decoder[-1].parameters():
            parameter *= 0.02
    return Decoder(autoencoder)


def toy_plan(store: CutoutStore, **recipe: object) -> TrainingPlan:
    """Two small networks that are told photometry too, as the default ones are; five epochs."""
    chosen = {"epochs_mean": 3, "epochs_covariance": 2, "batch": 32, "learning_rate": 1e-2}
    return TrainingPlan(
        InputPlan.of_store(store, binning=2),
        NetworkPlan(n_bands=2, n_latents=2, width=0.125, photometry=8, softening=SOFTENING),
        Recipe(**(chosen | recipe)),  # type: ignore[arg-type]
        members=2,
    )


def quiet(message: object) -> None:
    """For trainings that need not say anything."""


def changed(model: Model, **values: object) -> Model:
    """A copy with other values, checked."""
    return type(model)(**(dict(model) | values))
