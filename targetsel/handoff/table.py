"""A plain table of the list's columns, with their units, for whatever else reads tables.

Its format is that of its ending: Parquet, FITS, VOTable, ECSV or CSV.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from targetsel.documents.models import OneOrMany
from targetsel.errors import HandoffError, did_you_mean
from targetsel.handoff.settings import Text, ToolSettings
from targetsel.handoff.tool import Tool, ToolTable, ToolTargets
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import write_table
from targetsel.version import __version__


class TableSettings(ToolSettings):
    """Settings of a plain table."""

    columns: Annotated[tuple[Text, ...] | None, OneOrMany()] = None
    """columns of the list to write, in this order; by default all"""


def write(targets: ToolTable, settings: TableSettings, path: Path) -> list[Path]:
    """Write the columns asked for."""
    table = targets.table
    names = settings.columns or tuple(table.column_names)
    for name in names:
        if name not in table.column_names:
            hint = did_you_mean(name, table.column_names)
            raise HandoffError(
                f"the list has no column '{name}', which the table shall have.{hint}"
            )
        if names.count(name) > 1:
            raise HandoffError(f"the column '{name}' is asked for twice. Name it once.")
    write_table(table.select(list(names)), path, targets.footer)
    return [path]


def read(path: Path) -> ToolTargets:
    """Read it back as any catalog is read."""
    rows = open_table(path)
    for name in ("target_id", "ra", "dec"):
        if name not in rows.schema.names:
            raise HandoffError(
                f"{path}: has no column '{name}', without which nothing can be compared. Add it "
                "to --columns, or leave out --check."
            )
    pieces = rows.batches(max(rows.num_rows, 1), rows.schema.names)
    table = next(iter(pieces))
    priority = table["priority"].to_numpy() if "priority" in table.column_names else None
    ids, ra, dec = (table[name].to_numpy() for name in ("target_id", "ra", "dec"))
    return ToolTargets(ids, ra, dec, priority, f"targetsel {__version__}")


TOOLS = (
    Tool(
        name="table",
        title="a plain table, in the format of its ending",
        source="IVOA VOTable 1.4, FITS standard 4.0, astropy's ECSV 1.0, RFC 4180 (CSV)",
        tried="astropy read back what it had written.",
        suffix=".fits",
        write=write,
        read=read,
        priorities=None,
        epoch=None,
        settings=TableSettings,
        keeps_footer=True,
        writes_fluxes=False,
    ),
)
