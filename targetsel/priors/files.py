"""Files of priors, looked up by id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, EnsembleError, SpectrumError
from targetsel.priors.prior import Prior
from targetsel.priors.spectral_model import SpectralModel
from targetsel.spectra.reading import OK
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.tables.columns import Column, FileKind
from targetsel.tables.ids import exact_id_type, exact_ids
from targetsel.tables.parquet import footer_in
from targetsel.tables.reading import ParquetReader

SCHEMA = "targetsel/priors/v1"
LATENTS = ("latent_weight", "latent_mean", "latent_factor")
# What an update reads of a file of priors, beside the ids.
PRIORS = FileKind(
    "a file of priors",
    (
        *(Column(name, pa.float64()) for name in ("ra", "dec", "redshift", "redshift_error")),
        *(Column(name, pa.list_(pa.float32())) for name in LATENTS),
        Column("status", pa.string()),
    ),
    "Make one with 'targetsel priors write'.",
)


@dataclass(frozen=True)
class PriorFile:
    """A Parquet file of priors, looked up by id.

    Attributes
    ----------
    path : Path
    model : SpectralModel
    id_column : str
    id_type : pa.DataType
        int64 or string.
    rows : dict of str to (int, int)
        Row group and row of every id, as text.
    """

    path: Path
    model: SpectralModel
    id_column: str
    id_type: pa.DataType
    rows: dict[str, tuple[int, int]]

    @classmethod
    def open(cls, path: Path, ensemble: str | Path) -> PriorFile:
        """A file that `write_parquet` wrote, and the ensemble with its decoder.

        Raises
        ------
        CatalogError, EnsembleError
            If it is no file of priors, or one of another decoder.
        """
        with ParquetReader(path) as file:
            footer = footer_in(file.footer_entries)
            if footer.get("schema") != SCHEMA:
                raise CatalogError(
                    f"{path}: not a file of priors (its footer lacks "
                    f"'{SCHEMA}'). Make one with 'targetsel priors write'."
                )
            name = str(footer.get("columns", {}).get("source_id", "source_id"))
            PRIORS.check(file.schema, path)
            if name not in file.schema.names:
                raise CatalogError(
                    f"{path}: no column '{name}', which holds the ids. Make the file again with "
                    "'targetsel priors write'."
                )
            kind = exact_id_type(file.schema.field(name), path)
            model = SpectralModel.read(ensemble)
            found, given = str(footer.get("decoder_sha256")), model.residual.decoder_sha256
            if found != given:
                raise EnsembleError(
                    f"{path}: its priors are of the decoder {found[:12]}, but that of '{ensemble}' "
                    f"is {given[:12]}. Name the right one with --ensemble."
                )
            rows: dict[str, tuple[int, int]] = {}
            for group in range(file.metadata.num_row_groups):
                ids = exact_ids(file.read([name], [group])[name], name, path)
                for row, each in enumerate(ids.to_pylist()):
                    if str(each) in rows:
                        raise CatalogError(
                            f"{path}: has two priors of the source '{each}'. Keep one of them."
                        )
                    rows[str(each)] = (group, row)
        return cls(path, model, name, kind, rows)

    def prior(self, source_id: int | str) -> Prior:
        """The prior of a source.

        Raises
        ------
        SpectrumError
            If the file has no such source, or no prior of it.
        """
        place = self.rows.get(str(source_id))
        if place is None:
            raise SpectrumError(
                f"{self.path}: has no prior of the source '{source_id}'. Give another source, or "
                "write its prior with 'targetsel priors write'."
            )
        group, row = place
        with ParquetReader(self.path) as file:
            columns = [self.id_column, *(each.name for each in PRIORS.columns)]
            table = file.read(columns, [group]).slice(row, 1)
        (kept,) = table.to_pylist()
        if kept["status"] != OK:
            raise SpectrumError(
                f"{self.path}: has no prior of the source '{source_id}': {kept['status']}. "
                "Choose another source."
            )
        latents = mixture_of([kept[name] for name in LATENTS], self.model.decoder.n_latents)
        if latents is None:
            raise SpectrumError(
                f"{self.path}: the latents of the source '{source_id}' are damaged. Write the "
                "priors again."
            )
        (name,) = exact_ids(table[self.id_column], self.id_column, self.path).to_pylist()
        ra, dec = (np.nan if kept[each] is None else kept[each] for each in ("ra", "dec"))
        return Prior(name, latents, self.model, kept["redshift"], kept["redshift_error"], (ra, dec))


def lists_of(latents: GaussianMixture) -> dict[str, np.ndarray]:
    """The lists by which a file keeps a mixture of latents, by column name, in float32."""
    lower = np.tril_indices(latents.n_features)
    lists = (latents.weight, latents.mean, latents.factor[:, lower[0], lower[1]])
    return {n: each.astype(np.float32) for n, each in zip(LATENTS, lists, strict=True)}


def mixture_of(
    lists: Sequence[Sequence[float] | np.ndarray | None], d: int
) -> GaussianMixture | None:
    """The mixture of latents with these weights, means and triangles, if they make one."""
    weight, mean, triangles = (
        np.array([] if each is None else each, dtype=np.float64).ravel() for each in lists
    )
    k, lower = len(weight), np.tril_indices(d)
    if not k or (len(mean), len(triangles)) != (k * d, k * len(lower[0])):
        return None
    factor = np.zeros((k, d, d))
    factor[(slice(None), *lower)] = triangles.reshape(k, -1)
    numbers = np.concatenate([weight, mean, triangles])
    diagonals = np.diagonal(factor, axis1=1, axis2=2)
    if not (np.isfinite(numbers).all() and (weight >= 0).all() and (diagonals > 0).all()):
        return None
    if not weight.any():
        return None
    return GaussianMixture(weight / weight.sum(), mean.reshape(-1, d), factor=factor)
