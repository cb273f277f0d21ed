"""Where the light of mock disks lies: ellipses on the sky, spiral arms and star-forming knots."""

from __future__ import annotations

import numpy as np

from targetsel.mock.morphology import Structure

Places = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y [arcsec] and shares of the light


def ellipse(radius: float, axis_ratio: float, angle: float) -> np.ndarray:
    """Second moments of an ellipse, shape (2, 2) [arcsec^2]; see `profiles`."""
    cosine, sine = np.cos(angle), np.sin(angle)
    axes = np.array([[cosine, -sine], [sine, cosine]]) * [radius, radius * axis_ratio]
    return axes @ axes.T


def on_the_sky(
    radius: np.ndarray, turn: np.ndarray, axis_ratio: float, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """x, y [arcsec] of points at polar coordinates in a disk's plane, from the major axis on."""
    along, across = radius * np.cos(turn), radius * np.sin(turn) * axis_ratio
    cosine, sine = np.cos(angle), np.sin(angle)
    return cosine * along - sine * across, sine * along + cosine * across


def draw_arms(structure: Structure, row: int, rng: np.random.Generator, n: int = 160) -> Places:
    """Places along the spiral arms and their shares of the light: x, y [arcsec], shares, each (n,).

    Logarithmic spirals from an inner radius outwards, as bright as an exponential disk is there;
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
    """Star-forming knots, as `draw_arms` gives places: two thirds of them on the arms.

    Their luminosities fall as a power law of index -1.8 over two decades, HII regions' own
    (Kennicutt, Edgar & Hodge 1989, ApJ 337, 761, found -2 +- 0.5).
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
