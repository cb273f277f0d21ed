"""A rule file to begin with, made for the columns of a catalog."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import OutputError, RuleError
from targetsel.photometry.columns import PhotometricColumn, photometric_columns
from targetsel.photometry.flux import known_magnitudes, njy_per_unit
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.scored.columns import CATALOG, column_names, is_scored, scored_columns
from targetsel.tables.columns import floats, schema_of
from targetsel.tables.files import written_beside
from targetsel.tables.formats import open_table
from targetsel.tables.text import plain_text
from targetsel.tables.types import is_bytes, is_text

ROWS_LOOKED_AT = 65_536
WIDTH = 40  # comments begin there
BANDS = ("r", "i", "g", "z", "y", "G")  # the first that a catalog has is taken
MOST_WORDS = 12  # that a text column may have, to be one of types
STARS = ("PSF", "STAR", "star", "Star", "POINT", "PS")
_OF_TYPES = re.compile(r"type|class|morph|kind", re.IGNORECASE)


def write_first_rules(output: Path, catalog: Path | None = None) -> Path:
    """Write a rule file to begin with (see `first_rules`); the file.

    Raises
    ------
    CatalogError, OutputError
        If the catalog cannot be read, or there is such a file already.
    """
    if output.exists():
        raise OutputError(f"{output}: is there already. Name another file with -o, or remove it.")
    text = first_rules(output.name, catalog)
    with written_beside(output) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")
    return output


def first_rules(file: str, catalog: Path | None = None) -> str:
    """The text of a rule file to begin with.

    It selects what is bright, no star and very likely has strong lines, and some control sources.

    Parameters
    ----------
    file : str
        The name of the file; without its ending it is that of the rules, too.
    catalog : Path, optional
        A scored catalog, or one that is to be scored, in any format we read. Without it only
        columns are used that every scored file has.

    Raises
    ------
    CatalogError
        If the catalog cannot be read.
    """
    schema, sample = schema_of([*CATALOG, *scored_columns(1, 1)]), pa.table({})
    if catalog is not None:
        table = open_table(catalog)
        names = [each.name for each in _of_interest(table.schema)]
        sample = next(iter(table.batches(ROWS_LOOKED_AT, names)), table.schema.empty_table())
        schema = table.schema if is_scored(table.schema) else _once_scored(table.schema)
    known = CatalogColumns(schema)
    named = _definitions(known, sample)
    types = _types(known, sample)
    where = [*types, *((each, "") for each in named if each != "emitter")]
    if not named:
        where.append((f"{column_names(schema)['ra']} is not missing", "every source"))
    control = ", ".join(each for each, comment in where if not each.startswith("#"))
    lines = [*_heading(file, catalog, catalog is not None and is_scored(table.schema))]
    if named:
        lines += ["", *_commented("define:", "names for conditions", 0)]
    for word, (condition, comment) in named.items():
        lines += _commented(f"{word}: {condition}", comment, 2)
    if "emitter" in named:
        where.append(("P(emitter) >= 0.8", "the probability, given the image"))
    lines += ["", "classes:", "  TARGETS:"]
    lines += _commented("description: Say here what they are.", "", 4)
    lines += _commented("priority: 3000", "higher is more wanted", 4)
    lines += _commented("where:", "all of these must be true", 4)
    for condition, comment in where:
        entry = condition.replace("# ", "# - ", 1) if condition[0] == "#" else f"- {condition}"
        lines += _commented(entry, comment, 6)
    if "emitter" in named:
        lines += _commented("rank: P(emitter)", "the largest first", 4)
    for entry, comment in _MORE:
        lines += _commented(f"# {entry}", comment, 4)
    lines += _commented("limit: {total: 500}", "the most targets", 4)
    lines += ["", *_CONTROL_HEAD, f"    where: [{control}]", *_CONTROL_TAIL]
    return "\n".join(lines) + "\n"


_MORE = (
    ("bit: 0", "of target_bits; without it, the lowest free one"),
    ("sample: 10 percent", "keep a share of them, by a hash of the id"),
    ("dedup: {within: 1 arcsec}", "of sources this close together keep the best"),
    ("exclude: observed.parquet", "sources to leave out, by their ids"),
)
_CONTROL_HEAD = [
    "  CONTROL:",
    "    description: Others, whatever their spectra; they tell what the conditions miss.",
    "    priority: 1000",
]
_CONTROL_TAIL = [
    *("    unless: [TARGETS]", "    sample: 10 percent", "    limit: {total: 100, by: hash}"),
]


def _heading(file: str, catalog: Path | None, already_scored: bool) -> list[str]:
    stem = "CATALOG" if catalog is None else catalog.name.split(".")[0]
    scored = catalog.name if catalog and already_scored else f"{stem}.scored.parquet"
    return [
        "# Rules to begin with. Change what you like; then check and use them:",
        f"#     targetsel rules lint {file} --catalog {scored}",
        f"#     targetsel select --rules {file} {scored}",
        "# What can be written:",
        "#     targetsel rules functions",
        f"#     targetsel rules columns {'CATALOG' if catalog is None else catalog.name}",
        "schema: targetsel/rules/v1",
        f"name: {re.sub(r'[^A-Za-z0-9_-]+', '-', Path(file).stem).strip('-') or 'mine'}",
        "description: Say here what the targets are for.",
    ]


def _commented(entry: str, comment: str, indent: int) -> list[str]:
    line = " " * indent + entry
    return [f"{line.ljust(WIDTH)}  # {comment}" if comment else line]


def _of_interest(schema: pa.Schema) -> Iterator[pa.Field]:
    """The columns that may be used: of brightness and of text."""
    added = {column.name for column in scored_columns(1, 1)}
    bright = {each.name for each in _brightness(schema)}
    for field in schema:
        is_word = is_text(field.type) or is_bytes(field.type)
        if field.name in bright or (is_word and field.name not in added):
            yield field


def _once_scored(catalog: pa.Schema) -> pa.Schema:
    """The columns that a catalog has once it is scored."""
    added = [*CATALOG[-1:], *scored_columns(1, 1)]
    fields = [each.field for each in added if each.name not in catalog.names]
    return pa.schema([*catalog, *fields], catalog.metadata)


def _brightness(schema: pa.Schema) -> list[PhotometricColumn]:
    """The columns of sources' brightness, the most useful first.

    Light of points comes last, as it is not that of galaxies; then bands count, and magnitudes come
    before fluxes.
    """
    found = [
        each
        for each in photometric_columns(schema)
        if each.kind == "flux" and not each.is_error and each.band.name in BANDS
    ]
    return sorted(
        found,
        key=lambda each: (each.is_of_points, BANDS.index(each.band.name), not each.is_magnitude),
    )


def _definitions(columns: CatalogColumns, sample: pa.Table) -> dict[str, tuple[str, str]]:
    """The conditions that get a name, each with a comment."""
    found = {}
    if "typicality" in columns:
        found["familiar"] = ("typicality > 0.01", "the networks know galaxies like this")
    for condition in _limits(columns.schema, sample):
        if _means_something(condition, columns):
            found["bright"] = (condition, "half of the sources are brighter")
            break
    proxy = next((each for each in ("ew_halpha", "ew_oiii") if each in columns.proxies), None)
    if proxy:
        limit = {"ew_halpha": 20, "ew_oiii": 10}[proxy]
        found["emitter"] = (f"{proxy} > {limit} Angstrom", "predicted: only P() of it is known")
    return found


def _limits(schema: pa.Schema, sample: pa.Table) -> Iterator[str]:
    """Limits on brightness that half of the sources keep, in each way that might be understood.

    A unit that the column does not declare cannot be written.
    """
    for each in _brightness(schema):
        if each.name not in sample.column_names:
            continue
        values = floats(sample[each.name])
        if each.is_magnitude:
            known = known_magnitudes(values)
            known = known[np.isfinite(known) & (known != 0)]
            if len(known):
                limit = f"{each.name} < {np.median(known):.1f}"
                yield from (f"{limit} mag", limit)
            continue
        known = values[(values > 0) & np.isfinite(values)]
        if len(known) and njy_per_unit(each.unit) is not None:
            magnitude = np.nanmedian(each.magnitude(sample))
            yield f"mag({each.name}) < {magnitude:.1f} mag"
        if len(known):
            yield f"{each.name} > {np.median(known):.3g}"


def _types(columns: CatalogColumns, sample: pa.Table) -> Iterable[tuple[str, str]]:
    """A condition on the type of sources; a comment where it is not clear which are wanted."""
    fields = [each for each in sample.schema if is_text(each.type) or is_bytes(each.type)]
    for field in sorted(fields, key=lambda each: _OF_TYPES.search(each.name) is None):
        column = sample[field.name].combine_chunks()
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        words = sorted({word for each in chunks for word in plain_text(each).to_pylist() if word})
        star = next((word for word in STARS if word in words), None)
        quoted = ", ".join(f"'{word}'" for word in words[:2])
        if not 2 <= len(words) <= MOST_WORDS or any("'" in word for word in words):
            continue
        if star and _means_something(f"{field.name} != '{star}'", columns):
            return [(f"{field.name} != '{star}'", "no point sources")]
        if _means_something(f"{field.name} in [{quoted}]", columns):
            return [(f"# {field.name} in [{quoted}]", "")]
    return []


def _means_something(condition: str, columns: CatalogColumns) -> bool:
    """Whether a condition can be evaluated on these columns."""
    try:
        Binder(columns).condition(parse(condition))
    except RuleError:
        return False
    return True
