"""CPU time of commands that should start at once, beside that of importing NumPy and PyArrow.

    python benchmarks/startup.py [--rounds 15]

The commands take turns, so that a busy machine slows all alike. Printed are the median CPU times
(user and system) of whole processes, and the medians of their ratios to the import in the same
round. Python's compiled files are kept in a folder of their own, as an installed package has them.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile

import numpy as np

BASE = ("-c", "import numpy, pyarrow.parquet")
COMMANDS = {
    "targetsel --version": ("-m", "targetsel", "--version"),
    "targetsel rules lint emission": ("-m", "targetsel", "rules", "lint", "emission"),
    "import targetsel": ("-c", "import targetsel"),
}


def cpu_seconds(words: tuple[str, ...], compiled: str) -> float:
    """CPU time of one Python process [s], whose compiled files are in the folder `compiled`."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    every = (BASE, *COMMANDS.values())
    with tempfile.TemporaryDirectory() as compiled:
        for words in every:
            cpu_seconds(words, compiled)  # compiles, and fills the file cache
        times = np.array([[cpu_seconds(each, compiled) for each in every] for _ in range(rounds)])
    print(f"{platform.machine()}, Python {platform.python_version()}, {rounds} rounds")
    print(f"{'import numpy, pyarrow.parquet':32} {np.median(times[:, 0]):6.3f} s")
    for k, name in enumerate(COMMANDS, start=1):
        ratio = np.median(times[:, k] / times[:, 0])
        print(f"{name:32} {np.median(times[:, k]):6.3f} s  {ratio:5.2f} times")


if __name__ == "__main__":
    main()
