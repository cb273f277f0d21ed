"""Irregular shapes of mock galaxies: scattered profiles, halos, dust lanes, tidal tails, mergers.

They depend on a galaxy's sizes, axis ratio and bulge, and on chance: they tell of its spectrum
only what its structure does already (see `morphology`, `link`). Shares, chances and scatter were
set by hand, unless a source is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from targetsel.mock.camera import Camera, extinction
from targetsel.mock.morphology import Places, Structure, on_the_sky
from targetsel.mock.steps import Chance, Step

# Median Sersic index of a bulge: from 1.5 without spheroid, as in pseudobulges, of index below 2
# (Fisher & Drory 2008, AJ 136, 773), to 4.5 where all is spheroid; and scatter of its logarithm.
BULGE_INDEX, BULGE_INDEX_SCATTER = (1.5, 4.5), 0.25
DISK_INDEX_SCATTER = 0.2
HALO, HALO_SCATTER, HALO_RADIUS = 0.04, 0.8, (2.0, 3.5)  # share of old light; in units of `radius`
LOPSIDED = 0.06  # scatter of the old disk's offset along each axis, in units of its radius
OLD_ARMS, OLD_KNOTS = 0.3, 0.3  # most of the old disk's contrast, in units of the young one's
# Chance of a dust lane in a disk flatter than an axis ratio, the share of the light that it takes
# from the middle of the disk in g, and its offset along the minor axis [minor radius].
DUSTY, FLAT, DUST_DEPTH, DUST_OFFSET = 0.6, 0.5, (0.15, 0.55), 0.25
LANE_LENGTH, LANE_WIDTH = 0.45, 0.07  # sigma, in units of the disk's half-light radius
TAILED, TAIL_SHARE = 0.05, (0.02, 0.15)  # chance of tidal tails, and their share of the light
# Chance of a partner in galaxies with tails and in others, its share of the light, and its
# distance [half-light radius].
PARTNER, PARTNER_SHARE, PARTNER_DISTANCE = (0.5, 0.005), (0.08, 0.45), (0.7, 3.0)
MISPLACED, MISPLACED_BY = 0.03, (0.2, 0.8)  # chance that the position is that of a part; [radius]


@dataclass(frozen=True)
class Partner:
    """A galaxy that merges with another, in the units of that one.

    Attributes
    ----------
    old, young : float
        Shares of the light of old stars, and of young stars and lines.
    x, y, radius : float
        Place and half-light radius [arcsec].
    axis_ratio, angle : float
    """

    old: float
    young: float
    x: float
    y: float
    radius: float
    axis_ratio: float
    angle: float


@dataclass(frozen=True)
class Irregularity:
    """How one galaxy departs from the regular shape of its `Structure`.

    Attributes
    ----------
    bulge_index, disk_index : float
        Sersic indices.
    halo_share, halo_radius : float
        Share of the old stars' light in a halo, and its half-light radius [arcsec].
    lopsided : (float, float)
        Offset of the old disk [arcsec].
    old_arms, old_knots : float
        Arms and knots of the old disk, in units of those of the young one.
    dust : ndarray, shape (B,), optional
        Share of the light in the middle of the disk that a dust lane takes; not in mergers.
    dust_offset : float
        Its distance from the middle along the minor axis [arcsec].
    tail_share : float
        Share of all light in tidal tails.
    partner : Partner, optional
    """

    bulge_index: float = 4.0
    disk_index: float = 1.0
    halo_share: float = 0.0
    halo_radius: float = 1.0
    lopsided: tuple[float, float] = (0.0, 0.0)
    old_arms: float = 0.0
    old_knots: float = 0.0
    dust: np.ndarray | None = None
    dust_offset: float = 0.0
    tail_share: float = 0.0
    partner: Partner | None = None


REGULAR = Irregularity()


def draw_irregularity(
    structure: Structure, row: int, survey: Camera, realism: float, rng: np.random.Generator
) -> Irregularity:
    """The irregularity of one galaxy; `realism` is a factor on it, from 0 to 1."""
    normals, chances = rng.standard_normal(5), rng.random(5)
    bulge, disk = structure.bulge_share[row], structure.disk_radius[row]
    low, high = BULGE_INDEX
    index = (low + (high - low) * bulge) * np.exp(BULGE_INDEX_SCATTER * normals[0])
    index = 4.0 * (index / 4.0) ** realism  # in steps, for each of which Gaussians are fitted once
    disk_index = np.exp(realism * DISK_INDEX_SCATTER * normals[1])
    halo = HALO * np.exp(HALO_SCATTER * normals[2])
    offset = realism * LOPSIDED * disk * normals[3:5]
    dust, aside = _draw_dust(structure, row, survey, realism, rng)
    tail = rng.uniform(*TAIL_SHARE) if chances[0] < realism * TAILED else 0.0
    alone = _draw_partner(structure, row, rng)
    merging = chances[1] < realism * PARTNER[0 if tail else 1]
    return Irregularity(
        bulge_index=float(round(2 * np.clip(index, 1.0, 6.0)) / 2),
        disk_index=float(round(4 * np.clip(disk_index, 0.75, 1.5)) / 4),
        halo_share=realism * min(halo, 0.25),
        halo_radius=structure.radius[row] * (HALO_RADIUS[0] + np.ptp(HALO_RADIUS) * chances[2]),
        lopsided=(offset[0], offset[1]),
        old_arms=realism * OLD_ARMS * chances[3],
        old_knots=realism * OLD_KNOTS * chances[4],
        dust=None if merging else dust,
        dust_offset=aside,
        tail_share=tail,
        partner=alone if merging else None,
    )


def _draw_dust(
    structure: Structure, row: int, survey: Camera, realism: float, rng: np.random.Generator
) -> tuple[np.ndarray | None, float]:
    """Depth of a dust lane in each band, or None, and its offset [arcsec]."""
    ratio = structure.disk_axis_ratio[row]
    chance, depth, side = rng.random(), rng.uniform(*DUST_DEPTH), rng.uniform(-1, 1)
    if chance > DUSTY or ratio > FLAT or structure.bulge_share[row] > 0.8:
        return None, 0.0
    reddening = extinction(survey.wavelength) / extinction(np.array(4810.0))
    taken = 1 - (1 - depth) ** reddening
    return realism * taken, side * DUST_OFFSET * ratio * structure.disk_radius[row]


def _draw_partner(structure: Structure, row: int, rng: np.random.Generator) -> Partner:
    share, contrast = rng.uniform(*PARTNER_SHARE), rng.uniform(0.5, 1.5)
    radius = structure.radius[row]
    distance, turn = radius * rng.uniform(*PARTNER_DISTANCE), 2 * np.pi * rng.random()
    return Partner(
        old=share,
        young=min(share * contrast, 0.6),
        x=distance * np.cos(turn),
        y=distance * np.sin(turn),
        radius=radius * rng.uniform(0.4, 1.0),
        axis_ratio=rng.uniform(0.35, 1.0),
        angle=np.pi * rng.random(),
    )


def draw_tails(structure: Structure, row: int, rng: np.random.Generator, n: int = 60) -> Places:
    """Positions along one or two tidal tails and shares of the light, as `draw_arms` gives them."""
    reach, swing = rng.uniform(2.0, 4.0), rng.uniform(-1.5, 1.5)
    start, second = 2 * np.pi * rng.random(), np.pi * rng.integers(2)
    along = (np.arange(n) + rng.random(n)) / n
    radius = structure.disk_radius[row] * (0.8 + (reach - 0.8) * along)
    turn = start + swing * along + second * rng.integers(2, size=n)
    ratio = max(structure.disk_axis_ratio[row], rng.uniform(0.3, 1.0))
    x, y = on_the_sky(radius, turn, ratio, structure.angle[row])
    share = np.exp(-1.5 * along) * rng.gamma(4.0, size=n)
    return x, y, share / share.sum()


def misplaced(structure: Structure, realism: float, chances: list[Chance]) -> Structure:
    """The structure of sources of which some have the position of one of their parts.

    Catalogs shred large galaxies: the source is then a knot or an end of an arm.
    """
    drawn = np.array([chance.of(Step.PLACE).random(3) for chance in chances])
    low, high = MISPLACED_BY
    away = (low + (high - low) * drawn[:, 1]) * np.minimum(structure.radius, 3.0)
    away = np.where(drawn[:, 0] < realism * MISPLACED, away, 0.0)
    turn = 2 * np.pi * drawn[:, 2]
    return replace(
        structure, x=structure.x + away * np.cos(turn), y=structure.y + away * np.sin(turn)
    )
