"""Advice on rules that are valid but may not mean what their author intends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import did_you_mean
from targetsel.expressions.grammar import Branch, NameNode, Node, unwrapped, walk
from targetsel.rules import formula as f
from targetsel.rules.bits import FILE
from targetsel.rules.columns import CatalogColumns, UnseenColumns
from targetsel.rules.plan import ClassFormulas, plan
from targetsel.rules.rule_file import TargetClass
from targetsel.rules.rules import Rules
from targetsel.scored.columns import CATALOG, scored_columns
from targetsel.tables.columns import schema_of

STRANGE = 0.01  # `typicality` below this: images stranger than nearly all of the training set
MOST_NAMES = 1000  # that are compared with the names of columns
_COMPARISONS = ("compare", "between", "in")
_CONDITION_IN_COMMENT = re.compile(r"\s#.*\b[A-Za-z_]\w*\s*(<=?|>=?|==|!=)\s*[-.\d]")


@dataclass(frozen=True)
class Remark:
    """A piece of advice, and the place in the rule file that it is about."""

    place: SourceLocation
    message: str

    def __str__(self) -> str:
        place = self.place
        return f"{place.file}:{place.line}:{place.column}: warning: {self.message}"

    @property
    def detail(self) -> str:
        """The source line, and a caret under the place."""
        return self.place.detail


def lint(
    rules: Rules, schema: pa.Schema | None = None, strange: float | None = None
) -> list[Remark]:
    """Remarks on rules, in the order of the file.

    Parameters
    ----------
    rules : Rules
    schema : pa.Schema, optional
        The scored catalog to check names and units against. Without one, names that are not
        in every scored file are taken on trust.
    strange : float, optional
        Share of the catalog's sources whose typicality is below `STRANGE`.

    Raises
    ------
    RuleError
        If the rules do not fit the catalog, or no catalog at all.
    """
    if schema is None:
        columns: CatalogColumns = UnseenColumns(schema_of([*CATALOG, *scored_columns(1, 1)]))
    else:
        columns = CatalogColumns(schema)
    classes = plan(rules, columns).classes
    remarks = list(_conditions_in_comments(rules))
    for target_class, formulas in zip(rules.classes, classes, strict=True):
        remarks += _never_true(formulas)
        remarks += _without_uncertainty(target_class, columns)
        remarks += _extrapolation(formulas, strange)
        remarks += _separate_bounds(formulas)
    remarks += _misspelt_names(rules, columns)
    remarks += _unlocked_bits(rules)
    return sorted(set(remarks), key=lambda each: (each.place.file, each.place.line))


def _conditions_in_comments(rules: Rules) -> Iterator[Remark]:
    for file, text in rules.files:
        for number, line in enumerate(text.splitlines(), 1):
            match = _CONDITION_IN_COMMENT.search(line)
            if match and line[: match.start()].strip():
                column = match.start() + 1
                place = SourceLocation(file, number, column + 1, line, column)
                yield Remark(place, "text after # is a YAML comment and looks like a condition")


def _never_true(formulas: ClassFormulas) -> Iterator[Remark]:
    """Bounds on one quantity that leave it no value, in a class or within one P."""
    groups: list[list[tuple[SourceLocation, f.Formula]]] = [[]]
    for condition in formulas.conditions:
        for part in f.conjuncts(condition.formula):
            groups[0].append((condition.place, part))
            match part:
                case f.Compare(">" | ">=", f.Probability(inner)):
                    groups.append([(condition.place, each) for each in f.conjuncts(inner)])
    for group in groups:
        yield from _contradiction(group)


def _contradiction(parts: list[tuple[SourceLocation, f.Formula]]) -> Iterator[Remark]:
    """The first of these conditions that bounds from before leave no value for."""
    lows: dict[f.Formula, tuple[float, bool]] = {}  # the tightest, and whether it is excluded
    highs: dict[f.Formula, tuple[float, bool]] = {}
    for place, part in parts:
        match part:
            case f.Compare(operator, left, f.Constant(value)) if operator[0] in "<>":
                strict = len(operator) == 1
            case _:
                continue
        low, high = lows.get(left, (-np.inf, True)), highs.get(left, (np.inf, True))
        if operator[0] == ">":
            low = lows[left] = max(low, (value, strict))
        else:
            high = highs[left] = min(high, (value, strict), key=lambda x: (x[0], not x[1]))
        if low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1])):
            name = left.name if isinstance(left, f.ColumnValue) else "what it compares"
            below = f"<{'' if high[1] else '='} {high[0]:g}"
            above = f">{'' if low[1] else '='} {low[0]:g}"
            yield Remark(place, f"can never be true ({name} has no value both {below} and {above})")
            return


def _without_uncertainty(target_class: TargetClass, columns: CatalogColumns) -> Iterator[Remark]:
    """Comparisons with predicted quantities outside P."""
    define = target_class.preamble.define
    for node in target_class.where:
        for each in _outside_p(node, define):
            names = [part.name for part in each.children if isinstance(part, NameNode)]
            for name in names:
                if name in columns.proxies:
                    text = unwrapped(each)
                    yield Remark(
                        each.place,
                        f"ignores {name}'s uncertainty; P({text}) >= 0.5 is its probabilistic form",
                    )


def _outside_p(node: Node, define) -> Iterator[Branch]:
    if isinstance(node, NameNode) and node.name in define:
        yield from _outside_p(define[node.name], define)
    if isinstance(node, Branch) and node.word != "P":
        if node.word in _COMPARISONS:
            yield node
        for part in node.parts:
            yield from _outside_p(part, define)


def _extrapolation(formulas: ClassFormulas, strange: float | None) -> Iterator[Remark]:
    """Probabilities of sources that may be unlike any in the training set."""
    names = {column.name for column in f.columns(f.All(formulas.where))}
    for condition in formulas.conditions:
        if condition.step != "where" or "typicality" in names:
            continue
        if any(isinstance(part, f.Probability) for part in f.walk(condition.formula)):
            share = "" if strange is None else f" ({strange:.2%} of this catalog)"
            yield Remark(
                condition.place,
                f"probabilities are extrapolation for typicality < {STRANGE}{share}; add a "
                f"condition such as typicality > {STRANGE}",
            )
            return


def _separate_bounds(formulas: ClassFormulas) -> Iterator[Remark]:
    """Probabilities of conditions bounded one by one, which bound the joint probability weakly."""
    found = [
        condition
        for condition in formulas.conditions
        for part in f.conjuncts(condition.formula)
        if isinstance(part, f.Compare)
        and isinstance(part.left, f.Probability)
        and part.operator in (">", ">=")
        and condition.step == "where"
    ]
    if len(found) > 1:
        yield Remark(
            found[1].place,
            "P(a) >= p and P(b) >= p is weaker than P(a and b) >= p; join the two in one P()",
        )


def _misspelt_names(rules: Rules, columns: CatalogColumns) -> Iterator[Remark]:
    """Names that resemble those of columns of every scored file, without a catalog to check."""
    if not isinstance(columns, UnseenColumns):
        return
    long_names = [name for name in columns.names if len(name) > 4]  # `ra` is close to too many
    hints = dict.fromkeys(columns.names, "")
    for each in rules.classes:
        define = each.preamble.define
        nodes = [*each.where, *define.values(), *([each.rank] if each.rank is not None else [])]
        for part in (part for node in nodes for part in walk(node)):
            if not isinstance(part, NameNode) or part.name in define:
                continue
            if part.name not in hints:
                known = long_names if len(hints) < MOST_NAMES else []
                hints[part.name] = did_you_mean(part.name, known)
            if hint := hints[part.name]:
                yield Remark(part.place, f"not every scored file has '{part.name}'.{hint}")


def _unlocked_bits(rules: Rules) -> Iterator[Remark]:
    """Bits that are not yet in the lock file beside the rules."""
    for each in rules.classes:
        lock = rules.locks.get(each.name)
        if lock and each.bit not in lock.owners:
            yield Remark(
                each.place_of("bit"),
                f"bit {each.bit} of {each.name} is not in {FILE} yet; run 'targetsel rules lock'",
            )
