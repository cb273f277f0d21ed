"""CPU time of conditions on text, beside the same conditions on a whole number that stands for it.

    python benchmarks/select_text.py [--rows 4000000] [--runs 3]

A made-up catalog with a column `type` of five texts, the same as a number `code`, and 200,000
different texts in `name`. Prints CPU seconds of `select` for each condition, the least of the runs,
and of a selection that only compares a magnitude; what a text costs is the difference.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.rules.rules import Rules
from targetsel.selection.select import select

CONDITIONS = {
    "a magnitude alone": (),
    "code != 1": ("code != 1",),
    "type != 'PSF'": ("type != 'PSF'",),
    "code in [2, 3]": ("code in [2, 3]",),
    "type in ['SER', 'DEV']": ("type in ['SER', 'DEV']",),
    "type != other": ("type != other",),
    "name != 'source 5'": ("name != 'source 5'",),
}


def write_catalog(path: Path, rows: int) -> None:
    rng = np.random.default_rng(1)
    code = rng.integers(0, 5, rows)
    types = np.array(["REX", "PSF", "SER", "DEV", "EXP"], dtype=object)
    missing = rng.random(rows) < 0.05
    columns = {
        "source_id": np.arange(rows),
        "ra": rng.uniform(0, 360, rows),
        "dec": rng.uniform(-90, 90, rows),
        "_healpix_29": np.arange(rows),
        "rmag": rng.normal(20, 2, rows).astype(np.float32),
        "code": pa.array(code, mask=missing),
        "type": pa.array(types[code], pa.string(), mask=missing),
        "other": pa.array(types[rng.integers(0, 5, rows)], pa.string()),
        "name": pa.array([f"source {n}" for n in rng.integers(0, 200_000, rows)]),
    }
    pq.write_table(pa.table(columns), path, row_group_size=65_536)


def cpu_seconds(path: Path, conditions: tuple[str, ...]) -> tuple[float, int]:
    """CPU seconds of one selection, and the sources that it chooses."""
    where = "".join(f'      - "{each}"\n' for each in ("rmag < 15", *conditions))
    rules = Rules.parse(
        "schema: targetsel/rules/v1\nname: text\nclasses:\n"
        f"  A:\n    bit: 0\n    priority: 1\n    where:\n{where}"
    )
    start = time.process_time()
    found = select(path, rules, path.with_suffix(".targets.parquet"))
    return time.process_time() - start, found.n_targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.scored.parquet"
        write_catalog(path, options.rows)
        for name, conditions in CONDITIONS.items():
            runs = [cpu_seconds(path, conditions) for _ in range(options.runs)]
            print(f"{name:24} {min(runs)[0]:6.2f} s CPU, {runs[0][1]:,} targets")


if __name__ == "__main__":
    main()
