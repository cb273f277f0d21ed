"""The part of conditions that a catalog decides alone, before any pixel is read.

Columns that `score` writes, and columns that were added behind them, are not known then: each may
hold any value or be missing. `possible` and `certain` take what they decide for true or for false,
so that what remains asks the catalog alone. There is no `not` above a comparison in a formula, and
`Except` turns one into the other; hence a source of which the possible is false fails the condition
whatever is predicted of it, and one of which the certain is true obeys it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from targetsel.rules import formula as f
from targetsel.rules.plan import Condition
from targetsel.scored.columns import (
    CATALOG,
    column_names,
    predicts_redshift,
    scored_columns,
)
from targetsel.scored.known_columns import COLUMNS as KNOWN_COLUMNS

Answer = f.Formula | bool  # a condition on the catalog, or the answer for every source

MIXED = "the catalog's part of the conditions below"


def unseen_columns(schema: pa.Schema) -> frozenset[str]:
    """The columns of a scored catalog that may depend on pixels: from the first that `score` writes
    to the end. Ids and positions are known wherever they stand; which sources have a spectrum
    already is not known before the selection."""
    written = {each.name for each in scored_columns(1, 1, predicts_redshift(schema))}
    first = min((k for k, name in enumerate(schema.names) if name in written), default=len(schema))
    own = column_names(schema)
    added = [each.name for each in KNOWN_COLUMNS]
    if schema.names[-len(added) :] == added:
        first = min(first, len(schema) - len(added))
    return frozenset(schema.names[first:]) - {own.get(each.name, each.name) for each in CATALOG}


class CatalogPart:
    """The catalog's part of conditions.

    Parameters
    ----------
    schema : pa.Schema
        Of the scored catalog.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._unseen = unseen_columns(schema)
        self._known: dict[tuple[f.Formula, bool], Answer] = {}  # classes share conditions

    def decides(self, formula: f.Formula) -> bool:
        """Whether a number or condition depends on the catalog alone."""
        return not any(
            isinstance(part, f.Probability)
            or (isinstance(part, f.ColumnValue | f.Quantile) and part.name in self._unseen)
            for part in f.walk(formula)
        )

    def possible(self, condition: f.Formula) -> Answer:
        """The weakest condition on the catalog that holds wherever `condition` may hold."""
        return self._with_unseen(condition, True)

    def certain(self, condition: f.Formula) -> Answer:
        """The strictest condition on the catalog wherever which `condition` holds."""
        return self._with_unseen(condition, False)

    def _with_unseen(self, condition: f.Formula, outcome: bool) -> Answer:
        """The condition with comparisons of what is not known taken to be true, or false."""
        key = condition, outcome
        if key not in self._known:
            self._known[key] = self._found(condition, outcome)
        return self._known[key]

    def _found(self, condition: f.Formula, outcome: bool) -> Answer:
        match condition:
            case f.All(parts):
                return joined(f.All, (self._with_unseen(part, outcome) for part in parts))
            case f.Any(parts):
                return joined(f.Any, (self._with_unseen(part, outcome) for part in parts))
            case f.Except(inner):
                found = self._with_unseen(inner, not outcome)
                return not found if isinstance(found, bool) else f.Except(found)
            case f.Compare(">" | ">=", f.Probability(inner), f.Constant(limit)) if (
                outcome and limit > 0
            ):
                return self._with_unseen(inner, True)  # P of what cannot be true is 0
        return condition if self.decides(condition) else outcome

    def of_class(self, conditions: Iterable[Condition], with_sample: bool = True) -> Answer:
        """The condition on the catalog of the sources that may obey all conditions of a class."""
        return joined(
            f.All,
            (
                self.possible(each.formula)
                for each in conditions
                if with_sample or each.step != "sample"
            ),
        )

    def in_order(self, conditions: Sequence[Condition]) -> tuple[Condition, ...]:
        """The conditions as they are counted: first those that the catalog decides alone.

        What the catalog says of conditions that also depend on predictions comes between. So no
        count depends on the predictions of a source that the catalog alone rules out.
        """
        alone = tuple(each for each in conditions if self.decides(each.formula))
        others = tuple(each for each in conditions if each not in alone)
        mixed = joined(f.All, (self.possible(each.formula) for each in others))
        if isinstance(mixed, bool):
            return (*alone, *others)
        return (*alone, Condition("where", MIXED, mixed), *others)


def joined(kind: type[f.All] | type[f.Any], parts: Iterable[Answer]) -> Answer:
    """The parts joined by `and` or `or`; an answer for every source where one settles it."""
    settling = kind is f.Any
    left: list[f.Formula] = []
    for part in parts:
        if isinstance(part, bool):
            if part == settling:
                return settling
        elif part not in left:
            left.append(part)
    if not left:
        return not settling
    return left[0] if len(left) == 1 else kind(tuple(left))
