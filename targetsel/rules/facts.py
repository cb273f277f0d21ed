"""Facts of a catalog that rules are checked by: columns, texts, the share of strange sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.lint import STRANGE
from targetsel.scored.columns import is_scored
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_columns import with_known
from targetsel.sky.catalog import HEALPIX, CatalogFile
from targetsel.tables.columns import floats
from targetsel.tables.formats import open_table
from targetsel.tables.parquet import FOOTER_KEY
from targetsel.tables.text import texts_in

ROWS_AT_A_TIME = 262_144
FEW_TEXTS = 12  # of a column that are listed
MOST_TEXTS = 50  # of a column that are told to be all there are
_WORDS = {"condition": "true or false", "statistic": "its width or quantile"}


@dataclass(frozen=True)
class RuleColumn:
    """A column that rules can use.

    Attributes
    ----------
    name, unit, kind, description : str
        The kind is "text", "true or false", a type of numbers, or what it is of its column.
    texts : tuple of str
        All values of a column of text, where they are few.
    """

    name: str
    unit: str
    kind: str
    description: str
    texts: tuple[str, ...] = ()


def schema_in(catalog: Path) -> pa.Schema:
    """The columns of a scored catalog, or of one that is not scored, in any format we read."""
    table = open_table(catalog)
    if not is_scored(table.schema):
        return table.schema
    with ScoredFile(catalog) as file:
        return file.schema


def rule_columns(catalog: Path) -> tuple[RuleColumn, ...]:
    """The columns of a catalog that rules can use, in its order.

    Raises
    ------
    CatalogError
        If the catalog cannot be read.
    """
    schema, table = schema_in(catalog), open_table(catalog)
    known = CatalogColumns(schema)
    found = []
    for name in known.names:
        about = (schema.field(name).metadata or {}).get(b"description", b"").decode()
        role, kind = (getattr(known[name].formula, each, "") for each in ("role", "type"))
        kind = kind if role == "measured" else role
        kind = _WORDS.get(kind, kind)
        texts: list[str] | None = []
        if kind == "text":
            batches = table.batches(ROWS_AT_A_TIME, [name])
            texts = texts_in((batch.column(0) for batch in batches), FEW_TEXTS)
        if kind != "other":
            unit = str(known[name].unit or "")
            found.append(RuleColumn(name, unit, kind, about, tuple(texts or ())))
    return tuple(found)


def facts_of(catalog: Path) -> tuple[pa.Schema, float | None]:
    """The schema of a catalog, with what files of known spectra add, and the share of its sources
    with low typicality, if it is scored."""
    if (unscored := _unscored(catalog)) is not None:
        fields = with_known(unscored.schema)
        own = json.dumps({"columns": dict(unscored.columns)}).encode()
        metadata = {**(fields.metadata or {}), FOOTER_KEY: own}
        return fields.append(HEALPIX).with_metadata(metadata), None
    with ScoredFile(catalog) as file:
        schema = with_known(file.schema)
        if "typicality" not in schema.names:
            return schema, None
        values = [floats(table["typicality"]) for table in file.tables(["typicality"])]
    known = np.concatenate([np.empty(0), *values])
    known = known[~np.isnan(known)]
    return schema, float((known < STRANGE).mean()) if len(known) else 0.0


def _unscored(catalog: Path) -> CatalogFile | None:
    """A catalog without scores; None of one with them, and of what is neither."""
    if catalog.is_dir():
        return None
    try:
        return None if is_scored(open_table(catalog).schema) else CatalogFile.open(catalog)
    except CatalogError:
        if ".csv" in catalog.suffixes:
            raise
        return None  # opened as a scored one, it says what it is


def texts_of(catalog: Path) -> Callable[[str], list[str] | None]:
    """Gives the texts that a column of a catalog holds, by its name; None if they are many.

    Each column is read once.
    """

    unscored = _unscored(catalog)

    @cache
    def texts(name: str) -> list[str] | None:
        if unscored is not None:
            batches = open_table(catalog).batches(ROWS_AT_A_TIME, [name])
            return texts_in((batch.column(0) for batch in batches), MOST_TEXTS)
        with ScoredFile(catalog) as file:
            return file.texts(name, MOST_TEXTS)

    return texts
