"""Scored catalogs whose sources lie in four groups of latents, far from one another."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.sky.positions import healpix_of

CENTRES = np.array([[-3.0, 0.0], [-1.0, 2.0], [1.0, -2.0], [3.0, 0.0]])
SIZES = (400, 300, 200, 100)


def four_groups(**columns) -> pa.Table:
    """A thousand sources, those of a group together; ids from 1 on, latents of two numbers."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(4), SIZES)
    latents = CENTRES[group] + 0.05 * rng.standard_normal((len(group), 2))
    ra, dec = 10 + 5 * rng.random(len(group)), 5 * rng.random(len(group))
    flux = 1000 * 10 ** (-0.4 * latents)
    table = {
        "source_id": np.arange(1, len(group) + 1),
        "ra": ra,
        "dec": dec,
        "_healpix_29": healpix_of(ra, dec),
        "flux_g_sdss": pa.array(flux[:, 0], pa.float32()),
        "flux_r_sdss": pa.array(flux[:, 1], pa.float32()),
        "latent_mean": pa.array(latents.tolist(), pa.list_(pa.float32(), 2)),
        **columns,
    }
    footer = {"columns": {"source_id": "source_id", "ra": "ra", "dec": "dec"}, "ensemble": "abc"}
    found = pa.table(table)
    units = {"flux_g_sdss": "nJy", "flux_r_sdss": "nJy"}
    fields = [
        field.with_metadata({"unit": units[field.name]}) if field.name in units else field
        for field in found.schema
    ]
    return found.cast(pa.schema(fields, {b"targetsel": json.dumps(footer)}))


def written(table: pa.Table, path, rows: int = 100_000):
    pq.write_table(table, path, row_group_size=rows)
    return path
