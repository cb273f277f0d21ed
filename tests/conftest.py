"""Fixtures that several rooms share: a tiny ensemble and a small demonstration."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from targetsel import tasks
from targetsel.imaging.measurements import CHECKS
from targetsel.imaging.stretch import Stretch
from targetsel.mock.camera import PAN_STARRS
from targetsel.mock.demonstration import write_demonstration
from targetsel.networks.network import Network, NetworkPlan
from targetsel.novelty.novelty import NoveltyReference
from targetsel.scoring.card import SCHEMA
from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.autoencoder import LatentSpace, SpectralAutoencoder
from targetsel.spectra.decoder import Decoder

# ONNX Runtime would tell its makers that it is used.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# How long an example takes says nothing on a machine that does other work too.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

pytest_plugins = [
    "tests.spectra.fixtures",
    "tests.selection.fixtures",
    "tests.mock.fixtures",
    "tests.training.redshift_sky",
]

N_DEMONSTRATION = 40


def tiny_ensemble(n_members: int = 2) -> Ensemble:
    """Untrained networks of an eighth of the width, with made-up novelty statistics."""
    torch.manual_seed(1)
    plan = NetworkPlan(n_bands=5, n_latents=6, width=0.125)
    networks = [Network(plan) for _ in range(n_members)]
    n_features = networks[0].head.in_features
    rng = np.random.default_rng(2)
    features = rng.normal(size=(n_members, 1000, n_features))
    autoencoder = SpectralAutoencoder(LatentSpace(6))
    autoencoder.mean_spectrum.fill_(1000**-0.5)
    with torch.no_grad():  # a flat spectrum with small wiggles, so that every line can be measured
        for parameter in autoencoder.decoder[-1].parameters():
            parameter *= 0.02
    sigma = PAN_STARRS.sky_sigma.tolist()
    stretch = Stretch(kind="linear", sky_sigma=sigma, scale=20.0, softening=1.0, clip=2000.0)
    card = {
        "schema": SCHEMA,
        "name": "tiny",
        "input": {
            "bands": list(PAN_STARRS.bands),
            "pixel_scale": 0.25,
            "size": 64,
            "flux_unit": "nanomaggy",
            "stretch": stretch.to_card(),
        },
        "network": plan.model_dump(mode="json"),
        "files": {},
    }
    quality = rng.normal(size=(1000, len(CHECKS)))
    appearance = rng.normal([17.0, 0.8, 0.1], [1.0, 0.2, 0.02], (1000, 3))
    novelty = NoveltyReference.fit(features, quality, appearance)
    return Ensemble(networks, Decoder(autoencoder), novelty, card)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which two minutes pass between any two looks at it: all work seems to be long."""
    minutes = itertools.count(0, 120)
    monkeypatch.setattr(tasks, "clock", lambda: float(next(minutes)))
    monkeypatch.setattr(tasks, "PULSE", 3600.0)  # nobody looks but the work itself


@pytest.fixture(scope="session")
def ensemble_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained ensemble on disk; copy it before changing it."""
    folder = tmp_path_factory.mktemp("ensembles") / "tiny"
    tiny_ensemble().write(folder)
    return folder


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first sources of the demonstration, with cutouts and truth; read only."""
    folder = tmp_path_factory.mktemp("demonstration")
    assert write_demonstration(folder, N_DEMONSTRATION) == N_DEMONSTRATION
    return folder
