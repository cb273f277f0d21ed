"""How well line strengths of a mock sky could be known at all, from continua without noise.

    python benchmarks/predictability.py SKY

SKY is a folder that `targetsel mock` wrote: images and spectra are SIMULATED. Gradient boosting
learns each proxy of the noise-free spectra from their fluxes in twelve broad rest-frame bins
without noise, from redshift and from magnitude, which is more of colour than images of five bands
can tell. Galaxies behind the sources are either learnt from or predicted, in five parts. What
remains is the scatter of real galaxies' lines at a fixed continuum, which the sky was drawn with;
of it, images can only know what shapes tell. Every estimate is followed by its 68 and 95 %
intervals, from resampling galaxies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from resampling import Resampling, average_precision, rank_correlation
from skies import HEADING, Sky, matrix, places
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold

from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import PROXIES

BIN_EDGES = np.linspace(3500.0, 6900.0, 13)  # [Angstrom]
LINE, STRONG = "ew_halpha_nii", 50.0  # [Angstrom]


def known(sky: Sky) -> np.ndarray:
    """Log flux in broad bins relative to their mean, redshift and magnitude, shape (N, 14)."""
    spectra = pq.read_table(sky.folder / "spectra.parquet", columns=["source_id", "flux_true"])
    flux = matrix(spectra["flux_true"])[places(spectra["source_id"].to_numpy(), sky.source_id)]
    bins = np.digitize(wavelengths(), BIN_EDGES) - 1
    shape = np.log(np.stack([flux[:, bins == k].mean(axis=1) for k in range(12)], axis=1))
    catalog = pq.read_table(sky.folder / "catalog.parquet", columns=["redshift", "rmag"])
    whole = (catalog[name].to_numpy() for name in catalog.column_names)
    return np.column_stack([shape - shape.mean(axis=1, keepdims=True), *whole])


def predicted(features: np.ndarray, proxy: np.ndarray, sky: Sky) -> np.ndarray:
    """What boosting expects of a proxy, by galaxies it has not learnt from, shape (N,)."""
    found = np.empty(len(sky))
    for learnt, unseen in GroupKFold(5).split(features, groups=sky.group):
        model = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, random_state=0)
        model.fit(features[learnt], np.arcsinh(proxy[learnt]), sky.weight[learnt])
        found[unseen] = model.predict(features[unseen])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sky", type=Path)
    sky = Sky.read(parser.parse_args().sky)
    features, resampling = known(sky), Resampling(sky.group, sky.weight)
    print(f"{HEADING} | {sky.name}: {len(sky)} sources, from noise-free continua in 12 bins")
    for name in PROXIES:
        found = predicted(features, sky.proxies[name], sky)
        estimate = resampling.estimate(rank_correlation(found, sky.proxies[name]))
        print(f"rank correlation, {name:22}{estimate.text()}", flush=True)
        if name == LINE:
            precision = resampling.estimate(average_precision(sky.proxies[name] > STRONG, found))
            print(f"average precision, {name} > {STRONG:g} A  {precision.text()}")


if __name__ == "__main__":
    main()
