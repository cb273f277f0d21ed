"""One catalog scored in partitions by different launchers, and by ones that are killed.

    python benchmarks/partitions.py [--folder demo] [--copies 4] [--rows 500] [--kills 20]
    python benchmarks/partitions.py --copies 411 --rows 50000 --members 1 --kills 0

The demonstration's catalog (made first, where FOLDER has none), so many times over, becomes a HATS
catalog of partitions of at most `--rows` rows, with a store of cutouts in the same partitions. It
is scored as one file, and in partitions: by two processes, by a Dask cluster of two workers, and by
eight shards, two at a time. So is a catalog of a tenth of the copies, before it. Prints the CPU
time of each with all its processes; its overhead over the one file beyond its fixed start, from the
rows that the larger catalog has more; whether partitions are the same bytes, and target lists of
the rules `emission` the same sources in the same order. `--members 1` scores with the first network
of the shipped ensemble alone, uncalibrated: less work per row, beside which an overhead is larger.

Then it is scored again while processes are killed (SIGKILL) at random moments: `--kills` times one
that works, and a quarter as often the one that hands out the work, which is then begun again.
Prints what was done twice, and whether the partitions are the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import command, demonstration

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.partitioned_packing import write_partitions
from targetsel.imaging.store import CutoutStore
from targetsel.scoring.ensemble import Ensemble
from targetsel.tables.hats import HatsCatalog

RULES = "emission"
SHARDS = 8
NEW_IDS = 1_000_000  # added to the ids of each further copy
STEP = 0.001  # degrees of right ascension between copies
ROWS_AT_ONCE = 512
LAUNCHERS: dict[str, list[tuple[object, ...]]] = {
    "two processes": [("--workers", 2)],
    "Dask, two workers": [("--dask", "--workers", 2)],
    f"{SHARDS} shards": [
        ("--workers", 1, "--shard", f"{k}/{SHARDS}") for k in range(1, SHARDS + 1)
    ],
}
PLAIN = "one file"


# --- what is scored -------------------------------------------------------------------------------


def enlarged(demo: Path, folder: Path, copies: int, rows: int) -> Path:
    """A folder with so many copies of a catalog: as one file `sky.parquet`, and in partitions.

    Copies have ids and positions of their own, and the pixels of the first.
    """
    folder.mkdir()
    catalog = pq.read_table(demo / "catalog.parquet")
    store = CutoutStore.open(demo / "cutouts")
    with pq.ParquetWriter(folder / "catalog.parquet", catalog.schema) as writer:
        for copy in range(copies):
            moved = {
                "source_id": catalog["source_id"].to_numpy() + copy * NEW_IDS,
                "ra": (catalog["ra"].to_numpy() + copy * STEP) % 360,
            }
            table = catalog
            for name, values in moved.items():
                place = table.schema.get_field_index(name)
                table = table.set_column(place, table.schema.field(name), pa.array(values))
            writer.write_table(table)
    command("partition", folder / "catalog.parquet", "-o", folder / "sky", "--rows", rows)
    sky = HatsCatalog.open(folder / "sky")
    first = dict(zip(catalog["source_id"].to_pylist(), range(len(catalog)), strict=True))
    pixels = store.read(catalog["source_id"].to_numpy())

    def pieces(path: Path) -> Iterator[tuple[Cutouts, np.ndarray, np.ndarray]]:
        for batch in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE):
            ids, ra, dec = (batch[name].to_numpy() for name in ("source_id", "ra", "dec"))
            old = pixels.take(np.array([first[each] for each in ids % NEW_IDS]))
            yield Cutouts(ids, old.flux, old.bands, old.pixel_scale), ra, dec

    partitions = ((pixel, pieces(sky.path_of(pixel))) for pixel in sky.pixels)
    write_partitions(folder / "cutouts", partitions, store.sky_sigma)
    return folder


def first_members(n: int, folder: Path) -> Path:
    """The shipped ensemble's first networks as an ensemble of their own, uncalibrated."""
    whole = Ensemble.read(calibrated=False)
    of_members = {
        each.name: getattr(whole.novelty, each.name)[:n]
        for each in fields(whole.novelty)
        if each.name in ("mean", "whitening")
    }
    card = {name: value for name, value in whole.card.items() if name != "networks"}
    few = Ensemble(
        whole.networks[:n],
        whole.decoder,
        replace(whole.novelty, **of_members),
        card | {"name": f"first-{n}"},
    )
    few.write(folder)
    assert whole.distilled is not None
    whole.distilled.write(folder)
    return folder


# --- launchers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a way of scoring took, and gave.

    Attributes
    ----------
    seconds : float
        CPU time of all processes, user and system.
    wall : float
        Time until the last ended [s].
    partitions : dict
        Hash of every partition's bytes, by its place; none of a single file.
    targets : str
        Hash of the target list's sources and bits, in its order.
    """

    seconds: float
    wall: float
    partitions: dict[str, str]
    targets: str


def partitions_of(root: Path) -> dict[str, str]:
    """A hash of the bytes of every partition, by its place."""
    files = sorted((root / "dataset").rglob("Npix=*.parquet"))
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def targets_of(scored: Path) -> str:
    """A hash of the sources and bits of the target list of a scored catalog, in its order."""
    output = scored.with_name(f"{scored.name}.targets.parquet")
    command("select", scored, "--rules", RULES, "-o", output)
    table = pq.read_table(output, columns=["target_id", "target_bits"])
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return f"{len(rows):,} {hashlib.sha256(repr(rows).encode()).hexdigest()[:12]}"


def outcomes(folder: Path, ensemble: str | Path) -> dict[str, Outcome]:
    """Score a folder's catalog in every way, one after the other."""
    words = ("--cutouts", folder / "cutouts", "--ensemble", ensemble, "--device", "cpu")
    ways = {PLAIN: (folder / "catalog.parquet", [("--threads", 1)])}
    ways |= {name: (folder / "sky", runs) for name, runs in LAUNCHERS.items()}
    found = {}
    for name, (catalog, runs) in ways.items():
        output = folder / f"{name.split()[0].rstrip(',')}.scored"
        output = output.with_suffix(".scored.parquet") if name == PLAIN else output
        start = time.monotonic()
        one = partial(command, "score", catalog, *words, "-o", output)
        with ThreadPoolExecutor(2) as pool:
            costs = list(pool.map(lambda more, one=one: one(*more), runs))
        took = time.monotonic() - start
        found[name] = Outcome(
            sum(each.seconds for each in costs),
            took,
            {} if name == PLAIN else partitions_of(output),
            targets_of(output),
        )
        print(f"  {name}: {found[name].seconds:.0f} s of CPU, {took:.0f} s", flush=True)
    return found


def compare(small: dict[str, Outcome], large: dict[str, Outcome], rows: tuple[int, int]) -> None:
    """Print what each launcher costs beyond its start, and whether all give the same."""
    more = rows[1] - rows[0]
    plain = (large[PLAIN].seconds - small[PLAIN].seconds) / more
    first = next(each for each in large.values() if each.partitions)
    print(
        f"\n{'':<20}{'CPU [s]':>9}{'end [s]':>9}{'ms/row':>8}{'overhead':>10}  partitions  targets"
    )
    for name, each in large.items():
        per_row = (each.seconds - small[name].seconds) / more
        same = "same bytes" if each.partitions == first.partitions else "DIFFER"
        print(
            f"{name:<20}{each.seconds:>9.0f}{each.wall:>9.0f}{1e3 * per_row:>8.3f}"
            f"{per_row / plain - 1:>10.1%}  {same if each.partitions else '-':<10}  {each.targets}"
        )


# --- kills ----------------------------------------------------------------------------------------


def score_with_kills(
    folder: Path, ensemble: str | Path, expected: dict[str, str], kills: int, seed: int
) -> None:
    """Score while processes are killed, and print what came of it."""
    rng = random.Random(seed)
    output = folder / "killed.scored"
    words = ["-m", "targetsel", "score", folder / "sky", "--cutouts", folder / "cutouts",
             "--ensemble", ensemble, "--device", "cpu", "--workers", "2", "-o", output]  # fmt: skip
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
    parser.add_argument("--members", type=int, help="networks; by default the shipped ensemble")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    demo = demonstration(options.folder)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        ensemble: str | Path = "mock-ps1"
        if options.members:
            ensemble = first_members(options.members, root / "ensemble")
        found, sizes = [], []
        for copies in (max(options.copies // 10, 1), options.copies):
            folder = enlarged(demo, root / f"copies-{copies}", copies, options.rows)
            sizes.append(pq.read_metadata(folder / "catalog.parquet").num_rows)
            n = len(HatsCatalog.open(folder / "sky").pixels)
            print(f"{sizes[-1]:,} rows in {n} partitions", flush=True)
            found.append(outcomes(folder, ensemble))
        compare(*found, (sizes[0], sizes[1]))
        if options.kills:
            expected = next(each.partitions for each in found[1].values() if each.partitions)
            score_with_kills(folder, ensemble, expected, options.kills, options.seed)


if __name__ == "__main__":
    main()
