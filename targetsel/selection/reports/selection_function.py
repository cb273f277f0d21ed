"""The selection function: the probability that a source is selected.

Among the sources that obey a class's conditions (its *candidates*), chance and competition choose:
``sample``, ``dedup``, ``limit``. The chance of a candidate is

    inclusion = sample * (kept / sampled, in its cell),

where a cell is the candidate's pixel of the limit per square degree (the whole sky without one),
its cell of the limit per cell and, if the limit goes by ``rank``, its twentieth of the candidates'
ranks. With ``by: hash`` that
is the chance that the hash gave it, and 1 / inclusion is an unbiased weight. With ``by: rank`` no
chance was involved: the numbers describe what was done, but no weight can bring back sources that
had none; the file says so. With a random share every candidate has a chance, 1 / inclusion is
unbiased again, and targets have what the list states (see `selection.inclusion`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.text_table import text_table
from targetsel.feature_cells.columns import CELL, cell_numbers
from targetsel.rules import formula as f
from targetsel.rules.plan import INCLUSION, ClassFormulas
from targetsel.rules.rule_file import TargetClass
from targetsel.rules.rules import Rules
from targetsel.scored.known_match import KnownSpectra
from targetsel.selection.class_reports import ClassReports
from targetsel.selection.evaluation import passing, value
from targetsel.selection.guarantees import guaranteed, guarantees
from targetsel.selection.inclusion import inclusion_column
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.reports.density import order_of
from targetsel.selection.scored_sources import ScoredSources, scored_catalog
from targetsel.selection.select import preview
from targetsel.selection.sources import Sources
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import coarser
from targetsel.tables.columns import NEVER, Column, schema_of
from targetsel.tables.files import check_table_output
from targetsel.tables.parquet import write_table

FORMAT = "targetsel/inclusion/v1"
MAP_FORMAT = "targetsel/map/v1"
KEPT = ("target_id", "source_id", "_healpix_29", "ra", "dec")  # columns of the target list
RANK_BINS = 20
CELL_NUMBERS = 2**24  # more than a catalog has cells


@dataclass(frozen=True)
class Inclusion:
    """The candidates of a class, and those of them that are selected.

    Attributes
    ----------
    name : str
    n_candidates, n_selected : int
        Sources for which every condition is true, and those in the target list.
    randomised : bool
        Whether only chance decided, so that 1 / inclusion is an unbiased weight.
    """

    name: str
    n_candidates: int
    n_selected: int
    randomised: bool

    headings = ("class", "candidates", "selected", "weights")

    @property
    def cells(self) -> tuple[str, ...]:
        """The counts as a line of a table, under `headings`."""
        biased = "biased: rank or dedup decided, not only chance"
        weights = "unbiased" if self.randomised else biased
        return self.name, f"{self.n_candidates:,}", f"{self.n_selected:,}", weights

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row with plain numbers."""
        return [
            {
                "class": self.name,
                "n_candidates": self.n_candidates,
                "n_selected": self.n_selected,
                "randomised": self.randomised,
            }
        ]

    def __repr__(self) -> str:
        return "\n".join(text_table(self.headings, [self.cells]))


def write_selection_function(
    rules: Rules,
    scored: Path,
    output: Path,
    map_output: Path,
    nside: int = 64,
    labelled: tuple[Path, Path] | None = None,
    known: KnownSpectra | None = None,
) -> ClassReports[Inclusion]:
    """Write every target's inclusion probability, and a map of their mean.

    Parameters
    ----------
    rules : Rules
    scored : Path
    output : Path
        Parquet: the targets' ids and positions, and for every class a column
        ``inclusion_<CLASS>``, null where a target is no candidate of the class. A candidate of
        several classes has the inclusion of each, also where another class chose it.
    map_output : Path
        Parquet: ``pixel``, HEALPix nested, of every pixel with a candidate; for every class
        ``candidates_<CLASS>``, their number, and ``inclusion_<CLASS>``, their mean inclusion, null
        where it has none. The footer gives the order.
    nside : int
        Resolution of the map: a power of two.
    labelled : tuple of Path, optional
    known : KnownSpectra, optional
        See `select`.
    """
    order = order_of(nside)
    for path in (output, map_output):
        check_table_output(path, (scored, *(labelled or ()), *(known.paths if known else ())))
    found = []
    columns, maps = {}, {}
    with scored_catalog(scored, rules, known=known) as catalog:
        targets = preview(catalog, labelled)
        classes = guaranteed(catalog, guarantees(catalog, labelled))
        possible = {
            each.name: catalog.part.of_class(each.conditions, with_sample=False) for each in classes
        }
        catalog.check_needed(possible)  # also of those that the sample leaves out
        for each, formulas in zip(rules.classes, classes, strict=True):
            work = _Candidates(each, formulas, catalog.file, targets.ids_of(each.name))
            work.count()
            listed = targets.table["source_id"].combine_chunks()
            ids, inclusion, maps[each.name] = work.inclusion(order, listed)
            columns[each.name] = _beside(targets, ids, inclusion)
            if work.has_share:
                columns[each.name] = _by_share(targets, each, columns[each.name])
            found.append(work.summary)
    footer = {
        "format": FORMAT,
        "rules": rules.text,
        "rules_sha256": rules.sha256,
        "randomised": {each.name: each.randomised for each in found},
    }
    _write_sources(output, targets, columns, footer)
    _write_map(map_output, maps, footer | {"format": MAP_FORMAT, "order": order, "nside": nside})
    return ClassReports(found)


class _Sums:
    """Sums of K numbers for each of several keys, which need not be known beforehand."""

    def __init__(self, k: int) -> None:
        self.keys = np.empty(0, dtype=np.int64)
        self.sums = np.empty((0, k))

    def add(self, keys: np.ndarray, numbers: np.ndarray) -> None:
        """Add numbers of shape (N, K) to the sums of N keys."""
        self.keys, own = np.unique(np.concatenate([self.keys, keys]), return_inverse=True)
        total = np.zeros((len(self.keys), self.sums.shape[1]))
        np.add.at(total, own, np.concatenate([self.sums, numbers]))
        self.sums = total

    def of(self, keys: np.ndarray) -> np.ndarray:
        """The sums of these keys, shape (N, K); zero for keys that were never added."""
        if not len(self.keys):
            return np.zeros((len(keys), self.sums.shape[1]))
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where((self.keys[place] == keys)[:, None], self.sums[place], 0.0)


class _Candidates:
    """The candidates of one class, gone through twice: to count cells, and for their inclusion."""

    def __init__(
        self,
        target_class: TargetClass,
        formulas: ClassFormulas,
        file: ScoredSources,
        chosen: pa.Array,
    ) -> None:
        self.file, self.chosen = file, chosen
        self.limit, self.share = target_class.limit, target_class.sample or 1.0
        self.name, self.rank = target_class.name, formulas.rank
        conditions = formulas.conditions
        self.before = [each.formula for each in conditions if each.step != "sample"]
        self.sample = [each.formula for each in conditions if each.step == "sample"]
        self.by_rank = bool(self.limit) and self.limit.by == "rank" and self.rank is not None
        self.competes = bool(self.limit) or target_class.dedup is not None
        self.has_share = self.limit.random is not None
        self.randomised = (not self.by_rank or self.has_share) and target_class.dedup is None
        self.cells = _Sums(2)  # sampled, kept
        self.n_candidates = 0

    @property
    def summary(self) -> Inclusion:
        return Inclusion(self.name, self.n_candidates, len(self.chosen), self.randomised)

    def count(self) -> None:
        """Count the sampled and the kept candidates of every cell."""
        self.edges = self._edges()
        for block in self._blocks():
            self.n_candidates += len(block)
            if self.competes:
                sampled = block.take(passing(self.sample, block))
                counts = np.stack([np.ones(len(sampled)), self._are_chosen(sampled)], axis=1)
                self.cells.add(self._cell(sampled), counts)

    def inclusion(self, order: int, listed: pa.Array) -> tuple[pa.Array, np.ndarray, _Sums]:
        """Ids and inclusion of candidates that are listed; number and sum of all, by pixel.

        Parameters
        ----------
        order : int
        listed : Array
            Ids of the targets of all classes.
        """
        ids, members, sky = [listed.slice(0, 0)], [np.empty(0)], _Sums(2)
        for block in self._blocks():
            inclusion = np.full(len(block), self.share)
            if self.competes:
                sampled, kept = self.cells.of(self._cell(block)).T
                inclusion *= kept / np.maximum(sampled, 1)
            own = self.file.ids(block)
            member = pc.is_in(own, listed)
            ids.append(own.filter(member))
            members.append(inclusion[member.to_numpy(zero_copy_only=False)])
            sky.add(_pixels(block, order), np.stack([np.ones(len(block)), inclusion], axis=1))
        return pa.concat_arrays(ids), np.concatenate(members), sky

    def _blocks(self) -> Iterator[Sources]:
        rank = [] if self.rank is None else [self.rank]
        formulas = [*self.before, *self.sample, *rank]
        cell = [CELL.name] if self.limit.per_cell is not None else []
        for block in self.file.sources(formulas, ["source_id", "_healpix_29", *cell]):
            yield block.take(passing(self.before, block))

    def _are_chosen(self, sources: Sources) -> np.ndarray:
        return pc.is_in(self.file.ids(sources), self.chosen).to_numpy(zero_copy_only=False)

    def _edges(self) -> np.ndarray:
        """The ranks that divide the candidates into twentieths."""
        if not self.by_rank or self.rank is None:
            return np.empty(0)
        levels = np.arange(1, RANK_BINS) / RANK_BINS
        wanted = [f.CatalogQuantile(self.rank, float(level)) for level in levels]
        found = np.array(list(catalog_quantiles(wanted, self._blocks).values()))
        return np.unique(found[np.isfinite(found)])

    def _cell(self, sources: Sources) -> np.ndarray:
        """The cell of each source, shape (N,)."""
        cell = np.zeros(len(sources), dtype=np.int64)
        if self.limit.per_deg2 is not None:
            cell = _pixels(sources, self.limit.nside.bit_length() - 1)
        if self.limit.per_cell is not None:
            cell = cell * CELL_NUMBERS + cell_numbers(sources.table) + 1
        if not self.by_rank or self.rank is None:
            return cell
        rank = np.broadcast_to(value(self.rank, sources), len(sources))
        place = np.where(np.isnan(rank), 0, 1 + np.searchsorted(self.edges, rank))
        return cell * (RANK_BINS + 1) + place


def _pixels(sources: Sources, order: int) -> np.ndarray:
    return coarser(sources.table["_healpix_29"].to_numpy(), order)


def _beside(targets: TargetList, ids: pa.Array, chance: np.ndarray) -> pa.Array:
    """Inclusion in the order of the target list, null for targets without."""
    place = pc.index_in(targets.table["source_id"].combine_chunks(), ids)
    return pc.take(pa.array(chance), place)


def _by_share(targets: TargetList, target_class: TargetClass, known: pa.Array) -> pa.Array:
    """Inclusion in a class with a random share: what the list states of those that it chose.

    Every other candidate, where `known` is not null, had the chance of the random places.
    """
    stated = targets.table[inclusion_column(target_class.name).name].combine_chunks()
    places = targets.footer["random"][target_class.name]
    chance = places["n_places"] / max(places["n_members"], 1) * (target_class.sample or 1.0)
    return pc.coalesce(stated, pc.if_else(pc.is_valid(known), chance, None))


def map_columns(classes: Iterable[str], order: int) -> tuple[Column, ...]:
    """The columns of a map of the sky."""
    about = f"HEALPix, nested, order {order}"
    columns = [Column("pixel", pa.int64(), "", "pos.healpix", about, NEVER)]
    for name in classes:
        n, mean = f"candidates_{name}", f"Mean inclusion probability of the candidates of {name}"
        columns += [
            Column(n, pa.int64(), "", "meta.number", f"Candidates of {name} in the pixel", NEVER),
            Column(INCLUSION + name, pa.float64(), "", "stat.probability", mean,
                   "there is no candidate"),
        ]  # fmt: skip
    return tuple(columns)


def _write_sources(
    path: Path, targets: TargetList, columns: dict[str, pa.Array], footer: dict[str, Any]
) -> None:
    table = targets.table.select(KEPT)
    for name, values in columns.items():
        table = table.append_column(inclusion_column(name).field, values)
    write_table(table, path, footer)


def _write_map(path: Path, maps: dict[str, _Sums], footer: dict[str, Any]) -> None:
    pixels = np.unique(np.concatenate([each.keys for each in maps.values()]))
    arrays = [pa.array(pixels)]
    for sky in maps.values():
        n, total = sky.of(pixels).T
        mean = total / np.where(n == 0, np.nan, n)
        arrays += [pa.array(n.astype(np.int64)), pa.array(mean, from_pandas=True)]
    schema = schema_of(map_columns(maps, footer["order"]))
    write_table(pa.table(arrays, schema=schema), path, footer)
