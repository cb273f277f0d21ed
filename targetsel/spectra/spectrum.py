"""Spectra: flux on a wavelength grid, for every draw of every source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spectra:
    """Rest-frame spectra.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    flux : ndarray, shape (N, S, L)
        Flux density per unit wavelength, in units of its own quadratic mean (a spectrum's sum of
        squares is one), so shape only.
    wavelength : ndarray, shape (L,)
        Rest-frame vacuum wavelength [Angstrom].
    """

    source_id: np.ndarray
    flux: np.ndarray
    wavelength: np.ndarray
