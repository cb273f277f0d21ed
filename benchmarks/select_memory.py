"""Peak memory of `select` on few and on many rows of the same kind.

    python benchmarks/select_memory.py SCORED RULES [--rows 2400 150000 5000000] [--folder DIR]

The rows of a scored file are repeated with new ids and pixels of the sky, as often as it takes, in
row groups as `score` writes them and in such of all rows of a piece. Each file is selected from in
a process of its own. Prints peak memory and CPU time; memory should be flat in the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Figure, child, peak_memory, print_figures, timed_once

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
    return {"targets": found.n_targets, "peak": peak_memory()}


def figures(
    folder: Path,
    rows: Sequence[int] = (2400, 150_000, 5_000_000),
    scored: Path | None = None,
    rules: str = "emission",
) -> dict[str, Figure]:
    """Peak memory and CPU time of `select` on each number of rows, in small and large groups."""
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "jemalloc"
    found = {}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "tiled.scored.parquet"
        for n in rows:
            for per_group in (65_536, LARGEST_GROUP)[: 2 if n > 65_536 else 1]:
                repeated(scored or folder / "catalog.scored.parquet", path, n, per_group)
                runs = []
                took = timed_once(lambda: runs.append(child(__file__, "--one", path, rules)), n)  # noqa: B023
                what = f"{n:,} rows in groups of {min(n, per_group):,}"
                found[f"{what}, memory"] = Figure((runs[0]["peak"],), "MiB", "memory")
                found[what] = took
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scored", type=Path, nargs="?")
    parser.add_argument("rules", nargs="?")
    parser.add_argument("--rows", type=int, nargs="+", default=[2400, 150_000, 5_000_000])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one_run(Path(given.one[0]), given.one[1])))
    elif not given.scored or not given.rules:
        parser.error("give SCORED and RULES")
    else:
        print_figures(figures(given.folder, given.rows, given.scored, given.rules))


if __name__ == "__main__":
    main()
