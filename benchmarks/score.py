"""Speed of `targetsel score`, and its memory, which must not grow with the catalog.

    python benchmarks/score.py [--folder demo] [--runs 3]

Scores the demonstration's catalog (made first, where FOLDER has none) and one of ten times as many
rows, in turn, each in a process of its own with one and with two threads. Prints CPU time without
start-up (medians), and each process's peak memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from measuring import (
    Figure,
    child,
    demonstration,
    peak_memory,
    print_figures,
    rounds_of,
    timed_once,
)

COPIES = 10


def enlarge(
    folder: Path, target: Path, copies: int = COPIES, with_cutouts: np.ndarray | None = None
) -> None:
    """The catalog and store of FOLDER so many times over, under new ids and shifted positions.

    `with_cutouts` (N,) tells the rows whose cutouts the store has; by default all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from targetsel.imaging.cutout import Cutouts
    from targetsel.imaging.packing import write_store
    from targetsel.imaging.store import CutoutStore

    catalog = pq.read_table(folder / "catalog.parquet")
    store = CutoutStore.open(folder / "cutouts")
    kept = np.arange(len(catalog)) if with_cutouts is None else np.flatnonzero(with_cutouts)
    ids, ra, dec = (catalog[name].to_numpy() for name in ("source_id", "ra", "dec"))

    def copied(copy: int, rows) -> tuple[np.ndarray, np.ndarray]:
        return ids[rows] + copy * 1_000_000, (ra[rows] + copy * 0.001) % 360

    def pieces():
        for start in range(0, len(kept), 256):
            rows = kept[start : start + 256]
            old = store.read(ids[rows])
            for copy in range(copies):
                own, place = copied(copy, rows)
                yield Cutouts(own, old.flux, old.bands, old.pixel_scale), place, dec[rows]

    write_store(target / "cutouts", pieces(), store.sky_sigma)
    tables = []
    for copy in range(copies):
        table = catalog
        for name, values in zip(("source_id", "ra"), copied(copy, slice(None)), strict=True):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(name), pa.array(values))
        tables.append(table)
    pq.write_table(pa.concat_tables(tables), target / "catalog.parquet")


def one_run(folder: Path, threads: int) -> None:
    """Score a folder's catalog in this process, and print what it took as JSON."""
    from targetsel.imaging.store import CutoutStore
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.scoring.stream import score
    from targetsel.sky.catalog import CatalogFile

    ensemble = Ensemble.read()
    file = CatalogFile.open(folder / "catalog.parquet")
    store = CutoutStore.open(folder / "cutouts")
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "out.parquet"
        took = timed_once(
            lambda: score(file, store, ensemble, output, threads=threads), per=file.num_rows
        )
    print(json.dumps([asdict(took), peak_memory()]))


def figures(folder: Path, runs: int = 3, copies: int = COPIES) -> dict[str, Figure]:
    """CPU time without start-up and peak memory, of the demonstration and of so many copies."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        enlarge(folder, Path(scratch), copies)
        for _ in range(runs):
            found.append({})
            for threads in (1, 2):
                for name, place in (("catalog", folder), (f"{copies} catalogs", Path(scratch))):
                    took, peak = child(__file__, "--folder", place, "--one", threads)
                    what = f"{name}, {threads} thread{'s' * (threads > 1)}"
                    found[-1][what] = Figure(**took)
                    found[-1][f"{what}, memory"] = Figure((peak,), "MiB", "memory")
    return rounds_of(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one_run(arguments.folder, arguments.one)
        return
    print(f"machine: {platform.processor() or platform.machine()}, Python "
          f"{platform.python_version()}, {sys.platform}")  # fmt: skip
    print_figures(figures(demonstration(arguments.folder), arguments.runs))


if __name__ == "__main__":
    main()
