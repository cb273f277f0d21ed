"""Speed and peak memory of `targetsel mock`.

    python benchmarks/mock_speed.py [--n 512] [--rounds 3] [--survey ps1]

Skies of n and of 4 n sources are written in turns, each by a fresh process with one worker and one
thread, after a small one that loads what has to be loaded. Prints the medians: sources per second
of wall-clock time and of CPU time (which a busy machine changes less), and the peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from targetsel.mock.camera import CAMERAS


def measure(n: int, survey: str) -> None:
    """Write one sky and print what it took, as JSON."""
    import torch

    from targetsel.mock.plan import SkyPlan
    from targetsel.mock.writing import write_sky

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_sky(Path(folder) / "first", SkyPlan.of(16, 1, CAMERAS[survey]))
        wall, cpu = time.perf_counter(), time.process_time()
        write_sky(Path(folder) / "sky", SkyPlan.of(n, 1, CAMERAS[survey]))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = sum(f.stat().st_size for f in (Path(folder) / "sky").rglob("*") if f.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": n / wall, "cpu": n / cpu, "peak": peak, "size": size / n / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--survey", choices=CAMERAS, default="ps1")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.n, arguments.survey)
        return
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    found: dict[int, list[dict[str, float]]] = {arguments.n: [], 4 * arguments.n: []}
    for _ in range(arguments.rounds):
        for n, figures in found.items():
            command = [sys.executable, __file__, "--measure", "--n", str(n)]
            command += ["--survey", arguments.survey]
            printed = subprocess.run(
                command, env=os.environ | one_thread, check=True, capture_output=True, text=True
            )
            figures.append(json.loads(printed.stdout))
    print(f"{'sources':>8} {'per s':>8} {'per CPU s':>10} {'peak MiB':>9} {'KiB each':>9}")
    for n, figures in found.items():
        middle = {name: np.median([each[name] for each in figures]) for name in figures[0]}
        print(
            f"{n:>8} {middle['wall']:>8.0f} {middle['cpu']:>10.0f} {middle['peak']:>9.0f} "
            f"{middle['size']:>9.1f}"
        )


if __name__ == "__main__":
    main()
