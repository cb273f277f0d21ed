"""Advice on rules that are valid but may not mean what their author intends."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import did_you_mean
from targetsel.expressions.grammar import (
    Branch,
    NameNode,
    Node,
    TextNode,
    TruthNode,
    in_brief,
    quoted,
    unwrapped,
    walk,
)
from targetsel.expressions.units import UNITS
from targetsel.rules import formula as f
from targetsel.rules.binding import Binder
from targetsel.rules.bits import FILE
from targetsel.rules.columns import CatalogColumns, UnseenColumns
from targetsel.rules.plan import ClassFormulas, plan
from targetsel.rules.possible import remarks_on_all, settled
from targetsel.rules.rule_file import TargetClass
from targetsel.rules.rules import Rules

STRANGE = 0.01  # `typicality` below this: images stranger than nearly all of the training set
MOST_NAMES = 1000  # that are compared with the names of columns
_COMPARISONS = ("compare", "between", "in")
_OF_POSTERIORS = ("P", "std", "q")
_CONDITION_IN_COMMENT = re.compile(r"\s#.*\b[A-Za-z_]\w*\s*(<=?|>=?|==|!=)\s*[-.\d'\"]")


@dataclass(frozen=True)
class Remark:
    """A piece of advice on a rule file.

    Attributes
    ----------
    place : SourceLocation
        The place in the file that it is about.
    message : str
    """

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
    rules: Rules,
    schema: pa.Schema | None = None,
    strange: float | None = None,
    texts: Callable[[str], Collection[str] | None] | None = None,
    incomplete: Collection[str] = (),
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
    texts : callable, optional
        Gives the texts that a column of the catalog holds, by its name; None where they are many.
    incomplete : collection of str
        Classes of which faulty parts were taken out: no remark says what they lack.

    Raises
    ------
    RuleError
        If the rules do not fit the catalog, or no catalog at all.
    """
    columns = columns_known(schema)
    classes = plan(rules, columns).classes
    remarks = list(_conditions_in_comments(rules))
    for target_class, formulas in zip(rules.classes, classes, strict=True):
        remarks += _together(formulas)
        remarks += _comparisons_of(target_class, columns)
        if texts is not None:
            remarks += _texts_of_nobody(target_class, columns, texts)
        if target_class.name not in incomplete:
            remarks += _extrapolation(formulas, strange)
        remarks += _separate_bounds(formulas)
        remarks += _cautions(target_class, formulas)
    remarks += _misspelt_names(rules, columns)
    remarks += _unlocked_bits(rules, incomplete)
    return sorted(set(remarks), key=lambda each: (each.place.file, each.place.line))


def columns_known(schema: pa.Schema | None) -> CatalogColumns:
    """The columns of a catalog, or without one those that every scored file has."""
    if schema is None:
        return UnseenColumns()
    return CatalogColumns(schema)


def _conditions_in_comments(rules: Rules) -> Iterator[Remark]:
    for file, text in rules.files:
        for number, line in enumerate(text.splitlines(), 1):
            match = _CONDITION_IN_COMMENT.search(line)
            if match and line[: match.start()].strip():
                column = match.start() + 1
                place = SourceLocation(file, number, column + 1, line, column)
                yield Remark(place, "text after # is a YAML comment and looks like a condition")


def _together(formulas: ClassFormulas) -> Iterator[Remark]:
    """Conditions of a class, or within one P, that exclude or repeat one another."""
    groups: list[list[tuple[SourceLocation, f.Formula]]] = [[]]
    for condition in formulas.conditions:
        for part in f.conjuncts(condition.formula):
            groups[0].append((condition.place, part))
            match part:
                case f.Compare(">" | ">=", f.Probability(inner)):
                    groups.append([(condition.place, each) for each in f.conjuncts(inner)])
    for group in groups:
        yield from (Remark(*each) for each in remarks_on_all(group))


def _comparisons_of(target_class: TargetClass, columns: CatalogColumns) -> Iterator[Remark]:
    """Remarks on each comparison of a class, in P() and outside of it, by itself."""
    define = target_class.preamble.define
    for node in target_class.where:
        for each, inside_p in _comparisons(node, define):
            binder = Binder(columns, define)
            for part in f.conjuncts(binder.condition(each)):
                if remark := settled(part, columns.range_of):
                    yield Remark(each.place, remark)
            yield from _without_units(each, columns, define)
            if not inside_p:
                yield from _without_uncertainty(each, columns, define)


def _texts_of_nobody(
    target_class: TargetClass,
    columns: CatalogColumns,
    texts: Callable[[str], Collection[str] | None],
) -> Iterator[Remark]:
    """Texts that no source of the catalog has."""
    define = target_class.preamble.define
    for node in target_class.where:
        for each, _ in _comparisons(node, define):
            for part in f.conjuncts(Binder(columns, define).condition(each)):
                if not isinstance(part, f.TextIn) or (known := texts(part.column.name)) is None:
                    continue
                for text in (side for side in each.parts if isinstance(side, TextNode)):
                    if text.value not in known:
                        column = part.column.name
                        listed = f" It has {', '.join(map(quoted, known)) or 'none'}."
                        hint = did_you_mean(text.value, known) or listed
                        yield Remark(text.place, f"no source's {column} is {text}.{hint}")


def _comparisons(
    node: Node, define: Mapping[str, Node], inside_p: bool = False
) -> Iterator[tuple[Branch, bool]]:
    """All comparisons below a node and in what it names, and whether they stand in P()."""
    if isinstance(node, NameNode) and node.name in define:
        yield from _comparisons(define[node.name], define, inside_p)
    if isinstance(node, Branch):
        if node.word in _COMPARISONS:
            yield node, inside_p
        for part in node.parts:
            yield from _comparisons(part, define, inside_p or node.word == "P")


def _without_uncertainty(
    comparison: Branch, columns: CatalogColumns, define: Mapping[str, Node]
) -> Iterator[Remark]:
    """A comparison outside P() with predicted quantities, alone or in arithmetic."""
    names = dict.fromkeys(_predicted(comparison, columns, define))
    if names:
        text = unwrapped(comparison)
        of = " and ".join(names)
        yield Remark(
            comparison.place,
            f"ignores the uncertainty of {of}; P({text}) >= 0.5 is its probabilistic form",
        )


def _predicted(node: Node, columns: CatalogColumns, define: Mapping[str, Node]) -> Iterator[str]:
    """The predicted quantities that stand below a node as they are, not in P(), std() or q()."""
    if isinstance(node, NameNode):
        if node.name in define:
            yield from _predicted(define[node.name], columns, define)
        elif node.name in columns.proxies and node.name in columns.names:
            yield node.name
    elif not (isinstance(node, Branch) and node.word in _OF_POSTERIORS):
        for part in node.children:
            yield from _predicted(part, columns, define)


def _without_units(
    comparison: Branch, columns: CatalogColumns, define: Mapping[str, Node]
) -> Iterator[Remark]:
    """Bare numbers beside a number in a unit; not 0, and not magnitudes, which have one unit."""
    numbers = [part for part in comparison.parts if not isinstance(part, TextNode | TruthNode)]
    sides = [(part, Binder(columns, define).typed(part)) for part in numbers]
    with_unit = [(part, each.unit) for part, each in sides if each.constant is None and each.unit]
    for part, unit in with_unit[:1]:
        spelling = next((name for name, known in UNITS.items() if known == unit.name), "")
        for other, each in sides:
            if each.constant and each.unit is None and spelling not in ("", "mag"):
                text = f"{each.constant:g}"
                yield Remark(
                    other.place,
                    f"{text} has no unit, and {in_brief(part)} is in {unit}; write "
                    f"{text} {spelling}",
                )


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


def _cautions(target_class: TargetClass, formulas: ClassFormulas) -> Iterator[Remark]:
    """What calculations are to be taken with care, such as the Earth's rotation years ahead."""
    placed = [(each.place, each.formula) for each in formulas.conditions if each.step == "where"]
    if formulas.rank is not None:
        placed.append((target_class.place_of("rank"), formulas.rank))
    for place, formula in placed:
        for part in f.walk(formula):
            if isinstance(part, f.Calculated):
                for caution in part.calculation.cautions:
                    yield Remark(place, caution)


def _misspelt_names(rules: Rules, columns: CatalogColumns) -> Iterator[Remark]:
    """Names that resemble those of columns of every scored file, without a catalog to check."""
    if not isinstance(columns, UnseenColumns):
        return
    long_names = [name for name in columns.expected if len(name) > 4]  # `ra` is close to too many
    hints = dict.fromkeys(columns.expected, "")
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


def _unlocked_bits(rules: Rules, incomplete: Collection[str]) -> Iterator[Remark]:
    """Bits that are not yet in the lock file beside the rules."""
    for each in rules.classes:
        lock = rules.locks.get(each.name)
        if lock and each.bit not in lock.owners and each.name not in incomplete:
            yield Remark(
                each.place_of("bit"),
                f"bit {each.bit} of {each.name} is not in {FILE} yet; run 'targetsel rules lock'",
            )
