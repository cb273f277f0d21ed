"""Cells of the space of features in rules: their columns, by which `limit` counts."""

from __future__ import annotations

from targetsel.documents.source_location import SourceLocation
from targetsel.rules import formula as f
from targetsel.rules.columns import CatalogColumns
from targetsel.tables.columns import Column


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
