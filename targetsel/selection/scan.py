"""A scored file, read once for the sources that any class selects.

What cannot contribute is not read: row groups that lie outside every footprint, or whose least
and largest values already fail a condition; and, where no row of a row group obeys the quick
conditions of any class, its other columns. Neither changes the outcome: a comparison with a
missing value is never true, so that statistics that leave NaN and null aside are enough.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from targetsel.errors import CatalogError
from targetsel.parquet import read_footer
from targetsel.selection import formula as f
from targetsel.selection.evaluation import Sources, holds
from targetsel.selection.footprint import Region
from targetsel.selection.functions import COMPARISONS
from targetsel.selection.meaning import column_names
from targetsel.selection.membership import Membership, evaluate_block, ids_serve, posterior_needed
from targetsel.selection.steps import ClassFormulas, Plan, needs_posterior
from targetsel.selection.target_list import columns_needed

ROWS_AT_A_TIME = 8192
ROWS_PER_LOOK = 65_536  # at the quick columns
POSTERIOR = ("proxy_quantiles", "proxy_correlation")


class Onlooker(Protocol):
    """Whoever wants to see every source, such as `funnel.FunnelCounts`."""

    def see(self, sources: Sources) -> None: ...


@dataclass(frozen=True)
class _Task:
    """What is to be read: the columns needed, those looked at first, and who looks on."""

    plan: Plan
    needed: list[str]
    quick: list[str]
    onlookers: tuple[Onlooker, ...]
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def show(self, sources: Sources) -> None:
        with self.one_at_a_time:
            for each in self.onlookers:
                each.see(sources)


class ScoredFile:
    """A scored Parquet file, open for reading.

    Attributes
    ----------
    schema : pa.Schema
    names : dict
        What the file calls its `source_id`, `ra` and `dec`.
    """

    def __init__(self, path: Path, file: pq.ParquetFile) -> None:
        self.path = path
        self.schema = file.schema_arrow
        self.names = column_names(self.schema)
        self._file = file
        self._metadata = file.metadata
        columns = [self._metadata.schema.column(i) for i in range(self._metadata.num_columns)]
        self._place = {each.path: i for i, each in enumerate(columns)}

    def __len__(self) -> int:
        return self._metadata.num_rows

    def sources(self, formulas: Iterable[f.Formula]) -> Iterator[Sources]:
        """All sources, a few thousand at a time, with the columns that these formulas look at."""
        wanted: set[str] = set()
        for formula in formulas:
            wanted |= {column.name for column in f.columns(formula)}
            if needs_posterior(formula):
                wanted |= {*POSTERIOR}
        names = [name for name in self.schema.names if name in wanted]
        rows = ROWS_AT_A_TIME if wanted & {*POSTERIOR} else ROWS_PER_LOOK
        for table in _batches(self._file, range(self._file.num_row_groups), names, rows):
            yield Sources(self._shaped(table))

    def selected(
        self, plan: Plan, threads: int = 1, onlookers: Sequence[Onlooker] = ()
    ) -> Iterator[Membership]:
        """The membership of all sources that any class selects, in the order of the file.

        There is at least one piece, which may be empty. With `onlookers`, all rows are read, and
        each of them sees all sources.
        """
        numbers = self._numbers()
        starts = np.cumsum([0, *map(self._rows_in, range(self._file.num_row_groups))])
        needed = columns_needed(plan.classes, self.schema, posterior_needed(plan.classes))
        quick = _columns_of_where(plan, needed) if onlookers else _quick(plan, needed)
        task = _Task(plan, needed, quick, tuple(onlookers))
        empty = pa.schema([self.schema.field(name) for name in needed], self.schema.metadata)
        yield evaluate_block(plan.classes, empty.empty_table(), np.empty(0, dtype=np.int64))

        def look(groups: list[int]) -> list[Membership]:
            rows = np.concatenate([np.arange(starts[each], starts[each + 1]) for each in groups])
            rows = rows if numbers is None else numbers[rows]
            return list(self._selected_in(task, groups, rows))

        groups = (
            group
            for group in range(self._file.num_row_groups)
            if onlookers or any(self._may_hold(each, group) for each in plan.classes)
        )
        for pieces in _in_order(look, _spans(self._metadata, groups), threads):
            yield from pieces

    def _selected_in(
        self, task: _Task, groups: list[int], rows: np.ndarray
    ) -> Iterator[Membership]:
        """The membership of the selected sources of some row groups; `rows` are their numbers."""
        with pq.ParquetFile(self.path, metadata=self._metadata) as file:
            promising, tables = self._promising(task, file, groups, len(rows))
            if not promising.any():
                return
            known = pa.concat_tables(tables) if tables else None
            others = [name for name in task.needed if name not in task.quick] or ["_healpix_29"]
            rows, first, done = rows[promising], 0, 0
            waiting: list[pa.Table] = []
            for table in _batches(file, groups, others, ROWS_AT_A_TIME):
                here = promising[first : first + len(table)]
                first += len(table)
                waiting.append(table if here.all() else table.filter(pa.array(here)))
                n = sum(map(len, waiting))
                if n >= ROWS_AT_A_TIME or (first == len(promising) and n):
                    block = pa.concat_tables(waiting)
                    if known is not None:
                        block = _beside(block, known.slice(done, n))
                    yield self._members(task.plan, block.select(task.needed), rows[done : done + n])
                    waiting, done = [], done + n

    def _members(self, plan: Plan, block: pa.Table, rows: np.ndarray) -> Membership:
        block = self._shaped(block)
        if self._serve:
            rows = block.column(self.names["source_id"]).cast(pa.int64()).to_numpy()
        piece = evaluate_block(plan.classes, block, rows)
        return piece.take(np.flatnonzero(piece.selected.any(axis=1)))

    def _promising(
        self, task: _Task, file: pq.ParquetFile, groups: list[int], rows: int
    ) -> tuple[np.ndarray, list[pa.Table]]:
        """Which of the rows obey the quick conditions of any class, and their quick columns."""
        if not task.quick:
            return np.ones(rows, dtype=bool), []
        conditions = [_quick_conditions(each) for each in task.plan.classes]
        masks, tables = [], []
        for table in _batches(file, groups, task.quick, ROWS_PER_LOOK):
            table = self._shaped(table)
            sources = Sources(table)
            task.show(sources)
            mask = np.logical_or.reduce([_obeying(sources, each) for each in conditions])
            masks.append(mask)
            tables.append(table.filter(pa.array(mask)) if not mask.all() else table)
        return np.concatenate([np.empty(0, dtype=bool), *masks]), tables

    def _shaped(self, table: pa.Table) -> pa.Table:
        """The table with our field and file metadata, and dictionaries as their values."""
        layout = pa.schema([self.schema.field(n) for n in table.column_names], self.schema.metadata)
        return table.cast(layout).combine_chunks()

    def _rows_in(self, group: int) -> int:
        return self._metadata.row_group(group).num_rows

    # --- ids ---

    def _numbers(self) -> np.ndarray | None:
        """The place of every row on the sky, where that is its target id and not its row number."""
        column = self.names["source_id"]
        groups = range(self._file.num_row_groups)
        ends = [self._ends(group, column, nullable=False) for group in groups]
        if pa.types.is_integer(self.schema.field(column).type) and all(ends):
            self._serve = all(low >= 0 and high < 2**63 for low, high in ends)  # type: ignore[misc]
        else:
            tables = _batches(self._file, groups, [column], ROWS_PER_LOOK)
            self._serve = all(ids_serve(table.column(0)) for table in tables)
        if self._serve or self._is_sorted():
            return None
        keys = [("_healpix_29", "ascending"), (column, "ascending")]
        table = self._file.read(columns=[name for name, _ in keys])
        numbers = np.empty(len(table), dtype=np.int64)
        numbers[pc.sort_indices(table, sort_keys=keys).to_numpy()] = np.arange(len(table))
        return numbers

    def _is_sorted(self) -> bool:
        """Whether the rows are in the order of sky position and id, as `score` writes them."""
        column = self.names["source_id"]
        keys = [("_healpix_29", "ascending"), (column, "ascending")]
        last = None
        for table in _batches(
            self._file, range(self._file.num_row_groups), [k for k, _ in keys], ROWS_PER_LOOK
        ):
            if last is not None:
                table = pa.concat_tables([last, table])
            order = pc.sort_indices(table, sort_keys=keys).to_numpy()
            if (order != np.arange(len(order))).any():
                return False
            last = table.slice(len(table) - 1)
        return True

    # --- row groups that need not be read ---

    def _may_hold(self, target_class: ClassFormulas, group: int) -> bool:
        """Whether a row group may hold a member of a class, from its statistics."""
        return all(self._may_be_true(part, group) for part in target_class.where)

    def _may_be_true(self, condition: f.Formula, group: int) -> bool:
        match condition:
            case f.All(parts):
                return all(self._may_be_true(part, group) for part in parts)
            case f.Any(parts):
                return any(self._may_be_true(part, group) for part in parts)
            case f.Lookup(Region() as region, (column,), False):
                ends = self._ends(group, column.name)
                return ends is None or region.overlaps(*ends)
            case f.Compare(operator, f.Column() as column, f.Constant(limit)):
                ends = self._ends(group, column.name)
                if ends is None or operator == "!=":
                    return True
                low, high = ends
                if operator == "==":
                    return low <= limit <= high
                return bool(COMPARISONS[operator](low if operator[0] == "<" else high, limit))
        return True

    def _ends(self, group: int, column: str, nullable: bool = True) -> tuple | None:
        """The least and the largest value of a column of numbers; None where that is unknown."""
        place = self._place.get(column)
        if place is None:
            return None
        statistics = self._metadata.row_group(group).column(place).statistics
        if statistics is None or not statistics.has_min_max:
            return None
        if not nullable and (not statistics.has_null_count or statistics.null_count):
            return None
        ends = (statistics.min, statistics.max)
        usable = all(isinstance(end, int | float) and end == end for end in ends)
        return ends if usable and not isinstance(ends[0], bool) else None


@contextlib.contextmanager
def scored_file(path: Path) -> Iterator[ScoredFile]:
    """The scored file at a path.

    Raises
    ------
    CatalogError
        If it is missing, damaged or not a scored file.
    """
    path = Path(path)
    read_footer(path)
    try:
        with pq.ParquetFile(path) as file:
            opened = ScoredFile(path, file)
            for name in ("_healpix_29", *opened.names.values()):
                if name not in opened.schema.names:
                    raise CatalogError(
                        f"{path}: no column '{name}'; this is not a scored file. Make one with "
                        "targetsel score."
                    )
            yield opened
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CatalogError(f"{path}: damaged ({reason}). Score the catalog again.") from error


def _batches(
    file: pq.ParquetFile, groups: Iterable[int], columns: list[str], rows: int
) -> Iterator[pa.Table]:
    # A reader of many row groups keeps what it has read of all of them.
    for span in _spans(file.metadata, groups):
        for batch in file.iter_batches(rows, span, columns, use_threads=False):
            yield pa.Table.from_batches([batch]).select(columns)


def _spans(metadata: pq.FileMetaData, groups: Iterable[int]) -> Iterator[list[int]]:
    """The row groups, so many at a time as make a look."""
    span: list[int] = []
    rows = 0
    for group in groups:
        more = metadata.row_group(group).num_rows
        if span and rows + more > ROWS_PER_LOOK:
            yield span
            span, rows = [], 0
        span.append(group)
        rows += more
    if span:
        yield span


def _beside(block: pa.Table, known: pa.Table) -> pa.Table:
    for name in known.column_names:
        if name not in block.column_names:
            block = block.append_column(known.schema.field(name), known.column(name))
    return block


def _quick_conditions(target_class: ClassFormulas) -> list[f.Formula]:
    return [formula for formula in target_class.where if not needs_posterior(formula)]


def _quick(plan: Plan, needed: list[str]) -> list[str]:
    """The columns of the conditions without probabilities; none if a class has none such."""
    quick: set[str] = set()
    for each in plan.classes:
        formulas = _quick_conditions(each)
        if not formulas:
            return []
        quick |= {column.name for formula in formulas for column in f.columns(formula)}
    return [name for name in needed if name in quick]


def _columns_of_where(plan: Plan, needed: list[str]) -> list[str]:
    """The columns of all conditions."""
    formulas = [formula for each in plan.classes for formula in each.where]
    wanted = {column.name for formula in formulas for column in f.columns(formula)}
    if any(needs_posterior(formula) for formula in formulas):
        wanted |= {*POSTERIOR}
    return [name for name in needed if name in wanted]


def _obeying(sources: Sources, conditions: list[f.Formula]) -> np.ndarray:
    """Whether each source obeys all of these conditions, shape (N,).

    To compare them all is quicker than to pick out the rows that are left, until few are.
    """
    obeying = np.ones(len(sources), dtype=bool)
    for n, condition in enumerate(conditions):
        obeying &= holds(condition, sources)
        if (left := np.count_nonzero(obeying)) * 8 < len(sources):
            if left:
                obeying[obeying] = _obeying(sources.take(obeying), conditions[n + 1 :])
            break
    return obeying


def _in_order(work: Callable, items: Iterable, threads: int) -> Iterator:
    """What `work` makes of the items, in their order, several at a time."""
    if threads <= 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
