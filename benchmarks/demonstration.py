"""Accuracy of the shipped ensemble on the demonstration, whose images are simulated.

    python benchmarks/demonstration.py [--folder demo]

Needs the output of `targetsel demo FOLDER`. For each proxy: rank correlation of the predicted
median with the truth, and the share of true values inside the 68 % interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from targetsel.spectra.lines import PROXIES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    folder = parser.parse_args().folder
    scored = pd.read_parquet(folder / "catalog.scored.parquet").set_index("source_id")
    scored = scored[scored["status"] == "ok"]
    truth = pd.read_parquet(folder / "truth.parquet").set_index("source_id").loc[scored.index]
    print(f"{len(scored)} demonstration sources with predictions; their images are SIMULATED")
    print(f"{'proxy':<14} {'rank correlation':>16} {'inside 68 %':>12} {'median std':>11}")
    for name in PROXIES:
        inside = truth[name].between(scored[f"{name}_q16"], scored[f"{name}_q84"])
        rho = spearmanr(scored[name], truth[name]).statistic
        spread = np.median(scored[f"{name}_std"])
        print(f"{name:<14} {rho:>16.3f} {inside.mean():>12.3f} {spread:>11.2f}")


if __name__ == "__main__":
    main()
