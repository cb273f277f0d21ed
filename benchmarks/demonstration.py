"""Accuracy of the shipped ensemble on the demonstration, whose images are simulated.

    python benchmarks/demonstration.py [--folder demo]

Needs the output of `targetsel demo FOLDER`. For each proxy: rank correlation of the predicted
median with the truth, how far the share of true values inside the 68 % interval is off (and the
share), and the median standard deviation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import Figure, print_figures
from scipy.stats import spearmanr

from targetsel.spectra.lines import PROXIES, UNITS

INSIDE = 0.6827  # of a Gaussian, within one standard deviation


def figures(folder: Path) -> dict[str, Figure]:
    """For each proxy the rank correlation, and how far the covered share is from 68 %."""
    scored = pd.read_parquet(folder / "catalog.scored.parquet").set_index("source_id")
    scored = scored[scored["status"] == "ok"]
    truth = pd.read_parquet(folder / "truth.parquet").set_index("source_id").loc[scored.index]
    found = {}
    for name in PROXIES:
        inside = truth[name].between(scored[f"{name}_q16"], scored[f"{name}_q84"]).mean()
        rho = spearmanr(scored[name], truth[name]).statistic
        spread = np.median(scored[f"{name}_std"])
        chance = np.sqrt(INSIDE * (1 - INSIDE) / len(scored))
        found[f"{name}, rank correlation"] = Figure.of(rho, "accuracy", higher=True)
        off = Figure.of(abs(inside - INSIDE), "accuracy", f"({inside:.3f})", error=chance)
        found[f"{name}, share inside 68 % is off by"] = off
        found[f"{name}, median std"] = Figure.of(spread, "accuracy", UNITS[name])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    print("demonstration sources with predictions; their images are SIMULATED")
    print_figures(figures(parser.parse_args().folder))


if __name__ == "__main__":
    main()
