"""The target classes of a scored file, one by one: who obeys, and how likely.

What `funnel`, `tune`, `forecast` and their kin have in common. `select` itself is elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas, plan
from targetsel.rules.rules import Rules
from targetsel.selection.quantiles import catalog_quantiles
from targetsel.selection.scan import ScoredFile


def quantiles_in(file: ScoredFile, rules: Rules) -> dict[f.Formula, float]:
    """The quantiles of a catalog that the rules ask for."""
    wanted = plan(rules, file.schema).quantiles
    return catalog_quantiles(wanted, lambda: file.sources(each.value for each in wanted))


def classes_in(
    file: ScoredFile, rules: Rules, quantiles: Mapping[f.Formula, float] | None = None
) -> dict[str, ClassFormulas]:
    """The classes of the rules by name, for this catalog.

    Parameters
    ----------
    file : ScoredFile
    rules : Rules
    quantiles : mapping, optional
        Those of another catalog; without it, this one's own are found first.

    Raises
    ------
    RuleError
        If a class does not fit the catalog.
    """
    values = quantiles_in(file, rules) if quantiles is None else quantiles
    return {each.name: each for each in plan(rules, file.schema).with_values(values).classes}


def ids_of(file: ScoredFile) -> f.Column:
    """The column of source ids."""
    return f.Column(file.names["source_id"], type="other")
