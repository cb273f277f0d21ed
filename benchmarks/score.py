"""Speed of `targetsel score`, and its memory, which must not grow with the catalog.

    python benchmarks/score.py [--folder demo] [--runs 3]

Scores the demonstration's catalog (made first, where FOLDER has none) and one of ten times as many
rows, in turn, each in a process of its own with one and with two threads. Prints sources per second
without start-up (medians), and each process's peak memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COPIES = 10


def enlarge(folder: Path, target: Path, copies: int = COPIES) -> None:
    """The catalog and store of FOLDER so many times over, under new ids and shifted positions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from targetsel.imaging.cutout import Cutouts
    from targetsel.imaging.packing import write_store
    from targetsel.imaging.store import CutoutStore

    catalog = pq.read_table(folder / "catalog.parquet")
    store = CutoutStore.open(folder / "cutouts")
    tables = []

    def pieces():
        for copy in range(copies):
            ids = catalog["source_id"].to_numpy() + copy * 1_000_000
            ra = (catalog["ra"].to_numpy() + copy * 0.001) % 360
            dec = catalog["dec"].to_numpy()
            table = catalog
            for name, values in (("source_id", ids), ("ra", ra)):
                place = table.schema.get_field_index(name)
                table = table.set_column(place, table.schema.field(name), pa.array(values))
            tables.append(table)
            for start in range(0, len(ids), 256):
                rows = slice(start, start + 256)
                old = store.read(catalog["source_id"].to_numpy()[rows])
                yield Cutouts(ids[rows], old.flux, old.bands, old.pixel_scale), ra[rows], dec[rows]

    write_store(target / "cutouts", pieces(), store.sky_sigma)
    pq.write_table(pa.concat_tables(tables), target / "catalog.parquet")


def one_run(folder: Path, threads: int) -> dict[str, float]:
    """Score a folder's catalog in this process."""
    from targetsel.imaging.store import CutoutStore
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.scoring.stream import score
    from targetsel.sky.catalog import CatalogFile

    ensemble = Ensemble.read()
    file = CatalogFile.open(folder / "catalog.parquet")
    store = CutoutStore.open(folder / "cutouts")
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        score(file, store, ensemble, Path(scratch) / "out.parquet", threads=threads)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": file.num_rows, "seconds": seconds, "peak_mib": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_run(arguments.folder, arguments.one)))
        return
    if not (arguments.folder / "truth.parquet").exists():
        from targetsel.mock.demonstration import write_demonstration

        write_demonstration(arguments.folder)
    print(f"machine: {platform.processor() or platform.machine()}, Python "
          f"{platform.python_version()}, {sys.platform}")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        large = Path(scratch)
        enlarge(arguments.folder, large)
        results: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(arguments.runs):
            for threads in (1, 2):
                for name, folder in (("1x", arguments.folder), ("10x", large)):
                    command = [sys.executable, __file__, "--folder", str(folder), "--one"]
                    ran = subprocess.run(
                        [*command, str(threads)], capture_output=True, text=True, check=True
                    )
                    results.setdefault((name, threads), []).append(json.loads(ran.stdout))
    print(f"{'catalog':>8} {'rows':>7} {'threads':>7} {'sources/s':>10} {'peak MiB':>9}")
    for (name, threads), runs in results.items():
        speed = statistics.median(run["rows"] / run["seconds"] for run in runs)
        peak = max(run["peak_mib"] for run in runs)
        print(f"{name:>8} {runs[0]['rows']:>7} {threads:>7} {speed:>10.1f} {peak:>9.0f}")


if __name__ == "__main__":
    main()
