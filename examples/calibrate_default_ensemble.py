"""Calibrate the ensemble that ships with targetsel.

    python examples/calibrate_default_ensemble.py --work work/ \\
        --ensemble targetsel/latents/ensembles/mock-ps1

WORK is the folder in which `train_default_ensemble.py` made the ensemble. Its galaxies of the
common test, from which no network learnt, are scored and compared with the latents and proxies of
their noise-free spectra. Images and spectra are SIMULATED. The result, `calibration.json`, lies in
the ensemble's directory afterwards; one that was there is replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.catalog import CatalogFile
from targetsel.cli.calibrate import print_coverages
from targetsel.errors import EnsembleError
from targetsel.imaging.store import CutoutStore
from targetsel.latents.calibrating import calibrate
from targetsel.latents.ensemble import Ensemble, find_ensemble
from targetsel.latents.split import TEST, Split
from targetsel.parquet import read_footer, write_table
from targetsel.pipeline import score
from targetsel.spectra.decoder import Decoder

SEED = 20261122  # of the training


def test_sources(sky: Path) -> np.ndarray:
    """The ids of a sky's sources that its training kept for the common test."""
    catalog = pq.read_table(sky / "catalog.parquet", columns=["source_id", "group_id"])
    ids, group = (catalog[name].to_numpy() for name in ("source_id", "group_id"))
    return ids[Split.of(ids, group, 1, SEED).test]  # which is the same for any number of members


def take(path: Path, ids: np.ndarray) -> pa.Table:
    """The rows of a file of these sources."""
    table = pq.read_table(path)
    return table.filter(pa.array(np.isin(table["source_id"].to_numpy(), ids)))


def with_latents(truth: pa.Table, spectra: Path, decoder: Decoder) -> pa.Table:
    """The truth with latents of this decoder instead of the one that the sky was made with."""
    wanted = truth["source_id"].to_numpy()
    latents = np.full((len(wanted), decoder.n_latents), np.nan)
    columns = ["source_id", "flux_true"]
    for batch in pq.ParquetFile(spectra).iter_batches(4096, columns=columns):
        found, rows, places = np.intersect1d(
            batch["source_id"].to_numpy(), wanted, return_indices=True
        )
        flux = batch["flux_true"].flatten().to_numpy().reshape(len(batch), -1)
        if len(found):
            latents[places] = decoder.encode(flux[rows])[0]
    flat, kind = pa.array(latents.ravel()), pa.list_(pa.float64(), decoder.n_latents)
    column = pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return truth.drop_columns(["latent"]).append_column("latent_mean", column)


def check_unseen(scored: Path, ensemble: Ensemble) -> None:
    """Refuse sources that are not exactly those of the test on the ensemble's card."""
    table = pq.read_table(scored, columns=["source_id", "status"])
    good = np.array(table["status"].to_pylist()) == "ok"
    ids = table["source_id"].to_numpy()[good]
    found = Split(ids, np.full(len(ids), TEST), 0).to_card()["test"]
    if found != ensemble.card["training"]["split"]["test"]:
        raise EnsembleError(
            f"{scored}: its {len(ids)} sources are not the test of the ensemble's training. Name "
            "the folder that it was trained in with --work."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="the training's folder")
    parser.add_argument("--ensemble", default="mock-ps1", help="directory, or a shipped one's name")
    parser.add_argument("--scratch", type=Path, default=Path("calibration"), help="folder to make")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    sky, scratch = given.work / "sky", given.scratch
    folder = find_ensemble(given.ensemble)
    ensemble = Ensemble.read(folder, calibrated=False)
    scratch.mkdir(exist_ok=True)
    ids = test_sources(sky)
    catalog, truth, scored = (
        scratch / f"{name}.parquet" for name in ("catalog", "truth", "catalog.scored")
    )
    write_table(take(sky / catalog.name, ids), catalog, read_footer(sky / catalog.name))
    known = with_latents(take(sky / truth.name, ids), sky / "spectra.parquet", ensemble.decoder)
    write_table(known, truth, read_footer(sky / truth.name))
    store = CutoutStore.open(sky / "cutouts")
    score(CatalogFile.open(catalog), store, ensemble, scored, threads=given.threads)
    check_unseen(scored, ensemble)
    calibration, coverages = calibrate(scored, truth, ensemble)
    calibration.write(folder)
    print_coverages(coverages)
    print(f"written to {folder}; images and spectra are simulated")


if __name__ == "__main__":
    main()
