"""Fiber spectra of the mock sky: drawn for its galaxies, with a spectrograph's noise.

Stars, dust and lines are drawn from the anchor model. The spectrograph is like that of SDSS."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from targetsel.mock.anchor import EDGES, FIBER_SHARE, LUMINOSITY, WAVELENGTH, Anchor, widths_of
from targetsel.mock.anchor import N_NORMALS as N_DRAWN
from targetsel.mock.continuum import N_NORMALS as N_CONTINUUM
from targetsel.mock.continuum import Continuum, break_strength, draw_continuum
from targetsel.mock.emission import agn_weight, continuum_at, gas_dust, line_spectrum, profile
from targetsel.spectra.grid import wavelengths

# Uncertainty of the *fiber's* features known from broad bands: a whole galaxy's colour is not its
# centre's. Set by hand.
KNOWN_ERROR = np.array([0.18, 0.08, 0.20])
INSTRUMENT = 69.0  # km/s: the spectrograph's own dispersion, for a resolution of 1850
N_NORMALS = N_DRAWN + N_CONTINUUM + 3  # standard normals per galaxy


@dataclass(frozen=True)
class FiberSpectra:
    """Spectra of galaxies through a 3 arcsec fiber, without noise.

    Attributes
    ----------
    old, young, lines : ndarray, shape (N, L)
        Flux density per unit rest wavelength on `anchor.WAVELENGTH`: old stars (bulge), all
        other stars and gas (disk). The stars' sum is 1 on average at 5500-6100 Angstrom.
    ultraviolet : ndarray, shape (N, 2, U)
        The same of old and of all other stars on `ultraviolet.WAVELENGTH`.
    infrared : ndarray, shape (N, 2, I)
        The same on `infrared.WAVELENGTH`.
    widths : dict of ndarray, shape (N,)
        True rest equivalent widths of the emission lines [Angstrom].
    line_excess : ndarray, shape (N,)
        Excess of asinh EW(Halpha) over the anchor's expectation given the continuum's colours
        and luminosity [sigma].
    ratio_excess : ndarray, shape (N,)
        The same for [NII] / Halpha, given also EW(Halpha).
    age_excess : ndarray, shape (N,)
        The same for D4000, given the two leading colour components and luminosity.
    dust : ndarray, shape (N,)
        V-band attenuation of the young stars [mag].
    agn : ndarray, shape (N,)
        Degree to which line ratios indicate an active nucleus, 0 to 1.
    weight : ndarray, shape (N,)
        Corrects for over-sampling: weighted statistics are the anchor's. 1 without
        over-sampling.
    """

    old: np.ndarray
    young: np.ndarray
    lines: np.ndarray
    ultraviolet: np.ndarray
    infrared: np.ndarray
    widths: dict[str, np.ndarray]
    line_excess: np.ndarray
    ratio_excess: np.ndarray
    age_excess: np.ndarray
    dust: np.ndarray
    agn: np.ndarray
    weight: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Flux density of stars and lines, shape (N, L)."""
        return self.old + self.young + self.lines

    def times(self, factors: np.ndarray) -> FiberSpectra:
        """The spectra of another fiber, which receives factors (N, 3) of this one's light.

        They are of old stars, young stars and lines. What shapes depend on stays: excess, dust
        and nucleus.
        """
        old, young, lines = factors.T[:, :, None]
        changed = replace(
            self,
            old=old * self.old,
            young=young * self.young,
            lines=lines * self.lines,
            ultraviolet=factors[:, :2, None] * self.ultraviolet,
            infrared=factors[:, :2, None] * self.infrared,
        )
        before, after = (each.old + each.young for each in (self, changed))
        widths = {
            name: factors[:, 2] * width * continuum_at(name, before) / continuum_at(name, after)
            for name, width in self.widths.items()
        }
        return replace(changed, widths=widths)


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
        training. `FiberSpectra.weight` corrects for it.
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
        ultraviolet=continuum.ultraviolet,
        infrared=continuum.infrared,
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
    """Share of light transmitted by the interstellar sodium doublet, shape (N, L).

    Its equivalent width rises with dust, about 1 Angstrom at A_V = 1; rounded from memory.
    """
    width = np.minimum(continuum.dust * np.exp(0.5 * normal), 5.0)
    sigma = np.full(len(width), 150.0)
    shape = 0.55 * profile(EDGES, 5891.58, sigma) + 0.45 * profile(EDGES, 5897.56, sigma)
    return 1 - np.minimum(width[:, None] * shape, 0.9)


# Noise against observed wavelength [Angstrom], 1 at its best: blue and red ends, and the airglow
# beyond 7200. Set by hand.
_NOISE_AT = np.array([3450, 3800, 4200, 5000, 6000, 7100, 7600, 8200, 8800, 9400, 10700.0])
_NOISE = np.array([4.0, 2.5, 1.7, 1.2, 1.0, 1.0, 1.2, 1.4, 1.7, 2.2, 3.5])
SEEN = (3600.0, 10400.0)  # [Angstrom] by SDSS's later spectrographs, which took fainter galaxies
SNR_LIMITS = (4.0, 60.0)  # surveys expose the faintest for longer
SNR_SCATTER = 0.10  # dex


def signal_to_noise(r_magnitude: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Median signal to noise of a pixel, shape (N,): 10 at r = 17.7, falling with the magnitude."""
    snr = 10 ** (1.0 - 0.3 * (r_magnitude - 17.7) + SNR_SCATTER * normals)
    return np.clip(snr, *SNR_LIMITS)


def measure_spectra(
    flux: np.ndarray, redshift: np.ndarray, snr: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra as observed, and their inverse variance, each (N, 1000), float32.

    Beyond the wavelengths that the spectrograph has `SEEN`, both are 0.

    Parameters
    ----------
    flux : ndarray, shape (N, 1000)
        Noise-free flux density on `spectra.grid`.
    redshift, snr : ndarray, shape (N,)
    noise : ndarray, shape (N, 1000)
        Independent standard normals.
    """
    observed = wavelengths() * (1 + redshift[:, None])
    shape = np.interp(observed, _NOISE_AT, _NOISE)
    inside = (observed >= SEEN[0]) & (observed <= SEEN[1])
    # With the median of signal over noise at `snr`.
    unit = np.nanmedian(np.where(inside, flux / shape, np.nan), axis=1) / snr
    sigma = unit[:, None] * shape
    measured, ivar = (np.where(inside, each, 0.0) for each in (flux + sigma * noise, 1 / sigma**2))
    return measured.astype(np.float32), ivar.astype(np.float32)
