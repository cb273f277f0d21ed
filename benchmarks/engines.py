"""CPU time of an ensemble's networks on every engine that is installed.

    python benchmarks/engines.py [--ensemble mock-ps1] [--rounds 30]

Each engine takes the same batch of 64 made-up cutouts, on one thread, and gives all members'
features. The engines take turns in one process, so that a busy machine slows all alike. Prints the
CPU time that each takes to start (once), its CPU time for each source (median over rounds), the
median of its ratios to torch, of times that lie next to each other, and the largest difference of a
feature from that of torch, relative to the spread of the features.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from targetsel.extras import installed
from targetsel.scoring.engines import ENGINES, TORCH, engine_version
from targetsel.scoring.ensemble import BATCH_SIZE, Ensemble


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of a piece of work, over all threads of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = [name for name in ENGINES if name == TORCH or installed(name)]
    ensembles = {name: Ensemble.read(arguments.ensemble, engine=name) for name in names}
    plan = ensembles[TORCH].input
    rng = np.random.default_rng(0)
    flux = rng.normal(size=(BATCH_SIZE, len(plan.bands), plan.size, plan.size))
    sigma = np.array(plan.stretch.sky_sigma)[:, None, None]
    x = torch.from_numpy(plan.prepare((flux * sigma).astype(np.float32)))
    started = {name: cpu_seconds(each.running_engine) for name, each in ensembles.items()}
    engines = {name: each.running_engine() for name, each in ensembles.items()}
    times = np.empty((arguments.rounds, len(names)))
    with torch.inference_mode():
        found = {name: engine(x).numpy() for name, engine in engines.items()}
        for row in times:
            row[:] = [cpu_seconds(lambda each=each: each(x)) for each in engines.values()]
    processor = platform.processor() or platform.machine()
    print(f"machine: {processor}, Python {platform.python_version()}; one thread")
    print(f"{ensembles[TORCH]}; {arguments.rounds} rounds of {BATCH_SIZE} cutouts")
    print(f"{'engine':28} {'start [s]':>9} {'ms/source':>10} {'of torch':>9} {'difference':>11}")
    for k, name in enumerate(names):
        per_source = 1e3 * np.median(times[:, k]) / BATCH_SIZE
        ratio = np.median(times[:, k] / times[:, 0])
        difference = np.abs(found[name] - found[TORCH]).max() / found[TORCH].std()
        print(
            f"{engine_version(name):28} {started[name]:9.1f} {per_source:10.3f} {ratio:9.2f} "
            f"{difference:11.1e}"
        )


if __name__ == "__main__":
    main()
