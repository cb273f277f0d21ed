"""Noise and left sky as real images have them: correlated as their resampling, nowhere even.

Values were measured by benchmarks/real_images.py in blank sky of a mosaic of KiDS and VIKING, at
0.339 arcsec to a pixel, unless they are said to be set by hand. The correlation of neighbours is on
the surveys' cards (`surveys.card.Correlation`).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from targetsel.mock.camera import EDGE, Camera, Texture

OWN_EDGE = 0.5  # chance that a band was resampled otherwise than the others; set by hand
NOISE = (0.05, 0.10)  # scatter of ln(noise): common to the bands, and of each band
NOISE_SLOPE = 0.06  # of ln(noise) from the middle to an edge of the cutout, along each axis
# Chance that the edge of a chip crosses the cutout, then that it does in a band, and the scatter of
# ln(noise) across it: one edge crosses the mosaic from side to side. The last two are set by hand.
CHIP_EDGE, CHIP_EDGE_IN_BAND, CHIP_EDGE_STEP = 0.045, 0.6, 0.25
# Left sky: distance of the nodes of random surfaces [arcsec], and their amplitude [sigma of a
# pixel]; together they keep neighbours 3 and 4 pixels away correlated by 0.02, 8 to 16 by 0.006.
SURFACES = ((1.3, 0.13), (4.0, 0.07), (12.0, 0.06))
SURFACE_SCATTER = 0.4  # of ln(amplitude); set by hand
COMMON_SURFACE = 0.5  # share of a surface's variance that bands have in common; set by hand


def draw_texture(survey: Camera, size: int, realism: float, rng: np.random.Generator) -> Texture:
    """Noise and left sky of one source.

    Parameters
    ----------
    size : int
        Width and height of the cutout [pixel].
    realism : float
        Factor on the departures from the survey's noise, from 0 to 1.
    """
    bands = len(survey.bands)
    edges = survey.correlation.edges
    differs, own, common = rng.random(bands), rng.uniform(*edges, bands), rng.uniform(*edges)
    edge = np.where(differs < OWN_EDGE, own, common)
    return Texture(
        edge=EDGE + realism * (edge - EDGE),
        contrast=np.exp(np.float32(realism) * _unevenness(bands, size + 2, rng)),
        residual=np.float32(realism) * _left_sky(bands, size, survey.pixel_scale, rng),
    )


def _unevenness(bands: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """ln of the noise at each pixel over the survey's, float32, shape (B, size, size)."""
    y, x = np.ogrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    level = NOISE[0] * rng.standard_normal() + NOISE[1] * rng.standard_normal((bands, 1, 1))
    along, across = NOISE_SLOPE * rng.standard_normal((2, bands, 1, 1))
    uneven = (level + along * x + across * y).astype(np.float32)
    chance, turn, place = rng.random(), 2 * np.pi * rng.random(), rng.uniform(-1, 1)
    step = CHIP_EDGE_STEP * rng.standard_normal() * (rng.random((bands, 1, 1)) < CHIP_EDGE_IN_BAND)
    if chance < CHIP_EDGE:
        uneven += (step * (np.cos(turn) * x + np.sin(turn) * y > place)).astype(np.float32)
    return uneven


def _left_sky(bands: int, size: int, pixel_scale: float, rng: np.random.Generator) -> np.ndarray:
    """Sky light left over [sigma of a pixel], float32, shape (B, size, size)."""
    left = np.zeros((bands, size, size), dtype=np.float32)
    for distance, amplitude in SURFACES:
        weights = spline_weights(size, distance / pixel_scale)
        nodes = weights.shape[1]
        common = np.sqrt(COMMON_SURFACE) * rng.standard_normal((1, nodes, nodes))
        own = np.sqrt(1 - COMMON_SURFACE) * rng.standard_normal((bands, nodes, nodes))
        height = amplitude * np.exp(SURFACE_SCATTER * rng.standard_normal())
        left += weights @ (height * (common + own)).astype(np.float32) @ weights.T
    return left


@cache
def spline_weights(size: int, distance: float) -> np.ndarray:
    """Weights of nodes in a smooth random curve, float32, shape (size, nodes).

    Cubic B-splines on nodes this many pixels apart. The squares of a row add up to 1: independent
    standard normals at the nodes make a curve whose variance is 1 everywhere.
    """
    nodes = int(np.ceil(size / distance)) + 3
    place = np.arange(size)[:, None] / distance + 1.0
    away = np.abs(place - np.arange(nodes))
    inner = 2 / 3 - away**2 + away**3 / 2
    weights = np.where(away < 1, inner, np.clip(2 - away, 0, None) ** 3 / 6)
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)
