"""Rules on scored LSDB catalogs: frames of one partition each, judged when they are computed.

A row is judged by itself, so that its classes are those that `selection.select` gives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.jobs.launch import one_thread
from targetsel.partitions.lazy import noted_table, with_columns
from targetsel.rules.plan import Plan, plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import STATUS
from targetsel.scored.file import ScoredFile
from targetsel.selection.by_row import DECIDED, decided, refuse_whole
from targetsel.selection.membership import apply_plan
from targetsel.selection.target_list import columns_needed
from targetsel.tables.notes import packed_schema, unpacked_schema

if TYPE_CHECKING:
    import pandas as pd

PLACE = "the scored catalog"


@dataclass(frozen=True)
class RulesPlan:
    """All that a process is told to judge a frame.

    Attributes
    ----------
    rules : Rules
    notes : str
        The Arrow schema of the frame with its index and what is added, with units and provenance;
        packed, since each of many thousand tasks may hold it.
    """

    rules: Rules
    notes: str

    @classmethod
    def of(cls, frame: pd.DataFrame, told: pa.Schema, rules: Rules) -> Self:
        """The plan for frames like this one, which needs no rows.

        Parameters
        ----------
        frame : DataFrame
        told : pa.Schema
            Types, units and notes of its columns, and the provenance, as far as they are known.
        rules : Rules

        Raises
        ------
        CatalogError
            If the frame is not of a scored catalog, or has a column that would be added.
        RuleError
            If the rules do not fit its columns, or depend on more than one row.
        """
        own = noted_table(frame, told, PLACE).schema
        for each in DECIDED:
            if each.name in own.names:
                raise CatalogError(
                    f"{PLACE}: has a column '{each.name}', which the rules would add. Rename or "
                    "drop it."
                )
        fields = [told.field(each.name) if each.name in told.names else each for each in own]
        with ScoredFile(pa.schema(fields, told.metadata).empty_table()) as file:
            refuse_whole(rules, file.schema)
            added = [each.field for each in DECIDED]
            notes = pa.schema([*file.schema, *added], file.schema.metadata)
        return cls(rules, packed_schema(notes))

    @property
    def schema(self) -> pa.Schema:
        return unpacked_schema(self.notes)


def judge_frame(frame: pd.DataFrame, plan: RulesPlan) -> pd.DataFrame:
    """The rows of a frame with the columns `selection.by_row.DECIDED`, in the same order.

    Its columns and index stay as they are. The `attrs` have units and provenance, as those that
    `lazy.score_frame` gives.

    Raises
    ------
    CatalogError
        If a class could choose sources that were not needed when the catalog was scored.
    """
    schema = plan.schema
    rows = _judged(frame, plan, schema) if len(frame) else schema.empty_table()
    return with_columns(frame, rows.select([each.name for each in DECIDED]), schema)


def _judged(frame: pd.DataFrame, told: RulesPlan, schema: pa.Schema) -> pa.Table:
    one_thread()
    table = noted_table(frame, schema, PLACE).replace_schema_metadata(schema.metadata)
    with ScoredFile(table) as file:
        rules, wanted = told.rules, _planned(told, file.schema)
        needed = {STATUS, *columns_needed(wanted.classes, file.schema)}
        names = [each for each in file.schema.names if each in needed]
        pieces = [decided(apply_plan(rules, wanted, piece), rules) for piece in file.tables(names)]
    return pa.concat_tables(pieces)


@lru_cache(maxsize=2)
def _planned(told: RulesPlan, schema: pa.Schema) -> Plan:
    """The plan of the rules for a scored catalog, made once in a process."""
    return plan(told.rules, schema)
