"""Random conditions, each said three times: in our language, in SQL for DuckDB, and to polars.

The other two engines know nothing of "missing is unknown": they get NaN turned into null at every
step, and nulls where a number has no value. Their own three-valued logic then does the rest.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


class Said(NamedTuple):
    """One number or condition, in three languages.

    `types` are those of the columns of a number: numbers of single ones alone are compared in
    float32.
    """

    ours: str
    sql: str
    polars: pl.Expr
    types: frozenset[str] = frozenset()


EDGES = (0.0, -0.0, 1.0, -1.0, 0.1, 100.0, 2.0**53, 5e-324, 1.7e308, float("inf"), -float("inf"))
DOUBLES = ("x", "y")
SINGLES = ("f", "g")
SINGLE = np.finfo(np.float32)
INTEGERS = ("i", "j", "k")
FLAGS = ("b", "c")
TEXTS = ("s", "t", "u")
# Empty, alike but for case and blanks, beyond ASCII, and longer than writers keep in statistics.
WORDS = ("", "a", "A", "a ", " a", "b", "é", "🌌", "x" * 100, "x" * 100 + "y", "O'Neil")
OPERATIONS = ("+", "-", "*", "/", "min", "max", "abs", "sqrt", "log10", "negative", "square")
TABLE_ROWS = 240


def awkward_table(seed: int, rows: int = TABLE_ROWS) -> pa.Table:
    """A scored catalog's least columns, and others full of what makes engines differ."""
    rng = np.random.default_rng(seed)

    def floats(dtype: type) -> pa.Array:
        plain = np.round(rng.normal(0, 30, rows), int(rng.integers(0, 3)))
        edges = rng.choice(np.array(EDGES), rows)
        with np.errstate(over="ignore", under="ignore"):
            values = np.where(rng.random(rows) < 0.4, edges, plain).astype(dtype)
        values[rng.random(rows) < 0.15] = np.nan
        if rng.random() < 0.2:  # so that a writer's statistics speak of few numbers
            values.sort()
        return pa.array(values, mask=rng.random(rows) < 0.15)

    def integers(dtype: type, *edges: int) -> pa.Array:
        values = rng.integers(-5 if min(edges) < 0 else 0, 6, rows).astype(dtype)
        values[rng.random(rows) < 0.3] = rng.choice(np.array(edges, dtype))
        return pa.array(values, mask=rng.random(rows) < 0.1)

    def texts() -> pa.Array:
        values = rng.choice(np.array(WORDS[: rng.integers(1, len(WORDS) + 1)], object), rows)
        if rng.random() < 0.3:
            values = np.sort(values)
        return pa.array(values, pa.string(), mask=rng.random(rows) < 0.2)

    columns = {
        "source_id": pa.array(np.arange(rows)),
        "ra": pa.array(rng.uniform(0, 360, rows)),
        "dec": pa.array(rng.uniform(-90, 90, rows)),
        "_healpix_29": pa.array(np.sort(rng.integers(0, 12 * 4**29, rows))),
        **{name: floats(np.float64) for name in DOUBLES},
        **{name: floats(np.float32) for name in SINGLES},
        "i": integers(np.int64, 2**53, 2**53 + 2, -(2**62)),  # which floats hold
        "j": integers(np.int32, -(2**31), 2**31 - 1),
        "k": integers(np.uint8, 0, 255),
        "b": pa.array(rng.random(rows) < 0.5, mask=rng.random(rows) < 0.2),
        "c": pa.array(rng.random(rows) < 0.9, mask=rng.random(rows) < 0.2),
        "s": texts(),
        "t": texts().dictionary_encode(),
        "u": texts().cast(pa.large_string()),
    }
    return pa.table(columns)


def written_by_pyarrow(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=50, data_page_size=256)


def written_by_polars(table: pa.Table, path: Path) -> None:
    pl.DataFrame(table).write_parquet(path, row_group_size=50, statistics="full")


def written_by_duckdb(table: pa.Table, path: Path) -> None:
    with duckdb.connect() as connection:
        connection.register("catalog", table)
        connection.execute(
            f"COPY (SELECT * FROM catalog) TO '{path}' (FORMAT PARQUET, ROW_GROUP_SIZE 50)"
        )


WRITERS: tuple[Callable[[pa.Table, Path], None], ...] = (
    written_by_pyarrow,
    written_by_polars,
    written_by_duckdb,
)


# --- numbers -------------------------------------------------------------------------------------


def _guarded(said: Said) -> Said:
    """NaN is missing."""
    sql, polars = f"nullif({said.sql}, 'nan'::double)", said.polars.fill_nan(None)
    return said._replace(sql=sql, polars=polars)


def _column(name: str) -> Said:
    types = frozenset(["single" if name in SINGLES else "other"])
    return _guarded(Said(name, f"{name}::double", pl.col(name).cast(pl.Float64), types))


def _constant(value: float) -> Said:
    text = repr(value)
    return Said(text, f"'{text}'::double", pl.lit(float(value), pl.Float64))


def _number(rng: random.Random, depth: int) -> Said:
    """A number in which at least one column takes part."""
    if depth <= 0 or rng.random() < 0.35:
        return _column(rng.choice(DOUBLES + SINGLES + INTEGERS))
    a = _number(rng, depth - 1)
    kind = rng.choice(OPERATIONS)
    if kind == "abs":
        return Said(f"abs({a.ours})", f"abs({a.sql})", a.polars.abs(), a.types)
    if kind == "negative":
        return Said(f"-({a.ours})", f"(-({a.sql}))", -a.polars, a.types)
    if kind == "square":
        square = f"(({a.sql}) * ({a.sql}))"
        return Said(f"({a.ours}) ** 2", square, a.polars * a.polars, a.types)
    if kind == "sqrt":
        root = f"CASE WHEN {a.sql} >= 0 THEN sqrt({a.sql}) END"
        known = pl.when(a.polars >= 0).then(a.polars.sqrt())
        return Said(f"sqrt({a.ours})", f"({root})", known, a.types)
    if kind == "log10":
        log = f"CASE WHEN {a.sql} > 0 THEN log10({a.sql}) END"
        return Said(f"log10({a.ours})", f"({log})", _log10(a.polars), a.types)
    b = _number(rng, depth - 1) if rng.random() < 0.6 else _constant(_a_value(rng))
    if rng.random() < 0.5:
        a, b = b, a
    return _of_two(kind, a, b)


def _log10(number: pl.Expr) -> pl.Expr:
    """polars' own logarithm of 0.001 is not -3 but the number beside it; so it borrows one."""

    def borrowed(values: pl.Series) -> pl.Series:
        with np.errstate(all="ignore"):
            return pl.Series(np.log10(values.to_numpy()))

    return pl.when(number > 0).then(number.map_batches(borrowed, pl.Float64))


def _of_two(kind: str, a: Said, b: Said) -> Said:
    types = a.types | b.types
    if kind in ("min", "max"):
        known = f"{a.sql} IS NOT NULL AND {b.sql} IS NOT NULL"
        word = "least" if kind == "min" else "greatest"
        smaller = a.polars < b.polars
        first = smaller if kind == "min" else ~smaller
        return Said(
            f"{kind}({a.ours}, {b.ours})",
            f"(CASE WHEN {known} THEN {word}({a.sql}, {b.sql}) END)",
            pl.when(first).then(a.polars).when(~first).then(b.polars),
            types,
        )
    divisor_sql = f"nullif({b.sql}, 0)" if kind == "/" else b.sql
    # polars multiplies by the reciprocal of a scalar, one ulp off; it does divide by a column.
    column = b.polars + 0.0 * pl.col("source_id")
    divisor = pl.when(column != 0).then(column) if kind == "/" else b.polars
    joined = {
        "+": lambda: a.polars + divisor,
        "-": lambda: a.polars - divisor,
        "*": lambda: a.polars * divisor,
        "/": lambda: a.polars / divisor,
    }
    ours, sql = f"({a.ours} {kind} {b.ours})", f"({a.sql} {kind} {divisor_sql})"
    return _guarded(Said(ours, sql, joined[kind](), types))


def _a_value(rng: random.Random) -> float:
    return rng.choice([0, 1, 2, 5, 100, 0.1, 0.5, 1.5, 22.5, 1e-3, 1e10])


# --- conditions ----------------------------------------------------------------------------------

_COMPARED = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def _in_single(number: Said) -> Said:
    """A number as single precision has it; one beyond its range stays."""
    small, large = (float(each) for each in (SINGLE.tiny, SINGLE.max))
    sql = (
        f"(CASE WHEN abs({number.sql}) BETWEEN {small!r}::double AND {large!r}::double "
        f"THEN ({number.sql})::float::double ELSE {number.sql} END)"
    )
    rounded = number.polars.cast(pl.Float32, strict=False).cast(pl.Float64)
    inside = number.polars.abs().is_between(small, large)
    return number._replace(sql=sql, polars=pl.when(inside).then(rounded).otherwise(number.polars))


def _compare(a: Said, operator: str, b: Said) -> Said:
    if a.types | b.types == {"single"}:
        a, b = _in_single(a), _in_single(b)
    return Said(
        f"{a.ours} {operator} {b.ours}",
        f"({a.sql} {'=' if operator == '==' else operator} {b.sql})",
        _COMPARED[operator](a.polars, b.polars),
    )


def _limited(a: Said, operator: str, value: float) -> Said:
    """A number beside a literal, which takes the type of a bare column."""
    if a.ours in SINGLES:
        rounded = float(np.float32(value))
        column = Said(a.ours, f"nullif({a.ours}, 'nan'::float)", pl.col(a.ours).fill_nan(None))
        literal = Said(repr(value), f"'{rounded!r}'::float", pl.lit(rounded, pl.Float32))
        return _compare(column, operator, literal)
    if a.ours in INTEGERS and isinstance(value, int):
        column = Said(a.ours, f"{a.ours}::bigint", pl.col(a.ours).cast(pl.Int64))
        literal = Said(str(value), f"{value}::bigint", pl.lit(value, pl.Int64))
        return _compare(column, operator, literal)
    return _compare(a, operator, _constant(value))


def _column_with_literal(rng: random.Random, operator: str) -> Said:
    if rng.random() < 0.5:
        return _limited(_column(rng.choice(SINGLES)), operator, _a_value(rng) * rng.choice([1, -1]))
    value = rng.choice([0, 1, 3, -2, 255, 2**31 - 1, 2**53 + 1])
    return _limited(_column(rng.choice(INTEGERS)), operator, value)


def _all(*parts: Said) -> Said:
    first, *rest = (part.polars for part in parts)
    for each in rest:
        first = first & each
    sql = " AND ".join(part.sql for part in parts)
    return Said(" and ".join(f"({part.ours})" for part in parts), f"({sql})", first)


def _leaf(rng: random.Random) -> Said:
    kind = rng.random()
    operator = rng.choice(list(_COMPARED))
    if kind < 0.3:
        return _column_with_literal(rng, operator)
    if kind < 0.55:
        return _limited(_number(rng, 3), operator, _a_value(rng))
    if kind < 0.7:
        return _compare(_number(rng, 2), operator, _number(rng, 2))
    if kind < 0.78:
        others = FLAGS + TEXTS
        name = rng.choice(others + DOUBLES + SINGLES + INTEGERS)
        number = Said(name, name, pl.col(name)) if name in others else _column(name)
        return Said(f"{name} is missing", f"({number.sql} IS NULL)", number.polars.is_null())
    if kind < 0.83:
        a = _number(rng, 2)
        return Said(f"{a.ours} is not missing", f"({a.sql} IS NOT NULL)", a.polars.is_not_null())
    if kind < 0.85:
        return _flag(rng)
    if kind < 0.88:
        return _text(rng)
    if kind < 0.94:
        a, low, high = _number(rng, 1), _a_value(rng), _a_value(rng)
        both = _all(_limited(a, ">=", low), _limited(a, "<=", high))
        return both._replace(ours=f"{a.ours} between {low!r} and {high!r}")
    if kind < 0.97:
        a, values = _number(rng, 1), [_a_value(rng) for _ in range(rng.choice([2, 3]))]
        first, *more = (_limited(a, "==", each) for each in values)
        sql, polars = first.sql, first.polars
        for each in more:
            sql, polars = f"{sql} OR {each.sql}", polars | each.polars
        return Said(f"{a.ours} in [{', '.join(map(repr, values))}]", f"({sql})", polars)
    a = _column(rng.choice(DOUBLES + SINGLES))
    low, high = _constant(_a_value(rng)), _number(rng, 1)
    chain = _all(_compare(low, "<", a), _compare(a, "<=", high))
    return chain._replace(ours=f"{low.ours} < {a.ours} <= {high.ours}")


def _flag(rng: random.Random) -> Said:
    """A condition on columns of true and false."""
    name, operator = rng.choice(FLAGS), rng.choice(["==", "!="])
    flag, kind = Said(name, name, pl.col(name)), rng.random()
    if kind < 0.3:
        return flag
    if kind < 0.6:
        value = rng.choice(["true", "false"])
        return _compare(flag, operator, Said(value, value, pl.lit(value == "true")))
    if kind < 0.7:
        either = flag.polars | ~flag.polars
        return Said(f"{name} in [true, false]", f"({name} OR NOT {name})", either)
    other = rng.choice(FLAGS)
    return _compare(flag, operator, Said(other, other, pl.col(other)))


def _text(rng: random.Random) -> Said:
    """A condition on columns of text."""

    def column(name: str) -> Said:
        return Said(name, f"{name}::varchar", pl.col(name).cast(pl.String))

    def literal(word: str) -> Said:
        ours = f'"{word}"' if "'" in word else f"'{word}'"
        return Said(ours, "'" + word.replace("'", "''") + "'", pl.lit(word))

    text, operator = column(rng.choice(TEXTS)), rng.choice(["==", "!="])
    kind = rng.random()
    if kind < 0.4:
        sides = [text, literal(rng.choice((*WORDS, "c")))]
        rng.shuffle(sides)
        return _compare(sides[0], operator, sides[1])
    if kind < 0.7:
        return _compare(text, operator, column(rng.choice(TEXTS)))
    listed = [literal(rng.choice((*WORDS, "c"))) for _ in range(rng.choice([1, 2, 5]))]
    ours, sql = (", ".join(each[k] for each in listed) for k in (0, 1))
    first, *more = (text.polars == each.polars for each in listed)
    for each in more:
        first = first | each
    return Said(f"{text.ours} in [{ours}]", f"({text.sql} IN ({sql}))", first)


def condition(rng: random.Random, depth: int = 3) -> Said:
    """A random condition."""
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return _leaf(rng)
    a = condition(rng, depth - 1)
    if kind < 0.5:
        return Said(f"not ({a.ours})", f"(NOT {a.sql})", ~a.polars)
    b = condition(rng, depth - 1)
    if kind < 0.75:
        return _all(a, b)._replace(ours=f"({a.ours}) {rng.choice(['and', '&'])} ({b.ours})")
    word = rng.choice(["or", "|"])
    return Said(f"({a.ours}) {word} ({b.ours})", f"({a.sql} OR {b.sql})", a.polars | b.polars)
