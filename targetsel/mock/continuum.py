"""Stellar continua: templates under dust that reproduce given broad bins, with random variety.

The 12 bins of the anchor model give the light between 3400 and 7000 Angstrom, in steps of
300 Angstrom. The properties that they leave open are drawn: the shares of dust and age in the
colour, the depth of absorption lines, the 4000 Angstrom break, and the slope beyond both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise

import numpy as np
from scipy.special import ndtr

from targetsel.mock.anchor import N_COLOURS, OLD, WAVELENGTH, Anchor, widths_of
from targetsel.mock.emission import gas_dust, reddening
from targetsel.mock.infrared import starlight as infrared_starlight
from targetsel.mock.ultraviolet import starlight
from targetsel.spectra.lines import LineTable

N_NORMALS = 7  # standard normals per continuum
DUST_STEP = 0.3
DUST = np.arange(0.0, 2.41, DUST_STEP)  # A_V [mag] before young stars
OLD_DUST = 0.4  # share of it before old stars
# Young stars see 0.44 of the gas's reddening (Calzetti et al. 2000, ApJ 533, 682), with scatter.
STELLAR_DUST, DUST_SCATTER = 0.44, 0.35
BIN_ERROR = 0.015  # relative error to which a combination of templates reproduces the bins
# Logarithmic depth of the absorption lines of old and of young stars, added to the templates',
# which are smoothed by 300 km/s; scatter set by hand for age, metallicity and dispersion.
DEPTH, DEPTH_SCATTER = np.array([0.35, -0.3]), np.array([0.2, 0.3])
# Scatter of ln D4000 at given bins, which span both sides of the break and so constrain it little:
# that of ten real SDSS spectra about a prediction from the bins.
BREAK_SCATTER = 0.035
# Exponents of the wavelength from 6850 to 8500 and below 3400 Angstrom: with these means the
# spectra have, in the median, the i - z and u - g of the real galaxies that they are drawn for, to
# 0.03 and 0.15 mag.
SLOPE, SLOPE_SCATTER = np.array([-0.1, -3.0]), np.array([0.2, 1.0])


@dataclass(frozen=True)
class Continuum:
    """Light of stars, 1 on average at 5500-6100 Angstrom.

    Attributes
    ----------
    old, young : ndarray, shape (N, L)
        Flux density of old and of all other stars on `anchor.WAVELENGTH`.
    ultraviolet : ndarray, shape (N, 2, U)
        Of old and of all other stars on `ultraviolet.WAVELENGTH`.
    infrared : ndarray, shape (N, 2, I)
        The same on `infrared.WAVELENGTH`.
    dust : ndarray, shape (N,)
        V-band attenuation of the young stars [mag].
    """

    old: np.ndarray
    young: np.ndarray
    ultraviolet: np.ndarray
    infrared: np.ndarray
    dust: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Flux density of all stars, shape (N, L)."""
        return self.old + self.young


def draw_continuum(features: np.ndarray, normals: np.ndarray, anchor: Anchor) -> Continuum:
    """Stars of each galaxy whose light reproduces its bins.

    Templates are combined without negative weights, under an amount of dust drawn from its
    posterior given the bins and the Balmer lines. The remaining ratio of the bins to the
    combination is applied as a smooth factor.

    Parameters
    ----------
    features : ndarray, shape (N, 13)
        Features of the anchor model.
    normals : ndarray, shape (N, N_NORMALS)
        Independent standard normals.
    """
    bins = anchor.bins(features[:, :N_COLOURS])
    widths = widths_of(features)
    expected = STELLAR_DUST * gas_dust(widths, bins[:, 4], bins[:, 10])
    dust, weights = _draw_stars(bins, expected, normals[:, 0], normals[:, 1], anchor)
    depth = DEPTH + DEPTH_SCATTER * normals[:, 2:4]
    old, young = _stars(weights, dust, depth, anchor)
    sharper = np.exp(BREAK_SCATTER * normals[:, 6:7] * _sharper_break())
    old, young = old * sharper, young * sharper
    model = (old + young) @ _averaging(anchor).T
    factor = _continued(bins / model, anchor) * _beyond(normals[:, 4:6])
    middle = (WAVELENGTH > 5500) & (WAVELENGTH < 6100)
    factor /= ((old + young) * factor)[:, middle].mean(axis=1, keepdims=True)
    bluer = starlight(weights, OLD_DUST * dust, dust) * factor[:, None, :1]
    redder = infrared_starlight(weights, OLD_DUST * dust, dust) * factor[:, None, -1:]
    return Continuum(old * factor, young * factor, bluer, redder, dust)


def break_strength(flux: np.ndarray) -> np.ndarray:
    """D4000 of spectra (N, L) on `anchor.WAVELENGTH`, shape (N,)."""
    return LineTable.shipped().choose(("d4000",)).measure(flux, WAVELENGTH)[:, 0]


def _draw_stars(
    bins: np.ndarray, expected: np.ndarray, normal: np.ndarray, place: np.ndarray, anchor: Anchor
) -> tuple[np.ndarray, np.ndarray]:
    """Dust [mag] (N,) drawn from its posterior, and the templates' weights (N, 5)."""
    design = _binned(anchor)[None] / bins[:, None, :, None]  # (N, A, 12, 5)
    weights, misfit = _non_negative(design)
    log = -0.5 * misfit / BIN_ERROR**2
    log -= 0.5 * ((DUST - expected[:, None]) / DUST_SCATTER) ** 2
    share = np.exp(log - log.max(axis=1, keepdims=True))
    cumulative = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    chosen = np.minimum((cumulative < ndtr(normal)[:, None]).sum(axis=1), len(DUST) - 1)
    dust = np.abs(DUST[chosen] + DUST_STEP * (ndtr(place) - 0.5))
    return dust, weights[np.arange(len(bins)), chosen]


def _non_negative(design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (..., 5) >= 0 with `design` (..., 12, 5) @ weights nearest to 1, and the misfit.

    The solution is the best of the unconstrained ones over all sets of templates, among those
    without a negative weight; with five templates it is quickest to try all 31 of them.
    """
    n = design.shape[-1]
    gram = np.swapaxes(design, -1, -2) @ design
    right = design.sum(axis=-2)
    best = np.zeros(right.shape)
    gain = np.zeros(right.shape[:-1])
    ridge = 1e-9 * np.trace(gram, axis1=-2, axis2=-1)[..., None, None]
    for size in range(1, n + 1):
        for members in combinations(range(n), size):
            some = list(members)
            part = gram[..., some, :][..., some] + ridge * np.eye(size)
            found = np.linalg.solve(part, right[..., some][..., None])[..., 0]
            found_gain = (found * right[..., some]).sum(axis=-1)
            better = (found >= 0).all(axis=-1) & (found_gain > gain)
            gain[better] = found_gain[better]
            best[better] = 0.0
            best[better[..., None] & np.isin(np.arange(n), some)] = found[better].ravel()
    return best, design.shape[-2] - gain


def _stars(
    weights: np.ndarray, dust: np.ndarray, depth: np.ndarray, anchor: Anchor
) -> tuple[np.ndarray, np.ndarray]:
    """Old and other stars (N, L), their absorption lines changed in depth."""
    templates, relief = anchor.templates, _relief(anchor)
    is_old = np.arange(len(templates)) == OLD
    parts = []
    for members, opacity, deeper in (
        (is_old, OLD_DUST * dust, depth[:, 0]),
        (~is_old, dust, depth[:, 1]),
    ):
        light = weights[:, members] @ templates[members]
        light += deeper[:, None] * (weights[:, members] @ relief[members])
        parts.append(np.maximum(light, 0.0) * reddening(WAVELENGTH, opacity))
    return parts[0], parts[1]


@lru_cache(maxsize=2)
def _relief(anchor: Anchor) -> np.ndarray:
    """Change of each template per unit of logarithmic depth of its lines, shape (5, L)."""
    smooth = np.array([running_median(row, 61) for row in anchor.templates])
    return anchor.templates * np.log(anchor.templates / smooth)


@lru_cache(maxsize=2)
def _averaging(anchor: Anchor) -> np.ndarray:
    """Matrix from spectra to the 12 bins, shape (12, L)."""
    inside = np.array([(WAVELENGTH >= a) & (WAVELENGTH < b) for a, b in pairwise(anchor.bin_edges)])
    return inside / inside.sum(axis=1, keepdims=True)


@lru_cache(maxsize=2)
def _binned(anchor: Anchor) -> np.ndarray:
    """The templates' bins under each amount of dust, shape (A, 12, 5)."""
    opacity = np.where(np.arange(len(anchor.templates)) == OLD, OLD_DUST, 1.0)
    reddened = anchor.templates * reddening(WAVELENGTH, np.outer(DUST, opacity))
    return np.swapaxes(reddened @ _averaging(anchor).T, 1, 2)


def _continued(ratio: np.ndarray, anchor: Anchor) -> np.ndarray:
    """Linear interpolation of the bins' ratios (N, 12), constant beyond, shape (N, L)."""
    centres = np.log(0.5 * (anchor.bin_edges[:-1] + anchor.bin_edges[1:]))
    corners = np.array([np.interp(np.log(WAVELENGTH), centres, row) for row in np.eye(12)])
    return ratio @ corners


def _sharper_break() -> np.ndarray:
    """Natural log of a factor that raises ln D4000 by 1 and leaves the bins unchanged, (L,).

    A wave of one period in each of the bins to either side of 4000 Angstrom. Its mean is 0.716 of
    its amplitude in 4000-4100 Angstrom, and as much below 0 in 3850-3950.
    """
    beyond = WAVELENGTH - 4000.0
    wave = np.sin(2 * np.pi * beyond / 300.0) * (np.abs(beyond) < 300.0)
    return wave / (2 * 0.716)


def _beyond(normals: np.ndarray) -> np.ndarray:
    """Factors with randomly drawn slopes beyond the outermost bins' centres, shape (N, L)."""
    red, blue = (SLOPE + SLOPE_SCATTER * normals).T[:, :, None]
    above = np.log(np.clip(WAVELENGTH, 6850.0, 8500.0) / 6850.0)
    below = np.log(np.maximum(3400.0 / WAVELENGTH, 1.0))
    return np.exp(red * above + blue * below)


def running_median(values: np.ndarray, width: int) -> np.ndarray:
    """Median over `width` pixels around each; the end values are repeated beyond the ends."""
    padded = np.pad(values, width // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
