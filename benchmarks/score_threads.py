"""How much sooner `targetsel score` ends with two threads than with one, and what is in the way.

    python benchmarks/score_threads.py [--folder demo] [--copies 10] [--rounds 5]

Scores the demonstration's catalog (made first, where FOLDER has none) so many times over with one
and with two threads in turn, each in a process of its own. Prints medians over the rounds: wall and
CPU time of `score` without start-up; of the wall time, what was waited for a core that other
programs held, and the rest, in which nothing ran, as for the interpreter's lock or for pixels (from
Linux' schedstat); and the ratio of wall times of each round's pair, as it is and without the waits
for cores. The ratios tell something only on a machine that does little else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

from measuring import child, demonstration, machine
from score import enlarge

EVERY = 0.05  # s between two looks at the threads


class Watch:
    """The threads of this process: seconds that each ran and waited for a core, as last seen."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[float, float]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look_again, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look_again(self) -> None:
        while not self._end.wait(EVERY):
            for thread in threading.enumerate():
                path = Path(f"/proc/self/task/{thread.native_id}/schedstat")
                if path.exists() and thread.name.startswith(("worker", "MainThread")):
                    ran, waited, _ = path.read_text().split()
                    self.seen[thread.native_id or 0] = int(ran) / 1e9, int(waited) / 1e9


def one_run(folder: Path, threads: int) -> dict[str, float]:
    """Score a folder's catalog in this process."""
    from targetsel.imaging.store import CutoutStore
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.scoring.stream import score
    from targetsel.sky.catalog import CatalogFile

    ensemble = Ensemble.read()
    file = CatalogFile.open(folder / "catalog.parquet")
    store = CutoutStore.open(folder / "cutouts")
    main = threading.main_thread().native_id or 0
    with tempfile.TemporaryDirectory() as scratch, Watch() as watch:
        time.sleep(4 * EVERY)
        before = watch.seen[main]
        wall, cpu = time.perf_counter(), time.process_time()
        score(file, store, ensemble, Path(scratch) / "out.parquet", threads=threads)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        time.sleep(4 * EVERY)
    ran, waited = (after - then for after, then in zip(watch.seen.pop(main), before, strict=True))
    if workers := [*watch.seen.values()]:  # beside the main thread, which begins and ends the work
        ran += statistics.mean(each for each, _ in workers)
        waited += statistics.mean(each for _, each in workers)
    rest = wall - waited - ran
    return {"rows": file.num_rows, "wall": wall, "cpu": cpu, "waited": waited, "rest": rest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_run(arguments.folder, arguments.one)))
        return
    folder = demonstration(arguments.folder)
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as scratch:
        enlarge(folder, Path(scratch), arguments.copies)
        for _ in range(arguments.rounds):
            for threads, found in runs.items():
                found.append(child(__file__, "--folder", scratch, "--one", threads))
    names = ("wall", "cpu", "waited", "rest")
    print(f"{runs[1][0]['rows']:,} sources, {arguments.rounds} rounds; seconds:")
    print(f"{'threads':>8}" + "".join(f"{name:>9}" for name in names))
    for threads, found in runs.items():
        middle = [statistics.median(run[name] for run in found) for name in names]
        print(f"{threads:>8}" + "".join(f"{each:>9.2f}" for each in middle))
    pairs = list(zip(*runs.values(), strict=True))
    ratio = statistics.median(one["wall"] / two["wall"] for one, two in pairs)
    own = statistics.median(
        (one["wall"] - one["waited"]) / (two["wall"] - two["waited"]) for one, two in pairs
    )
    print(f"two threads end {ratio:.2f} times as soon; {own:.2f} times without waits for cores")


if __name__ == "__main__":
    main()
