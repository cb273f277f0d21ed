"""Spectra of the mock sky: stars, dust and lines, drawn for real galaxies from the anchor model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targetsel.mock.anchor import FIBER_SHARE, LUMINOSITY, Anchor, widths_of
from targetsel.mock.anchor import N_NORMALS as N_DRAWN
from targetsel.mock.continuum import N_NORMALS as N_CONTINUUM
from targetsel.mock.continuum import Continuum, break_strength, draw_continuum
from targetsel.mock.emission import agn_weight, gas_dust, line_spectrum, profile
from targetsel.mock.templates import EDGES, WAVELENGTH

# Uncertainty of what the broad bands tell about the *fiber*: a whole galaxy's colour is not its
# centre's. Set by hand.
KNOWN_ERROR = np.array([0.18, 0.08, 0.20])
INSTRUMENT = 69.0  # km/s: the spectrograph's own dispersion, for a resolution of 1850
N_NORMALS = N_DRAWN + N_CONTINUUM + 3  # that one galaxy's spectrum uses up


@dataclass(frozen=True)
class FiberSpectra:
    """What a 3 arcsec fiber sees of each galaxy, without noise.

    Attributes
    ----------
    old, young, lines : ndarray, shape (N, L)
        Flux density per unit rest wavelength on `templates.WAVELENGTH`: old stars (bulge), all
        other stars and gas (disk). The stars' sum is 1 on average at 5500-6100 Angstrom.
    widths : dict of ndarray, shape (N,)
        Emission line strengths that were put in: rest equivalent width [Angstrom].
    line_excess : ndarray, shape (N,)
        By how many sigma asinh EW(Halpha) exceeds the anchor's expectation given the continuum's
        colours and luminosity.
    ratio_excess : ndarray, shape (N,)
        The same for [NII] / Halpha, given also EW(Halpha).
    age_excess : ndarray, shape (N,)
        The same for D4000, given the two leading colour components and luminosity.
    dust : ndarray, shape (N,)
        V-band attenuation of the young stars [mag].
    agn : ndarray, shape (N,)
        How far the line ratios speak of an active nucleus, 0 to 1.
    weight : ndarray, shape (N,)
        Makes up for over-sampling: weighted statistics are the anchor's. 1 without over-sampling.
    """

    old: np.ndarray
    young: np.ndarray
    lines: np.ndarray
    widths: dict[str, np.ndarray]
    line_excess: np.ndarray
    ratio_excess: np.ndarray
    age_excess: np.ndarray
    dust: np.ndarray
    agn: np.ndarray
    weight: np.ndarray

    @property
    def total(self) -> np.ndarray:
        return self.old + self.young + self.lines


def draw_spectra(
    known: np.ndarray, normals: np.ndarray, anchor: Anchor, over_sampling: float = 0.0
) -> FiberSpectra:
    """One fiber spectrum for each galaxy.

    Parameters
    ----------
    known : ndarray, shape (N, 3)
        `Galaxies.known`.
    normals : ndarray, shape (N, N_NORMALS)
        Independent standard normals: all of the randomness.
    over_sampling : float
        Share of the galaxies whose spectra are drawn with a preference for strong lines, for
        training. `FiberSpectra.weight` makes up for it.
    """
    fiber = known + np.array([0.0, 0.0, np.log10(FIBER_SHARE)])
    of_features, of_continuum, rest = np.split(normals, [N_DRAWN, N_DRAWN + N_CONTINUUM], axis=1)
    features, weight = anchor.draw(fiber, KNOWN_ERROR, of_features, over_sampling)
    continuum = draw_continuum(features, of_continuum, anchor)
    widths = widths_of(features)
    agn = agn_weight(widths)
    absorbed = _sodium(continuum, rest[:, 2])
    return FiberSpectra(
        old=continuum.old * absorbed,
        young=continuum.young * absorbed,
        lines=_lines(features, widths, agn, continuum, rest),
        widths=widths,
        line_excess=anchor.line_excess(features),
        ratio_excess=anchor.ratio_excess(features),
        age_excess=anchor.age_excess(features, break_strength(continuum.total)),
        dust=continuum.dust,
        agn=agn,
        weight=weight,
    )


def _lines(
    features: np.ndarray,
    widths: dict[str, np.ndarray],
    agn: np.ndarray,
    continuum: Continuum,
    normals: np.ndarray,
) -> np.ndarray:
    """Emission lines, broader in luminous galaxies, and the forbidden ones of active nuclei."""
    galaxy = 90.0 * 10 ** (0.25 * (features[:, LUMINOSITY] - 6.5) + 0.12 * normals[:, 0])
    galaxy = np.clip(galaxy, 30.0, 350.0)
    forbidden = galaxy * (1 + agn * np.abs(normals[:, 1]))
    light = continuum.total
    dust = gas_dust(widths, *(light[:, np.searchsorted(WAVELENGTH, at)] for at in (4862.7, 6564.6)))
    return line_spectrum(
        widths, light, np.hypot(galaxy, INSTRUMENT), np.hypot(forbidden, INSTRUMENT), dust
    )


def _sodium(continuum: Continuum, normal: np.ndarray) -> np.ndarray:
    """Share of light that passes the interstellar sodium doublet, shape (N, L).

    Its equivalent width rises with dust, about 1 Angstrom at A_V = 1; rounded from memory.
    """
    width = np.minimum(continuum.dust * np.exp(0.5 * normal), 5.0)
    sigma = np.full(len(width), 150.0)
    shape = 0.55 * profile(EDGES, 5891.58, sigma) + 0.45 * profile(EDGES, 5897.56, sigma)
    return 1 - np.minimum(width[:, None] * shape, 0.9)
