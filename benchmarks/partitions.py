"""One catalog scored in partitions by different launchers, and by ones that are killed.

    python benchmarks/partitions.py [--folder demo] [--copies 4] [--rows 500] [--kills 20]

The demonstration's catalog (made first, where FOLDER has none), so many times over, becomes a HATS
catalog of partitions of at most `--rows` rows. It is scored as one file, and in partitions: by two
processes, by a Dask cluster of two workers, and by eight shards one after the other. Prints the CPU
time of each with all its processes, beside that of the one file, and whether partitions are the
same bytes, and target lists of the rules `emission` the same sources in the same order.

Then it is scored again while processes are killed (SIGKILL) at random moments: `--kills` times one
that works, and a quarter as often the one that hands out the work, which is then begun again.
Prints what was done twice, and whether the partitions are the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
from measuring import Cost, command, demonstration
from score import enlarge

RULES = "emission"
SHARDS = 8


def partitions_of(root: Path) -> dict[str, bytes]:
    """The bytes of every partition, by its place."""
    files = sorted((root / "dataset").rglob("Npix=*.parquet"))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def targets_of(scored: Path) -> list[tuple[object, ...]]:
    """The sources and bits of the target list of a scored catalog, in its order."""
    output = scored.with_name(f"{scored.name}.targets.parquet")
    command("select", scored, "--rules", RULES, "-o", output)
    table = pq.read_table(output, columns=["target_id", "target_bits"])
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def compare_launchers(folder: Path) -> dict[str, bytes]:
    """Print what each launcher costs, and whether it writes the same; gives the partitions."""
    score = ("score", folder / "sky", "--cutouts", folder / "cutouts", "--device", "cpu")
    plain = command(
        "score", folder / "catalog.parquet", "--threads", 1, "--device", "cpu",
        "-o", folder / "plain.scored.parquet",
    )  # fmt: skip
    ways: dict[str, list[tuple[object, ...]]] = {
        "two processes": [("--workers", 2)],
        "Dask, two workers": [("--dask", "--workers", 2)],
        f"{SHARDS} shards": [("--workers", 1, "--shard", f"{k}/{SHARDS}")
                             for k in range(1, SHARDS + 1)],
    }  # fmt: skip
    print(f"{'':<20}{'CPU [s]':>9}{'of plain':>10}  partitions  targets")
    print(f"{'one file':<20}{plain.seconds:>9.1f}{1:>10.2f}")
    first: dict[str, bytes] = {}
    targets = targets_of(folder / "plain.scored.parquet")
    for name, runs in ways.items():
        output = folder / f"{name.split()[0].rstrip(',')}.scored"
        costs = [command(*score, "-o", output, *words) for words in runs]
        cpu = sum(each.seconds for each in costs)
        found = partitions_of(output)
        first = first or found
        same = "same bytes" if found == first else "DIFFER"
        chosen = "the same" if targets_of(output) == targets else "DIFFER"
        print(f"{name:<20}{cpu:>9.1f}{cpu / plain.seconds:>10.2f}  {same}  {chosen}")
    return first


def score_with_kills(folder: Path, expected: dict[str, bytes], kills: int, seed: int) -> None:
    """Score while processes are killed, and print what came of it."""
    rng = random.Random(seed)
    output = folder / "killed.scored"
    words = ["-m", "targetsel", "score", folder / "sky", "--cutouts", folder / "cutouts",
             "--device", "cpu", "--workers", "2", "-o", output]  # fmt: skip
    workers = drivers = runs = 0
    run = None
    while workers < kills or drivers < kills // 4:
        if run is None or run.poll() is not None:
            if run is not None and run.returncode == 0:
                break
            run = subprocess.Popen(
                [sys.executable, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            runs += 1
            time.sleep(6)
        time.sleep(rng.uniform(0.5, 4))
        if drivers < kills // 4 and rng.random() < 0.2:
            run.kill()
            run.wait()
            drivers += 1
        elif children := _children(run.pid):
            try:
                os.kill(rng.choice(children), signal.SIGKILL)
                workers += 1
            except ProcessLookupError:
                pass
    if run is not None:
        run.wait()
    last = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True)
    events = Counter(
        (path.stem, json.loads(line)["event"])
        for path in (output / "_job" / "parts").glob("*.jsonl")
        for line in path.read_text().splitlines()
    )
    twice = sum(n > 1 for (_, event), n in events.items() if event == "done")
    begun = sum(n for (_, event), n in events.items() if event == "begun")
    found = partitions_of(output)
    print(
        f"\n{workers} workers and {drivers} drivers killed in {runs} runs: {len(found)} parts, "
        f"{begun} attempts, {twice} done twice, {'same bytes' if found == expected else 'DIFFER'}, "
        f"exit status {last.returncode} at the end"
    )


def _children(process: int) -> list[int]:
    """Processes that another one has begun and that work, by Linux' /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(path.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            line = path.joinpath("cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == process and b"resource_tracker" not in line:
            found.append(int(path.name))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        enlarge(demonstration(options.folder), folder, options.copies)
        made: Cost = command(
            "partition", folder / "catalog.parquet", "-o", folder / "sky", "--rows", options.rows
        )
        rows = pq.read_metadata(folder / "catalog.parquet").num_rows
        n = len(list((folder / "sky" / "dataset").rglob("Npix=*.parquet")))
        print(f"{rows:,} rows in {n} partitions, made in {made.seconds:.1f} s of CPU")
        expected = compare_launchers(folder)
        if options.kills:
            score_with_kills(folder, expected, options.kills, options.seed)


if __name__ == "__main__":
    main()
