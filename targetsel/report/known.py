"""Scored sources whose spectra are known: what was predicted of them beside what is true."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError
from targetsel.files import sha256_of_file
from targetsel.latents.posterior import LatentPosterior
from targetsel.latents.stored import check_decoder, stored_posterior
from targetsel.parquet import read_footer
from targetsel.selection.evaluation import Sources
from targetsel.selection.meaning import proxy_names
from targetsel.selection.scan import scored_file
from targetsel.spectra.proxies import ProxyPosterior

LATENTS = ("latent_mean", "latent")  # as `spectra encode` and mock skies call true latents
NOISE = "latent_std"
GROUP, WEIGHT = "group_id", "weight"
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
        Their rows of the truth file.
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
        known, ids = _read_truth(truth, schema, id_name)
        predicted, n_scored = _rows_with(scored, id_name, ids, truth)
        places = _places(predicted[id_name].to_numpy(), ids)
        good = np.flatnonzero(np.array(predicted["status"].to_pylist()) == "ok")
        good = good[np.argsort(ids[places[good]], kind="stable")]
        left_out = {
            "only in the scored file": n_scored - predicted.num_rows,
            "only in the truth": len(ids) - predicted.num_rows,
            "without a prediction": predicted.num_rows - len(good),
        }
        scored_rows = predicted.take(pa.array(good)).combine_chunks()
        true_rows = known.take(pa.array(places[good])).combine_chunks()
        latents, noise = _true_latents(truth, true_rows, schema)
        if latents.size:
            check_decoder(truth, read_footer(truth), read_footer(scored))
        found = cls(
            scored_rows,
            true_rows[_id_column(known, id_name)].to_numpy(),
            latents,
            noise,
            {
                name: _numbers(truth, true_rows, name)
                for name in proxy_names(schema)
                if name in true_rows.column_names
            },
            true_rows,
            _groups(true_rows, scored_rows, id_name),
            _weights(truth, true_rows),
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


def _id_column(table: pa.Table | pa.Schema, id_name: str) -> str:
    names = table.names if isinstance(table, pa.Schema) else table.column_names
    return id_name if id_name in names else "source_id"


# ---------------------------------------------------------------------- the truth


def _read_truth(path: Path, scored: pa.Schema, id_name: str) -> tuple[pa.Table, np.ndarray]:
    read_footer(path)
    schema = pq.read_schema(path)
    proxies = proxy_names(scored)
    id_column = _id_column(schema, id_name)
    if id_column not in schema.names:
        raise CatalogError(
            f"{path}: no column '{id_column}'; a truth file holds the ids, and true latents or "
            "proxies."
        )
    if not {*LATENTS, *proxies} & {*schema.names}:
        raise CatalogError(
            f"{path}: neither latents ('{LATENTS[0]}') nor a proxy such as '{proxies[0]}' is among "
            "its columns; encode or measure the spectra first."
        )
    _check_units(path, schema, scored)
    ours, theirs = scored.field(id_name).type, schema.field(id_column).type
    if pa.types.is_integer(ours) != pa.types.is_integer(theirs):
        raise CatalogError(
            f"{path}: ids in '{id_column}' are {theirs}; the scored file's are {ours}. Give both "
            "the same type."
        )
    table = pq.read_table(path)
    ids = table[id_column].to_numpy()
    if not len(ids):
        raise CatalogError(f"{path}: has no rows; expected one for each source of known spectrum.")
    if pd.Index(ids).has_duplicates or table[id_column].null_count:
        raise CatalogError(
            f"{path}: ids in '{id_column}' are repeated or missing; keep one row per source."
        )
    return table, ids


def _check_units(path: Path, truth: pa.Schema, scored: pa.Schema) -> None:
    for name in set(proxy_names(scored)) & {*truth.names}:
        ours, theirs = (
            (each.field(name).metadata or {}).get(b"unit", b"").decode() for each in (scored, truth)
        )
        if ours and theirs and ours != theirs:
            raise CatalogError(
                f"{path}: column '{name}' is in {theirs}, the scored file has it in {ours}. "
                "Convert it."
            )


def _numbers(path: Path, table: pa.Table, name: str) -> np.ndarray:
    """A column as float64, shape (N,); NaN where it is missing or infinite."""
    try:
        values = table[name].cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise CatalogError(
            f"{path}, column '{name}': is of type {table[name].type}; expected numbers."
        ) from None
    return np.where(np.isfinite(values), values, np.nan)


def _true_latents(path: Path, table: pa.Table, scored: pa.Schema) -> tuple[np.ndarray, np.ndarray]:
    """True latents and their errors, each (N, D); (N, 0) where they cannot be compared."""
    name = next((each for each in LATENTS if each in table.column_names), None)
    if name is None or "latent_mean" not in scored.names or "member_cov" not in scored.names:
        nothing = np.zeros((table.num_rows, 0))
        return nothing, nothing
    d = scored.field("latent_mean").type.list_size
    latents = _vectors(path, table, name, d)
    noise = _vectors(path, table, NOISE, d) if NOISE in table.column_names else np.zeros((1, 1))
    return latents, np.where(np.isfinite(noise), noise, 0.0) * np.ones_like(latents)


def _vectors(path: Path, table: pa.Table, name: str, d: int) -> np.ndarray:
    lists = table[name].combine_chunks()
    kind = lists.type
    is_list = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    lengths = {len(each) for each in lists.to_pylist() if each is not None} if is_list else {0}
    if lengths - {d}:
        raise CatalogError(
            f"{path}, column '{name}': {min(lengths - {d})} numbers in a row; expected the {d} "
            "latents of the ensemble's decoder. Encode the spectra with it."
        )
    rows = [[np.nan] * d if row is None else row for row in lists.to_pylist()]
    return np.array(rows, dtype=np.float64).reshape(-1, d)


def _groups(truth: pa.Table, scored: pa.Table, id_name: str) -> np.ndarray:
    """The group of each source, as a number; each its own where neither file names groups."""
    table = next((each for each in (truth, scored) if GROUP in each.column_names), None)
    values = scored[id_name] if table is None else table[GROUP]
    return np.unique(np.array(values.to_pylist()).astype(str), return_inverse=True)[1]


def _weights(path: Path, table: pa.Table) -> np.ndarray:
    if WEIGHT not in table.column_names:
        return np.ones(table.num_rows)
    weight = _numbers(path, table, WEIGHT)
    if not (weight >= 0).all() or not weight.any():
        raise CatalogError(f"{path}, column '{WEIGHT}': expected numbers from 0 up, and some.")
    return weight


def provenance(scored: Path, truth: Path) -> dict[str, Any]:
    """What the footers of both files say that a reader of the evaluation must know, and hashes."""
    ours, theirs = read_footer(scored), read_footer(truth)
    simulated = any(str(each.get("images", "")).startswith("simulated") for each in (ours, theirs))
    return {
        "ensemble": ours.get("ensemble"),
        "calibration": ours.get("calibration"),
        "simulated": simulated,
        "scored_sha256": sha256_of_file(scored),
        "truth_sha256": sha256_of_file(truth),
    }
