"""Scored labelled sources for a tiny ensemble, made without any network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.special import ndtr

from targetsel.imaging.measurements import MAGNITUDE
from targetsel.networks.posterior import LatentPosterior
from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.draws import ProxyDraws
from targetsel.spectra.lines import PROXIES, UNITS, measure
from targetsel.spectra.proxies import QUANTILES
from targetsel.tables.parquet import described, write_table

N, D = 620, 6
N_DRAWS = 84  # so that the outermost quantiles do not coincide


def posterior(n: int = N) -> LatentPosterior:
    """Two members that claim a scatter of 0.3."""
    rng = np.random.default_rng(1)
    mean = rng.normal(size=(n, 1, D)) + 0.05 * rng.normal(size=(n, 2, D))
    factor = np.broadcast_to(0.3 * np.eye(D), (n, 2, D, D))
    return LatentPosterior(1000 + np.arange(n), mean, factor, np.ones(n))


def write_known(
    folder: Path, ensemble: Ensemble, n: int = N, footer: dict | None = None
) -> tuple[Path, Path]:
    """A scored file whose latents are off by twice what it claims, and the truth about it."""
    predicted = posterior(n)
    rng = np.random.default_rng(2)
    latents = predicted.mean + 0.6 * rng.normal(size=(n, D))
    decoded = measure(ensemble.decoder.decode(predicted.draw(N_DRAWS), predicted.source_id))
    stored = ProxyDraws.of(decoded, PROXIES).posterior
    lower = np.tril_indices(D)
    columns = {
        "source_id": pa.array(predicted.source_id),
        "ra": pa.array(np.linspace(10, 20, n)),
        "dec": pa.array(np.linspace(-5, 5, n)),
        "_healpix_29": pa.array(1000 * np.arange(n)),
        "member_mean": lists(predicted.member_mean.reshape(n, -1)),
        "member_cov": lists(predicted.member_cov[:, :, lower[0], lower[1]].reshape(n, -1)),
        **{name + QUANTILES: lists(stored.knots(name)) for name in PROXIES},
        MAGNITUDE: pa.array(rng.uniform(15, 19, n), pa.float32()),
        "status": pa.array(["ok"] * n),
    }
    scored, truth = folder / "known.scored.parquet", folder / "truth.parquet"
    notes = {
        "ensemble": {"name": "tiny", "sha256": ensemble.sha256},
        "options": {"seed": 0, "n_draws": N_DRAWS},
        "columns": {"source_id": "source_id"},
    }
    table = pa.table(columns)
    fields = [
        field.with_metadata({"normal_scores": ""}) if field.name.endswith(QUANTILES) else field
        for field in table.schema
    ]
    table = table.cast(pa.schema(fields))
    for name in PROXIES:
        for end, share in (("", 0.5), ("_q16", ndtr(-1)), ("_q84", ndtr(1))):
            values = pa.array(stored.quantile(name, share), pa.float32())
            field = described(name + end, pa.float32(), UNITS[name])
            table = table.append_column(field, values)
    write_table(table, scored, notes | (footer or {}))
    true = measure(ensemble.decoder.decode(latents[:, None]))
    columns = {"source_id": columns["source_id"], "latent": lists(latents)}
    for name in PROXIES:
        residual = 0.2 * np.std(true[name]) * rng.normal(size=n)
        columns[name] = pa.array(true[name][:, 0] + residual)
    write_table(pa.table(columns), truth, {"images": "simulated"})
    return scored, truth


def lists(values: np.ndarray) -> pa.Array:
    """Rows as lists of fixed size, of float32."""
    kind = pa.list_(pa.float32(), values.shape[1])
    flat = pa.array(values.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)
