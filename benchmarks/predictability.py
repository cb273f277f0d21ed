"""Limits to the prediction of line strengths of a mock sky, from light without and with noise.

    python benchmarks/predictability.py SKY

SKY is a folder that `targetsel mock` wrote: images and spectra are SIMULATED. Gradient boosting
learns proxies of the noise-free spectra from what the fiber sees in broad bands, and from the
source's redshift and magnitude:

12 bins   of the noise-free spectrum in its rest frame, lines included: more than an image tells
bands     colours in the survey's bands, without noise
1, 3 %    the same with Gaussian errors of 0.01 and 0.03 mag

Galaxies behind the sources are either learnt from or predicted, in five parts. What remains is the
scatter of real galaxies' lines at a fixed continuum, which the sky was drawn with; of it, images
can only know what shapes tell. No network is given the redshift. Intervals (68 and 95 %) are from
resampling galaxies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from figures_of_merit import average_precision
from skies import HEADING, Sky, matrix, places
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold

from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import PROXIES
from targetsel.statistics.resampling import Resampling, rank_correlation

BIN_EDGES = np.linspace(3500.0, 6900.0, 13)  # [Angstrom]
ERRORS = (0.01, 0.03)  # [mag]
LINE, STRONG = "ew_halpha_nii", 50.0  # [Angstrom]


def bins(sky: Sky) -> np.ndarray:
    """Log flux in broad bins relative to their mean, shape (N, 12)."""
    spectra = pq.read_table(sky.folder / "spectra.parquet", columns=["source_id", "flux_true"])
    flux = matrix(spectra["flux_true"])[places(spectra["source_id"].to_numpy(), sky.source_id)]
    pixels = np.digitize(wavelengths(), BIN_EDGES) - 1
    shape = np.log(np.stack([flux[:, pixels == k].mean(axis=1) for k in range(12)], axis=1))
    return shape - shape.mean(axis=1, keepdims=True)


def colours(sky: Sky, error: float) -> np.ndarray:
    """Colours of the light in the fiber, with Gaussian errors [mag], shape (N, B - 1)."""
    names = [n for n in pq.read_schema(sky.folder / "truth.parquet").names if n.startswith("fiber")]
    truth = pq.read_table(sky.folder / "truth.parquet", columns=["source_id", *names])
    exact = np.stack([truth[name].to_numpy() for name in names], axis=1)
    exact = exact[places(truth["source_id"].to_numpy(), sky.source_id)]
    return exact + error * np.random.default_rng(0).standard_normal(exact.shape)


def known(sky: Sky) -> dict[str, np.ndarray]:
    """Feature sets of N sources for gradient boosting, by name, each (N, ...)."""
    catalog = pq.read_table(sky.folder / "catalog.parquet", columns=["redshift", "rmag"])
    whole = np.stack([catalog[name].to_numpy() for name in catalog.column_names], axis=1)
    seen = {"12 bins": bins(sky), "bands": colours(sky, 0.0)}
    seen |= {f"{error:.0%}": colours(sky, error) for error in ERRORS}
    return {name: np.column_stack([values, whole]) for name, values in seen.items()}


def predicted(features: np.ndarray, proxy: np.ndarray, sky: Sky) -> np.ndarray:
    """Cross-validated predictions of a proxy by gradient boosting, shape (N,)."""
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
    resampling = Resampling(sky.group, sky.weight, n=1000)
    print(f"{HEADING} | {sky.name}: {len(sky)} sources, by boosting on what the fiber sees")
    for seen, features in known(sky).items():
        for name in PROXIES:
            found = predicted(features, sky.proxies[name], sky)
            estimate = resampling.estimate(rank_correlation(found, sky.proxies[name]))
            print(f"{seen:10}rank correlation, {name:26}{estimate.text()}", flush=True)
            if name == LINE:
                strong = sky.proxies[name] > STRONG
                precision = resampling.estimate(average_precision(strong, found))
                print(f"{seen:10}average precision, {name} > {STRONG:g} A  {precision.text()}")


if __name__ == "__main__":
    main()
