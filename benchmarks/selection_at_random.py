"""Errors of random conditions against two other engines, and of mutated rules.

    python benchmarks/selection_at_random.py [--expressions 100000] [--mutants 100000] [--workers 2]

Conditions are evaluated by `select`, DuckDB and polars on tables full of NULL, NaN, infinities and
edge values, written by pyarrow, polars and DuckDB in turn; half of the mutants are expressions and
half rule files. The same that tests/selection does with a few thousand of each, here with other
seeds. Prints what went wrong, and the counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.rules.test_rules_fuzz import faults_among_expressions, faults_among_rules
from tests.selection.test_selection_oracles import CLASSES, differences

FIRST = 1_000_000  # seeds that the tests do not use
BATCH = 50


def disagreements(seeds: range) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return [each for seed in seeds for each in differences(seed, Path(folder))]


def run(name: str, find: Callable[[range], list[str]], n: int, workers: int, each: int = 1) -> None:
    """Print the faults that `find` reports for n seeds, each of them `each` cases."""
    start = time.perf_counter()
    batches = [range(FIRST + k, FIRST + min(k + BATCH, n)) for k in range(0, n, BATCH)]
    with ProcessPoolExecutor(workers) as pool:
        faults = [fault for found in pool.map(find, batches) for fault in found]
    for fault in faults[:20]:
        print(fault[:1000])
    print(f"{n * each:,} {name}: {len(faults)} faults, {time.perf_counter() - start:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--expressions", type=int, default=100_000)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    half, files = arguments.mutants // 2, -(-arguments.expressions // CLASSES)
    run("mutated expressions", faults_among_expressions, half, arguments.workers)
    run("mutated rule files", faults_among_rules, half, arguments.workers)
    run("random conditions, three engines", disagreements, files, arguments.workers, CLASSES)


if __name__ == "__main__":
    main()
