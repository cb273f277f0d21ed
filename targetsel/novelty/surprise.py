"""Surprise: how far a measured spectrum is from what a source's image had made expect.

Wu & Peek (2020, arXiv:2009.12318) propose such sources, whose images do not map to spectra as those
of other galaxies do, as those from which a spectrum teaches most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.calibration.truth import LATENTS, Truth
from targetsel.errors import CatalogError, EnsembleError
from targetsel.networks.posterior import LatentPosterior
from targetsel.networks.stored_posterior import matrix, stored_posterior
from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.lines import PROXIES, measure
from targetsel.spectra.proxies import QUANTILES, ProxyPosterior
from targetsel.tables.parquet import ParquetSink, described, read_footer

N_DRAWS = 500
TAIL = 0.05  # of the draws, beyond which their density is taken to fall exponentially
ROWS_AT_ONCE = 256
SURPRISE = (
    "share of the spectra that the image had made expect that are at least as unlikely as the "
    "measured one; small means surprising"
)


@dataclass(frozen=True)
class MeasuredLatents:
    """Latents of measured spectra, and the errors of their measurement.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    mean, noise : ndarray, shape (N, D)
        Standardised latents and their standard deviations; 0 where the file has none.
    """

    source_id: np.ndarray
    mean: np.ndarray
    noise: np.ndarray

    @cached_property
    def _place(self) -> dict[str, int]:
        return {str(each): row for row, each in enumerate(self.source_id)}

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """The row of each id, or -1 without latents, shape (N,); 12 and "12" are the same id."""
        rows = np.array([self._place.get(str(each), -1) for each in ids], dtype=np.int64)
        known = np.isfinite(self.mean).all(axis=1)
        return np.where((rows >= 0) & known[rows], rows, -1)

    @classmethod
    def read(cls, path: Path, n_latents: int) -> MeasuredLatents:
        """Those in a Parquet file of `targetsel spectra encode`, or a mock sky's truth.

        Raises
        ------
        CatalogError
        """
        truth = Truth.read(path)
        if not truth.has_latents:
            raise CatalogError(
                f"{path}: no column '{LATENTS[0]}', expected latents of spectra. Make them with "
                "'targetsel spectra encode'."
            )
        return cls(truth.source_id, *truth.latents(n_latents))


def surprise(posterior: LatentPosterior, latents: np.ndarray, seed: int = 0) -> np.ndarray:
    """Share of a posterior at which its density is at most that at the measured latents, (N,).

    Uniform between 0 and 1 where the posterior is right. From draws; beyond the outer twentieth of
    them the logarithm of the density is taken to fall exponentially, as a Gaussian's nearly does.

    Parameters
    ----------
    posterior : LatentPosterior
        With the errors of measurement (`LatentPosterior.with_noise`).
    latents : ndarray, shape (N, D)
    """
    draws = posterior.draw(N_DRAWS, seed)
    n, s, _ = draws.shape
    flat = posterior.take(np.repeat(np.arange(n), s)).log_density(draws.reshape(n * s, -1))
    of_draws, here = np.sort(flat.reshape(n, s), axis=1), posterior.log_density(latents)
    share = (of_draws <= here[:, None]).mean(axis=1)
    edge = of_draws[:, int(TAIL * s)]
    scale = (edge[:, None] - of_draws[:, : int(TAIL * s)]).mean(axis=1)
    tail = TAIL * np.exp(-np.maximum(edge - here, 0) / scale)
    found: np.ndarray = np.where(here < edge, tail, np.maximum(share, TAIL))
    return found


def compare(scored: Path, spectra: Path, ensemble: Ensemble, output: Path, seed: int = 0) -> int:
    """Write a scored file with what its sources' spectra say of the predictions.

    All rows and columns stay; `surprise` and the columns after it are null where there is no
    spectrum or no prediction.

    Parameters
    ----------
    spectra : Path
        Latents of measured spectra (see `MeasuredLatents.read`).

    Returns
    -------
    int
        How many sources were compared.

    Raises
    ------
    CatalogError, EnsembleError, OutputError
    """
    footer = read_footer(scored)
    _check(scored, footer, ensemble)
    measured = MeasuredLatents.read(spectra, ensemble.decoder.n_latents)
    ids = footer.get("columns", {}).get("source_id", "source_id")
    n_compared = 0
    with pq.ParquetFile(scored) as file:
        schema = file.schema_arrow
        for field in _fields(ensemble.decoder.n_latents):
            schema = schema.append(field)
        with ParquetSink(output, schema) as sink:
            sink.footer.update(footer, surprise={"seed": seed, "spectra": len(measured.mean)})
            for batch in file.iter_batches(ROWS_AT_ONCE):
                table = pa.Table.from_batches([batch])
                columns = _compared(table, table[ids].to_numpy(), measured, ensemble, seed)
                n_compared += table.num_rows - columns[0].null_count
                for field, column in zip(_fields(ensemble.decoder.n_latents), columns, strict=True):
                    table = table.append_column(field, column)
                sink.write(table)
            if not n_compared:
                raise CatalogError(
                    f"{spectra}: none of its {len(measured.mean)} spectra is of a source with a "
                    f"prediction in {scored}. Use the same ids in both."
                )
    return n_compared


def _check(path: Path, footer: dict[str, object], ensemble: Ensemble) -> None:
    by = footer.get("ensemble")
    if not isinstance(by, dict):
        raise CatalogError(f"{path}: not a scored catalog. Make one with 'targetsel score'.")
    if by.get("sha256") != ensemble.sha256:
        raise EnsembleError(
            f"{path}: scored by the ensemble '{by.get('name')}' ({str(by.get('sha256'))[:12]}), "
            f"not by '{ensemble.card.get('name', '')}' ({ensemble.sha256[:12]}). Name the one that "
            "scored it with --ensemble."
        )
    if "surprise" in pq.read_schema(path).names:
        raise CatalogError(f"{path}: has a column 'surprise' already. Give the file of 'score'.")


def _fields(n_latents: int) -> list[pa.Field]:
    share, f32 = "share of the predictions at least as far out as the measured ", pa.float32()
    of_lines = [
        described(f"surprise_{name}", f32, "", "stat.probability", f"{share}{name}")
        for name in PROXIES
    ]
    about = "what disagrees most by itself: a latent, counted from 1, or a proxy"
    return [
        described("surprise", f32, "", "stat.probability", SURPRISE),
        described("surprise_latents", pa.list_(f32, n_latents), "", "", f"{share}latents, each"),
        *of_lines,
        described("surprise_in", pa.string(), "", "meta.code", about),
    ]


def _compared(
    table: pa.Table, ids: np.ndarray, measured: MeasuredLatents, ensemble: Ensemble, seed: int
) -> list[pa.Array]:
    """The columns of `_fields` for some scored rows."""
    n, d = table.num_rows, ensemble.decoder.n_latents
    place = measured.rows_of(ids)
    known = (place >= 0) & (np.array(table["status"].to_pylist()) == "ok")
    rows = np.flatnonzero(known)
    values = np.full((n, 1 + d + len(PROXIES)), np.nan)
    word = np.full(n, None, dtype=object)
    if len(rows):
        some, latents = table.take(pa.array(rows)), measured.mean[place[rows]]
        posterior = stored_posterior(some, ids[rows]).with_noise(measured.noise[place[rows]])
        below = [posterior.probability_below(latents), _lines_below(some, latents, ensemble)]
        values[rows, 0] = surprise(posterior, latents, seed)
        alone = np.concatenate(below, axis=1)
        values[rows, 1:] = 2 * np.minimum(alone, 1 - alone)
        names = np.array([f"latent {k + 1}" for k in range(d)] + list(PROXIES), dtype=object)
        word[rows] = names[np.nan_to_num(values[rows, 1:], nan=1.0).argmin(axis=1)]
    flat = values.astype(np.float32)
    numbers = [pa.array(column, mask=np.isnan(column)) for column in flat.T]
    listed = pa.array(flat[:, 1 : 1 + d].ravel(), mask=np.repeat(~known, d))
    latent_column = pa.FixedSizeListArray.from_arrays(listed, d)
    return [numbers[0], latent_column, *numbers[1 + d :], pa.array(word, pa.string())]


def _lines_below(table: pa.Table, latents: np.ndarray, ensemble: Ensemble) -> np.ndarray:
    """P(proxy < the one that measured latents decode to), shape (N, P)."""
    decoded = measure(ensemble.decoder.decode(latents[:, None]))
    below = []
    for name in PROXIES:
        knots = ProxyPosterior((name,), {name: matrix(table[name + QUANTILES])}, {})
        below.append(knots.probability_below(name, decoded[name][:, 0]))
    return np.stack(below, axis=1)
