"""Membership: the target classes that each source belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import CatalogError
from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas, plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import column_names
from targetsel.selection.evaluation import all_hold, holds, probability, value
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.sources import DrawnSources, Sources, blocks_of
from targetsel.tables.columns import floats

LEAST = np.iinfo(np.int32).min
_MATRICES = ("selected", "probability", "rank", "priority")
_OWN = "\0"  # begins the names of columns that are none of the sources'


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
        return Membership(
            self.sources.take(pa.array(rows, pa.int64())),
            self.target_id[rows],
            self.names,
            self.selected[rows],
            self.probability[rows],
            self.rank[rows],
            self.priority[rows],
        )

    @classmethod
    def concatenate(cls, pieces: list[Membership]) -> Membership:
        """One membership of all rows, in the order of the pieces; there is at least one."""
        return cls(
            pa.concat_tables([piece.sources for piece in pieces]),
            np.concatenate([piece.target_id for piece in pieces]),
            pieces[0].names,
            np.concatenate([piece.selected for piece in pieces]),
            np.concatenate([piece.probability for piece in pieces]),
            np.concatenate([piece.rank for piece in pieces]),
            np.concatenate([piece.priority for piece in pieces]),
        )

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


def evaluate(rules: Rules, scored: pa.Table | pa.RecordBatch) -> Membership:
    """The membership of every scored source in every class.

    Parameters
    ----------
    rules : Rules
    scored : pa.Table or pa.RecordBatch
        N sources in the scored layout; for rules that only name measured columns, any table.

    Raises
    ------
    RuleError
        If the rules do not fit the table's columns.
    """
    table = scored if isinstance(scored, pa.Table) else pa.Table.from_batches([scored])
    wanted = plan(rules, table.schema)
    values = catalog_quantiles(wanted.quantiles, lambda: blocks_of(table))
    classes = wanted.with_values(values).classes
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


def truth(
    rules: Rules, name: str, scored: pa.Table, measured: Mapping[str, np.ndarray] | pa.Table
) -> np.ndarray:
    """Whether what class `name` claims about its members holds for each source, shape (N,).

    `Membership.probability` is the probability of the same claim; here it is evaluated on proxies
    measured on real spectra.

    Parameters
    ----------
    rules : Rules
    name : str
        The target class.
    scored : pa.Table
        N sources in the scored layout; for the meaning of names, and for measured columns.
    measured : mapping of proxy name to ndarray, shape (N,)
        True proxies of the same sources in the same order, in the units of `scored`; NaN where
        one could not be measured. An Arrow table with such columns serves as well.

    Raises
    ------
    CatalogError
        If a proxy that the class names was not measured.
    """
    rules[name]
    (claim,) = (each.truth for each in plan(rules, scored.schema).classes if each.name == name)
    if claim is None:
        return np.ones(scored.num_rows, dtype=bool)
    values = {}
    for proxy in sorted(f.proxies(claim)):
        try:
            column = measured[proxy]
        except KeyError:
            raise CatalogError(
                f"class {name} speaks of '{proxy}', which was not measured"
            ) from None
        is_arrow = isinstance(column, pa.Array | pa.ChunkedArray)
        values[proxy] = floats(column) if is_arrow else np.asarray(column)
    return comes_true(claim, Sources(scored), values)


def comes_true(
    claim: f.Formula, sources: Sources, measured: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Whether a claim holds for proxies measured on real spectra, shape (N,).

    `measured` gives every proxy of the claim, shape (N,), NaN where it could not be measured; the
    sources give everything else.
    """
    values = {proxy: measured[proxy][:, None].astype(np.float64) for proxy in f.proxies(claim)}
    true = holds(claim, DrawnSources(sources, values))
    return np.broadcast_to(true, (len(sources), 1))[:, 0]
