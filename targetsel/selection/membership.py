"""Membership: the target classes that each source belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.brief import brief
from targetsel.errors import CatalogError
from targetsel.rules.catalog_part import CatalogPart
from targetsel.rules.plan import ClassFormulas, Plan, plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import column_names
from targetsel.selection.evaluation import all_hold, probability, value
from targetsel.selection.needed import (
    check_needed,
    over_all,
    possible_members,
    refuse_over_all,
)
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.sources import Sources, blocks_of

LEAST = np.iinfo(np.int32).min
_MATRICES = ("selected", "probability", "rank", "priority")
_OWN = "\0"  # begins the names of columns that are none of the sources'


@brief
@dataclass(frozen=True)
class Membership:
    """Membership of N sources in C target classes.

    Attributes
    ----------
    sources : pa.Table
        The N rows, in the scored layout.
    target_id : ndarray of int64, shape (N,)
        Each source's own id where all ids are integers from 0 to 2^63 - 1, else its place in the
        catalog sorted by sky position and id.
    names : tuple of C strings
        The target classes, in the order of the rule file.
    selected : ndarray of bool, shape (N, C)
        Whether every condition of the class is true.
    probability : ndarray, shape (N, C)
        For selected sources, the probability that what the class claims about its members' true
        proxies holds for this source (see `formula.truth`): its sum is the expected number of
        true members. 1 where the class claims nothing about them; NaN where the source has no
        posterior, or is not selected.
    rank : ndarray, shape (N, C)
        For selected sources, the class's ``rank``; NaN elsewhere, and where it is missing.
    priority : ndarray of int32, shape (N, C)
        For selected sources, the class's priority; the smallest int32 elsewhere.
    """

    sources: pa.Table
    target_id: np.ndarray
    names: tuple[str, ...]
    selected: np.ndarray
    probability: np.ndarray
    rank: np.ndarray
    priority: np.ndarray

    def __len__(self) -> int:
        return self.sources.num_rows

    def take(self, rows: np.ndarray) -> Membership:
        """The rows with these indices, in that order."""
        arrays = {name: getattr(self, name)[rows] for name in ("target_id", *_MATRICES)}
        return replace(self, sources=self.sources.take(pa.array(rows, pa.int64())), **arrays)

    @staticmethod
    def concatenate(pieces: list[Membership]) -> Membership:
        """One membership of all rows, in the order of the pieces; there is at least one."""
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(piece, name) for piece in pieces])
            for name in ("target_id", *_MATRICES)
        }
        tables = [piece.sources for piece in pieces]
        return replace(pieces[0], sources=pa.concat_tables(tables), **arrays)

    def only(self, selected: np.ndarray) -> Membership:
        """The sources that any class still selects, given a smaller selection of shape (N, C)."""
        left = replace(
            self,
            selected=selected,
            probability=np.where(selected, self.probability, np.nan),
            rank=np.where(selected, self.rank, np.nan),
            priority=np.where(selected, self.priority, LEAST),
        )
        return left.take(np.flatnonzero(selected.any(axis=1)))

    def in_order_of_the_sky(self) -> Membership:
        """The same, sorted by sky position and target id."""
        healpix = self.sources["_healpix_29"].to_numpy()
        return self.take(np.lexsort((self.target_id, healpix)))

    def to_table(self) -> pa.Table:
        """The membership as one table: the sources, and a column for each of the arrays."""
        table = self.sources.append_column(f"{_OWN}target_id", pa.array(self.target_id, pa.int64()))
        for name in _MATRICES:
            flat = pa.array(np.ascontiguousarray(getattr(self, name)).reshape(-1))
            lists = pa.FixedSizeListArray.from_arrays(flat, len(self.names))
            table = table.append_column(f"{_OWN}{name}", lists)
        return table

    @classmethod
    def from_table(cls, table: pa.Table, names: tuple[str, ...]) -> Membership:
        """The membership that `to_table` wrote down, of the classes with these names."""
        own = {name: table.column(f"{_OWN}{name}") for name in ("target_id", *_MATRICES)}
        target_id = own.pop("target_id").to_numpy()
        flat = (each.combine_chunks().flatten() for each in own.values())
        matrices = (each.to_numpy(zero_copy_only=False).reshape(-1, len(names)) for each in flat)
        sources = table.drop_columns([each for each in table.column_names if each[:1] == _OWN])
        return cls(sources, target_id, names, *matrices)


def apply_rules(rules: Rules, scored: pa.Table | pa.RecordBatch) -> Membership:
    """The membership of every scored source in every class.

    Parameters
    ----------
    rules : Rules
    scored : pa.Table or pa.RecordBatch
        N sources in the scored layout; for rules that only name measured columns, any table.

    Returns
    -------
    Membership
        Probabilities of shape (N, C), for C classes.

    Raises
    ------
    RuleError
        If the rules do not fit the table's columns.
    CatalogError
        If a class could choose sources that were not needed when the catalog was scored.

    See Also
    --------
    score_rows : Makes the table.
    rank : Make a target list of the memberships.

    Examples
    --------
    >>> import targetsel as ts
    >>> rules = ts.Rules.read("emission")
    >>> scored = ts.read("catalog.scored.parquet", "scored")
    >>> membership = ts.apply_rules(rules, scored.to_arrow())
    >>> targets = ts.rank(membership, rules)
    """
    table = scored if isinstance(scored, pa.Table) else pa.Table.from_batches([scored])
    return apply_plan(rules, plan(rules, table.schema), table)


def apply_plan(rules: Rules, wanted: Plan, table: pa.Table) -> Membership:
    """`apply_rules` of rules that were planned for the columns of the table before."""
    part = CatalogPart(table.schema)
    refuse_over_all(table, rules, over_all(wanted, part))
    values = catalog_quantiles(wanted.quantiles, lambda: blocks_of(table))
    classes = wanted.with_values(values).classes
    check_needed(table, {each.name: possible_members(part, rules, each) for each in classes})
    target_id = _target_ids(table)
    pieces = []
    for sources in blocks_of(table):
        selected = np.stack([all_hold(each.where, sources) for each in classes], axis=1)
        ids, target_id = np.split(target_id, [len(sources)])
        pieces.append(membership_of(selected, classes, sources.table, ids))
    return Membership.concatenate(pieces)


def membership_of(
    selected: np.ndarray,
    classes: Sequence[ClassFormulas],
    block: pa.Table,
    target_id: np.ndarray,
) -> Membership:
    """The membership of N sources, given the classes that select each, shape (N, C)."""
    likely, rank = np.full(selected.shape, np.nan), np.full(selected.shape, np.nan)
    priority = np.full(selected.shape, LEAST, dtype=np.int32)
    sources = Sources(block.combine_chunks())
    for c, each in enumerate(classes):
        rows = np.flatnonzero(selected[:, c])
        members = sources.take(rows)
        likely[rows, c] = 1.0 if each.truth is None else probability(each.truth, members)
        if each.rank is not None:
            rank[rows, c] = value(each.rank, members)
        wanted = np.clip(np.rint(value(each.priority, members)), -(2**31), 2**31 - 1)
        priority[rows, c] = wanted.astype(np.int32)
    names = tuple(each.name for each in classes)
    return Membership(block, target_id, names, selected, likely, rank, priority)


def _target_ids(table: pa.Table) -> np.ndarray:
    """See `Membership.target_id`; shape (N,)."""
    id_column = column_names(table.schema)["source_id"]
    if id_column in table.column_names and ids_serve(table.column(id_column)):
        return table.column(id_column).cast(pa.int64()).to_numpy()
    keys = [
        (name, "ascending") for name in ("_healpix_29", id_column) if name in table.column_names
    ]
    place = np.arange(table.num_rows)
    if keys:
        order = pc.sort_indices(table.select([name for name, _ in keys]), sort_keys=keys)
        place[order.to_numpy()] = np.arange(table.num_rows)
    return place


def ids_serve(ids: pa.Array | pa.ChunkedArray) -> bool:
    """Whether these ids can be target ids: integers from 0 to 2^63 - 1."""
    if not pa.types.is_integer(ids.type) or ids.null_count:
        return False
    ends = pc.min_max(ids)
    return len(ids) == 0 or (ends["min"].as_py() >= 0 and ends["max"].as_py() < 2**63)


def check_unique(target_id: np.ndarray, place: Path | str = "the catalog") -> None:
    """Refuse targets of which one is there twice.

    Raises
    ------
    CatalogError
    """
    ids, counts = np.unique(target_id, return_counts=True)
    if (counts > 1).any():
        raise CatalogError(
            f"{place}: {int((counts > 1).sum()):,} of its targets are there more than once, such "
            f"as {ids[counts > 1][0]}. Remove the repeated rows, or score the catalog again."
        )
