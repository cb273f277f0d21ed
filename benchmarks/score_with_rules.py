"""CPU time of `targetsel score --rules`, beside that of scoring all sources, and the lists of both.

    python benchmarks/score_with_rules.py [--folder demo] [--copies 1 4] [--runs 1]

Catalogs are the demonstration's (made first, where FOLDER has none), so many times over. A tenth of
their rows pass the cut of the rules on a magnitude; the rules ask P() of those. Prints CPU seconds
of whole processes on one thread, run in turn (the least of the runs), and whether `select` makes
the same bytes of both. Two sizes tell start-up from the cost of a row; the ratio at 1e5
rows is calculated from that, not measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from score import enlarge

SHARE = 0.1
LARGE = 100_000


def rules_of_a_tenth(folder: Path) -> Path:
    """A rule file whose cut a tenth of the folder's catalog passes."""
    rmag = pq.read_table(folder / "catalog.parquet", columns=["rmag"])["rmag"].to_numpy()
    path = folder / "tenth.yaml"
    path.write_text(
        "schema: targetsel/rules/v1\nname: tenth\nclasses:\n  LINE:\n    priority: 1\n    where:\n"
        f"      - rmag < {np.quantile(rmag, SHARE):.4f} mag\n"
        "      - P(ew_halpha > 5 Angstrom) >= 0.5\n    rank: P(ew_halpha > 5 Angstrom)\n"
    )
    return path


def cpu_seconds(*arguments: object) -> float:
    """CPU seconds of a whole command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "targetsel", *map(str, arguments)],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compared(folder: Path, runs: int) -> tuple[int, float, float, bool]:
    """Rows, CPU seconds of scoring all and of scoring for rules, and whether the lists agree."""
    rules = rules_of_a_tenth(folder)
    whole, some = folder / "whole.scored.parquet", folder / "some.scored.parquet"
    score = ("score", folder / "catalog.parquet", "--threads", 1, "--device", "cpu", "-o")
    pairs = [
        (cpu_seconds(*score, whole), cpu_seconds(*score, some, "--rules", rules))
        for _ in range(runs)
    ]
    lists = []
    for scored in (whole, some):
        output = folder / "tenth.targets.parquet"
        cpu_seconds("select", scored, "--rules", rules, "-o", output)
        lists.append(output.read_bytes())
    seconds = np.min(pairs, axis=0)
    rows = pq.read_metadata(folder / "catalog.parquet").num_rows
    return rows, float(seconds[0]), float(seconds[1]), lists[0] == lists[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--copies", type=int, nargs=2, default=[1, 4])
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    if not (options.folder / "cutouts").exists():
        from targetsel.mock.demonstration import write_demonstration

        write_demonstration(options.folder)
    print(f"machine: {platform.processor() or platform.machine()}, Python "
          f"{platform.python_version()}, {sys.platform}")  # fmt: skip
    print(f"{'rows':>8} {'all [s]':>9} {'rules [s]':>9} {'ratio':>6}  list")
    found = []
    for copies in options.copies:
        with tempfile.TemporaryDirectory() as scratch:
            enlarge(options.folder, Path(scratch), copies)
            rows, whole, some, same = compared(Path(scratch), options.runs)
        found.append((rows, whole, some))
        words = "the same bytes" if same else "DIFFERS"
        print(f"{rows:>8,} {whole:>9.1f} {some:>9.1f} {some / whole:>6.3f}  {words}", flush=True)
    (few, *first), (many, *last) = found
    slopes = [(b - a) / (many - few) for a, b in zip(first, last, strict=True)]
    whole, some = (b + slope * (LARGE - many) for b, slope in zip(last, slopes, strict=True))
    print(f"{LARGE:>8,} {whole:>9.1f} {some:>9.1f} {some / whole:>6.3f}  calculated")


if __name__ == "__main__":
    main()
