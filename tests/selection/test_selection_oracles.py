"""The engine against two others, on random conditions over awkward tables, whoever wrote the file.

The conditions become the classes of a rule file, and `select` reads the Parquet file itself, with
all it does to read less of it. `benchmarks/selection_at_random.py` runs many more of them.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from targetsel.rules.rules import Rules
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList
from tests.selection.expressions_at_random import (
    TABLE_ROWS,
    WRITERS,
    Said,
    awkward_table,
    condition,
)

CLASSES = 60


def by_select(path: Path, conditions: list[Said]) -> np.ndarray:
    """Which rows the engine selects for each condition, shape (conditions, rows)."""
    quoted = (json.dumps(said.ours, ensure_ascii=False) for said in conditions)
    classes = "".join(
        f"  C{bit}: {{bit: {bit}, priority: 1, where: [{text}]}}\n"
        for bit, text in enumerate(quoted)
    )
    rules = Rules.parse(f"schema: targetsel/rules/v1\nname: random\nclasses:\n{classes}")
    output = path.with_suffix(".targets.parquet")
    select(path, rules, output)
    targets = TargetList.read(output).table
    bits = np.zeros(TABLE_ROWS, dtype=np.int64)
    bits[targets["source_id"].to_numpy()] = targets["target_bits"].to_numpy()
    return (bits >> np.arange(len(conditions))[:, None]) & 1 == 1


def by_duckdb(table: pa.Table, conditions: list[Said]) -> np.ndarray:
    listed = ", ".join(f"coalesce({said.sql}, false) AS c{n}" for n, said in enumerate(conditions))
    with duckdb.connect() as connection:
        connection.register("catalog", table)
        found = connection.execute(
            f"SELECT source_id, {listed} FROM catalog ORDER BY 1"
        ).fetchnumpy()
    return np.array([found[f"c{n}"] for n in range(len(conditions))])


def by_polars(table: pa.Table, conditions: list[Said]) -> np.ndarray:
    named = {f"c{n}": said.polars.fill_null(False) for n, said in enumerate(conditions)}
    return pl.DataFrame(table).sort("source_id").select(**named).to_numpy().T


def differences(seed: int, folder: Path) -> list[str]:
    """The conditions of one random rule file that not all three engines agree on."""
    rng = random.Random(seed)
    table = awkward_table(seed)
    conditions = [condition(rng) for _ in range(CLASSES)]
    path = folder / "awkward.scored.parquet"
    WRITERS[seed % len(WRITERS)](table, path)
    ours = by_select(path, conditions)
    others = {"DuckDB": by_duckdb(table, conditions), "polars": by_polars(table, conditions)}
    return [
        f"seed {seed}, {name}, rows {np.flatnonzero(ours[n] != theirs[n])[:5]}: {said.ours}"
        for name, theirs in others.items()
        for n, said in enumerate(conditions)
        if (ours[n] != theirs[n]).any()
    ]


@pytest.mark.parametrize("start", range(0, 50, 10))
def test_three_engines_select_the_same_rows(tmp_path, start):
    found = [each for seed in range(start, start + 10) for each in differences(seed, tmp_path)]
    assert found == []


def test_awkward_table_is_awkward():
    table = awkward_table(0)
    for name in ("x", "f"):
        values = table[name].to_numpy()
        assert table[name].null_count > 10
        assert np.isnan(values).sum() > table[name].null_count
        assert np.isinf(values).sum() >= 10


@pytest.mark.parametrize("write", WRITERS)
def test_row_groups_without_any_number_but_nan_are_read_rightly(tmp_path, write):
    table = awkward_table(1)
    x = np.full(TABLE_ROWS, np.nan)
    x[::50] = np.arange(len(x[::50]))
    table = table.set_column(table.column_names.index("x"), "x", pa.array(x))
    path = tmp_path / "nan.scored.parquet"
    write(table, path)
    texts = ["x >= 0", "x != 1", "not (x > 2)", "x is missing", "not (x is missing)"]
    selected = by_select(path, [Said(text, "", pl.lit(0)) for text in texts])
    assert selected.sum(axis=1).tolist() == [5, 4, 3, TABLE_ROWS - 5, 5]
