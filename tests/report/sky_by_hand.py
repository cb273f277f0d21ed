"""Scored sources and their truth, of posteriors that are exactly right unless asked otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.rules.columns import footer
from targetsel.tables.parquet import described, write_table
from tests.selection.scored_by_hand import PROXIES, scored_table

D, M = 2, 2
RULES = """schema: targetsel/rules/v1
name: test
classes:
  OLD:
    bit: 0
    priority: 3000
    where:
      - P(d4000 > 1.6) >= 0.5
"""


@dataclass
class Sky:
    """Two tables, to be changed before they are written."""

    scored: pa.Table
    truth: pa.Table

    def write(self, folder: Path, notes: dict | None = None, true_notes: dict | None = None):
        """Paths of the scored file and the truth."""
        scored, truth = folder / "known.scored.parquet", folder / "truth.parquet"
        write_table(self.scored, scored, footer(self.scored.schema) | (notes or {}))
        write_table(self.truth, truth, true_notes or {})
        return scored, truth


def sky(
    n: int = 1200,
    widening: float = 1.0,
    seed: int = 0,
    correlation: float = 0.0,
    stored: float | None = None,
    width: float = 0.1,
) -> Sky:
    """N sources whose true values scatter `widening` times as much as is predicted.

    Errors of any two proxies have a correlation, and the posteriors `stored` in its place; their
    `width` is relative to a typical value.
    """
    rng = np.random.default_rng(seed)
    typical = np.array([10.0, 30.0, 1.6])
    medians = typical * (1 + 0.3 * rng.normal(size=(n, 3)))
    widths = np.broadcast_to(width * typical, (n, 3))
    joint = np.linalg.cholesky(np.full((3, 3), correlation) + (1 - correlation) * np.eye(3))
    proxies = medians + widening * widths * (rng.normal(size=(n, 3)) @ joint.T)
    mean = rng.normal(size=(n, D))
    factor = np.array([[0.5, 0.0], [0.3, 0.4]])
    latents = mean + widening * rng.normal(size=(n, D)) @ factor.T
    magnitude = rng.uniform(15, 19, n)
    colour = medians[:, 2] + 0.3 * rng.normal(size=n)
    columns = {
        "rmag": (pa.array(magnitude), "mag"),
        "flux_g_test": (pa.array(10 ** (-0.4 * (magnitude + colour))), "nJy"),
        "flux_r_test": (pa.array(10 ** (-0.4 * magnitude)), "nJy"),
        "redshift": (pa.array(rng.uniform(0, 0.2, n)), ""),
        "status": (pa.array(["ok"] * n), ""),
    }
    rho = (correlation if stored is None else stored,) * 3
    scored = scored_table(medians, widths, rho, columns=columns)
    cov = np.tile((factor @ factor.T)[np.tril_indices(D)], (n, M))
    for name, values in (
        ("latent_mean", mean),
        ("member_mean", np.tile(mean, (1, M))),
        ("member_cov", cov),
    ):
        scored = scored.append_column(described(name, pa.list_(pa.float32(), values.shape[1])),
                                      lists(values))  # fmt: skip
    truth = pa.table(
        {
            "source_id": scored["source_id"],
            "group_id": np.arange(n) // 2,
            **{name: proxies[:, k] for k, name in enumerate(PROXIES)},
            "latent": lists(latents),
        }
    )
    return Sky(scored, truth)


def lists(values: np.ndarray) -> pa.Array:
    """Rows as lists of fixed size, of float32."""
    flat = pa.array(np.asarray(values, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def with_column(table: pa.Table, name: str, values) -> pa.Table:
    """The table with other values in a column, which may be new."""
    if name in table.column_names:
        place = table.column_names.index(name)
        return table.set_column(place, name, values if isinstance(values, pa.Array) else [values])
    return table.append_column(name, values if isinstance(values, pa.Array) else [values])
