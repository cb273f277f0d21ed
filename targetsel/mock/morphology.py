"""Sizes, shapes and components of mock galaxies, correlated with their spectra.

Galaxies of one colour and luminosity differ in their lines and breaks, and it is not well known how
strongly their images depend on these. One number sets it here, `link`: at 0 shapes depend on
colour and luminosity alone; 1 is the default. All that a network gains over photometry on this sky
follows from it, so it is written into the sky's files.

All shares and their scatter were set by hand, so that images look like Pan-STARRS galaxies; only
the sizes follow a relation that was fitted to real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from targetsel.mock.anchor import WAVELENGTH
from targetsel.mock.cosmology import arcsec_per_kpc
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.spectra import FiberSpectra

N_NORMALS = 18  # standard normals per galaxy
MISCENTRING = 0.12  # arcsec, along each axis
SMALLEST, LARGEST = 0.25, 12.0  # half-light radii [arcsec]


@dataclass(frozen=True)
class Structure:
    """Components of mock galaxies, each an array of shape (N,).

    Attributes
    ----------
    radius : half-light radius of the whole, from the size-luminosity relation [arcsec]
    bulge_radius, disk_radius, young_radius : half-light radii along the major axis [arcsec]
    bulge_axis_ratio, disk_axis_ratio : minor over major axis, as projected
    angle : position angle of the major axis [rad]
    bulge_share, bar_share : of the light of old stars; the rest is in the disk
    bar_angle : in the disk's plane, from the major axis [rad]
    arm_share, knot_share : of the light of young stars outside the nucleus; the rest is in a
        smooth disk
    line_knot_share : of the emission lines outside the nucleus, likewise
    point_share : of the emission lines, from the nucleus; half as much of the young stars' light
    arms, pitch, arm_spread : number of spiral arms, pitch angle, scatter along the turn [rad]
    lopsidedness : offset of the young disk from the old one [young_radius]
    x, y : offset of the source from the cutout's centre [arcsec]
    """

    radius: np.ndarray
    bulge_radius: np.ndarray
    disk_radius: np.ndarray
    young_radius: np.ndarray
    bulge_axis_ratio: np.ndarray
    disk_axis_ratio: np.ndarray
    angle: np.ndarray
    bulge_share: np.ndarray
    bar_share: np.ndarray
    bar_angle: np.ndarray
    arm_share: np.ndarray
    knot_share: np.ndarray
    line_knot_share: np.ndarray
    point_share: np.ndarray
    arms: np.ndarray
    pitch: np.ndarray
    arm_spread: np.ndarray
    lopsidedness: np.ndarray
    x: np.ndarray
    y: np.ndarray


def draw_structure(
    galaxies: Galaxies, spectra: FiberSpectra, normals: np.ndarray, link: float
) -> Structure:
    """One structure for each galaxy.

    Parameters
    ----------
    normals : ndarray, shape (N, N_NORMALS)
        Independent standard normals: all of the randomness.
    link : float
        Strength of the dependence of shapes on a spectrum's lines and break at given colour; 0
        is none.
    """
    n = iter(normals.T)
    old = _old_share(spectra)
    magnitude = galaxies.absolute_magnitude
    spheroidal = 9 * (old - 0.72) + 0.35 * (-20.8 - magnitude)
    bulge = expit(spheroidal + link * 0.7 * spectra.age_excess + 0.9 * next(n))
    early = bulge * old > 0.5
    disk_like = expit(6 * (0.62 - bulge * old))  # strength of the disk, which sets that of its arms
    radius = half_light_radius(magnitude, early) * np.exp(size_scatter(magnitude) * next(n))
    radius = np.clip(radius * arcsec_per_kpc(galaxies.redshift), SMALLEST, LARGEST)
    # Radii were fitted in circles: along the major axis disks are longer, by their mean axis ratio.
    disk_radius = radius * np.where(early, 1.4, 1.2)
    bulge_ratio, disk_ratio = _axis_ratios(spectra, early, next(n), next(n), link)
    strong = link * spectra.line_excess
    dwarf = expit(1.5 * (magnitude + 18.3))  # faint galaxies have knots rather than arms
    nucleus = expit(-2.6 + link * (2.5 * spectra.agn + 0.6 * spectra.ratio_excess) + 0.9 * next(n))
    point = 0.7 * nucleus
    knots = 0.25 * disk_like * expit(-0.9 + 0.8 * strong + 1.2 * dwarf + 0.6 * next(n))
    arms = 0.75 * disk_like * (1 - 0.6 * dwarf) * expit(-0.1 + 0.7 * strong + 0.8 * next(n))
    line_knots = 0.7 * disk_like * expit(-0.4 + 0.7 * strong + 0.8 * next(n))
    barred = (ndtr(next(n)) < 0.35) & (disk_like > 0.5) & (dwarf < 0.5)
    bar = np.where(barred, np.minimum(0.15 + 0.25 * ndtr(next(n)), 0.9 * (1 - bulge)), 0.0)
    grand = ndtr(next(n))
    return Structure(
        radius=radius,
        bulge_radius=np.clip(radius * np.where(early, 1.0, 0.2 + 0.5 * bulge), 0.1, LARGEST),
        disk_radius=disk_radius,
        young_radius=disk_radius * 1.2,
        bulge_axis_ratio=bulge_ratio,
        disk_axis_ratio=disk_ratio,
        angle=2 * np.pi * ndtr(next(n)),
        bulge_share=bulge,
        bar_share=bar,
        bar_angle=2 * np.pi * ndtr(next(n)),
        arm_share=arms,
        knot_share=knots,
        line_knot_share=line_knots,
        point_share=point,
        arms=1 + np.searchsorted([0.04, 0.64, 0.84], grand),
        pitch=np.radians(np.clip(17 + 5 * next(n), 7, 32)),
        arm_spread=np.clip(0.22 * np.exp(0.5 * next(n)) + 0.6 * dwarf, 0.1, 1.5),
        lopsidedness=(0.05 + 0.15 * dwarf) * np.abs(next(n)) * disk_like,
        x=MISCENTRING * next(n),
        y=MISCENTRING * next(n),
    )


def half_light_radius(absolute_r: np.ndarray, early: np.ndarray) -> np.ndarray:
    """Median half-light radius [kpc] of Sersic profiles from absolute r magnitude.

    Shen et al. (2003, MNRAS 343, 978), eqs. 14 and 15, fitted to 140,000 SDSS galaxies; the
    coefficients of their figure 6 are given from memory.
    """
    late = (
        -0.4 * 0.26 * absolute_r
        + (0.51 - 0.26) * np.log10(1 + 10 ** (-0.4 * (absolute_r + 20.91)))
        - 1.71
    )
    return 10 ** np.where(early, -0.4 * 0.65 * absolute_r - 5.06, late)


def size_scatter(absolute_r: np.ndarray) -> np.ndarray:
    """Standard deviation of ln(radius): Shen et al. (2003), eq. 16, coefficients from memory."""
    return 0.25 + (0.48 - 0.25) / (1 + 10 ** (-0.8 * (absolute_r + 20.52)))


def _old_share(spectra: FiberSpectra) -> np.ndarray:
    """Share of the old stars in the continuum at 5500 to 6100 Angstrom."""
    middle = (WAVELENGTH > 5500) & (WAVELENGTH < 6100)
    old, young = (light[:, middle].mean(axis=1) for light in (spectra.old, spectra.young))
    return old / (old + young)


def _axis_ratios(
    spectra: FiberSpectra, early: np.ndarray, turn: np.ndarray, flattening: np.ndarray, link: float
) -> tuple[np.ndarray, np.ndarray]:
    """Projected axis ratios of bulge and disk, each (N,).

    Thick disks and oblate spheroids (Hubble 1926, ApJ 64, 321): q^2 = c^2 + (1 - c^2) q0^2. Dusty
    galaxies are edge-on more often, but only partly, so that not all of them are.
    """
    tie = 0.35 * min(link, 2.0)
    dusty = np.clip((spectra.dust - 0.6) / 0.5, -2.0, 2.0)
    cosine = ndtr(np.sqrt(1 - tie**2) * turn - tie * dusty)

    def projected(intrinsic: np.ndarray) -> np.ndarray:
        return np.sqrt(cosine**2 + (1 - cosine**2) * intrinsic**2)

    bulge = np.where(early, 0.70 + 0.12 * flattening, 0.60 + 0.10 * flattening)
    disk = 0.18 + 0.03 * np.tanh(flattening)
    return projected(np.clip(bulge, 0.3, 0.95)), projected(disk)


Places = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y [arcsec] and shares of the light


def ellipse(radius: float, axis_ratio: float, angle: float) -> np.ndarray:
    """Second moments of an ellipse, shape (2, 2) [arcsec^2]; see `profiles`."""
    cosine, sine = np.cos(angle), np.sin(angle)
    axes = np.array([[cosine, -sine], [sine, cosine]]) * [radius, radius * axis_ratio]
    return axes @ axes.T


def on_the_sky(
    radius: np.ndarray, turn: np.ndarray, axis_ratio: float, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """Projected x, y [arcsec] of polar coordinates in a disk's plane, from its major axis."""
    along, across = radius * np.cos(turn), radius * np.sin(turn) * axis_ratio
    cosine, sine = np.cos(angle), np.sin(angle)
    return cosine * along - sine * across, sine * along + cosine * across


def draw_arms(structure: Structure, row: int, rng: np.random.Generator, n: int = 160) -> Places:
    """Positions along the spiral arms and shares of the light: x, y [arcsec], shares, each (n,).

    Logarithmic spirals from an inner radius outwards, with an exponential disk's brightness;
    scatter and shares make them patchy. A small pitch angle makes a ring.
    """
    scale = structure.young_radius[row] / 1.678
    inner = (0.6 + 0.6 * rng.random()) * scale
    depth = (np.arange(n) + rng.random(n)) / n
    radius = inner + scale * _disk_quantile(0.96 * depth)
    arms = int(structure.arms[row])
    turn = np.log(radius / inner) / np.tan(structure.pitch[row])
    turn = turn * rng.choice([-1.0, 1.0]) + 2 * np.pi * rng.integers(arms, size=n) / arms
    turn += 2 * np.pi * rng.random() + structure.arm_spread[row] * rng.standard_normal(n)
    x, y = on_the_sky(radius, turn, structure.disk_axis_ratio[row], structure.angle[row])
    share = rng.gamma(3.0, size=n) * np.exp(-0.3 * (radius - inner) / scale)
    return x, y, share / share.sum()


def draw_knots(
    structure: Structure,
    row: int,
    arms: Places,
    rng: np.random.Generator,
    n: int = 60,
) -> Places:
    """Positions of star-forming knots, in the form of `draw_arms`: two thirds are on the arms.

    Their luminosity function is a power law of index -1.8 over two decades, like that of HII
    regions (Kennicutt, Edgar & Hodge 1989, ApJ 337, 761, found -2 +- 0.5).
    """
    scale = structure.young_radius[row] / 1.678
    radius = scale * _disk_quantile(0.97 * rng.random(n))
    turn = 2 * np.pi * rng.random(n)
    x, y = on_the_sky(radius, turn, structure.disk_axis_ratio[row], structure.angle[row])
    chosen = rng.choice(len(arms[0]), size=n)
    on_arm = rng.random(n) < 0.67
    x, y = np.where(on_arm, arms[0][chosen], x), np.where(on_arm, arms[1][chosen], y)
    share = (1 - 0.95 * rng.random(n)) ** (-1 / 0.8)
    return x, y, share / share.sum()


def _disk_quantile(share: np.ndarray) -> np.ndarray:
    """Radius, in scale lengths, within which an exponential disk has this share of its light."""
    return np.interp(share, _DISK_LIGHT, _DISK_RADIUS)


_DISK_RADIUS = np.linspace(0.0, 9.0, 400)
_DISK_LIGHT = 1 - (1 + _DISK_RADIUS) * np.exp(-_DISK_RADIUS)
