"""Stellar templates without emission lines, on the mock sky's wavelength grid.

They are the five templates of the package `kcorrect` (Blanton & Roweis 2007, AJ 133, 734;
BSD-3-Clause), which describe star-formation histories with nebular lines. The lines are
cut out here, each template is reddened by three amounts of dust, and the result ships as an array.
"""

from __future__ import annotations

import numpy as np

from targetsel.spectra.grid import edges, wavelengths

# The grid reaches beyond the decoder's 1000 pixels, so that the bands g to y see all of a galaxy
# at 0.01 < redshift < 0.3.
FIRST, LAST = -170, 1320
WAVELENGTH = wavelengths(FIRST, LAST)
EDGES = edges(FIRST, LAST)
DECODER_PIXELS = slice(-FIRST, -FIRST + 1000)

DUST = (0.0, 0.6, 1.5)  # A_V [mag]; optical depth falls as wavelength^-0.7 (Charlot & Fall 2000)
OLD = 3  # which of the five is the old, dust-free population without lines
POST_BURST = 4  # A stars: Balmer absorption without emission
N_BASE = 5

# Balmer absorption of the templates with lines, as a share of the post-burst template's. Their own
# is hidden under the emission, so this is set by hand: old and young stars dilute the A stars.
BALMER_SHARE = {0: 0.4, 1: 0.4, 2: 0.7}

_BALMER = (4102.90, 4341.69, 4862.69, 6564.61)
_GROUPS = (
    (3728.5,), (3869.86,), (4102.90,), (4341.69,), (4862.69,), (4960.3, 5008.24),
    (6302.0, 6313.8), (6549.86, 6564.61, 6585.27), (6680.0, 6718.29, 6732.68), (7137.8,),
    (7321.0, 7332.0), (7753.2,),
    (9071.1,),
    (9533.2,),
)  # fmt: skip


def stellar_templates(wave: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Line-free, dust-reddened templates on the grid, shape (15, L), mean 1 at 5500-5800 Angstrom.

    Row 3 b + d is base template b with the dust of `DUST[d]`.

    Parameters
    ----------
    wave : ndarray, shape (W,)
        Wavelengths of the original templates [Angstrom, vacuum].
    flux : ndarray, shape (5, W)
        Flux per unit wavelength.
    """
    base = np.array([np.interp(WAVELENGTH, wave, row) for row in flux])
    absorption = base[POST_BURST] / _running_median(base[POST_BURST], 61) - 1.0
    for k, share in BALMER_SHARE.items():
        base[k] = _without_lines(base[k], share, absorption)
    reddening = 10 ** (-0.4 * np.outer(DUST, (WAVELENGTH / 5500.0) ** -0.7))
    templates = (base[:, None] * reddening).reshape(-1, len(WAVELENGTH))
    level = templates[:, (WAVELENGTH > 5500) & (WAVELENGTH < 5800)].mean(axis=1)
    return templates / level[:, None]


def _without_lines(row: np.ndarray, share: float, absorption: np.ndarray) -> np.ndarray:
    """One template with its emission lines cut out.

    Under each group of lines the template becomes a parabola through both sides; the Balmer
    lines' absorption hides there, so `share` of the post-burst template's `absorption` is put in.
    """
    clean = row.copy()
    every_line = np.concatenate(_GROUPS)
    clear = np.abs(WAVELENGTH[:, None] - every_line).min(axis=1) >= 28
    for group in _GROUPS:
        distance = np.abs(WAVELENGTH[:, None] - np.array(group)).min(axis=1)
        under, beside = distance < 28, clear & (distance < 90)
        parabola = np.polynomial.Polynomial.fit(WAVELENGTH[beside], row[beside], 2)
        clean[under] = parabola(WAVELENGTH[under])
        if set(group) & set(_BALMER):
            clean[under] *= 1.0 + share * absorption[under]
    return np.maximum(clean, 0.0)


def _running_median(values: np.ndarray, width: int) -> np.ndarray:
    padded = np.pad(values, width // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
