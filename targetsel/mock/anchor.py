"""The joint distribution of galaxies' continua, luminosities and emission lines.

Fitted once to the 30,014 brightest of 97,749 real DESI galaxies (12 bins of the continuum and
equivalent widths, from DESI SV3 fastspecfit by Khederlarian et al. 2024, MNRAS 531, 1454; DESI data
CC BY 4.0); the package ships the fitted mixture, not the data (`examples/make_mock_data.py`). Each
mock spectrum is drawn from this distribution given a real SDSS galaxy's broad-band colours and
luminosity.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from targetsel.spectra.grid import edges, wavelengths
from targetsel.statistics.gaussian_mixture import GaussianMixture

# The grid reaches beyond the decoder's 1000 pixels, so that the bands g to y see all of a galaxy
# at 0.01 < redshift < 0.3.
FIRST, LAST = -170, 1320
WAVELENGTH = wavelengths(FIRST, LAST)
EDGES = edges(FIRST, LAST)
DECODER_PIXELS = slice(-FIRST, -FIRST + 1000)

OLD = 3  # index of the template of the old, dust-free population without lines, among the five

# Lines whose strengths are drawn; `emission.COMPONENTS` lists the components of each.
DRAWN_LINES = ("oii", "hbeta", "oiii", "halpha", "nii", "sii")
N_COLOURS = 6  # principal components kept of the 12 bins' log-shape
SOFTENING = 1.0  # [Angstrom] widths are modelled as asinh(width / SOFTENING)
FIBER_SHARE = 0.32  # of an SDSS galaxy's light, in DESI's fiber; set by hand
STRONGEST = 1500.0  # [Angstrom] no drawn line is stronger
# Feature order: colour components, log10 luminosity, lines.
LUMINOSITY = N_COLOURS
LINE = {name: N_COLOURS + 1 + k for k, name in enumerate(DRAWN_LINES)}
N_FEATURES = N_COLOURS + 1 + len(DRAWN_LINES)
N_NORMALS = N_FEATURES + 2  # standard normals per draw
# Features known from a galaxy's broad bands: two colour components and the luminosity.
KNOWN = np.array([0, 1, LUMINOSITY])
CONTINUUM = np.arange(N_COLOURS + 1)
# Over-sampled draws are as frequent as in nature times, nearly, EW(Halpha)^1.5 EW([OIII])^0.75.
TILT = np.zeros(N_FEATURES)
TILT[LINE["halpha"]], TILT[LINE["oiii"]] = 1.5, 0.75


@dataclass(frozen=True, eq=False)
class Anchor:
    """A Gaussian mixture over colour components, luminosity and line strengths.

    Attributes
    ----------
    bin_edges : ndarray, shape (13,)
        Rest-frame edges of the continuum bins [Angstrom].
    colour_mean, colour_axes : ndarray, shapes (12,) and (6, 12)
        Mean and principal axes of ln(bin flux / geometric mean over the bins).
    mixture : GaussianMixture
        Distribution of the 13 features.
    break_fit : ndarray, shape (2, 10)
        D4000 expected from the known features, and the log of its scatter: coefficients of
        `quadratic`.
    templates : ndarray, shape (5, L)
        Flux density of stars without lines on `WAVELENGTH`, 1 on average at 5500-5800 Angstrom.
    """

    bin_edges: np.ndarray
    colour_mean: np.ndarray
    colour_axes: np.ndarray
    mixture: GaussianMixture
    break_fit: np.ndarray
    templates: np.ndarray

    @staticmethod
    @cache
    def shipped() -> Anchor:
        """The model shipped with the package."""
        with (files("targetsel.mock") / "data" / "anchor.npz").open("rb") as stream:
            stored = np.load(stream, allow_pickle=False)
            arrays = {name: stored[name].astype(np.float64) for name in stored.files}
        weight, mean, covariance = (arrays.pop(n) for n in ("weights", "means", "covariances"))
        mixture = GaussianMixture(weight, mean, covariance=covariance)
        return Anchor(mixture=mixture, **arrays)

    def bins(self, colours: np.ndarray) -> np.ndarray:
        """Continuum in the 12 bins, geometric mean 1, from colour components (N, 6)."""
        return np.exp(self.colour_mean + colours @ self.colour_axes)

    def colours(self, bins: np.ndarray) -> np.ndarray:
        """Colour components (N, 6) of continua given in the 12 bins (N, 12)."""
        shape = np.log(bins) - np.log(bins).mean(axis=1, keepdims=True)
        return (shape - self.colour_mean) @ self.colour_axes.T

    def less_luminous(self, known: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """Known features of the same galaxies made less luminous, and bluer accordingly.

        Each colour component keeps its quantile among galaxies of its luminosity, the second one
        also among those of its first one.

        Parameters
        ----------
        known : ndarray, shape (N, 3)
            Known features of whole galaxies.
        magnitudes : ndarray, shape (N,)
            Decrease of their luminosity [mag].
        """
        first, second, luminosity = known.T
        old = luminosity + np.log10(FIBER_SHARE)
        new = old - 0.4 * magnitudes
        place = np.array([LUMINOSITY, 0])
        bluer = self.mixture.same_quantile(
            0, place[:1], np.column_stack([old, first]), new[:, None]
        )
        others = self.mixture.same_quantile(
            1, place, np.column_stack([old, first, second]), np.column_stack([new, bluer])
        )
        return np.column_stack([bluer, others, luminosity - 0.4 * magnitudes])

    def draw(
        self,
        known: np.ndarray,
        known_error: np.ndarray,
        normals: np.ndarray,
        over_sampling: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One draw of all features for each galaxy given those known, and its weight.

        Parameters
        ----------
        known : ndarray, shape (N, 3)
            Two colour components and log10 luminosity.
        known_error : ndarray, shape (3,)
            Their Gaussian uncertainty, independent.
        normals : ndarray, shape (N, N_NORMALS)
        over_sampling : float
            Share of the sources that are drawn with a preference for strong lines (`TILT`).

        Returns
        -------
        features : ndarray, shape (N, 13)
        weight : ndarray, shape (N,)
            Weight that corrects for the over-sampling; 1 without it.
        """
        return self.mixture.draw_given(KNOWN, known, known_error, normals, TILT, over_sampling)

    def line_excess(self, features: np.ndarray) -> np.ndarray:
        """Excess of Halpha's strength over what continuum and luminosity suggest [sigma]."""
        return self.mixture.excess(features, LINE["halpha"], CONTINUUM)

    def ratio_excess(self, features: np.ndarray) -> np.ndarray:
        """Excess of [NII] / Halpha, given also the strength of Halpha [sigma]."""
        given = np.append(CONTINUUM, LINE["halpha"])
        return self.mixture.excess(features, LINE["nii"], given)

    def age_excess(self, features: np.ndarray, d4000: np.ndarray) -> np.ndarray:
        """Excess of a 4000 Angstrom break over what the broad bands suggest [sigma]."""
        expected, log_scatter = self.break_fit @ quadratic(features[:, KNOWN]).T
        return (d4000 - expected) / np.exp(log_scatter)


def widths_of(features: np.ndarray) -> dict[str, np.ndarray]:
    """Rest equivalent width of each of `DRAWN_LINES` [Angstrom], each of shape (N,)."""
    highest = np.arcsinh(STRONGEST / SOFTENING)
    return {
        name: SOFTENING * np.sinh(np.clip(features[:, place], 0.0, highest))
        for name, place in LINE.items()
    }


def quadratic(known: np.ndarray) -> np.ndarray:
    """The ten terms up to second order in the known features (N, 3), shape (N, 10)."""
    one = np.column_stack([np.ones(len(known)), known - [0.0, 0.0, 6.5]])
    rows, columns = np.triu_indices(4)
    return one[:, rows] * one[:, columns]
