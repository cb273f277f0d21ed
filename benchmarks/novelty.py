"""Test of `typicality`: it separates strange sources, and is uniform for ordinary ones.

    python benchmarks/novelty.py SKY [--ensemble mock-ps1] [--ordinary 1500] [--strange 150]

SKY is a folder of `targetsel mock --held-out`; all images are simulated. Strange sources are those
of `strange.py`. Printed for each kind is the area under the ROC curve of `typicality` and of its
parts, against ordinary sources, and the share with `typicality < 0.01`. A band that is lost
altogether is no kind here: such a source gets no prediction, and its status says so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score
from strange import CHANGED, SEEN_ANEW

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.store import CutoutStore
from targetsel.mock.galaxies import Galaxies
from targetsel.novelty.novelty import Typicality, typicality
from targetsel.scoring.ensemble import Ensemble

LEAST_MEAN, LEAST = 0.95, 0.85
PARTS = ("share", "by_features", "by_image")


def typical(ensemble: Ensemble, flux: np.ndarray) -> Typicality:
    """Typicality of cutouts and its parts, taken to have the ensemble's pixel scale."""
    cutouts = Cutouts(np.arange(len(flux)), flux, ensemble.input.bands, ensemble.input.pixel_scale)
    whole = cutouts.take(cutouts.status == "ok")
    by_features = ensemble.predict(whole).typicality
    return typicality(ensemble.novelty, ensemble.inputs, whole, by_features)


def auroc(ordinary: np.ndarray, strange: np.ndarray) -> float:
    """Area under the ROC curve; the smaller share is the stranger."""
    truth = np.repeat([0, 1], [len(ordinary), len(strange)])
    return float(roc_auc_score(truth, -np.concatenate([ordinary, strange])))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sky", type=Path)
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--ordinary", type=int, default=1500)
    parser.add_argument("--strange", type=int, default=150)
    options = parser.parse_args()
    ensemble = Ensemble.read(options.ensemble)
    store = CutoutStore.open(options.sky / "cutouts")
    # At random: the first ids are a sky's galaxies as they are, before any is dimmed.
    ids = np.random.default_rng(0).permutation(store.source_ids())
    some = store.read(ids[: options.ordinary])
    ordinary = typical(ensemble, some.select_bands(ensemble.input.bands).flux)
    test = kstest(ordinary.share, "uniform")
    print(f"{len(ordinary.share)} ordinary sources: typicality against uniform, "
          f"Kolmogorov-Smirnov distance {test.statistic:.3f}, p = {test.pvalue:.2g}")  # fmt: skip
    others = store.read(ids[-options.strange :])
    base = others.take(others.status == "ok").select_bands(ensemble.input.bands).flux
    galaxies = Galaxies.of_demonstration()
    galaxies = galaxies.take(np.linspace(0, len(galaxies) - 1, options.strange).astype(int))
    kinds = {name: make(base) for name, make in CHANGED.items()}
    kinds |= {name: make(galaxies) for name, make in SEEN_ANEW.items()}
    found = []
    print(f"{'AUROC (simulated images)':28}   typicality  features  image  typicality < 0.01")
    for name, flux in kinds.items():
        strange = typical(ensemble, flux)
        areas = [auroc(getattr(ordinary, part), getattr(strange, part)) for part in PARTS]
        found.append(areas[0])
        print(f"{name:28} {areas[0]:.3f}  {areas[1]:8.3f}  {areas[2]:.3f}  "
              f"{(strange.share < 0.01).mean():.2f}")  # fmt: skip
    print(f"mean {np.mean(found):.3f}, least {min(found):.3f}")
    return 0 if np.mean(found) >= LEAST_MEAN and min(found) >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
