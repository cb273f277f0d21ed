"""Cells of the space of features in rules: their columns, and `information`, a rank by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from targetsel.documents.source_location import SourceLocation
from targetsel.expressions.grammar import Branch, Node, in_brief
from targetsel.expressions.units import ANY_UNIT, PURE
from targetsel.feature_cells.columns import CELL, CELL_KNOWN, CELL_SOURCES, FOOTER
from targetsel.feature_cells.columns import information as information_of
from targetsel.rules import formula as f
from targetsel.rules.calls import CallContext, RuleFunction
from targetsel.rules.columns import CatalogColumns, footer
from targetsel.rules.formula import TypedExpression
from targetsel.tables.columns import Column

INFORMATION = "information"


@dataclass(frozen=True)
class CellInformation:
    """What a spectrum more of a source's cell tells, as a number that rules calculate.

    Attributes
    ----------
    n_sources : int
        Of the catalog in which the cells were counted.
    """

    n_sources: int
    written: str = f"{INFORMATION}()"
    range: tuple[float, float] = (0.0, float("inf"))
    is_flag: bool = False
    cautions: tuple[str, ...] = ()

    def values(self, cell: np.ndarray, sources: np.ndarray, known: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(cell), np.nan, information_of(sources, known, self.n_sources))


def _information(binder: CallContext, node: Branch) -> TypedExpression:
    columns = tuple(
        cell_column(each, binder.columns, node.place, f"{INFORMATION}()")
        for each in (CELL, CELL_SOURCES, CELL_KNOWN)
    )
    told = footer(binder.columns.schema).get(FOOTER)
    n_sources: Any = told.get("n_sources") if isinstance(told, dict) else None
    if not isinstance(n_sources, int) or n_sources < 1:
        n_sources = 1  # which changes the numbers, and no order
    number: f.Formula = f.Calculated(CellInformation(n_sources), columns)
    if node.parts:
        probability = binder.read_number(node.parts[0])
        if probability.unit not in (None, ANY_UNIT) and not probability.unit.is_pure:
            raise node.parts[0].place.error(
                f"{INFORMATION}() takes a probability, such as P(ew_halpha > 20 Angstrom); "
                f"{in_brief(node.parts[0])} is in {probability.unit}"
            )
        p = probability.formula
        if probability.unit is not None and probability.unit.is_pure:
            p = f.scaled(p, probability.unit.factor_to(PURE))
        if isinstance(p, f.Constant) and not 0 <= p.value <= 1:
            raise node.parts[0].place.error(
                f"{INFORMATION}() takes a probability, expected 0 to 1, not "
                f"{in_brief(node.parts[0])}"
            )
        variance = f.Operation("*", (p, f.Operation("-", (f.Constant(1), p))))
        number = f.Operation("*", (number, variance))
    return TypedExpression(number)


OF_CELLS = (
    RuleFunction(
        *(INFORMATION, "what a spectrum of the source would tell of its cell", (0, 1),
          _information),
        signature=f"{INFORMATION}(probability)",
        gives="a pure number",
        example=f"{INFORMATION}() > 0.0001",
    ),
)  # fmt: skip


def has_information(formula: f.Formula | None) -> bool:
    """Whether a rank goes by `information`, of which the second target of a cell has less."""
    return formula is not None and any(map(_is_information, f.walk(formula)))


def check_proportional(rank: f.Formula | None, node: Node | None) -> None:
    """Refuse a rank that is not in proportion to `information`, which shrinks with every target.

    Raises
    ------
    RuleError
    """
    if node is not None and has_information(rank) and not _is_proportional(rank):
        raise node.place.error(
            f"a rank can only multiply {INFORMATION}() by numbers or divide it, as it shrinks with "
            f"every target of a cell; write it as in {INFORMATION}() / exposure_time_oii"
        )


def _is_information(part: f.Formula) -> bool:
    return isinstance(part, f.Calculated) and isinstance(part.calculation, CellInformation)


def _is_proportional(formula: f.Formula | None) -> bool:
    match formula:
        case f.Calculated():
            return _is_information(formula)
        case f.Operation("*", (one, other)):
            return (_is_proportional(one) and not has_information(other)) or (
                _is_proportional(other) and not has_information(one)
            )
        case f.Operation("/", (one, other)):
            return _is_proportional(one) and not has_information(other)
    return False


def cell_column(
    column: Column, columns: CatalogColumns, place: SourceLocation, asked_by: str
) -> f.ColumnValue:
    """A column that `targetsel cells` adds, asked for at `place`.

    Raises
    ------
    RuleError
        If the catalog does not have it, or it holds no numbers.
    """
    name = column.name
    if name not in columns:
        raise place.error(
            f"{asked_by} needs the column '{name}', which the catalog does not have; add it with "
            "'targetsel cells'"
        )
    typed = columns[name]
    assert isinstance(typed.formula, f.ColumnValue)
    if typed.kind not in ("number", "undeclared") or typed.formula.type == "other":
        raise place.error(
            f"{asked_by} needs whole numbers in the column '{name}', which holds "
            f"{'true and false' if typed.kind == 'condition' else typed.formula.type}; rename it, "
            "and add cells with 'targetsel cells'"
        )
    return typed.formula
