"""The latents' posterior as a scored catalog stores it: members' moments, and deviations once.

`LatentPosterior.deviations` are the same for all sources of a file, and stand as JSON in the
metadata of the column `member_cov`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.networks.deviations import Deviations
from targetsel.networks.posterior import LatentPosterior
from targetsel.tables.parquet import DECODER_KEY

DEVIATIONS = b"deviations"
ROUNDING = 1e-6  # of a covariance's largest element


def stored_posterior(table: pa.Table, source_id: np.ndarray) -> LatentPosterior:
    """The posterior in the columns `member_mean` and `member_cov`; NaN where they are null.

    Parameters
    ----------
    table : pa.Table
        N sources in the scored layout. `typicality` is their novelty, if it is among the columns.
    source_id : ndarray, shape (N,)
    """
    n, field = table.num_rows, table.schema.field("member_cov")
    width = field.type.list_size
    d = 2 * width // table.schema.field("member_mean").type.list_size - 1
    mean = matrix(table["member_mean"]).reshape(n, -1, d)
    lower = np.tril_indices(d)
    cov = np.zeros((n, mean.shape[1], d, d))
    cov[..., lower[0], lower[1]] = matrix(table["member_cov"]).reshape(n, mean.shape[1], -1)
    cov += np.tril(cov, -1).swapaxes(2, 3)
    # What float32 has rounded away could make the narrowest direction's variance negative.
    largest = np.diagonal(cov, axis1=2, axis2=3).max(axis=2)
    cov += ROUNDING * largest[..., None, None] * np.eye(d)
    there = np.isfinite(cov).all(axis=(1, 2, 3))
    factor = np.full_like(cov, np.nan)
    factor[there] = np.linalg.cholesky(cov[there])
    novelty = np.full(n, np.nan)
    if "typicality" in table.column_names:
        novelty = table["typicality"].to_numpy().astype(np.float64)
    return LatentPosterior(source_id, mean, factor, novelty, deviations=stored_deviations(field, d))


def with_deviations(field: pa.Field, posterior: LatentPosterior) -> pa.Field:
    """The field of `member_cov` with the deviations of the posterior."""
    note = json.dumps(posterior.deviations.to_card()).encode()
    return field.with_metadata({**(field.metadata or {}), DEVIATIONS: note})


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A column of lists of equal length as float64, shape (N, length); nulls are NaN."""
    lists = column.combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return values.reshape(len(column), -1)


def stored_deviations(field: pa.Field, n_latents: int) -> Deviations:
    """What the field of `member_cov` says of deviations.

    Raises
    ------
    CatalogError
    """
    note = (field.metadata or {}).get(DEVIATIONS)
    if note is None:
        return Deviations.standard(n_latents)
    try:
        return Deviations.from_card(json.loads(note), n_latents)
    except (ValueError, KeyError, TypeError) as error:
        raise CatalogError(
            f"column 'member_cov': its metadata describe no deviations ({error}). Score the "
            "catalog again."
        ) from None


def check_decoder(truth: Path, told: Mapping[str, Any], scored: Mapping[str, Any]) -> None:
    """Refuse true latents of another decoder than the predicted ones, where both footers tell.

    Raises
    ------
    CatalogError
    """
    true, predicted = (footer.get(DECODER_KEY) for footer in (told, scored))
    if true and predicted and true != predicted:
        raise CatalogError(
            f"{truth}: its latents are of the decoder {true[:12]}, but those predicted are of "
            f"{predicted[:12]}. Encode the spectra with the ensemble's decoder, or drop the column."
        )
