"""What a page of inspection costs: to write, in bytes, and in a browser. SIMULATED images.

    targetsel mock --n 5000 --seed 7 --held-out -o sky
    targetsel score sky/catalog.parquet --cutouts sky/cutouts -o sky.scored.parquet
    python benchmarks/inspection.py sky.scored.parquet --cutouts sky/cutouts [--targets 48 5000]

Pages of the catalog's first sources are written by `targetsel inspect --rules emission`, on one
thread: CPU time, time by the clock, peak memory of the process, and bytes. Each page is then opened
from disk in headless Chromium, `--repeats` times in a new browser: the time until its first target
is drawn, and the medians of how long it takes until the screen shows the next target (key j), one
whose data file must be read first, a quality (key 3), a filter, a sorting, and all filters gone.
Times in the browser end with a frame, and frames come every 17 ms. Without selenium or Chromium the
browser is left out. Without a catalog only the CPU time, memory and bytes of a page of 200 sources
of the demonstration are measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from measuring import Figure, command, demonstration, machine, print_figures, timed

import targetsel as ts
from targetsel.tables.parquet import write_table

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1366,900")
SHOWN = "target !== null && target.id === ids[state.at]"
# What is done to the page, and how often.
WORKS = {
    "next target (j)": ("KEYS.j()", 20),
    "target of another file": ("go((state.at + 101) % ids.length)", 10),
    "quality (3)": ("KEYS['3']()", 10),
    "filter": (
        "state.filters = [{name: 'rmag', operator: '<', value: 17 + .05 * k}]; refresh()",
        10,
    ),
    "sort": ("state.sort = ['rmag', 'typicality', 'ra', 'class'][k % 4]; refresh()", 8),
    "no filter": ("state.filters = []; refresh()", 5),
}
TIMED = """
const k = arguments[0], done = arguments[1], start = performance.now();
%s;
const end = () => done(performance.now() - start);
const wait = () => %s ? requestAnimationFrame(() => setTimeout(end)) : setTimeout(wait);
wait();
"""


def first(scored: Path, n: int, output: Path) -> Path:
    """The first sources of a scored catalog, as a catalog of their own."""
    table = pq.read_table(scored).slice(0, n)
    if len(table) < n:
        raise SystemExit(f"{scored}: has {len(table)} sources, expected {n}")
    write_table(table, output, json.loads(table.schema.metadata[b"targetsel"]))
    return output


def browser(folder: Path) -> Any:
    """A new Chromium, or None where there is none."""
    try:
        from selenium import webdriver
    except ImportError:
        return None
    if not (Path(CHROMIUM).exists() and Path(DRIVER).exists()):
        return None
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


def in_browser(page: Path, folder: Path) -> dict[str, float]:
    """Milliseconds that the page takes in one new browser, the median of each work."""
    opened = browser(folder)
    if opened is None:
        return {}
    try:
        opened.get(page.as_uri())
        while not opened.execute_script(f"return {SHOWN}"):
            time.sleep(0.005)
        found = {"until the first target": opened.execute_script("return performance.now()")}
        for name, (work, repeats) in WORKS.items():
            script = TIMED % (work, SHOWN)
            took = [opened.execute_async_script(script, k) for k in range(repeats)]
            found[name] = statistics.median(took)
        return found
    finally:
        opened.quit()


def figures(folder: Path, targets: int, rounds: int) -> dict[str, Figure]:
    """Time, memory and bytes of a page of the demonstration's first sources."""
    home = demonstration(folder)
    with tempfile.TemporaryDirectory() as scratch:
        some = first(home / "catalog.scored.parquet", targets, Path(scratch) / "some.parquet")
        page = Path(scratch) / "page"

        def write() -> None:
            ts.inspect(some, page, cutouts=home / "cutouts", rules="emission")

        found = timed({"page of inspection": write}, rounds, per=targets)
        written = sum(each.stat().st_size for each in page.glob("targets-*.js"))
        options = ("--cutouts", home / "cutouts", "--rules", "emission", "-o", page)
        peak = command("inspect", some, *options).peak
    return {
        **found,
        "peak memory of a page": Figure.of(peak, "memory", "MiB"),
        "bytes per target": Figure.of(written / targets, "rounding", "B"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scored", type=Path, nargs="?")
    parser.add_argument("--cutouts", type=Path)
    parser.add_argument("--targets", type=int, nargs="+", default=[48, 5000])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if given.scored is None:
        with tempfile.TemporaryDirectory() as scratch:
            print_figures(figures(Path(scratch), 200, 3))
        return
    if given.cutouts is None:
        parser.error("--cutouts is missing: the store of the scored catalog")
    print(f"simulated images | {machine()['processor']}, {machine()['cores']} cores, one thread")
    for n in given.targets:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            some, page = first(given.scored, n, folder / "some.parquet"), folder / "page"
            start = time.perf_counter()
            options = ("--cutouts", given.cutouts.resolve(), "--rules", "emission", "-o", page)
            cost = command("inspect", some, *options)
            took = time.perf_counter() - start
            files = {path.name: path.stat().st_size for path in page.iterdir()}
            print(f"\n{n:,} targets")
            print(f"  written in {took:.1f} s by the clock, {cost.seconds:.1f} s CPU; ", end="")
            print(f"peak memory {cost.peak:.0f} MiB")
            print(f"  {sum(files.values()) / 1e6:.2f} MB, of which index.html ", end="")
            print(f"{files['index.html'] / 1e6:.2f} MB; largest data file ", end="")
            print(f"{max(v for k, v in files.items() if k != 'index.html') / 1e6:.2f} MB; ", end="")
            print(f"{sum(files.values()) / n / 1e3:.1f} kB per target")
            runs = [in_browser(page / "index.html", folder / f"b{k}") for k in range(given.repeats)]
            for name in runs[0]:
                each = [run[name] for run in runs]
                print(f"  {name:<24}{statistics.median(each):8.0f} ms  ", end="")
                print(f"({min(each):.0f} to {max(each):.0f})")


if __name__ == "__main__":
    main()
