"""Calibrate the ensemble that ships with targetsel.

    python examples/calibrate_default_ensemble.py --ensemble targetsel/scoring/ensembles/mock-ps1

A mock sky is simulated of the galaxies that `train_default_ensemble.py` kept for the common test,
so that no network was trained on them. It varies as that of the training does: two of five sources
are farther away, and half of the others are as bright as the galaxies are. Its sources are scored,
and compared with the latents and proxies of their noise-free spectra, and with their redshifts.
Images and spectra are SIMULATED. The result, `calibration.json`, lies in the ensemble's directory
afterwards; one that was there is replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from train_default_ensemble import SEED, VARIATION

from targetsel.calibration.fitting import calibrate
from targetsel.cli.calibrate import print_coverages
from targetsel.errors import EnsembleError
from targetsel.imaging.store import CutoutStore
from targetsel.mock.camera import PAN_STARRS, Camera
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.plan import SkyPlan
from targetsel.mock.writing import write_sky
from targetsel.scoring.ensemble import Ensemble, find_ensemble
from targetsel.scoring.stream import score
from targetsel.sky.catalog import CatalogFile
from targetsel.spectra.decoder import Decoder
from targetsel.tables.parquet import DECODER_KEY, read_footer, write_table
from targetsel.training.examples import Split, recorded_split


def unseen(ensemble: Ensemble) -> Galaxies:
    """The galaxies that the ensemble's training kept for the common test."""
    found, _ = recorded_split(ensemble.card) or (None, None)
    if found != SEED:
        raise EnsembleError(
            f"the ensemble was trained with seed {found}, expected {SEED}: other galaxies were "
            "kept from its networks. Calibrate it with `targetsel calibrate` on its own test."
        )
    galaxies = Galaxies.of_demonstration(shown=False)
    return galaxies.take(Split.of(galaxies.source_id, galaxies.group_id, 1, SEED).test)


def known(sky: Path, decoder: Decoder) -> pa.Table:
    """The truth of a sky, with latents of this decoder instead of the one it was made with."""
    truth = pq.read_table(sky / "truth.parquet")
    spectra = pq.ParquetFile(sky / "spectra.parquet")
    parts = [
        decoder.encode(batch["flux_true"].flatten().to_numpy().reshape(len(batch), -1))[0]
        for batch in spectra.iter_batches(4096, columns=["flux_true"])
    ]
    flat, kind = pa.array(np.concatenate(parts).ravel()), pa.list_(pa.float32(), decoder.n_latents)
    column = pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return truth.drop_columns(["latent"]).append_column("latent_mean", column)


def calibrate_on(
    folder: Path, sky: Path, n: int, workers: int, survey: Camera = PAN_STARRS
) -> None:
    """Calibrate the ensemble in a folder on n sources of a new sky of a survey."""
    ensemble = Ensemble.read(folder, calibrated=False)
    plan = SkyPlan(unseen(ensemble), n, SEED + 1, survey, variation=VARIATION, half_unchanged=True)
    write_sky(sky, plan, workers)
    truth, scored = sky / "known.parquet", sky / "catalog.scored.parquet"
    decoder = {DECODER_KEY: ensemble.card["files"]["decoder.safetensors"]}
    footer = read_footer(sky / "truth.parquet") | decoder
    write_table(known(sky, ensemble.decoder), truth, footer)
    store = CutoutStore.open(sky / "cutouts")
    catalog = CatalogFile.open(sky / "catalog.parquet")
    score(catalog, store, ensemble, scored, threads=workers)
    calibration = calibrate(scored, truth, ensemble)
    calibration.write(folder)
    print_coverages(calibration)
    print(f"written to {folder}; images and spectra are simulated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ensemble", default="mock-ps1", help="directory, or a shipped one's name")
    parser.add_argument("--n", type=int, default=30_000, help="mock sources")
    parser.add_argument("--scratch", type=Path, default=Path("calibration"), help="folder to make")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    calibrate_on(find_ensemble(given.ensemble), given.scratch, given.n, given.workers)


if __name__ == "__main__":
    main()
