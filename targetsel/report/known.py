"""Scored sources whose spectra are known: what was predicted of them beside what is true."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.calibration.truth import GROUP, Truth
from targetsel.errors import CatalogError
from targetsel.networks.posterior import LatentPosterior
from targetsel.networks.stored_posterior import check_decoder, stored_posterior
from targetsel.rules.binding import proxy_names
from targetsel.selection.scan import scored_file
from targetsel.selection.sources import Sources
from targetsel.spectra.proxies import ProxyPosterior
from targetsel.tables.files import sha256_of_file
from targetsel.tables.parquet import read_footer, says_simulated

ROWS_AT_A_TIME = 8192


@dataclass(frozen=True)
class KnownSources:
    """N sources that a scored and a truth file share, in the order of their ids.

    Attributes
    ----------
    scored : pa.Table
        Their rows of the scored file.
    source_id : ndarray, shape (N,)
    latents, noise : ndarray, shape (N, D)
        True ones and the errors of their measurement; no columns where neither file has latents.
    proxies : dict of ndarray, shape (N,)
        True ones, by name; NaN where they could not be measured.
    truth : pa.Table
        Their rows of the truth file, as `Truth` has them.
    group, weight : ndarray, shape (N,)
    left_out : dict of int
        Rows of both files that are not here, by the reason.
    """

    scored: pa.Table
    source_id: np.ndarray
    latents: np.ndarray
    noise: np.ndarray
    proxies: dict[str, np.ndarray]
    truth: pa.Table
    group: np.ndarray
    weight: np.ndarray
    left_out: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source_id)

    @property
    def proxy_posterior(self) -> ProxyPosterior:
        """The joint posterior of the proxies, as the file has it."""
        return Sources(self.scored).posterior

    def latent_posterior(self, rows: slice) -> LatentPosterior:
        """The posterior of some sources' latents as they were measured, errors included."""
        table = self.scored.slice(rows.start, rows.stop - rows.start)
        posterior = stored_posterior(table, self.source_id[rows])
        noise = self.noise[rows]
        return posterior.with_noise(noise) if noise.any() else posterior

    @classmethod
    def read(cls, scored: Path, truth: Path) -> KnownSources:
        """The sources that both files have, and that have a prediction.

        Parameters
        ----------
        scored : Path
            As `score` writes it.
        truth : Path
            Parquet with the ids, under the scored file's name for them or `source_id`; true
            proxies under their names and units; true latents as `latent_mean` or `latent`, perhaps
            with `latent_std`; perhaps `group_id` and `weight`.

        Raises
        ------
        CatalogError
            If one is not such a file, or they share no source of which something is known.
        """
        schema, id_name = _scored_layout(scored)
        known = Truth.read(truth, id_name)
        _check_same_kind(known, schema, id_name)
        predicted, n_scored = _rows_with(scored, id_name, known.source_id, truth)
        places = _places(predicted[id_name].to_numpy(), known.source_id)
        good = np.flatnonzero(np.array(predicted["status"].to_pylist()) == "ok")
        good = good[np.argsort(known.source_id[places[good]], kind="stable")]
        left_out = {
            "only in the scored file": n_scored - predicted.num_rows,
            "only in the truth": len(known) - predicted.num_rows,
            "without a prediction": predicted.num_rows - len(good),
        }
        scored_rows = predicted.take(pa.array(good)).combine_chunks()
        known = known.take(places[good])
        d = _n_latents(schema) if known.has_latents else 0
        if d:
            check_decoder(truth, known.footer, read_footer(scored))
        latents, noise = known.latents(d) if d else 2 * (np.zeros((len(known), 0)),)
        found = cls(
            scored_rows,
            known.source_id,
            latents,
            noise,
            known.proxies(proxy_names(schema)),
            known.table,
            _groups(known, scored_rows),
            known.weight,
            left_out,
        )
        found._check(truth)
        return found

    def _check(self, truth: Path) -> None:
        if not len(self):
            raise CatalogError(
                f"{truth}: none of its sources has a prediction (see the column 'status' of the "
                "scored file). Choose others."
            )
        values = [*self.proxies.values(), *self.latents.T]
        if not any(np.isfinite(each).any() for each in values):
            raise CatalogError(
                f"{truth}: all {len(self)} sources that were scored have NaN for a truth. Measure "
                "their spectra, or give others."
            )


def _scored_layout(path: Path) -> tuple[pa.Schema, str]:
    with scored_file(path) as file:
        names = proxy_names(file.schema)
        if not names or "status" not in file.schema.names:
            missing = "status" if names else "<proxy>_quantiles"
            raise CatalogError(
                f"{path}: no column '{missing}'; this is not a scored file. Make one with "
                "targetsel score."
            )
        return file.schema, file.names["source_id"]


def _rows_with(path: Path, id_name: str, ids: np.ndarray, truth: Path) -> tuple[pa.Table, int]:
    """The rows of a scored file with some of these ids, and how many rows it has at all."""
    pieces, first = [], None
    with scored_file(path) as file, pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(ROWS_AT_A_TIME):
            theirs = batch.column(id_name).to_numpy(zero_copy_only=False)
            first = theirs[0] if first is None and len(theirs) else first
            there = np.flatnonzero(_places(theirs, ids) >= 0)
            pieces.append(pa.Table.from_batches([batch.take(pa.array(there))]).cast(file.schema))
        n_rows = len(file)
    if not sum(piece.num_rows for piece in pieces):
        raise CatalogError(
            f"{truth}: none of its {len(ids)} ids (the first is '{ids[0]}') is in {path} (the "
            f"first there is '{first}'). Use the same ids in both."
        )
    return pa.concat_tables(pieces), n_rows


def _places(ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The place of each id in `among`, or -1, shape (N,)."""
    return pd.Index(among).get_indexer(pd.Index(ids))


def _check_same_kind(truth: Truth, scored: pa.Schema, id_name: str) -> None:
    """Refuse ids of another type than the scored file's, and proxies in another unit."""
    schema = truth.table.schema
    column = id_name if id_name in schema.names else "source_id"
    ours, theirs = scored.field(id_name).type, schema.field(column).type
    if pa.types.is_integer(ours) != pa.types.is_integer(theirs):
        raise CatalogError(
            f"{truth.path}: ids in '{column}' are {theirs}; the scored file's are {ours}. Give "
            "both the same type."
        )
    for name in set(proxy_names(scored)) & {*schema.names}:
        ours, theirs = (
            (each.field(name).metadata or {}).get(b"unit", b"").decode()
            for each in (scored, schema)
        )
        if ours and theirs and ours != theirs:
            raise CatalogError(
                f"{truth.path}: column '{name}' is in {theirs}, the scored file has it in {ours}. "
                "Convert it."
            )


def _n_latents(scored: pa.Schema) -> int:
    """Of the posteriors in a scored file, or 0 where it was written without them."""
    if "latent_mean" not in scored.names or "member_cov" not in scored.names:
        return 0
    return int(scored.field("latent_mean").type.list_size)


def _groups(truth: Truth, scored: pa.Table) -> np.ndarray:
    """The group of each source, as a number; each its own where neither file names groups."""
    names = truth.group
    if names is None:
        names = scored[GROUP].to_numpy() if GROUP in scored.column_names else truth.source_id
    return np.unique(names.astype(str), return_inverse=True)[1]


def provenance(scored: Path, truth: Path) -> dict[str, Any]:
    """What the footers of both files say that a reader of the evaluation must know, and hashes."""
    ours, theirs = read_footer(scored), read_footer(truth)
    simulated = says_simulated(ours) or says_simulated(theirs)
    return {
        "ensemble": ours.get("ensemble"),
        "calibration": ours.get("calibration"),
        "simulated": simulated,
        "scored_sha256": sha256_of_file(scored),
        "truth_sha256": sha256_of_file(truth),
    }
