"""The scripts in benchmarks/ as modules, and a small sky of the form that they read."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.mock.camera import PAN_STARRS
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.lines import PROXIES, measure

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


def write_sky(folder: Path, first: int, n: int, size: int) -> Path:
    """A sky of n sources, two of each galaxy, whose total brightness tells the first latent.

    The spectra are decoded latents; the last source has lost a band.
    """
    rng = np.random.default_rng(first)
    ids = np.arange(first, first + n)
    latents = 0.7 * rng.normal(size=(n, 6))
    decoder = Decoder.read(find_ensemble("mock-ps1"))
    spectra = decoder.decode(latents[:, None], ids)
    sigma = PAN_STARRS.sky_sigma[:, None, None]
    flux = rng.normal(size=(n, 5, size, size)) * sigma
    middle = slice(size // 2 - 2, size // 2 + 2)
    flux[:, :, middle, middle] += 50 * np.exp(latents[:, :1, None, None]) * sigma
    flux[-1, 3] = np.nan
    folder.mkdir()
    cutouts = Cutouts(ids, flux.astype(np.float32), PAN_STARRS.bands, PAN_STARRS.pixel_scale)
    write_store(folder / "cutouts", [(cutouts, rng.uniform(0, 360, n), np.zeros(n))], sigma.ravel())
    true = spectra.flux[:, 0]
    sigma = np.tile(0.02 * spectra.flux.mean(axis=2), 1000)
    flux = true + sigma * rng.normal(size=(n, 1000))
    columns = {"flux": flux, "flux_true": true, "ivar": sigma**-2}
    lists = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), 1000)
        for name, values in columns.items()
    }
    order = rng.permutation(n)  # nobody promised that files have their rows in one order
    pq.write_table(pa.table({"source_id": ids} | lists).take(order), folder / "spectra.parquet")
    proxies = dict(zip(PROXIES, measure(spectra).values[:, 0].T, strict=True))
    truth = pa.table({"source_id": ids, "weight": 1.0 + ids % 2} | proxies)
    pq.write_table(truth, folder / "truth.parquet")
    catalog = {"source_id": ids, "group_id": ids // 2, "redshift": rng.uniform(0.02, 0.6, n)}
    pq.write_table(pa.table(catalog), folder / "catalog.parquet")
    return folder


@pytest.fixture(scope="session")
def small_sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 sources of 300 galaxies on 16 pixels."""
    return write_sky(tmp_path_factory.mktemp("skies") / "training", 1000, 600, 16)


@pytest.fixture(scope="session")
def other_sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 sources of 50 other galaxies."""
    return write_sky(tmp_path_factory.mktemp("skies") / "test", 5000, 100, 16)
