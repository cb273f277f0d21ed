"""Redshifts that the cuts of eBOSS on emission-line galaxies gave: real spectra.

    TARGETSEL_DATA=FOLDER python benchmarks/real_outcomes.py

The folder holds `outcomes/eboss_elg_tsspectra_DEV.csv.gz`: plate-mjd-fiber, g, r and z magnitudes
(DECam), size and redshift of spectra with a reliable redshift. The file has neither positions nor
spectra that failed, nor errors of magnitudes. So a grid of positions is made up, which no rule
asks for, and shares of successes cannot be known. The catalog is chosen from as published
(Raichoor et al. 2017, MNRAS 471, 3955, table 2): NGC are the sources within the narrower cuts of
the northern galactic cap, half of them drawn by chance; SGC are those of the southern alone. Their
redshifts are given to `targetsel outcomes`, and beside its figures stand the same by NumPy.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

import targetsel as ts
from targetsel.report.outcome_redshifts import LEVELS
from targetsel.report.outcomes import ListOutcome
from targetsel.tables.parquet import write_table

FILE = Path("outcomes") / "eboss_elg_tsspectra_DEV.csv.gz"
WINDOWS = ((0.0, 0.6), (0.6, 0.7), (0.7, 1.1), (1.1, 2.0))
RULES = """schema: targetsel/rules/v1
name: eboss-elg
classes:
  NGC:
    bit: 0
    priority: 3000
    sample: 0.5
    where:
      - 21.825 < gmag < 22.825
      - gmag - rmag > -0.068 * (rmag - zmag) + 0.457
      - gmag - rmag < 0.112 * (rmag - zmag) + 0.773
      - rmag - zmag < -0.555 * (gmag - rmag) + 1.901
      - rmag - zmag > 0.637 * (gmag - rmag) + 0.399
  SGC:
    bit: 1
    priority: 2000
    where:
      - 21.825 < gmag < 22.825
      - gmag - rmag > -0.068 * (rmag - zmag) + 0.457
      - gmag - rmag < 0.112 * (rmag - zmag) + 0.773
      - rmag - zmag < -0.555 * (gmag - rmag) + 1.901
      - rmag - zmag > 0.218 * (gmag - rmag) + 0.571
      - rmag - zmag <= 0.637 * (gmag - rmag) + 0.399
"""


def catalog_and_spectra(path: Path, folder: Path) -> tuple[Path, Path]:
    """The file as a catalog with positions that are made up, and as a table of redshifts."""
    found = csv.read_csv(path)
    k = np.arange(len(found))
    columns = {
        "source_id": found["sdss_id"],
        "ra": pa.array(150 + 0.01 * (k % 100)),
        "dec": pa.array(20 + 0.01 * (k // 100)),
    }
    columns |= {f"{band}mag": found[band] for band in "grz"}
    write_table(pa.table(columns), folder / "catalog.parquet")
    spectra = pa.table({"source_id": found["sdss_id"], "redshift": found["redshift"]})
    write_table(spectra, folder / "spectra.parquet")
    return folder / "catalog.parquet", folder / "spectra.parquet"


def outcome(path: Path, folder: Path) -> ListOutcome:
    """What came of the cuts."""
    catalog, spectra = catalog_and_spectra(path, folder)
    rules = folder / "eboss-elg.yaml"
    rules.write_text(RULES)
    targets = ts.select(catalog, rules, folder / "elg.targets.parquet")
    return ts.outcomes(targets, truth=spectra, windows=WINDOWS)


def by_numpy(found: ListOutcome, name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles at `LEVELS` and shares in `WINDOWS` of a class's redshifts, from the file."""
    targets = found.observed.targets.table
    ids = targets["source_id"].filter(pc.equal(targets["program"], name))
    file = csv.read_csv(path)
    redshift = file["redshift"].filter(pc.is_in(file["sdss_id"], ids.combine_chunks())).to_numpy()
    within = [np.mean((redshift >= low) & (redshift < high)) for low, high in WINDOWS]
    return np.quantile(redshift, LEVELS, method="hazen"), np.array(within)


def main() -> None:
    path = Path(os.environ.get("TARGETSEL_DATA", "")) / FILE
    if not os.environ.get("TARGETSEL_DATA") or not path.is_file():
        raise SystemExit(f"TARGETSEL_DATA: names no folder with {FILE}; set it to one.")
    with tempfile.TemporaryDirectory() as folder:
        found = outcome(path, Path(folder))
    print(found)
    for each in found.redshifts:
        quantiles, shares = by_numpy(found, each.class_, path)
        print(f"{each.class_} by NumPy: {np.round(quantiles, 4)}, {np.round(100 * shares, 1)} %")


if __name__ == "__main__":
    main()
