"""Starlight below the anchor model's first pixel, from 1848 to 2906 Angstrom.

Blue bands see it where galaxies are beyond redshift 0.3. The anchor model knows nothing of it: it
is the light that the five templates of kcorrect have there, in the combination and under the dust
that reproduce the 12 bins. `examples/make_mock_data.py` makes the shipped file.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from targetsel.mock.anchor import FIRST, LAST, OLD
from targetsel.mock.emission import reddening
from targetsel.spectra.grid import wavelengths

N_PIXELS = 505  # so many that SDSS's u sees all of a galaxy at redshift 0.6
FIRST_OF_ALL = FIRST - N_PIXELS
WAVELENGTH = wavelengths(FIRST_OF_ALL, FIRST)
WHOLE = wavelengths(FIRST_OF_ALL, LAST)  # with `anchor.WAVELENGTH`


def starlight(weights: np.ndarray, old_dust: np.ndarray, dust: np.ndarray) -> np.ndarray:
    """Flux density of old stars and of all others on `WAVELENGTH`, shape (N, 2, U).

    Parameters
    ----------
    weights : ndarray, shape (N, 5)
        Of the templates.
    old_dust, dust : ndarray, shape (N,)
        V-band attenuation of old stars and of all others [mag].
    """
    return light_of_templates(templates(), WAVELENGTH, weights, old_dust, dust)


def light_of_templates(
    templates: np.ndarray,
    wavelength: np.ndarray,
    weights: np.ndarray,
    old_dust: np.ndarray,
    dust: np.ndarray,
) -> np.ndarray:
    """`starlight` of templates (5, L) on wavelengths (L,) [Angstrom], shape (N, 2, L)."""
    is_old = np.arange(weights.shape[1]) == OLD
    old = weights[:, is_old] @ templates[is_old] * reddening(wavelength, old_dust)
    young = weights[:, ~is_old] @ templates[~is_old] * reddening(wavelength, dust)
    return np.stack([old, young], axis=1)


@cache
def templates() -> np.ndarray:
    """Flux density of the five templates, in the unit of `Anchor.templates`, shape (5, U)."""
    with (files("targetsel.mock") / "data" / "ultraviolet.npz").open("rb") as stream:
        return np.load(stream, allow_pickle=False)["templates"].astype(np.float64)
