"""Priors as rows of a file: what is kept of each, and back again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from targetsel.networks.stored_posterior import matrix
from targetsel.priors.model import SpectralModel
from targetsel.priors.prior import LEVELS, Prior
from targetsel.spectra.grid import N_PIXELS
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.tables.parquet import described

BANDS = tuple(f"flux_q{level * 100:.0f}" for level in LEVELS)
OK = "ok"


def arrays_of(prior: Prior, n_draws: int, seed: int) -> dict[str, np.ndarray]:
    """What is kept of a prior, by name; pixels come first in every spectrum's shape."""
    lower = np.tril_indices(prior.latents.n_features)
    cov = prior.cov
    return {
        "latent_weight": prior.latents.weight,
        "latent_mean": prior.latents.mean,
        "latent_factor": prior.latents.factor[:, lower[0], lower[1]],
        "wavelength": prior.wavelength,
        "flux_mean": prior.mean,
        **dict(zip(BANDS, prior.bands(), strict=True)),
        "flux_factor": cov.factor,
        "flux_variance": cov.variance,
        "flux_draws": prior.draw(n_draws, seed).T,
    }


def fields(n_components: int, n_latents: int, rank: int, n_draws: int) -> list[pa.Field]:
    """The columns of a file of priors, after the id's."""
    flux = "relative flux density per unit wavelength"
    triangle = n_latents * (n_latents + 1) // 2
    bands = (f"{flux}, {level:.0%} quantile of each pixel" for level in LEVELS)
    about = [
        ("latent_weight", n_components, "", "weight of each Gaussian of the latents' mixture"),
        ("latent_mean", n_components * n_latents, "", "its mean, in standardised latents"),
        (
            "latent_factor",
            n_components * triangle,
            "",
            "Cholesky factor of its covariance, lower triangle by rows",
        ),
        ("wavelength", N_PIXELS, "Angstrom", "vacuum wavelength; rest frame without a redshift"),
        ("flux_mean", N_PIXELS, "", f"{flux}, mean"),
        *((name, N_PIXELS, "", what) for name, what in zip(BANDS, bands, strict=True)),
        (
            "flux_factor",
            N_PIXELS * rank,
            "",
            f"low-rank factor of the pixels' covariance, {rank} numbers a pixel",
        ),
        ("flux_variance", N_PIXELS, "", "variance that each pixel has beside"),
        ("flux_draws", N_PIXELS * n_draws, "", f"{n_draws} draws, all of a pixel together"),
    ]
    return [
        described("redshift", pa.float64(), "", "src.redshift", "that it is seen at"),
        described("redshift_error", pa.float64(), "", "stat.error;src.redshift", "its error"),
        *(described(name, pa.list_(pa.float32(), size), unit, "", what)
          for name, size, unit, what in about),
        described("status", pa.string(), "", "meta.code.status", "ok, or why not", nullable=False),
    ]  # fmt: skip


def rows_of(
    ids: pa.Array,
    priors: list[Prior | str],
    schema: pa.Schema,
    n_draws: int,
    seed: int,
) -> pa.Table:
    """Rows of a file; in place of a prior a reason may stand."""
    kept = [None if isinstance(p, str) else arrays_of(p, n_draws, seed) for p in priors]
    there = [None if isinstance(p, str) else p for p in priors]
    columns: dict[str, pa.Array] = {
        "redshift": pa.array([p and p.redshift for p in there], pa.float64()),
        "redshift_error": pa.array([p and p.redshift_error for p in there], pa.float64()),
        "status": pa.array([p if isinstance(p, str) else OK for p in priors], pa.string()),
    }
    for field in schema:
        if field.name == schema.names[0]:
            columns[field.name] = ids
        elif field.name not in columns:
            columns[field.name] = _lists(field, kept)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _lists(field: pa.Field, kept: list[dict[str, np.ndarray] | None]) -> pa.Array:
    width = field.type.list_size
    values = np.zeros((len(kept), width), dtype=np.float32)
    missing = np.array([each is None for each in kept])
    for row, each in enumerate(kept):
        if each is not None:
            values[row] = each[field.name].ravel()
    flat = pa.array(values.ravel(), mask=np.repeat(missing, width))
    return pa.FixedSizeListArray.from_arrays(flat, type=field.type)


def priors_in(
    table: pa.Table, id_column: str, n_latents: int, model: SpectralModel
) -> list[Prior | str]:
    """The priors of a file's rows, and the reason in place of one that is missing."""
    columns: Mapping[str, np.ndarray] = {
        name: matrix(table[name]) for name in ("latent_weight", "latent_mean", "latent_factor")
    }
    lower = np.tril_indices(n_latents)
    found: list[Prior | str] = []
    rest = table.select([id_column, "redshift", "redshift_error", "status"]).to_pylist()
    for k, row in enumerate(rest):
        if row["status"] != OK:
            found.append(row["status"])
            continue
        weight = columns["latent_weight"][k]
        factor = np.zeros((len(weight), n_latents, n_latents))
        factor[:, lower[0], lower[1]] = columns["latent_factor"][k].reshape(len(weight), -1)
        mean = columns["latent_mean"][k].reshape(-1, n_latents)
        latents = GaussianMixture(weight / weight.sum(), mean, factor=factor)
        error = row["redshift_error"]
        found.append(Prior(row[id_column], latents, model, row["redshift"], error))
    return found
