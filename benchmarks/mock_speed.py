"""Speed and peak memory of `targetsel mock`.

    python benchmarks/mock_speed.py [--n 512] [--rounds 3] [--survey ps1]

Skies of n and of 4 n sources are written in turns, each by a fresh process with one worker and one
thread, after a small one that loads what has to be loaded. Prints the medians of CPU time, peak
memory and bytes on disk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from measuring import Figure, child, peak_memory, print_figures, rounds_of, timed_once

from targetsel.mock.camera import find_camera
from targetsel.surveys.registry import cards


def measure(n: int, survey: str) -> None:
    """Write one sky and print what it took, as JSON."""
    import torch

    from targetsel.mock.plan import SkyPlan
    from targetsel.mock.writing import write_sky

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_sky(Path(folder) / "first", SkyPlan.of(16, 1, find_camera(survey)))
        plan = SkyPlan.of(n, 1, find_camera(survey))
        took = timed_once(lambda: write_sky(Path(folder) / "sky", plan), per=n)
        size = sum(f.stat().st_size for f in (Path(folder) / "sky").rglob("*") if f.is_file())
    size_of_each = Figure((size / n / 1024,), "KiB of a source", "memory")
    peak = Figure((peak_memory(),), "MiB", "memory")
    print(json.dumps([asdict(each) for each in (took, peak, size_of_each)]))


def figures(
    folder: Path | None = None, n: int = 512, rounds: int = 3, survey: str = "ps1"
) -> dict[str, Figure]:
    """CPU time, peak memory and bytes of skies of n and of 4 n sources."""
    runs = []
    for _ in range(rounds):
        runs.append({})
        for size in (n, 4 * n):
            found = child(__file__, "--measure", "--n", size, "--survey", survey)
            for what, each in zip(("written", "peak memory", "on disk"), found, strict=True):
                runs[-1][f"{size} sources {what}"] = Figure(**each)
    return rounds_of(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--survey", choices=cards(), default="ps1")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.n, arguments.survey)
        return
    print_figures(figures(None, arguments.n, arguments.rounds, arguments.survey))


if __name__ == "__main__":
    main()
