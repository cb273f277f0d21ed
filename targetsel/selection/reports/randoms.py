"""Random points inside the footprint and masks of a target list, for clustering measurements.

A class's footprint, its exclusions by position and those of its conditions are applied that need
no more than random points have: `in_moc`, `within`, and columns of the points themselves, such as
a bit mask or a dust map's value. Other conditions say nothing about the sky and are left out; so
are exclusions by id, samples and limits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.expressions.grammar import Branch, NameNode, Node, unwrapped, walk
from targetsel.rules.plan import plan
from targetsel.rules.rule_file import TargetClass
from targetsel.rules.rules import Rules
from targetsel.selection.evaluation import all_hold
from targetsel.selection.sources import Sources
from targetsel.sky.catalog import Catalog, PositionColumns, check_degrees
from targetsel.sky.positions import SQUARE_DEGREES
from targetsel.tables.columns import NEVER, Column, schema_of
from targetsel.tables.files import check_table_output
from targetsel.tables.formats import open_table
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import FOOTER_KEY, ParquetSink
from targetsel.tasks import tracked

FORMAT = "targetsel/randoms/v1"
ROWS_AT_A_TIME = 262_144
POINTS = (  # columns of points that are made here
    Column("random_id", pa.int64(), "", "meta.id;meta.main", "number of the point", NEVER),
    Column("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "ICRS", NEVER),
    Column("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "ICRS", NEVER),
)
PIXEL = Column("_healpix_29", pa.int64(), "", "pos.healpix", "HEALPix, nested, order 29", NEVER)
BITS = Column("target_bits", pa.int64(), "", "meta.code.class", "Classes that could be here", NEVER)
OWN = (PIXEL.name, BITS.name)
_OF_A_CATALOG = ("P", "std", "q", "catalog_quantile")


@dataclass(frozen=True)
class Kept:
    """The random points of one class.

    Attributes
    ----------
    name : str
    n_kept : int
        Points where the class could have targets.
    left_out : tuple of str
        Conditions that cannot be evaluated on random points.
    """

    name: str
    n_kept: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class RandomsSummary:
    """The outcome of `randoms`.

    Attributes
    ----------
    output : Path
        The file written.
    n_points, n_written : int
        Points that were there or made, and those at which any class could have targets.
    classes : tuple of Kept
    """

    output: Path
    n_points: int
    n_written: int
    classes: tuple[Kept, ...]


def randoms(rules: Rules, output: Path, points: Path | float) -> RandomsSummary:
    """Write the random points at which any class could have targets.

    Parameters
    ----------
    rules : Rules
    output : Path
        Parquet: the points with their columns, `_healpix_29`, and `target_bits`, the bits of the
        classes that could have targets there.
    points : Path or float
        A table of random points with ra and dec [deg]; or the number to make per square degree,
        uniform over the sky: the same points for the same seed.

    Raises
    ------
    CatalogError
        If the points cannot be read.
    RuleError
        If the rules do not fit them.
    """
    check_table_output(output, [points] if isinstance(points, Path) else [])
    schema, pieces = _read(points) if isinstance(points, Path) else _made(points, rules.seed)
    reduced, left_out = _reduced(rules, schema)
    conditions = [
        [each.formula for each in target_class.conditions]
        for target_class in plan(reduced, schema).classes
    ]
    n_points, n_written, n_kept = 0, 0, np.zeros(len(conditions), dtype=np.int64)
    bits = BITS.field
    with ParquetSink(output, schema.append(bits).remove_metadata()) as sink:
        for piece in pieces:
            sources = Sources(piece)
            mask = np.array([all_hold(each, sources) for each in conditions])
            shifted = [1 << each.bit for each in rules.classes]
            value = np.bitwise_or.reduce(np.where(mask.T, np.array(shifted), 0), axis=1)
            inside = piece.append_column(bits, pa.array(value)).filter(pa.array(value != 0))
            sink.write(inside)
            n_points, n_written = n_points + len(piece), n_written + len(inside)
            n_kept += mask.sum(axis=1)
        sink.footer.update(_provenance(rules, left_out, n_points, points))
    kept = (
        Kept(each.name, int(n), left_out[each.name])
        for each, n in zip(rules.classes, n_kept, strict=True)
    )
    return RandomsSummary(output, n_points, n_written, tuple(kept))


def _provenance(
    rules: Rules, left_out: Mapping[str, tuple[str, ...]], n_points: int, points: Path | float
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "rules": rules.text,
        "rules_sha256": rules.sha256,
        "bits": {each.name: each.bit for each in rules.classes},
        "conditions_left_out": {name: list(texts) for name, texts in left_out.items()},
        "n_points": n_points,
        "per_deg2": None if isinstance(points, Path) else points,
    }


# --- points --------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema of a table of points, and its pieces."""
    table = open_table(path)
    positions = PositionColumns(path, table.schema)
    for name in positions.names.values():
        check_degrees(path, table.schema.field(name))
    columns = [name for name in table.schema.names if name not in OWN]
    schema = _schema(pa.schema([table.schema.field(name) for name in columns]), positions.names)

    def pieces() -> Iterator[pa.Table]:
        read = table.batches(ROWS_AT_A_TIME, columns)
        for piece in tracked(read, f"reading {path.name}", table.num_rows, "points", len):
            usable = np.isfinite(positions.degrees(piece)[0])
            yield _with_pixels(piece.filter(pa.array(usable)), schema, positions.names)
        positions.finish()

    return schema, pieces()


def _made(per_deg2: float, seed: int) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema of points that are made here, and their pieces."""
    names = {"ra": "ra", "dec": "dec"}
    fields = schema_of(POINTS)
    schema = _schema(fields, names)
    n = round(per_deg2 * SQUARE_DEGREES)

    def pieces() -> Iterator[pa.Table]:
        starts = range(0, n, ROWS_AT_A_TIME)
        rows = (np.arange(start, min(start + ROWS_AT_A_TIME, n)) for start in starts)
        for ids in tracked(rows, "making points", n, "points", len):
            east, north = uniform(ids, seed, "randoms", 2).T
            columns = [ids, 360 * east, np.degrees(np.arcsin(2 * north - 1))]
            table = pa.table([pa.array(each) for each in columns], fields)
            yield _with_pixels(table, schema, names)

    return schema, pieces()


def _schema(points: pa.Schema, names: Mapping[str, str]) -> pa.Schema:
    footer = json.dumps({"columns": dict(names)}).encode()
    return points.append(PIXEL.field).with_metadata({FOOTER_KEY: footer})


def _with_pixels(piece: pa.Table, schema: pa.Schema, names: Mapping[str, str]) -> pa.Table:
    columns = [*piece.columns, pa.array(Catalog(piece, dict(names)).healpix)]
    return pa.table(columns, schema=schema).combine_chunks()


# --- conditions ----------------------------------------------------------------------------------


def _reduced(rules: Rules, schema: pa.Schema) -> tuple[Rules, dict[str, tuple[str, ...]]]:
    """The rules without conditions that points lack columns for; the latter, by class."""
    classes, left_out = [], {}
    for each in rules.classes:
        define = each.preamble.define
        parts = [part for node in each.where for part in _conjuncts(node, define)]
        known = [part for part in parts if _is_known(part, define, schema)]
        missed = [unwrapped(part) for part in parts if part not in known]
        left_out[each.name] = tuple(missed)
        classes.append(_only(each, tuple(known)))
    return replace(rules, classes=tuple(classes)), left_out


def _only(target_class: TargetClass, where: tuple[Node, ...]) -> TargetClass:
    """The class with these conditions, and only those other keys that concern positions."""
    preamble = target_class.preamble
    by_position = [
        tuple(each for each in exclude if each.within is not None)
        for exclude in (target_class.exclude, preamble.exclude)
    ]
    others = ("unless", "rank", "limit", "guarantee", "sample", "dedup")
    fields = TargetClass.model_fields
    kept = {
        "where": where,
        "exclude": by_position[0],
        "priority": 0,
        **{name: fields[name].get_default(call_default_factory=True) for name in others},
    }
    only = target_class.model_copy(update=kept)
    return only.under(replace(preamble, exclude=by_position[1]))


def _conjuncts(node: Node, define: Mapping[str, Node]) -> list[Node]:
    """The conditions that must all hold, definitions of several conditions taken apart."""
    if isinstance(node, NameNode) and isinstance(named := define.get(node.name), Branch):
        return _conjuncts(named, define) if named.word == "and" else [node]
    if isinstance(node, Branch) and node.word == "and":
        return [part for child in node.parts for part in _conjuncts(child, define)]
    return [node]


def _is_known(node: Node, define: Mapping[str, Node], schema: pa.Schema) -> bool:
    """Whether a condition names only columns that the points have."""
    for part in walk(node):
        if isinstance(part, Branch) and part.word in _OF_A_CATALOG:
            return False
        if isinstance(part, NameNode) and part.name in define:
            if not _is_known(define[part.name], define, schema):
                return False
        elif isinstance(part, NameNode) and part.name not in schema.names:
            return False
    return True
