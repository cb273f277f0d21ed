"""The target list: who is to be observed, as which target class, and how much it is wanted.

What is applied in which order is written in `rules.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from targetsel.errors import CatalogError
from targetsel.rules import formula as f
from targetsel.rules.binding import STATISTICS, Columns, column_names, footer
from targetsel.rules.plan import ClassFormulas, Plan, plan
from targetsel.rules.rules import Rules
from targetsel.selection.limits import Contest, Members
from targetsel.selection.membership import LEAST, Membership
from targetsel.selection.sources import columns_read
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import described, read_footer, write_table

FORMAT = "targetsel/targets/v1"

# Columns of the catalog that keep their place in a target list, whatever their case; missing
# ones are null throughout.
_OPTIONAL = (
    described("ref_epoch", pa.float64(), "yr", "meta.ref;time.epoch", "Epoch of ra and dec"),
    described("pmra", pa.float32(), "mas/yr", "pos.pm;pos.eq.ra", "Motion in ra, times cos(dec)"),
    described("pmdec", pa.float32(), "mas/yr", "pos.pm;pos.eq.dec", "Motion in dec"),
    described("parallax", pa.float32(), "mas", "pos.parallax", "Parallax"),
    described("obs_conditions", pa.int32(), "", "meta.code;obs", "Bits of allowed conditions"),
    described("n_obs", pa.int32(), "", "meta.number;obs", "Observations asked for"),
    described("exptime", pa.float32(), "s", "time.duration;obs.exposure", "Time asked for"),
)


@dataclass(frozen=True)
class TargetList:
    """M targets, sorted by sky position and id.

    Attributes
    ----------
    table : pa.Table, M rows
        Columns with units, UCDs and descriptions; see `rank`.
    footer : dict
        Where the list comes from: the rules, their SHA-256, the names of the bits, counts.
    """

    table: pa.Table
    footer: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.table.num_rows

    def write(self, path: Path) -> None:
        """Write the list as Parquet; the file appears whole or not at all."""
        write_table(self.table, Path(path), self.footer)

    @classmethod
    def read(cls, path: Path) -> TargetList:
        """A list that `write` wrote.

        Raises
        ------
        CatalogError
            If the file is missing, damaged or not a target list.
        """
        provenance = read_footer(Path(path))
        if provenance.get("format") != FORMAT:
            raise CatalogError(f"{path}: not a target list of targetsel (it lacks {FORMAT}).")
        return cls(pq.read_table(path).replace_schema_metadata(None), provenance)


def rank(membership: Membership, rules: Rules) -> TargetList:
    """The target list of the sources that are selected by any class.

    Parameters
    ----------
    membership : Membership
        From `evaluate` with the same rules.
    rules : Rules

    Returns
    -------
    TargetList
        One row per target. `priority`, `program` and `probability` are those of the target's
        class of highest priority.
    """
    schema = membership.sources.schema
    wanted = plan(rules, schema)
    contests = contests_of(rules, wanted.classes)
    chosen = _settled(membership, contests)
    order = [("_healpix_29", "ascending"), ("target_id", "ascending")]
    table = target_table(chosen, rules, wanted.classes).sort_by(order)
    counts = Counts(
        len(membership), membership.selected.sum(axis=0), chosen.selected.sum(axis=0), contests
    )
    return TargetList(table, provenance(rules, wanted, schema, counts))


def within_limits(membership: Membership, rules: Rules) -> Membership:
    """The sources that are still selected once every class keeps only its best.

    Without `dedup`, applying it to parts of a catalog, joining what is left and applying it again
    gives the same.
    """
    classes = plan(rules, membership.sources.schema).classes
    return _settled(membership, contests_of(rules, classes))


def _settled(membership: Membership, contests: list[Contest]) -> Membership:
    selected = membership.selected.copy()
    for c, contest in enumerate(contests):
        if contest.open:
            contest.add(competitors(membership, c, contest))
            winners = contest.settled()
            selected[:, c] = False
            selected[winners, c] = True
    return membership.only(selected)


def contests_of(rules: Rules, classes: tuple[ClassFormulas, ...]) -> list[Contest]:
    """What each class's members compete in."""
    return [Contest(*each) for each in zip(rules.classes, (c.region for c in classes), strict=True)]


def competitors(membership: Membership, c: int, contest: Contest, first_row: int = 0) -> Members:
    """The members of class `c`, whose rows are counted from `first_row`."""
    rows = np.flatnonzero(membership.selected[:, c])
    sources = membership.sources
    names = column_names(sources.schema)
    some = sources.select([*dict.fromkeys([*names.values(), "_healpix_29"])]).take(
        pa.array(rows, pa.int64())
    )
    ids = some[names["source_id"]].to_numpy()
    seed, name = contest.rules.preamble.seed, contest.rules.name
    return Members(
        rows + first_row,
        membership.rank[rows, c],
        uniform(ids, seed, name)[:, 0],
        membership.target_id[rows],
        some["_healpix_29"].to_numpy(),
        *(some[names[role]].cast(pa.float64()).to_numpy() for role in ("ra", "dec")),
    )


# --- columns -------------------------------------------------------------------------------------


def target_table(chosen: Membership, rules: Rules, formulas: tuple[ClassFormulas, ...]) -> pa.Table:
    """The columns of a target list for these targets, in their order."""
    sources = chosen.sources
    names = column_names(sources.schema)
    primary = _primary(chosen, rules)
    ids = sources.column(names["source_id"])
    columns: dict[pa.Field, pa.Array | pa.ChunkedArray] = {
        described(
            "target_id", pa.int64(), "", "meta.id;meta.main", "Unique in this list", nullable=False
        ): pa.array(chosen.target_id, pa.int64()),
        described("source_id", ids.type, "", "meta.id", "Id in the catalog", nullable=False): ids,
        described(
            "source_catalog", pa.string(), "", "meta.id.cross", "The catalog the id belongs to"
        ): _source_catalog(sources),
    }
    columns |= _positions(sources, names)
    columns |= {field: _optional(sources, field) for field in _OPTIONAL[:4]}
    columns |= _wishes(chosen, rules, primary, ids)
    columns |= {field: _optional(sources, field) for field in _OPTIONAL[4:]}
    likely = chosen.probability[np.arange(len(chosen)), primary]
    columns[
        described(
            "probability",
            pa.float32(),
            "",
            "stat.probability",
            "Probability that what `program` claims of this target's proxies is true",
        )
    ] = pa.array(likely, pa.float32(), from_pandas=True)
    taken = {field.name for field in columns}
    for name in carried(formulas, sources.schema):
        if name not in taken:
            columns[sources.schema.field(name)] = sources.column(name)
    return pa.table(list(columns.values()), schema=pa.schema(list(columns)))


def _primary(chosen: Membership, rules: Rules) -> np.ndarray:
    """The index of each target's class of highest priority; the lowest bit among equals."""
    by_bit = np.argsort([each.bit for each in rules.classes])
    wanted = np.where(chosen.selected, chosen.priority.astype(np.int64), LEAST - 1)
    return by_bit[wanted[:, by_bit].argmax(axis=1)]


def _positions(
    sources: pa.Table, names: Mapping[str, str]
) -> dict[pa.Field, pa.Array | pa.ChunkedArray]:
    fields = {
        "_healpix_29": described(
            "_healpix_29", pa.int64(), "", "pos.healpix", "HEALPix, nested, order 29", False
        ),
        names["ra"]: described("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "ICRS", False),
        names["dec"]: described("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "ICRS", False),
    }
    return {each: sources.column(name).cast(each.type) for name, each in fields.items()}


def _wishes(
    chosen: Membership, rules: Rules, primary: np.ndarray, ids: pa.ChunkedArray
) -> dict[pa.Field, pa.Array | pa.ChunkedArray]:
    """What is wanted of each target: priority, program, bits."""
    classes = rules.classes
    bits = np.array([1 << each.bit for each in classes], dtype=np.int64)
    programs = np.array([each.name for each in classes], dtype=object)
    columns = {
        described(
            "priority", pa.int32(), "", "meta.code;obs", "Higher is more wanted", nullable=False
        ): chosen.priority[np.arange(len(chosen)), primary],
        described(
            "subpriority", pa.float64(), "", "stat.rank", "Breaks ties; higher first", False
        ): uniform(ids.to_numpy(), rules.seed, "subpriority")[:, 0],
        described(
            "program", pa.string(), "", "meta.id;obs.proposal", "Class of highest priority", False
        ): programs[primary],
        described(
            "target_bits", pa.int64(), "", "meta.code.class", "One bit per class", nullable=False
        ): np.bitwise_or.reduce(np.where(chosen.selected, bits, 0), axis=1),
        described(
            "target_type", pa.string(), "", "meta.code.class", "What the fiber is for", False
        ): np.full(len(chosen), "SCIENCE", dtype=object),
    }
    return {each: pa.array(values, each.type) for each, values in columns.items()}


def _optional(sources: pa.Table, wanted: pa.Field) -> pa.Array | pa.ChunkedArray:
    """A catalog's column of that name in whatever case, NaN made null; all null where absent."""
    for name in sources.column_names:
        if name.lower() == wanted.name:
            values = sources.column(name).cast(wanted.type, safe=False)
            unknown = pc.is_null(values, nan_is_null=True)
            return pc.if_else(unknown, pa.scalar(None, wanted.type), values)
    return pa.nulls(sources.num_rows, wanted.type)


def _source_catalog(sources: pa.Table) -> pa.Array | pa.ChunkedArray:
    if "source_catalog" in sources.column_names:
        return sources.column("source_catalog").cast(pa.string())
    name = footer(sources.schema).get("source_catalog")
    return pa.array([name] * sources.num_rows, pa.string())


def carried(formulas: tuple[ClassFormulas, ...], schema: pa.Schema) -> list[str]:
    """The catalog's columns that a target list keeps: fluxes, and whatever the rules look at.

    A predicted quantity brings its width and quantiles along.
    """
    columns = Columns(schema)
    used: set[str] = set()
    for formula in (part for each in formulas for part in each.all):
        named = {column.name for column in f.columns(formula)}
        named |= {part.name for part in f.walk(formula) if isinstance(part, f.Quantile)}
        for name in named & set(columns.proxies):
            named |= {name + end for end in STATISTICS}
        used |= named
    used -= {"_healpix_29", *column_names(schema).values()}  # those have a place of their own
    return [
        name
        for name in schema.names
        if name in used or name.lower().startswith(("flux_", "fiberflux_"))
    ]


def columns_needed(formulas: tuple[ClassFormulas, ...], schema: pa.Schema) -> list[str]:
    """The columns that `evaluate` and `rank` look at, in the order of the file."""
    optional = {each.name for each in _OPTIONAL}
    needed = {"_healpix_29", "source_catalog", *column_names(schema).values()}
    needed |= set(carried(formulas, schema))
    for each in formulas:
        claim = () if each.truth is None else (f.Probability(each.truth),)
        for formula in (*each.all, *claim):
            needed |= columns_read(formula, schema)
    needed |= {name for name in schema.names if name.lower() in optional}
    return [name for name in schema.names if name in needed]


# --- provenance ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counts:
    """What came of the sources: how many there were, and of each class how many passed its
    conditions and how many are left after the contests."""

    n_sources: int
    passed: np.ndarray
    selected: np.ndarray
    contests: list[Contest]


def provenance(
    rules: Rules,
    wanted: Plan,
    schema: pa.Schema,
    counts: Counts,
    values: Mapping[f.Formula, float] | None = None,
    guarantees: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The footer of a target list.

    `values` are those of the plan's quantiles of the catalog, as far as they were needed.
    """
    scored = footer(schema)
    quantiles = {text: (values or {}).get(each) for each, text in wanted.quantiles.items()}
    names = [each.name for each in rules.classes]
    return {
        "format": FORMAT,
        "targetsel": _version(),
        "rules": rules.text,
        "rules_files": [[Path(name).name, text] for name, text in rules.files],
        "rules_sha256": rules.sha256,
        "rules_name": rules.name,
        "seed": rules.seed,
        "files": dict(sorted(wanted.files.items())),
        "bits": {each.name: each.bit for each in rules.classes},
        "priority_direction": "higher_is_better",
        "catalog": scored.get("catalog"),
        "ensemble": scored.get("ensemble"),
        "calibration": scored.get("calibration"),
        "images": scored.get("images"),
        "catalog_quantiles": {
            text: value if value is not None and np.isfinite(value) else None
            for text, value in quantiles.items()
        },
        "guarantees": dict(guarantees or {}),
        "n_sources": counts.n_sources,
        "passed": dict(zip(names, counts.passed.tolist(), strict=True)),
        "counts": dict(zip(names, counts.selected.tolist(), strict=True)),
        "copies": {
            name: contest.copies.tolist()
            for name, contest in zip(names, counts.contests, strict=True)
            if len(contest.copies)
        },
    }


def _version() -> str:
    try:
        return version("targetsel")
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"
