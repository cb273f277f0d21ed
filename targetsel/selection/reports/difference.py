"""What a change of rules changes: who enters a target list, who leaves it, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.document import Map, read_document
from targetsel.errors import CatalogError
from targetsel.rules.plan import ClassFormulas
from targetsel.rules.rules import Rules
from targetsel.selection.candidates import classes_in, ids_of
from targetsel.selection.evaluation import holds
from targetsel.selection.scan import scored_file
from targetsel.selection.sources import Sources
from targetsel.selection.target_list import TargetList
from targetsel.selection.trial import members, trial

OTHER = "(no condition: dedup, limit or guarantee)"
NO_CLASS = "(the class is not there)"


@dataclass(frozen=True)
class ClassDifference:
    """How one class changed, by its name.

    Attributes
    ----------
    n_before, n_after, n_entered, n_left : int
    entered_by : mapping of str to int
        The conditions of before that were not true of sources which entered, and of how many.
        A source that failed several counts for each.
    left_by : mapping of str to int
        The conditions of after that are not true of sources which left.
    """

    name: str
    n_before: int
    n_after: int
    n_entered: int
    n_left: int
    entered_by: Mapping[str, int] = field(default_factory=dict)
    left_by: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Members before and after, those that entered and those that left."""
        return self.n_before, self.n_after, self.n_entered, self.n_left


def compare_rules(
    before: Rules, after: Rules, scored: Path, known: tuple[Path, Path] | None = None
) -> tuple[ClassDifference, ...]:
    """How the target lists of two rule files differ on one catalog; `known` as in `select`."""
    lists = [trial(rules, scored, known) for rules in (before, after)]
    return _compared(lists[0], lists[1], before, after, scored)


def compare_lists(
    before: TargetList, after: TargetList, scored: Path | None = None
) -> tuple[ClassDifference, ...]:
    """How two target lists differ; which condition did it, if the scored catalog is at hand."""
    if scored is None:
        return _compared(before, after, None, None, None)
    return _compared(before, after, _rules_of(before), _rules_of(after), scored)


def _rules_of(targets: TargetList) -> Rules:
    """The rules that a list was made by; files that they name are looked for in this folder."""
    files = targets.footer["rules_files"]
    own = [file for file in files if "classes" in _keys(*file)]
    return Rules.together(Rules.parse(text, name) for name, text in own)


def _keys(name: str, text: str) -> Mapping[str, object]:
    root = read_document(text, name)
    return root if isinstance(root, Map) else {}


def _compared(
    before: TargetList,
    after: TargetList,
    old: Rules | None,
    new: Rules | None,
    scored: Path | None,
) -> tuple[ClassDifference, ...]:
    if before.table.schema.field("source_id").type != after.table.schema.field("source_id").type:
        raise CatalogError("the two lists have ids of different types; they are of two catalogs")
    names = list(dict.fromkeys([*after.footer["bits"], *before.footer["bits"]]))
    differences = []
    for name in names:
        ids_before, ids_after = members(before, name), members(after, name)
        entered, left = _without(ids_after, ids_before), _without(ids_before, ids_after)
        differences.append(
            ClassDifference(
                name,
                len(ids_before),
                len(ids_after),
                len(entered),
                len(left),
                _reasons(old, name, entered, scored),
                _reasons(new, name, left, scored),
            )
        )
    return tuple(differences)


def _without(ids: pa.Array, others: pa.Array) -> pa.Array:
    return ids.filter(pc.invert(pc.is_in(ids, others)))


def _reasons(rules: Rules | None, name: str, ids: pa.Array, scored: Path | None) -> dict[str, int]:
    """The conditions of class `name` that are not true of these sources, most frequent first."""
    if rules is None or scored is None:
        return {}
    if name not in [each.name for each in rules.classes]:
        return {NO_CLASS: len(ids)} if len(ids) else {}
    if not len(ids):
        return {}
    counts: dict[str, int] = {}
    with scored_file(scored) as file:
        target_class = classes_in(file, rules)[name]
        for block in file.sources((*target_class.where, ids_of(file))):
            column = block.table.column(file.names["source_id"])
            if column.type != ids.type:
                raise CatalogError(f"{scored}: ids of another type than the lists'")
            here = pc.is_in(column, ids).to_numpy(zero_copy_only=False)
            if here.any():
                for text, n in _failed(target_class, block.take(here)).items():
                    counts[text] = counts.get(text, 0) + n
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _failed(target_class: ClassFormulas, sources: Sources) -> dict[str, int]:
    """How many of the sources each condition rejects; those that none rejects under `OTHER`."""
    counts = {}
    spared = np.ones(len(sources), dtype=bool)
    for condition in target_class.conditions:
        false = ~np.broadcast_to(holds(condition.formula, sources), len(sources))
        if false.any():
            counts[condition.text] = int(false.sum())
        spared &= ~false
    if spared.any():
        counts[OTHER] = int(spared.sum())
    return counts
