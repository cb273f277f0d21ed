"""Starlight beyond the anchor model's last pixel, from 11,073 to 25,200 Angstrom.

Bands such as J, H and Ks see it. As in the ultraviolet, the anchor model knows nothing of it: it is
the light that the five templates of kcorrect have there, with their nebular lines, in the
combination and under the dust that reproduce the 12 bins. `examples/make_mock_data.py` makes the
shipped file.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from targetsel.mock.anchor import LAST
from targetsel.mock.ultraviolet import FIRST_OF_ALL, light_of_templates
from targetsel.spectra.grid import wavelengths

N_PIXELS = 915  # so many that Ks sees all of a galaxy wherever it is
WAVELENGTH = wavelengths(LAST, LAST + N_PIXELS)
WHOLE = wavelengths(FIRST_OF_ALL, LAST + N_PIXELS)


def starlight(weights: np.ndarray, old_dust: np.ndarray, dust: np.ndarray) -> np.ndarray:
    """As `ultraviolet.starlight`, on the `WAVELENGTH` of this file."""
    return light_of_templates(templates(), WAVELENGTH, weights, old_dust, dust)


@cache
def templates() -> np.ndarray:
    """Flux density of the five templates, in the unit of `Anchor.templates`, shape (5, I)."""
    with (files("targetsel.mock") / "data" / "infrared.npz").open("rb") as stream:
        return np.load(stream, allow_pickle=False)["templates"].astype(np.float64)
