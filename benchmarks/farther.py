"""Counts, redshifts and colours of the mock sky's galaxies beyond the real sample.

    python benchmarks/farther.py [--n 24000] [--farther 0.4]

No image is made. Printed are:

galaxies   by r (to 0.25 mag): number, and the 16th, 50th and 84th percentile of redshift and g - r,
           of those that were moved, and of all in the sky
counts     slope of log10 N with r of those that were moved; that of real galaxies is about 0.45 at
           r = 18 and 0.4 at 20 (Yasuda et al. 2001, AJ 122, 1104; from memory)
redshift   median of those that were moved, to r = 19.8; that of GAMA is about 0.2 (Driver et al.
           2011, MNRAS 413, 971; from memory)
red        g - r of the reddest two fifths where they are moved; that of luminous red galaxies that
           do not evolve is about 0.95, 1.5 and 1.75 at redshift 0.1, 0.3 and 0.5 (Eisenstein et al.
           2001, AJ 122, 2267; from memory)
share      of the sky's sources by r
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from targetsel.mock.farther import REDSHIFTS, mean_magnitudes
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.plan import SkyPlan, Variation
from targetsel.photometry.flux import ab_magnitude

SEED = 3
AT = (16.0, 17.0, 18.0, 18.5, 19.0, 19.5, 20.0, 20.5)  # r [mag]
GAMA = 19.8
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Drawn:
    """Galaxies of a sky: redshifts (N,), SDSS magnitudes (N, 5), and whether they were moved."""

    redshift: np.ndarray
    magnitude: np.ndarray
    moved: np.ndarray

    @classmethod
    def of(cls, plan: SkyPlan) -> Drawn:
        """The sources of a plan."""
        real = dict(
            zip(plan.galaxies.group_id.tolist(), plan.galaxies.redshift.tolist(), strict=True)
        )
        blocks = [plan.sources(start) for start in plan.blocks]
        redshift = np.concatenate([block.redshift for block in blocks])
        own = np.array([real[each] for block in blocks for each in block.group_id.tolist()])
        flux = np.concatenate([block.flux for block in blocks])
        return cls(redshift, ab_magnitude(flux), redshift != own)

    def take(self, rows: np.ndarray) -> Drawn:
        """Some of them."""
        return Drawn(self.redshift[rows], self.magnitude[rows], self.moved[rows])

    @property
    def r(self) -> np.ndarray:
        """r magnitude, shape (N,)."""
        return self.magnitude[:, 2]


def tell(name: str, drawn: Drawn) -> None:
    """Print the table of some galaxies by r."""
    print(f"{name:<12} number     redshift 16, 50, 84 %        g - r 16, 50, 84 %")
    for at in AT:
        near = np.abs(drawn.r - at) < 0.25
        if near.sum() < 20:
            continue
        colour = drawn.magnitude[near, 1] - drawn.magnitude[near, 2]
        columns = [
            "".join(f"{each:8.{digits}f}" for each in np.percentile(values, [16, 50, 84]))
            for values, digits in ((drawn.redshift[near], 3), (colour, 2))
        ]
        print(f"r = {at:<8} {near.sum():6} {columns[0]}   {columns[1]}")
    print()


def slope(r: np.ndarray, at: float) -> float:
    """Slope of log10 N with r, from the counts in one magnitude to either side."""
    low, high = np.histogram(r, [at - 1, at, at + 1])[0]
    return float(np.log10(high / low))


def red_colours() -> dict[float, float]:
    """Median g - r of the reddest two fifths of the real galaxies, by redshift."""
    galaxies = Galaxies.shipped()
    red = np.flatnonzero(galaxies.known[:, 0] > np.quantile(galaxies.known[:, 0], 0.6))[::8]
    known = galaxies.known[red]
    parts = [mean_magnitudes(known[k : k + ROWS_AT_ONCE]) for k in range(0, len(red), ROWS_AT_ONCE)]
    magnitude = np.median(np.concatenate(parts), axis=0)
    return dict(zip(REDSHIFTS.round(2), magnitude[:, 1] - magnitude[:, 2], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=24_000, help="mock sources")
    parser.add_argument("--farther", type=float, default=0.4)
    given = parser.parse_args()
    sky = Drawn.of(SkyPlan.of(given.n, SEED, variation=Variation(farther=given.farther)))
    moved = sky.take(sky.moved)
    tell("moved", moved)
    tell("all", sky)
    print(f"share that was moved {sky.moved.mean():.3f}")
    print(
        "slope of the counts "
        + ", ".join(f"{slope(moved.r, m):.2f} at r = {m}" for m in (19, 19.8))
    )
    print(f"median redshift to r = {GAMA}: {np.median(moved.redshift[moved.r < GAMA]):.3f}")
    colours = red_colours()
    print("g - r of red galaxies " + ", ".join(f"{colours[z]:.2f} at {z}" for z in (0.1, 0.3, 0.5)))
    bright = ", ".join(f"{(sky.r < m).mean():.3f} to r = {m}" for m in (15, 16, 17, 18, 19, 20))
    print(f"share of the sky's sources {bright}")


if __name__ == "__main__":
    main()
