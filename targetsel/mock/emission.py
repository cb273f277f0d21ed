"""Emission lines of the mock sky: which there are, how they are tied, and their profiles."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

SPEED_OF_LIGHT = 299_792.458  # km/s

# Strengths that the anchor model draws, and what each is shared out to: (vacuum wavelength
# [Angstrom], share). Doublets of one upper level are tied 1:3 (Storey & Zeippen 2000); [OII] and
# [SII] are set near their low-density limit; the higher Balmer lines follow Hbeta by case B at
# 10^4 K (Osterbrock & Ferland 2006), and [NeIII] follows [OIII].
DRAWN_LINES = ("oii", "hbeta", "oiii", "halpha", "nii", "sii")
COMPONENTS: dict[str, tuple[tuple[float, float], ...]] = {
    "oii": ((3727.09, 0.42), (3729.88, 0.58)),
    "hbeta": ((4862.69, 1.0),),
    "oiii": ((4960.30, 0.25), (5008.24, 0.75)),
    "halpha": ((6564.61, 1.0),),
    "nii": ((6549.86, 0.25), (6585.27, 0.75)),
    "sii": ((6718.29, 0.57), (6732.68, 0.43)),
}
FOLLOWERS: tuple[tuple[str, float, float], ...] = (
    ("hbeta", 4341.69, 0.469),
    ("hbeta", 4102.90, 0.259),
    ("oiii", 3869.86, 0.06),
)


def profile(edges: np.ndarray, centre: float, sigma: np.ndarray) -> np.ndarray:
    """Gaussian line of unit flux, averaged over pixels, shape (N, L) [1/Angstrom].

    Parameters
    ----------
    edges : ndarray, shape (L + 1,)
        Pixel edges [Angstrom].
    centre : float
        Line centre [Angstrom].
    sigma : ndarray, shape (N,)
        Velocity dispersion [km/s].
    """
    scale = np.sqrt(2.0) * centre * np.asarray(sigma)[:, None] / SPEED_OF_LIGHT
    cumulative = 0.5 * erf((edges - centre) / scale)
    return np.diff(cumulative, axis=1) / np.diff(edges)


def line_spectrum(
    widths: dict[str, np.ndarray], continuum: np.ndarray, edges: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """Flux density of all lines, in the unit of `continuum`.

    Parameters
    ----------
    widths : dict of ndarray, shape (N,)
        Rest-frame equivalent width of each of `DRAWN_LINES` [Angstrom], doublets summed.
    continuum : ndarray, shape (N, L)
    edges : ndarray, shape (L + 1,)
    sigma : ndarray, shape (N,)
        Velocity dispersion [km/s].
    """
    flux = np.zeros_like(continuum)
    centres = np.sqrt(edges[1:] * edges[:-1])

    def level(wavelength: float) -> np.ndarray:
        return continuum[:, np.argmin(np.abs(centres - wavelength))]

    for name in DRAWN_LINES:
        for wavelength, share in COMPONENTS[name]:
            strength = share * widths[name] * level(wavelength)
            flux += strength[:, None] * profile(edges, wavelength, sigma)
    for name, wavelength, ratio in FOLLOWERS:
        anchor = COMPONENTS[name][-1][0]
        strength = ratio * widths[name] * level(anchor)
        flux += strength[:, None] * profile(edges, wavelength, sigma)
    return flux
