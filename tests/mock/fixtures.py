"""The folder of a small demonstration, in which examples of commands and functions are run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from targetsel.calibration import fitting
from targetsel.mock.demonstration import run
from targetsel.priors import spectral_model
from targetsel.spectra.rest_frame import Basis
from tests.scoring.published_stand_in import saved, stand_in
from tests.spectra.published_stand_in import fitted_pca, module_of

N_SOURCES = 300
# Files of users and of authors that the demonstration lacks, with their writers.
STAND_INS: dict[str, Callable[[Path], object]] = {
    "ada.csv": lambda path: path.write_text("source_id,VI_quality,VI_z\n119,4,0.0254\n"),
    "bea.csv": lambda path: path.write_text("source_id,VI_quality,VI_z\n119,3,0.0255\n"),
    "catalog.fits": lambda path: Table.read(path.with_suffix(".parquet")).write(path),
    "0057.pth": module_of,
    "latent_pca.pkl": fitted_pca,
    "meanspec.npy": lambda path: np.save(path, Basis.shipped().mean),
    "hybrid.pth": lambda path: saved(stand_in(width=1.0), path, beside=False),
}


@pytest.fixture(scope="session")
def scored_demonstration(tmp_path_factory) -> Path:
    """The folder of a small demonstration; read only."""
    folder = tmp_path_factory.mktemp("whole") / "demo"
    run(folder, N_SOURCES)
    assert len(pq.read_table(folder / "catalog.scored.parquet")) == N_SOURCES
    return folder


@pytest.fixture
def in_demonstration(scored_demonstration, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, in which the test runs."""
    folder = shutil.copytree(scored_demonstration, tmp_path / "demo")
    monkeypatch.chdir(folder)
    for each in (fitting, spectral_model):  # which refuse to fit to this few sources
        monkeypatch.setattr(each, "FEWEST", 100)
    return folder


def add_stand_ins(text: str) -> None:
    """Write the files that a text names and the demonstration lacks."""
    for name, write in STAND_INS.items():
        if name in text and not Path(name).exists():
            write(Path(name))
