"""A truth file: the measured latents or line strengths of labelled sources.

One reader serves every command that takes a truth file (`calibrate`, `evaluate`, `compare`,
`forecast`, and `select` with a guarantee), so that all accept the same files and refuse others in
the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.brief import brief
from targetsel.errors import CatalogError
from targetsel.scored.columns import STATUS, column_names, n_latents
from targetsel.sky.catalog import USUAL_NAMES
from targetsel.spectra.lines import PROXIES, UNITS
from targetsel.spectra.photoz import PHOTOZ, column_of_truth, known_redshifts
from targetsel.spectra.proxies import QUANTILES, proxy_names
from targetsel.tables.any_format import table_reader
from targetsel.tables.columns import ID, NEVER, Column, FileKind, matrix, unit_of
from targetsel.tables.ids import IdIndex
from targetsel.tables.parquet import footer_in
from targetsel.tables.reading import ParquetReader
from targetsel.tables.types import is_list, is_text

LATENTS = ("latent_mean", "latent")  # as `spectra encode` and mock skies name true latents
NOISE, GROUP, WEIGHT = "latent_std", "group_id", "weight"
POSITION = ("ra", "dec")
OUTCOMES_FORMAT = "targetsel/outcomes/v1"  # what came of a list, which names the list's ensemble
# No strength of a line or index is beyond; what catalogs write for none is: -999, -9999, 1e20.
MEASURABLE = (-900.0, 9000.0)


def truth_kind(
    scored: pa.Schema, id_column: str = "source_id", position: Sequence[str] = POSITION
) -> FileKind:
    """Columns that a truth file for this scored file may have."""
    lists = (*LATENTS, NOISE) if n_latents(scored) else ()
    columns = (
        Column(id_column, ID, meaning="id of the source", null_when=NEVER),
        *(
            Column(name, pa.list_(pa.float64()), meaning="latents of the spectrum", required=False)
            for name in lists
        ),
        *(
            Column(column_of_truth(name), pa.float64(), _unit(scored, name), required=False)
            for name in proxy_names(scored)
        ),
        Column(GROUP, ID, meaning="group that the source belongs to", required=False),
        Column(WEIGHT, pa.float64(), meaning="sources that it stands for", required=False),
        *(Column(name, pa.float64(), "deg", meaning="ICRS", required=False) for name in position),
    )
    return FileKind("a truth file", columns, "Such a file holds ids, and true latents or proxies.")


@brief
@dataclass(frozen=True)
class Truth:
    """N sources of a truth file.

    Attributes
    ----------
    path : Path
    table : pa.Table
        Columns of `truth_kind`, and further ones if they were asked for.
    source_id : ndarray, shape (N,)
    names : tuple of str
        Proxies that both files have.
    n_latents : int
        Latents D of the scored file's posteriors; 0 where it was written without them.
    position_names : tuple of str
        The names in `table` of ra and dec, where it has them.
    columns : tuple of str
        All columns of the file.
    """

    path: Path
    table: pa.Table
    source_id: np.ndarray
    names: tuple[str, ...]
    n_latents: int
    position_names: tuple[str, ...] = POSITION
    columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.source_id)

    @classmethod
    def read(cls, path: Path, scored: pa.Schema, all_columns: bool = False) -> Truth:
        """All sources of a truth file, for a scored file of this schema.

        Parameters
        ----------
        path : Path
            A table in any format with ids (whole numbers or text), under the scored file's name
            for them or `source_id`; true proxies under their names, in any unit that converts to
            the scored file's, that of `photoz` as `redshift`; true latents as `latent_mean` or
            `latent`, perhaps with `latent_std`; perhaps `group_id` and `weight`. Rows without an
            id whose `status` is not "ok" are spectra that could not be read, and left out.
        scored : pa.Schema
            Schema of the scored file, with the file metadata.
        all_columns : bool
            Also keep every other column that is no list.

        Raises
        ------
        CatalogError
            If it is not such a file, or holds neither latents nor proxies.
        """
        with table_reader(path) as file:
            schema = file.schema
            others = [each.name for each in schema if not is_list(each.type)] if all_columns else []
            for name in others:
                if schema.names.count(name) > 1:
                    raise CatalogError(f"{path}: has several columns '{name}'. Rename or drop one.")
            proxies, ids = proxy_names(scored), column_names(scored)["source_id"]
            ids = ids if ids in schema.names else "source_id"
            _check_measured(path, schema)
            position = tuple(_usual_name(role, schema) for role in POSITION)
            kind = truth_kind(scored, ids, position)
            if {*LATENTS, *map(column_of_truth, proxies)}.isdisjoint(schema.names):
                raise CatalogError(
                    f"{path}: neither latents ('{LATENTS[0]}') nor a proxy such as "
                    f"'{next(iter(proxies), 'd4000')}' is among its columns; encode or measure the "
                    "spectra first."
                )
            more, measured, table = file.read(others), _measured(file), kind.read(file)
        for name in others:
            if name not in table.column_names:
                table = table.append_column(schema.field(name), more[name])
        table = table.filter(pc.or_(pc.is_valid(table[ids]), measured))
        table = table.replace_schema_metadata(schema.metadata)
        names = tuple(name for name in proxies if column_of_truth(name) in table.column_names)
        found = cls(
            path,
            table,
            table[ids].to_numpy(),
            names,
            n_latents(scored),
            position,
            tuple(schema.names),
        )
        found._check(table[ids])
        if found.has_latents:
            # Imported here because it imports scipy.stats, which slows the start of `select`.
            from targetsel.networks.posterior import check_decoder

            check_decoder(path, footer_in(schema.metadata), footer_in(scored.metadata))
        return found

    def take(self, rows: np.ndarray) -> Truth:
        """Some of the sources, by indices."""
        table = self.table.take(pa.array(rows)).combine_chunks()
        return replace(self, table=table, source_id=self.source_id[rows])

    @property
    def footer(self) -> Mapping[str, Any]:
        """Footer of the truth file."""
        return footer_in(self.table.schema.metadata)

    @property
    def has_latents(self) -> bool:
        """Whether the truth file has latents, of the scored file's number."""
        return bool(self.n_latents) and not {*LATENTS}.isdisjoint(self.table.column_names)

    @cached_property
    def latents(self) -> np.ndarray:
        """True latents, shape (N, D); NaN where they are not known."""
        if not self.has_latents:
            return np.full((len(self), self.n_latents), np.nan)
        return self._vectors(next(name for name in LATENTS if name in self.table.column_names))

    @cached_property
    def noise(self) -> np.ndarray:
        """Standard deviation of the errors of `latents`, shape (N, D); 0 where it is not given."""
        if not self.has_latents or NOISE not in self.table.column_names:
            return np.zeros((len(self), self.n_latents))
        noise = self._vectors(NOISE)
        known = np.isfinite(self.latents).all(axis=1)
        bad = known & ~(np.isfinite(noise) & (noise >= 0)).all(axis=1)
        if bad.any():
            raise CatalogError(
                f"{self.path}, column '{NOISE}': null, infinite or negative for {int(bad.sum()):,} "
                f"sources with latents, the first is {self.source_id[bad][0]}. Give the errors of "
                "all, or drop the column if the latents are exact."
            )
        return np.where(known[:, None], noise, 0.0)

    @cached_property
    def proxies(self) -> dict[str, np.ndarray]:
        """True proxies by name, shape (N,); NaN where they could not be measured."""
        return {name: _known(self.table, name) for name in self.names}

    @cached_property
    def position(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Ra and dec [deg], each of shape (N,); None if the file has none."""
        if not {*self.position_names} <= {*self.table.column_names}:
            return None
        ra, dec = self.position_names
        return numbers_in(self.table, ra), numbers_in(self.table, dec)

    @property
    def group(self) -> np.ndarray | None:
        """Name of each source's group, shape (N,); None if the file has no groups."""
        return self.table[GROUP].to_numpy() if GROUP in self.table.column_names else None

    @cached_property
    def weight(self) -> np.ndarray:
        """Number of sources that each stands for, shape (N,); 1 where none is given."""
        if WEIGHT not in self.table.column_names:
            return np.ones(len(self))
        return numbers_in(self.table, WEIGHT)

    @cached_property
    def known(self) -> np.ndarray:
        """Sources with a true latent vector or a true proxy: boolean mask, shape (N,)."""
        known = np.isfinite(self.latents).all(axis=1) & self.has_latents
        for values in self.proxies.values():
            known |= np.isfinite(values)
        return known

    @cached_property
    def index(self) -> IdIndex:
        return IdIndex(self.source_id)

    def _vectors(self, name: str) -> np.ndarray:
        """A column of lists, shape (N, D); NaN where a list is missing."""
        try:
            values = matrix(self.table[name])
        except ValueError as error:
            raise CatalogError(
                f"{self.path}, column '{name}': has {error}. Encode "
                "the spectra again with 'targetsel spectra encode'."
            ) from None
        if np.isnan(values).all():
            return np.full((len(self), self.n_latents), np.nan)
        if values.shape[1] != self.n_latents:
            raise CatalogError(
                f"{self.path}, column '{name}': {values.shape[1]} latents, but the ensemble's "
                f"decoder has {self.n_latents}. Encode the spectra with it."
            )
        return values

    def _check(self, ids: pa.ChunkedArray) -> None:
        if not len(self):
            raise CatalogError(
                f"{self.path}: has no rows; expected one for each source of known spectrum."
            )
        place = f"{self.path}, column '{self.table.column_names[0]}'"
        if ids.null_count:
            raise CatalogError(f"{place}: {ids.null_count:,} rows have no id. Leave them out.")
        if pc.count_distinct(ids).as_py() < len(ids):
            counts = pc.value_counts(ids)
            repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
            raise CatalogError(
                f"{place}: ids are repeated, such as {repeated[0]}. Keep one row of each source."
            )
        bad = ~(self.weight >= 0)
        if bad.any() or not self.weight.any():
            found = f"{int(bad.sum()):,} are not" if bad.any() else "all are 0"
            raise CatalogError(
                f"{self.path}, column '{WEIGHT}': expected numbers from 0 up, some above 0; {found}"
                ". Correct them, or drop the column."
            )
        check_groups(self.table, self.path)
        assert self.latents.shape == self.noise.shape


def _check_measured(path: Path, schema: pa.Schema) -> None:
    """Refuse predictions in place of a truth, and widths of the other sign."""
    if footer_in(schema.metadata).get("ew_sign") == "mpa":
        raise CatalogError(
            f"{path}: its widths are negative in emission (--ew-sign mpa); expected positive ones, "
            "as in the scored file. Measure the spectra again without --ew-sign."
        )
    footer = footer_in(schema.metadata)
    predicted = "ensemble" in footer and footer.get("format") != OUTCOMES_FORMAT
    if predicted or any(name + QUANTILES in schema.names for name in PROXIES):
        raise CatalogError(
            f"{path}: holds predictions of an ensemble, which are no truth. Give what was measured "
            "on spectra, such as 'targetsel spectra encode' and 'spectra measure' write."
        )


def _usual_name(role: str, schema: pa.Schema) -> str:
    """The name of a truth file's column of ra or dec; the role itself if there is none."""
    usual = [each for each in schema.names if each.lower() in USUAL_NAMES[role]]
    return usual[0] if len(usual) == 1 else role


def check_groups(table: pa.Table, path: Path | str) -> None:
    """Refuse groups that some sources lack, as they would be taken for one.

    Raises
    ------
    CatalogError
    """
    if GROUP in table.column_names and (n := table[GROUP].null_count):
        raise CatalogError(
            f"{path}, column '{GROUP}': {n:,} sources have no group. Give each its own."
        )


def _unit(scored: pa.Schema, name: str) -> str:
    """Unit of a proxy in a scored file."""
    there = unit_of(scored.field(name)) if name in scored.names else ""
    return there or UNITS.get(name, "")


def _measured(file: ParquetReader) -> pa.BooleanArray:
    """Rows that `status` does not say to be without a result, shape (N,)."""
    if STATUS not in file.schema.names or not is_text(file.schema.field(STATUS).type):
        return pa.array(np.ones(file.metadata.num_rows, dtype=bool))
    return pc.equal(file.read([STATUS])[STATUS].cast(pa.string()), "ok").fill_null(True)


def _known(table: pa.Table, name: str) -> np.ndarray:
    """True values of a predicted quantity, shape (N,); NaN for what catalogs write for none."""
    values, (low, high) = numbers_in(table, column_of_truth(name)), MEASURABLE
    if name == PHOTOZ:
        return known_redshifts(values)
    return np.where((values > low) & (values < high), values, np.nan)


def numbers_in(table: pa.Table, name: str) -> np.ndarray:
    """A column of numbers as float64, shape (N,); NaN where it is null or infinite."""
    values = table[name].cast(pa.float64()).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)
