"""Scored files, alone or together with the rules that are evaluated on them.

A selection reads a file once, and only as much of it as matters. Left out are row groups outside
every footprint, row groups whose least and largest values fail the first condition of every
class, and columns that no condition asks for. Neither the outcome nor the counts depend on that:
a comparison with a missing value is never true, so statistics without NaN and null are enough.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial, reduce
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import CatalogError
from targetsel.expressions.functions import COMPARISONS
from targetsel.rules import formula as f
from targetsel.rules.catalog_part import Answer, CatalogPart
from targetsel.rules.plan import ClassFormulas, Plan, plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import STATUS, not_needed
from targetsel.scored.file import ROWS_PER_READ, ScoredFile
from targetsel.scored.known_match import KnownMatch, KnownSpectra, add_known
from targetsel.selection.class_reports import ClassReports
from targetsel.selection.funnel import ConditionCounter, Funnel
from targetsel.selection.membership import Membership, ids_serve, membership_of
from targetsel.selection.needed import (
    check_needed,
    over_all,
    possible_members,
    refuse_over_all,
)
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.sources import Sources, columns_read
from targetsel.sky.catalog import check_degrees
from targetsel.sky.positions import Region
from targetsel.spectra.proxies import QUANTILES
from targetsel.tables.columns import in_one_piece
from targetsel.tables.ids import repeated_ids
from targetsel.tables.text import plain_text
from targetsel.tables.types import is_list, is_text
from targetsel.tasks import task
from targetsel.workers.pool import map_bounded

ROWS_AT_A_TIME = 8192
ROWS_AT_ONCE = 32768  # where columns of lists are read


class ScoredSources(ScoredFile):
    """A scored file, open for reading its sources."""

    def __init__(self, path: Path, columns: Iterable[str] = ()) -> None:
        super().__init__(path, columns)
        for role in ("ra", "dec"):
            check_degrees(self.path, self.schema.field(self.names[role]))

    def sources(
        self, formulas: Iterable[f.Formula] = (), columns: Iterable[str] = ()
    ) -> Iterator[Sources]:
        """All sources, some thousands at a time, with the columns that formulas read, and others.

        Parameters
        ----------
        formulas : iterable of Formula
            To be evaluated on the sources.
        columns : iterable of str
            Columns needed besides; "source_id", "ra" and "dec" stand for those of the file.
        """
        wanted = {self.names.get(name, name) for name in columns}
        for formula in formulas:
            wanted |= columns_read(formula, self.schema)
        names = [name for name in self.schema.names if name in wanted]
        rows = ROWS_AT_A_TIME if any(n.endswith(QUANTILES) for n in names) else ROWS_PER_READ
        return map(Sources, self.tables(names, rows))

    def ids(self, sources: Sources) -> pa.Array:
        """The ids of some of the file's sources."""
        return in_one_piece(sources.table.column(self.names["source_id"]))

    def source(self, source_id: str) -> Sources:
        """The source with this id, written as text, with all columns.

        Raises
        ------
        CatalogError
            If there is none.
        """
        return Sources(self.row_of(source_id))

    def selected(
        self,
        classes: Sequence[ClassFormulas],
        counters: Sequence[ConditionCounter],
        columns: list[str],
        threads: int = 1,
    ) -> Iterator[Membership]:
        """The membership of all sources that any class selects, in the order of the file.

        There is at least one piece, which may be empty. A row group without a source for the
        first condition of any class is not read, unless a counter must see all sources.

        Parameters
        ----------
        classes : sequence of ClassFormulas
        counters : sequence of ConditionCounter
            One for each class.
        columns : list of str
            Columns that the membership keeps of its sources.
        threads : int
            Pieces of the file read at the same time.
        """
        texts = {
            column.name
            for each in counters
            for condition in each.conditions
            for column in f.columns(condition.formula)
            if column.type == "text"
        }
        numbers = self._numbers()
        starts = np.cumsum([0, *self.group_sizes])
        empty = self.layout(columns)
        nobody = np.zeros((0, len(counters)), dtype=bool)
        yield membership_of(nobody, classes, empty.empty_table(), np.empty(0, dtype=np.int64))

        has_lists = any(is_list(self.schema.field(name).type) for name in columns)
        at_once = ROWS_AT_ONCE if has_lists else ROWS_PER_READ
        together = self._together(counters, columns)

        def members(file: Self, groups: list[int]) -> Iterator[list[Membership]]:
            rows = np.concatenate([np.arange(starts[each], starts[each + 1]) for each in groups])
            rows = rows if numbers is None else numbers[rows]
            whole = _Rows(file, groups, len(rows), at_once, together)
            for start in range(0, len(rows), at_once):
                part = whole.slice(start)
                numbered = rows[start : start + at_once]
                yield self._members(classes, counters, columns, part, numbered)

        def in_a_thread(groups: list[int]) -> list[list[Membership]]:
            with self.again(texts) as file:
                return list(members(file, groups))

        groups = [
            group
            for group in range(len(self.group_sizes))
            if any(
                each.whole or self._may_be_true(each.conditions[0].formula, group)
                for each in counters
            )
        ]
        spans = list(self.spans(groups))
        sizes = [sum(self.group_sizes[group] for group in span) for span in spans]
        with self.again(texts) as file, task("choosing", sum(sizes), "sources") as advance:
            work = partial(members, file) if threads <= 1 else in_a_thread
            for pieces, size in zip(map_bounded(work, spans, threads), sizes, strict=True):
                yield from itertools.chain.from_iterable(pieces)
                advance(size)
        self._check_unique()

    def _together(
        self, counters: Sequence[ConditionCounter], columns: Sequence[str]
    ) -> list[list[str]]:
        """Columns that are used either all or not at all: those of conditions that are evaluated
        whatever comes of the others, and those that only the selected need."""
        of_conditions: set[str] = set()
        for each in counters:
            for condition in each.conditions:
                of_conditions |= columns_read(condition.formula, self.schema)
        sets = [[name for name in columns if name not in of_conditions]]
        if any(each.whole for each in counters):
            sets.append([name for name in self.schema.names if name in of_conditions])
        return sets

    def _check_unique(self) -> None:
        """Refuse a file that has a source more than once."""
        column = self.names["source_id"]
        repeated = repeated_ids(
            lambda: (in_one_piece(table.column(0)) for table in self.tables([column])),
            len(self),
        )
        if repeated:
            raise CatalogError(
                f"{self.path}: {len(repeated):,} of its sources are there more than once, such as "
                f"{column} {repeated[0]!r}. Remove the repeated rows, or score the catalog again."
            )

    def _members(
        self,
        classes: Sequence[ClassFormulas],
        counters: Sequence[ConditionCounter],
        columns: list[str],
        rows: _Rows,
        numbers: np.ndarray,
    ) -> list[Membership]:
        """The membership of the selected of some sources, which have these numbers, if any are."""
        sources = Sources(rows)
        passing = [each.passing(sources) for each in counters]
        chosen = np.flatnonzero(reduce(np.logical_or, passing))
        if not len(chosen):
            return []
        block, ids = rows.table(columns, chosen), numbers[chosen]
        if self._serve:
            ids = block.column(self.names["source_id"]).cast(pa.int64()).to_numpy()
        selected = np.stack([mask[chosen] for mask in passing], axis=1)
        return [membership_of(selected, classes, block, ids)]

    # --- ids ---

    def _numbers(self) -> np.ndarray | None:
        """The place of every row on the sky, where that is its target id and not its row number."""
        column = self.names["source_id"]
        groups = range(len(self.group_sizes))
        ends = [self.ends(group, column, nullable=False) for group in groups]
        if pa.types.is_integer(self.schema.field(column).type) and all(ends):
            self._serve = all(low >= 0 and high < 2**63 for low, high in ends)  # type: ignore[misc]
        else:
            self._serve = all(ids_serve(table.column(0)) for table in self.tables([column]))
        if self._serve or self._is_sorted():
            return None
        keys = [("_healpix_29", "ascending"), (column, "ascending")]
        table = pa.concat_tables(self.tables([name for name, _ in keys]))
        numbers = np.empty(len(table), dtype=np.int64)
        numbers[pc.sort_indices(table, sort_keys=keys).to_numpy()] = np.arange(len(table))
        return numbers

    def _is_sorted(self) -> bool:
        """Whether the rows are in the order of sky position and id, as `score` writes them."""
        column = self.names["source_id"]
        keys = [("_healpix_29", "ascending"), (column, "ascending")]
        last = None
        for table in self.tables([name for name, _ in keys]):
            if last is not None:
                table = pa.concat_tables([last, table])
            order = pc.sort_indices(table, sort_keys=keys).to_numpy()
            if (order != np.arange(len(order))).any():
                return False
            last = table.slice(len(table) - 1)
        return True

    # --- row groups that need not be read ---

    def _may_be_true(self, condition: f.Formula, group: int) -> bool:
        """Whether a row group may hold a source for which the condition is true."""
        match condition:
            case f.All(parts):
                return all(self._may_be_true(part, group) for part in parts)
            case f.Any(parts):
                return any(self._may_be_true(part, group) for part in parts)
            case f.TextIn(column, texts, False):
                return any(self.may_hold(group, column.name, each) for each in texts)
            case f.Lookup(Region() as region, (column,), False):
                ends = self.ends(group, column.name)
                return ends is None or region.overlaps(*ends)
            case f.Compare(operator, f.ColumnValue() as column, f.Constant(limit)):
                ends = self.ends(group, column.name)
                if ends is None or operator == "!=":
                    return True
                low, high = ends
                if operator == "==":
                    return low <= limit <= high
                return bool(COMPARISONS[operator](low if operator[0] == "<" else high, limit))
        return True


class _Rows:
    """Rows of some row groups, slice after slice. A column of a slice is read on first use.

    Parameters
    ----------
    num_rows : int
        In all row groups.
    at_once : int
        Rows of a slice.
    together : sequence of list of str
        Columns that are read with one another, which is quicker; all others each by itself.
    """

    def __init__(
        self,
        file: ScoredFile,
        groups: list[int],
        num_rows: int,
        at_once: int,
        together: Sequence[list[str]],
    ) -> None:
        self.schema = file.schema
        self.num_rows = num_rows
        self._file, self._groups, self._at_once = file, groups, at_once
        self._together = {name: names for names in together for name in names}
        self._start = 0
        self._known: dict[str, pa.Array] = {}  # columns of this slice
        self._streams: dict[str, _Stream] = {}  # of all slices, by the first of their columns

    def slice(self, start: int) -> _Rows:
        """The rows from this number on; they follow those of the slice before."""
        part = copy.copy(self)
        part._start, part.num_rows = start, min(self._at_once, self.num_rows - start)
        part._known = {}
        return part

    def column(self, name: str) -> pa.Array:
        if name not in self._known:
            names = self._together.get(name, [name])
            if names[0] not in self._streams:
                self._streams[names[0]] = self._stream(names)
            found = self._streams[names[0]].rows(self._start, self.num_rows)
            for each, values in zip(names, found.columns, strict=True):
                self._known[each] = in_one_piece(values)
        return self._known[name]

    def _stream(self, names: list[str]) -> _Stream:
        if sum(self._file.group_sizes[group] for group in self._groups) > self._at_once:
            return _Stream(self._file.tables(names, self._at_once, self._groups))
        return _Stream(iter([self._file.read(names, self._groups)]))

    def table(self, names: list[str], rows: np.ndarray) -> pa.Table:
        """Some of the columns of rows with these numbers in the slice, dictionaries written out."""
        places = pa.array(rows)
        columns = [self.column(name).take(places) for name in names]
        plain = [plain_text(each) if is_text(each.type) else each for each in columns]
        fields = [
            self.schema.field(name).with_type(each.type)
            for name, each in zip(names, plain, strict=True)
        ]
        return pa.table(plain, schema=pa.schema(fields, self.schema.metadata))


class _Stream:
    """Columns of some row groups, read from their beginning to their end."""

    def __init__(self, pieces: Iterator[pa.Table]) -> None:
        self._pieces = pieces
        self._piece, self._first = next(self._pieces), 0  # and the number of its first row

    def rows(self, start: int, n: int) -> pa.Table:
        """These rows, none of which comes before those asked for last."""
        found = []
        while True:
            behind = self._first + len(self._piece)
            if start < behind:
                found.append(self._piece.slice(start - self._first, n))
                start, n = start + len(found[-1]), n - len(found[-1])
            if n == 0:
                return pa.concat_tables(found) if len(found) > 1 else found[0]
            self._piece, self._first = next(self._pieces), behind


class ScoredCatalog:
    """A scored file together with rules, whose formulas are bound to its columns.

    Attributes
    ----------
    file : ScoredSources
    rules : Rules
    known : KnownMatch or None
        Which sources have a spectrum already, where files of spectra were given.
    plan : Plan
        The rules' formulas, in which quantiles of the catalog are still named.
    quantiles : mapping of CatalogQuantile to float
        The values of those quantiles.
    classes : dict of str to ClassFormulas
        The target classes by name, with the values of the quantiles. This and what it rests on is
        found when it is first asked for, with a `RuleError` if the rules do not fit the columns,
        and a `CatalogError` if some class could choose sources that were not needed when the
        catalog was scored.
    part : CatalogPart
        Says what the catalog decides alone.
    """

    def __init__(
        self,
        file: ScoredSources,
        rules: Rules,
        quantiles: Mapping[f.Formula, float] | None = None,
        known: KnownMatch | None = None,
    ) -> None:
        self.file, self.rules, self.known = file, rules, known
        if quantiles is not None:
            self.quantiles = quantiles

    @cached_property
    def plan(self) -> Plan:
        return plan(self.rules, self.file.schema)

    @cached_property
    def part(self) -> CatalogPart:
        return CatalogPart(self.file.schema)

    @cached_property
    def quantiles(self) -> Mapping[f.Formula, float]:
        refuse_over_all(self.file, self.rules, over_all(self.plan, self.part))
        wanted = self.plan.quantiles
        values = [each.value for each in wanted]
        return catalog_quantiles(wanted, lambda: self.file.sources(values))

    @cached_property
    def classes(self) -> dict[str, ClassFormulas]:
        bound = self.plan.with_values(self.quantiles)
        self.check_needed(
            {each.name: possible_members(self.part, self.rules, each) for each in bound.classes}
        )
        return {each.name: each for each in bound.classes}

    def check_needed(self, conditions: Mapping[str, Answer]) -> None:
        """Refuse a catalog in which sources were not needed for which one of these is true.

        Raises
        ------
        CatalogError
        """
        check_needed(self.file, conditions)

    def __getitem__(self, name: str) -> ClassFormulas:
        """The target class of that name."""
        return self.classes[self.rules[name].name]

    def of_spectra(self, name: str) -> list[f.Formula]:
        """The conditions of class `name` that say something about spectra.

        The conditions of its ``where``, and the negated ones of the classes under ``unless``.
        """
        own = [each.formula for each in self[name].conditions if each.step == "where"]
        others = (f.All(tuple(self.of_spectra(each))) for each in self.rules[name].unless)
        return own + [f.Except(each) for each in others]


@contextlib.contextmanager
def scored_catalog(
    path: Path,
    rules: Rules,
    quantiles: Mapping[f.Formula, float] | None = None,
    known: KnownSpectra | None = None,
) -> Iterator[ScoredCatalog]:
    """The scored file at a path, together with rules.

    Parameters
    ----------
    path : Path
    rules : Rules
    quantiles : mapping of CatalogQuantile to float, optional
        Quantiles of another catalog; by default the file is read for its own.
    known : KnownSpectra, optional
        Files of spectra that sources may have already: the file then has columns of it.

    Raises
    ------
    CatalogError
        If the file is missing, damaged or not a scored file; or as `KnownSpectra.match`.
    """
    with ScoredSources(path) as file:
        yield ScoredCatalog(file, rules, quantiles, add_known(file, known))


def funnel(rules: Rules, scored: Path, known: KnownSpectra | None = None) -> ClassReports[Funnel]:
    """The funnels of all classes over a scored file, of the sources needed there."""
    with scored_catalog(scored, rules, known=known) as catalog:
        file, classes = catalog.file, catalog.classes.values()
        counters = [ConditionCounter(each, catalog.part, whole=True) for each in classes]
        conditions = [part for each in classes for part in each.where]
        n_not_needed = 0
        for block in file.sources(conditions, [STATUS]):
            left_out = not_needed(block.table)
            n_not_needed += int(left_out.sum())
            needed = block.take(~left_out) if left_out.any() else block
            for each in counters:
                each.passing(needed)
        results = (each.result(len(file) - n_not_needed, n_not_needed) for each in counters)
        return ClassReports(results, "\n".join(catalog.known.lines) if catalog.known else "")
