"""The target list: the sources to observe, their target classes and their priorities.

`rules.plan` states what is applied in which order.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.documents.document import Map, read_document
from targetsel.errors import CatalogError, TargetselError
from targetsel.rules import formula as f
from targetsel.rules.columns import footer
from targetsel.rules.plan import ClassFormulas, Plan, plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import column_names
from targetsel.scored.simulated_training import CAUTION, caution_in
from targetsel.selection.carried_columns import carried
from targetsel.selection.limits import Limits
from targetsel.selection.membership import LEAST, Membership, check_unique
from targetsel.selection.sources import columns_read
from targetsel.tables.any_format import table_reader
from targetsel.tables.columns import ID, NEVER, Column, FileKind, floats, in_unit, unit_of
from targetsel.tables.ids import EXACT_IN_FLOATS, exact_ids, uniform
from targetsel.tables.parquet import footer_in
from targetsel.tables.reading import reason
from targetsel.tables.rows import Rows
from targetsel.tables.types import is_text
from targetsel.version import __version__

if TYPE_CHECKING:
    from targetsel.selection.outcome import Selection

FORMAT = "targetsel/targets/v1"
MAX_BIT = 62  # bit 63 is the sign of int64
_ABSENT = "the catalog has no such column or value"  # under this name, in upper or lower case

# Behind these stand the fluxes of the catalog and all columns that the rules read.
TARGETS = FileKind(
    "a target list",
    (
        Column("target_id", pa.int64(), "", "meta.id;meta.main", "Unique in this list", NEVER),
        Column("source_id", ID, "", "meta.id", "Id in the catalog", NEVER),
        Column(
            "source_catalog",
            pa.string(),
            "",
            "meta.id.cross",
            "The catalog the id belongs to",
            "the catalog does not say",
        ),
        Column("_healpix_29", pa.int64(), "", "pos.healpix", "HEALPix, nested, order 29", NEVER),
        Column("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "ICRS", NEVER),
        Column("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "ICRS", NEVER),
        Column(
            "ref_epoch", pa.float64(), "yr", "meta.ref;time.epoch", "Epoch of ra and dec", _ABSENT
        ),
        Column(
            "pmra",
            pa.float32(),
            "mas/yr",
            "pos.pm;pos.eq.ra",
            "Motion in ra, times cos(dec)",
            _ABSENT,
        ),
        Column("pmdec", pa.float32(), "mas/yr", "pos.pm;pos.eq.dec", "Motion in dec", _ABSENT),
        Column("parallax", pa.float32(), "mas", "pos.parallax", "Parallax", _ABSENT),
        Column("priority", pa.int32(), "", "meta.code;obs", "Higher is more wanted", NEVER),
        Column("subpriority", pa.float64(), "", "stat.rank", "Breaks ties; higher first", NEVER),
        Column(
            "program", pa.string(), "", "meta.id;obs.proposal", "Class of highest priority", NEVER
        ),
        Column("target_bits", pa.int64(), "", "meta.code.class", "One bit per class", NEVER),
        Column("target_type", pa.string(), "", "meta.code.class", "What the fiber is for", NEVER),
        Column(
            "obs_conditions", pa.int32(), "", "meta.code;obs", "Bits of allowed conditions", _ABSENT
        ),
        Column("n_obs", pa.int32(), "", "meta.number;obs", "Observations asked for", _ABSENT),
        Column(
            "exptime", pa.float32(), "s", "time.duration;obs.exposure", "Time asked for", _ABSENT
        ),
        Column(
            "probability",
            pa.float32(),
            "",
            "stat.probability",
            "Probability that what `program` claims of this target's proxies is true",
            "the source has no posterior",
        ),
    ),
    "Make one with 'targetsel select'.",
)


class TargetList(Rows):
    """M targets, sorted by sky position and id.

    Parameters
    ----------
    table : pa.Table, M rows
        The columns of `TARGETS`, then columns of the catalog.
    footer : dict
        Provenance of the list: the rules, their SHA-256, the names of the bits, counts.

    Attributes
    ----------
    path : Path or None
        The file that it was selected to or read from; None in memory.
    run : Selection or None
        The counts of the selection that made it; None where it was read.
    """

    def __init__(self, table: pa.Table, footer: Mapping[str, Any] | None = None) -> None:
        self.__dict__["_content"] = (table, dict(footer or {}))
        self.path: Path | None = None
        self.run: Selection | None = None
        self._written: Path | None = None

    @classmethod
    def made_by(
        cls, select: Callable[[Path], Selection], output: str | os.PathLike[str] | None = None
    ) -> TargetList:
        """The list that `select` writes, whose rows are read when they are first asked for.

        Parameters
        ----------
        select : function of a Path
            Writes the list there and returns its counts.
        output : str or Path, optional
            By default the list is one in memory: its file waits in a folder of its own, which is
            gone with the list.
        """
        made = cls.__new__(cls)
        if output is not None:
            made.path = made._written = Path(output)
            made.run = select(made.path)
            return made
        folder = tempfile.mkdtemp(prefix="targetsel-")
        weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
        made.path, made._written = None, Path(folder) / "list.targets.parquet"
        made.run = replace(select(made._written), output=None)
        return made

    @cached_property
    def _content(self) -> tuple[pa.Table, dict[str, Any]]:
        assert self._written is not None  # else `__init__` has set the content
        return read_targets(self._written)

    @property
    def table(self) -> pa.Table:
        """The rows as an Arrow table, without metadata of the whole."""
        return self._content[0]

    @property
    def footer(self) -> dict[str, Any]:
        """Provenance: the rules, their SHA-256, the names of the bits, counts."""
        return self._content[1]

    def _of(self, table: pa.Table) -> TargetList:
        return TargetList(table, self.footer)

    def _notes(self) -> Mapping[str, Any]:
        return self.footer

    def summary(self) -> str:
        """The number of targets, and of those in each class."""
        found = {name: int(self.of_class(name).sum()) for name in self.footer.get("bits", {})}
        classes = ", ".join(f"{name} {n:,}" for name, n in found.items())
        rules = self.footer.get("rules_name", "unknown rules")
        return f"Target list of {len(self):,} targets by {rules}: {classes or 'no classes'}"

    @property
    def columns_shown(self) -> Sequence[str]:
        """Ids, positions, classes and priorities."""
        return ["target_id", "ra", "dec", "program", "priority", "probability"]

    def of_class(self, name: str) -> np.ndarray:
        """Whether each target is in the class of that name, shape (M,)."""
        if name not in self.footer.get("bits", {}):
            return np.zeros(len(self), dtype=bool)
        return (self.table["target_bits"].to_numpy() >> self.footer["bits"][name]) & 1 == 1

    def ids_of(self, name: str) -> pa.Array:
        """The source ids of the targets in the class of that name."""
        return self.table["source_id"].combine_chunks().filter(pa.array(self.of_class(name)))

    @classmethod
    def read(cls, path: str | os.PathLike[str], needs_footer: bool = True) -> TargetList:
        """A target list, with the columns of `TARGETS` in their types and units.

        Parameters
        ----------
        path : str or Path
        needs_footer : bool
            Whether the footer must be there, which names the classes; programs that rewrite a
            file lose it.

        Raises
        ------
        CatalogError
            If the file is missing, damaged or not a target list.
        """
        found = cls(*read_targets(Path(path), needs_footer))
        found.path = Path(path)
        return found


def read_targets(path: Path, needs_footer: bool = True) -> tuple[pa.Table, dict[str, Any]]:
    """The rows and the footer of a target list; parameters and errors as of `TargetList.read`."""
    with table_reader(path) as file:
        provenance = footer_in(file.footer_entries)
        table = file.read().replace_schema_metadata(None)
    if (needs_footer or "format" in provenance) and provenance.get("format") != FORMAT:
        raise CatalogError(
            f"{path}: not a target list of targetsel, or rewritten by a program that loses "
            f"its footer (it lacks {FORMAT}). Give the file that 'targetsel select' wrote."
        )
    bits = provenance.get("bits", None if needs_footer else {})
    if not isinstance(bits, dict) or not all(
        type(bit) is int and 0 <= bit <= MAX_BIT for bit in bits.values()
    ):
        raise CatalogError(
            f"{path}: its footer does not say which bit of target_bits each class has, but "
            f"has {str(bits)[:80]!r}. Select again."
        )
    table = as_declared(table, path)
    _check_bits(table, bits, path)
    return table, provenance


def _check_bits(table: pa.Table, bits: Mapping[str, int], path: Path) -> None:
    """Refuse targets in no class, or in one that the footer, where it names some, does not."""
    own = table["target_bits"].to_numpy()
    named = np.bitwise_or.reduce([1 << bit for bit in bits.values()] or [np.iinfo(np.int64).max])
    if (wrong := (own <= 0) | (own & ~named != 0)).any():
        which = " or ".join(f"{1 << bit} ({name})" for name, bit in bits.items())
        raise CatalogError(
            f"{path}, column 'target_bits': is {own[wrong][0]} for target "
            f"{table['target_id'].to_numpy()[wrong][0]}; expected a sum of bits of classes"
            f"{f', {which}' * bool(bits)}. Select again."
        )


def rules_of(targets: TargetList) -> Rules:
    """The rules that a list was made by; files that they name are looked for in this folder."""
    files = targets.footer["rules_files"]
    own = [file for file in files if "classes" in _keys(*file)]
    return Rules.together(Rules.parse(text, name) for name, text in own)


def _keys(name: str, text: str) -> Mapping[str, object]:
    root = read_document(text, name)
    return root if isinstance(root, Map) else {}


def as_declared(
    table: pa.Table, place: Path | str, error: type[TargetselError] = CatalogError
) -> pa.Table:
    """A table of targets with the columns of `TARGETS` in their types and units.

    Programs that rewrite a file lose units, keep whole numbers with gaps as floats, and empty
    columns without a type. Columns that may be null are added where they are missing.

    Raises
    ------
    TargetselError
        Of class `error`, if a column is missing, there twice, of another kind or unit, or has gaps
        where there may be none.
    """
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise error(f"{place}: has several columns '{name}'; expected one. Select anew.")
    for column in TARGETS.columns:
        if column.name not in table.column_names and column.null_when != NEVER:
            table = table.append_column(column.field, pa.nulls(len(table), column.type))
        elif column.name in table.column_names:
            at = table.schema.get_field_index(column.name)
            found, own = table.schema.field(at), table[at]
            values = _declared(own, found, column, place, error)
            if values is not own or unit_of(found) != column.unit:
                table = table.set_column(at, column.field.with_type(values.type), values)
            if column.null_when == NEVER and values.null_count:
                raise error(f"{place}, column '{column.name}': has gaps. Select anew.")
    replace(TARGETS, error=error).check(table.schema, place)
    return table


def _declared(
    values: pa.ChunkedArray,
    found: pa.Field,
    column: Column,
    place: Path | str,
    error: type[TargetselError],
) -> pa.ChunkedArray:
    """A column's values in the declared type and unit; NaN is null where there may be nulls.

    Raises
    ------
    TargetselError
        Of class `error`, if they are of another kind or unit.
    """
    if column.type == ID:
        ids = pa.chunked_array([exact_ids(values, found.name, place, error)])
        return values if ids.equals(values) else ids
    if pa.types.is_null(found.type):
        return pa.chunked_array([pa.nulls(len(values), column.type)])
    where = f"{place}, column '{found.name}'"
    if pa.types.is_integer(column.type) and pa.types.is_floating(found.type):
        values = _whole(values, where, error)
    elif pa.types.is_integer(column.type) and is_text(found.type):
        values = pa.chunked_array([exact_ids(values, found.name, place, error)])
    elif refusal := column.refusal(found):
        raise error(f"{where}: {refusal}. Convert or rename it.")
    elif pa.types.is_floating(found.type) and column.null_when != NEVER:
        is_nan = pc.is_nan(values)
        values = pc.if_else(is_nan, None, values) if pc.any(is_nan).as_py() else values
    if column.name == "ref_epoch":
        values = _julian_years(values, found, where, error)
    else:
        values = in_unit(values, found, column.unit, place, error)
    if values.type == column.type:
        return values
    try:
        return values.cast(column.type)
    except pa.ArrowInvalid as fault:
        kind = "whole numbers" if pa.types.is_integer(column.type) else str(column.type)
        raise error(f"{where}: expected {kind} ({reason(fault)}). Convert or rename it.") from None


def _julian_years(
    values: pa.ChunkedArray, column: pa.Field, where: str, error: type[TargetselError]
) -> pa.ChunkedArray:
    """Epochs as Julian years, from such, or from Julian or modified Julian dates; 0 is none.

    Raises
    ------
    TargetselError
        If some are none of these, or are not what the column's unit says.
    """
    epochs = floats(values).copy()
    if (epochs == 0).any():
        epochs[epochs == 0] = np.nan  # as DESI's catalogs have it where no epoch is known
        values = pa.chunked_array([pa.array(epochs, from_pandas=True)])
    known = epochs[np.isfinite(epochs)]
    if not len(known):
        return values
    low, high = known.min(), known.max()
    unit = unit_of(column)
    if unit in ("", "yr", "a", "year") and 1800 <= low <= high <= 2200:
        return values
    if unit in ("", "d", "day", "MJD") and 15_000 <= low <= high <= 100_000:
        return pa.chunked_array([pa.array(2000 + (epochs - 51_544.5) / 365.25, from_pandas=True)])
    if unit in ("", "d", "day", "JD") and 2_400_000 <= low <= high <= 2_500_000:
        return pa.chunked_array([pa.array(2000 + (epochs - 2_451_545) / 365.25, from_pandas=True)])
    raise error(
        f"{where}: is {low:g} to {high:g} {unit}".rstrip()
        + "; expected epochs as Julian years such as 2016.0, or as (modified) Julian dates."
    )


def _whole(values: pa.ChunkedArray, where: str, error: type[TargetselError]) -> pa.ChunkedArray:
    """Floats that hold whole numbers, as whole numbers; null where they are NaN."""
    numbers = floats(values)
    known = ~np.isnan(numbers)
    exact = (numbers == np.floor(numbers)) & (np.abs(numbers) < EXACT_IN_FLOATS[values.type])
    if (known & ~exact).any():
        first = float(numbers[known & ~exact][0])
        raise error(f"{where}: expected whole numbers, not {first!r}. Convert or rename it.")
    whole = np.where(known, numbers, 0).astype(np.int64)
    return pa.chunked_array([pa.array(whole, mask=~known)])


def rank(membership: Membership, rules: Rules) -> TargetList:
    """The target list of the sources that any class selects.

    Parameters
    ----------
    membership : Membership
        From `apply_rules` with the same rules.
    rules : Rules

    Returns
    -------
    TargetList
        One row per target. `priority`, `program` and `probability` are those of the target's
        class of highest priority.

    Raises
    ------
    RuleError
        If the rules do not fit the columns of the sources.
    CatalogError
        If two targets have the same id.

    See Also
    --------
    apply_rules : Makes the memberships.
    select : The same for files of any length.

    Examples
    --------
    >>> import targetsel as ts
    >>> rules = ts.Rules.read("emission")
    >>> scored = ts.read("catalog.scored.parquet", "scored")
    >>> targets = ts.rank(ts.apply_rules(rules, scored.to_arrow()), rules)
    >>> len(targets) == len(ts.select(scored, rules))
    True
    """
    schema = membership.sources.schema
    wanted = plan(rules, schema)
    limits = Limits(rules, wanted.classes)
    (targets,) = limits.applied([limits.add(membership)])
    check_unique(targets.target_id)
    in_order = targets.in_order_of_the_sky()
    kept = carried(wanted.classes, in_order.sources.schema, limits.stated)
    table = target_table(in_order, rules, kept)
    return TargetList(table.combine_chunks(), provenance(rules, wanted, schema, limits))


# --- columns -------------------------------------------------------------------------------------


def target_table(targets: Membership, rules: Rules, kept: Sequence[str]) -> pa.Table:
    """The columns of a target list for these targets; it keeps those `kept` of the catalog."""
    sources = targets.sources
    values = computed_columns(targets, rules)
    columns: dict[pa.Field, pa.Array | pa.ChunkedArray] = {}
    for column in TARGETS.columns:
        field, found = column.field, values.get(column.name)
        if column.type == ID:
            field = field.with_type(values[column.name].type)
        columns[field] = _optional(sources, field) if found is None else found
    own = {field.name for field in columns}
    for name in kept:
        if name not in own:
            columns[sources.schema.field(name)] = sources.column(name)
    return pa.table(list(columns.values()), schema=pa.schema(list(columns)))


def computed_columns(targets: Membership, rules: Rules) -> dict[str, pa.Array | pa.ChunkedArray]:
    """The columns that are not taken from the catalog as they stand, by name.

    Those of sources that no class selects mean nothing, but for the bits, which are 0.
    """
    sources, n = targets.sources, len(targets)
    names = column_names(sources.schema)
    ids = sources.column(names["source_id"])
    primary = _primary(targets, rules)
    own = (np.arange(n), primary)
    bits = np.array([1 << each.bit for each in rules.classes], dtype=np.int64)
    programs = np.array([each.name for each in rules.classes], dtype=object)
    computed = {
        "target_id": targets.target_id,
        "priority": targets.priority[own],
        "subpriority": uniform(ids.to_numpy(), rules.seed, "subpriority")[:, 0],
        "program": programs[primary],
        "target_bits": np.bitwise_or.reduce(np.where(targets.selected, bits, 0), axis=1),
        "target_type": np.full(n, "SCIENCE", dtype=object),
        "probability": targets.probability[own],
    }
    return {
        "source_id": ids,
        "source_catalog": _source_catalog(sources),
        "_healpix_29": sources.column("_healpix_29").cast(pa.int64()),
        "ra": sources.column(names["ra"]).cast(pa.float64()),
        "dec": sources.column(names["dec"]).cast(pa.float64()),
        **{
            name: pa.array(values, TARGETS[name].type, from_pandas=True)
            for name, values in computed.items()
        },
    }


def _primary(targets: Membership, rules: Rules) -> np.ndarray:
    """The index of each target's class of highest priority; the lowest bit among equals."""
    by_bit = np.argsort([each.bit for each in rules.classes])
    wanted = np.where(targets.selected, targets.priority.astype(np.int64), LEAST - 1)
    return by_bit[wanted[:, by_bit].argmax(axis=1)]


def _optional(sources: pa.Table, wanted: pa.Field) -> pa.Array | pa.ChunkedArray:
    """A catalog's column of that name in whatever case, converted to the unit wanted.

    NaN is made null; all is null where the column is absent.
    """
    for name in sources.column_names:
        if name.lower() == wanted.name:
            found = sources.schema.field(name)
            return _declared(
                sources.column(name), found, TARGETS[wanted.name], "the catalog", CatalogError
            )
    return pa.nulls(sources.num_rows, wanted.type)


def _source_catalog(sources: pa.Table) -> pa.Array | pa.ChunkedArray:
    if "source_catalog" in sources.column_names:
        return sources.column("source_catalog").cast(pa.string())
    name = footer(sources.schema).get("source_catalog")
    return pa.array([name] * sources.num_rows, pa.string())


def columns_needed(formulas: Sequence[ClassFormulas], schema: pa.Schema) -> list[str]:
    """The columns that `apply_rules` and `rank` read, in the order of the file."""
    needed = {"_healpix_29", "source_catalog", *column_names(schema).values()}
    needed |= set(carried(formulas, schema))
    for each in formulas:
        claim = () if each.truth is None else (f.Probability(each.truth),)
        for formula in (*each.all, *claim):
            needed |= columns_read(formula, schema)
    optional = {column.name for column in TARGETS.columns if column.null_when == _ABSENT}
    return [name for name in schema.names if name in needed or name.lower() in optional]


# --- provenance ----------------------------------------------------------------------------------


def provenance(
    rules: Rules,
    wanted: Plan,
    schema: pa.Schema,
    limits: Limits,
    n_sources: int | None = None,
    values: Mapping[f.Formula, float] | None = None,
) -> dict[str, Any]:
    """The footer of a target list.

    Parameters
    ----------
    rules : Rules
    wanted : Plan
        The plan of the rules.
    schema : pa.Schema
        Schema of the scored file.
    limits : Limits
        After they were applied.
    n_sources : int, optional
        In the whole catalog; by default those that the limits have seen.
    values : mapping, optional
        The quantiles of the catalog that the plan names, as far as they are known.
    """
    scored, kept = footer(schema), ("catalog", "cutouts", "ensemble", "calibration", "images")
    quantiles = {text: (values or {}).get(each) for each, text in wanted.quantiles.items()}
    return {
        "format": FORMAT,
        "targetsel": __version__,
        "rules": rules.text,
        "rules_files": [[Path(name).name, text] for name, text in rules.files],
        "rules_sha256": rules.sha256,
        "rules_name": rules.name,
        "seed": rules.seed,
        "files": dict(sorted(wanted.files.items())),
        "bits": {each.name: each.bit for each in rules.classes},
        "priority_direction": "higher_is_better",
        **{key: scored.get(key) for key in kept},
        **({CAUTION: caution_in(scored)} if caution_in(scored) else {}),
        "catalog_quantiles": {
            text: value if value is not None and np.isfinite(value) else None
            for text, value in quantiles.items()
        },
        "guarantees": {},
        "n_sources": limits.n_sources if n_sources is None else n_sources,
        "passed": dict(zip(limits.names, limits.passed.tolist(), strict=True)),
        "counts": dict(zip(limits.names, limits.selected.tolist(), strict=True)),
        "copies": limits.copies,
        "random": {name: asdict(each) for name, each in limits.random.items()},
    }
