"""Real galaxies beside simulated ones, as one survey would see both.

    TARGETSEL_DATA=FOLDER python benchmarks/real_sky.py SKY [--ensemble DIR] [--show real.png]

Real galaxies of a KiDS+VIKING mosaic, brighter than `--faintest` in r, are brought to Pan-STARRS'
pixels, seeing and noise (`real_galaxies`), each several times with noise of three kinds. SKY is a
folder that `targetsel mock` wrote; of its sources those are taken that are like a real one in r and
g - r.
Prints, of real galaxies and of these,

- numbers of their images (statmorph's in r, colours, gradients, noise, the checks of images);
- typicality by the networks' features, for noise that is white, correlated as in the mock, and
  twice as much: a real sky that looks like the mock gives a uniform one;
- how well a classifier tells them apart on galaxies that it did not see (random forest; folds of
  whole galaxies), and which numbers it looks at.

`--rows develop` and `--rows report` take one half of the mosaic's rows each. SKY's images are
SIMULATED. Real galaxies are few: intervals are 68 % from resampling galaxies. Needs photutils,
scikit-image, statmorph and scikit-learn.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from real_galaxies import Brought, Mosaic
from real_images import BANDS
from scipy.spatial import KDTree
from scipy.stats import kstest

from targetsel.imaging.measurements import CHECKS, quality
from targetsel.imaging.store import CutoutStore
from targetsel.mock.camera import PAN_STARRS
from targetsel.scoring.ensemble import Ensemble

HALVES = {"all": slice(None), "develop": slice(0, 1300), "report": slice(1300, 2600)}
KERNELS = {"white": (0.0, 1.0, 0.0), "as the mock": (0.1, 0.8, 0.1), "twice": (0.22, 0.56, 0.22)}
REALISATIONS = 4
MOST_OF_A_PAIR = 20  # mock sources taken for each real one
RESAMPLED = 200


def aperture_colours(flux: np.ndarray) -> dict[str, np.ndarray]:
    """Colours within 2 arcsec of the centre, and how they change to 2 to 4 arcsec, each (N,)."""
    side, scale = flux.shape[-1], PAN_STARRS.pixel_scale
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) * scale
    radius = np.hypot(x, y)

    def magnitudes(inside: np.ndarray) -> np.ndarray:
        light = np.maximum(flux[..., inside].sum(axis=-1), 1e-3)
        return -2.5 * np.log10(light)

    inner, outer = magnitudes(radius < 2), magnitudes((radius >= 2) & (radius < 4))
    out = {}
    for k, name in enumerate(("g - r", "r - i", "i - z", "z - y")):
        out[name] = inner[:, k] - inner[:, k + 1]
        if k < 2:
            out[f"{name} outwards"] = outer[:, k] - outer[:, k + 1] - out[name]
    return out


def shapes(flux: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of statmorph in r, each (N,); NaN where it finds no source."""
    import statmorph
    from photutils.segmentation import SourceFinder

    names = {"rhalf_ellip": "half-light radius", "concentration": "concentration",
             "asymmetry": "asymmetry", "smoothness": "clumpiness", "gini": "Gini", "m20": "M20",
             "ellipticity_asymmetry": "ellipticity"}  # fmt: skip
    found = {name: np.full(len(flux), np.nan) for name in (*names.values(), "neighbours")}
    finder = SourceFinder(8, contrast=0.005, progress_bar=False)
    middle = flux.shape[-1] // 2
    for row, image in enumerate(flux[:, 1].astype(np.float64)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            segments = finder(image, 2.0 * PAN_STARRS.sky_sigma[1])
            if segments is None or not segments.data[middle, middle]:
                continue
            found["neighbours"][row] = segments.nlabels - 1
            try:
                label = segments.data[middle, middle]
                own = statmorph.SourceMorphology(
                    image, segments, label, gain=100.0, sersic_maxiter=1
                )
            except (ValueError, AssertionError, IndexError):
                continue
        for name, plain in names.items():
            found[plain][row] = getattr(own, name)
    found["half-light radius"] *= PAN_STARRS.pixel_scale
    for name in names.values():  # statmorph says -99 where a number cannot be measured
        found[name][found[name] < -90] = np.nan
    return found


def noise(flux: np.ndarray) -> dict[str, np.ndarray]:
    """Noise of the rim in r: its deviation over the survey's, and correlation of neighbours."""
    rim = np.concatenate([flux[:, 1, :8], flux[:, 1, -8:]], axis=1)
    rim -= np.median(rim, axis=(1, 2), keepdims=True)
    limit = 4 * PAN_STARRS.sky_sigma[1]
    rim = np.clip(rim, -limit, limit)
    variance = (rim**2).mean(axis=(1, 2))
    beside = (rim[..., 1:] * rim[..., :-1]).mean(axis=(1, 2)) / variance
    return {"noise": np.sqrt(variance) / PAN_STARRS.sky_sigma[1], "noise of neighbours": beside}


def numbers(flux: np.ndarray) -> dict[str, np.ndarray]:
    """All numbers that are compared, each (N,)."""
    checks = quality(flux, PAN_STARRS.sky_sigma).T
    return {**shapes(flux), **aperture_colours(flux), **noise(flux),
            **dict(zip(CHECKS, checks, strict=True))}  # fmt: skip


def real_galaxies(mosaic: Mosaic, faintest: float, kernel: tuple[float, float, float], seed: int):
    """Cutouts (R, N, B, H, W) of N real galaxies, R times, and the galaxies."""
    galaxies, how = mosaic.galaxies(faintest), Brought(PAN_STARRS, correlation=kernel)
    out = []
    for k in range(REALISATIONS):
        rng = np.random.default_rng([seed, k])
        out.append(
            [how.cutout(mosaic, x, y, rng) for x, y in zip(galaxies.x, galaxies.y, strict=True)]
        )
    return np.array(out), galaxies


def mock_cutouts(sky: Path) -> np.ndarray:
    """Cutouts of a mock sky that lack no pixel, shape (N, B, H, W)."""
    ids = pq.read_table(sky / "catalog.parquet", columns=["source_id"])["source_id"].to_numpy()
    cutouts = CutoutStore.open(sky / "cutouts").read(ids)
    return cutouts.flux[np.isfinite(cutouts.flux).all(axis=(1, 2, 3))]


def magnitude_and_colour(flux: np.ndarray) -> np.ndarray:
    """r and g - r within 3 arcsec of the centre, shape (N, 2)."""
    side = flux.shape[-1]
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) * PAN_STARRS.pixel_scale
    light = np.maximum(flux[..., np.hypot(x, y) < 3].sum(axis=-1), 1e-3)
    magnitude = 22.5 - 2.5 * np.log10(light)
    return np.stack([magnitude[:, 1], magnitude[:, 0] - magnitude[:, 1]], axis=1)


def alike(mock: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Rows of the mock that are nearest to real galaxies in r and g - r."""
    scale = np.array([0.3, 0.1])  # mag
    tree = KDTree(magnitude_and_colour(mock) / scale)
    _, near = tree.query(magnitude_and_colour(real) / scale, min(MOST_OF_A_PAIR, len(mock)))
    return np.unique(near)


def typicality(ensemble: Ensemble, flux: np.ndarray) -> np.ndarray:
    return ensemble.novelty.novelty(ensemble.features(flux))


def describe(shares: np.ndarray) -> str:
    """Of typicalities (R, N): median, share below 0.01 and KS distance, with 68 % intervals."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(RESAMPLED + 1):
        chosen = rng.integers(shares.shape[1], size=shares.shape[1]) if k else slice(None)
        all_ = shares[:, chosen].ravel()
        found.append([np.median(all_), (all_ < 0.01).mean(), kstest(all_, "uniform").statistic])
    low, high = np.quantile(found[1:], [0.16, 0.84], axis=0)
    return "   ".join(
        f"{value:.3f} ({a:.2f} to {b:.2f})" for value, a, b in zip(found[0], low, high, strict=True)
    )


def told_apart(real: np.ndarray, galaxy: np.ndarray, mock: np.ndarray, names: list[str]) -> None:
    """Print the AUROC of a random forest on held-out galaxies, and what it looks at.

    Parameters
    ----------
    real, mock : ndarray, shapes (N, K) and (M, K)
        Their numbers.
    galaxy : ndarray, shape (N,)
        Which galaxy each real row is of.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    x = np.nan_to_num(np.concatenate([real, mock]), nan=-9, posinf=99, neginf=-99)
    y = np.r_[np.ones(len(real)), np.zeros(len(mock))]
    group = np.r_[galaxy, galaxy.max() + 1 + np.arange(len(mock))]
    guess, weights = np.zeros(len(y)), np.zeros(len(names))
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(x, y, group):
        forest = RandomForestClassifier(
            300, min_samples_leaf=5, class_weight="balanced", random_state=0, n_jobs=1
        )
        forest.fit(x[train], y[train])
        guess[test] = forest.predict_proba(x[test])[:, 1]
        weights += forest.feature_importances_ / 5
    rng, found = np.random.default_rng(0), []
    groups = np.unique(galaxy)
    for _ in range(RESAMPLED):
        kept = np.concatenate([np.flatnonzero(group == g) for g in rng.choice(groups, len(groups))])
        kept = np.r_[kept, rng.integers(len(real), len(y), size=len(mock))]
        found.append(roc_auc_score(y[kept], guess[kept]))
    low, high = np.quantile(found, [0.16, 0.84])
    print(f"told apart: AUROC {roc_auc_score(y, guess):.3f} ({low:.3f} to {high:.3f}), by")
    for k in np.argsort(-weights)[:8]:
        print(f"  {names[k]:<24}{weights[k]:.2f}")


def show(path: Path, real: np.ndarray, mock: np.ndarray) -> None:
    """A picture of real galaxies above mock ones that are nearest in r and g - r."""
    import matplotlib.pyplot as plt
    from astropy.visualization import make_lupton_rgb

    columns = 8
    scale = np.array([0.3, 0.1])
    _, near = KDTree(magnitude_and_colour(mock) / scale).query(magnitude_and_colour(real) / scale)
    rows = int(np.ceil(len(real) / columns))
    _, axes = plt.subplots(2 * rows, columns, figsize=(1.6 * columns, 3.3 * rows))
    for axis in axes.flat:
        axis.axis("off")
    for k, (one, other) in enumerate(zip(real, mock[near], strict=True)):
        for at, (flux, what) in enumerate(((one, "real"), (other, "mock"))):
            axis = axes[2 * (k // columns) + at, k % columns]
            axis.imshow(
                make_lupton_rgb(flux[2], flux[1], 1.3 * flux[0], stretch=0.3, Q=8), origin="lower"
            )
            axis.set_title(f"{what} {magnitude_and_colour(flux[None])[0, 0]:.1f}", fontsize=7)
    plt.tight_layout()
    plt.savefig(path, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sky", type=Path)
    parser.add_argument("--ensemble", default="mock-ps1")
    parser.add_argument("--faintest", type=float, default=20.0)
    parser.add_argument("--rows", choices=HALVES, default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=Path)
    options = parser.parse_args()
    mosaic = Mosaic.read()
    for band, psf in zip(BANDS, mosaic.psf, strict=True):
        print(f"{band}: PSF of {psf.width:.2f} arcsec, beta {psf.beta:.1f}")
    mosaic = within(mosaic, HALVES[options.rows])
    ensemble = Ensemble.read(options.ensemble)
    mock = mock_cutouts(options.sky)
    print(f"\ntypicality by features{'':<10}median           below 0.01           KS distance")
    brought = {}
    for name, kernel in KERNELS.items():
        brought[name], galaxies = real_galaxies(mosaic, options.faintest, kernel, options.seed)
        shares = np.array([typicality(ensemble, each) for each in brought[name]])
        print(f"  real, noise {name:<14}{describe(shares)}")
        if galaxies.is_clear.sum() < len(galaxies):
            print(f"    far from bright stars   {describe(shares[:, galaxies.is_clear])}")
    real = brought["as the mock"]
    rows = alike(mock, real[0])
    print(f"  mock, alike               {describe(typicality(ensemble, mock[rows])[None])}")
    print(
        f"{len(galaxies)} real galaxies, {galaxies.is_clear.sum()} far from bright stars; "
        f"{len(rows)} mock sources alike"
    )
    of_real = [numbers(each) for each in real[:2]]
    of_mock = numbers(mock[rows])
    names = list(of_mock)
    table = np.concatenate([np.stack([each[n] for n in names], axis=1) for each in of_real])
    other = np.stack([of_mock[n] for n in names], axis=1)
    print(f"\n{'':<24}{'real 16, 50, 84 %':>26}{'mock 16, 50, 84 %':>28}")
    for k, name in enumerate(names):
        quantiles = [np.nanquantile(each[:, k], [0.16, 0.5, 0.84]) for each in (table, other)]
        print(f"{name:<24}" + "  ".join("".join(f"{v:>9.3f}" for v in q) for q in quantiles))
    told_apart(table, np.tile(np.arange(len(galaxies)), len(of_real)), other, names)
    if options.show:
        show(options.show, real[0], mock)


def within(mosaic: Mosaic, rows: slice) -> Mosaic:
    """Galaxies of some rows of a mosaic; all else is measured on the whole."""
    start, stop, _ = rows.indices(mosaic.flux.shape[1])
    part = replace(mosaic)
    whole = mosaic.sources
    part.__dict__.update(sigma=mosaic.sigma, psf=mosaic.psf)
    part.__dict__["sources"] = whole.take((whole.y >= start) & (whole.y < stop))
    return part


if __name__ == "__main__":
    main()
