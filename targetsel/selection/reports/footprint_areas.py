"""The area in each pixel of the sky at which a list could have targets.

It is told by random points, by the sources of a scored catalog inside the footprint of the rules,
or by that footprint alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.errors import CatalogError
from targetsel.rules.rules import Rules
from targetsel.selection.reports.density import ALL, footprints_of, pixels_of
from targetsel.selection.reports.randoms import BITS, FORMAT, ROWS_AT_A_TIME
from targetsel.selection.scored_sources import ScoredSources
from targetsel.selection.target_list import TargetList
from targetsel.sky.catalog import PositionColumns
from targetsel.sky.positions import SQUARE_DEGREES, Region, coarser, healpix_of
from targetsel.tables.any_format import footer_of
from targetsel.tables.formats import open_table

FINEST = 9  # order of the finest pixels in which areas are counted: nside 512
FINER = 3  # steps in order by which pixels are divided where sources tell the area
SOURCES_EACH = 10  # on average, in the smallest pixels whose sources tell the area
POINTS_EACH = 10  # random points on average in a pixel, at least


@dataclass(frozen=True)
class PixelAreas:
    """The area of K pixels.

    Attributes
    ----------
    pixels : ndarray of int64, shape (K,)
        In NESTED order, increasing.
    areas : ndarray, shape (K,)
        Above 0 [deg2].
    told_by : str
        What tells it, in words.
    """

    pixels: np.ndarray
    areas: np.ndarray
    told_by: str


def pixel_areas(
    targets: TargetList,
    order: int,
    rules: Rules | None,
    scored: Path | None,
    randoms: Path | None,
) -> dict[str, PixelAreas]:
    """The areas for all targets, and for each class.

    Parameters
    ----------
    targets : TargetList
    order : int
        HEALPix order of the pixels.
    rules, scored
        As for `density`.
    randoms : Path, optional
        Random points; of those that `randoms` wrote, each class has its own.

    Raises
    ------
    CatalogError
        If a file cannot be read, nothing tells the area, or random points are too few.
    RuleError
        As `density`.
    """
    if order > FINEST:
        raise CatalogError(
            f"nside {1 << order}: counts in so small pixels say nothing. Give --nside "
            f"{1 << FINEST} or less."
        )
    if randoms is not None:
        return _of_randoms(randoms, order, [*targets.footer.get("bits", {})])
    footprints = footprints_of(targets, rules)
    if scored is not None:
        pixels, fine = _of_sources(scored, order)
        told_by = f"sources of {scored} within the footprint of the rules"
    else:
        if any(each == Region.everywhere() for each in footprints.values()):
            raise CatalogError(
                "nothing says at which part of the sky the list could have targets, as its rules "
                "have no footprint. Give the catalog that it was selected from with --scored, or "
                "random points with --randoms."
            )
        pixels, fine, told_by = None, order, "the footprint of the rules"
    return {
        name: _of_region(region, pixels, fine, order, told_by)
        for name, region in footprints.items()
    }


def _of_region(
    region: Region, pixels: np.ndarray | None, fine: int, order: int, told_by: str
) -> PixelAreas:
    """The areas of a region inside these pixels of order `fine`, or whole."""
    own = region.pixels(fine) if pixels is None else pixels
    areas = region.covered(own, fine) * SQUARE_DEGREES / (12 * 4**fine)
    found, place = np.unique(own >> 2 * (fine - order), return_inverse=True)
    total = np.bincount(place, areas, len(found))
    return PixelAreas(found[total > 0], total[total > 0], told_by)


def _of_sources(scored: Path, order: int) -> tuple[np.ndarray, int]:
    """The smallest pixels that have ten sources each on average, and their order."""
    with ScoredSources(scored) as file:
        n = len(file)
    pixels = pixels_of(scored, order + FINER)
    for fine in range(order + FINER, order, -1):
        if n >= SOURCES_EACH * len(pixels):
            return pixels, fine
        pixels = np.unique(pixels >> 2)
    return pixels, order


def _of_randoms(path: Path, order: int, names: list[str]) -> dict[str, PixelAreas]:
    """The areas that random points tell."""
    footer = footer_of(path) if path.is_file() else {}
    own = footer.get("format") == FORMAT
    bits = footer.get("bits", {}) if own else {}
    pixels, masks = _points(path, bool(bits))
    places = coarser(pixels, order)
    per_deg2 = footer.get("per_deg2") if own else None
    found = {}
    for name in (ALL, *names):
        rows = (masks >> bits[name]) & 1 == 1 if name in bits else slice(None)
        held, n = np.unique(places[rows], return_counts=True)
        if len(held) and n.mean() < POINTS_EACH:
            raise CatalogError(
                f"{path}: has {n.mean():.3g} points in a pixel, too few to tell its area. Give "
                f"{POINTS_EACH} or more in each, or larger pixels with --nside."
            )
        # Of others' points nobody knows how many there are in a square degree: most pixels are
        # whole.
        density = per_deg2 or (np.median(n) * 12 * 4**order / SQUARE_DEGREES if len(n) else 1.0)
        found[name] = PixelAreas(held, n / density, f"the random points of {path}")
    return found


def _points(path: Path, with_bits: bool) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of order 29 of random points, and the bits of the classes that could be there."""
    table = open_table(path)
    positions = PositionColumns(path, table.schema)
    columns = [*positions.names.values(), *([BITS.name] if with_bits else ())]
    pixels, masks = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for piece in table.batches(ROWS_AT_A_TIME, columns):
        ra, dec = positions.degrees(piece)
        known = np.isfinite(ra)
        pixels.append(healpix_of(ra[known], dec[known]))
        if with_bits:
            masks.append(piece[BITS.name].to_numpy()[known])
    positions.finish()
    found = np.concatenate(pixels)
    if not len(found):
        raise CatalogError(f"{path}: has no points. Name another file of random points.")
    return found, np.concatenate(masks)
