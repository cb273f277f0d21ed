"""CPU time, bytes and accuracy of files of priors.

    python benchmarks/priors_files.py SCORED [--ensemble ENSEMBLE] [--n 40]

SCORED is a scored catalog, such as the demonstration's. Its priors are written without draws and
with 16 draws each; CPU times are of the whole process, user and system, with imports. Errors of
the bands are those of N sources beside the quantiles of 20,000 random draws, in standard deviations
of each pixel: root mean square over pixels and sources, and beside them those of 512 random draws.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from targetsel.priors.files import PriorFile
from targetsel.priors.prior import LEVELS

MANY, FEW = 20_000, 512


def write(scored: Path, ensemble: str, path: Path, draws: int) -> str:
    """Write priors by the command; say what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["priors", "write", scored, "--ensemble", ensemble, "--draws", draws, "-o", path]
    command = [sys.executable, "-m", "targetsel", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    n, size = pq.read_metadata(path).num_rows, path.stat().st_size
    return (
        f"{n:,} sources with {draws:2} draws: {seconds:6.1f} s CPU, {1000 * seconds / n:5.1f} ms "
        f"and {size / n / 1000:5.1f} kB a source"
    )


def errors(file: PriorFile, ids: list[str]) -> tuple[float, float]:
    """Errors of the bands, and of the quantiles of few random draws [standard deviations]."""
    bands, random = [], []
    for each in ids:
        prior = file.prior(each)
        draws = np.concatenate([prior.draw(MANY // 10, seed) for seed in range(10)])
        true, scatter = np.quantile(draws, LEVELS, axis=0), draws.std(axis=0)
        bands.append((prior.bands() - true) / scatter)
        random.append((np.quantile(prior.draw(FEW, 99), LEVELS, axis=0) - true) / scatter)
    return float(np.sqrt(np.mean(np.square(bands)))), float(np.sqrt(np.mean(np.square(random))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scored", type=Path)
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--n", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "priors.parquet"
        for draws in (16, 0):
            print(write(arguments.scored, arguments.ensemble, path, draws), flush=True)
        file = PriorFile.open(path, arguments.ensemble)
        status = pq.read_table(path, columns=["status"])["status"].to_pylist()
        good = [each for each, said in zip(file.rows, status, strict=True) if said == "ok"]
        chosen = good[:: max(len(good) // arguments.n, 1)][: arguments.n]
        own, random = errors(file, chosen)
    print(
        f"bands of {len(chosen)} sources: rms error {own:.3f}, of {FEW} random draws {random:.3f}"
    )


if __name__ == "__main__":
    main()
