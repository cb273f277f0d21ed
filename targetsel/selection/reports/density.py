"""Density of targets on the sky, and their crowding within the reach of one fiber.

Targets are counted in HEALPix pixels, and divided by the area that the class's footprint has in
them. Masks among the conditions of a class are not taken off that area.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from targetsel.documents.text_table import number
from targetsel.errors import CatalogError, RuleError
from targetsel.rules.rules import Rules
from targetsel.selection.membership import check_unique
from targetsel.selection.scored_sources import ScoredSources
from targetsel.selection.target_list import TargetList, rules_of
from targetsel.sky.external_files import ExternalFiles
from targetsel.sky.positions import SQUARE_DEGREES, Region, chord, coarser, unit_vectors
from targetsel.tasks import tracked

ROWS_AT_A_TIME = 100_000
ALL = "all targets"
HINT = ", as the list's rules have it. Name their file with --rules."


@dataclass(frozen=True)
class Density:
    """The distribution on the sky of one class of targets, or of all.

    Attributes
    ----------
    name : str
        The class; "all targets" for all.
    n_targets : int
    area : float
        Area of the footprint in the HEALPix pixels counted [deg2].
    low, median, high, most : float
        Targets per square degree: the 5th, 50th, 95th percentile and the largest over those
        pixels whose area is at least half of the largest pixel's.
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

    headings = ("class", "targets", "mean /deg2", "5 %", "median", "95 %", "most", "neighbours",
                "at most", "with any")  # fmt: skip

    @property
    def cells(self) -> tuple[str, ...]:
        """The density as a line of a table, under `headings`."""
        return (
            self.name,
            f"{self.n_targets:,}",
            *(number(value, ".4g") for value in self.per_deg2),
            number(self.neighbours, ".3g"),
            f"{self.most_neighbours:,}",
            number(self.crowded, ".1%"),
        )

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """One row, with plain numbers."""
        row = asdict(self)
        return [{"class": row.pop("name"), **row, "mean": self.mean}]

    @property
    def mean(self) -> float:
        """Targets per square degree of the area."""
        return self.n_targets / self.area if self.area else math.nan

    @property
    def per_deg2(self) -> tuple[float, float, float, float, float]:
        """Mean, low, median, high and most."""
        return self.mean, self.low, self.median, self.high, self.most


def density(
    targets: TargetList,
    reach: float,
    nside: int = 64,
    scored: Path | None = None,
    rules: Rules | None = None,
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
    rules : Rules, optional
        The rules of the list, for its footprint. By default as the list keeps them; files that
        they name are looked for in this folder then.

    Raises
    ------
    RuleError, CatalogError
        If a file that the footprint names is not there, or has changed since the list was made;
        or if `rules` are others.
    """
    order = order_of(nside)
    pixels = coarser(targets.table["_healpix_29"].to_numpy(), order)
    where = unit_vectors(targets.table["ra"].to_numpy(), targets.table["dec"].to_numpy())
    covered = None if scored is None else pixels_of(scored, order)
    footprints = footprints_of(targets, rules)
    chosen = {ALL: np.ones(len(targets), dtype=bool)}
    chosen |= {name: targets.of_class(name) for name in targets.footer["bits"]}
    found = []
    for name, rows in chosen.items():
        counts, areas = _in_pixels(pixels[rows], covered, footprints[name], order)
        found.append(_density(name, counts, areas, neighbours(where[rows], reach)))
    return tuple(found)


def check_list(targets: TargetList) -> None:
    """Refuse a list whose classes are not known, or that counts a target twice.

    Raises
    ------
    CatalogError
    """
    place = targets.path or "the target list"
    if "bits" not in targets.footer:
        raise CatalogError(
            f"{place}: rewritten by a program that loses its footer, so that nobody knows its "
            "classes and their footprints. Give the file that 'targetsel select' wrote."
        )
    check_unique(targets.table["target_id"].to_numpy(), place)


def _rules(targets: TargetList, given: Rules | None) -> Rules:
    """The rules of a list."""
    if given is None:
        try:
            return rules_of(targets)
        except RuleError as error:
            raise CatalogError(f"{error}{HINT}") from None
    if given.sha256 != targets.footer["rules_sha256"]:
        raise CatalogError(f"{given.name}: not the rules that the list was made by. Name those.")
    return given


def footprints_of(targets: TargetList, rules: Rules | None) -> dict[str, Region]:
    """The footprint of each class, and of all targets; the whole sky where there is none.

    Raises
    ------
    RuleError, CatalogError
        As `density`.
    """
    files = ExternalFiles()
    found: dict[str, Region] = {}
    known: dict[int, Region] = {}
    for each in _rules(targets, rules).classes if targets.footer.get("rules_files") else ():
        key = id(each.preamble)
        if key not in known:
            try:
                known[key] = each.preamble.footprint.region(files)
            except RuleError as error:
                raise CatalogError(f"{error}{HINT}") from None
        found[each.name] = known[key]
    for name, digest in files.sha256.items():
        if targets.footer.get("files", {}).get(name, digest) != digest:
            raise CatalogError(
                f"{name}: has changed since the list was made, whose footprint it is. Put that "
                "file back, or select again."
            )
    found = {name: found.get(name, Region.everywhere()) for name in targets.footer["bits"]}
    return found | {ALL: Region.union([*found.values()])}


def _in_pixels(
    pixels: np.ndarray, covered: np.ndarray | None, footprint: Region, order: int
) -> tuple[np.ndarray, np.ndarray]:
    """The targets in each pixel, and the area of the footprint in it [deg2], shape (K,) each.

    Parameters
    ----------
    pixels : ndarray, shape (N,)
        The pixel of each target.
    covered : ndarray, optional
        Pixels that count without a target, too.
    """
    held, n_held = np.unique(pixels, return_counts=True)
    known = held if covered is None else np.union1d(held, covered)
    counts = np.zeros(len(known), dtype=np.int64)
    counts[np.searchsorted(known, held)] = n_held
    areas = footprint.covered(known, order) * SQUARE_DEGREES / (12 * 4**order)
    return counts[areas > 0], areas[areas > 0]


def _density(name: str, counts: np.ndarray, areas: np.ndarray, near: np.ndarray) -> Density:
    """The density of targets of which `near` have that many others within reach, shape (N,)."""
    large = areas >= 0.5 * areas.max(initial=0.0)
    spread = np.full(4, math.nan)
    if len(counts):
        spread = np.quantile(counts[large] / areas[large], [0.05, 0.5, 0.95, 1.0])
    low, median, high, most = spread.tolist()
    return Density(
        name,
        len(near),
        float(areas.sum()),
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
        parts = np.split(np.arange(len(where)), range(ROWS_AT_A_TIME, len(where), ROWS_AT_A_TIME))
        for rows in tracked(parts, "counting neighbours", len(where), "targets", len):
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
