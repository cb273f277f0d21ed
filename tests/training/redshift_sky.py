"""A toy sky whose redshifts follow from brightness but for a scatter, and an ensemble of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.networks.redshift_scale import RedshiftScale
from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.lines import measure
from targetsel.tables.parquet import write_table
from targetsel.training.ensemble_training import train_into
from targetsel.training.labels import Labels
from targetsel.training.plan import TrainingPlan
from tests.calibration.known_sky import lists
from tests.training.toy_sky import (
    BANDS,
    SKY,
    changed,
    quiet,
    toy_decoder,
    toy_flux,
    toy_labels,
    toy_plan,
    toy_store,
)

N_KNOWN = 800
SCATTER = 0.02  # of ln(1 + redshift) at one brightness


@dataclass(frozen=True)
class RedshiftSky:
    """Sources that an ensemble was not trained on, and what is known of them.

    Attributes
    ----------
    ensemble : Path
        Folder of the ensemble.
    catalog, cutouts, truth : Path
        The catalog has a column `redshift` of its own.
    redshift : ndarray, shape (N,)
    """

    ensemble: Path
    catalog: Path
    cutouts: Path
    truth: Path
    redshift: np.ndarray


def redshifts_of(latents: np.ndarray, seed: int = 5) -> np.ndarray:
    """Redshifts of latents (N, 2), brighter galaxies being nearer."""
    rest = SCATTER * np.random.default_rng(seed).normal(size=len(latents))
    return np.asarray(np.expm1(0.25 - 0.05 * latents[:, 0] + rest))


def labels_with_redshifts(n: int = 240) -> Labels:
    """Labels of `toy_labels` with their redshifts."""
    labels = toy_labels(n)
    return replace(labels, redshift=redshifts_of(labels.mean))


def plan_with_redshift(plan: TrainingPlan, labels: Labels) -> TrainingPlan:
    """A plan that predicts the redshift too."""
    assert labels.redshift is not None
    network = changed(plan.network, redshift=RedshiftScale.of(labels.redshift))
    return replace(plan, network=network)


@pytest.fixture(scope="session")
def redshift_sky(tmp_path_factory: pytest.TempPathFactory) -> RedshiftSky:
    """A sky and an ensemble that predicts its redshifts; read only."""
    folder = tmp_path_factory.mktemp("redshift-sky")
    labels = labels_with_redshifts(480)
    store = toy_store(folder / "training", labels)
    plan = plan_with_redshift(toy_plan(store), labels)
    # As many features of photometry as usual: sums of few round differently beside other rows.
    plan = replace(plan, network=changed(plan.network, photometry=64), aperture=3.0)
    train_into(folder / "redshifts", store, labels, plan, toy_decoder(), quiet)
    rng = np.random.default_rng(11)
    latents = rng.normal(size=(N_KNOWN, 2))
    redshift = redshifts_of(latents, seed=12)
    ids = 10_001 + np.arange(N_KNOWN)
    place = np.linspace(0, 350, N_KNOWN), np.linspace(-50, 50, N_KNOWN)
    cutouts = Cutouts(ids, toy_flux(latents, seed=13), BANDS, 0.25)
    write_store(folder / "cutouts", [(cutouts, *place)], (SKY, SKY))
    catalog = {"source_id": ids, "ra": place[0], "dec": place[1], "redshift": redshift}
    write_table(pa.table(catalog), folder / "catalog.parquet")
    ensemble = Ensemble.read(folder / "redshifts")
    decoded = measure(ensemble.decoder.decode(latents[:, None]))
    truth = {"source_id": pa.array(ids), "latent": lists(latents), "redshift": pa.array(redshift)}
    truth |= {name: pa.array(decoded[name][:, 0]) for name in decoded.names}
    write_table(pa.table(truth), folder / "truth.parquet")
    paths = (folder / name for name in ("redshifts", "catalog.parquet", "cutouts", "truth.parquet"))
    return RedshiftSky(*paths, redshift)
