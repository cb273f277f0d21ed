"""CPU time, bytes and accuracy of files of priors.

    python benchmarks/priors_files.py SCORED [--ensemble ENSEMBLE] [--n 40]

SCORED is a scored catalog, such as the demonstration's. Its priors are written without draws and
with 16 draws each; CPU times are of the whole process, user and system, with imports. Errors of
the bands are those of N sources beside the quantiles of 20,000 random draws, in standard deviations
of each pixel: root mean square over pixels and sources, and beside them those of 512 random draws.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from measuring import Figure, command, print_figures, timed_once

from targetsel.priors.files import PriorFile
from targetsel.priors.prior import LEVELS

MANY, FEW = 20_000, 512


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


def figures(
    folder: Path, n: int = 40, scored: Path | None = None, ensemble: str = "mock-ps1"
) -> dict[str, Figure]:
    """What files of priors take to write, their bytes, and the errors of their bands."""
    found = {}
    scored = scored or folder / "catalog.scored.parquet"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "priors.parquet"
        words = ("priors", "write", scored, "--ensemble", ensemble, "-o", path, "--draws")
        rows = pq.read_metadata(scored).num_rows
        for draws in (16, 0):
            took = timed_once(lambda: command(*words, draws), per=rows)  # noqa: B023
            size = path.stat().st_size / rows / 1000
            found[f"written with {draws} draws"] = took
            found[f"bytes with {draws} draws"] = Figure.of(size, "memory", "kB a source")
        file = PriorFile.open(path, ensemble)
        status = pq.read_table(path, columns=["status"])["status"].to_pylist()
        good = [each for each, said in zip(file.rows, status, strict=True) if said == "ok"]
        chosen = good[:: max(len(good) // n, 1)][:n]
        own, random = errors(file, chosen)
    unit = "standard deviations of a pixel"
    found[f"error of the bands, {n} sources"] = Figure.of(own, "accuracy", unit)
    found[f"the same of {FEW} random draws"] = Figure.of(random, "accuracy", unit)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scored", type=Path)
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--n", type=int, default=40)
    given = parser.parse_args()
    print_figures(figures(given.scored.parent, given.n, given.scored, given.ensemble))


if __name__ == "__main__":
    main()
