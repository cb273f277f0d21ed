"""A scored catalog of Gaussian posteriors, and tables of outcomes, made without networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.imaging.measurements import MAGNITUDE
from targetsel.scored.columns import posterior_columns, scored_columns
from targetsel.scoring.ensemble import find_ensemble
from targetsel.scoring.recalibrating import sha256_of_card, stored_calibration
from targetsel.spectra.proxies import NORMAL_SCORES, QUANTILES
from targetsel.tables.columns import arrow_column
from targetsel.tables.parquet import write_table

NAMES = ("ew_halpha", "d4000", "photoz")
SCATTER = {"ew_halpha": 10.0, "d4000": 0.1, "photoz": 0.02}  # that the posteriors claim


def medians(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    centre = {"ew_halpha": 40.0, "d4000": 1.4, "photoz": 0.1}
    return {name: centre[name] + SCATTER[name] * rng.normal(size=n) for name in NAMES}


def write_scored(folder: Path, n: int, shuffled: bool = False, **footer) -> Path:
    """Sources 1000, 1001, ... as the shipped ensemble's catalog, with these posteriors."""
    ids, told = 1000 + np.arange(n), medians(n)
    declared = {each.name: each for each in scored_columns(1, 1, True)}
    columns = {
        "source_id": pa.array(ids),
        "ra": pa.array(np.linspace(10, 20, n)),
        "dec": pa.array(np.linspace(-5, 5, n)),
        "_healpix_29": pa.array(1000 * np.arange(n)),
    }
    fields = [pa.field(name, each.type) for name, each in columns.items()]
    for name in NAMES:
        knots = told[name][:, None] + SCATTER[name] * NORMAL_SCORES
        (column,) = posterior_columns(name, name, "", ())
        columns[name + QUANTILES] = arrow_column(knots, column.type)
        fields.append(column.field)
        for end, values in (
            ("", knots[:, 5]),
            ("_std", np.full(n, SCATTER[name])),
            ("_q16", knots[:, 3]),
            ("_q84", knots[:, 7]),
        ):
            columns[name + end] = arrow_column(values, pa.float32())
            fields.append(declared[name + end].field)
    columns[MAGNITUDE] = arrow_column(np.linspace(16, 19, n), pa.float32())
    columns["status"] = pa.array(["ok"] * n)
    fields += [declared[MAGNITUDE].field, declared["status"].field]
    table = pa.table(list(columns.values()), schema=pa.schema(fields))
    if shuffled:
        table = table.take(pa.array(np.random.default_rng(1).permutation(n)))
    card, calibration = stored_calibration(find_ensemble("mock-ps1"))
    notes = {
        "ensemble": {"name": "mock-ps1", "sha256": sha256_of_card(card)},
        "calibration": calibration.provenance,
        "columns": {"source_id": "source_id"},
        "images": "simulated",
    }
    path = folder / ("shuffled.parquet" if shuffled else "by-hand.scored.parquet")
    write_table(table, path, {**notes, **footer})
    return path


def write_outcomes_of(folder: Path, rows, n: int, shift: float = 2.0, **columns) -> Path:
    """Outcomes of some rows, off by `shift` of the scatter claimed, and scattering as claimed.

    Further columns, or others in place of these; None leaves one out.
    """
    rng, told, rows = np.random.default_rng(3), medians(n), np.asarray(rows)
    noise = {name: rng.normal(size=n)[rows] for name in NAMES}
    found = {
        "source_id": 1000 + rows,
        "redshift": told["photoz"][rows] + SCATTER["photoz"] * noise["photoz"],
        "ew_halpha": told["ew_halpha"][rows] + SCATTER["ew_halpha"] * (noise["ew_halpha"] + shift),
        "d4000": told["d4000"][rows] + SCATTER["d4000"] * noise["d4000"],
        "weight": np.ones(len(rows)),
    } | columns
    path = folder / "outcomes.parquet"
    write_table(pa.table({k: each for k, each in found.items() if each is not None}), path)
    return path
