"""CPU time of an ensemble's networks on every engine that is installed.

    python benchmarks/engines.py [--ensemble mock-ps1] [--rounds 30]

Each engine takes the same batch of 64 made-up cutouts, on one thread, and gives all members'
features. The engines take turns in one process, so that a busy machine slows all alike. Prints the
CPU time of each for the batch (median over rounds, in units of the reference work of measuring.py)
and for a source, the median of its ratios to torch, what it takes to start (once), and the largest
difference of a feature from that of torch, relative to the spread of the features.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import numpy as np
import torch
from measuring import Figure, over, print_figures, timed, timed_once

from targetsel.extras import installed
from targetsel.scoring.engines import ENGINES, TORCH, engine_version
from targetsel.scoring.ensemble import BATCH_SIZE, Ensemble


def figures(
    folder: Path | None = None, rounds: int = 30, ensemble: str = "mock-ps1"
) -> dict[str, Figure]:
    """What each engine takes for a batch, beside torch and to start, and how far off it is."""
    torch.set_num_threads(1)
    names = [name for name in ENGINES if name == TORCH or installed(name)]
    ensembles = {name: Ensemble.read(ensemble, engine=name) for name in names}
    plan = ensembles[TORCH].input
    rng = np.random.default_rng(0)
    flux = rng.normal(size=(BATCH_SIZE, len(plan.bands), plan.size, plan.size))
    sigma = np.array(plan.stretch.sky_sigma)[:, None, None]
    x = torch.from_numpy(plan.prepare((flux * sigma).astype(np.float32)))
    started = {name: timed_once(each.running_engine) for name, each in ensembles.items()}
    engines = {name: each.running_engine() for name, each in ensembles.items()}
    with torch.inference_mode():
        results = {name: engine(x).numpy() for name, engine in engines.items()}
        works = {name: lambda each=each: each(x) for name, each in engines.items()}
        times = timed(works, rounds, per=BATCH_SIZE)
    found = {}
    for name in names:
        found[f"{name}, {BATCH_SIZE} cutouts"] = times[name]
        if name != TORCH:
            off = np.abs(results[name] - results[TORCH]).max() / results[TORCH].std()
            found[f"{name}, of torch"] = over(times[name], times[TORCH], "of the time of torch")
            found[f"{name}, largest difference"] = Figure.of(off, "rounding", "of the spread")
        found[f"{name}, to start"] = started[name]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    processor = platform.processor() or platform.machine()
    print(f"machine: {processor}, Python {platform.python_version()}; one thread")
    print(", ".join(engine_version(name) for name in ENGINES if name == TORCH or installed(name)))
    print(f"{arguments.ensemble}; {arguments.rounds} rounds of {BATCH_SIZE} cutouts")
    print_figures(figures(None, arguments.rounds, arguments.ensemble))


if __name__ == "__main__":
    main()
