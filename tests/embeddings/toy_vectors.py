"""Vectors of the sources of the toy sky: two latents seen through a random matrix, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LENGTH = 12


def toy_vectors(latents: np.ndarray, length: int = LENGTH, noise: float = 0.1) -> np.ndarray:
    """Vectors (N, length) of latents (N, 2), of very different scales and middles."""
    rng = np.random.default_rng(5)
    mixed = latents @ rng.normal(size=(2, length)) + noise * rng.normal(size=(len(latents), length))
    return mixed * np.logspace(-3, 4, length) + np.linspace(-1e3, 1e3, length)


def write_vectors(
    path: Path,
    ids: np.ndarray,
    values: list[object] | np.ndarray,
    kind: pa.DataType | None = None,
    column: str = "embedding",
    **metadata: str,
) -> Path:
    """A file of vectors; `None` is a source without one."""
    lists = [None if each is None else list(each) for each in values]  # type: ignore[call-overload]
    vectors = pa.array(lists, kind or pa.list_(pa.float64()))
    table = pa.table({"source_id": pa.array(ids), column: vectors})
    pq.write_table(table.replace_schema_metadata(metadata or None), path)
    return path
