"""Peak memory of `select` on few and on many rows of the same kind.

    python benchmarks/select_memory.py SCORED RULES [--rows 2400 150000 5000000] [--folder DIR]

The rows of a scored file are repeated with new ids and pixels of the sky, as often as it takes, in
row groups as `score` writes them and in such of all rows of a piece. Each file is selected from in
a process of its own. Prints peak memory [MiB] and CPU time [s]; memory should be flat in the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from select_speed import peak_memory

LARGEST_GROUP = 1 << 20


def repeated(scored: Path, path: Path, rows: int, rows_per_group: int) -> None:
    """Write a scored file of that many rows."""
    table = pq.read_table(scored)
    step = 12 * 4**29 // rows
    with pq.ParquetWriter(path, table.schema) as writer:
        for first in range(0, rows, rows_per_group):
            own = np.arange(first, min(first + rows_per_group, rows))
            piece = table.take(pa.array(own % len(table)))
            for name, values in {"source_id": own, "_healpix_29": own * step}.items():
                place = piece.schema.get_field_index(name)
                piece = piece.set_column(place, piece.schema.field(place), pa.array(values))
            writer.write_table(piece, row_group_size=rows_per_group)


def one_run(path: Path, rules: str) -> dict:
    """Select once, in this process, whose allocator is the one that commands have."""
    from targetsel.rules.rules import Rules
    from targetsel.selection.select import select

    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        found = select(path, Rules.read(rules), Path(scratch) / "out.parquet")
    return {"targets": found.n_targets, "peak": peak_memory(), "cpu": time.process_time()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scored", type=Path)
    parser.add_argument("rules")
    parser.add_argument("--rows", type=int, nargs="+", default=[2400, 150_000, 5_000_000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one_run(given.one, given.rules)))
        return
    print(f"{'rows':>10} {'per group':>10} {'targets':>10} {'MiB':>8} {'CPU s':>8}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for rows in given.rows:
            for per_group in (65_536, LARGEST_GROUP):
                if per_group > 65_536 and rows <= 65_536:
                    continue
                path = Path(folder) / "tiled.scored.parquet"
                repeated(given.scored, path, rows, per_group)
                command = [sys.executable, __file__, str(given.scored), given.rules]
                said = subprocess.run(
                    [*command, "--one", str(path)],
                    check=True,
                    capture_output=True,
                    text=True,
                    env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "jemalloc"},
                ).stdout
                found = json.loads(said)
                print(
                    f"{rows:>10,} {per_group:>10,} {found['targets']:>10,} {found['peak']:>8.0f} "
                    f"{found['cpu']:>8.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
