"""Cost of each station of `targetsel score`, and the noise that its draws leave in quantiles.

    python benchmarks/score_stations.py [--folder demo] [--rounds 7] [--noise]

Scores the first 512 sources of the demonstration's cutouts (made first, where FOLDER has none) on
one thread, station by station, and prints the median CPU time of each over interleaved rounds (see
measuring.py), per source, and of all but the networks in units of the networks' own. With --noise
it also draws 16,384 times for every second of them, decodes, and prints how far the stored
quantiles of few draws lie from those, decoded and with the distilled indices, as the root mean
square over sources and proxies of the difference of normal scores.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from measuring import Figure, demonstration, over, print_figures, timed

from targetsel.imaging.cutout import Cutouts, cut_out
from targetsel.imaging.store import CutoutStore
from targetsel.networks.inputs import Inputs
from targetsel.networks.posterior import LatentPosterior
from targetsel.novelty.novelty import Typicality, typicality
from targetsel.scoring.ensemble import BATCH_SIZE, Ensemble
from targetsel.scoring.rows import N_DRAWS, assemble, summarise
from targetsel.scoring.stream import ROWS_PER_CHUNK
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.spectra.lines import PROXIES
from targetsel.spectra.proxies import NORMAL_SCORES, ProxyPosterior, invert

N = 512
MANY = 16_384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--noise", action="store_true")
    arguments = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, one thread, {N} sources")
    print_figures(figures(demonstration(arguments.folder), arguments.rounds))
    if arguments.noise:
        print_noise(arguments.folder, first_sources(arguments.folder), Ensemble.read())


def figures(folder: Path, rounds: int = 7) -> dict[str, Figure]:
    """What each station takes, and all but the networks in units of the networks."""
    torch.set_num_threads(1)
    stations = stations_of(folder, first_sources(folder), Ensemble.read())
    found = timed(stations, rounds, per=N)
    others = [each.values for name, each in found.items() if name != "networks"]
    rest = Figure(tuple(map(sum, zip(*others, strict=True))), "", "time")
    unit = "of the time of the networks"
    return found | {"all but the networks": over(rest, found["networks"], unit)}


def first_sources(folder: Path) -> Catalog:
    """The catalog's sources that come first in the store of cutouts."""
    from pyarrow.parquet import read_table

    table = read_table(folder / "catalog.parquet")
    ids = CutoutStore.open(folder / "cutouts").source_ids(N)
    order = np.argsort(table["source_id"].to_numpy())
    rows = order[np.searchsorted(table["source_id"].to_numpy(), ids, sorter=order)]
    return Catalog(table.take(pa.array(rows)), CatalogFile.open(folder / "catalog.parquet").columns)


def stations_of(folder: Path, catalog: Catalog, ensemble: Ensemble) -> dict[str, Callable[[], Any]]:
    """What `score_rows` does, in pieces that can run alone."""
    plan, store = ensemble.input, CutoutStore.open(folder / "cutouts")
    pieces = [catalog.take(slice(k, k + ROWS_PER_CHUNK)) for k in range(0, N, ROWS_PER_CHUNK)]
    cutouts = [cut_out(each, store) for each in pieces]
    batches = [
        plan.select(each).flux[k : k + BATCH_SIZE]
        for each in cutouts
        for k in range(0, len(each), BATCH_SIZE)
    ]
    stretched = [plan.prepare(each) for each in batches]
    posteriors = [ensemble.predict(each) for each in cutouts]

    def summary(posterior: LatentPosterior) -> dict[str, np.ndarray]:
        proxies = ensemble.predict_proxies(posterior, N_DRAWS)
        return summarise(proxies.posterior) | {**ensemble.class_probabilities(proxies.shares)}

    def judged(piece: Cutouts, posterior: LatentPosterior) -> Typicality:
        return typicality(ensemble.novelty, ensemble.inputs, piece, posterior.typicality)

    inputs = [*map(Inputs.of, cutouts)]
    of_pieces = [pieces, inputs, posteriors, [*map(summary, posteriors)],
                 [*map(judged, cutouts, posteriors)]]  # fmt: skip
    return {
        "cutouts read": lambda: [cut_out(each, store) for each in pieces],
        "cutouts stretched": lambda: [*map(plan.prepare, batches)],
        "networks": lambda: [*map(ensemble._predict, stretched)],
        f"{N_DRAWS} draws decoded, calibrated, summarised": lambda: [*map(summary, posteriors)],
        "typicality and checks of images": lambda: [*map(judged, cutouts, posteriors)],
        "rows assembled": lambda: [
            assemble(*each, ensemble.joint) for each in zip(*of_pieces, strict=True)
        ],
    }


def print_noise(folder: Path, catalog: Catalog, ensemble: Ensemble) -> None:
    """Print the noise of the stored quantiles of few draws."""
    posterior = ensemble.predict(cut_out(catalog, CutoutStore.open(folder / "cutouts")))
    posterior = posterior.take(np.flatnonzero(posterior.known)[::2])
    exact = Ensemble.read()
    exact.distilled = None
    true = exact.predict_proxies(posterior, MANY, seed=1).posterior
    print(f"\nnoise of quantiles against {MANY:,} draws, in normal scores")
    print(f"{'draws':>16}" + "".join(f"{score:>7.1f}" for score in NORMAL_SCORES))
    for n_draws in (96, 128, N_DRAWS, 2 * N_DRAWS):
        for how, one in (("decoded", exact), ("distilled", ensemble)):
            few = one.predict_proxies(posterior, n_draws).posterior
            off = np.concatenate([_off(few, true, name) for name in PROXIES])
            noise = np.sqrt(np.nanmean(off**2, axis=0))
            print(f"{n_draws:>6}{how:>10}" + "".join(f"{each:>7.3f}" for each in noise))


def _off(few: ProxyPosterior, true: ProxyPosterior, name: str) -> np.ndarray:
    """Normal scores at which the quantiles of few draws lie among the true ones, less their own."""
    scores = np.clip(invert(few.knots(name), true.knots(name)) - NORMAL_SCORES, -1, 1)
    return np.where(np.isfinite(scores), scores, np.nan)


if __name__ == "__main__":
    main()
