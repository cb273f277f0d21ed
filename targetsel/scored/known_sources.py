"""Sources of known spectra: a truth file, and its join with predictions of a scored file.

One reader serves every command that takes a truth file (`calibrate`, `evaluate`, `compare`,
`forecast`, and `select` with a guarantee), so that all accept the same files and refuse others in
the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.brief import brief
from targetsel.errors import CatalogError
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.scored.columns import STATUS, column_names, n_latents, not_needed
from targetsel.scored.file import ScoredFile
from targetsel.sky.catalog import USUAL_NAMES
from targetsel.sky.positions import check_same_places
from targetsel.spectra.lines import PROXIES, UNITS
from targetsel.spectra.proxies import QUANTILES, proxy_names
from targetsel.tables.any_format import table_reader
from targetsel.tables.columns import ID, NEVER, Column, FileKind, matrix, unit_of
from targetsel.tables.ids import IdIndex
from targetsel.tables.parquet import footer_in
from targetsel.tables.reading import ParquetReader
from targetsel.tables.types import is_list, is_text

if TYPE_CHECKING:
    from targetsel.networks.posterior import LatentPosterior

LATENTS = ("latent_mean", "latent")  # as `spectra encode` and mock skies name true latents
NOISE, GROUP, WEIGHT = "latent_std", "group_id", "weight"
POSITION = ("ra", "dec")
# No strength of a line or index is beyond; what catalogs write for none is: -999, -9999, 1e20.
MEASURABLE = (-900.0, 9000.0)
ROWS_AT_ONCE = 8192


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
            Column(name, pa.float64(), _unit(scored, name), required=False)
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
            the scored file's; true latents as `latent_mean` or `latent`, perhaps with
            `latent_std`; perhaps `group_id` and `weight`. Rows without an id whose `status` is
            not "ok" are spectra that could not be read, and left out.
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
            if {*LATENTS, *proxies}.isdisjoint(schema.names):
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
        names = tuple(name for name in proxies if name in table.column_names)
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
        measured = {name: _numbers(self.table, name) for name in self.names}
        low, high = MEASURABLE
        return {
            name: np.where((values > low) & (values < high), values, np.nan)
            for name, values in measured.items()
        }

    @cached_property
    def position(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Ra and dec [deg], each of shape (N,); None if the file has none."""
        if not {*self.position_names} <= {*self.table.column_names}:
            return None
        ra, dec = self.position_names
        return _numbers(self.table, ra), _numbers(self.table, dec)

    @property
    def group(self) -> np.ndarray | None:
        """Name of each source's group, shape (N,); None if the file has no groups."""
        return self.table[GROUP].to_numpy() if GROUP in self.table.column_names else None

    @cached_property
    def weight(self) -> np.ndarray:
        """Number of sources that each stands for, shape (N,); 1 where none is given."""
        if WEIGHT not in self.table.column_names:
            return np.ones(len(self))
        return _numbers(self.table, WEIGHT)

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
    if "ensemble" in footer_in(schema.metadata) or any(
        name + QUANTILES in schema.names for name in PROXIES
    ):
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


JOINED = ("n_scored", "n_found", "n_predicted", "n_known", "n_not_needed")  # what `Join` counts


class Join:
    """Finds the sources of a truth file in a scored file, batch by batch, and counts them.

    Attributes
    ----------
    n_scored, n_found, n_predicted, n_known : int
        Sources of the scored file seen so far; those of them in the truth file; of these, those
        with a prediction; and of these, those with a true value.
    n_not_needed : int
        Sources in the truth file that were not needed when the catalog was scored.
    """

    def __init__(self, truth: Truth, scored: Path | str) -> None:
        self.truth, self.scored = truth, scored
        self.n_scored = self.n_found = self.n_predicted = self.n_known = self.n_not_needed = 0
        self._first: Any = None
        self._seen = np.zeros(len(truth), dtype=bool)

    @property
    def counts(self) -> dict[str, Any]:
        """What it has counted, as plain values for JSON; `together` takes those of all parts."""
        first = self._first.item() if isinstance(self._first, np.generic) else self._first
        return {"first": first, **{name: getattr(self, name) for name in JOINED}}

    @classmethod
    def together(cls, truth: Truth, scored: Path | str, parts: Iterable[Mapping[str, Any]]) -> Join:
        """The join of a whole catalog, of the `counts` of its parts.

        Raises
        ------
        CatalogError
            If more sources were found than the truth file has.
        """
        join = cls(truth, scored)
        for counts in parts:
            join._first = counts["first"] if join._first is None else join._first
            for name in JOINED:
                setattr(join, name, getattr(join, name) + counts[name])
        if join.n_found > len(truth):
            raise CatalogError(
                f"{scored}: {join.n_found:,} of its rows are of the {len(truth):,} sources of "
                f"{truth.path}, so some are there more than once. Remove the repeated rows, or "
                "score the catalog again."
            )
        return join

    def rows(self, batch: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a batch that have a prediction and are in the truth file, and their rows there.

        Parameters
        ----------
        batch : pa.Table
            Rows of the scored file, with ids, and `status` and positions where the file has them.

        Raises
        ------
        CatalogError
            If both files have positions, and they differ, or a source is repeated.
        """
        named = column_names(batch.schema)
        ids = batch[named["source_id"]].to_numpy()
        if self._first is None and len(ids):
            self._first = ids[0]
        places = self.truth.index.rows(ids)
        rows = np.flatnonzero(places >= 0)
        self.n_scored, self.n_found = self.n_scored + len(ids), self.n_found + len(rows)
        self._check_once(ids[rows], places[rows])
        if self.truth.position and {named["ra"], named["dec"]} <= {*batch.column_names}:
            ours = (_numbers(batch, named["ra"])[rows], _numbers(batch, named["dec"])[rows])
            theirs = self.truth.position[0][places[rows]], self.truth.position[1][places[rows]]
            check_same_places(ids[rows], ours, theirs, self.scored, self.truth.path)
        if STATUS in batch.column_names:
            self.n_not_needed += int(not_needed(batch)[rows].sum())
            good = pc.equal(batch[STATUS], "ok").to_numpy(zero_copy_only=False)
            rows = rows[good[rows].astype(bool)]
        self.n_predicted += len(rows)
        self.n_known += int(self.truth.known[places[rows]].sum())
        return rows, places[rows]

    def _check_once(self, ids: np.ndarray, places: np.ndarray) -> None:
        """Refuse sources that the scored file has more than once."""
        again = self._seen[places]
        again[np.delete(np.arange(len(places)), np.unique(places, return_index=True)[1])] = True
        if again.any():
            raise CatalogError(
                f"{self.scored}: the source {ids[again][0]} is there more than once. Remove the "
                "repeated rows, or score the catalog again."
            )
        self._seen[places] = True

    def finish(self) -> dict[str, int]:
        """Number of sources left out, by the reason, once every batch was seen.

        Raises
        ------
        CatalogError
            If no source is in both files, has a prediction and a true value.
        """
        path, n = self.truth.path, len(self.truth)
        if not self.n_found:
            raise CatalogError(
                f"{path}: none of its {n} ids (the first is '{self.truth.source_id[0]}') is in "
                f"{self.scored} (the first there is '{self._first}'). Use the same ids in both."
            )
        if not self.n_predicted:
            raise CatalogError(
                f"{path}: none of its sources has a prediction (see the column '{STATUS}' of the "
                "scored file). Choose others."
            )
        if not self.n_known:
            raise CatalogError(
                f"{path}: all {self.n_predicted} sources that were scored have NaN for a truth. "
                "Measure their spectra, or give others."
            )
        return {
            "only in the scored file": self.n_scored - self.n_found,
            "only in the truth": n - self.n_found,
            "without a prediction": self.n_found - self.n_predicted - self.n_not_needed,
            **({"not needed when scored": self.n_not_needed} if self.n_not_needed else {}),
        }


def count_known(scored: Path, truth: Path) -> tuple[int, dict[str, int]]:
    """Number of sources with a prediction and a truth, and of those left out, by the reason.

    Raises
    ------
    CatalogError
        As `KnownSources.read`.
    """
    with ScoredFile(scored) as file:
        join = Join(Truth.read(truth, file.schema), file.path)
        wanted = [*dict.fromkeys((*file.names.values(), STATUS))]
        for batch in file.tables([name for name in wanted if name in file.schema.names]):
            join.rows(batch)
    return join.n_predicted, join.finish()


@brief
@dataclass(frozen=True)
class KnownSources:
    """N sources that a scored and a truth file share, and that have a prediction.

    Attributes
    ----------
    scored : pa.Table
        Their rows of the scored file.
    truth : Truth
        Their rows of the truth file, in the same order.
    source_id : ndarray, shape (N,)
        Ids in the scored file's form.
    left_out : dict of int
        Number of rows of the files that are left out, by the reason.
    """

    scored: pa.Table
    truth: Truth
    source_id: np.ndarray
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.source_id)

    @classmethod
    def read(
        cls,
        scored: Path,
        truth: Path,
        columns: Sequence[str] | None = None,
        all_columns: bool = False,
    ) -> KnownSources:
        """The sources that both files have, in the order of the scored file.

        Parameters
        ----------
        scored : Path
            A scored file, written by `score`.
        truth : Path
            See `Truth.read`, also for `all_columns`.
        columns : sequence of str, optional
            Columns of the scored file to keep; it must have them. Default: all.

        Raises
        ------
        CatalogError
            If one is not such a file, or they share no source with a known quantity.
        """
        pieces, places = [], []
        with ScoredFile(scored, (STATUS, *(columns or ()))) as file:
            if not proxy_names(file.schema):
                raise CatalogError(
                    f"{file.path}: no column '<proxy>_quantiles', so it is not a scored catalog of "
                    "this version. Score the catalog again."
                )
            wanted, ids = file.schema.names, file.names["source_id"]
            if columns is not None:
                needed = (*columns, *file.names.values(), STATUS, GROUP)
                wanted = [name for name in wanted if name in needed]
            true = Truth.read(truth, file.schema, all_columns)
            if true.has_latents:
                file.check_deviations()
            join = Join(true, file.path)
            for batch in file.tables(wanted, ROWS_AT_ONCE):
                rows, theirs = join.rows(batch)
                pieces.append(batch.take(pa.array(rows)))
                places.append(theirs)
        left_out = join.finish()
        table = pa.concat_tables(pieces).combine_chunks()
        if true.group is None:
            check_groups(table, file.path)
        found = true.take(np.concatenate(places))
        return cls(table, found, table[ids].to_numpy(), left_out)._with_posteriors()

    def _with_posteriors(self) -> KnownSources:
        """The sources without those whose stored posterior of the latents is damaged."""
        names = {"member_mean", "member_cov"}
        if not (names <= {*self.scored.column_names} and n_latents(self.scored.schema)):
            return self
        good = self.posterior().known
        if good.all():
            return self
        if not good.any():
            raise CatalogError(
                f"{self.truth.path}: the posteriors of all its {len(self)} sources with a "
                "prediction are damaged in the scored file ('member_mean' or 'member_cov' is no "
                "mean or covariance). Score them again."
            )
        damaged = {"with a damaged posterior": int((~good).sum())}
        return replace(self.take(good), left_out=self.left_out | damaged)

    def take(self, rows: np.ndarray) -> KnownSources:
        """Some of the sources, by mask or indices."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        table = self.scored.take(pa.array(rows)).combine_chunks()
        return replace(
            self, scored=table, truth=self.truth.take(rows), source_id=self.source_id[rows]
        )

    @property
    def latents(self) -> np.ndarray:
        """True latents, shape (N, D); NaN where they are not known."""
        return self.truth.latents

    @property
    def noise(self) -> np.ndarray:
        """Standard deviation of the errors of the true latents, shape (N, D)."""
        return self.truth.noise

    @property
    def proxies(self) -> dict[str, np.ndarray]:
        """True proxies by name, shape (N,); NaN where they could not be measured."""
        return self.truth.proxies

    @property
    def weight(self) -> np.ndarray:
        """Number of sources that each stands for, shape (N,)."""
        return self.truth.weight

    @property
    def group(self) -> np.ndarray:
        """Group of each source, shape (N,): from the truth or scored file, or one per source."""
        if self.truth.group is not None:
            return self.truth.group
        return (
            self.scored[GROUP].to_numpy() if GROUP in self.scored.column_names else self.source_id
        )

    @cached_property
    def group_number(self) -> np.ndarray:
        """The groups as numbers from 0 up, in the order of their names as text, shape (N,)."""
        return np.unique(self.group.astype(str), return_inverse=True)[1]

    @property
    def magnitude(self) -> np.ndarray:
        """Magnitude of the cutout's central light, shape (N,)."""
        return self.scored[MAGNITUDE].to_numpy().astype(np.float64)

    def posterior(self, rows: slice = slice(None)) -> LatentPosterior:
        """Stored posterior of the latents of some sources, without errors of measurement."""
        from targetsel.networks.posterior import stored_posterior

        start, stop, _ = rows.indices(len(self))
        return stored_posterior(self.scored.slice(start, stop - start), self.source_id[rows])


def _unit(scored: pa.Schema, name: str) -> str:
    """Unit of a proxy in a scored file."""
    there = unit_of(scored.field(name)) if name in scored.names else ""
    return there or UNITS.get(name, "")


def _measured(file: ParquetReader) -> pa.BooleanArray:
    """Rows that `status` does not say to be without a result, shape (N,)."""
    if STATUS not in file.schema.names or not is_text(file.schema.field(STATUS).type):
        return pa.array(np.ones(file.metadata.num_rows, dtype=bool))
    return pc.equal(file.read([STATUS])[STATUS].cast(pa.string()), "ok").fill_null(True)


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column of numbers as float64, shape (N,); NaN where it is null or infinite."""
    values = table[name].cast(pa.float64()).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)
