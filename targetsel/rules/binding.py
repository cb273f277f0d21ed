"""Binding of expressions to a catalog: names become columns, units are folded, types are checked.

Every error of a rule for a given catalog is found here, before any row is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import did_you_mean
from targetsel.expressions import units
from targetsel.expressions.functions import FLIPPED, NumberFunction, apply, arithmetic
from targetsel.expressions.grammar import (
    MAX_NODES,
    Branch,
    NameNode,
    Node,
    NumberNode,
    TextNode,
    TruthNode,
    in_brief,
)
from targetsel.expressions.tokens import DIRECTION
from targetsel.expressions.units import ANY_UNIT, PURE, UNITS, ResultUnit, Unit
from targetsel.rules import formula as f
from targetsel.rules.calls import RuleFunction
from targetsel.rules.columns import CatalogColumns, UnseenColumns
from targetsel.rules.formula import TypedExpression
from targetsel.rules.functions import FUNCTIONS
from targetsel.rules.text_and_flags import Side, same_flag, same_text, text_in, truth_is
from targetsel.sky.external_files import ExternalFiles


class Binder:
    """Binds expressions to the columns of a catalog.

    Parameters
    ----------
    columns : CatalogColumns
    definitions : mapping of name to Node
        The rule file's ``define``.
    files : ExternalFiles
        Remembers the files that expressions name.
    """

    def __init__(
        self,
        columns: CatalogColumns,
        definitions: Mapping[str, Node] | None = None,
        files: ExternalFiles | None = None,
    ) -> None:
        self.columns = columns
        self.definitions = definitions or {}
        self.files = files or ExternalFiles()
        self.quantiles: dict[f.CatalogQuantile, str] = {}  # as they are written
        self._count = 0
        self.inside_p = False

    def condition(self, node: Node) -> f.Formula:
        """The formula of a whole condition, such as an entry of ``where``."""
        self._count = 0
        return self.read_condition(node, _needs_comparison(node))

    def number(self, node: Node) -> f.Formula:
        """The formula of a whole number, such as ``rank``."""
        self._count = 0
        return self.read_number(node).formula

    def typed(self, node: Node) -> TypedExpression:
        """The expression of a part of a condition."""
        self._count = 0
        return self._read(node)

    # Each of these returns the typed expression of one node; `_read` finds the right one.

    def _read(self, node: Node) -> TypedExpression:
        self._count += 1
        if self._count > MAX_NODES:
            raise node.place.error(
                f"expression has more than {MAX_NODES} parts once `define:` is written out; "
                "split it into several conditions"
            )
        if isinstance(node, NumberNode):
            unit = Unit(UNITS[node.unit]) if node.unit else None
            return TypedExpression(f.Constant(node.value), unit=unit)
        if isinstance(node, NameNode):
            return self._name(node)
        assert isinstance(node, Branch)
        match node.word:
            case "and" | "or":
                return self._junction(node)
            case "not":
                part = self.read_condition(node.parts[0], "not stands before a condition")
                return TypedExpression(f.negated(part), "condition")
            case "compare" | "between" | "in":
                return self._comparisons(node)
            case "is missing" | "is not missing":
                return self._missing(node)
        function = FUNCTIONS.get(node.word)
        if isinstance(function, RuleFunction):
            return function.bind(self, node)
        return self._operation(node)

    def _name(self, node: NameNode) -> TypedExpression:
        name = node.name
        if name in self.definitions:
            return self._read(self.definitions[name])
        if name not in self.columns:
            if name in FUNCTIONS:
                raise node.place.error(f"'{name}' is a function; write {name}(...)")
            hint = self.columns.called_otherwise(name)
            hint = hint or did_you_mean(name, [*self.columns.names, *self.definitions])
            known = "" if hint else f" The catalog has {_first_names(self.columns.names)}."
            raise node.place.error(f"unknown column '{name}'.{hint}{known}")
        typed = self.columns.inside_p(name) if self.inside_p else self.columns[name]
        if typed.kind == "condition":
            assert isinstance(typed.formula, f.ColumnValue)
            return replace(typed, formula=f.Flag(typed.formula))
        return typed

    def _used_as(self, kind: str, typed: TypedExpression, node: Node) -> TypedExpression:
        """The expression of a node that stands where one of this kind is expected."""
        if typed.kind == "undeclared":
            assert isinstance(self.columns, UnseenColumns)
            return self.columns.used_as(kind, typed, node.place)
        return typed

    def read_condition(self, node: Node, otherwise: str) -> f.Formula:
        typed = self._used_as("condition", self._read(node), node)
        if typed.kind == "text":
            raise node.place.error(
                f"{in_brief(node)} holds text; compare it, e.g. {in_brief(node)} == 'some text'"
            )
        if typed.kind != "condition":
            raise node.place.error(otherwise)
        return typed.formula

    def read_number(self, node: Node) -> TypedExpression:
        return self._as_number(self._read(node), node)

    def _as_number(self, typed: TypedExpression, node: Node) -> TypedExpression:
        typed = self._used_as("number", typed, node)
        if typed.kind == "condition":
            raise node.place.error(f"{in_brief(node)} is a condition; a number is expected here")
        if typed.kind == "text":
            raise node.place.error(
                f"{in_brief(node)} holds text; a number is expected here. Text is compared by ==, "
                "!= and in"
            )
        if isinstance(typed.formula, f.ColumnValue) and typed.formula.type == "other":
            raise node.place.error(
                f"column '{typed.formula.name}' holds no numbers; the only condition on it must be "
                f"'{typed.formula.name} is missing'"
            )
        return typed

    def _junction(self, node: Branch) -> TypedExpression:
        parts = []
        for part in node.parts:
            otherwise = (
                f"'{node.symbol}' joins conditions, but {in_brief(part)} is a number; "
                f"did you forget a comparison, e.g. {in_brief(part)} > 10?"
            )
            parts.append(self.read_condition(part, otherwise))
        joined = f.All(tuple(parts)) if node.word == "and" else f.Any(tuple(parts))
        return TypedExpression(joined, "condition")

    def _comparisons(self, node: Branch) -> TypedExpression:
        """A chain, `between` or `in`, taken apart into single comparisons."""
        if node.word == "between":
            value, low, high = node.parts
            pairs = [(value, ">=", low), (value, "<=", high)]
        elif node.word == "in":
            value, *options = node.parts
            if isinstance(options[0], TextNode):
                return TypedExpression(
                    text_in(self._side("text", value), "==", options), "condition"
                )
            pairs = [(value, "==", option) for option in options]
        else:
            links = zip(node.parts, node.operators, node.parts[1:], strict=False)
            pairs = [(left, operator, right) for left, operator, right in links]
        parts = tuple(self._compare(*pair) for pair in pairs)
        if len(parts) == 1:
            return TypedExpression(parts[0], "condition")
        return TypedExpression(f.Any(parts) if node.word == "in" else f.All(parts), "condition")

    def _compare(self, left_node: Node, operator: str, right_node: Node) -> f.Formula:
        if isinstance(left_node, TextNode | TruthNode):
            left_node, right_node, operator = right_node, left_node, FLIPPED[operator]
        if isinstance(left_node, TextNode | TruthNode):
            raise left_node.place.error("both sides are constants; name a column on one side")
        if isinstance(right_node, TextNode):
            return text_in(self._side("text", left_node), operator, [right_node])
        if isinstance(right_node, TruthNode):
            return truth_is(self._side("condition", left_node), operator, right_node)
        self._check_quotes(left_node, right_node)
        self._check_quotes(right_node, left_node)
        left, right = self._read(left_node), self._read(right_node)
        kind = self._kind_of_comparison(left, operator, right)
        if kind == "undeclared":
            return f.Compare(operator, left.formula, right.formula)
        if kind == "number":
            left, right = self._as_number(left, left_node), self._as_number(right, right_node)
            return self._compare_numbers(left, left_node, operator, right, right_node)
        left, right = self._used_as(kind, left, left_node), self._used_as(kind, right, right_node)
        same = same_text if kind == "text" else same_flag
        return same(Side(left, left_node), operator, Side(right, right_node))

    def _kind_of_comparison(
        self, left: TypedExpression, operator: str, right: TypedExpression
    ) -> str:
        """The kind in which two sides are compared; "undeclared" where neither tells."""
        kinds = {left.kind, right.kind}
        if kinds == {"undeclared"} and operator not in DIRECTION:
            assert isinstance(self.columns, UnseenColumns)
            names = [each.name for side in (left, right) for each in f.columns(side.formula)]
            kinds = {self.columns.known_use(name) or "undeclared" for name in names}
        for kind in ("text", "condition", "number", "probability"):
            if kind in kinds:
                return "number" if kind == "probability" else kind
        return "number" if operator in DIRECTION else "undeclared"

    def _compare_numbers(
        self,
        left: TypedExpression,
        left_node: Node,
        operator: str,
        right: TypedExpression,
        right_node: Node,
    ) -> f.Formula:
        if left.constant is not None:
            left_node, right_node = right_node, left_node
            left, right, operator = right, left, FLIPPED[operator]
        if left.constant is not None:
            raise left_node.place.error("both sides are constants; name a column on one side")
        left, right = self._in_one_unit(left, left_node, right, right_node)
        if right.constant is None:
            return f.Compare(operator, left.formula, right.formula)
        if left.kind == "probability" and not 0 <= right.constant <= 1:
            raise right_node.place.error(_about_probability(right.constant))
        return f.Compare(operator, left.formula, _as_precise_as(left.formula, right.constant))

    def _side(self, kind: str, node: Node) -> Side:
        """A side of a comparison that is to be of this kind."""
        return Side(self._used_as(kind, self._read(node), node), node)

    def _check_quotes(self, node: Node, other: Node) -> None:
        """Refuse an unknown name beside a column of text: it is likely a text without quotes."""
        if not isinstance(node, NameNode) or self._knows(node.name):
            return
        is_known = isinstance(other, NameNode) and self._knows(other.name)
        if is_known and self._read(other).kind == "text":
            hint = did_you_mean(node.name, self.columns.names)
            raise node.place.error(
                f"unknown column '{node.name}'.{hint} A text stands in quotes: '{node.name}'"
            )

    def _knows(self, name: str) -> bool:
        return name in self.definitions or name in self.columns

    def _missing(self, node: Branch) -> TypedExpression:
        typed = self._read(node.parts[0])
        value = typed.formula
        if isinstance(value, f.Flag) and not value.negated:
            value = value.column
        elif typed.kind == "condition":
            raise node.parts[0].place.error(
                "a condition is never missing; name a column or a number"
            )
        if isinstance(value, f.Constant):
            raise node.parts[0].place.error("a constant is never missing; name a column")
        return TypedExpression(f.Missing(value, node.word == "is not missing"), "condition")

    def _operation(self, node: Branch) -> TypedExpression:
        """An operator or function of numbers."""
        record = arithmetic(node.word)
        operands = [self.read_number(part) for part in node.parts]
        if record.unit is units.common:
            for i in range(1, len(operands)):
                operands[0], operands[i] = self._in_one_unit(
                    operands[0], node.parts[0], operands[i], node.parts[i]
                )
            operands = [replace(each, unit=operands[0].unit) for each in operands]
        result = self._unit_of_result(record, node, operands)
        arguments = tuple(f.scaled(each.formula, result.of_argument) for each in operands)
        formula = f.scaled(f.Operation(node.word, arguments), result.of_result)
        if all(each.constant is not None for each in operands):
            formula = _folded(formula, node.place)
        return TypedExpression(formula, unit=result.unit)

    def _unit_of_result(
        self, record: NumberFunction, node: Branch, operands: list[TypedExpression]
    ) -> ResultUnit:
        if any(each.unit == ANY_UNIT for each in operands):
            return ResultUnit(ANY_UNIT)
        try:
            return record.unit(operands)
        except OverflowError:
            raise node.place.error(
                f"{in_brief(node)} has no unit that can be calculated; use smaller powers"
            ) from None
        except ValueError as error:
            unit = f"is in {operands[0].unit}" if operands[0].unit else "has no unit"
            raise node.parts[-1].place.error(f"{in_brief(node.parts[0])} {unit}; {error}") from None

    def _in_one_unit(
        self, left: TypedExpression, left_node: Node, right: TypedExpression, right_node: Node
    ) -> tuple[TypedExpression, TypedExpression]:
        """Both expressions in one unit; a bare number takes the other side's."""
        if left.unit == right.unit:
            return left, right
        if ANY_UNIT in (left.unit, right.unit):
            return replace(left, unit=ANY_UNIT), replace(right, unit=ANY_UNIT)
        fixed = right.unit is not None and right.constant is None
        if left.unit is None or (fixed and left.constant is not None):
            right, left = self._in_one_unit(right, right_node, left, left_node)
            return left, right
        if right.unit is not None:
            if not right.unit.agrees_with(left.unit):
                raise right_node.place.error(_about_units(left, left_node, right, right_node))
            factor = right.unit.factor_to(left.unit)
            return left, replace(right, formula=f.scaled(right.formula, factor), unit=left.unit)
        if left.constant is None:
            return left, replace(right, unit=left.unit)
        if right.constant is not None:  # 50 mag + 3
            return left, replace(right, unit=left.unit)
        if not left.unit.is_pure:
            raise left_node.place.error(
                f"{in_brief(right_node)} has no unit in this catalog; write the bare number "
                f"{left.constant!r}"
            )
        factor = left.unit.factor_to(PURE)
        return replace(left, formula=f.scaled(left.formula, factor), unit=None), right


def _needs_comparison(node: Node) -> str:
    text = in_brief(node)
    if isinstance(node, Branch) and node.word == "P":
        return f"{text} is a probability; compare it, e.g. {text} >= 0.8"
    return f"{text} is a number, not a condition; compare it, e.g. {text} > 10"


def _first_names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _folded(formula: f.Formula, place: SourceLocation) -> f.Constant:
    """The value of an operation on constants."""
    assert isinstance(formula, f.Operation)
    if formula.name == "negative" and isinstance(formula.values[0], f.Constant):
        return f.Constant(-formula.values[0].value)
    values = []
    for part in formula.values:
        inner = part if isinstance(part, f.Constant) else _folded(part, place)
        values.append(np.float64(inner.value))
    value = float(apply(formula.name, *values))
    if math.isinf(value):
        raise place.error("constant expression overflows; write smaller numbers")
    if math.isnan(value):
        raise place.error("constant expression has no value, as 1 / 0 has none; write one that has")
    return f.Constant(value)


def _as_precise_as(left: f.Formula, value: int | float) -> f.Constant:
    """The constant as the column itself would hold it: 0.1 beside float32 is float32's 0.1.

    One beyond the largest float32 stays itself, since infinity would let infinite values pass.
    Beside whole numbers 1e18 is a whole number, too: floats are not as exact as long ids.
    """
    if isinstance(left, f.ColumnValue) and left.type == "integer" and float(value).is_integer():
        return f.Constant(int(value))
    largest = float(np.finfo(np.float32).max)
    if isinstance(left, f.ColumnValue) and left.type == "float32" and abs(value) <= largest:
        return f.Constant(float(np.float32(value)))
    return f.Constant(value)


def _about_units(
    left: TypedExpression, left_node: Node, right: TypedExpression, right_node: Node
) -> str:
    subject = "the limit" if right.constant is not None else in_brief(right_node)
    kind = str(getattr(right.unit and right.unit.astropy, "physical_type", "unknown"))
    kind = kind.split("/")[0]
    kind = f" ({kind})" if kind != "unknown" else ""
    step = f"write it in {left.unit}" if right.constant is not None else "use one kind of quantity"
    return f"{in_brief(left_node)} is in {left.unit}, {subject} is in {right.unit}{kind}; {step}"


def _about_probability(value: int | float) -> str:
    hint = f"; did you mean {value / 100:.2f} or {value:g} percent?" if 1 < value <= 100 else ""
    return f"a probability is between 0 and 1, not {value:g}{hint}"
