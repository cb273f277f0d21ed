"""Catalogs without scores, for rules on their own columns, such as published cuts."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from targetsel.errors import CatalogError, RuleError
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import CATALOG, is_scored, scored_columns
from targetsel.sky.catalog import HEALPIX, Catalog, CatalogFile
from targetsel.tables.any_form import AnyTable, paths_in, table_of
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import FOOTER_KEY


def with_pixels(scored: AnyTable, rules: Rules) -> AnyTable:
    """A catalog in memory with the pixels that a selection needs, where rules ask no more of it.

    A scored catalog, and one whose rules need predictions, comes back as it is.

    Parameters
    ----------
    scored : Path, or a catalog in memory
    rules : Rules

    Raises
    ------
    RuleError
        If the rules would not fit the catalog's columns when it was scored either.
    CatalogError
        If the catalog cannot be read, or its ids or positions cannot serve.
    """
    paths = [Path(each) for each in paths_in([scored])]
    if paths and not paths[0].is_file():
        return scored
    try:
        schema = open_table(paths[0]).schema if paths else table_of(scored, "the catalog").schema
        if is_scored(schema) or HEALPIX.name in schema.names:
            return scored
        CatalogFile.open(scored)
    except CatalogError:  # no catalog either: whoever opens it as a scored one says what it is
        if paths and ".csv" in paths[0].suffixes:
            raise
        return scored
    try:
        plan(rules, _with(schema, [HEALPIX]))
    except RuleError:
        plan(rules, _with(schema, [each.field for each in (CATALOG[-1], *scored_columns(1, 1))]))
        return scored  # it needs to be scored first
    catalog = Catalog.read(scored)
    table = catalog.table.append_column(HEALPIX, pa.array(catalog.healpix))
    entries = {**(table.schema.metadata or {})}
    entries[FOOTER_KEY] = json.dumps({"columns": dict(catalog.columns)}).encode()
    return table.replace_schema_metadata(entries)


def _with(schema: pa.Schema, fields: list[pa.Field]) -> pa.Schema:
    """A schema with these columns, too, where it has none of their names."""
    added = [each for each in fields if each.name not in schema.names]
    return pa.schema([*schema, *added], schema.metadata)
