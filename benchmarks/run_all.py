"""All benchmarks in small, and what became slower since the last release.

    python benchmarks/run_all.py [--only engines lines] [--passes 3] [--folder FOLDER] [--write]

Every script of `SMALL` is run in a process of its own, one after the other, and all of them again
in each pass: some ten minutes on two free cores. It gives its figures by `figures(folder, ...)`,
the function that its own table is made from, too. They are compared with those of the highest
version in benchmarks/figures-VERSION.json (see comparison.py), or of the file of --then. Times are
CPU times in units of a reference work (see measuring.py), so that a busy machine or another one can
be compared; one of another kind still shifts them. The exit status is 1 if a figure became worse
than noise allows, or is missing.

--write keeps the figures as those of the present version. FOLDER keeps the inputs, a demonstration
of simulated images, for the next time, and what an interrupted run has measured. `NOT_RUN` says why
other scripts are not run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import comparison
from comparison import Kept
from measuring import ONE_THREAD, Figure, command, demonstration, machine

import targetsel

HERE = Path(__file__).parent
SOURCES = 512  # of the demonstration, for a run in small
SMALL: dict[str, dict[str, Any]] = {
    "bytes_per_row": {},
    "demonstration": {},
    "engines": {"rounds": 10},
    "folding": {"rounds": 10},
    "inspection": {"targets": 200, "rounds": 2},
    "joint_probability": {"rows": 50_000, "runs": 2},
    "known": {"sources": 200_000, "spectra": 200_000, "runs": 1},
    "line_strengths": {"mock": 400},
    "lines": {"rounds": 10},
    "mock_speed": {"n": 64, "rounds": 1},
    "night": {"cases": 5, "rows": 10_000},
    "night_pointings": {"cases": 2, "rows": 10_000},
    "priors_files": {"n": 10},
    "score": {"runs": 1, "copies": 2},
    "score_stations": {"rounds": 4},
    "score_with_rules": {"copies": (1,), "runs": 1},
    "select_memory": {"rows": (2400, 150_000)},
    "select_speed": {"rows": 2_000_000, "runs": 1},
    "select_text": {"rows": 1_000_000, "runs": 2},
    "startup": {"rounds": 4},
    "stored_posterior": {"sources": 40, "draws": 5000},
    "visibility": {"rows": 200_000, "runs": 2},
}
_SKIES = "needs skies of 'targetsel mock' of thousands of sources, scored"
_TRAINS = "trains networks for hours"
_MODULE = "is a part of other scripts and measures nothing by itself"
_FAULTS = "looks for faults, and gives no figure of speed, memory or accuracy"
NOT_RUN: dict[str, str] = {
    "accuracy": _SKIES,
    "aperture_features": _MODULE,
    "apertures": "describes what simulated fibers receive, which has no better and worse",
    "calibration": _SKIES,
    "choosing": _SKIES,
    "comparison": _MODULE,
    "contenders": _TRAINS,
    "damage": _FAULTS,
    "damage_files": _MODULE,
    "damage_ids": _MODULE,
    "damage_spectra": _MODULE,
    "deconvolution_reference": "records outputs of code that is not at hand, for a test",
    "dimming": "describes posteriors, which have no better and worse",
    "distillation": _SKIES,
    "embeddings": _TRAINS,
    "even_density": "needs a map of real stars, and takes ten minutes of CPU",
    "farther": "compares simulated galaxies with surveys, which has no better and worse",
    "few_labels": "trains networks for twenty minutes",
    "fetching": "measures by the clock how long an emulated archive keeps it waiting",
    "figure3": _TRAINS,
    "figures_of_merit": _MODULE,
    "growth": "takes a quarter of an hour for up to 20 million rows; growth.md has its figures",
    "growth_page": _MODULE,
    "guarantees": _SKIES,
    "injection": "simulates skies for ten minutes, and its shares have no better and worse",
    "joint_claims": _SKIES,
    "image_numbers": _MODULE,
    "kills": _FAULTS,
    "kills_cases": _MODULE,
    "line_flux": _SKIES,
    "measuring": _MODULE,
    "mutants": _MODULE,
    "mutants_tables": _MODULE,
    "mutants_text": _MODULE,
    "novelty": _SKIES,
    "other_surveys": "trains networks on skies of two surveys for ten minutes",
    "partitions": "kills processes, and takes a quarter of an hour",
    "plain_cuts": _SKIES,
    "planted_class": "gives shares of 50 repeats, which take long",
    "predictability": _SKIES,
    "priors": _SKIES + ", and fits spectra",
    "real_blends": "needs images of archives",
    "real_galaxies": _MODULE,
    "real_images": "needs images of archives",
    "real_outcomes": "needs redshifts of an archive",
    "real_sky": "needs images of archives",
    "real_spectra": "needs spectra of an archive",
    "redshift_rules": _SKIES,
    "redshift_window": _SKIES,
    "redshifts": _SKIES,
    "relearn": _SKIES,
    "rubin_on_paper": "multiplies unit costs, which others measure with more care",
    "run_all": "runs the others",
    "score_threads": "measures by the clock, on a machine that does little else",
    "selection_at_random": _FAULTS,
    "skies": _MODULE,
    "strange": _MODULE,
    "success_forecast": _SKIES,
    "surprise": _SKIES,
    "unit_costs": _MODULE,
}


def one_pass(script: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The figures of one script, as JSON from a process of its own; SystemExit if it fails."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", script, "--folder", str(folder)],
        env=os.environ | ONE_THREAD,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"benchmarks/{script}.py: its figures failed, status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def measured(scripts: list[str], folder: Path, passes: int) -> dict[str, dict[str, Kept]]:
    """The figures of all scripts, told as they come.

    `passes.json` in the folder keeps them until the end, so that an interrupted run goes on.
    """
    path = folder / "passes.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for k in range(passes):
        for script in scripts:
            runs = found.setdefault(script, [])
            if len(runs) > k:
                continue
            start = time.perf_counter()
            runs.append(one_pass(script, folder))
            path.write_text(json.dumps(found))
            took = time.perf_counter() - start
            print(f"pass {k + 1} of {passes}: {script}, {took:.0f} s", file=sys.stderr, flush=True)
    path.unlink(missing_ok=True)
    return {script: _kept(found[script]) for script in scripts}


def _kept(runs: list[dict[str, dict[str, Any]]]) -> dict[str, Kept]:
    figures = [{name: figure_of(each) for name, each in run.items()} for run in runs]
    return {name: Kept.of([each[name] for each in figures]) for name in figures[0]}


def figure_of(written: dict[str, Any]) -> Figure:
    """A figure that was written as JSON."""
    return Figure(**written | {"values": tuple(written["values"])})


def tell(lines: list[comparison.Line], then: dict[str, Any], now: dict[str, Any]) -> None:
    """Print the table, what else changed, and what is to be looked at."""
    print(comparison.table(lines))
    print("\nnoise: a standard error of the ratio; a verdict takes three, and what its kind allows")
    for word, other in then.get("machine", {}).items():
        if other != now["machine"].get(word):
            print(f"\n{word}: {other!r} then, {now['machine'].get(word)!r} now", end="")
    bad = [line for line in lines if line.is_bad]
    count = {line.verdict: 0 for line in lines}
    for line in lines:
        count[line.verdict] += 1
    print(f"\n{len(lines)} figures: " + ", ".join(f"{n} {word}" for word, n in count.items()))
    for line in bad:
        print(f"{line.verdict}: {line.script}.py: {line.name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SMALL, metavar="SCRIPT")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--then", type=Path, help="figures to compare with")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        found = importlib.import_module(given.one).figures(given.folder, **SMALL[given.one])
        print(json.dumps({name: asdict(each) for name, each in found.items()}))
        return 0
    if given.only and given.write:
        parser.error("--write keeps the figures of all scripts: leave out --only")
    scripts = given.only or list(SMALL)
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        now = measured(scripts, prepared(folder), given.passes)
    about = {
        "version": targetsel.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "passes": given.passes,
        "sources": SOURCES,
        "load": [round(each, 1) for each in os.getloadavg()],
    }
    path = given.then or comparison.newest(HERE)
    then, told = comparison.read(path) if path else ({}, {})
    if given.only:
        then = {name: then[name] for name in scripts if name in then}
    lines = comparison.compare(then, now)
    print(f"then: {told.get('version', 'nothing kept')}, {told.get('date', '')}; now: "
          f"{about['version']}, {about['date']}, {about['machine']['processor']}")  # fmt: skip
    tell(lines, told, about)
    if not given.only:
        for script, why in NOT_RUN.items():
            if why != _MODULE:
                print(f"not run: {script}.py {why}")
    if given.write:
        comparison.write(HERE / f"figures-{targetsel.__version__}.json", now, about)
    return int(any(line.is_bad for line in lines))


def prepared(folder: Path) -> Path:
    """A demonstration below the folder, with its scored catalog; the scripts take it."""
    demo = folder / f"demonstration-{SOURCES}"
    if not (demo / "catalog.scored.parquet").exists():
        demonstration(demo, SOURCES)
        command("score", demo / "catalog.parquet", "--threads", 1)
    return demo


if __name__ == "__main__":
    sys.exit(main())
