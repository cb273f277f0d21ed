"""Spectra of the mock sky: stars, dust and lines, drawn for real galaxies from the anchor model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from targetsel.mock.anchor import N_COLOURS, SOFTENING, Anchor
from targetsel.mock.emission import DRAWN_LINES, line_spectrum
from targetsel.mock.templates import DUST, EDGES, OLD, WAVELENGTH

# Uncertainty of what the broad bands tell about the *fiber*: a whole galaxy's colour is not its
# centre's, and DESI's fiber takes about a third of the light of an SDSS galaxy. Set by hand.
KNOWN_ERROR = np.array([0.12, 0.06, 0.20])
FIBER_SHARE = 0.32
N_NORMALS = 16  # standard normals that one galaxy's spectrum uses up


@dataclass(frozen=True)
class FiberSpectra:
    """What a 3 arcsec fiber sees of each galaxy, without noise.

    Attributes
    ----------
    old, young, lines : ndarray, shape (N, L)
        Flux density per unit rest wavelength on `templates.WAVELENGTH`: old stars (bulge), all
        other stars and gas (disk). Their sum is 1 on average at 5500-6100 Angstrom.
    widths : dict of ndarray, shape (N,)
        Emission line strengths that were put in: rest equivalent width [Angstrom].
    """

    old: np.ndarray
    young: np.ndarray
    lines: np.ndarray
    widths: dict[str, np.ndarray]

    @property
    def total(self) -> np.ndarray:
        return self.old + self.young + self.lines


def draw_spectra(known: np.ndarray, normals: np.ndarray, anchor: Anchor) -> FiberSpectra:
    """One fiber spectrum for each galaxy.

    Parameters
    ----------
    known : ndarray, shape (N, 3)
        `Galaxies.known`.
    normals : ndarray, shape (N, N_NORMALS)
        Independent standard normals: all of the randomness.
    """
    fiber = known + np.array([0.0, 0.0, np.log10(FIBER_SHARE)])
    features = anchor.draw(fiber, KNOWN_ERROR, normals[:, :14])
    old, young = _continuum(anchor.bins(features[:, :N_COLOURS]), anchor)
    strengths = SOFTENING * np.sinh(np.clip(features[:, N_COLOURS + 1 :], 0.0, np.arcsinh(400.0)))
    widths = dict(zip(DRAWN_LINES, strengths.T, strict=True))
    # Massive galaxies have broader lines; the spectrograph adds 69 km/s (R about 1850).
    luminosity = features[:, N_COLOURS]
    galaxy = 90.0 * 10 ** (0.25 * (luminosity - 6.5) + 0.12 * normals[:, 14])
    sigma = np.hypot(np.clip(galaxy, 30.0, 350.0), 69.0)
    lines = line_spectrum(widths, old + young, EDGES, sigma)
    return FiberSpectra(old, young, lines, widths)


def _continuum(bins: np.ndarray, anchor: Anchor) -> tuple[np.ndarray, np.ndarray]:
    """Old and other stars whose sum reproduces each galaxy's 12 bins, two arrays (N, L).

    Templates are combined without negative weights; what ratio remains between the bins and the
    combination is put on as a smooth factor, constant beyond 3550 and 6850 Angstrom.
    """
    lower, upper = anchor.bin_edges[:-1], anchor.bin_edges[1:]
    inside = (WAVELENGTH >= lower[:, None]) & (WAVELENGTH < upper[:, None])
    averaging = inside / inside.sum(axis=1, keepdims=True)
    design = averaging @ anchor.templates.T
    weights = np.array([nnls(design / row[:, None], np.ones(len(row)))[0] for row in bins])
    ratio = bins / (weights @ design.T)
    centres = np.log(0.5 * (lower + upper))
    smooth = np.array([np.interp(np.log(WAVELENGTH), centres, row) for row in ratio])
    is_old = np.arange(len(anchor.templates)) // len(DUST) == OLD
    old = weights[:, is_old] @ anchor.templates[is_old] * smooth
    young = weights[:, ~is_old] @ anchor.templates[~is_old] * smooth
    middle = (WAVELENGTH > 5500) & (WAVELENGTH < 6100)
    level = (old + young)[:, middle].mean(axis=1, keepdims=True)
    return old / level, young / level
