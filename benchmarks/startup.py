"""CPU time of commands that should start at once, beside that of importing NumPy and PyArrow.

    python benchmarks/startup.py [--rounds 15]

The commands take turns, so that a busy machine slows all alike. Printed are the median CPU times
(user and system) of whole processes, and the medians of their ratios to the import in the same
round.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys

import numpy as np

BASE = ("-c", "import numpy, pyarrow.parquet")
COMMANDS = {
    "targetsel --version": ("-m", "targetsel", "--version"),
    "targetsel rules lint emission": ("-m", "targetsel", "rules", "lint", "emission"),
    "import targetsel": ("-c", "import targetsel"),
}


def cpu_seconds(words: tuple[str, ...]) -> float:
    """CPU time of one Python process [s]."""
    before = os.times()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for words in (BASE, *COMMANDS.values()):
        cpu_seconds(words)  # fills the file cache
    times = np.array(
        [[cpu_seconds(words) for words in (BASE, *COMMANDS.values())] for _ in range(rounds)]
    )
    print(f"{platform.machine()}, Python {platform.python_version()}, {rounds} rounds")
    print(f"{'import numpy, pyarrow.parquet':32} {np.median(times[:, 0]):6.3f} s")
    for k, name in enumerate(COMMANDS, start=1):
        ratio = np.median(times[:, k] / times[:, 0])
        print(f"{name:32} {np.median(times[:, k]):6.3f} s  {ratio:5.2f} times")


if __name__ == "__main__":
    main()
