"""Growth of the cost of commands with the rows of a catalog, and a model of a billion rows.

    python benchmarks/growth.py [--folder FOLDER] [--runs 2] [--write]

CPU seconds and peak memory of whole commands, each on one thread in a process of its own, with as
many rows as a quarter of an hour allows. Cutouts are those of the demonstration (made first, where
FOLDER has none), many times over; images are simulated. `score --rules` is asked for a tenth and
for a thousandth of the rows; the store then holds the cutouts of these alone. `select` takes the
catalog and the 25 conditions of select_speed.py, `export` writes lists of made-up targets.

A line is fitted to each command's times and to its memory: start-up, and what a row adds. FOLDER
keeps what was measured, in growth.json, so that the next run goes on from there. --write writes the
page growth.md, every figure of which comes from here.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import select_speed
from growth_page import TENTH, THOUSANDTH, WHOLE, page
from measuring import command, cpu_time, demonstration, machine, reference_work
from score import enlarge
from score_with_rules import rules_of_a_share

from targetsel.imaging.store import CutoutStore

HERE = Path(__file__).parent
SCORED = (1000, 3000, 10_000)  # rows whose pixels are all read
FOR_A_TENTH, FOR_A_THOUSANDTH = (10_000, 30_000, 100_000), (10_000, 100_000)
PACKED = (300, 1000, 3000)
SELECTED = (100_000, 1_000_000, 5_000_000, 20_000_000)
EXPORTED = (1000, 100_000, 1_000_000)
ROUNDING = 1e-3  # [mag] of the cut in a rule file


@dataclass(frozen=True)
class Case:
    """One command on so many rows, and its words."""

    command: str
    rows: int
    words: tuple[object, ...]


# --- inputs ---------------------------------------------------------------------------------------


def inputs(folder: Path) -> Iterator[Case]:
    """The cases, each once its inputs are made."""
    demo = demonstration(folder / "demo")
    for rows in PACKED:
        yield Case("mock", rows, ("mock", "--n", rows, "--workers", 1, "-o", folder / "sky"))
    yield from packed(folder, demo)
    yield from scored(folder, demo)
    yield from selected(folder)


def packed(folder: Path, demo: Path) -> Iterator[Case]:
    """`cutouts pack` of images in NumPy files."""
    store = CutoutStore.open(demo / "cutouts")
    catalog = pq.read_table(demo / "catalog.parquet")
    for rows in PACKED:
        again = catalog.take(pa.array(np.arange(rows) % len(catalog)))
        images = once(folder / f"images-{rows}", lambda path: write_images(path, again, store))  # noqa: B023
        words = ("cutouts", "pack", images, "--catalog", images / "catalog.parquet")
        words += ("--bands", "".join(store.bands), "--pixel-scale", store.pixel_scale)
        words += ("--zeropoint", 22.5)
        yield Case("cutouts pack", rows, (*words, "-o", folder / "packed"))


def write_images(path: Path, catalog: pa.Table, store: CutoutStore) -> None:
    """A folder with an image for each row of the catalog, whose rows are numbered anew, and it."""
    path.mkdir()
    ids = catalog["source_id"].to_numpy()
    for start in range(0, len(ids), 256):
        for k, flux in enumerate(store.read(ids[start : start + 256]).flux, start):
            np.save(path / f"{k}.npy", flux)
    place = catalog.schema.get_field_index("source_id")
    numbers = pa.array(np.arange(len(ids), dtype=np.int64))
    pq.write_table(catalog.set_column(place, "source_id", numbers), path / "catalog.parquet")


def once(path: Path, make: Callable[[Path], object]) -> Path:
    """The path, made if it is not there; under another name until it is whole."""
    if not path.exists():
        unfinished = path.with_name(f"unfinished-{path.name}")
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
        make(unfinished)
        unfinished.rename(path)
    return path


def scored(folder: Path, demo: Path) -> Iterator[Case]:
    """`score` of all rows, and of those that rules leave."""
    n = pq.read_metadata(demo / "catalog.parquet").num_rows
    whole = once(folder / "whole", lambda path: enlarged(demo, path, -(-max(SCORED) // n), 1.0))
    score = ("--cutouts", whole / "cutouts", "--threads", 1, "--device", "cpu")
    for rows in SCORED:
        catalog = first(whole, rows)
        yield Case(WHOLE, rows, ("score", catalog, *score, "-o", folder / "all.scored.parquet"))
    asked = ((TENTH, 0.1, FOR_A_TENTH), (THOUSANDTH, 0.001, FOR_A_THOUSANDTH))
    for name, share, sizes in asked:
        copies = -(-max(sizes) // n)
        some = once(folder / f"some-{share}", lambda path: enlarged(demo, path, copies, share))  # noqa: B023
        rules = rules_of_a_share(demo, share)
        score = ("--cutouts", some / "cutouts", "--threads", 1, "--device", "cpu")
        for rows in sizes:
            words = ("score", first(some, rows), *score, "--rules", rules)
            yield Case(name, rows, (*words, "-o", folder / f"{share}-{rows}.scored.parquet"))


def enlarged(demo: Path, path: Path, copies: int, share: float) -> None:
    """The demonstration so many times over, with cutouts of the brightest share alone."""
    path.mkdir()
    rmag = pq.read_table(demo / "catalog.parquet", columns=["rmag"])["rmag"].to_numpy()
    enlarge(demo, path, copies, rmag <= np.quantile(rmag, share) + ROUNDING)


def first(folder: Path, rows: int) -> Path:
    """The first rows of a folder's catalog, as a file of their own, in an order drawn at random."""
    path = folder / f"catalog-{rows}.parquet"
    if not path.exists():
        table = pq.read_table(folder / "catalog.parquet")
        order = np.random.default_rng(0).permutation(len(table))[:rows]
        pq.write_table(table.take(pa.array(order)), path)
    return path


def selected(folder: Path) -> Iterator[Case]:
    """`select` of the catalog of select_speed.py, and `export` of lists of all rows."""
    rules, every = folder / "speed.yaml", folder / "every.yaml"
    rules.write_text(select_speed.rule_text())
    every.write_text(
        "schema: targetsel/rules/v1\nname: every\nclasses:\n  EVERY:\n    bit: 0\n"
        "    priority: 1000\n    where: [rmag < 99]\n"
    )
    for rows in SELECTED:
        catalog = folder / f"speed-{rows}.scored.parquet"
        once(catalog, lambda path: select_speed.write_catalog(path, rows))  # noqa: B023
        output = folder / "speed.targets.parquet"
        yield Case("select", rows, ("select", catalog, "--rules", rules, "-o", output))
    settings = folder / "desi.yaml"
    settings.write_text("epoch: 2026.5\nobsconditions: DARK\n")
    for rows in EXPORTED:
        catalog = folder / f"list-{rows}.scored.parquet"
        select_speed.write_catalog(catalog, rows)
        targets = folder / f"list-{rows}.targets.parquet"
        command("select", catalog, "--rules", every, "-o", targets)
        words = ("export", targets, "--for", "desi", "--config", settings)
        yield Case("export", rows, (*words, "-o", folder / "desi.fits"))


# --- measuring ------------------------------------------------------------------------------------


def measured(folder: Path, runs: int) -> dict[str, dict]:
    """CPU time and peak memory of each case, by command and rows; kept as they come.

    Times are in units of the reference work right before and after.
    """
    cpu_time(reference_work)  # whose first call loads what it needs
    kept = folder / "growth.json"
    found = json.loads(kept.read_text()) if kept.exists() else {"costs": {}, "reference": []}
    for case in inputs(folder):
        costs = found["costs"].setdefault(case.command, {}).setdefault(str(case.rows), [])
        while len(costs) < runs:
            around = [cpu_time(reference_work)]
            used = command(*case.words)
            around.append(cpu_time(reference_work))
            costs.append([2 * used.seconds / sum(around), used.peak])
            found["reference"] += around
            kept.write_text(json.dumps(found))
            took = f"{used.seconds:.1f} s of CPU, {costs[-1][0]:.1f} reference works"
            print(f"{case.command}, {case.rows:,} rows: {took}, {used.peak:.0f} MiB", flush=True)
    found["lists"] = found.get("lists") or lists(folder)
    found["bytes"] = bytes_of_a_cutout(folder / "demo")
    kept.write_text(json.dumps(found))
    return found


def lists(folder: Path) -> dict[str, int | bool]:
    """Whether rules choose the same of a catalog scored for them as of one scored without them.

    The latter holds only the rows that pass the cut: of others no class could choose.
    """
    rules = rules_of_a_share(folder / "demo", 0.1)
    rows = max(FOR_A_TENTH)
    some = folder / f"0.1-{rows}.scored.parquet"
    catalog = pq.read_table(folder / "some-0.1" / f"catalog-{rows}.parquet")
    cut = float(rules.read_text().partition("rmag < ")[2].split()[0])
    passing = folder / "passing.parquet"
    pq.write_table(catalog.filter(pa.array(catalog["rmag"].to_numpy() < cut)), passing)
    whole = folder / "passing.scored.parquet"
    cutouts = folder / "some-0.1" / "cutouts"
    command("score", passing, "--cutouts", cutouts, "--threads", 1, "-o", whole)
    chosen = []
    for scored in (some, whole):
        output = folder / "tenth.targets.parquet"
        command("select", scored, "--rules", rules, "-o", output)
        chosen.append(pq.read_table(output))
    same = chosen[0].equals(chosen[1])
    return {"rows": rows, "targets": len(chosen[0]), "same": same}


def bytes_of_a_cutout(folder: Path) -> float:
    """Bytes of a store for each of its cutouts."""
    size = sum(path.stat().st_size for path in (folder / "cutouts").rglob("*") if path.is_file())
    return size / pq.read_metadata(folder / "catalog.parquet").num_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(exist_ok=True, parents=True)
        found = measured(folder, given.runs)
    calm = float(np.quantile(found["reference"], 0.1))
    costs = {
        name: {int(n): np.median(each, axis=0) * (calm, 1.0) for n, each in of_rows.items()}
        for name, of_rows in found["costs"].items()
    }
    about = machine() | {
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "runs": "one run" if given.runs == 1 else f"medians of {given.runs} runs",
        "reference": calm,
        "busy": float(np.quantile(found["reference"], 0.9)),
    }
    text = page(costs, found["bytes"], found["lists"], about)
    if given.write:
        (HERE / "growth.md").write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
