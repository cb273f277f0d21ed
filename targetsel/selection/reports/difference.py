"""Differences between two target lists: the sources that enter, those that leave, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.text_table import text_table
from targetsel.errors import CatalogError
from targetsel.rules.plan import ClassFormulas
from targetsel.rules.rules import Rules
from targetsel.scored.known_match import KnownSpectra
from targetsel.selection.class_reports import ClassReports
from targetsel.selection.evaluation import holds
from targetsel.selection.scored_sources import ScoredCatalog, scored_catalog
from targetsel.selection.select import preview
from targetsel.selection.sources import Sources
from targetsel.selection.target_list import TargetList, rules_of
from targetsel.sky.positions import check_same_places
from targetsel.tables.columns import floats
from targetsel.tables.ids import matched

OTHER = "(no condition: dedup, limit or guarantee)"
NO_CLASS = "(the class is not there)"


@dataclass(frozen=True)
class ClassDifference:
    """Changes of one class.

    Attributes
    ----------
    name : str
    n_before, n_after, n_entered, n_left : int
    entered_by : mapping of str to int
        Conditions of before that were not true of sources which entered, with the number of these
        sources. A source that failed several counts for each.
    left_by : mapping of str to int
        Conditions of after that are not true of sources which left.
    """

    name: str
    n_before: int
    n_after: int
    n_entered: int
    n_left: int
    entered_by: Mapping[str, int] = field(default_factory=dict)
    left_by: Mapping[str, int] = field(default_factory=dict)

    headings = ("class", "before", "after", "entered", "left")

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Members before and after, those that entered and those that left."""
        return self.n_before, self.n_after, self.n_entered, self.n_left

    @property
    def cells(self) -> tuple[str, ...]:
        """The counts as a line of a table, under `headings`."""
        return self.name, *(f"{n:,}" for n in self.counts)

    @property
    def reasons(self) -> list[str]:
        """The conditions for which sources entered or left, as lines."""
        return [
            *_listed(f"{self.name}: entered, kept out before by", self.entered_by),
            *_listed(f"{self.name}: left, kept out now by", self.left_by),
        ]

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row with plain numbers."""
        names = ("n_before", "n_after", "n_entered", "n_left")
        return [{"class": self.name, **dict(zip(names, self.counts, strict=True))}]

    def __repr__(self) -> str:
        return "\n".join((*text_table(self.headings, [self.cells]), *self.reasons))


class ClassDifferences(ClassReports[ClassDifference]):
    """Changes class by class: a table of the counts, and below it the reasons."""

    def __repr__(self) -> str:
        reasons = [line for each in self for line in each.reasons]
        return "\n".join((super().__repr__(), *reasons))


def _listed(title: str, reasons: Mapping[str, int]) -> list[str]:
    lines = [f"  {n:>9,}  {condition}" for condition, n in reasons.items()]
    return [title, *lines] if lines else []


def compare_rules(
    before: Rules,
    after: Rules,
    scored: Path,
    labelled: tuple[Path, Path] | None = None,
    known: KnownSpectra | None = None,
) -> ClassDifferences:
    """Differences between the target lists of two rule files; the rest as in `select`."""
    catalogs = (scored_catalog(scored, each, known=known) for each in (before, after))
    with next(catalogs) as old, next(catalogs) as new:
        return _compared(preview(old, labelled), preview(new, labelled), old, new)


def compare_lists(
    before: TargetList,
    after: TargetList,
    scored: Path | None = None,
    known: KnownSpectra | None = None,
) -> ClassDifferences:
    """Differences between two target lists; with the scored catalog, also their causes.

    `known` are the files of spectra that those of the lists were selected with that say so.
    """
    if scored is None:
        return _compared(before, after)
    old, new = (
        scored_catalog(scored, rules_of(each), known=known if "known" in each.footer else None)
        for each in (before, after)
    )
    with old as old_catalog, new as new_catalog:
        return _compared(before, after, old_catalog, new_catalog)


def _compared(
    before: TargetList,
    after: TargetList,
    old: ScoredCatalog | None = None,
    new: ScoredCatalog | None = None,
) -> ClassDifferences:
    if before.table.schema.field("source_id").type != after.table.schema.field("source_id").type:
        raise CatalogError(
            "the two lists have ids of different types; they are of two catalogs. Give lists that "
            "were selected from one catalog."
        )
    _check_places(before.table, after.table)
    differences = []
    for name in dict.fromkeys([*after.footer["bits"], *before.footer["bits"]]):
        ids_before, ids_after = before.ids_of(name), after.ids_of(name)
        entered, left = _without(ids_after, ids_before), _without(ids_before, ids_after)
        differences.append(
            ClassDifference(
                name,
                len(ids_before),
                len(ids_after),
                len(entered),
                len(left),
                _reasons(old, name, entered),
                _reasons(new, name, left),
            )
        )
    return ClassDifferences(differences)


def n_shared(before: TargetList, after: TargetList) -> int:
    """Number of sources that are in both lists."""
    return int((_rows_of(after.table, before.table) >= 0).sum())


def _rows_of(sources: pa.Table, others: pa.Table) -> np.ndarray:
    """The row of each source in the other list, -1 where it is not there, shape (N,)."""
    return matched(sources["source_id"].to_numpy(), others["source_id"].to_numpy())


def _check_places(before: pa.Table, after: pa.Table) -> None:
    """Refuse lists that have the same ids at other positions: they are of two catalogs."""
    ids, rows = after["source_id"].to_numpy(), _rows_of(after, before)
    ours = tuple(floats(after[name])[rows >= 0] for name in ("ra", "dec"))
    theirs = tuple(floats(before[name])[rows[rows >= 0]] for name in ("ra", "dec"))
    names = "the list after", "the list before"
    check_same_places(ids[rows >= 0], (ours[0], ours[1]), (theirs[0], theirs[1]), *names)


def _without(ids: pa.Array, others: pa.Array) -> pa.Array:
    return ids.filter(pc.invert(pc.is_in(ids, others)))


def _reasons(catalog: ScoredCatalog | None, name: str, ids: pa.Array) -> dict[str, int]:
    """The conditions of class `name` that are not true of these sources, most frequent first."""
    if catalog is None or not len(ids):
        return {}
    if name not in [each.name for each in catalog.rules.classes]:
        return {NO_CLASS: len(ids)}
    counts: Counter[str] = Counter()
    file, target_class = catalog.file, catalog[name]
    for block in file.sources(target_class.where, ["source_id"]):
        own = file.ids(block)
        if own.type != ids.type:
            raise CatalogError(
                f"{file.path}: ids of another type than the lists'. Name the scored catalog that "
                "the lists were selected from."
            )
        here = pc.is_in(own, ids).to_numpy(zero_copy_only=False)
        if here.any():
            counts.update(_failed(target_class, block.take(here)))
    if not counts:
        raise CatalogError(
            f"{file.path}: has none of the {len(ids):,} sources of {name} that are in one list "
            f"alone, such as {ids[0]}. Name the scored catalog that the lists were selected from."
        )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _failed(target_class: ClassFormulas, sources: Sources) -> dict[str, int]:
    """Sources that each condition rejects, and under `OTHER` those that none rejects."""
    false = {
        each.text: ~np.broadcast_to(holds(each.formula, sources), len(sources))
        for each in target_class.conditions
    }
    false[OTHER] = ~np.logical_or.reduce(list(false.values()))
    return {text: int(mask.sum()) for text, mask in false.items() if mask.any()}
