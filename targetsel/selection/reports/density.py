"""Density of targets on the sky, and their crowding within the reach of one fiber."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from targetsel.errors import CatalogError
from targetsel.selection.scored_sources import ScoredSources
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import SQUARE_DEGREES, chord, coarser, unit_vectors

ROWS_AT_A_TIME = 100_000


@dataclass(frozen=True)
class Density:
    """The distribution on the sky of one class of targets, or of all.

    Attributes
    ----------
    name : str
        The class; "all targets" for all.
    n_targets : int
    area : float
        Area of the HEALPix pixels counted [deg2].
    low, median, high, most : float
        Targets per square degree: the 5th, 50th, 95th percentile over those pixels, the largest.
    neighbours, most_neighbours : float, int
        Mean and largest number of other targets within reach of a target.
    crowded : float
        Share of targets with another one within reach.
    """

    name: str
    n_targets: int
    area: float
    low: float
    median: float
    high: float
    most: float
    neighbours: float
    most_neighbours: int
    crowded: float

    @property
    def mean(self) -> float:
        """Targets per square degree of the area."""
        return self.n_targets / self.area if self.area else math.nan

    @property
    def per_deg2(self) -> tuple[float, float, float, float, float]:
        """Mean, low, median, high and most."""
        return self.mean, self.low, self.median, self.high, self.most


def density(
    targets: TargetList, reach: float, nside: int = 64, scored: Path | None = None
) -> tuple[Density, ...]:
    """The density of all targets, then of every class.

    Parameters
    ----------
    targets : TargetList
    reach : float
        Radius within which targets compete for a fiber [arcsec].
    nside : int
        Resolution of the HEALPix pixels in which targets are counted: a power of two.
    scored : Path, optional
        Count pixels without targets too, where this scored catalog has a source. Otherwise only
        pixels that hold a target count, and a sparse list looks denser than it is.
    """
    order = order_of(nside)
    pixels = coarser(targets.table["_healpix_29"].to_numpy(), order)
    where = unit_vectors(targets.table["ra"].to_numpy(), targets.table["dec"].to_numpy())
    covered = None if scored is None else pixels_of(scored, order)
    chosen = {"all targets": np.ones(len(targets), dtype=bool)}
    chosen |= {name: targets.of_class(name) for name in targets.footer["bits"]}
    area = SQUARE_DEGREES / (12 * nside**2)
    return tuple(
        _density(name, pixels[rows], where[rows], covered, area, reach)
        for name, rows in chosen.items()
    )


def _density(
    name: str,
    pixels: np.ndarray,
    where: np.ndarray,
    covered: np.ndarray | None,
    pixel_area: float,
    reach: float,
) -> Density:
    held, counts = np.unique(pixels, return_counts=True)
    if covered is not None:
        empty = len(np.setdiff1d(covered, held))
        counts = np.concatenate([counts, np.zeros(empty, dtype=counts.dtype)])
    near = neighbours(where, reach)
    spread = np.quantile(counts, [0.05, 0.5, 0.95, 1.0]) if len(counts) else np.full(4, math.nan)
    low, median, high, most = (float(each) / pixel_area for each in spread)
    return Density(
        name,
        len(pixels),
        len(counts) * pixel_area,
        low,
        median,
        high,
        most,
        float(near.mean()) if len(near) else math.nan,
        int(near.max(initial=0)),
        float((near > 0).mean()) if len(near) else math.nan,
    )


def neighbours(where: np.ndarray, reach: float) -> np.ndarray:
    """Number of others within `reach` [arcsec] of each of N unit vectors, shape (N,)."""
    counts = np.empty(len(where), dtype=np.int64)
    if len(where):
        tree = cKDTree(where)
        distance = chord(reach / 3600)
        for start in range(0, len(where), ROWS_AT_A_TIME):
            rows = slice(start, start + ROWS_AT_A_TIME)
            counts[rows] = tree.query_ball_point(where[rows], distance, return_length=True) - 1
    return counts


def pixels_of(scored: Path, order: int) -> np.ndarray:
    """The HEALPix pixels, nested, of that order in which a scored file has sources, ascending."""
    found = np.empty(0, dtype=np.int64)
    with ScoredSources(scored) as file:
        for block in file.sources(columns=["_healpix_29"]):
            pixels = coarser(block.table["_healpix_29"].to_numpy(), order)
            found = np.union1d(found, pixels)
    return found


def order_of(nside: int) -> int:
    """The HEALPix order of `nside`.

    Raises
    ------
    CatalogError
        If it is not a power of two from 1 to 8192.
    """
    if nside not in (1 << order for order in range(14)):
        raise CatalogError(f"nside {nside}: expected a power of two from 1 to 8192, such as 64.")
    return nside.bit_length() - 1
