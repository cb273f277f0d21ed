"""CPU time of conditions on text, beside the same conditions on a whole number that stands for it.

    python benchmarks/select_text.py [--rows 4000000] [--runs 3]

A made-up catalog with a column `type` of five texts, the same as a number `code`, and 200,000
different texts in `name`. Prints the CPU time of `select` for each condition, the median of the
runs, and of a selection that only compares a magnitude; what a text costs is the difference.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Figure, print_figures, timed

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


def figures(folder: Path, rows: int = 4_000_000, runs: int = 3) -> dict[str, Figure]:
    """What a selection takes with each condition."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "text.scored.parquet"
        write_catalog(path, rows)
        output = path.with_suffix(".targets.parquet")
        works = {
            name: lambda rules=rules_of(conditions): select(path, rules, output)
            for name, conditions in CONDITIONS.items()
        }
        return timed(works, runs, per=rows)


def rules_of(conditions: tuple[str, ...]) -> Rules:
    """One class of the conditions and a bright magnitude."""
    where = "".join(f'      - "{each}"\n' for each in ("rmag < 15", *conditions))
    return Rules.parse(
        "schema: targetsel/rules/v1\nname: text\nclasses:\n"
        f"  A:\n    bit: 0\n    priority: 1\n    where:\n{where}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print_figures(figures(Path(tempfile.gettempdir()), options.rows, options.runs))


if __name__ == "__main__":
    main()
