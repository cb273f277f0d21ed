"""Emission lines of the mock sky: their list, their fixed ratios, and their profiles."""

from __future__ import annotations

import numpy as np
from scipy.special import erf, expit

from targetsel.mock.anchor import EDGES, WAVELENGTH

SPEED_OF_LIGHT = 299_792.458  # km/s

# Strengths that the anchor model draws, and the components of each: (vacuum wavelength
# [Angstrom], share). Doublets of one upper level are tied 1:3 (Storey & Zeippen 2000); [OII] and
# [SII] are set near their low-density limit.
COMPONENTS: dict[str, tuple[tuple[float, float], ...]] = {
    "oii": ((3727.09, 0.42), (3729.88, 0.58)),
    "hbeta": ((4862.69, 1.0),),
    "oiii": ((4960.30, 0.25), (5008.24, 0.75)),
    "halpha": ((6564.61, 1.0),),
    "nii": ((6549.86, 0.25), (6585.27, 0.75)),
    "sii": ((6718.29, 0.57), (6732.68, 0.43)),
}
# Lines that follow a drawn one: its name, their vacuum wavelength [Angstrom], and the ratio of
# dust-free fluxes. Balmer lines: case B at 10^4 K (Osterbrock & Ferland 2006). The others are
# typical of HII regions, rounded from memory: [NeIII], HeI, [OI], [ArIII], [OII], [SIII].
FOLLOWERS: tuple[tuple[str, float, float], ...] = (
    ("hbeta", 4341.69, 0.469),
    ("hbeta", 4102.90, 0.259),
    ("hbeta", 3971.20, 0.159),
    ("hbeta", 3890.17, 0.105),
    ("hbeta", 3836.49, 0.073),
    ("oiii", 3869.86, 0.060),
    ("oiii", 3968.59, 0.019),
    ("halpha", 5877.25, 0.037),
    ("sii", 6302.05, 0.150),
    ("sii", 6365.54, 0.050),
    ("halpha", 7137.77, 0.025),
    ("halpha", 7321.94, 0.010),
    ("halpha", 7332.21, 0.010),
    ("halpha", 9071.10, 0.080),
    ("halpha", 9533.20, 0.200),
)
PERMITTED = ("halpha", "hbeta")
CASE_B = 2.86  # Halpha / Hbeta
MOST_GAS_DUST = 4.0  # A_V [mag]
WIDEST = 1200.0  # km/s; profiles are cut at five times the dispersion


def reddening(wavelength: np.ndarray, dust: np.ndarray) -> np.ndarray:
    """Share of light transmitted by `dust` [A_V, mag], shape (..., L).

    Optical depth falls as wavelength^-0.7 (Charlot & Fall 2000, ApJ 539, 718).
    """
    exponent = -0.4 * np.log(10.0) * np.asarray(dust)[..., None]
    return np.exp(exponent * (wavelength / 5500.0) ** -0.7)


def gas_dust(widths: dict[str, np.ndarray], blue: np.ndarray, red: np.ndarray) -> np.ndarray:
    """V-band attenuation of the gas [mag] by the Balmer decrement, shape (N,); 0 to 4.

    Parameters
    ----------
    blue, red : ndarray, shape (N,)
        Continuum at Hbeta and at Halpha, in the same unit.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        decrement = widths["halpha"] * red / (widths["hbeta"] * blue)
        magnitudes = 2.5 * np.log10(decrement / CASE_B)
    difference = (4862.69 / 5500.0) ** -0.7 - (6564.61 / 5500.0) ** -0.7
    dust = np.nan_to_num(magnitudes / difference, nan=0.0, posinf=MOST_GAS_DUST, neginf=0.0)
    return np.clip(dust, 0.0, MOST_GAS_DUST)


def agn_weight(widths: dict[str, np.ndarray]) -> np.ndarray:
    """Degree to which line ratios indicate an active nucleus, 0 to 1, shape (N,).

    One half on the boundary of Kewley et al. (2001, ApJ 556, 121) and, for weak lines, at
    EW(Halpha) = 3 Angstrom, below which old stars can ionise the gas (Cid Fernandes et al. 2011,
    MNRAS 413, 1687); softened by 0.15 dex and a factor of 1.3.
    """
    floor = 0.05
    nii = np.log10(np.maximum(0.75 * widths["nii"], floor) / np.maximum(widths["halpha"], floor))
    oiii = np.log10(np.maximum(0.75 * widths["oiii"], floor) / np.maximum(widths["hbeta"], floor))
    boundary = np.where(nii < 0.3, 0.61 / (np.minimum(nii, 0.3) - 0.47) + 1.19, -np.inf)
    strong = np.log(np.maximum(widths["halpha"], floor) / 3.0) / np.log(1.3)
    return expit((oiii - boundary) / 0.15) * expit(strong)


def line_spectrum(
    widths: dict[str, np.ndarray],
    continuum: np.ndarray,
    sigma: np.ndarray,
    forbidden_sigma: np.ndarray,
    dust: np.ndarray,
) -> np.ndarray:
    """Flux density of all lines on `anchor.WAVELENGTH`, in the unit of `continuum`.

    Parameters
    ----------
    widths : dict of ndarray, shape (N,)
        Rest-frame equivalent width of each of `DRAWN_LINES` [Angstrom], doublets summed.
    continuum : ndarray, shape (N, L)
    sigma, forbidden_sigma : ndarray, shape (N,)
        Velocity dispersions of Balmer and of all other lines [km/s].
    dust : ndarray, shape (N,)
        V-band attenuation of the gas [mag]; the drawn widths already include it.
    """
    flux = np.zeros_like(continuum)
    for name, wavelength, ratio in _all_lines():
        reference = COMPONENTS[name][-1][0]
        # A doublet's lines are attenuated alike; a follower is attenuated at its own wavelength.
        strength = ratio * widths[name] * continuum_at(name, continuum)
        passed = reddening(np.array([wavelength, reference]), dust)
        strength = strength * passed[:, 0] / passed[:, 1]
        width = sigma if name in PERMITTED else forbidden_sigma
        pixels = _around(wavelength)
        shape = profile(EDGES[pixels.start : pixels.stop + 1], wavelength, width)
        flux[:, pixels] += strength[:, None] * shape
    return flux


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


def _all_lines() -> tuple[tuple[str, float, float], ...]:
    drawn = tuple(
        (name, wavelength, share)
        for name, parts in COMPONENTS.items()
        for wavelength, share in parts
    )
    return drawn + FOLLOWERS


def continuum_at(name: str, continuum: np.ndarray) -> np.ndarray:
    """The continuum (N, L) that the width of a drawn line refers to, shape (N,)."""
    return continuum[:, np.argmin(np.abs(WAVELENGTH - COMPONENTS[name][-1][0]))]


def _around(wavelength: float) -> slice:
    """The pixels that a line can reach."""
    reach = 5 * WIDEST / SPEED_OF_LIGHT
    low, high = np.searchsorted(WAVELENGTH, [wavelength * (1 - reach), wavelength * (1 + reach)])
    return slice(int(low), int(high))
