"""The one reader of scored files: it opens, checks and reads them in parts.

Other programs that filter and rewrite a scored file keep its columns and lose what is said about
them: units, the names of correlated proxies, the sizes of lists, the footer. What the columns'
names and their values tell is put back here, so that everyone sees the layout that `score` writes.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, EnsembleError, did_you_mean
from targetsel.scored.columns import (
    LATENTS,
    STATUS,
    column_names,
    has_whole_posteriors,
    predicts_redshift,
    scored_columns,
    scored_kind,
)
from targetsel.scored.folders import scored_reader
from targetsel.scored.slim import is_slim
from targetsel.sky.catalog import HEALPIX, USUAL_NAMES
from targetsel.spectra.lines import PREDICTABLE, PROXIES
from targetsel.spectra.proxies import CORRELATION, NORMAL_SCORES, QUANTILES
from targetsel.tables.any_form import AnyTable, TableReader, paths_in, table_of
from targetsel.tables.columns import (
    Column,
    floats,
    in_one_piece,
    list_column,
    matrix,
    serves_as_truth,
    true_or_false,
)
from targetsel.tables.ids import exact_id_type, exact_ids
from targetsel.tables.many_files import MOST_OPEN, ManyFiles
from targetsel.tables.parquet import FOOTER_KEY, footer_in
from targetsel.tables.reading import ParquetReader
from targetsel.tables.text import texts_in
from targetsel.tables.types import is_list, is_text
from targetsel.tasks import task

ROWS_PER_READ = 65_536
RESTORE = "Restore it from the original with 'targetsel restore', or score the catalog again."


class ScoredFile:
    """A scored catalog, open for reading until it is closed or its `with` block ends.

    It is one file, or the files of a folder or of a HATS catalog, which are read as one.

    What is wrong with the file is a `CatalogError` from the method that reads it, so that errors
    of other files and of the caller keep their own names inside the block.

    Parameters
    ----------
    scored : Path or table
        The file, the folder, or scored rows in memory, in any form (see `tables.any_form`).
    columns : iterable of str
        Columns that it must have, beside those that every scored file has from its catalog.

    Attributes
    ----------
    path : Path or str
        The file or folder; for rows in memory a name for errors.
    opened_from : Path or table
        What it was opened from, to be opened again.
    schema : pa.Schema
        With the file metadata.
    footer : dict
        Provenance, as `score` wrote it.
    names : dict
        The names in the file of the columns `source_id`, `ra` and `dec`.
    group_sizes : list of int
        Number of rows of each row group.

    Raises
    ------
    CatalogError
        If the file is missing, damaged or not a scored file, or lacks one of the columns.
    """

    def __init__(self, scored: AnyTable, columns: Iterable[str] = ()) -> None:
        self.opened_from = scored
        self.path: Path | str = "the scored catalog"
        self._file: ParquetReader | ManyFiles | TableReader
        if paths := paths_in([scored]):
            self.path = paths[0]
            if Path(self.path.name.lower().removesuffix(".gz")).suffix == ".csv":
                raise CatalogError(
                    f"{self.path}: CSV has no place for the posteriors and the provenance of a "
                    "scored catalog. Give one in Parquet (.parquet), FITS, VOTable or ECSV."
                )
            self._file = scored_reader(self.path)
        else:
            self._file = TableReader(table_of(scored, str(self.path)))
        self.footer = footer_in(self._file.footer_entries)
        for name, count in Counter(self._file.schema.names).items():
            if count > 1:
                raise CatalogError(
                    f"{self.path}: has several columns '{name}'. Rename or drop one."
                )
        self.group_sizes = self._file.group_sizes
        self.schema = self._restored(self._file.schema)
        self.names = column_names(self.schema)
        for name in columns:
            if name not in self.schema.names:
                raise self._lacking(name)
        if "member_cov" in columns:
            self.check_deviations()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()

    def __len__(self) -> int:
        return sum(self.group_sizes)

    @contextlib.contextmanager
    def again(self, texts: Iterable[str] = ()) -> Iterator[Self]:
        """The same file opened once more, to be read by another thread at the same time.

        The columns of text named `texts` come as dictionaries there, where they can.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        plain = {name for name in texts if self.schema.field(name).type == pa.string()}
        encoded = plain - {*self.names.values()}
        other._file = self._file.again(encoded)
        for name in encoded:
            kind = other._file.schema.field(name).type
            if pa.types.is_dictionary(kind) and kind.value_type == pa.string():
                place = other.schema.get_field_index(name)
                other.schema = other.schema.set(place, self.schema.field(name).with_type(kind))
        with other:
            yield other

    def check_deviations(self) -> None:
        """Refuse a file that no longer says how the latents deviate from the members' means."""
        # Imported here because it imports scipy.stats, which slows the start of `select`.
        from targetsel.networks.posterior import DEVIATIONS

        notes = self.schema.field("member_cov").metadata or {}
        if DEVIATIONS not in notes and (not self.footer or self.footer.get("calibration")):
            raise CatalogError(
                f"{self.path}, column 'member_cov': has lost what score noted of the posterior's "
                f"shape when another program wrote the file. {RESTORE}"
            )

    def check_scored_by(self, name: str, sha256: str) -> None:
        """Refuse a file that was scored by another ensemble than the one of this name and hash.

        Raises
        ------
        EnsembleError
            Names both ensembles.
        """
        found = self.footer.get("ensemble")
        if not found:
            raise EnsembleError(
                f"{self.path}: no longer says which ensemble scored it, since another program "
                f"wrote the file. {RESTORE}"
            )
        scored_by = found if isinstance(found, dict) else {}
        if scored_by.get("sha256") != sha256:
            raise EnsembleError(
                f"{self.path}: scored by the ensemble '{scored_by.get('name', 'unknown')}' "
                f"({str(scored_by.get('sha256'))[:12]}), not by '{name}' ({sha256[:12]}). Name the "
                "one that scored it with --ensemble."
            )

    def check_scored_like(self, other: ScoredFile) -> None:
        """Refuse a file whose predictions another ensemble or calibration made than the other's.

        Files that do not say pass.

        Raises
        ------
        EnsembleError
        """
        for what in ("ensemble", "calibration"):
            if not (self.footer.get("ensemble") and other.footer.get("ensemble")):
                return
            ours, theirs = self.footer.get(what), other.footer.get(what)
            if _sha256(ours) != _sha256(theirs):
                raise EnsembleError(
                    f"{self.path}: its predictions are of the {what} {_short(ours)}, but those of "
                    f"{other.path} are of {_short(theirs)}. What came true of the ones says "
                    "nothing of the others: score both alike."
                )

    # --- rows ---

    def tables(
        self,
        columns: Sequence[str] | None = None,
        rows: int = ROWS_PER_READ,
        groups: Iterable[int] | None = None,
    ) -> Iterator[pa.Table]:
        """The rows in their order, in tables of at most `rows` rows each.

        Parameters
        ----------
        columns : sequence of str, optional
            The columns to read, in this order. Default: all.
        groups : iterable of int, optional
            The row groups to read. Default: all.
        """
        names = self.schema.names if columns is None else list(columns)
        # A reader of many row groups would keep all of their buffers in memory.
        wanted = list(range(len(self.group_sizes)) if groups is None else groups)
        n_rows = sum(self.group_sizes[group] for group in wanted)
        with task(f"reading {Path(self.path).name}", n_rows) as advance:
            for span in self.spans(wanted):
                for batch in self._file.batches(rows, self._stored(names), span):
                    yield self._meant(pa.Table.from_batches([batch]), names)
                    advance(batch.num_rows)

    def read(self, names: Sequence[str], groups: Sequence[int]) -> pa.Table:
        """Some columns of some row groups, each in one piece."""
        return self._meant(self._file.read(self._stored(names), groups), names)

    def texts(self, name: str, most: int) -> list[str] | None:
        """The different texts of a column, in order; None where there are more than `most`."""
        with self.again([name]) as file:
            return texts_in((table.column(0) for table in file.tables([name])), most)

    def row_of(self, source_id: str) -> pa.Table:
        """The row of the source with this id, written as text, with all columns.

        Raises
        ------
        CatalogError
            If there is none.
        """
        first, column = 0, self.names["source_id"]
        for table in self.tables([column]):
            place = pc.index(table.column(0).cast(pa.string()), pa.scalar(source_id)).as_py()
            if place >= 0:
                return self._row(first + place)
            first += table.num_rows
        raise CatalogError(
            f"{self.path}: has no source '{source_id}'. Give an id of its column '{column}'."
        )

    def _row(self, row: int) -> pa.Table:
        group = 0
        while row >= self.group_sizes[group]:
            row, group = row - self.group_sizes[group], group + 1
        return self._meant(self._file.read(row_groups=[group]).slice(row, 1), self.schema.names)

    def layout(self, names: Sequence[str]) -> pa.Schema:
        """The schema of some of the columns, with the file metadata."""
        return pa.schema([self.schema.field(name) for name in names], self.schema.metadata)

    # --- row groups ---

    def spans(self, groups: Iterable[int]) -> Iterator[list[int]]:
        """Row groups in lists of about `ROWS_PER_READ` rows, of no more files than stay open."""
        most = MOST_OPEN if isinstance(self._file, ManyFiles) else len(self.group_sizes)
        span: list[int] = []
        rows = 0
        for group in groups:
            more = self.group_sizes[group]
            if span and (rows + more > ROWS_PER_READ or len(span) == most):
                yield span
                span, rows = [], 0
            span.append(group)
            rows += more
        if span:
            yield span

    def ends(self, group: int, column: str, nullable: bool = True) -> tuple[Any, Any] | None:
        """The least and the largest value of a column of numbers in a row group.

        None where they are unknown, and, unless `nullable`, where values may be null.
        """
        statistics = self._statistics(group, column)
        if statistics is None:
            return None
        if not nullable and (not statistics.has_null_count or statistics.null_count):
            return None
        ends = (statistics.min, statistics.max)
        usable = all(isinstance(end, int | float) and end == end for end in ends)
        return ends if usable and not isinstance(ends[0], bool) else None

    def may_hold(self, group: int, column: str, text: str) -> bool:
        """Whether a row group may hold a text, by the first and the last text of a column there.

        Writers cut long ones short: the first is then below all others, and the last above, or,
        of writers that only cut it, the beginning of one.
        """
        if column not in self._file.schema.names or not is_text(
            self._file.schema.field(column).type
        ):
            return True
        try:
            statistics = self._statistics(group, column)
            first, last = (statistics.min, statistics.max) if statistics else (None, None)
        except UnicodeDecodeError:  # of a letter cut in two
            return True
        if not isinstance(first, str) or not isinstance(last, str):
            return True
        return first <= text and (text <= last or text.startswith(last))

    def _statistics(self, group: int, column: str) -> pq.Statistics | None:
        """Statistics of a column in a row group; None without its least and largest value."""
        statistics = self._file.statistics(group, column)
        return statistics if statistics is not None and statistics.has_min_max else None

    # --- what other programs lose ---

    def _restored(self, schema: pa.Schema) -> pa.Schema:
        """The schema as `score` writes it, checked: of a file that another program wrote too."""
        names = self._names(schema)
        entries = {**(schema.metadata or {})}
        entries[FOOTER_KEY] = json.dumps(self.footer | {"columns": names}).encode()
        schema = schema.with_metadata(entries)
        place = schema.get_field_index(names["source_id"])
        if place >= 0:
            ids = schema.field(place)
            schema = schema.set(place, ids.with_type(exact_id_type(ids, self.path)))
        for name in names.values():
            if name not in schema.names:
                raise self._lacking(name, schema)
        if HEALPIX.name not in schema.names:
            if not self._is_scored(schema):
                raise self._lacking(HEALPIX.name, schema)
            schema = schema.append(HEALPIX)
        redshift = predicts_redshift(schema)
        declared = {each.name: each for each in scored_columns(1, 1, redshift)}
        for place, field in enumerate(schema):
            schema = schema.set(place, self._restored_field(field, schema, declared))
        lists = pa.list_(pa.float32())
        optional = (
            replace(each, required=False, type=lists if self._is_open(each.name) else each.type)
            for each in declared.values()
        )
        kind = scored_kind(schema)
        replace(kind, columns=(*kind.columns, *optional)).check(schema, self.path)
        if not has_whole_posteriors(schema):
            raise CatalogError(
                f"{self.path}: the lists in 'member_mean' and 'member_cov' are not of the same "
                f"latents, or those of the redshift beside them. {RESTORE}"
            )
        return schema

    def _restored_field(
        self, field: pa.Field, schema: pa.Schema, declared: Mapping[str, Column]
    ) -> pa.Field:
        """A field with the size of its lists and with what `score` says about it."""
        own, found = declared.get(field.name), field.metadata or {}
        told = {**(own.field.metadata or {})} if own else {}
        told.pop(b"with", None)
        if own and is_list(own.type) and is_list(field.type):
            size = self._width(field)
            if not self._is_open(field.name):
                self._check_size(field.name, size or own.type.list_size, own.type.list_size)
                size = own.type.list_size
            if not pa.types.is_fixed_size_list(field.type):
                field = field.with_type(pa.list_(field.type.value_type, size))
        elif is_text(field.type):  # dictionaries and views have fewer functions
            field = field.with_type(pa.string())
        if own and pa.types.is_boolean(own.type) and serves_as_truth(field.type):
            field = field.with_type(own.type)
        base = field.name.removesuffix(QUANTILES)
        if base != field.name and base in schema.names and b"normal_scores" not in found:  # noqa: SIM102
            if self._width(field) == len(NORMAL_SCORES):  # also of what other commands add
                told[b"normal_scores"] = ",".join(f"{each:g}" for each in NORMAL_SCORES).encode()
        base = field.name.removesuffix(CORRELATION)
        if base != field.name and base + QUANTILES in schema.names and b"with" not in found:
            told[b"with"] = ",".join(self._correlated_with(base, field, schema)).encode()
        return field.with_metadata(told | found)

    def _correlated_with(self, name: str, field: pa.Field, schema: pa.Schema) -> Sequence[str]:
        """The proxies that a column of correlations is with, by its size; those before it."""
        quantiles = [each for each in schema.names if each.endswith(QUANTILES)]
        there = quantiles[: quantiles.index(name + QUANTILES)]
        choices = [[each.removesuffix(QUANTILES) for each in there]]
        if name in PREDICTABLE:
            choices.insert(0, list(PREDICTABLE[: PREDICTABLE.index(name)]))
        size = self._width(field)
        for names in choices:
            if len(names) == size:
                return names
        raise CatalogError(
            f"{self.path}, column '{field.name}': no longer says which {size} quantities it is "
            f"with. {RESTORE}"
        )

    @staticmethod
    def _is_open(name: str) -> bool:
        """Whether the size of a column's lists depends on the ensemble or the proxies."""
        return name in LATENTS or name.endswith(CORRELATION)

    def _names(self, schema: pa.Schema) -> dict[str, str]:
        """The names of the columns of ids and positions; usual ones where no footer tells."""
        found = column_names(schema)
        for role, name in found.items():
            usual = [each for each in schema.names if each.lower() in USUAL_NAMES[role]]
            if name not in schema.names and len(usual) == 1:
                found[role] = usual[0]
        return found

    def _width(self, field: pa.Field) -> int:
        """The size of a column's lists, from their type or else the first list; 0 without one."""
        if pa.types.is_fixed_size_list(field.type):
            return int(field.type.list_size)
        if is_list(field.type):
            for batch in self._file.batches(1024, [field.name]):
                known = batch.column(0).drop_null()
                if len(known):
                    return len(known[0])
        return 0

    def _stored(self, names: Sequence[str]) -> list[str]:
        """The columns of the file that these are read from."""
        if HEALPIX.name in names and HEALPIX.name not in self._file.schema.names:
            position = [self.names["ra"], self.names["dec"]]
            return [*dict.fromkeys([*(n for n in names if n != HEALPIX.name), *position])]
        return list(names)

    def _with_healpix(self, table: pa.Table) -> pa.Table:
        """The table with the pixels of its positions, which the file has lost."""
        from targetsel.sky.positions import healpix_of

        position = [floats(table[self.names[role]]) for role in ("ra", "dec")]
        for values, role in zip(position, ("ra", "dec"), strict=True):
            self._check_known(pa.array(values), self.names[role])
        return table.append_column(HEALPIX, pa.array(healpix_of(*position)))

    def _meant(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """Columns as they stand in the file, in the types of the schema, in one piece.

        Quantiles that are not finite and in order, and correlations that are none, are null.
        """
        arrays = []
        if not {*names} <= {*table.column_names}:
            table = self._with_healpix(table)
        table = table.select(names)
        for name, column in zip(table.column_names, table.columns, strict=True):
            kind, array = self.schema.field(name).type, in_one_piece(column)
            if name == self.names["source_id"]:
                array = exact_ids(array, name, self.path)
            if name in (*self.names.values(), "_healpix_29"):
                self._check_known(array, name)
            if name.endswith((QUANTILES, CORRELATION, *LATENTS)) and is_list(kind):
                array = self._lists(array, name)
            if pa.types.is_boolean(kind):
                array = true_or_false(array, name, self.path)
            arrays.append(array if array.type == kind else array.cast(kind))
        return pa.table(arrays, schema=self.layout(table.column_names))

    @staticmethod
    def _is_scored(schema: pa.Schema) -> bool:
        """Whether a schema has a column that only scored files have."""
        of_truth_too = (STATUS, "latent_mean", *PROXIES)
        return any(
            each.name in schema.names
            for each in scored_columns(1, 1)
            if each.name not in of_truth_too
        )

    def _lacking(self, name: str, schema: pa.Schema | None = None) -> CatalogError:
        """The error where a column is missing that every scored file has."""
        schema = self.schema if schema is None else schema
        if not self._is_scored(schema):
            hint = did_you_mean(name, schema.names)
            return CatalogError(
                f"{self.path}: no column '{name}', so it is not a scored catalog.{hint} Make one "
                "with 'targetsel score'."
            )
        if name in LATENTS and is_slim(self.footer):
            return CatalogError(
                f"{self.path}: no column '{name}', which score --slim leaves out. Score the "
                "catalog, or the sources that you need it of, without --slim."
            )
        return CatalogError(
            f"{self.path}: no column '{name}', which score writes; a program that wrote the file "
            "since may have left it out. Name a file that has it, or score the catalog again."
        )

    def _check_known(self, array: pa.Array, name: str) -> None:
        """Refuse ids and positions that some sources lack."""
        lacking = array.null_count
        if pa.types.is_floating(array.type):
            lacking = len(array) - np.count_nonzero(np.isfinite(floats(array)))
        if lacking:
            raise CatalogError(
                f"{self.path}, column '{name}': {lacking:,} of {len(array):,} sources have none. "
                "Every source needs one: remove these rows, or score the catalog again."
            )

    def _check_size(self, name: str, found: int, expected: int) -> None:
        if found != expected:
            raise CatalogError(
                f"{self.path}, column '{name}': has a list of {found} numbers; expected {expected} "
                f"in each. {RESTORE}"
            )

    def _lists(self, array: pa.Array, name: str) -> pa.Array:
        """A column of lists of the size that the schema says, without rows that are no numbers."""
        kind = self.schema.field(name).type
        if not pa.types.is_fixed_size_list(array.type):
            for size in pc.unique(pc.list_value_length(array).drop_null()).to_pylist():
                if pa.types.is_fixed_size_list(kind):
                    self._check_size(name, size, kind.list_size)
        if not pa.types.is_fixed_size_list(kind) or name.endswith(LATENTS):
            return array
        values = matrix(array)
        with np.errstate(invalid="ignore"):
            if name.endswith(QUANTILES):
                good = np.isfinite(values).all(axis=1) & (np.diff(values, axis=1) >= 0).all(axis=1)
            else:
                good = (np.abs(values) <= 1 + 1e-6).all(axis=1)
        if pa.types.is_fixed_size_list(array.type) and (good | np.isnan(values).all(axis=1)).all():
            return array
        return list_column(values, kind, good)


def _sha256(note: object) -> str | None:
    return note.get("sha256") if isinstance(note, dict) else None


def _short(note: object) -> str:
    """The beginning of the hash of an ensemble or calibration, for errors."""
    return (_sha256(note) or "none")[:12]
