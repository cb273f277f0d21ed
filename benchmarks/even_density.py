"""What weights against maps of the sky take away: planted trends with stars, and clustering.

    TARGETSEL_DATA=~/data python benchmarks/even_density.py [--realisations 12]

Targets are drawn over some 13,000 square degrees (galactic latitude above 30 degrees, declination
-60 to 10), 100 per square degree, with Poisson noise. Their density follows the map of the density
of Gaia's stars (systematics/stardens-128.fits) by 10 % between the 5th and 95th percentile, in a
straight line or in one that saturates; or nothing but galaxies' clustering: a lognormal field of
10 % rms, whose power per logarithm of the multipole rises as the multipole from 5 to 190. Weights
are found against the stars and two maps of noise, one smooth and one not.

Printed are means over realisations, with standard errors: the trend with stars before and after
weights (of a straight line, from the 5th to the 95th percentile), the largest departure from 1 of
the mean density in ten bins of stars, and the share of clustering that weights take away: of the
cross-correlation of the density with the planted field, of that with its multipoles below 20
alone, and of the variance above Poisson's. Before that, how often skies without a trend show one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord

from targetsel.sky.patches import ENOUGH_FOR_ERRORS, folds_of, patches_of
from targetsel.sky.positions import SQUARE_DEGREES, centres_of, unit_vectors
from targetsel.sky.sky_maps import read_map
from targetsel.statistics.count_regression import CountedCells, predict_counts
from targetsel.statistics.count_trends import ENDS, trend, weighted_quantiles

ORDER = 6  # nside 64
DENSITY = 100.0  # targets per square degree
STEP = 0.1  # of the density, between the 5th and the 95th percentile of stars
RMS = 0.1  # of the lognormal field
MULTIPOLES, LARGE = (5.0, 190.0), 20.0
WAVES = 1500


class Sky:
    """The pixels of the footprint, the stars in them, and fields that are drawn there."""

    def __init__(self, data: Path) -> None:
        pixels = np.arange(12 * 4**ORDER)
        ra, dec = centres_of(pixels, ORDER)
        latitude = SkyCoord(ra, dec, unit="deg").galactic.b.deg
        inside = (np.abs(latitude) > 30) & (dec > -60) & (dec < 10)
        self.pixels = pixels[inside]
        self.vectors = unit_vectors(ra[inside], dec[inside])
        stars = read_map(f"{data / 'systematics/stardens-128.fits'}:STARDENS:nested")
        self.stars = stars.at(self.pixels, ORDER)
        self.areas = np.full(len(self.pixels), SQUARE_DEGREES / len(pixels))
        self.patch = patches_of(self.pixels, ORDER)
        self.fold = folds_of(self.patch, self.areas, 10)
        self.large_patch = patches_of(self.pixels, ORDER, ENOUGH_FOR_ERRORS)

    def field(self, rng: np.random.Generator, low: float, high: float) -> tuple[np.ndarray, ...]:
        """A Gaussian field of unit variance, and its multipoles below `LARGE`.

        Waves in space, cut by the sphere, of lengths that are uniform from `low` to `high`.
        """
        number = rng.uniform(low, high, WAVES)
        direction = rng.normal(size=(WAVES, 3))
        direction *= (number / np.linalg.norm(direction, axis=1))[:, None]
        phase = rng.uniform(0, 2 * np.pi, WAVES)
        whole, large = np.zeros((2, len(self.pixels)))
        for part in np.array_split(np.arange(WAVES), 15):
            waves = np.cos(self.vectors @ direction[part].T + phase[part])
            whole += waves.sum(axis=1)
            large += waves[:, number[part] < LARGE].sum(axis=1)
        scale = np.sqrt(2 / WAVES)
        return whole * scale, large * scale

    def straight(self) -> np.ndarray:
        """A density that falls by `STEP` in a straight line with stars."""
        low, high = weighted_quantiles(self.stars, self.areas, ENDS)
        return 1 - STEP * (self.stars - self.stars.mean()) / (high - low)

    def saturating(self) -> np.ndarray:
        """A density that falls by `STEP`, most of it where stars are few."""
        low, high = weighted_quantiles(self.stars, self.areas, ENDS)
        fall = -np.tanh(3 * (self.stars - low) / (high - low))
        return 1 + STEP * (fall - fall.mean()) / np.tanh(3)

    def cells(self, rng: np.random.Generator, relative: np.ndarray) -> CountedCells:
        """Targets of this relative density, with the stars and two maps of noise."""
        counts = rng.poisson(DENSITY * self.areas * relative).astype(float)
        maps = [self.stars, self.field(rng, 2.0, 30.0)[0], rng.normal(size=len(counts))]
        return CountedCells(counts, self.areas, np.column_stack(maps), self.patch, self.fold)


Found = dict[str, float]


def one_trend(cells: CountedCells, relative: np.ndarray) -> Found:
    """What is left of the trend with stars, in percent."""
    stars, shared = cells.maps[:, 0], (cells.areas, cells.patch)
    before = trend(stars, cells.counts, *shared)
    after = trend(stars, cells.counts / relative, *shared)
    found = {"trend before": before.slope, "trend after": after.slope}
    found |= {f"bin {k}": each - 1 for k, each in enumerate(after.density)}
    return {name: 100 * value for name, value in found.items()}


def clustering_lost(
    even: np.ndarray, counts: np.ndarray, planted: np.ndarray, large: np.ndarray
) -> Found:
    """The share of planted clustering that weights take away, in percent.

    Parameters
    ----------
    even, counts : ndarray, shape (K,)
        Counts divided by the planted trend, and by the predicted one.
    planted, large : ndarray, shape (K,)
        The planted field, and its multipoles below `LARGE`.
    """
    before, after = (each / each.mean() - 1 for each in (even, counts))
    poisson = 1 / even.mean()
    found = {
        "cross-correlation": 1 - np.mean(after * planted) / np.mean(before * planted),
        "of multipoles below 20": 1 - np.mean(after * large) / np.mean(before * large),
        "variance": 1 - (np.var(after) - poisson) / (np.var(before) - poisson),
    }
    return {name: 100 * float(value) for name, value in found.items()}


def realisations(sky: Sky, n: int) -> Iterator[tuple[str, str, Found]]:
    """Case, method and what was found, for each realisation."""
    for seed in range(n):
        rng = np.random.default_rng(seed)
        gaussian, large = sky.field(rng, *MULTIPOLES)
        clustered = np.exp(RMS * gaussian - RMS**2 / 2)
        planted = clustered / clustered.mean() - 1
        even = np.ones(len(clustered))
        cases = {
            "straight trend": (even, sky.straight()),
            "saturating trend": (even, sky.saturating()),
            "clustering alone": (clustered, even),
            "clustering, straight trend": (clustered, sky.straight()),
        }
        for case, (galaxies, trend_with_stars) in cases.items():
            cells = sky.cells(rng, galaxies * trend_with_stars)
            prediction = predict_counts(cells)
            methods = {**prediction.tried, "chosen": prediction.relative}
            for name, relative in methods.items():
                found = {} if trend_with_stars is even else one_trend(cells, relative)
                if galaxies is not even:
                    counts = cells.counts / trend_with_stars, cells.counts / relative
                    found |= clustering_lost(*counts, planted, large)
                if name == "chosen":
                    found["boosted trees chosen"] = 100.0 * (prediction.method == "boosted")
                    found["no weights chosen"] = 100.0 * (prediction.method == "even")
                yield case, name, found


def by_chance(sky: Sky, n: int) -> None:
    """Print how often p is small, and slopes are beyond their errors, without any trend."""
    for case in ("Poisson", "clustering"):
        found = []
        for seed in range(1000, 1000 + n):
            rng = np.random.default_rng(seed)
            field = sky.field(rng, *MULTIPOLES)[0] if case == "clustering" else 0.0
            expected = DENSITY * sky.areas * np.exp(RMS * field)
            found.append(trend(sky.stars, rng.poisson(expected), sky.areas, sky.large_patch))
        p = np.array([each.p for each in found])
        pulls = np.array([each.slope / each.slope_error for each in found])
        print(
            f"{case:12}without a trend, {n} times: p below 0.05 in {np.mean(p < 0.05):.1%}, below "
            f"0.5 in {np.mean(p < 0.5):.1%}; slopes scatter by {pulls.std():.2f} of their errors"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realisations", type=int, default=12)
    parser.add_argument("--by-chance", type=int, default=60, help="skies without a trend")
    options = parser.parse_args()
    n = options.realisations
    if "TARGETSEL_DATA" not in os.environ:
        raise SystemExit("Set TARGETSEL_DATA to the folder with systematics/stardens-128.fits.")
    sky = Sky(Path(os.environ["TARGETSEL_DATA"]))
    by_chance(sky, options.by_chance)
    found: dict[tuple[str, str], list[Found]] = {}
    for case, method, values in realisations(sky, n):
        found.setdefault((case, method), []).append(values)
    area = sky.areas.sum()
    print(f"{len(sky.pixels):,} pixels of nside 64, {area:,.0f} deg2, {n} realisations, in percent")
    for (case, method), runs in found.items():
        bins = [np.mean([run[name] for run in runs]) for name in runs[0] if name.startswith("bin")]
        for name in (each for each in runs[0] if not each.startswith("bin")):
            values = np.array([run[name] for run in runs])
            error = values.std(ddof=1) / np.sqrt(len(values))
            print(f"{case:28}{method:10}{name:26}{values.mean():8.3f} +- {error:.3f}")
        if bins:
            print(f"{case:28}{method:10}{'largest of ten bins':26}{np.abs(bins).max():8.3f}")


if __name__ == "__main__":
    main()
