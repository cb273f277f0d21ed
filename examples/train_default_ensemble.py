"""Make the ensemble that ships with targetsel: a mock sky, a decoder, and networks.

    python examples/train_default_ensemble.py --work work/ -o targetsel/scoring/ensembles/mock-ps1

Images and spectra are SIMULATED. The sky is of galaxies that the demonstration never shows, with
the trouble of real images and with galaxies beyond the real sample. The decoder is trained on its
noise-free spectra, and the networks on its images, latents and redshifts. The command resumes if
interrupted.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from targetsel.imaging.store import CutoutStore
from targetsel.mock.camera import PAN_STARRS, Camera
from targetsel.mock.plan import SkyPlan, Variation
from targetsel.mock.writing import write_sky
from targetsel.networks.input_plan import InputPlan
from targetsel.networks.redshift_scale import RedshiftScale
from targetsel.sky.catalog import Catalog
from targetsel.spectra.decoder import Decoder
from targetsel.tables.files import written_beside
from targetsel.training.decoder_training import DecoderRecipe, train_decoder_into
from targetsel.training.ensemble_training import train_into
from targetsel.training.labels import Labels
from targetsel.training.plan import named_plan

SEED = 20261122
VARIATION = Variation(over_sampling=0.3)  # strong emitters are rare; the decoder must know them
FIBER = 3.0  # diameter that the mock's spectra are of [arcsec]
BINNING = 2  # pixels of 0.5 arcsec lose nothing that was measured, at half the cost or less
DECODER = DecoderRecipe(epochs=40, learning_rate=2e-3, one_cycle=True, proxy_weight=2.0, seed=SEED)
DECODER_SPECTRA = 72_000  # the first of the sky
EPOCHS, WIDTH = 8, 0.375


def simulate(folder: Path, n: int, workers: int, survey: Camera = PAN_STARRS) -> None:
    """A mock sky as a survey's camera sees it."""
    if not (folder / "catalog.parquet").exists():  # which is written last
        plan = SkyPlan.of(n, SEED, survey, VARIATION)
        write_sky(folder, replace(plan, half_unchanged=True), workers)


def keep_noise_free(folder: Path) -> None:
    """Keep a sky's spectra without noise as a decoder's training reads them."""
    if not (path := folder / "noise-free.npz").exists():
        with written_beside(path) as beside, open(beside, "wb") as stream:
            np.savez(stream, flux=noise_free(folder)[:DECODER_SPECTRA])


def noise_free(sky: Path) -> np.ndarray:
    """The spectra of a mock sky before any noise, shape (N, 1000)."""
    column = pq.read_table(sky / "spectra.parquet", columns=["flux_true"])["flux_true"]
    return column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)


def decoder_of(sky: Path, folder: Path) -> Decoder:
    """A decoder that has learnt the sky's spectra."""
    if not (folder / "decoder.safetensors").exists():
        keep_noise_free(sky)
        train_decoder_into(sky / "noise-free.npz", folder, DECODER)
    return Decoder.read(folder)


def labels_of(sky: Path, decoder: Decoder) -> Labels:
    """Latents of the sky's spectra without noise, and its redshifts."""
    labels = Labels.of_spectra(sky / "spectra.parquet", decoder, column="flux_true")
    catalog = Catalog.read(sky / "catalog.parquet")
    return labels.with_catalog(catalog, "group_id").with_redshifts()


def train_ensemble(
    given: argparse.Namespace, sky: Path, decoder: Decoder, binning: int
) -> dict[str, Any]:
    """Networks that have learnt a sky's images, by the options `given`; their card."""
    store, labels = CutoutStore.open(sky / "cutouts"), labels_of(sky, decoder)
    assert labels.redshift is not None
    plan = named_plan(
        "default",
        InputPlan.of_store(store, binning=binning),
        decoder.n_latents,
        given.epochs,
        given.width,
        given.members,
        SEED,
    )
    network = plan.network.model_copy(update={"redshift": RedshiftScale.of(labels.redshift)})
    plan = replace(plan, network=network, aperture=FIBER, workers=given.workers)
    card = train_into(given.output, store, labels, plan, decoder)
    rmse = card["validation"]["rmse"]
    print(f"RMSE {rmse['value']} ({rmse['low']} to {rmse['high']}) on {card['validation']['on']}")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="the ensemble's folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for sky and decoder")
    parser.add_argument("--n", type=int, default=144_000, help="mock sources")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the networks")
    parser.add_argument("--width", type=float, default=WIDTH, help="of the networks")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    sky = given.work / "sky"
    simulate(sky, given.n, given.workers)
    decoder = decoder_of(sky, given.work / "decoder")
    train_ensemble(given, sky, decoder, BINNING)


if __name__ == "__main__":
    main()
