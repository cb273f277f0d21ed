"""Sources whose predictions rules ask for, and those that the catalog alone rules out.

`score` given rules predicts only the needed ones; the others keep their row, with the status
"not needed" and nulls. Every rule under which none of those could be a target chooses from such a
file what it would choose from one of all predictions, which `check_needed` makes sure of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.rules import formula as f
from targetsel.rules.catalog_part import Answer, CatalogPart, joined
from targetsel.rules.plan import ClassFormulas, Plan, plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import NOT_NEEDED, STATUS, column_names, not_needed
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_columns import with_known
from targetsel.selection.evaluation import holds
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.sources import Sources, columns_read
from targetsel.tables.parquet import footer_in

AGAIN = "Score it again with the --rules that you select by, or without."


@dataclass(frozen=True)
class Needed:
    """The sources of a catalog that rules need predictions of.

    Attributes
    ----------
    condition : Formula or bool
        On the catalog alone; or whether all are needed, or none.
    reason : str
        Why all are; else empty.
    """

    condition: Answer
    reason: str

    def rows(self, catalog: pa.Table) -> np.ndarray:
        """Whether each of N sources is needed, shape (N,)."""
        return true_of(self.condition, Sources(catalog))


class Asked:
    """Rules bound to a catalog that is to be scored; each rule file stands for itself.

    Parameters
    ----------
    rules : sequence of Rules
    schema : pa.Schema
        Of the scored catalog.
    quantiles : list of lists of numbers, optional
        Result of `quantile_values` for a whole catalog, of which parts are scored.

    Attributes
    ----------
    provenance : dict
        The rule files, and the files that they name, with their SHA-256.

    Raises
    ------
    RuleError
        If the rules do not fit the columns.
    """

    def __init__(
        self,
        rules: Sequence[Rules],
        schema: pa.Schema,
        quantiles: Sequence[Sequence[float | None]] | None = None,
    ) -> None:
        self._known = quantiles
        schema = with_known(schema)  # which nobody knows before the selection
        self._part = CatalogPart(schema)
        self._plans = [(each, plan(each, schema)) for each in rules]
        named = {name: sha256 for _, each in self._plans for name, sha256 in each.files.items()}
        self.provenance: dict[str, Any] = {
            "files": [{"name": each.name, "sha256": each.sha256} for each in rules],
            "named": dict(sorted(named.items())),
        }

    def needed(self, tables: Callable[[], Iterable[pa.Table]]) -> Needed:
        """The sources that some class could choose, whatever is predicted of them.

        Parameters
        ----------
        tables : callable
            Gives the catalog, piece by piece, as often as it is called.
        """
        known = self.quantile_values(tables) if self._known is None else self._known
        found: list[Answer] = []
        for (rules, wanted), numbers in zip(self._plans, known, strict=True):
            if asked := over_all(wanted, self._part):
                return Needed(True, f"{rules.name} asks for {asked} over all sources")
            values: dict[f.Formula, float] = {
                each: math.nan if number is None else number
                for each, number in zip(wanted.quantiles, numbers, strict=True)
            }
            for each in wanted.with_values(values).classes:
                found.append(possible_members(self._part, rules, each))
                if found[-1] is True:
                    return Needed(True, f"{each.name} asks nothing of the catalog alone")
        return Needed(joined(f.Any, found), "")

    def quantile_values(self, tables: Callable[[], Iterable[pa.Table]]) -> list[list[float | None]]:
        """For each rule file, the quantiles of the catalog that it names; None where unknown.

        Empty for rules that name one of predictions.

        Parameters
        ----------
        tables : callable
            As of `needed`; the whole catalog.
        """
        found: list[list[float | None]] = []
        for _, wanted in self._plans:
            if over_all(wanted, self._part):
                found.append([])
                continue
            values = catalog_quantiles(wanted.quantiles, lambda: map(Sources, tables()))
            found.append([None if math.isnan(each) else each for each in values.values()])
        return found


def possible_members(part: CatalogPart, rules: Rules, target_class: ClassFormulas) -> Answer:
    """The condition on the catalog of the sources that matter to a class.

    Those that may obey its conditions; with a guarantee, those that its sample leaves out too,
    since their number is a part of the promise.
    """
    guaranteed = rules[target_class.name].guarantee is not None
    return part.of_class(target_class.conditions, with_sample=not guaranteed)


def over_all(wanted: Plan, part: CatalogPart) -> str:
    """A quantile over all sources of something that is predicted; empty where there is none."""
    texts = (text for each, text in wanted.quantiles.items() if not part.decides(each.value))
    return next(texts, "")


def true_of(condition: Answer, sources: Sources) -> np.ndarray:
    """Whether a condition, or an answer for every source, is true of each, shape (N,)."""
    if isinstance(condition, bool):
        return np.full(len(sources), condition)
    return np.broadcast_to(holds(condition, sources), len(sources))


# --- reading such a catalog ----------------------------------------------------------------------


def _pieces(scored: ScoredFile | pa.Table, columns: Iterable[str]) -> Iterator[pa.Table]:
    """The sources of a scored catalog that were not needed, piece by piece, with these columns."""
    if STATUS not in scored.schema.names:
        return
    wanted = {STATUS, *columns}
    names = [name for name in scored.schema.names if name in wanted]
    if isinstance(scored, ScoredFile):
        groups = range(len(scored.group_sizes))
        some = [group for group in groups if scored.may_hold(group, STATUS, NOT_NEEDED)]
        tables = scored.tables(names, groups=some)
    else:
        tables = iter([scored.select(names)])
    for table in tables:
        if (rows := not_needed(table)).any():
            yield table.filter(pa.array(rows))


def n_not_needed(scored: ScoredFile | pa.Table) -> int:
    """Number of sources of a scored catalog that were not needed when it was scored."""
    return sum(table.num_rows for table in _pieces(scored, ()))


def check_needed(scored: ScoredFile | pa.Table, conditions: Mapping[str, Answer]) -> None:
    """Refuse a scored catalog in which sources were not needed that a class could choose.

    Parameters
    ----------
    scored : ScoredFile or pa.Table
    conditions : mapping of str to Formula or bool
        The condition on the catalog of the sources that matter, by the name of the class.

    Raises
    ------
    CatalogError
    """
    own_id = column_names(scored.schema)["source_id"]
    formulas = [each for each in conditions.values() if not isinstance(each, bool)]
    read = {own_id}.union(*(columns_read(each, scored.schema) for each in formulas))
    counts, first = dict.fromkeys(conditions, 0), {}
    for table in _pieces(scored, read):
        sources = Sources(table.combine_chunks())
        for name, condition in conditions.items():
            rows = np.flatnonzero(true_of(condition, sources))
            counts[name] += len(rows)
            if len(rows) and name not in first:
                first[name] = table[own_id][int(rows[0])].as_py()
    for name, source_id in first.items():
        raise CatalogError(
            f"{_place(scored)}: {counts[name]:,} sources that {name} could choose, such as "
            f"{source_id}, have the status '{NOT_NEEDED}' and no predictions{_scored_for(scored)}. "
            f"{AGAIN}"
        )


def refuse_over_all(scored: ScoredFile | pa.Table, rules: Rules, asked: str) -> None:
    """Refuse a scored catalog in which sources were not needed, for rules that ask for a quantile
    of predictions of all.

    Raises
    ------
    CatalogError
    """
    if asked and (n := n_not_needed(scored)):
        raise CatalogError(
            f"{_place(scored)}: {rules.name} asks for {asked} over all sources, of which {n:,} "
            f"have the status '{NOT_NEEDED}' and no predictions{_scored_for(scored)}. {AGAIN}"
        )


def _place(scored: ScoredFile | pa.Table) -> Path | str:
    return scored.path if isinstance(scored, ScoredFile) else "the scored catalog"


def _scored_for(scored: ScoredFile | pa.Table) -> str:
    """The rules that a catalog was scored for, in words, as far as its footer tells."""
    told = footer_in(scored.schema.metadata).get("rules")
    files = told.get("files") if isinstance(told, dict) else None
    names = [str(each.get("name")) for each in files or () if isinstance(each, dict)]
    return f", as the catalog was scored for {' and '.join(names)}" if names else ""
