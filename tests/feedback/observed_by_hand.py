"""A list of strong and weak emitters, and tables of what came of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import write_table
from tests.handoff.lists_by_hand import target_list

RULES = """schema: targetsel/rules/v1
name: by-hand
classes:
  STRONG:
    bit: 1
    priority: 3400
    where: P(ew_halpha > 50 Angstrom) >= 0.5
  WEAK:
    bit: 0
    priority: 3200
    where: P(ew_halpha > 10 Angstrom) >= 0.5
"""


def emitters(n: int = 80, **changed) -> TargetList:
    """The targets 101, 102, ...; STRONG and WEAK take turns, each true with probability 0.75."""
    columns = {
        "ew_halpha": (np.full(n, 60.0, np.float32), "Angstrom"),
        "ew_halpha_q16": (np.full(n, 50.0, np.float32), "Angstrom"),
        "ew_halpha_q84": (np.full(n, 70.0, np.float32), "Angstrom"),
    }
    found = target_list(n, **(columns | changed))
    return TargetList(found.table, found.footer | {"rules_files": [["by-hand.yaml", RULES]]})


def write_spectra(folder: Path, ids, redshift=None, **columns) -> Path:
    """A table of spectra: redshift 0.1 where none are given."""
    ids = np.asarray(ids)
    redshift = np.full(len(ids), 0.1) if redshift is None else redshift
    path = folder / "spectra.parquet"
    write_table(pa.table({"source_id": ids, "redshift": redshift, **columns}), path)
    return path
