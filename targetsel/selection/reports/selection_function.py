"""The selection function: how probable it was that a source would be chosen.

Of the sources that obey a class's conditions (its *candidates*), chance and competition choose:
``sample``, ``dedup``, ``limit``. The chance of a candidate is

    inclusion = sample * (kept / sampled, in its cell),

where a cell is the candidate's pixel of the limit per square degree (the whole sky without one)
and, if the limit goes by ``rank``, its twentieth of the candidates' ranks. With ``by: hash`` that
is the chance that the hash gave it, and 1 / inclusion is an unbiased weight. With ``by: rank`` no
chance was involved: the numbers describe what was done, but no weight can bring back sources that
had none; the file says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.rules import formula as f
from targetsel.rules.classes import TargetClass
from targetsel.rules.plan import ClassFormulas, plan
from targetsel.rules.rules import Rules
from targetsel.selection.candidates import ids_of
from targetsel.selection.evaluation import passing, value
from targetsel.selection.guarantee import guaranteed, guarantees
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.reports.density import order_of
from targetsel.selection.scan import ScoredFile, scored_file
from targetsel.selection.sources import Sources
from targetsel.selection.target_list import TargetList
from targetsel.selection.trial import members, trial
from targetsel.tables.files import check_output
from targetsel.tables.parquet import ParquetSink, described, write_table

FORMAT = "targetsel/inclusion/v1"
MAP_FORMAT = "targetsel/map/v1"
RANK_BINS = 20


@dataclass(frozen=True)
class Inclusion:
    """What became of a class's candidates.

    Attributes
    ----------
    n_candidates, n_selected : int
        Sources that obey the conditions, and those in the target list.
    randomised : bool
        Whether only chance decided, so that 1 / inclusion is an unbiased weight.
    """

    name: str
    n_candidates: int
    n_selected: int
    randomised: bool


def write_selection_function(
    rules: Rules,
    scored: Path,
    output: Path,
    map_output: Path,
    nside: int = 64,
    known: tuple[Path, Path] | None = None,
) -> tuple[Inclusion, ...]:
    """Write every target's inclusion probability, and a map of their mean.

    Parameters
    ----------
    rules : Rules
    scored : Path
    output : Path
        Parquet: the targets' ids and positions, and for every class a column
        ``inclusion_<CLASS>``, null where a target is none of the class.
    map_output : Path
        Parquet: ``pixel``, HEALPix nested, of every pixel with a candidate; for every class
        ``candidates_<CLASS>``, their number, and ``inclusion_<CLASS>``, their mean inclusion, null
        where it has none. The footer gives the order.
    nside : int
        Of the map: a power of two.
    known : tuple of Path, optional
        See `select`.
    """
    order = order_of(nside)
    for path in (output, map_output):
        check_output(path, (scored, *(known or ())))
    targets = trial(rules, scored, known)
    found = []
    columns, maps = {}, {}
    with scored_file(scored) as file:
        wanted = guaranteed(plan(rules, file.schema), guarantees(rules, scored, known))
        values = catalog_quantiles(
            wanted.quantiles, lambda: file.sources(each.value for each in wanted.quantiles)
        )
        formulas = wanted.with_values(values).classes
        for each, asked in zip(rules.classes, formulas, strict=True):
            work = _Class(each, asked, file, members(targets, each.name))
            work.count()
            ids, chance, maps[each.name] = work.inclusion(order)
            columns[each.name] = _beside(targets, ids, chance)
            found.append(work.summary)
    footer = {
        "format": FORMAT,
        "rules": rules.text,
        "rules_sha256": rules.sha256,
        "randomised": {each.name: each.randomised for each in found},
    }
    _write_sources(output, targets, columns, footer)
    _write_map(map_output, maps, footer | {"format": MAP_FORMAT, "order": order, "nside": nside})
    return tuple(found)


class _Class:
    """The work on one class."""

    def __init__(
        self, target_class: TargetClass, asked: ClassFormulas, file: ScoredFile, chosen: pa.Array
    ) -> None:
        self.file, self.chosen = file, chosen
        self.limit, self.share = target_class.limit, target_class.sample or 1.0
        self.name, self.rank = target_class.name, asked.rank
        conditions = asked.conditions
        self.before = [each.formula for each in conditions if each.step != "sample"]
        self.sample = [each.formula for each in conditions if each.step == "sample"]
        self.by_rank = bool(self.limit) and self.limit.by == "rank" and asked.rank is not None
        self.competes = bool(self.limit) or target_class.dedup is not None
        self.randomised = not self.by_rank and target_class.dedup is None
        self.cells = np.empty(0, dtype=np.int64)
        self.counts = np.empty((0, 2), dtype=np.int64)  # sampled, kept
        self.n_candidates = 0

    @property
    def summary(self) -> Inclusion:
        return Inclusion(self.name, self.n_candidates, len(self.chosen), self.randomised)

    def _blocks(self) -> Iterator[Sources]:
        """The candidates."""
        columns = [ids_of(self.file), f.Column("_healpix_29")]
        rank = [] if self.rank is None else [self.rank]
        for block in self.file.sources([*self.before, *self.sample, *rank, *columns]):
            yield block.take(passing(self.before, block))

    def _edges(self) -> np.ndarray:
        """The ranks that part the candidates into twentieths."""
        if not self.by_rank or self.rank is None:
            return np.empty(0)
        levels = np.arange(1, RANK_BINS) / RANK_BINS
        wanted = [f.CatalogQuantile(self.rank, float(level)) for level in levels]
        found = np.array(list(catalog_quantiles(wanted, self._blocks).values()))
        return np.unique(found[np.isfinite(found)])

    def _cell(self, sources: Sources, edges: np.ndarray) -> np.ndarray:
        """The cell of each source, shape (N,)."""
        cell = np.zeros(len(sources), dtype=np.int64)
        if self.limit.per_deg2 is not None:
            order = self.limit.nside.bit_length() - 1
            cell = sources.table["_healpix_29"].to_numpy() >> 2 * (29 - order)
        if not self.by_rank or self.rank is None:
            return cell
        rank = np.broadcast_to(value(self.rank, sources), len(sources))
        place = np.where(np.isnan(rank), 0, 1 + np.searchsorted(edges, rank))
        return cell * (RANK_BINS + 1) + place

    def count(self) -> None:
        """Count the sampled and the kept of every cell."""
        self.edges = self._edges()
        for block in self._blocks():
            self.n_candidates += len(block)
            if self.competes:
                sampled = block.take(passing(self.sample, block))
                kept = _are_in(sampled, self.file, self.chosen)
                self._add(self._cell(sampled, self.edges), kept)

    def _add(self, cells: np.ndarray, kept: np.ndarray) -> None:
        here, own = np.unique(cells, return_inverse=True)
        counts = np.stack([np.bincount(own), np.bincount(own, kept)], axis=1).astype(np.int64)
        joined, own = np.unique(np.concatenate([self.cells, here]), return_inverse=True)
        total = np.zeros((len(joined), 2), dtype=np.int64)
        np.add.at(total, own, np.concatenate([self.counts, counts.reshape(-1, 2)]))
        self.cells, self.counts = joined, total

    def inclusion(self, order: int) -> tuple[pa.Array, np.ndarray, pa.Table]:
        """Ids and inclusion of the members, and the map of all candidates' mean."""
        ids, chances = [self.chosen.slice(0, 0)], [np.empty(0)]
        pixels, sums = np.empty(0, dtype=np.int64), np.empty((0, 2))
        for block in self._blocks():
            chance = np.full(len(block), self.share)
            if self.competes:
                ratio = self.counts[:, 1] / np.maximum(self.counts[:, 0], 1)
                cell = self._cell(block, self.edges)
                place = np.searchsorted(self.cells, cell)
                place = np.minimum(place, len(self.cells) - 1)
                known = len(self.cells) > 0 and self.cells[place] == cell
                chance = chance * np.where(known, ratio[place], 0.0)
            member = _are_in(block, self.file, self.chosen)
            ids.append(_ids(block, self.file).filter(pa.array(member)))
            chances.append(chance[member])
            here = block.table["_healpix_29"].to_numpy() >> 2 * (29 - order)
            joined, own = np.unique(np.concatenate([pixels, here]), return_inverse=True)
            total = np.zeros((len(joined), 2))
            more = np.stack([np.ones(len(block)), chance], axis=1)
            np.add.at(total, own, np.concatenate([sums, more]))
            pixels, sums = joined, total
        table = pa.table({"pixel": pixels, "n": sums[:, 0].astype(np.int64), "sum": sums[:, 1]})
        return pa.concat_arrays(ids), np.concatenate(chances), table


def _ids(sources: Sources, file: ScoredFile) -> pa.Array:
    column = sources.table.column(file.names["source_id"])
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _are_in(sources: Sources, file: ScoredFile, chosen: pa.Array) -> np.ndarray:
    return pc.is_in(_ids(sources, file), chosen).to_numpy(zero_copy_only=False)


def _beside(targets: TargetList, ids: pa.Array, chance: np.ndarray) -> pa.Array:
    """The chances in the order of the target list, null for targets without."""
    place = pc.index_in(targets.table["source_id"].combine_chunks(), ids)
    return pc.take(pa.array(chance), place)


def _write_sources(
    path: Path, targets: TargetList, columns: dict[str, pa.Array], footer: dict
) -> None:
    kept = ("target_id", "source_id", "_healpix_29", "ra", "dec")
    table = targets.table.select(kept)
    for name, values in columns.items():
        about = f"Probability that this candidate of {name} is chosen"
        field = described(f"inclusion_{name}", pa.float64(), "", "stat.probability", about)
        table = table.append_column(field, values)
    write_table(table, path, footer)


def _write_map(path: Path, maps: dict[str, pa.Table], footer: dict) -> None:
    pixels = np.unique(np.concatenate([each["pixel"].to_numpy() for each in maps.values()]))
    order = footer["order"]
    fields = [
        described("pixel", pa.int64(), "", "pos.healpix", f"HEALPix, nested, order {order}", False)
    ]
    arrays = [pa.array(pixels)]
    for name, table in maps.items():
        place = pc.index_in(pa.array(pixels), table["pixel"].combine_chunks())
        n, total = (pc.take(table[key].combine_chunks(), place) for key in ("n", "sum"))
        fields.append(described(f"candidates_{name}", pa.int64(), "", "meta.number"))
        fields.append(described(f"inclusion_{name}", pa.float64(), "", "stat.probability"))
        arrays += [pc.fill_null(n, 0), pc.divide(total, n)]
    schema = pa.schema(fields)
    with ParquetSink(path, schema) as sink:
        sink.footer.update(footer)
        sink.write(pa.table(arrays, schema=schema))
