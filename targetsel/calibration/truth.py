"""A truth file: sources whose spectra are known, with their true latents and proxies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.errors import CatalogError
from targetsel.spectra.lines import PROXIES
from targetsel.tables.parquet import footer_in, read_footer

LATENTS = ("latent_mean", "latent")  # as `spectra encode` and mock skies call true latents
NOISE, GROUP, WEIGHT = "latent_std", "group_id", "weight"


@dataclass(frozen=True)
class Truth:
    """N sources of a truth file.

    Attributes
    ----------
    path : Path
    table : pa.Table
        Their columns, without lists other than latents and their errors: spectra, say.
    source_id : ndarray, shape (N,)
    """

    path: Path
    table: pa.Table
    source_id: np.ndarray

    def __len__(self) -> int:
        return len(self.source_id)

    @classmethod
    def read(cls, path: Path, id_name: str = "source_id") -> Truth:
        """All sources of a file.

        Parameters
        ----------
        path : Path
            Parquet with ids; true proxies under their names; true latents as `latent_mean` or
            `latent`, perhaps with `latent_std`; perhaps `group_id` and `weight`.
        id_name : str
            The column of ids, where there is one of this name; `source_id` otherwise.

        Raises
        ------
        CatalogError
            If it is no such file, or says nothing of spectra.
        """
        read_footer(path)
        schema = pq.read_schema(path)
        id_column = id_name if id_name in schema.names else "source_id"
        _check_columns(path, schema, id_column)
        table = pq.read_table(path, columns=[each.name for each in schema if _is_wanted(each)])
        ids = table[id_column].to_numpy()
        if not len(ids):
            raise CatalogError(
                f"{path}: has no rows; expected one for each source of known spectrum."
            )
        if pd.Index(ids).has_duplicates or table[id_column].null_count:
            raise CatalogError(
                f"{path}: ids in '{id_column}' are repeated or missing; keep one row per source."
            )
        return cls(path, table, ids)

    def take(self, rows: np.ndarray) -> Truth:
        """Some of the sources, by indices."""
        table = self.table.take(pa.array(rows)).combine_chunks()
        return replace(self, table=table, source_id=self.source_id[rows])

    @property
    def footer(self) -> Mapping[str, Any]:
        return footer_in(self.table.schema.metadata)

    @property
    def has_latents(self) -> bool:
        return not {*LATENTS}.isdisjoint(self.table.column_names)

    def latents(self, d: int) -> tuple[np.ndarray, np.ndarray]:
        """True latents and the errors of their measurement, each (N, d); of sources without any,
        and of files without, NaN and 0."""
        name = next((each for each in LATENTS if each in self.table.column_names), None)
        if name is None:
            return np.full((len(self), d), np.nan), np.zeros((len(self), d))
        noise = np.zeros((len(self), d))
        if NOISE in self.table.column_names:
            noise = self._vectors(NOISE, d)
        return self._vectors(name, d), np.where(np.isfinite(noise), noise, 0.0)

    def proxies(self, names: Iterable[str] = PROXIES) -> dict[str, np.ndarray]:
        """True proxies that the file has, shape (N,); NaN where they are missing or infinite."""
        return {name: self._numbers(name) for name in names if name in self.table.column_names}

    @property
    def group(self) -> np.ndarray | None:
        """Names of the groups that sources belong to, shape (N,); None where the file has none."""
        return self.table[GROUP].to_numpy() if GROUP in self.table.column_names else None

    @property
    def weight(self) -> np.ndarray:
        """How many sources each stands for, shape (N,)."""
        if WEIGHT not in self.table.column_names:
            return np.ones(len(self))
        weight = self._numbers(WEIGHT)
        if not (weight >= 0).all() or (len(self) and not weight.any()):
            raise CatalogError(
                f"{self.path}, column '{WEIGHT}': expected numbers from 0 up, and some."
            )
        return weight

    def _numbers(self, name: str) -> np.ndarray:
        try:
            values = self.table[name].cast(pa.float64()).to_numpy()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise CatalogError(
                f"{self.path}, column '{name}': is of type {self.table[name].type}; expected "
                "numbers."
            ) from None
        return np.where(np.isfinite(values), values, np.nan)

    def _vectors(self, name: str, d: int) -> np.ndarray:
        """A column of lists, shape (N, d); NaN where a list is missing."""
        rows = self.table[name].to_pylist()
        lengths = {len(row) for row in rows if row is not None}
        if lengths - {d}:
            raise CatalogError(
                f"{self.path}, column '{name}': {min(lengths - {d})} latents, but the ensemble's "
                f"decoder has {d}. Encode the spectra with it."
            )
        missing = [np.nan] * d
        return np.array([row or missing for row in rows], dtype=np.float64).reshape(-1, d)


def _check_columns(path: Path, schema: pa.Schema, id_column: str) -> None:
    if id_column not in schema.names:
        raise CatalogError(
            f"{path}: no column '{id_column}'; a truth file holds the ids, and true latents or "
            "proxies."
        )
    if {*LATENTS, *PROXIES}.isdisjoint(schema.names):
        raise CatalogError(
            f"{path}: neither latents ('{LATENTS[0]}') nor a proxy such as '{PROXIES[0]}' is among "
            "its columns; encode or measure the spectra first."
        )
    for name in {*LATENTS, NOISE} & {*schema.names}:
        if not _is_list(schema.field(name).type):
            raise CatalogError(
                f"{path}, column '{name}': is of type {schema.field(name).type}; expected the "
                "latents of a source as a list of numbers."
            )


def _is_wanted(field: pa.Field) -> bool:
    return field.name in (*LATENTS, NOISE) or not _is_list(field.type)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
