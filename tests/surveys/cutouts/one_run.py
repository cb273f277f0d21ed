"""python -m tests.surveys.cutouts.one_run CATALOG.npy URL STORE RATE: a run that can be killed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.surveys.cutouts import fetch_cutouts
from targetsel.surveys.http import Web
from targetsel.surveys.ps1 import PanStarrsImages
from tests.emulator.loopback import only_loopback


@dataclass(frozen=True)
class Rows:
    """A catalog in memory."""

    source_id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray


if __name__ == "__main__":
    catalog, url, store, rate = sys.argv[1:]
    source_id, ra, dec = np.load(catalog, allow_pickle=False)
    rows = Rows(source_id.astype(np.int64), ra, dec)
    with only_loopback():
        fetch_cutouts(
            PanStarrsImages(Web(float(rate)), ("g", "i"), 24, url), lambda: [rows], Path(store)
        )
