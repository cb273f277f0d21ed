"""Surprise: how far a measured spectrum is from the prediction made from the source's image.

Wu & Peek (2020, arXiv:2009.12318) propose surprising sources, whose images do not map to spectra as
those of other galaxies do, as the most informative ones to take spectra of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.networks.posterior import LatentPosterior, stored_posterior
from targetsel.scored.columns import STATUS
from targetsel.scored.file import ScoredFile
from targetsel.scored.labelled_sources import Join
from targetsel.scored.truth import LATENTS, Truth
from targetsel.spectra.lines import PROXIES, measure
from targetsel.spectra.proxies import QUANTILES, ProxyPosterior
from targetsel.tables.any_form import paths_in
from targetsel.tables.columns import Column, arrow_column, matrix, schema_of
from targetsel.tables.files import check_table_output
from targetsel.tables.parquet import ParquetSink
from targetsel.tasks import tracked

if TYPE_CHECKING:
    from targetsel.scoring.ensemble import Ensemble

NEEDED = (STATUS, "member_mean", "member_cov", *(name + QUANTILES for name in PROXIES))
N_DRAWS = 500
TAIL = 0.05  # of the draws, beyond which their density is taken to fall exponentially
ROWS_AT_ONCE = 256
DECODED_AT_ONCE = 32
WITHOUT = "there is no prediction (see status), or no measured spectrum"
_SHARE = "stat.probability"
SURPRISE = (
    "share of the spectra that the image had made expect that are at least as unlikely as the "
    "measured one; small means surprising"
)


def surprise(posterior: LatentPosterior, latents: np.ndarray, seed: int = 0) -> np.ndarray:
    """Share of a posterior at which its density is at most that at the measured latents, (N,).

    Uniform between 0 and 1 where the posterior is right. From draws; beyond the outer twentieth of
    them the logarithm of the density is taken to fall exponentially, as a Gaussian's nearly does.

    Parameters
    ----------
    posterior : LatentPosterior
        Posterior widened by the errors of measurement (`LatentPosterior.with_noise`).
    latents : ndarray, shape (N, D)
        Measured latents, standardised.
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


@dataclass(frozen=True)
class Compared:
    """The outcome of `compare`.

    Attributes
    ----------
    n : int
        Sources that were compared.
    left_out : dict of int
        Number of those left out, by the reason.
    counts : dict
        Of a part of a larger catalog, what `together` takes.
    """

    n: int
    left_out: dict[str, int]
    counts: dict[str, Any] = field(default_factory=dict)


def compare(
    scored: Path,
    spectra: Path,
    ensemble: Ensemble,
    output: Path,
    seed: int = 0,
    *,
    is_part: bool = False,
) -> Compared:
    """Write a scored file with columns that compare predictions with measured spectra.

    All rows and columns stay; `surprise` and the columns after it are null where there is no
    spectrum or no prediction. A catalog that is a part of a larger one (`is_part`) may have no
    source with a spectrum.

    Parameters
    ----------
    spectra : Path
        Latents of measured spectra: a truth file (see `scored.truth.Truth`) such as
        `targetsel spectra encode` writes.

    Raises
    ------
    CatalogError, EnsembleError, OutputError
        If a file is unusable, the ensemble is another one, no source can be compared, or
        `output` cannot be written.
    """
    check_table_output(output, (*paths_in([scored]), spectra))
    with ScoredFile(scored, NEEDED) as file:
        measured = measured_for(file, spectra, ensemble)
        join, added = Join(measured, file.path), surprise_columns(measured.n_latents)
        ids, n_compared, n_unmeasured = file.names["source_id"], 0, 0
        with ParquetSink(output, pa.schema([*file.schema, *schema_of(added)])) as sink:
            sink.footer.update(file.footer, surprise={"seed": seed, "spectra": len(measured)})
            tables = file.tables(rows=ROWS_AT_ONCE)
            for table in tracked(tables, "comparing", len(file), "sources", len):
                rows, places = join.rows(table)
                some = table.take(pa.array(rows))
                posterior = stored_posterior(some, some[ids].to_numpy())
                measured_here = np.isfinite(measured.latents[places]).all(axis=1)
                n_unmeasured += int((~measured_here).sum())
                known = measured_here & posterior.known
                rows, theirs = rows[known], measured.take(places[known])
                n_compared += len(rows)
                good = np.isin(np.arange(table.num_rows), rows)
                values = _compared(table, rows, posterior.take(known), theirs, ensemble, seed)
                for column, each in zip(added, values, strict=True):
                    array = arrow_column(each, column.type, good)
                    table = table.append_column(column.field, array)
                sink.write(table)
            more = {"unmeasured": n_unmeasured, "compared": n_compared}
            if is_part:
                return Compared(n_compared, {}, {**join.counts, **more})
            return _outcome(join, more)


def measured_for(file: ScoredFile, spectra: Path, ensemble: Ensemble) -> Truth:
    """The measured spectra that a scored file is to be compared with.

    Raises
    ------
    CatalogError, EnsembleError
        If a file is unusable, was compared already, or the ensemble is another one.
    """
    file.check_scored_by(ensemble.name, ensemble.sha256)
    if "surprise" in file.schema.names:
        raise CatalogError(
            f"{file.path}: has a column 'surprise' already. Give the file of 'score'."
        )
    measured = Truth.read(spectra, file.schema)
    if not measured.has_latents:
        raise CatalogError(
            f"{spectra}: no column '{LATENTS[0]}', expected latents of spectra. Make them with "
            "'targetsel spectra encode'."
        )
    return measured


def together(measured: Truth, scored: Path | str, parts: Sequence[Mapping[str, Any]]) -> Compared:
    """The outcome of comparing a whole catalog, of the `counts` of its parts.

    Raises
    ------
    CatalogError
        If no source can be compared.
    """
    more = {name: sum(each[name] for each in parts) for name in ("unmeasured", "compared")}
    return _outcome(Join.together(measured, scored, parts), more)


def _outcome(join: Join, more: Mapping[str, int]) -> Compared:
    """The outcome, once all sources were seen; `more` counts what the join does not."""
    left_out = join.finish() | {
        "without measured latents": more["unmeasured"],
        "with a damaged posterior": join.n_predicted - more["unmeasured"] - more["compared"],
    }
    if not more["compared"]:
        why = ", ".join(f"{n:,} {reason}" for reason, n in left_out.items() if n)
        raise CatalogError(
            f"{join.truth.path}: no source can be compared with {join.scored}: {why}. Encode the "
            "spectra of its sources with 'targetsel spectra encode'."
        )
    return Compared(more["compared"], left_out)


def surprise_columns(n_latents: int) -> tuple[Column, ...]:
    """The columns that a comparison adds."""
    share, f32 = "share of the predictions at least as far out as the measured ", pa.float32()
    about = "what disagrees most by itself: a latent, counted from 1, or a proxy"
    lists = pa.list_(f32, n_latents)
    return (
        Column("surprise", f32, "", _SHARE, SURPRISE, WITHOUT),
        Column("surprise_latents", lists, "", "", f"{share}latents, each", WITHOUT),
        *(
            Column(f"surprise_{name}", f32, "", _SHARE, f"{share}{name}", WITHOUT)
            for name in PROXIES
        ),
        Column("surprise_in", pa.string(), "", "meta.code", about, WITHOUT),
    )


def _compared(
    table: pa.Table,
    rows: np.ndarray,
    posterior: LatentPosterior,
    measured: Truth,
    ensemble: Ensemble,
    seed: int,
) -> list[np.ndarray]:
    """Values of `_columns` for scored rows; `rows` have these posteriors and measured latents."""
    n, d = table.num_rows, measured.n_latents
    values = np.full((n, 1 + d + len(PROXIES)), np.nan)
    word = np.full(n, None, dtype=object)
    if len(rows):
        some, latents = table.take(pa.array(rows)), measured.latents
        posterior = posterior.with_noise(measured.noise)
        below = [posterior.probability_below(latents), _lines_below(some, latents, ensemble)]
        values[rows, 0] = surprise(posterior, latents, seed)
        alone = np.concatenate(below, axis=1)
        values[rows, 1:] = 2 * np.minimum(alone, 1 - alone)
        names = np.array([f"latent {k + 1}" for k in range(d)] + list(PROXIES), dtype=object)
        word[rows] = names[np.nan_to_num(values[rows, 1:], nan=1.0).argmin(axis=1)]
    return [values[:, 0], values[:, 1 : 1 + d], *values[:, 1 + d :].T, word]


def _lines_below(table: pa.Table, latents: np.ndarray, ensemble: Ensemble) -> np.ndarray:
    """P(proxy < its value on the spectrum decoded from measured latents), shape (N, P)."""
    decoded = _lines_of(latents, ensemble)
    below = []
    for name in PROXIES:
        knots = ProxyPosterior((name,), {name: matrix(table[name + QUANTILES])}, {})
        below.append(knots.probability_below(name, decoded[name]))
    return np.stack(below, axis=1)


def _lines_of(latents: np.ndarray, ensemble: Ensemble) -> dict[str, np.ndarray]:
    """The proxies of the spectra decoded from latents of shape (N, D), each of shape (N,).

    As many are decoded at once always, filled up with zeros: matrix products of another shape would
    differ in their last bits, and a row depend on its company.
    """
    n, d = latents.shape
    filled = np.zeros((-(-n // DECODED_AT_ONCE) * DECODED_AT_ONCE, d), latents.dtype)
    filled[:n] = latents
    pieces = filled.reshape(-1, DECODED_AT_ONCE, 1, d)
    measured = [measure(ensemble.decoder.decode(piece)) for piece in pieces]
    return {name: np.concatenate([each[name][:, 0] for each in measured])[:n] for name in PROXIES}
