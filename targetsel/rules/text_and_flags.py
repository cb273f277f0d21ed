"""Comparisons of columns of text, and of columns of true and false, as formulas.

Both have no order: ``==``, ``!=`` and ``in`` are all there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from targetsel.expressions.grammar import Node, TextNode, TruthNode, in_brief
from targetsel.expressions.tokens import DIRECTION, NUMBER
from targetsel.rules import formula as f
from targetsel.rules.formula import TypedExpression


class Side(NamedTuple):
    """One side of a comparison."""

    typed: TypedExpression
    node: Node

    def __str__(self) -> str:
        return in_brief(self.node)

    @property
    def what(self) -> str:
        """The kind of value, in words."""
        kind = self.typed.kind
        return {"condition": "true or false", "text": "text"}.get(kind, "a number")


def text_in(side: Side, operator: str, options: Sequence[Node]) -> f.Formula:
    """Whether a column of text is one of these texts (==), or is none of them (!=)."""
    texts = tuple(dict.fromkeys(each.value for each in options if isinstance(each, TextNode)))
    column = side.typed.formula
    if side.typed.kind == "text" and isinstance(column, f.ColumnValue):
        return f.TextIn(column, texts, negated=operator == "!=")
    text = texts[0].strip()
    step = f"compare a column of text with {options[0]}"
    if side.typed.kind == "condition":
        step = f"write {side} == {text.lower() if text.lower() in ('true', 'false') else 'true'}"
    elif NUMBER.fullmatch(text.removeprefix("-")):
        step = f"remove the quotes: {text}"
    raise options[0].place.error(f"{side} is {side.what}, not text; {step}")


def same_text(left: Side, operator: str, right: Side) -> f.Formula:
    """Whether two columns hold the same text, or different ones."""
    if operator in DIRECTION:
        text = left if left.typed.kind == "text" else right
        raise text.node.place.error(f"{text} holds text, which has no order; use ==, != or in")
    for side, other in ((left, right), (right, left)):
        if side.typed.kind != "text":
            step = "compare text with text"
            if side.typed.constant is not None:
                step = f"text stands in quotes: '{side}'"
            raise side.node.place.error(f"{other} holds text, {side} is {side.what}; {step}")
    columns = [each.typed.formula for each in (left, right)]
    assert isinstance(columns[0], f.ColumnValue)
    assert isinstance(columns[1], f.ColumnValue)
    return f.SameText(columns[0], columns[1], negated=operator == "!=")


def truth_is(side: Side, operator: str, truth: TruthNode) -> f.Formula:
    """Whether a column of true and false is, or is not, this."""
    flag = side.typed.formula
    if isinstance(flag, f.Flag):
        return flag if truth.value == (operator == "==") else f.negated(flag)
    if side.typed.kind == "condition":
        step = f"{side}" if truth.value == (operator == "==") else f"not ({side})"
        raise truth.place.error(f"{side} is a condition already; write {step}")
    step = f"'{truth}'" if side.typed.kind == "text" else "a number"
    raise truth.place.error(f"{side} is {side.what}, not true or false; compare it with {step}")


def same_flag(left: Side, operator: str, right: Side) -> f.Formula:
    """Whether two columns of true and false are both true or both false, or one of each."""
    for side, other in ((left, right), (right, left)):
        if side.typed.kind != "condition":
            if isinstance(other.typed.formula, f.Flag):
                step = f"write {other} == true or {other} == false"
            else:
                step = "join conditions by and, or"
            raise side.node.place.error(f"{other} is true or false, {side} is {side.what}; {step}")
    for side in (left, right):
        if not isinstance(side.typed.formula, f.Flag):
            raise side.node.place.error(
                f"{side} is a condition, which cannot be compared; join conditions by and, or"
            )
    if operator in DIRECTION:
        raise right.node.place.error("true and false have no order; compare them by == or !=")
    flags = (left.typed.formula, right.typed.formula)
    neither = f.All((f.negated(flags[0]), f.negated(flags[1])))
    same = f.Any((f.All(flags), neither))
    return same if operator == "==" else f.negated(same)
