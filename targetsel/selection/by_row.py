"""What rules decide of each source by itself, for catalogs of which only a part is known.

Most steps of `rules.plan` judge every source by its own row; limits, duplicates, guarantees and
quantiles of the catalog need all of it, and known sources files of spectra.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from targetsel.errors import RuleError
from targetsel.rules import formula as f
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.scored.known_columns import COLUMNS as KNOWN_COLUMNS
from targetsel.scored.known_columns import with_known
from targetsel.selection.membership import Membership
from targetsel.selection.target_list import TARGETS, computed_columns
from targetsel.tables.columns import NEVER, Column

NOBODY = "no class chooses the source"
DECIDED: tuple[Column, ...] = (
    TARGETS["target_bits"],
    *(
        replace(TARGETS[name], null_when=NOBODY)
        for name in ("program", "priority", "subpriority", "probability")
    ),
)
assert DECIDED[0].null_when == NEVER  # 0 where no class chooses the source


def refuse_whole(rules: Rules, schema: pa.Schema) -> None:
    """Refuse rules that choose a source of a catalog with these columns by more than its row.

    Raises
    ------
    RuleError
        Names the class, and what it asks for; or if the rules do not fit the columns.
    """
    wanted = plan(rules, with_known(schema))
    read = {
        column.name for each in wanted.classes for part in each.all for column in f.columns(part)
    }
    if named := sorted(read & {each.name for each in KNOWN_COLUMNS} - {*schema.names}):
        raise RuleError(
            f"{rules.name}: asks for '{named[0]}', which files of known spectra tell, and rows of "
            "partitions are judged without those. Choose from the folder of the scored catalog "
            "with 'targetsel select --known', or leave it out of the rules."
        )
    for text in wanted.quantiles.values():
        raise _of_whole(rules, f"asks for {text}")
    for each in rules.classes:
        asked = {
            "dedup": each.dedup is not None,
            "limit": bool(each.limit),
            "guarantee": each.guarantee is not None,
        }
        for name, there in asked.items():
            if there:
                raise _of_whole(rules, f"the class {each.name} has a {name}")


def _of_whole(rules: Rules, what: str) -> RuleError:
    return RuleError(
        f"{rules.name}: {what}, which is about all sources of a catalog, and a partition does not "
        "know the others. Choose from the folder of the scored catalog with 'targetsel select', "
        "or leave it out of the rules."
    )


def decided(membership: Membership, rules: Rules) -> pa.Table:
    """The columns `DECIDED` of N sources, in their order: those of a target list, for all.

    Parameters
    ----------
    membership : Membership
        Of N sources.
    rules : Rules

    Returns
    -------
    pa.Table, N rows
    """
    found = computed_columns(membership, rules)
    chosen = pa.array(membership.selected.any(axis=1))
    arrays = [
        found[each.name]
        if each.null_when == NEVER
        else pc.if_else(chosen, found[each.name], pa.scalar(None, each.type))
        for each in DECIDED
    ]
    return pa.table(arrays, schema=pa.schema([each.field for each in DECIDED]))


def nothing_decided() -> pa.Table:
    """The columns `DECIDED` of no source."""
    return pa.schema([each.field for each in DECIDED]).empty_table()
