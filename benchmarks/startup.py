"""CPU time of commands that should start at once, beside that of importing NumPy and PyArrow.

    python benchmarks/startup.py [--demo FOLDER] [--rounds 9]

The commands take turns, so that a busy machine slows all alike. Printed are the median CPU times
(user and system) of whole processes, and the medians of their ratios to the import in the same
round. Python's compiled files are kept in a folder of their own, as an installed package has them.
FOLDER is one that `targetsel demo` made; with it, its sources are selected by the shipped rules.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import targetsel

BASE = ("-c", "import numpy, pyarrow.parquet")
FAULT = """schema: targetsel/rules/v1
name: bright
classes:
  BRIGHT:
    bit: 1
    priority: 3000
    where: [ew_halpa > 30]
"""
COMMANDS = {
    "targetsel --version": ("-m", "targetsel", "--version"),
    "targetsel --help": ("-m", "targetsel", "--help"),
    "first error of a rule file": ("-m", "targetsel", "rules", "lint", "fault.yaml"),
    "targetsel rules lint emission": ("-m", "targetsel", "rules", "lint", "emission"),
    "import targetsel": ("-c", "import targetsel"),
}


def select_of(demo: Path) -> tuple[str, ...]:
    """The command that selects from a demonstration."""
    scored = str(demo.resolve() / "catalog.scored.parquet")
    rules = ("--rules", "emission", "-o", "targets.parquet")
    return ("-m", "targetsel", "select", scored, *rules)


def cpu_seconds(words: tuple[str, ...], folder: str) -> float:
    """CPU time of one Python process in a folder, where compiled files are kept [s]."""
    environment = os.environ | {
        "PYTHONPYCACHEPREFIX": f"{folder}/compiled",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPATH": str(Path(targetsel.__file__).parents[1]),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, env=environment, cwd=folder, text=True
    )
    if done.returncode != ("fault.yaml" in words):
        raise SystemExit(f"{' '.join(words)}: status {done.returncode}\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--demo", type=Path, help="folder that 'targetsel demo' made")
    arguments = parser.parse_args()
    rounds, commands = arguments.rounds, dict(COMMANDS)
    if arguments.demo:
        commands["select of the demonstration"] = select_of(arguments.demo)
    every = (BASE, *commands.values())
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "fault.yaml").write_text(FAULT)
        for words in every:
            cpu_seconds(words, folder)  # compiles, and fills the file cache
        times = np.array([[cpu_seconds(each, folder) for each in every] for _ in range(rounds)])
    print(f"{platform.machine()}, Python {platform.python_version()}, {rounds} rounds")
    print(f"{'import numpy, pyarrow.parquet':32} {np.median(times[:, 0]):6.3f} s")
    for k, name in enumerate(commands, start=1):
        ratio = np.median(times[:, k] / times[:, 0])
        print(f"{name:32} {np.median(times[:, k]):6.3f} s  {ratio:5.2f} times")


if __name__ == "__main__":
    main()
