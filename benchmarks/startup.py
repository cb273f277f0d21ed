"""CPU time of commands that should start at once, beside that of importing NumPy and PyArrow.

    python benchmarks/startup.py [--demo FOLDER] [--rounds 9]

The commands take turns, so that a busy machine slows all alike. Printed are the median CPU times
(user and system) of whole processes, and the medians of their ratios to the import before and after
each. Python's compiled files are kept in a folder of their own, as an installed package has them.
FOLDER is one that `targetsel demo` made; with it, its sources are selected by the shipped rules.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Figure, print_figures, timed

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


def run(words: tuple[str, ...], folder: str) -> None:
    """Run one Python process in a folder, where compiled files are kept."""
    environment = os.environ | {
        "PYTHONPYCACHEPREFIX": f"{folder}/compiled",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPATH": str(Path(targetsel.__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, env=environment, cwd=folder, text=True
    )
    if done.returncode != ("fault.yaml" in words):
        raise SystemExit(f"{' '.join(words)}: status {done.returncode}\n{done.stderr}")


def figures(demo: Path | None = None, rounds: int = 9) -> dict[str, Figure]:
    """What each command takes, in units of the import that runs before and after it."""
    commands = COMMANDS | ({"select of the demonstration": select_of(demo)} if demo else {})
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "fault.yaml").write_text(FAULT)
        works = {name: lambda words=words: run(words, folder) for name, words in commands.items()}
        return timed(works, rounds, lambda: run(BASE, folder), "imports of NumPy and PyArrow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--demo", type=Path, help="folder that 'targetsel demo' made")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, {arguments.rounds} rounds")
    print_figures(figures(arguments.demo, arguments.rounds))


if __name__ == "__main__":
    main()
