"""The columns by which rules ask whether a source has a spectrum already."""

from __future__ import annotations

import pyarrow as pa

from targetsel.tables.columns import NEVER, Column

MARK = b"known_spectra"  # metadata of fields that were added for --known
KNOWN = Column(
    "known", pa.bool_(), "", "meta.code", "whether the source has a spectrum without a "
    "warning in the files of --known", NEVER,
)  # fmt: skip
_UNKNOWN = "the source is not known"
REDSHIFT = Column(
    "known_redshift", pa.float64(), "", "src.redshift", "redshift of its best known spectrum",
    f"{_UNKNOWN}, or its file has no redshifts",
)  # fmt: skip
WARNING = Column(
    "known_warning", pa.bool_(), "", "meta.code.qual",
    "whether spectra of the source were taken, but all carry a warning or lack a redshift",
    NEVER,
)  # fmt: skip
COLUMNS = (
    KNOWN,
    REDSHIFT,
    Column(
        "known_sep", pa.float32(), "arcsec", "pos.angDistance",
        "separation of its best spectrum, one with a warning included",
        "no spectrum belongs to the source, or that has an id and no position",
    ),
    WARNING,
)  # fmt: skip
# A class that names one of these says itself what becomes of known sources.
DECIDING = ("known", "known_redshift", "known_sep")


def fields(mark: bool = True) -> list[pa.Field]:
    """The columns that are added, as Arrow fields; marked where they come of files of spectra."""
    found = []
    for column in COLUMNS:
        metadata = {**(column.field.metadata or {}), **({MARK: b"1"} if mark else {})}
        found.append(column.field.with_metadata(metadata))
    return found


def drops_known(schema: pa.Schema) -> bool:
    """Whether files of known spectra were given for a catalog with this schema."""
    name = KNOWN.name
    return name in schema.names and MARK in (schema.field(name).metadata or {})


def with_known(schema: pa.Schema) -> pa.Schema:
    """A schema with the columns that files of known spectra add, behind all others."""
    for each in fields(mark=False):
        schema = schema if each.name in schema.names else schema.append(each)
    return schema


def added_names(schema: pa.Schema) -> set[str]:
    """The names of the columns that files of known spectra added, where some were given."""
    return {each.name for each in COLUMNS} if drops_known(schema) else set()
