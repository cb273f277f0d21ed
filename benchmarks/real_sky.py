"""Real galaxies beside simulated ones, as one survey would see both.

    TARGETSEL_DATA=FOLDER python benchmarks/real_sky.py SKY [--beside SKY2]
        [--ensemble DIR [--ensemble DIR2]] [--show real.png]

Real galaxies brighter than `--faintest` in r, of a KiDS+VIKING mosaic (`real_galaxies`) and of
blends of HSC (`real_blends`), are brought to Pan-STARRS' pixels, seeing and noise, each several
times with noise of four kinds. SKY, and SKY2 beside which it is seen, are folders that
`targetsel mock` wrote; of their sources those are taken that are like a real one in r and g - r.
Prints, of real galaxies and of these,

- typicality by the networks' features, for noise that is white, correlated as in the plain mock,
  twice as much, and as with `realism`: a real sky that looks like the mock gives a uniform one.
  The yardstick is the distance from uniform of as many mock sources, one like each real one;
- typicality by the checks of images, and which checks fail (share below 0.01);
- numbers of their images (sizes and shapes in r, colours, gradients, noise, the checks);
- how well a classifier tells them apart on galaxies that it did not see (random forest; folds of
  whole galaxies), and which numbers it looks at. Real galaxies get their noise here, so that
  numbers of the noise tell of this script: it is done without them, too, and with noise and left
  sky as a mock sky with `realism: 1` draws them.

SKY's images are SIMULATED. Errors are those of the choice of galaxies (delete-half jackknife).
`--rows develop` and `--rows report` take one half of the mosaic's rows each, without the blends.
Needs photutils, scikit-image and scikit-learn; about a minute of CPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from image_numbers import magnitude_and_colour, numbers
from real_blends import read_blends
from real_galaxies import Brought, Field, Mosaic
from real_images import BANDS
from scipy.spatial import KDTree

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.measurements import (
    CHECKS,
    appearance,
    central_magnitude,
    quality,
    reference_band,
)
from targetsel.imaging.store import CutoutStore
from targetsel.mock.camera import PAN_STARRS
from targetsel.novelty.novelty import Typicality
from targetsel.scoring.ensemble import Ensemble

HALVES = {"all": slice(None), "develop": slice(0, 1300), "report": slice(1300, 2600)}
KERNELS = {"white": (0.0, 1.0, 0.0), "plain mock": (0.1, 0.8, 0.1), "twice": (0.22, 0.56, 0.22)}
REALISM = "as realism"  # noise, correlation and left sky drawn as in a mock sky with `realism: 1`
OF_NOISE = ("noise", "noise of neighbours", "sky noise", "sharp pixel")  # numbers that tell of it
REALISATIONS = 4
MOST_OF_A_PAIR = 10  # mock sources taken for each real one
MOST = 4000  # sources of a sky that are read
ALIKE = np.array([0.3, 0.1])  # mag in r and g - r that count as one step
FARTHEST = 2.0  # steps; a mock source farther away is not like a real one
RESAMPLED = 200
STRANGE = 0.01
FEWEST = 8  # real galaxies


@dataclass(frozen=True)
class Real:
    """Cutouts (R, N, B, H, W) of N real galaxies, R times, for each kind of noise; and which of
    the galaxies are far from bright stars, shape (N,)."""

    cutouts: dict[str, np.ndarray]
    is_clear: np.ndarray

    @classmethod
    def bring(cls, fields: list[Field], faintest: float, seed: int) -> Real:
        found = [field.galaxies(faintest) for field in fields]
        how, cutouts = Brought(PAN_STARRS), {name: [] for name in (*KERNELS, REALISM)}
        for k in range(REALISATIONS):
            seen = [how.see(field, x, y, np.random.default_rng([seed, k, at, row]))
                    for at, (field, these) in enumerate(zip(fields, found, strict=True))
                    for row, (x, y) in enumerate(zip(these.x, these.y, strict=True))]  # fmt: skip
            for name, kernel in KERNELS.items():
                rng = np.random.default_rng([seed, k])
                cutouts[name].append([how.expose(each, rng, kernel) for each in seen])
            rng = np.random.default_rng([seed, k])
            cutouts[REALISM].append([how.expose_with_texture(each, rng) for each in seen])
        return cls(
            {name: np.array(each) for name, each in cutouts.items()},
            np.concatenate([each.is_clear for each in found]),
        )


@dataclass(frozen=True)
class MockSky:
    """Sources of a mock sky that are like real ones.

    Attributes
    ----------
    flux : ndarray, shape (M, B, H, W)
        [nanomaggy]
    near : list of N ndarrays
        For each real galaxy the rows of those like it, the most alike first; may be empty.
    """

    name: str
    flux: np.ndarray
    near: list[np.ndarray]

    @classmethod
    def read(cls, sky: Path, real: np.ndarray) -> MockSky:
        """Those alike of the sky's first sources that lack no pixel; real is (N, B, H, W)."""
        flux = _cutouts(sky)
        tree = KDTree(magnitude_and_colour(flux) / ALIKE)
        away, rows = tree.query(magnitude_and_colour(real) / ALIKE, min(MOST_OF_A_PAIR, len(flux)))
        near = [each[far < FARTHEST] for each, far in zip(rows, away, strict=True)]
        used = np.unique(np.concatenate(near))
        if len(used) < 10:
            raise SystemExit(f"{sky}: {len(used)} of {len(flux)} sources are like a real galaxy. "
                             "Simulate more: targetsel mock --n 1500")  # fmt: skip
        return cls(sky.name, flux[used], [np.searchsorted(used, each) for each in near])

    def one_for_each(self, rng: np.random.Generator) -> np.ndarray:
        """Rows of one source for each real galaxy that has some, drawn."""
        return np.array([rng.choice(each) for each in self.near if len(each)])


def _cutouts(sky: Path) -> np.ndarray:
    if not (sky / "catalog.parquet").is_file():
        raise SystemExit(f"{sky}: is no mock sky. Make one: targetsel mock --n 1500 -o {sky}")
    ids = pq.read_table(sky / "catalog.parquet", columns=["source_id"])["source_id"]
    store = CutoutStore.open(sky / "cutouts")
    if store.bands != PAN_STARRS.bands or store.pixel_scale != PAN_STARRS.pixel_scale:
        raise SystemExit(f"{sky}: has the bands {', '.join(store.bands)} and pixels of "
                         f"{store.pixel_scale} arcsec, not those of Pan-STARRS. Make a sky "
                         "without --survey.")  # fmt: skip
    flux = store.read(ids.to_numpy()[:MOST]).flux
    return flux[np.isfinite(flux).all(axis=(1, 2, 3))]


# --- typicality -----------------------------------------------------------------------------------


def typicality(ensemble: Ensemble, flux: np.ndarray) -> tuple[Typicality, np.ndarray]:
    """Typicality of N cutouts, and the shares (N, 9) of training sources as odd in each check."""
    plan, reference = ensemble.input, ensemble.novelty
    cutouts = plan.select(
        Cutouts(np.arange(len(flux)), flux, PAN_STARRS.bands, PAN_STARRS.pixel_scale)
    )
    sky = np.array(plan.stretch.sky_sigma) / plan.binning
    checks = quality(cutouts.flux, sky)
    magnitude = central_magnitude(cutouts, reference_band(plan.bands))
    shown = appearance(cutouts.flux, plan.bands, magnitude)
    by_features = reference.novelty(ensemble.features(cutouts))
    return reference.typicality(by_features, checks, shown), reference.shares(checks)


def distance(shares: np.ndarray) -> float:
    """Mean over realisations (R, N) of the distance from uniform (Kolmogorov-Smirnov)."""
    n = shares.shape[1]
    rising, level = np.sort(shares, axis=1), np.arange(n) / n
    return float(np.maximum(rising - level, level + 1 / n - rising).max(axis=1).mean())


def jackknife(n: int, measure: Callable[[np.ndarray], float]) -> float:
    """Standard error of what `measure` makes of some of n galaxies, by deleting half of them."""
    rng = np.random.default_rng(0)
    halves = [rng.permutation(n)[: (n + 1) // 2] for _ in range(RESAMPLED)]
    return float(np.std([measure(np.sort(half)) for half in halves]))


def describe(shares: np.ndarray) -> str:
    """Of typicalities (R, N): median, share below 0.01 and distance from uniform, with errors."""
    told = []
    for measure in (np.median, lambda each: (each < STRANGE).mean(), distance):
        error = jackknife(shares.shape[1], lambda rows, m=measure: float(m(shares[:, rows])))
        told.append(f"{float(measure(shares)):.3f} +- {error:.3f}")
    return "     ".join(told)


def tell_typicality(name: str, real: Real, skies: list[MockSky]) -> None:
    ensemble = Ensemble.read(name)
    print(f"\nEnsemble {name}\n{'typicality by features':<36}{'median':<19}{'below 0.01':<19}KS")
    checks, whole = {}, {}
    for kind, flux in real.cutouts.items():
        found, odd = zip(*(typicality(ensemble, each) for each in flux), strict=True)
        shares = np.array([each.by_features for each in found])
        print(f"  {'real, noise ' + kind:<34}{describe(shares)}")
        if real.is_clear.sum() < len(real.is_clear):
            print(f"  {'  far from bright stars':<34}{describe(shares[:, real.is_clear])}")
        checks[f"real, {kind}"] = np.concatenate(odd)
        whole[f"real, {kind}"] = [np.concatenate(part) for part in zip(*(
            (each.by_image, each.share, each.support) for each in found), strict=True)]  # fmt: skip
    for sky in skies:
        found, odd = typicality(ensemble, sky.flux)
        rng = np.random.default_rng(0)
        drawn = [found.by_features[sky.one_for_each(rng)] for _ in range(RESAMPLED)]
        null = np.array([[np.median(each), (each < STRANGE).mean(), distance(each[None])]
                         for each in drawn])  # fmt: skip
        limits = np.quantile(null, [0.05, 0.95], axis=0).T
        told = (f"{mean:.3f} ({low:.2f}-{high:.2f})"
                for mean, (low, high) in zip(null.mean(axis=0), limits, strict=True))  # fmt: skip
        print(f"  {f'{len(drawn[0])} mock of {sky.name}, 5 to 95 %':<34}{'  '.join(told)}")
        checks[f"mock {sky.name}"] = odd
        whole[f"mock {sky.name}"] = [found.by_image, found.share, found.support]
    print(f"{'':<22}" + "".join(f"{each:>20}" for each in checks))
    for k, row in enumerate(("by image, < 0.01", "by both, < 0.01", "within support")):
        print(f"{row:<22}" + "".join(
            f"{(each[k].mean() if k == 2 else (each[k] < STRANGE).mean()):>20.3f}"
            for each in whole.values()))  # fmt: skip
    for k, check in enumerate(CHECKS):
        failed = "".join(f"{(each[:, k] < STRANGE).mean():>20.3f}" for each in checks.values())
        print(f"{check + ', < 0.01':<22}{failed}")


# --- numbers of images ----------------------------------------------------------------------------


def tell_apart(real: dict[str, np.ndarray], skies: list[MockSky]) -> None:
    """Print numbers of real images (R, N, B, H, W), by kind of noise, and how skies differ."""
    of_real = {kind: [numbers(each) for each in flux] for kind, flux in real.items()}
    of_skies = [numbers(sky.flux) for sky in skies]
    names = list(of_skies[0])
    tables = {kind: np.concatenate([np.stack([each[n] for n in names], axis=1) for each in found])
              for kind, found in of_real.items()}  # fmt: skip
    others = [np.stack([each[n] for n in names], axis=1) for each in of_skies]
    titles = [*(f"real, {kind}" for kind in real), *(f"mock {sky.name}" for sky in skies)]
    print(f"\n{'16, 50, 84 %':<22}" + "".join(f"{title:>26}" for title in titles))
    for k, name in enumerate(names):
        columns = [np.nanquantile(each[:, k], [0.16, 0.5, 0.84])
                   for each in (*tables.values(), *others)]  # fmt: skip
        print(f"{name:<22}" + "  ".join("".join(f"{v:>8.2f}" for v in q) for q in columns))
    shape = next(iter(real.values())).shape
    galaxy = np.tile(np.arange(shape[1]), shape[0])
    of_light = np.array([name not in OF_NOISE for name in names])
    for sky, other in zip(skies, others, strict=True):
        paired = np.array([len(each) > 0 for each in sky.near])[galaxy]
        n = len(np.unique(galaxy[paired]))
        print(f"\nTold apart from {sky.name}, {n} galaxies, like which it has sources: AUROC")
        for kind, table in tables.items():
            for what, used in (("all numbers", of_light | True), ("without its own", of_light)):
                print(f"  noise {kind}, {what}", end=": ")
                kept = [name for name, use in zip(names, used, strict=True) if use]
                told_apart(table[paired][:, used], galaxy[paired], other[:, used], kept)


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
    groups = np.unique(galaxy)

    def auroc(rows: np.ndarray) -> float:
        kept = np.isin(group, groups[rows]) | (y == 0)
        return float(roc_auc_score(y[kept], guess[kept]))

    error = jackknife(len(groups), auroc)
    print(f"{roc_auc_score(y, guess):.3f} +- {error:.3f}, by")
    print("    " + ", ".join(f"{names[k]} {weights[k]:.2f}" for k in np.argsort(-weights)[:8]))


def show(path: Path, real: np.ndarray, skies: list[MockSky]) -> None:
    """A picture of real galaxies (N, B, H, W) above the mock ones that are most like them."""
    import matplotlib.pyplot as plt
    from astropy.visualization import make_lupton_rgb

    columns, order = 10, np.argsort(magnitude_and_colour(real)[:, 0])
    high = 1 + len(skies)
    blocks = int(np.ceil(len(real) / columns))
    _, axes = plt.subplots(high * blocks, columns, figsize=(1.5 * columns, 1.65 * high * blocks))
    for axis in axes.flat:
        axis.axis("off")
    for k, galaxy in enumerate(order):
        pictures = [("real", real[galaxy])]
        pictures += [(sky.name, sky.flux[sky.near[galaxy][0]])
                     for sky in skies if len(sky.near[galaxy])]  # fmt: skip
        for at, (what, flux) in enumerate(pictures):
            axis = axes[high * (k // columns) + at, k % columns]
            axis.imshow(make_lupton_rgb(flux[2], flux[1], 1.3 * flux[0], stretch=0.12, Q=8),
                        origin="lower")  # fmt: skip
            axis.set_title(f"{what} {magnitude_and_colour(flux[None])[0, 0]:.1f}", fontsize=7)
    plt.tight_layout()
    plt.savefig(path, dpi=70)


def within(mosaic: Mosaic, rows: slice) -> Mosaic:
    """Galaxies of some rows of a mosaic; all else is measured on the whole."""
    start, stop, _ = rows.indices(mosaic.flux.shape[1])
    part, whole = replace(mosaic), mosaic.sources
    part.__dict__.update(sigma=mosaic.sigma, psf=mosaic.psf)
    part.__dict__["sources"] = whole.take((whole.y >= start) & (whole.y < stop))
    return part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sky", type=Path)
    parser.add_argument("--beside", type=Path, help="another mock sky, such as one of before")
    parser.add_argument("--ensemble", action="append", help="may be given several times")
    parser.add_argument("--faintest", type=float, default=20.8)
    parser.add_argument("--rows", choices=HALVES, default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=Path)
    options = parser.parse_args()
    mosaic = Mosaic.read()
    for band, psf in zip(BANDS, mosaic.psf, strict=True):
        print(f"{band}: PSF of {psf.width:.2f} arcsec, beta {psf.beta:.1f}")
    blends: list[Field] = list(read_blends()) if options.rows == "all" else []
    real = Real.bring(
        [within(mosaic, HALVES[options.rows]), *blends], options.faintest, options.seed
    )
    if len(real.is_clear) < FEWEST:
        raise SystemExit(f"{len(real.is_clear)} real galaxies of r < {options.faintest}, too few "
                         f"to compare. Choose a fainter --faintest.")  # fmt: skip
    usual = real.cutouts["plain mock"]
    n_blends = sum(len(each.galaxies(options.faintest)) for each in blends)
    print(f"{usual.shape[1]} real galaxies of r < {options.faintest}, {n_blends} of them of "
          f"{len(blends)} blends; {real.is_clear.sum()} far from bright stars")  # fmt: skip
    skies = [MockSky.read(sky, usual[0]) for sky in (options.sky, options.beside) if sky]
    for sky in skies:
        print(f"{sky.name}: {len(sky.flux)} sources like them")
    for name in options.ensemble or ["mock-ps1"]:
        tell_typicality(name, real, skies)
    tell_apart({kind: real.cutouts[kind][:2] for kind in ("plain mock", REALISM)}, skies)
    if options.show:
        show(options.show, real.cutouts[REALISM][0], skies)


if __name__ == "__main__":
    main()
