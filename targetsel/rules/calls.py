"""What a function that only rules have is, and what it is given when a rule is bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from targetsel.expressions.functions import Function
from targetsel.expressions.grammar import Branch, Node
from targetsel.rules import formula as f
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.formula import TypedExpression
from targetsel.sky.external_files import ExternalFiles


class CallContext(Protocol):
    """The part of `binding.Binder` that functions use."""

    columns: CatalogColumns
    files: ExternalFiles
    quantiles: dict[f.CatalogQuantile, str]
    inside_p: bool

    def read_number(self, node: Node) -> TypedExpression: ...
    def read_condition(self, node: Node, otherwise: str) -> f.Formula: ...


@dataclass(frozen=True)
class RuleFunction(Function):
    """A function that only rules have; `bind` gives the typed expression of a call's node."""

    bind: Callable[[CallContext, Branch], TypedExpression]
