"""Accuracy of the stored posterior: probabilities of rules against direct draws.

    python benchmarks/stored_posterior.py [--folder demo] [--sources 200] [--draws 20000]

For each source the latents' mixture is drawn many times, every draw is decoded and measured, and
the share of draws that obey a condition is compared with the probability that `select` computes
from the quantiles and correlations in the scored file. The images are simulated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from measuring import Figure, print_figures

import targetsel as ts
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.scoring.rows import ScoreOptions, score_rows
from targetsel.selection.evaluation import holds, probability
from targetsel.selection.sources import DrawnSources, Sources
from targetsel.spectra.lines import PROXIES

CONDITIONS = (
    "ew_halpha > 20 Angstrom",
    "d4000 > 1.6",
    "ew_halpha > 20 Angstrom and ew_oiii > 5 Angstrom",
    "ew_halpha > 10 Angstrom or ew_oii > 10 Angstrom",
    "d4000 > 1.6 and ew_halpha < 3 Angstrom",
    "ew_nii / ew_halpha > 0.5 and ew_halpha > 3 Angstrom",
    "d4000 < 1.6 and hdelta_a > 2 Angstrom and ew_oii > 5 Angstrom",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--sources", type=int, default=200)
    parser.add_argument("--draws", type=int, default=20_000)
    arguments = parser.parse_args()
    print(f"{arguments.sources} sources, {arguments.draws} direct draws each; simulated images")
    print_figures(figures(arguments.folder, arguments.sources, arguments.draws))


def figures(folder: Path, sources: int = 200, draws: int = 20_000) -> dict[str, Figure]:
    """How far each condition's probability is from the share of direct draws, over sources."""
    ensemble = ts.Ensemble.read()
    images = ts.CutoutStore.open(folder / "cutouts")
    catalog = ts.Catalog.read(folder / "catalog.parquet")
    catalog = catalog.take(np.linspace(0, len(catalog) - 1, sources).astype(int))
    table = score_rows(catalog, images, ensemble, ScoreOptions())
    posterior = ensemble.predict(ts.cut_out(catalog, images))
    stored = Sources(table)
    reader = Binder(CatalogColumns(table.schema))
    conditions = [reader.condition(parse(text)) for text in CONDITIONS]
    direct = np.empty((len(conditions), len(catalog)))
    latents = posterior.draw(draws, seed=123)
    for n in range(len(catalog)):
        proxies = ts.measure(ensemble.decoder.decode(latents[n : n + 1]))
        drawn = DrawnSources(Sources(table.slice(n, 1)), {name: proxies[name] for name in PROXIES})
        for k, condition in enumerate(conditions):
            direct[k, n] = np.mean(holds(condition, drawn))
    found = {}
    for text, condition, share in zip(CONDITIONS, conditions, direct, strict=True):
        off = np.abs(probability(condition, stored) - share)
        error = off.std() / np.sqrt(len(off))
        about = f"mean; 99 %: {np.quantile(off, 0.99):.4f}, largest: {off.max():.4f}"
        found[text] = Figure.of(off.mean(), "accuracy", about, error=error)
    return found


if __name__ == "__main__":
    main()
